"""A generator in an ONNX file.

Inputs: `latents`, float [N, latent_size], from N(0, I); `labels`, int64 [N], if the generator is conditional;
`truncation`, float [], which may be left out: 1 then (see progan.sampling.Sampler). Output: `images`, float
[N, C, R, R], about [-1, 1], not clipped. The file's metadata are the values of Metadata, each as JSON.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from progan.checkpoints import CheckpointFacts
from progan.errors import InputError
from progan.files import parse_json
from progan.networks import one_hot
from progan.sampling import Sampler, images_at_once, latents_of_seeds, require_truncation, to_uint8
from progan.validation import from_json

TOLERANCE = 1e-4  # between onnxruntime's images and torch's


@dataclass(frozen=True)
class Metadata:
    """The metadata of a file: facts about its generator."""

    phase: str
    resolution: int
    kimg: float
    identity: str
    latent_size: int
    classes: tuple[str, ...]  # by label


class _Exported(nn.Module):
    """`Sampler.make` as a module, with the centres of all classes as constants."""

    centers: Tensor

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.generator, self.classes = sampler.generator, len(sampler.classes)
        centers = [sampler.center(label) for label in range(max(self.classes, 1))]
        self.register_buffer("centers", torch.stack(centers))

    def forward(self, latents: Tensor, truncation: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            x, centers = self.generator.start(latents), self.centers
        else:
            x = self.generator.start(torch.cat([latents, one_hot(labels, self.classes)], 1))
            centers = self.centers[labels]
        return self.generator.grow(self.generator.truncate(x, centers, truncation))


def write(sampler: Sampler, facts: CheckpointFacts, file: Path) -> None:
    """Write the generator, which is on the CPU, and its metadata to `file`."""
    example = {"latents": torch.zeros(2, sampler.latent_size), "truncation": torch.ones(())}
    dynamic: dict[str, Any] = {"latents": {0: torch.export.Dim("N")}, "truncation": {}}
    if sampler.classes:
        example["labels"] = torch.zeros(2, dtype=torch.int64)
        dynamic["labels"] = {0: torch.export.Dim.AUTO}  # N again; export recognises it
    program = torch.onnx.export(
        _Exported(sampler).eval(),
        kwargs=example,
        dynamo=True,
        input_names=list(example),
        output_names=["images"],
        dynamic_shapes=dynamic,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    model.graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), "truncation"))
    metadata = Metadata(
        facts.phase, facts.resolution, facts.kimg, facts.identity, sampler.latent_size, tuple(sampler.classes)
    )
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in asdict(metadata).items()})
    onnx.save(model, file)


def check(sampler: Sampler, file: Path) -> float:
    """The largest difference between the file's images and torch's; RuntimeError above TOLERANCE."""
    exported = OnnxSampler(file)
    largest = 0.0
    for count, truncation in ((1, 1.0), (3, 0.7)):
        latents = latents_of_seeds(range(count), sampler.latent_size)
        labels = torch.arange(count) % max(len(sampler.classes), 1)
        with torch.no_grad():
            difference = exported.make(latents, labels, truncation) - sampler.make(
                latents, labels, truncation
            )
        largest = max(largest, difference.abs().max().item())
    if not largest <= TOLERANCE:
        raise RuntimeError(f"onnxruntime's images differ from torch's by up to {largest:g}")
    return largest


def _session(file: Path) -> Any:
    """Open `file` in onnxruntime, without telemetry and without its warning that truncation has a default."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    return onnxruntime.InferenceSession(file, options, onnxruntime.get_available_providers())


class OnnxSampler:
    """The generator in a file from `write`, with the interface of `progan.sampling.Sampler`."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise InputError(f"{file}: no such file; progan export writes one")
        try:
            self._session = _session(file)
            properties = self._session.get_modelmeta().custom_metadata_map
            metadata = from_json(Metadata, {name: parse_json(value) for name, value in properties.items()})
            if self._session.get_outputs()[0].shape[2] != metadata.resolution:
                raise ValueError("its images have another resolution")
        except Exception as error:  # onnxruntime's exceptions have no common base
            why = " ".join(str(error).split())[:200]
            raise InputError(f"{file}: not a generator that progan export wrote ({why})") from error
        self._file, self.resolution, self.latent_size = file, metadata.resolution, metadata.latent_size
        self.classes, self.has_styles = list(metadata.classes), False

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]:
        """As `progan.sampling.Sampler.images`."""
        require_truncation(truncation)
        count = images_at_once(self.resolution)
        for minibatch in zip(latents.split(count), labels.split(count), strict=True):
            yield to_uint8(self.make(*minibatch, truncation))

    def images_at(self, points: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]:
        """As `images`: the points are latents."""
        return self.images(points, labels, truncation)

    def points(self, latents: Tensor, labels: Tensor) -> Tensor:
        """What a walk goes through: the latents, because a file has no other input."""
        return latents

    def make(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """The images of one minibatch: float [n, C, R, R]."""
        inputs = {"latents": latents.numpy(), "truncation": np.array(truncation, np.float32)}
        if self.classes:
            inputs["labels"] = labels.numpy()
        try:
            return torch.from_numpy(self._session.run(["images"], inputs)[0])
        except Exception as error:
            why = " ".join(str(error).split())[:200]
            raise InputError(f"{self._file}: does not fit its own metadata ({why})") from error
