"""What both StyleGANs have: styles, their mixing, and noise (Karras et al. 2019, §2, §3.1, §3.2)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from progan.networks import base
from progan.networks.layers import Dense, LayerForm, per_map, pixel_norm
from progan.resolutions import phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.network_config import Stylegan2Config, StyleganConfig, StyleParameters
    from progan.randomness import Randomness

PLAIN = LayerForm(equalized_lr=True, activation="leaky-relu", norm="none")
LINEAR = PLAIN._replace(activation="linear")


class Mapping(nn.Sequential):
    """The mapping network f, latents z to styles w (§2): [N, inputs] → [N, style_size]."""

    def __init__(self, network: "StyleParameters", inputs: int) -> None:
        super().__init__()
        form = PLAIN._replace(learning_rate=network.mapping_learning_rate)
        for layer in range(network.mapping_layers):
            self.add_module(f"dense{layer}", Dense(inputs, network.style_size, form))
            inputs = network.style_size


class Noise(nn.Module):
    """Add noise from N(0, 1), the same for all maps, scaled for each or for all (§3.2).

    x: [N, maps, side, side] → the same shape.
    """

    fixed: Tensor

    def __init__(self, strengths: int, side: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(strengths))
        self.register_buffer("fixed", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor, randomness: "Randomness | None") -> Tensor:
        """Without randomness, the noise is fixed."""
        noise = self.fixed if randomness is None else randomness.normal(len(x), 1, *x.shape[2:])
        return x + (noise * per_map(self.strength)).to(x.dtype)


class StyleGenerator(base.Generator):
    """`start` maps latents to styles w; `grow` takes one for all layers, [N, style_size], or one for each,
    [N, layers, style_size]."""

    Block: type[nn.Module]  # of a level, made from network, input and output maps, and side

    network: "StyleganConfig | Stylegan2Config"

    def __init__(self, network: "StyleganConfig | Stylegan2Config", resolution: int) -> None:
        super().__init__(network, resolution)
        self.layers = 2 * len(resolutions_between(4, resolution))  # of the synthesis network
        if network.label_size:
            self.labels = nn.Parameter(torch.randn(network.label_size, network.latent_size))
        self.mapping = Mapping(network, network.latent_size * (2 if network.label_size else 1))
        maps = network.feature_maps()
        self.blocks = nn.ModuleDict(
            {
                phase_key(level): self.Block(network, maps.at(level // 2), maps.at(level), level)
                for level in resolutions_between(4, resolution)
            }
        )

    def forward(self, latents: Tensor, alpha: Tensor | None = None) -> Tensor:
        return self.grow(self.styles(latents), alpha)

    def start(self, latents: Tensor) -> Tensor:
        """[N, latent_size + label_size] → w [N, style_size]."""
        z, labels = latents.split([self.network.latent_size, self.network.label_size], dim=1)
        if self.network.label_size:
            z = torch.cat([z, labels @ self.labels.to(z.dtype)], dim=1)
        return self.mapping(pixel_norm(z))

    def mixed(self, w: Tensor, latents: Tensor, randomness: "Randomness") -> Tensor:
        """Mixing regularisation (§3.1): some images have the style of other latents from a random layer on.

        w: [N, style_size] → [N, layers, style_size].
        """
        z, labels = latents.split([self.network.latent_size, self.network.label_size], dim=1)
        others = self.start(torch.cat([randomness.normal(len(z), z.shape[1], dtype=z.dtype), labels], 1))
        mixes, position = randomness.uniform(len(z), 2).unbind(1)
        crossover = 1 + (position * (self.layers - 1)).floor()  # 1 … layers - 1
        crossover = torch.where(mixes < self.network.style_mixing, crossover, self.layers)
        own = torch.arange(self.layers, device=w.device) < crossover[:, None]  # [N, layers]
        return torch.where(own[..., None], w[:, None], others[:, None])

    def styles(self, latents: Tensor) -> Tensor:
        """The styles of the layers, in training mixed: [N, layers, style_size]."""
        w = self.start(latents)
        if self.randomness and self.network.style_mixing:
            return self.mixed(w, latents, self.randomness)
        return w[:, None].expand(-1, self.layers, -1)

    def per_layer(self, x: Tensor) -> list[Tensor]:
        """The style of each layer, [N, style_size]. x: as `grow` takes it."""
        return list((x if x.dim() == 3 else x[:, None].expand(-1, self.layers, -1)).unbind(1))
