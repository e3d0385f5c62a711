"""The networks once more in float64 numpy, written from the paper, and what comparing with them takes."""

import dataclasses
import math

import numpy as np
import torch

from progan.network_config import ProganConfig

PAPER = ProganConfig(
    channels=3,
    latent_size=512,
    fmap_base=8192,
    fmap_decay=1.0,
    fmap_max=512,
    mbstd_group_size=4,
    label_size=0,
    latent_norm="before-labels",
    equalized_lr=True,
    generator_norm="pixel",
    discriminator_norm="none",
    generator_activation="leaky-relu",
    output="linear",
    minibatch_discrimination=0,
    fused_scaling=False,
    convs_per_block=2,
    discriminator_divisor=1,
)
SMALL = dataclasses.replace(PAPER, latent_size=6, fmap_base=32, fmap_max=5)

GULRAJANI = {  # the networks of row (a) of the paper's Table 1
    "latent_norm": "none",
    "equalized_lr": False,
    "generator_norm": "batch",
    "discriminator_norm": "layer",
    "generator_activation": "relu",
    "output": "tanh",
    "mbstd_group_size": 0,
}
REVISED = {"equalized_lr": False, "generator_norm": "none", "mbstd_group_size": 0}
FORMS = {  # what differs from SMALL
    "final": {},
    "small groups": {"mbstd_group_size": 2},
    "grey": {"channels": 1, "mbstd_group_size": 0},
    "labels": {"label_size": 3},
    "labels, normalised together": {"label_size": 3, "latent_norm": "with-labels"},
    "labels, not normalised": {"label_size": 3, "latent_norm": "none"},
    "a": GULRAJANI,
    "d": REVISED,
    "e*": REVISED | {"minibatch_discrimination": 3},
    "g": {"mbstd_group_size": 16},
    "fused": {"fused_scaling": True},
    "crippled": {"convs_per_block": 1, "discriminator_divisor": 2},
    "all at once": GULRAJANI
    | {"fused_scaling": True, "convs_per_block": 1, "minibatch_discrimination": 2, "label_size": 2},
}


def assert_equal(ours, theirs):
    np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-10, atol=1e-10)


def normal(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def randomised(network, seed=5):
    """`network` in float64 and eval mode, with values everywhere, so that the order of operations shows."""
    generator = torch.Generator().manual_seed(seed)
    network.double().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, dtype=value.dtype, generator=generator)
            value.copy_(drawn.abs() + 0.1 if name.endswith("running_var") else drawn)
    return network


