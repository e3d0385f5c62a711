"""Generator and discriminator of Brock et al. 2019, "Large Scale GAN Training for High Fidelity Natural Image
Synthesis" (BigGAN, figure 15 and table 4), readable top to bottom.

They do not grow: no layers are faded in, and alpha is not used. Sections are those of this paper, unless
another is named.
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from progan.networks import base
from progan.networks.layers import at_least_float32, channels_last
from progan.operations import conv2d, downsample, upsample
from progan.resolutions import phase_key, resolutions_between

if TYPE_CHECKING:
    from progan.network_config import BigganConfig

STANDING_MINIBATCHES = 16  # over which standing statistics are averaged

# ------------------------------------------------------------------------------------------------
# Spectral norm


class SpectralLayer(nn.Module):
    """Weights W / σ(W), with their largest singular value σ (Miyato et al. 2018, algorithm 1).

    It is estimated by one power iteration in each forward pass, from the vector u that the one before left.
    In training only, the new u is kept. The initial weights are orthogonal (§3).
    """

    u: Tensor

    def __init__(self, weight_shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(weight_shape)))
        self.bias = nn.Parameter(torch.zeros(weight_shape[0])) if bias else None
        self.register_buffer("u", torch.randn(weight_shape[0]))

    def normalized(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The normalised weight and the bias, in the precision of the layer's input `x`."""
        matrix = self.matrix()
        with torch.no_grad():
            v = F.normalize(matrix.T @ self.u, dim=0)
        product = matrix @ v
        u = F.normalize(product.detach(), dim=0)
        if self.training:
            self.u.copy_(u)
        weight = self.weight / (u @ product)  # σ = uᵀ W v, of which u and v are constants
        return weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)

    @torch.no_grad()
    def converge(self) -> None:
        """Make u the singular vector of σ, whatever it was before."""
        matrix = self.matrix()
        if matrix.shape[0] <= matrix.shape[1]:
            self.u.copy_(_leading_eigenvector(matrix @ matrix.T))
        else:
            self.u.copy_(matrix @ _leading_eigenvector(matrix.T @ matrix))

    def matrix(self) -> Tensor:
        """W with a row for each output; the columns stand as training has the weights in memory."""
        return self.weight.movedim(1, -1).flatten(1)


def _leading_eigenvector(symmetric: Tensor) -> Tensor:
    """[n, n] → [n]."""
    return torch.linalg.eigh(symmetric).eigenvectors[:, -1]


class Conv(SpectralLayer):
    """A convolution that keeps the size. [N, inputs, H, W] → [N, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__((outputs, inputs, kernel, kernel), bias)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, *self.normalized(x), padding=self.weight.shape[-1] // 2)


class Dense(SpectralLayer):
    """A fully connected layer. [N, inputs] → [N, outputs]."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__((outputs, inputs), bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, *self.normalized(x))


# ------------------------------------------------------------------------------------------------
# Layers of both networks


class Attention(nn.Module):
    """Self-attention among the pixels of each image (Zhang et al. 2019, §3), with maps θ, φ, g and o.

    γ, the weight of what is attended to, begins at 0. [N, maps, H, W] → the same shape.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.theta = Conv(maps, maps // 8 or 1, 1, bias=False)
        self.phi = Conv(maps, maps // 8 or 1, 1, bias=False)
        self.g = Conv(maps, maps // 2 or 1, 1, bias=False)
        self.o = Conv(maps // 2 or 1, maps, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = _pixels(self.theta(x))  # [N, H W, maps / 8]
        keys = _pixels(F.max_pool2d(self.phi(x), 2))  # [N, H W / 4, maps / 8]
        values = _pixels(F.max_pool2d(self.g(x), 2))  # [N, H W / 4, maps / 2]
        weights = torch.softmax(at_least_float32(queries @ keys.mT), dim=2)  # [N, H W, H W / 4]
        attended = (weights.to(x.dtype) @ values).unflatten(1, x.shape[2:])  # [N, H, W, maps / 2]
        return x + self.gamma.to(x.dtype) * self.o(attended.permute(0, 3, 1, 2))


def _pixels(x: Tensor) -> Tensor:
    """[N, C, H, W] → [N, H W, C]."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


