"""Fetch the checkpoint of a registered version that params.yaml's `warm_start` names."""

import sys
from pathlib import Path

from components.signatures.statement import SIGNATURE, STATEMENT
from components.signatures.trust import TrustedSigners, trusted_signers
from components.signatures.verifying import verify
from components.tracking.artifacts import download
from components.tracking.client import clear_errors
from components.tracking.runs import CHECKPOINT
from components.warm_start.registered import find_run
from progan.checkpoints import NETWORKS, read_checkpoint
from progan.config import Config, WarmStart
from progan.errors import InputError
from progan.files import atomic_folder, sha256_file
from progan.models import require_network


def warm_start(config: Config, key: str, out: Path) -> None:
    """Fetch the checkpoint of the phase `key` into the folder `out`.

    Raises InputError if params.yaml names no checkpoint of that phase, the registry does not have it, or its
    digest or network differs from params.yaml.
    """
    if key not in config.warm_start:
        raise InputError(f"warm_start.{key}: not in params.yaml; progan start-from-champion {key} writes it")
    version = config.warm_start[key]
    with clear_errors(version.model), atomic_folder(out) as partial:
        run = find_run(version.model, version.version, key)
        files = download(f"runs:/{run}/{CHECKPOINT}", partial / CHECKPOINT)
        for file in files.iterdir():
            file.rename(partial / file.name)
        files.rmdir()
        if trusted := trusted_signers():
            _verify(partial, version, key, trusted)
        for name in (STATEMENT, SIGNATURE):  # another signature makes no other checkpoint
            (partial / name).unlink(missing_ok=True)
        digest = sha256_file(partial / NETWORKS)
        if digest != version.checkpoint:
            raise InputError(
                f"warm_start.{key}.checkpoint: {version.model} version {version.version} has {digest[:12]}, "
                f"not {version.checkpoint[:12]}; name that one, or another version"
            )
        require_network(read_checkpoint(partial), config.network)
    print(f"{out}: {key} of {version.model} version {version.version}")


def _verify(folder: Path, version: WarmStart, key: str, trusted: TrustedSigners) -> None:
    what = f"warm_start.{key}: {version.model} version {version.version}"
    signature = verify(folder, what, trusted, phase=key)
    print(f"{what}: signed by {signature.by}", file=sys.stderr)
