"""`registration.json`: what the registry has of a run."""

from dataclasses import dataclass
from pathlib import Path

from components import contracts


@dataclass(frozen=True)
class Registration:
    """The MLflow run, and the version of its generator."""

    model: str
    version: str | None  # None: the gate failed, nothing was registered
    run: str  # MLflow's id of the run of all phases

    @classmethod
    def read(cls, path: Path) -> "Registration":
        return contracts.read(cls, path, "register")

    def write(self, path: Path) -> None:
        contracts.write(self, path)