class Constants(nn.Module):
    """Learnt values for the maps, whatever the condition: [N, …] → [maps]."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(maps))

    def forward(self, condition: Tensor | None) -> Tensor:
        return self.values


class BatchNorm(nn.Module):
    """Batch norm whose gains and biases are linear in a condition (§3); if it is empty, they are learnt.

    The statistics are those of the minibatch in training, and standing ones (appendix C.1) otherwise.
    forward: x [N, maps, H, W], condition [N, conditions] → the shape of x.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, maps: int, conditions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(maps))
        self.register_buffer("variance", torch.ones(maps))
        layer = partial(Dense, conditions, maps, bias=False) if conditions else partial(Constants, maps)
        self.gain, self.bias = layer(), layer()  # the gain less 1

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        mean, variance = (None, None) if self.training else (self.mean, self.variance)
        normalized = F.batch_norm(at_least_float32(x), mean, variance, training=self.training, eps=1e-5)
        gain, bias = (at_least_float32(layer(condition))[..., None, None] for layer in (self.gain, self.bias))
        return torch.addcmul(bias, normalized, 1 + gain).to(x.dtype)

    def gather(self, x: Tensor, share: float) -> None:
        """Add the statistics of a minibatch, weighted by its `share`, to the standing ones."""
        variance, mean = torch.var_mean(at_least_float32(x), dim=(0, 2, 3), correction=0)
        self.mean += share * mean
        self.variance += share * variance


# ------------------------------------------------------------------------------------------------
# The generator


class FirstDense(Dense):
    """Latents to the first maps: [N, inputs] → [N, maps, 4, 4]."""

    def __init__(self, inputs: int, maps: int) -> None:
        super().__init__(inputs, maps * 16)

    def forward(self, x: Tensor) -> Tensor:
        return channels_last(super().forward(x).unflatten(1, (-1, 4, 4)))


class GeneratorBlock(nn.Module):
    """Double the size (figure 15b), then attend: x [N, inputs, side/2, side/2] → [N, outputs, side, side].

    condition: [N, conditions].
    """

    def __init__(
        self, network: "BigganConfig", inputs: int, outputs: int, conditions: int, side: int
    ) -> None:
        super().__init__()
        self.norm0 = BatchNorm(inputs, conditions)
        self.conv0 = Conv(inputs, outputs, 3)
        self.norm1 = BatchNorm(outputs, conditions)
        self.conv1 = Conv(outputs, outputs, 3)
        self.shortcut = Conv(inputs, outputs, 1)
        self.attention = Attention(outputs) if side == network.attention_resolution else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.conv0(upsample(torch.relu(self.norm0(x, condition))))
        y = self.conv1(torch.relu(self.norm1(y, condition)))
        return self.attention(y + upsample(self.shortcut(x)))  # 1×1 convolutions and resampling commute


