"""`registration.json`: the run and the version that the stage `register` created."""

from dataclasses import dataclass

from components.contracts import Contract


@dataclass(frozen=True)
class Registration(Contract):
    """The MLflow run and its registered generator."""

    written_by = "register"

    model: str
    version: str | None  # None: the gate failed
    run: str  # MLflow's id of the run of all phases
