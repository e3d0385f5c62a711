"""Fetch the checkpoint of a registered version that params.yaml's `warm_start` names."""

from pathlib import Path

from components.tracking.client import clear_errors
from components.tracking.runs import CHECKPOINT
from components.warm_start.registered import find_run
from progan.checkpoints import NETWORKS, read_checkpoint
from progan.config import Config
from progan.errors import InputError
from progan.files import atomic_folder, sha256_file
from progan.models import require_network


def warm_start(config: Config, key: str, out: Path) -> None:
    """Fetch the checkpoint of the phase `key` into the folder `out`.

    Raises InputError if params.yaml names no checkpoint of that phase, the registry does not have it, or its
    digest or network differs from params.yaml.
    """
    import mlflow

    if key not in config.warm_start:
        raise InputError(f"warm_start.{key}: not in params.yaml; progan start-from-champion {key} writes it")
    version = config.warm_start[key]
    with clear_errors(version.model), atomic_folder(out) as partial:
        run = find_run(version.model, version.version, key)
        mlflow.artifacts.download_artifacts(run_id=run, artifact_path=CHECKPOINT, dst_path=str(partial))
        for file in (partial / CHECKPOINT).iterdir():
            file.rename(partial / file.name)
        (partial / CHECKPOINT).rmdir()
        digest = sha256_file(partial / NETWORKS)
        if digest != version.checkpoint:
            raise InputError(
                f"warm_start.{key}.checkpoint: {version.model} version {version.version} has {digest[:12]}, "
                f"not {version.checkpoint[:12]}; name that one, or another version"
            )
        require_network(read_checkpoint(partial), config.network)
    print(f"{out}: {key} of {version.model} version {version.version}")
