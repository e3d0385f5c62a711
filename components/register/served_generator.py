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

from progan.networks import Generator, one_hot

IMAGES_AT_ONCE = 16


class ServedGenerator(PythonModel):
    """predict: float32 latents [N, latent_size], or seeds [N, 1], to uint8 images [N, H, W, C].

    Seed s stands for the latents that `torch.Generator().manual_seed(s)` draws from N(0, I). A conditional
    generator takes one column more, the last: labels from 0 to label_size - 1. Anything else is an error
    (400 over HTTP).
    """

    def load_context(self, context: PythonModelContext) -> None:
        facts = json.loads(Path(context.artifacts["facts"]).read_text())
        network: Any = SimpleNamespace(**facts["network"])
        self.latent_size, self.label_size = network.latent_size, network.label_size
        self.generator = Generator(network, facts["resolution"])
        self.generator.load_state_dict(load_file(context.artifacts["weights"]))
        self.generator.requires_grad_(False).eval()

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        inputs = self._inputs(np.asarray(model_input))
        images = torch.cat([self.generator(some) for some in inputs.split(IMAGES_AT_ONCE)])
        pixels = (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        return pixels.permute(0, 2, 3, 1).contiguous().numpy()

    def _inputs(self, given: np.ndarray) -> torch.Tensor:
        if self.label_size == 0:
            return self._latents(given, given.shape)
        if given.ndim != 2:
            raise self._refusal(given.shape)
        return torch.cat([self._latents(given[:, :-1], given.shape), self._labels(given[:, -1])], 1)

    def _latents(self, given: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
        if given.ndim == 2 and given.shape[1] == self.latent_size:
            return torch.from_numpy(given.astype(np.float32))
        if given.ndim == 2 and given.shape[1] == 1 and _whole(given).all():
            return torch.stack([self._drawn(int(seed)) for seed in given[:, 0]])
        raise self._refusal(shape)

    def _labels(self, given: np.ndarray) -> torch.Tensor:
        if not (_whole(given) & (given < self.label_size)).all():
            raise _invalid(f"labels, the last column, must be whole numbers from 0 to {self.label_size - 1}")
        return one_hot(torch.from_numpy(given.astype(np.int64)), self.label_size)

    def _drawn(self, seed: int) -> torch.Tensor:
        return torch.randn(self.latent_size, generator=torch.Generator().manual_seed(seed))

    def _refusal(self, shape: tuple[int, ...]) -> MlflowException:
        size, seed, labels = self.latent_size, 1, ""
        if self.label_size:
            size, seed, labels = size + 1, seed + 1, " with labels as last column"
        return _invalid(f"expected latents [N, {size}] or whole seeds [N, {seed}]{labels}, not {list(shape)}")


def _whole(given: np.ndarray) -> np.ndarray:
    return (given >= 0) & (given % 1 == 0)


def _invalid(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(ServedGenerator())
