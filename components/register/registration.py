"""`registration.json`: the run and the version that the stage `register` created."""

from dataclasses import dataclass
from pathlib import Path

from components import contracts


@dataclass(frozen=True)
class Registration:
    """The MLflow run and its registered generator."""

    model: str
    version: str | None  # None: the gate failed
    run: str  # MLflow's id of the run of all phases

    @classmethod
    def read(cls, path: Path) -> "Registration":
        return contracts.read(cls, path, "register")

    def write(self, path: Path) -> None:
        contracts.write(self, path)
