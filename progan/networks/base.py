"""What every architecture's networks can do: all that training, measures and sampling know of them.

Both networks are built for one phase's resolution out of modules whose state keys never change
(`blocks.r0008.conv0.weight`, `to_rgb.r0004.bias`, …), so a finished phase loads into the next by name.
`network` is that section of params.yaml: the architecture's NetworkConfig, or anything with its attributes.
A registered model ships this package with its weights; it needs nothing but torch.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from progan.network_config import NetworkConfig
    from progan.randomness import Randomness


class Generator(nn.Module):
    """Latents to images at `resolution`, the newest layers faded in by `alpha` (Karras et al. 2018, §2).

    forward: latents float [N, latent_size + label_size], one-hot labels last, alpha a 0-d tensor in [0, 1]
    or None once the fade is over → images float [N, channels, resolution, resolution], about [-1, 1],
    not clipped. The layers compute in the precision of the latents; the images are float32 at least.
    """

    def __init__(self, network: "NetworkConfig", resolution: int) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution
        self.randomness: Randomness | None = None  # what training draws; without it, the same image always

    def forward(self, latents: Tensor, alpha: Tensor | None = None) -> Tensor:
        return self.grow(self.start(latents), alpha)

    def start(self, latents: Tensor) -> Tensor:
        """Latents to what truncation moves towards its mean: [N, latent_size + label_size] → [N, …]."""
        raise NotImplementedError

    def grow(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The output of `start` to images: [N, …] → [N, channels, resolution, resolution]."""
        raise NotImplementedError

    def share_buffers(self, trained: "Generator") -> None:
        """Use the running statistics of `trained`, whose averaged generator this is, not their averages."""
        for module, of_trained in zip(self.modules(), trained.modules(), strict=True):
            for name, buffer in of_trained.named_buffers(recurse=False):
                setattr(module, name, buffer)

    def settle(self, latents: Tensor) -> None:
        """Prepare an averaged generator for sampling, from latents as in forward: [N, …]."""

    def matrices(self) -> list[Tensor]:
        """The weights that orthogonal regularisation is of: all but biases and gains."""
        return [parameter for parameter in self.parameters() if parameter.dim() > 1]

    def truncate(self, x: Tensor, center: Tensor, truncation: float | Tensor) -> Tensor:
        """Move x, the output of `start`, to its mean `center`: for `grow`. truncation 1 changes nothing."""
        return torch.lerp(center, x, truncation)


class Discriminator(nn.Module):
    """Images at `resolution` to scores, the newest layers faded in by `alpha` (Karras et al. 2018, §2).

    forward: images float [N, channels, resolution, resolution], alpha as in Generator
    → float [N, 1 + label_size]: column 0 the score, the rest the class logits or, of a projection
    discriminator, what each class adds to the score. The layers compute in the precision of the images; the
    scores are float32 at least.
    """

    def __init__(self, network: "NetworkConfig", resolution: int) -> None:
        super().__init__()
        self.network, self.resolution = network, resolution

    def forward(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        return self.end(self.features(images, alpha))

    def features(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        """The input of the last block, of each image alone: [N, channels, R, R] → [N, maps, 4, 4]."""
        raise NotImplementedError

    def end(self, x: Tensor) -> Tensor:
        """The last block, in which the images of a minibatch meet: [N, maps, 4, 4] → [N, 1 + label_size]."""
        raise NotImplementedError

    def calibrate(self, images: Tensor) -> None:
        """Initialise what depends on real `images`, the input of forward after the fade."""
