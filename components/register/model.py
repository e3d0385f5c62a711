"""Register a generator as a version of a model that MLflow can serve."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from modulefinder import ModuleFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import progan
from progan.checkpoints import FACTS, NETWORKS, Checkpoint, CheckpointFacts, prefixed, write_checkpoint

SERVED = Path(__file__).with_name("served_generator.py")
SHIPPED = ("progan", "components")  # packages whose modules the served generator may import


def log_model(model: str, checkpoint: Checkpoint, tags: dict[str, str]) -> str:
    """Log the averaged generator to the active run as a new version of `model`; returns the version.

    The logged model is a pyfunc that needs neither this project nor pickle. Its artifacts form a checkpoint
    folder with the averaged generator only.
    """
    import mlflow
    import numpy as np
    import PIL
    import safetensors
    import torch
    import yaml

    with TemporaryDirectory() as folder, _unfinished_discarded():
        generator = Path(folder) / "generator"
        write_generator(generator, checkpoint)
        info = mlflow.pyfunc.log_model(
            name="generator",
            python_model=str(SERVED),
            artifacts={"networks": str(generator / NETWORKS), "facts": str(generator / FACTS)},
            code_paths=[str(package) for package in _shipped_code(Path(folder))],
            signature=_signature(checkpoint.facts),
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.split('+')[0]}",
                f"numpy=={np.__version__}",
                f"pillow=={PIL.__version__}",
                f"pyyaml=={yaml.__version__}",
                f"safetensors=={safetensors.__version__}",
            ],
        )
    return str(mlflow.register_model(info.model_uri, model, tags=tags).version)


@contextmanager
def _unfinished_discarded() -> Iterator[None]:
    """After an error, delete the files of models of the active run that are not complete: on a full disk,
    each attempt would leave some more."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        yield
    except Exception:
        run = mlflow.active_run()
        assert run is not None
        models = mlflow.MlflowClient().search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"
        )
        for logged in (logged for logged in models if logged.status != "READY"):
            with suppress(MlflowException, OSError):
                get_artifact_repository(logged.artifact_location).delete_artifacts()
                mlflow.MlflowClient().delete_logged_model(logged.model_id)
        raise


def write_generator(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the averaged generator of a checkpoint as a checkpoint folder without the rest."""
    write_checkpoint(folder, checkpoint.facts, prefixed("ema", checkpoint.networks("ema")), None)


def _signature(facts: CheckpointFacts) -> Any:
    """Inputs and outputs of the served generator, which validates the inputs itself for clear messages."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    side, channels = facts.resolution, facts.network.channels
    return ModelSignature(
        inputs=Schema([ColSpec(AnyType(), name, required=False) for name in ("seeds", "latents")]),
        outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, side, side, channels))]),
        params=ParamSchema(
            [
                ParamSpec("label", "string", None),
                ParamSpec("truncation", "double", 1.0),
                ParamSpec("format", "string", "pixels"),
            ]
        ),
    )


def _shipped_code(folder: Path) -> list[Path]:
    """Copies of our packages in `folder`, reduced to the modules that served_generator.py imports."""
    root = Path(progan.__file__).parents[1]
    search = folder / "search"  # nothing but ours, or the search would go through torch and MLflow too
    search.mkdir()
    for package in SHIPPED:
        (search / package).symlink_to(root / package)
    finder = ModuleFinder([str(search)])
    finder.run_script(str(SERVED))
    for name, module in finder.modules.items():
        if name.partition(".")[0] in SHIPPED:
            file = Path(module.__file__)  # type: ignore[attr-defined]  # typeshed lacks it
            copy = folder / file.relative_to(search)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return [folder / package for package in SHIPPED]
