"""One HTML page in which a generator runs in the browser, without a server or a network."""

import base64
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from components.page import template
from components.pictures.sources import checkpoint_of, phases_in
from progan.checkpoints import Checkpoint
from progan.config import NetworkConfig
from progan.errors import InputError
from progan.files import atomic_file
from progan.networks import Generator, Layer, one_hot
from progan.resolutions import phase_key
from progan.sampling import Sampler, latents_of_seeds

LARGEST_PAGE = 32_000_000  # bytes
SLOWEST_IMAGE = 4e9  # multiplications: about 5 s on one core of a laptop
CHECKED_SEEDS = range(16)
HALF_TOLERANCE = 0.4  # grey levels by which float16 weights may move a pixel of these seeds


@dataclass(frozen=True)
class Level:
    """A generator in the page."""

    resolution: int
    kimg: float
    source: str  # what `progan generate` takes
    weights: str  # a safetensors file in base64


def explore(source: str, out: Path) -> None:
    """Write the page of the generator at `source`, or of all phases in the folder `source`, to `out`.

    source: see `checkpoint_of`.
    """
    if out.suffix.lower() != ".html":
        raise InputError(f"--out: {out}: a file name that ends with .html is expected")
    if Path(source).suffix == ".onnx":
        raise InputError(f"{source}: is an ONNX file; name a checkpoint, or a version in the registry")
    phases = [] if source.startswith("models:") else phases_in(source)
    generators = {str(phase.folder): phase for phase in phases} or {source: checkpoint_of(source)}
    content = page(generators)
    with atomic_file(out) as partial:
        partial.write_text(content)
    keys = ", ".join(each.facts.phase for each in generators.values())
    print(f"{out}: {keys} of {source}, {len(content) / 1e6:.2g} MB; open it in a browser")


def page(generators: Mapping[str, Checkpoint]) -> str:
    """The page of the phases of one run, lowest first; InputError if it would be too large or too slow.

    generators: by what `progan generate` takes to make the same images.
    """
    levels = [_level(*each) for each in generators.items()]
    last, facts = list(generators.items())[-1][0], list(generators.values())[-1].facts
    content = template("pictures/explore.html").render(
        title=facts.dataset.name,
        levels=levels,
        facts={
            "network": _network_facts(facts.network),
            "classes": facts.classes,
            "levels": [
                {"resolution": level.resolution, "kimg": level.kimg, "source": shlex.quote(level.source)}
                for level in levels
            ],
        },
    )
    if len(content) > LARGEST_PAGE:
        raise _too_large(last, f"{len(content) / 1e6:.0f} MB, at most {LARGEST_PAGE / 1e6:.0f}")
    return content


def _network_facts(network: NetworkConfig) -> dict[str, Any]:
    """What the scripts need to know of a folded network."""
    return {
        "latentSize": network.latent_size,
        "labels": network.label_size,
        "latentNorm": network.latent_norm,
        "activation": network.generator_activation,
        "pixelNorm": network.generator_norm == "pixel",
        "convsPerBlock": network.convs_per_block,
        "tanh": network.output == "tanh",
    }


def _level(source: str, checkpoint: Checkpoint) -> Level:
    sampler = Sampler.of(checkpoint)
    count = multiplications(sampler.generator)
    if count > SLOWEST_IMAGE:
        limit = f"at most {SLOWEST_IMAGE / 1e9:.0f} billion"
        raise _too_large(source, f"{count / 1e9:.1f} billion multiplications an image, {limit}")
    weights = base64.b64encode(save(_tensors(sampler))).decode()
    return Level(checkpoint.facts.resolution, checkpoint.facts.kimg, source, weights)


def _too_large(source: str, what: str) -> InputError:
    return InputError(
        f"{source}: too large for a page ({what}); make its images with: "
        f"progan generate {source} --seeds 0-63 --out images.png"
    )


def multiplications(generator: Generator) -> int:
    """The number of multiplications that an image takes."""
    return sum(
        weight.numel() * (int(name.split(".")[1].removeprefix("r")) ** 2 if weight.ndim == 4 else 1)
        for name, weight in _used(generator).items()
        if weight.ndim > 1
    )


def _used(generator: Generator) -> dict[str, Tensor]:
    """The parameters without those of the lower levels' toRGB layers."""
    last = f"to_rgb.{phase_key(generator.resolution)}."
    parameters = generator.state_dict().items()
    return {name: tensor for name, tensor in parameters if name.startswith(("blocks.", last))}


# ------------------------------------------------------------------------------------------------
# Weights


@torch.no_grad()
def _tensors(sampler: Sampler) -> dict[str, Tensor]:
    """The weights of `folded`, in float16 if the images stay the same, and the centres of truncation."""
    plain = folded(sampler.generator)
    halved = folded(plain)
    for parameter in halved.parameters():
        parameter.copy_(parameter.half().float())
    if not _difference(sampler, plain) < HALF_TOLERANCE / 10:
        raise RuntimeError("the folded layers are not the generator's")
    same = _difference(sampler, halved) < HALF_TOLERANCE
    weights = _used(halved if same else plain)
    centers = torch.stack([sampler.center(label) for label in range(max(len(sampler.classes), 1))])
    return {
        **{name: (tensor.half() if same else tensor).contiguous() for name, tensor in weights.items()},
        "centers": centers.contiguous(),
    }


def folded(generator: Generator) -> Generator:
    """The same function of latents, made of plain layers.

    Weights are scaled, batch norm is part of weights and biases, and scaling is not fused.
    """
    network = generator.network
    norm = "none" if network.generator_norm == "batch" else network.generator_norm
    form = replace(network, equalized_lr=False, generator_norm=norm, fused_scaling=False)
    plain = Generator(form, generator.resolution).requires_grad_(False).eval()
    layers = dict(generator.named_modules())
    for name, layer in plain.named_modules():
        if isinstance(layer, Layer):
            layer.load_state_dict(_folded_layer(layers[name]))
    return plain


def _folded_layer(layer: Any) -> dict[str, Tensor]:
    weight = layer.weight * layer.multiplier
    if layer.bias is not None:
        return {"weight": weight, "bias": layer.bias}
    gain = layer.norm.weight / torch.sqrt(layer.norm.running_var + layer.norm.eps)
    per_map = weight.view(len(gain), -1) * gain[:, None]  # the first layer has 16 rows of a map
    return {"weight": per_map.view_as(weight), "bias": layer.norm.bias - layer.norm.running_mean * gain}


def _difference(sampler: Sampler, other: Generator) -> float:
    """The largest difference of a pixel between the images of two generators, in grey levels."""
    latents = latents_of_seeds(CHECKED_SEEDS, sampler.latent_size)
    classes = len(sampler.classes)
    labels = one_hot(torch.arange(len(latents)) % max(classes, 1), classes)
    inputs = torch.cat([latents, labels], 1)
    images, others = (generator(inputs).clamp(-1, 1) for generator in (sampler.generator, other))
    return 127.5 * (images - others).abs().max().item()
