"""The few lines at the end of `make run`: what was made and where to look."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from components.gate.verdict import Verdict
from components.register.registration import Registration
from components.register.registry import public_address, tracking_uri


def summary(paths: Mapping[str, Path]) -> dict[str, Any]:
    """The verdict, the files to look at, the registered version (None: none) and how to open MLflow.

    paths: what the stage `report` reads and makes, by dvc.yaml's names.
    """
    verdict, registration = Verdict.read(paths["verdict"]), Registration.read(paths["registration"])
    return {
        "phase": verdict.phase,
        "passed": verdict.passed,
        "reasons": [asdict(reason) for reason in verdict.reasons],
        "report": str(paths["report"] / "report.html"),
        "samples": str(paths["samples"] / f"{verdict.phase}.png"),
        "model": registration.model,
        "version": registration.version,
        "registry": _how_to_open(tracking_uri()),
    }


def print_summary(made: dict[str, Any]) -> None:
    """Print a summary for people to read."""
    version = f"{made['model']} version {made['version']}, alias candidate"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"\n[bold]{made['phase']}[/bold]: the gate {_word(made['passed'])}")
    for reason in made["reasons"]:
        console.print(f"  {'✓' if reason['passed'] else '✗'} {escape(reason['text'])}")
    lines = {
        "report": made["report"],
        "samples": made["samples"],
        "registered": version if made["version"] else "nothing: the gate failed",
        "registry": made["registry"],
    }
    for name, value in lines.items():
        console.print(f"  {name:<11} {escape(value)}")


def _how_to_open(uri: str) -> str:
    """The page of an MLflow server, or the command that serves one; never a password."""
    if uri.startswith(("http://", "https://")):
        return public_address(uri)
    shown = uri if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'
    return f".venv/bin/mlflow ui --backend-store-uri {shown}"


def _word(passed: bool) -> str:
    return "[green]passed[/green]" if passed else "[red]failed[/red]"
