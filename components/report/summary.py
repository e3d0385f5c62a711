"""The few lines at the end of `make run`: what was made and where to look."""

from pathlib import Path

from rich.console import Console

from components.register.registry import public_address, tracking_uri
from progan.config import Config
from progan.files import read_json


def summary(config: Config, verdict_file: Path, registration_file: Path, samples: Path, report: Path) -> None:
    """Print the verdict, the files to look at, the registered version and how to open MLflow."""
    verdict, registration = read_json(verdict_file), read_json(registration_file)
    version = registration["version"]
    made = (
        f"{registration['model']} version {version}, alias candidate"
        if version
        else "nothing: the gate failed"
    )
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{verdict['phase']}[/bold]: the gate {_word(verdict['passed'])}")
    for reason in verdict["reasons"]:
        console.print(f"  {'✓' if reason['passed'] else '✗'} {reason['text']}")
    lines = {
        "report": report / "report.html",
        "samples": samples / f"{verdict['phase']}.png",
        "registered": made,
        "registry": _how_to_open(tracking_uri()),
    }
    for name, value in lines.items():
        console.print(f"  {name:<11} {value}")


def _how_to_open(uri: str) -> str:
    """The page of an MLflow server, or the command that serves one; never a password."""
    if uri.startswith(("http://", "https://")):
        return public_address(uri)
    shown = uri if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'
    return f".venv/bin/mlflow ui --backend-store-uri {shown}"


def _word(passed: bool) -> str:
    return "[green]passed[/green]" if passed else "[red]failed[/red]"
