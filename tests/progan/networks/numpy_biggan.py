"""BigGAN's networks once more in float64 numpy, in evaluation, written from the paper and its figure 15."""

import math

import numpy as np

from tests.progan.networks.numpy_progan import conv, doubled, halved, relu


def scaled_attention(x, theta, phi, g, o, gamma):
    """Each pixel attends to the maxima of 2×2 blocks: a loop over images and pixels. x: [N, C, H, W]."""

    def blocks(maps):  # [C, H, W] → [C, H/2 · W/2]
        corners = [maps[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return np.maximum.reduce(corners).reshape(len(maps), -1)

    out = x.copy()
    for image, result in zip(x, out, strict=True):
        keys = blocks(np.einsum("chw,kc->khw", image, phi))
        values = blocks(np.einsum("chw,kc->khw", image, g))
        for i in range(image.shape[1]):
            for j in range(image.shape[2]):
                likeness = np.exp((theta @ image[:, i, j]) @ keys)
                result[:, i, j] += gamma * (o @ (values @ (likeness / likeness.sum())))
    return out


def batch_norm(x, mean, variance, gain, bias):
    """gain, bias: [maps], or [N, maps]."""
    per_map = (slice(None), None, None)
    normalised = (x - mean[per_map]) / np.sqrt(variance[per_map] + 1e-5)
    return normalised * gain[..., None, None] + bias[..., None, None]


class NumpyBiggan:
    """The forward passes of a torch network's state."""

    def __init__(self, module, config):
        self.state = {name: value.double().numpy() for name, value in module.state_dict().items()}
        self.config, self.resolution = config, module.resolution
        self.levels = [f"r{2**level:04d}" for level in range(2, int(math.log2(self.resolution)) + 1)]

    def weight(self, name):
        """W / σ, where the next power iteration from u gives σ = |W Wᵀ u| / |Wᵀ u|."""
        weight = self.state[f"{name}.weight"]
        matrix = weight.reshape(len(weight), -1)
        v = matrix.T @ self.state[f"{name}.u"]
        return weight / (np.linalg.norm(matrix @ v) / np.linalg.norm(v))

    def conv(self, name, x):
        return conv(x, self.weight(name)) + self.state[f"{name}.bias"][:, None, None]

    def dense(self, name, x):
        return x @ self.weight(name).T + self.state[f"{name}.bias"]

    def attended(self, name, x, side):
        if side != self.config.attention_resolution:
            return x
        layers = [self.weight(f"{name}.{layer}")[:, :, 0, 0] for layer in ("theta", "phi", "g", "o")]
        return scaled_attention(x, *layers, self.state[f"{name}.gamma"])

    def normalised(self, name, x, condition):
        mean, variance = (self.state[f"{name}.{value}"] for value in ("mean", "variance"))
        if condition is None or not condition.shape[1]:
            gain, bias = (self.state[f"{name}.{value}.values"] for value in ("gain", "bias"))
        else:
            gain, bias = (condition @ self.weight(f"{name}.{value}").T for value in ("gain", "bias"))
        return batch_norm(x, mean, variance, 1 + gain, bias)

    def images(self, latents):
        """Latents [N, latent_size + label_size] → images."""
        z, labels = latents[:, : self.config.latent_size], latents[:, self.config.latent_size :]
        if self.config.hierarchical_latents:
            first, *rest = np.split(z, len(self.levels), axis=1)
        else:
            first, *rest = z, *[z[:, :0]] * (len(self.levels) - 1)
        x = self.dense("blocks.r0004", first).reshape(len(z), -1, 4, 4)
        for level, chunk in zip(self.levels[1:], rest, strict=True):
            condition = chunk
            if self.config.label_size:
                condition = np.concatenate([labels @ self.state["embedding"], chunk], axis=1)
            x = self.growing_block(f"blocks.{level}", x, condition)
        name = f"to_rgb.{self.levels[-1]}"
        return np.tanh(self.conv(f"{name}.conv", relu(self.normalised(f"{name}.norm", x, None))))

    def growing_block(self, name, x, condition):
        y = self.conv(f"{name}.conv0", doubled(relu(self.normalised(f"{name}.norm0", x, condition))))
        y = self.conv(f"{name}.conv1", relu(self.normalised(f"{name}.norm1", y, condition)))
        y = y + self.conv(f"{name}.shortcut", doubled(x))
        return self.attended(f"{name}.attention", y, y.shape[2])

    def scores(self, images):
        """Images → [N, 1 + label_size]."""
        x = images
        for level in self.levels[:0:-1]:
            x = self.halving_block(f"blocks.{level}", x, is_first=level == self.levels[-1])
        y = self.conv("blocks.r0004.conv0", relu(x))
        y = x + self.conv("blocks.r0004.conv1", relu(y))
        features = relu(y).sum((2, 3))
        outputs = [self.dense("blocks.r0004.score", features)]
        if self.config.label_size:
            classes = self.weight("blocks.r0004.embedding")
            outputs += [(features * classes[y]).sum(1)[:, None] for y in range(self.config.label_size)]
        return np.concatenate(outputs, axis=1)

    def halving_block(self, name, x, is_first):
        if not is_first:
            x = self.attended(f"{name}.attention", x, x.shape[2])
        y = self.conv(f"{name}.conv0", x if is_first else relu(x))
        y = halved(self.conv(f"{name}.conv1", relu(y)))
        return y + halved(self.conv(f"{name}.shortcut", x))
