"""Fetch the checkpoint of a registered version that params.yaml's `warm_start` names."""

from pathlib import Path

from components.register.registry import CHECKPOINT, clear_errors
from components.warm_start.registered import find_run
from progan.checkpoints import NETWORKS, read_checkpoint
from progan.config import Config
from progan.errors import InputError
from progan.files import atomic_folder, sha256_file
from progan.models import require_network


def warm_start(config: Config, key: str, out: Path) -> None:
    """Bring the checkpoint of the phase `key` to the folder `out`.

    Raises InputError when params.yaml names none of that phase, the registry has not what it names, or it is
    another one: by its digest, or of other networks than params.yaml describes.
    """
    import mlflow

    if key not in config.warm_start:
        raise InputError(f"warm_start.{key}: not in params.yaml; progan start-from-champion {key} writes it")
    wanted = config.warm_start[key]
    with clear_errors(wanted.model), atomic_folder(out) as beside:
        run = find_run(wanted.model, wanted.version, key)
        mlflow.artifacts.download_artifacts(run_id=run, artifact_path=CHECKPOINT, dst_path=str(beside))
        for file in (beside / CHECKPOINT).iterdir():
            file.rename(beside / file.name)
        (beside / CHECKPOINT).rmdir()
        found = sha256_file(beside / NETWORKS)
        if found != wanted.checkpoint:
            raise InputError(
                f"warm_start.{key}.checkpoint: {wanted.model} version {wanted.version} has {found[:12]}, not "
                f"{wanted.checkpoint[:12]}; name that one, or another version"
            )
        require_network(read_checkpoint(beside), config.network)
    print(f"{out}: {key} of {wanted.model} version {wanted.version}")