def loop_conv(x, weight, bias):
    """A 'same' convolution as nested loops. x: [C, H, W]."""
    outputs, _, kernel, _ = weight.shape
    padded = np.pad(x, ((0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    height, width = x.shape[1:]
    out = np.zeros((outputs, height, width))
    for o in range(outputs):
        for i in range(height):
            for j in range(width):
                out[o, i, j] = (padded[:, i : i + kernel, j : j + kernel] * weight[o]).sum() + bias[o]
    return out


def conv(x, weight):
    """The same, without bias, for a minibatch: a sum over the kernel's places. x: [N, C, H, W]."""
    kernel, (height, width) = weight.shape[-1], x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (kernel // 2,) * 2, (kernel // 2,) * 2))
    return sum(
        np.einsum("nchw,oc->nohw", padded[:, :, i : i + height, j : j + width], weight[:, :, i, j])
        for i in range(kernel)
        for j in range(kernel)
    )


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def relu(x):
    return np.where(x > 0, x, 0)


def pixel_norm(x):
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)


def doubled(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


def halved(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def with_stddev(x, group):
    """Image i's group is every image congruent to it modulo the number of groups."""
    groups = len(x) // min(group, len(x))
    maps = np.empty((len(x), 1, *x.shape[2:]))
    for i in range(len(x)):
        members = x[i % groups :: groups]
        maps[i] = np.sqrt(((members - members.mean(0)) ** 2).mean(0) + 1e-8).mean()
    return np.concatenate([x, maps], axis=1)


def batch_norm(x, weight, bias, mean, variance):
    maps = [
        (x[:, c] - mean[c]) / math.sqrt(variance[c] + 1e-4) * weight[c] + bias[c] for c in range(x.shape[1])
    ]
    return np.stack(maps, axis=1)


def layer_norm(x, gain, bias):
    images = [(image - image.mean()) / math.sqrt(image.var() + 1e-4) * gain for image in x]
    return np.stack(images) + bias.reshape(-1, *[1] * (x.ndim - 2))


def with_neighbours(x, weight, log_scale, bias):
    """Minibatch discrimination as sums over pairs. x: [N, F], weight: [F, kernels, 5]."""
    appended = np.empty((len(x), len(bias)))
    for kernel in range(len(bias)):
        directions = weight[:, kernel] / np.linalg.norm(weight[:, kernel], axis=0)
        projected = x @ directions * np.exp(log_scale[kernel])
        for i in range(len(x)):
            others = [np.abs(projected[i] - projected[j]).sum() for j in range(len(x)) if j != i]
            appended[i, kernel] = np.exp(-np.array(others)).sum() + bias[kernel]
    return np.concatenate([x, appended], axis=1)


class NumpyNetwork:
    """The forward passes of a torch network's state, in eval mode."""

    def __init__(self, module, config):
        self.state = {name: value.double().numpy() for name, value in module.state_dict().items()}
        self.config, self.resolution = config, module.resolution

    def weight(self, name, gain=math.sqrt(2)):
        weight = self.state[f"{name}.weight"]
        return weight * gain / math.sqrt(weight[0].size) if self.config.equalized_lr else weight

    def finished(self, name, sums, norm="none", activation=leaky):
        """Bias, activation and norm in their order."""
        per_map = (-1, *[1] * (sums.ndim - 2))
        if norm in ("batch", "layer"):
            names = {"batch": ("weight", "bias", "running_mean", "running_var"), "layer": ("gain", "bias")}
            values = [self.state[f"{name}.norm.{value}"] for value in names[norm]]
            return activation({"batch": batch_norm, "layer": layer_norm}[norm](sums, *values))
        x = activation(sums + self.state[f"{name}.bias"].reshape(per_map))
        return pixel_norm(x) if norm == "pixel" else x

    def rgb(self, name, x):
        return conv(x, self.weight(name, 1)) + self.state[f"{name}.bias"].reshape(-1, 1, 1)

    def levels(self):
        return [f"r{2**level:04d}" for level in range(2, int(math.log2(self.resolution)) + 1)]

    def images(self, latents, alpha=None):
        """Latents [N, latent_size + label_size] → images."""
        config = self.config

        def after(name, sums):
            activation = leaky if config.generator_activation == "leaky-relu" else relu
            return self.finished(name, sums, config.generator_norm, activation)

        z, labels = latents[:, : config.latent_size], latents[:, config.latent_size :]
        if config.latent_norm == "before-labels":
            latents = np.concatenate([pixel_norm(z), labels], axis=1)
        elif config.latent_norm == "with-labels":
            latents = pixel_norm(latents)
        start, *grown = levels = self.levels()
        sums = latents @ self.weight(f"blocks.{start}.dense", math.sqrt(2) / 4).T
        x = before = after(f"blocks.{start}.dense", sums.reshape(len(latents), -1, 4, 4))
        if config.convs_per_block == 2:
            x = after(f"blocks.{start}.conv", conv(x, self.weight(f"blocks.{start}.conv")))
        for level in grown:
            before, name = x, f"blocks.{level}.conv0"
            x = after(name, conv(doubled(x), self.weight(name)))
            if config.convs_per_block == 2:
                name = f"blocks.{level}.conv1"
                x = after(name, conv(x, self.weight(name)))
        images = self.rgb(f"to_rgb.{levels[-1]}", x)
        if alpha is not None:
            images = alpha * images + (1 - alpha) * doubled(self.rgb(f"to_rgb.{levels[-2]}", before))
        return np.tanh(images) if config.output == "tanh" else images

    def scores(self, images, alpha=None):
        """Images → [N, 1 + label_size]."""

        def seen(level, images):
            name = f"from_rgb.{level}"
            return self.finished(name, conv(images, self.weight(name)))

        start, *grown = levels = self.levels()
        x = seen(levels[-1], images)
        for level in grown[::-1]:
            x = self.halving_block(f"blocks.{level}", x)
            if level == levels[-1] and alpha is not None:
                x = alpha * x + (1 - alpha) * seen(levels[-2], halved(images))
        return self.last_block(f"blocks.{start}", x)

    def halving_block(self, name, x):
        norm = self.config.discriminator_norm
        if self.config.convs_per_block == 2:
            x = self.finished(f"{name}.conv0", conv(x, self.weight(f"{name}.conv0")), norm)
        sums = conv(x, self.weight(f"{name}.conv1"))
        if self.config.fused_scaling:
            return self.finished(f"{name}.conv1", halved(sums), norm)
        return halved(self.finished(f"{name}.conv1", sums, norm))

    def last_block(self, name, x):
        norm = self.config.discriminator_norm
        if self.config.mbstd_group_size > 1:
            x = with_stddev(x, self.config.mbstd_group_size)
        if self.config.convs_per_block == 2:
            x = self.finished(f"{name}.conv", conv(x, self.weight(f"{name}.conv")), norm)
            x = x.reshape(len(x), -1) @ self.weight(f"{name}.dense0").T
            x = self.finished(f"{name}.dense0", x, norm)
        x = x.reshape(len(x), -1)
        if self.config.minibatch_discrimination:
            values = [self.state[f"{name}.mbdisc.{value}"] for value in ("weight", "log_scale", "bias")]
            x = with_neighbours(x, *values)
        return x @ self.weight(f"{name}.dense1", 1).T + self.state[f"{name}.dense1.bias"]
