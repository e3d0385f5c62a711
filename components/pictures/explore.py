"""One HTML page in which a generator runs in the browser, without a server or a network."""

import base64
import shlex
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from components.page import template
from components.pictures.snapshot import is_snapshots, newest_sampler
from components.pictures.sources import checkpoint_of, phases_in
from progan.checkpoints import Checkpoint
from progan.errors import InputError
from progan.files import atomic_file
from progan.network_config import ProganConfig, StyleganConfig
from progan.networks import Generator, biggan, progan
from progan.networks.layers import Layer
from progan.resolutions import phase_key, resolution_of, resolutions_between
from progan.sampling import Sampler, images_at_once, latents_of_seeds

LARGEST_PAGE = 128_000_000  # bytes: 23 million weights in float32; Chromium opens it in seconds
SLOWEST_IMAGE = 4e9  # multiplications, in plain JavaScript, which makes 1e9 a second on one core
SLOWEST_IN_WEBGPU = 100e9  # multiplications; of Progressive GAN alone
CHECKED_IMAGES = 16  # fewer if one minibatch does not hold them
HALF_TOLERANCE = 0.4  # grey levels by which float16 weights may move a pixel of these images


@dataclass(frozen=True)
class Shown:
    """A generator on the CPU for the page to show."""

    sampler: Sampler
    source: str | None  # what `progan generate` takes to make the same images; None: it takes nothing
    kimg: float | None  # None: not known

    @classmethod
    def of(cls, checkpoint: Checkpoint, source: str | None) -> "Shown":
        return cls(Sampler.of(checkpoint), source, checkpoint.facts.kimg)


def explore(source: str, out: Path) -> None:
    """Write the page of the generator at `source`, or of all phases in the folder `source`, to `out`.

    source: also a folder of snapshots, and all that `checkpoint_of` takes.
    """
    if out.suffix.lower() != ".html":
        raise InputError(f"--out: {out}: a file name that ends with .html is expected")
    if Path(source).suffix == ".onnx":
        raise InputError(
            f"{source}: is an ONNX file; name a checkpoint, snapshots, or a version in the registry"
        )
    title, generators = _generators(source)
    content = page(title, generators)
    with atomic_file(out) as partial:
        partial.write_text(content)
    keys = ", ".join(phase_key(each.sampler.resolution) for each in generators)
    print(f"{out}: {keys} of {source}, {len(content) / 1e6:.1f} MB; open it in a browser")


def _generators(source: str) -> tuple[str, list[Shown]]:
    """The page's title and the generators at `source`, lowest resolution first."""
    if is_snapshots(Path(source)):
        return Path(source).name, [Shown(newest_sampler(Path(source)), source, None)]
    phases = [] if source.startswith("models:") else phases_in(source)
    checkpoints = {str(phase.folder): phase for phase in phases} or {source: checkpoint_of(source)}
    title = next(reversed(checkpoints.values())).facts.dataset.name
    return title, [Shown.of(checkpoint, address) for address, checkpoint in checkpoints.items()]


def page(title: str, generators: Sequence[Shown]) -> str:
    """The page of the phases of one run, lowest first; InputError if it would be too large or too slow."""
    last = generators[-1]
    generator = last.sampler.generator
    most = SLOWEST_IN_WEBGPU if isinstance(generator, progan.Generator) else SLOWEST_IMAGE
    if (count := multiplications(generator)) > most:
        limit = f"at most {most / 1e9:.0f}"
        raise _no_page(last, f"too large for a page ({count / 1e9:.1f} billion multiplications, {limit})")
    _require_size(generators, least_size(generators))
    facts = {
        "network": _network_facts(generator),
        "classes": last.sampler.classes,
        "slowest": SLOWEST_IMAGE,
        "levels": [_level_facts(each) for each in generators],
    }
    weights = [base64.b64encode(save(_tensors(each.sampler))).decode() for each in generators]
    content = template("pictures/explore.html").render(title=title, facts=facts, weights=weights)
    _require_size(generators, len(content))
    return content


def _network_facts(generator: Generator) -> dict[str, Any]:
    """What the scripts need to know of a folded generator."""
    network = generator.network
    facts: dict[str, Any] = {
        "architecture": network.architecture,
        "latentSize": network.latent_size,
        "labels": network.label_size,
        "channels": network.channels,
    }
    if isinstance(network, ProganConfig):
        facts |= {
            "latentNorm": network.latent_norm,
            "activation": network.generator_activation,
            "pixelNorm": network.generator_norm == "pixel",
            "convsPerBlock": network.convs_per_block,
            "tanh": network.output == "tanh",
        }
    elif isinstance(network, StyleganConfig):
        facts["truncationCutoff"] = network.truncation_cutoff
    elif isinstance(generator, biggan.Generator):
        facts |= {"chunks": generator.chunks, "tanh": True}
    return facts


