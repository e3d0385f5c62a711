"""A generator as a version of a registered model, which serves it."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch

import progan
from progan.files import sha256_file, write_json
from progan.snapshots import FACTS, NETWORKS, Checkpoint, prefixed


def log_model(model: str, checkpoint: Checkpoint) -> str:
    """Log the averaged generator in the active run as a pyfunc that needs neither this project nor pickle.

    Returns the version that it is now of the registered model `model`.
    Its artifacts are a checkpoint folder that holds this generator alone.
    """
    import mlflow
    import numpy as np
    import PIL
    import torch

    with TemporaryDirectory() as folder:
        networks, facts = Path(folder) / NETWORKS, Path(folder) / FACTS
        safetensors.torch.save_file(prefixed("ema", checkpoint.networks("ema")), networks)
        write_json(facts, checkpoint.facts | {"files": {NETWORKS: sha256_file(networks)}})
        info = mlflow.pyfunc.log_model(
            name="generator",
            python_model=str(Path(__file__).with_name("served_generator.py")),
            artifacts={"networks": str(networks), "facts": str(facts)},
            code_paths=[str(_shipped_code(Path(folder)))],
            signature=_signature(checkpoint.facts),
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.split('+')[0]}",
                f"numpy=={np.__version__}",
                f"pillow=={PIL.__version__}",
                f"safetensors=={safetensors.__version__}",
            ],
            registered_model_name=model,
        )
    return str(info.registered_model_version)


def _signature(facts: dict[str, Any]) -> Any:
    """What the served generator takes and gives; it looks at the inputs itself, to say what was expected."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    side, channels = facts["resolution"], facts["network"]["channels"]
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


def _shipped_code(folder: Path) -> Path:
    """A copy of the package `progan` that holds what the served generator imports of it."""
    package = folder / "progan"
    package.mkdir()
    source = Path(progan.__file__).parent
    for name in ("__init__", "device", "errors", "networks", "resolutions", "sampling"):
        shutil.copy(source / f"{name}.py", package)
    return package
