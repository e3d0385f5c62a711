"""Signatures of what is registered: artifacts beside it, and the signer as a tag of the version."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.register.model import write_generator
from components.register.pages import RunDetails
from components.signatures.bundle import signer_of
from components.signatures.signing import JobIdentity, SigningKey, sign
from components.signatures.statement import SIGNATURE, STATEMENT, Provenance
from components.tracking.artifacts import ARTIFACTS, download, names_in
from components.tracking.runs import CHECKPOINT
from progan.checkpoints import FACTS, Checkpoint
from progan.errors import InputError
from progan.files import canonical_json, digest_of, read_json

IMAGE = "PROGAN_IMAGE"  # in a pod: the image that it runs
SIGNED_BY = "signed_by"  # tag of a version

Signing = SigningKey | JobIdentity
Upload = Callable[[str], None]  # of a file beside the others


def sign_version(
    mlflow_client: Any, details: RunDetails, version: str, checkpoint: Checkpoint, signing: Signing
) -> None:
    """Sign the generator of a version, unless that is done; and tag the version with the signer.

    What is signed is made of the checkpoint anew, not fetched from where others might have changed it.
    """
    model = details.config.register.model
    logged = mlflow_client.get_model_version(model, version).source.removeprefix("models:/")
    with TemporaryDirectory() as folder:
        generator = Path(folder) / "generator"
        write_generator(generator, checkpoint)
        where = f"models:/{model}/{version}/{ARTIFACTS}"
        facts = download(f"{where}/{FACTS}", Path(folder) / FACTS)
        if facts.read_bytes() != (generator / FACTS).read_bytes():
            line = "not signed: it was registered with other bytes than its checkpoint gives now"
            print(f"{model} version {version}: {line}", file=sys.stderr)
            return
        signer = _signed(
            generator,
            where,
            _provenance(details, details.verdict.phase, version),
            signing,
            lambda file: mlflow_client.log_model_artifact(logged, file, ARTIFACTS),
        )
    mlflow_client.set_model_version_tag(model, version, SIGNED_BY, signer)


def sign_checkpoint(
    mlflow_client: Any, details: RunDetails, key: str, run: str, checkpoint: Path, signing: Signing
) -> None:
    """Sign the checkpoint of the phase `key`, which is an artifact of `run`, unless that is done."""
    _signed(
        checkpoint,
        f"runs:/{run}/{CHECKPOINT}",
        _provenance(details, key, None),
        signing,
        lambda file: mlflow_client.log_artifact(run, file, CHECKPOINT),
    )


def _signed(folder: Path, where: str, provenance: Provenance, signing: Signing, upload: Upload) -> str:
    """Sign the files of `folder`, registered at `where`, unless that is done; returns the signer."""
    files = sorted(folder.iterdir())
    with TemporaryDirectory() as temporary:
        beside = Path(temporary)
        if not _is_signed(where, provenance.statement(files), signing, beside):
            sign(files, provenance, signing, beside)
            for name in (SIGNATURE, STATEMENT):  # the statement last, by which it is known as signed
                upload(str(beside / name))
        return str(signer_of(beside / SIGNATURE))


def _is_signed(where: str, statement: dict[str, Any], signing: Signing, beside: Path) -> bool:
    """Whether `where` has this statement and a signature by `signing`, which then lie in `beside`, too."""
    if not {STATEMENT, SIGNATURE} <= set(names_in(where)):
        return False
    try:
        present = read_json(download(f"{where}/{STATEMENT}", beside / STATEMENT))
        signer = signer_of(download(f"{where}/{SIGNATURE}", beside / SIGNATURE))
    except (InputError, ValueError):  # damaged
        return False
    return canonical_json(present) == canonical_json(statement) and signing.has_signed(signer)


def _provenance(details: RunDetails, key: str, version: str | None) -> Provenance:
    evaluation, verdict = details.evaluations[key], details.verdict
    return Provenance(
        model=details.config.register.model,
        version=version,
        phase=key,
        identity=evaluation.identity,
        dataset=evaluation.dataset,
        params=digest_of(asdict(details.config)),
        commit=details.commit,
        image=os.environ.get(IMAGE),
        passed=verdict.passed,
        reasons=tuple(reason.text for reason in verdict.reasons),
    )
