"""The registered model: seeds or latents in, images out.

MLflow runs this file as it is (models from code), with copies of the modules of progan that it imports:
serving needs torch, numpy, pillow, pyyaml and safetensors, but not this project.
"""

import base64
import io
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
import yaml
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from PIL import Image
from torch import Tensor

from components.signatures.trust import trusted_signers
from components.signatures.verifying import verify
from progan.checkpoints import NETWORKS, read_checkpoint
from progan.device import best_device
from progan.errors import InputError
from progan.sampling import Sampler, label_of, latents_of_seeds


class ServedGenerator(PythonModel):
    """Images from {"seeds": [whole numbers]} or {"latents": [[latent_size numbers], …]}.

    Parameters: `label`, the name or number of the class, which a conditional generator needs; `truncation`,
    from 1, all variety, to 0, the most typical image (see progan.sampling.Sampler); `format`, "pixels" for
    uint8 [N, H, W, C] or "png" for N PNG files in base64. Wrong input raises INVALID_PARAMETER_VALUE, status
    400 over HTTP, with a line that says what was expected.
    """

    def load_context(self, context: PythonModelContext) -> None:
        folder = Path(context.artifacts["facts"]).parent
        _verify(folder)
        self.sampler = Sampler.of(read_checkpoint(folder, [NETWORKS]))
        self.sampler.generator.to(best_device())

    def predict(  # type: ignore[override]  # params are never None: MLflow takes defaults from the signature
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any]
    ) -> np.ndarray | list[str]:
        try:
            if params["format"] not in ("pixels", "png"):
                raise InputError(f"format {params['format']}: pixels or png is expected")
            latents = self._latents(model_input)
            labels = torch.full((len(latents),), label_of(params["label"], self.sampler.classes))
            images = torch.cat(list(self.sampler.images(latents, labels, params["truncation"])))
        except InputError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        return pixels if params["format"] == "pixels" else [_png(image) for image in pixels]

    def _latents(self, rows: pd.DataFrame) -> Tensor:
        """float [N, latent_size] from N rows, each with a seed or latents."""
        size = self.sampler.latent_size
        if ("seeds" in rows) == ("latents" in rows):
            raise InputError(
                f'inputs: {{"seeds": [whole numbers]}} or {{"latents": [[{size} numbers], …]}} is expected'
            )
        if "seeds" in rows:
            seeds = rows["seeds"].tolist()
            if not all(type(seed) is int for seed in seeds):
                raise InputError(f"inputs.seeds: a list of whole numbers is expected, not {_short(seeds)}")
            return latents_of_seeds(seeds, size)
        try:
            latents = np.array(rows["latents"].tolist(), np.float32)
        except (TypeError, ValueError):
            raise InputError(f"inputs.latents: N lists of {size} numbers are expected") from None
        if latents.ndim != 2 or latents.shape[1] != size or not np.isfinite(latents).all():
            shape = list(latents.shape)
            raise InputError(f"inputs.latents: N lists of {size} finite numbers are expected, not {shape}")
        return torch.from_numpy(latents)


def _verify(folder: Path) -> None:
    """Refuse a generator without a signature by one of those whom this server trusts, if it trusts anyone."""
    if trusted := trusted_signers():
        version = _version_of(folder.parent)
        signature = verify(folder, " version ".join(version.values()) or "the model", trusted, **version)
        print(f"{signature.provenance}: signed by {signature.by}", file=sys.stderr)


def _version_of(model: Path) -> dict[str, str]:
    """The name and version as which MLflow has fetched the folder `model`; empty if it did not."""
    file = model / REGISTERED_MODEL_META_FILE_NAME
    if not file.is_file():
        return {}
    fields = yaml.safe_load(file.read_text())
    return {"model": fields["model_name"], "version": str(fields["model_version"])}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:60]} …"


def _png(pixels: np.ndarray) -> str:
    """uint8 [H, W, C] as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


mlflow.models.set_model(ServedGenerator())
