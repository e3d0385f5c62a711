"""run.json: the parameters, the dataset and the state of a run on a cluster."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from components.identity import state_of
from components.object_store import open_store
from progan.config import Config, to_text
from progan.errors import InputError
from progan.files import canonical_json, parse_json
from progan.validation import from_json

RUNNING = "RUNNING"


@dataclass(frozen=True)
class RunRecord:
    """The record of a run in the results."""

    state: str  # in Kubeflow's words
    error: str
    dataset: str  # digest of its manifest; empty before there was one
    params: dict[str, Any]  # params.yaml
    params_digest: str

    @classmethod
    def of(cls, config: Config, dataset_digest: str, state: str, error: str = "") -> "RunRecord":
        return cls(state, error, dataset_digest, json.loads(to_text(config)), state_of(config))

    @classmethod
    def read(cls, results: str, run: str) -> "RunRecord | None":
        """The record of the run; None if there is none. Raises InputError if it is damaged."""
        content = open_store(results).read(_name(run))
        try:
            return None if content is None else from_json(cls, parse_json(content))
        except ValueError:
            raise InputError(f"{results}/{_name(run)}: damaged; start the run again") from None

    def write(self, results: str, run: str) -> None:
        open_store(results).write(_name(run), canonical_json(asdict(self)).encode())


def _name(run: str) -> str:
    return f"runs/{run}/run.json"
