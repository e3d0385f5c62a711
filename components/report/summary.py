"""The summary that `make run` prints at its end: the verdict and where to find the results."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from components.gate.verdict import Verdict
from components.register.mlflow_registry import public_address, tracking_uri
from components.register.registration import Registration


def summary(paths: Mapping[str, Path]) -> dict[str, Any]:
    """The verdict, the report, the samples, the registered version (or None) and how to open MLflow.

    paths: the inputs and outputs of the stage `report`, by their names in dvc.yaml.
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


def print_summary(values: dict[str, Any]) -> None:
    """Print the values of `summary` for people to read."""
    version = f"{values['model']} version {values['version']}, alias candidate"
    console = Console(highlight=False, soft_wrap=True)
    verdict = "[green]passed[/green]" if values["passed"] else "[red]failed[/red]"
    console.print(f"\n[bold]{values['phase']}[/bold]: the gate {verdict}")
    for reason in values["reasons"]:
        console.print(f"  {'✓' if reason['passed'] else '✗'} {escape(reason['text'])}")
    rows = {
        "report": values["report"],
        "samples": values["samples"],
        "registered": version if values["version"] else "nothing: the gate failed",
        "registry": values["registry"],
    }
    for name, value in rows.items():
        console.print(f"  {name:<11} {escape(value)}")


def _how_to_open(uri: str) -> str:
    """The address of the MLflow server, or the command that starts one; without passwords."""
    if uri.startswith(("http://", "https://")):
        return public_address(uri)
    address = uri if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'
    return f".venv/bin/mlflow ui --backend-store-uri {address}"