def _level_facts(generator: Shown) -> dict[str, Any]:
    return {
        "resolution": generator.sampler.resolution,
        "alpha": generator.sampler.alpha,
        "multiplications": multiplications(generator.sampler.generator),
        "kimg": generator.kimg,
        "source": generator.source and shlex.quote(generator.source),
    }


def least_size(generators: Sequence[Shown]) -> int:
    """The bytes that the weights take in a page if they are in float16: 4 / 3 as much in base64."""
    count = sum(weight.numel() for each in generators for weight in _used(each.sampler.generator).values())
    return 2 * count * 4 // 3


def _require_size(generators: Sequence[Shown], size: int) -> None:
    """Raise InputError if a page of `size` bytes is too large."""
    if size <= LARGEST_PAGE:
        return
    last, what = generators[-1], f"{size / 1e6:.0f} MB, at most {LARGEST_PAGE / 1e6:.0f}"
    if last.source and len(generators) > 1 and least_size([last]) <= LARGEST_PAGE:
        raise InputError(
            f"{last.source}: too large for a page with the phases before it ({what}); "
            f"progan explore {last.source} writes the page of this phase alone"
        )
    raise _no_page(last, f"too large for a page ({what})")


def _no_page(generator: Shown, why: str) -> InputError:
    source = generator.source or "GENERATOR"
    return InputError(
        f"{source}: {why}; progan generate {source} --seeds 0-63 --out images.png makes its images"
    )


def multiplications(generator: Generator) -> int:
    """The number of multiplications that an image takes."""
    return sum(
        weight.numel() * (resolution_of(name.split(".")[1]) ** 2 if weight.ndim == 4 else 1)
        for name, weight in _used(generator).items()
        if name.endswith(".weight") and weight.ndim > 1
    )


def _used(generator: Generator) -> dict[str, Tensor]:
    """The state without the toRGB layers that are not faded any more, and without the vectors u of spectral
    norms."""
    levels = resolutions_between(4, generator.resolution)[:-2] if generator.network.GROWS else []
    unused = tuple(f"to_rgb.{phase_key(level)}." for level in levels)
    return {
        name: tensor
        for name, tensor in generator.state_dict().items()
        if not name.endswith(".u") and not name.startswith(unused)
    }


# ------------------------------------------------------------------------------------------------
# Weights


@torch.no_grad()
def _tensors(sampler: Sampler) -> dict[str, Tensor]:
    """The weights of `folded`, in float16 if the images stay the same, and the centres of truncation."""
    plain = folded(sampler.generator)
    halved = deepcopy(plain)
    for tensor in halved.state_dict().values():
        tensor.copy_(tensor.half())
    images = _checked_images(sampler, sampler.generator)
    if not _difference(images, _checked_images(sampler, plain)) < HALF_TOLERANCE / 10:
        raise RuntimeError("the folded layers are not the generator's")
    same = _difference(images, _checked_images(sampler, halved)) < HALF_TOLERANCE
    weights = _used(halved if same else plain)
    centers = torch.stack([sampler.center(label) for label in range(max(len(sampler.classes), 1))])
    return {
        **{name: (tensor.half() if same else tensor).contiguous() for name, tensor in weights.items()},
        "centers": centers.contiguous(),
    }


def folded(generator: Generator) -> Generator:
    """The same function of latents, its weights as they are applied: scaled, or divided by their norms."""
    if isinstance(generator, progan.Generator):
        return _folded_progan(generator)
    plain = deepcopy(generator)
    for layer in plain.modules():
        if isinstance(layer, Layer):
            layer.weight.mul_(layer.multiplier)
            if layer.bias is not None:
                layer.bias.mul_(layer.form.learning_rate)
            layer.multiplier, layer.form = 1.0, layer.form._replace(learning_rate=1.0)
        elif isinstance(layer, biggan.SpectralLayer):
            layer.weight.copy_(layer.normalized(layer.weight)[0])
    return plain


def _folded_progan(generator: progan.Generator) -> progan.Generator:
    """Made of plain layers: batch norm is part of weights and biases, and scaling is not fused."""
    network = generator.network
    norm = "none" if network.generator_norm == "batch" else network.generator_norm
    form = replace(network, equalized_lr=False, generator_norm=norm, fused_scaling=False)
    plain = progan.Generator(form, generator.resolution).requires_grad_(False).eval()
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


def _checked_images(sampler: Sampler, generator: Generator) -> Tensor:
    """The images of the first seeds, and of all classes, that `generator` makes in place of the sampler's."""
    seeds = range(min(CHECKED_IMAGES, images_at_once(sampler.resolution)))
    labels = torch.arange(len(seeds)) % max(len(sampler.classes), 1)
    other = Sampler(generator, sampler.classes, sampler.alpha)
    return other.make(latents_of_seeds(seeds, sampler.latent_size), labels).clamp(-1, 1)


def _difference(images: Tensor, others: Tensor) -> float:
    """The largest difference of a pixel, in grey levels."""
    return 127.5 * (images - others).abs().max().item()
