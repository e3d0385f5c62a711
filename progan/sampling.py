"""Sample images from a generator.

A registered model ships this file, so that a seed, a class and a truncation mean the same everywhere.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from progan.checkpoints import Checkpoint
from progan.errors import InputError
from progan.network_config import NetworkConfig
from progan.networks import Generator, one_hot
from progan.networks.styles import StyleGenerator
from progan.shapes import without_values

PIXELS_AT_ONCE = 2**21  # bounds memory: 256 images at 64×64, two at 1024×1024
CENTER_LATENTS = 1000  # number of latents whose mean is the centre of truncation
SETTLING_LATENTS = 512  # from which statistics are gathered
LISTED_CLASSES = 20  # in an error message


def seeded_latents(count: int, latent_size: int, seed: int) -> Tensor:
    """Latents from N(0, I), the same on every device: float [count, latent_size]."""
    return torch.randn(count, latent_size, generator=torch.Generator().manual_seed(seed))


def latents_of_seeds(seeds: Sequence[int], latent_size: int) -> Tensor:
    """Latents from N(0, I), each from a seed of its own: float [len(seeds), latent_size]."""
    if not seeds or not all(0 <= seed < 2**63 for seed in seeds):
        raise InputError("seeds: at least one is expected, each a whole number from 0 to 2^63 - 1")
    return torch.cat([seeded_latents(1, latent_size, seed) for seed in seeds])


def seeded_inputs(count: int, network: NetworkConfig, seed: int, labels: Tensor | None) -> Tensor:
    """The input of a generator: seeded latents, then one-hot labels: float [count, latent_size + label_size].

    labels: int64, repeated as often as necessary; None for an unconditional generator.
    """
    latents = seeded_latents(count, network.latent_size, seed)
    if labels is None:
        return latents
    return torch.cat([latents, one_hot(labels[torch.arange(count) % len(labels)], network.label_size)], 1)


def settled(generator: Generator, labels: Tensor | None = None) -> Generator:
    """An averaged generator, prepared for sampling if its architecture needs that.

    labels: int64, those of the training set; None for all classes equally often, or for no classes.
    """
    network = generator.network
    if labels is None and network.label_size:
        labels = torch.arange(network.label_size)
    device = next(generator.parameters()).device
    generator.settle(seeded_inputs(SETTLING_LATENTS, network, 0, labels).to(device))
    return generator


def generate(generator: Generator, inputs: Tensor, alpha: Tensor | None = None) -> Iterator[Tensor]:
    """The images of `inputs` in even minibatches that fit into memory: uint8 [n, C, H, W], on the CPU.

    inputs: float [N, latent_size + label_size]. Rounded as the authors' code does before it measures:
    round(127.5 x + 127.5), saturating.
    """
    device = next(generator.parameters()).device
    for minibatch in inputs.split(images_at_once(generator.resolution)):
        with torch.no_grad():
            yield to_uint8(generator(minibatch.to(device), alpha)).cpu()


def images_at_once(resolution: int) -> int:
    """The number of images of this resolution that one minibatch generates."""
    return min(PIXELS_AT_ONCE // resolution**2, 256)


def to_uint8(images: Tensor) -> Tensor:
    """Float images in about [-1, 1] to uint8."""
    return (images * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def load_generator(checkpoint: Checkpoint) -> Generator:
    """The averaged generator of a finished phase, as its facts describe it, on the CPU."""
    generator = without_values(checkpoint.facts.network, checkpoint.facts.resolution)
    try:
        generator.load_state_dict(checkpoint.networks("ema"), assign=True)
    except RuntimeError:
        raise InputError(
            f"{checkpoint.folder}: checkpoint.json does not describe the networks beside it; delete "
            f"{checkpoint.folder} and run its phase again"
        ) from None
    return generator.requires_grad_(False).eval()


# ------------------------------------------------------------------------------------------------
# By class and truncation


class Sampler:
    """A trained generator, sampled by latents, class and truncation.

    Truncation trades variety for typicality: 1 leaves images as they are, 0 turns all of a class into the
    same, most typical one. Shorter latents would have no effect, because most generators normalise them.
    Instead, the output x of `start` is moved towards its mean: c + truncation · (x - c), where c is the mean
    of x over CENTER_LATENTS seeded latents of the same class. StyleGANs do so with their styles (Karras et
    al. 2019, appendix B); of Progressive GAN, x is the output of the 4×4 block.
    """

    def __init__(self, generator: Generator, classes: Sequence[str] = (), alpha: float = 1.0) -> None:
        """classes: their names by label, as many as the generator's `label_size`. alpha: see `Generator`."""
        self.generator, self.classes = generator.requires_grad_(False).eval(), list(classes)
        self.alpha = alpha
        self.resolution, self.latent_size = generator.resolution, generator.network.latent_size
        self.has_styles = isinstance(generator, StyleGenerator)
        self._centers: dict[int, Tensor] = {}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "Sampler":
        """The averaged generator of a checkpoint, on the CPU."""
        return cls(load_generator(checkpoint), checkpoint.facts.classes)

    def images(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]:
        """The images of `latents` in minibatches that fit into memory: uint8 [n, C, R, R], on the CPU.

        latents: float [N, latent_size]. labels: int64 [N], 0 if there are no classes.
        """
        yield from self._images(self.make, latents, labels, truncation)

    def images_at(self, points: Tensor, labels: Tensor, truncation: float = 1.0) -> Iterator[Tensor]:
        """As `images`, of what `points` returns, or of something between."""
        make = self._made_from if self.has_styles else self.make
        yield from self._images(make, points, labels, truncation)

    @torch.no_grad()
    def points(self, latents: Tensor, labels: Tensor) -> Tensor:
        """What a walk goes through: the styles of latents, if there are any, else the latents: [N, size]."""
        if not self.has_styles:
            return latents
        device = next(self.generator.parameters()).device
        return self._start(latents.to(device), labels.to(device)).cpu()

    def make(self, latents: Tensor, labels: Tensor, truncation: float = 1.0) -> Tensor:
        """The images of one minibatch: float [n, C, R, R], about [-1, 1]."""
        return self._made_from(self._start(latents, labels), labels, truncation)

    def _images(
        self, make: Callable[[Tensor, Tensor, float], Tensor], x: Tensor, labels: Tensor, truncation: float
    ) -> Iterator[Tensor]:
        require_truncation(truncation)
        device = next(self.generator.parameters()).device
        count = images_at_once(self.resolution)
        for part, part_labels in zip(x.split(count), labels.split(count), strict=True):
            with torch.no_grad():
                yield to_uint8(make(part.to(device), part_labels.to(device), truncation)).cpu()

    def _start(self, latents: Tensor, labels: Tensor) -> Tensor:
        return self.generator.start(torch.cat([latents, one_hot(labels, len(self.classes))], 1))

    def _made_from(self, x: Tensor, labels: Tensor, truncation: float) -> Tensor:
        if truncation != 1:
            centers = torch.stack([self.center(label) for label in labels.tolist()])
            x = self.generator.truncate(x, centers, truncation)
        return self.generator.grow(x, None if self.alpha == 1 else x.new_full((), self.alpha))

    @torch.no_grad()
    def center(self, label: int) -> Tensor:
        """The mean c of the class `label`: float […]."""
        if label not in self._centers:
            latents = seeded_latents(CENTER_LATENTS, self.latent_size, 0)
            labels = one_hot(torch.full((CENTER_LATENTS,), label), len(self.classes))
            inputs = torch.cat([latents, labels], 1).to(next(self.generator.parameters()).device)
            self._centers[label] = self.generator.start(inputs).mean(0)
        return self._centers[label]


def label_of(wanted: str | None, classes: Sequence[str]) -> int:
    """The label of the class `wanted`, its name or number; 0 if there are no classes."""
    if not classes:
        if wanted is not None:
            raise InputError(f"label {wanted}: this generator was trained without labels; leave it out")
        return 0
    if wanted is not None and _composed(wanted) in (names := list(map(_composed, classes))):
        return names.index(_composed(wanted))
    if wanted is not None and wanted.isdecimal() and int(wanted) < len(classes):
        return int(wanted)
    listed = ", ".join(classes[:LISTED_CLASSES]) + (", …" if len(classes) > LISTED_CLASSES else "")
    raise InputError(f"label {'missing' if wanted is None else wanted}: expected one of {listed}")


def _composed(name: str) -> str:
    """`name` as keyboards write it; macOS's folders have accents as characters of their own."""
    return unicodedata.normalize("NFC", name)


def require_truncation(truncation: float) -> None:
    if not 0 <= truncation <= 1:
        raise InputError(
            f"truncation {truncation:g}: from 0 (the most typical image) to 1 (full variety) is expected"
        )
