"""What a signature vouches for: files, and how they came about, as an in-toto statement beside them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from progan.errors import InputError
from progan.files import read_json, sha256_file
from progan.validation import from_json

STATEMENT, SIGNATURE = "statement.json", "model.sig"  # the signature's name is OpenSSF's
TYPES = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "urn:progan:training:v1"}


@dataclass(frozen=True)
class Provenance:
    """How a generator or a checkpoint came about, and what the gate said of its run."""

    model: str
    version: str | None  # None: a phase's checkpoint, which belongs to no version alone
    phase: str
    identity: str
    dataset: str  # digest of the level it was trained on
    params: str  # digest of all parameters
    commit: str
    image: str | None  # None: not registered in a pod
    passed: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.model} version {self.version}" if self.version else f"{self.phase} of {self.model}"

    def statement(self, files: Iterable[Path]) -> dict[str, Any]:
        """The in-toto statement that `files` came about so."""
        subjects = [{"name": file.name, "digest": {"sha256": sha256_file(file)}} for file in files]
        return {**TYPES, "subject": subjects, "predicate": asdict(self)}

    @classmethod
    def read(cls, file: Path, what: str) -> "Provenance":
        """The provenance in a statement; what: for the message of the InputError if it is another one."""
        statement = read_json(file)
        try:
            if statement | TYPES != statement:
                raise ValueError("of another type")
            return from_json(cls, statement["predicate"])
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{what}: its {STATEMENT} is no statement about a training: {error}") from None
