"""The summary that `make run` prints at its end: the verdict and where to find the results."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from components.gate.verdict import Verdict
from components.register.registration import Registration
from components.register.registry import find_version
from components.tracking.client import clear_errors, client, is_missing, public_address, tracking_uri
from progan.errors import InputError, Unavailable


def summary(paths: Mapping[str, Path]) -> dict[str, Any]:
    """The verdict, the report, the samples, what the registry has of the run, and how to open MLflow.

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
        **registered(verdict, registration),
        "registry": _how_to_open(tracking_uri()),
    }


def print_summary(values: dict[str, Any]) -> None:
    """Print the values of `summary` for people to read."""
    console = Console(highlight=False, soft_wrap=True)
    verdict = "[green]passed[/green]" if values["passed"] else "[red]failed[/red]"
    console.print(f"\n[bold]{values['phase']}[/bold]: the gate {verdict}")
    for reason in values["reasons"]:
        console.print(f"  {'✓' if reason['passed'] else '✗'} {escape(reason['text'])}")
    rows = {
        "report": values["report"],
        "samples": values["samples"],
        "registered": values["registered"],
        "registry": values["registry"],
    }
    for name, value in rows.items():
        console.print(f"  {name:<11} {escape(value)}")


def registered(verdict: Verdict, registration: Registration) -> dict[str, Any]:
    """What the registry has of the run, as people and other runs may have changed it.

    up_to_date: whether that is what `registration` says, or the registry cannot be asked.
    """
    model, recorded = registration.model, registration.version
    version: Any = None
    aliases: dict[str, str] = {}
    if not is_missing():
        try:
            with clear_errors(model):
                version = find_version(client(), model, verdict.candidate.identity)
                aliases = client().get_registered_model(model).aliases if version else {}
        except (InputError, Unavailable) as error:
            return {"registered": f"unknown: {error}", "up_to_date": True}
    number = str(version.version) if version and version.tags.get("gate") == "passed" else None
    if number is None:
        text = (
            f"{model} version {recorded} is not in the registry" if recorded else "nothing: the gate failed"
        )
    else:
        names = [name for name, of in aliases.items() if str(of) == number]
        text = f"{model} version {number}, {'alias' if names else 'no alias'} {', '.join(names)}".rstrip()
    return {"registered": text, "up_to_date": number == recorded}


def _how_to_open(uri: str) -> str:
    """The address of the MLflow server, or the command that starts one; without passwords."""
    if uri.startswith(("http://", "https://")):
        return public_address(uri)
    address = uri if uri.startswith("sqlite:") else '"$MLFLOW_TRACKING_URI"'
    return f".venv/bin/mlflow ui --backend-store-uri {address}"
