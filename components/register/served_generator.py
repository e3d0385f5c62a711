"""The registered model: latents or seeds in, images out.

MLflow runs this file as it is (models from code) and ships progan/networks.py with it, so that serving
needs torch, numpy and safetensors, and nothing else of this project.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file

from progan.networks import Generator

IMAGES_AT_ONCE = 16


class ServedGenerator(PythonModel):
    """predict: float32 latents [N, latent_size], or seeds [N, 1], to uint8 images [N, H, W, C].

    Seed s stands for the latents that `torch.Generator().manual_seed(s)` draws from N(0, I); any other
    shape is an error (400 over HTTP).
    """

    def load_context(self, context: PythonModelContext) -> None:
        facts = json.loads(Path(context.artifacts["facts"]).read_text())
        network: Any = SimpleNamespace(**facts["network"])
        self.latent_size = network.latent_size
        self.generator = Generator(network, facts["resolution"])
        self.generator.load_state_dict(load_file(context.artifacts["weights"]))
        self.generator.requires_grad_(False).eval()

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        latents = self._latents(np.asarray(model_input))
        images = torch.cat([self.generator(some) for some in latents.split(IMAGES_AT_ONCE)])
        pixels = (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().numpy()

    def _latents(self, given: np.ndarray) -> torch.Tensor:
        if given.ndim == 2 and given.shape[1] == self.latent_size:
            return torch.from_numpy(given.astype(np.float32))
        if given.ndim == 2 and given.shape[1] == 1 and (given >= 0).all() and (given % 1 == 0).all():
            return torch.stack([self._drawn(int(seed)) for seed in given[:, 0]])
        raise MlflowException(
            f"expected latents [N, {self.latent_size}] or whole seeds [N, 1], not {list(given.shape)}",
            error_code=INVALID_PARAMETER_VALUE,
        )

    def _drawn(self, seed: int) -> torch.Tensor:
        return torch.randn(self.latent_size, generator=torch.Generator().manual_seed(seed))


mlflow.models.set_model(ServedGenerator())
