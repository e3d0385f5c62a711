"""Pictures of the same latents over the whole of training, so that one sees them develop."""

import torch
from PIL import Image
from torch import Tensor

from progan.config import Config
from progan.networks import Generator
from progan.render import grid, images_across, png
from progan.sampling import generate, seeded_inputs

PIXELS, IMAGES = 512, 64  # approximate width of a picture, and most images on it


class FixedLatents:
    """Makes a generator's images of the same latents in every phase; of classes, a row each."""

    def __init__(self, resolution: int, config: Config) -> None:
        self.columns, classes = images_across(resolution, PIXELS), config.network.label_size
        labels = torch.arange(IMAGES) // self.columns % classes if classes else None
        self.inputs = seeded_inputs(IMAGES, config.network, config.training.seed, labels)[: self.columns**2]

    def images(self, generator: Generator, alpha: Tensor | None) -> Tensor:
        """uint8 [N, C, R, R], on the CPU."""
        return torch.cat(list(generate(generator, self.inputs, alpha)))

    def sheet(self, images: Tensor) -> Image.Image:
        """The picture of `images`."""
        return grid(images, PIXELS, self.columns)

    def picture(self, generator: Generator, alpha: Tensor | None) -> bytes:
        """The picture as a PNG."""
        return png(self.sheet(self.images(generator, alpha)))