class ToRGB(nn.Module):
    """Maps to images in [-1, 1], float32 at least: [N, maps, H, W] → [N, channels, H, W]."""

    def __init__(self, maps: int, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(maps, 0)
        self.conv = Conv(maps, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(at_least_float32(self.conv(torch.relu(self.norm(x)))))


class Generator(base.Generator):
    """An averaged generator must `settle` before it is sampled: its statistics are not those of training."""

    network: "BigganConfig"

    def __init__(self, network: "BigganConfig", resolution: int) -> None:
        super().__init__(network, resolution)
        maps = network.feature_maps()
        start, *grown = levels = resolutions_between(4, resolution)
        chunk = network.latent_size // len(levels) if network.hierarchical_latents else 0
        self.chunks = [chunk or network.latent_size, *[chunk] * len(grown)]  # of z, for each block (§3)
        conditions = chunk
        if network.label_size:  # the shared embedding, without spectral norm, as in the authors' code
            self.embedding = nn.Parameter(
                nn.init.orthogonal_(torch.empty(network.label_size, network.class_embedding))
            )
            conditions += network.class_embedding
        blocks: dict[str, nn.Module] = {phase_key(start): FirstDense(self.chunks[0], maps.at(start))}
        for level in grown:
            blocks[phase_key(level)] = GeneratorBlock(
                network, maps.at(level // 2), maps.at(level), conditions, level
            )
        self.blocks = nn.ModuleDict(blocks)
        self.to_rgb = nn.ModuleDict({phase_key(resolution): ToRGB(maps.at(resolution), network.channels)})

    def start(self, latents: Tensor) -> Tensor:
        """Truncation applies to the latents themselves."""
        return latents

    def truncate(self, x: Tensor, center: Tensor, truncation: float | Tensor) -> Tensor:
        """Scale the latents by `truncation` (§3.1), not the labels; their mean is 0, whatever `center` is.

        The authors' published generators do so too, with latents from a truncated normal distribution.
        """
        latents, labels = self.parts(x)
        return torch.cat([truncation * latents, labels], dim=1)

    def grow(self, x: Tensor, alpha: Tensor | None = None) -> Tensor:
        latents, labels = self.parts(x)
        embedded = [labels @ self.embedding.to(x.dtype)] if self.network.label_size else []
        first, *chunks = latents.split(self.chunks, dim=1)
        start, *blocks = self.blocks.values()
        maps = start(first)
        for block, chunk in zip(blocks, chunks, strict=True):
            maps = block(maps, torch.cat([*embedded, chunk], dim=1))
        return self.to_rgb[phase_key(self.resolution)](maps)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [N, latent_size] and one-hot labels [N, label_size]."""
        latents, labels = x.split([self.network.latent_size, self.network.label_size], dim=1)
        return latents, labels

    def share_buffers(self, trained: base.Generator) -> None:
        """The averaged generator has statistics and spectral norms of its own: see `settle`."""

    @torch.no_grad()
    def settle(self, latents: Tensor) -> None:
        """Gather standing statistics (appendix C.1) and make spectral norms exact, from weights and `latents`
        alone. latents: as in forward, [N, …]; the statistics are means over 16 minibatches of them.
        """
        for layer in self.modules():
            if isinstance(layer, SpectralLayer):
                layer.converge()
        minibatches = latents.chunk(STANDING_MINIBATCHES)
        share = 1 / len(minibatches)
        norms = [layer for layer in self.modules() if isinstance(layer, BatchNorm)]
        hooks = [
            norm.register_forward_pre_hook(lambda norm, inputs: norm.gather(inputs[0], share))
            for norm in norms
        ]
        for norm in norms:
            norm.training = True  # its own layers are not
            norm.mean.zero_()
            norm.variance.zero_()
        for minibatch in minibatches:
            self(minibatch)
        for norm, hook in zip(norms, hooks, strict=True):
            norm.training = False
            hook.remove()


# ------------------------------------------------------------------------------------------------
# The discriminator


class DiscriminatorBlock(nn.Module):
    """Attend, then halve the size (figure 15c): [N, inputs, side, side] → [N, outputs, side/2, side/2].

    The first block, whose input is images, neither attends nor begins with an activation.
    """

    def __init__(self, network: "BigganConfig", inputs: int, outputs: int, side: int, is_first: bool) -> None:
        super().__init__()
        attends = side == network.attention_resolution and not is_first
        self.attention = Attention(inputs) if attends else nn.Identity()
        self.activation = nn.Identity() if is_first else nn.ReLU()
        self.conv0 = Conv(inputs, outputs, 3)
        self.conv1 = Conv(outputs, outputs, 3)
        self.shortcut = Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        y = self.conv1(torch.relu(self.conv0(self.activation(x))))
        return downsample(y) + self.shortcut(downsample(x))


class DiscriminatorEnd(nn.Module):
    """A block that keeps the size, a sum over pixels, and scores: [N, maps, 4, 4] → [N, 1 + label_size]."""

    def __init__(self, network: "BigganConfig", maps: int) -> None:
        super().__init__()
        self.conv0 = Conv(maps, maps, 3)
        self.conv1 = Conv(maps, maps, 3)
        self.score = Dense(maps, 1)
        if network.label_size:
            self.embedding = Dense(maps, network.label_size, bias=False)  # its rows embed the classes

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.conv1(torch.relu(self.conv0(torch.relu(x))))
        features = at_least_float32(torch.relu(x)).sum(dim=(2, 3))  # [N, maps]
        score = self.score(features)
        return torch.cat([score, self.embedding(features)], dim=1) if hasattr(self, "embedding") else score


class Discriminator(base.Discriminator):
    """A projection discriminator (Miyato & Koyama 2018): an image's score, given its class, is a sum.

    Column 0 of the output is the score without a class; column 1 + y is what class y adds to it, the inner
    product of its embedding and the features.
    """

    network: "BigganConfig"

    def __init__(self, network: "BigganConfig", resolution: int) -> None:
        super().__init__(network, resolution)
        maps = network.feature_maps()
        *levels, end = resolutions_between(4, resolution)[::-1]
        blocks: dict[str, nn.Module] = {}
        inputs = network.channels
        for level in levels:
            outputs, is_first = maps.at(level), level == resolution
            blocks[phase_key(level)] = DiscriminatorBlock(network, inputs, outputs, level, is_first)
            inputs = outputs
        blocks[phase_key(end)] = DiscriminatorEnd(network, inputs)
        self.blocks = nn.ModuleDict(blocks)

    def features(self, images: Tensor, alpha: Tensor | None = None) -> Tensor:
        *blocks, _ = self.blocks.values()
        x = channels_last(images)
        for block in blocks:
            x = block(x)
        return x

    def end(self, x: Tensor) -> Tensor:
        return self.blocks[phase_key(4)](x)
