"""StyleGAN's networks once more in float64 numpy, written from the paper."""

import math

import numpy as np

from tests.progan.networks.numpy_progan import NumpyNetwork, conv, doubled, halved, leaky, pixel_norm


def blurred(x):
    """Each map with [1, 2, 1] ⊗ [1, 2, 1] / 16, as sums of shifted maps with zeros around."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sum(
        rows * columns / 16 * padded[:, :, i : i + height, j : j + width]
        for i, rows in enumerate((1, 2, 1))
        for j, columns in enumerate((1, 2, 1))
    )


def adain(x, scale, shift):
    """Equation 1, a map at a time. x: [N, C, H, W]; scale, shift: [N, C]."""
    out = np.empty_like(x)
    for n, c in np.ndindex(*x.shape[:2]):
        out[n, c] = (x[n, c] - x[n, c].mean()) / math.sqrt(x[n, c].var() + 1e-8) * scale[n, c] + shift[n, c]
    return out


class NumpyStylegan(NumpyNetwork):
    def dense(self, name, x, gain, learning_rate=1.0):
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return learning_rate * (x @ weight.T * gain / math.sqrt(weight.shape[1]) + bias)

    def styles(self, latents):
        """Latents [N, latent_size + label_size] → w [N, style_size]."""
        z, labels = latents[:, : self.config.latent_size], latents[:, self.config.latent_size :]
        if labels.shape[1]:
            z = np.concatenate([z, labels @ self.state["labels"]], axis=1)
        w = pixel_norm(z)
        for layer in range(self.config.mapping_layers):
            rate = self.config.mapping_learning_rate
            w = leaky(self.dense(f"mapping.dense{layer}", w, math.sqrt(2), rate))
        return w

    def synthesised(self, styles, noise, alpha=None):
        """For each layer a style, [N, style_size], and noise, [N or 1, 1, R, R] → images."""
        maps = before = None
        for index, level in enumerate(self.levels()):
            name, before = f"blocks.{level}", maps
            w, w_next = styles[2 * index : 2 * index + 2]
            if before is not None:
                maps = blurred(conv(doubled(before), self.weight(f"{name}.conv0")))
            elif self.config.constant_input:
                maps = np.repeat(self.state[f"{name}.input.constant"], len(w), 0)
            else:
                weight = self.state[f"{name}.input.dense.weight"]
                sums = w @ weight.T * math.sqrt(2) / 4 / math.sqrt(weight.shape[1])
                maps = sums.reshape(len(w), -1, 4, 4)
            maps = self.epilogue(f"{name}.epilogue0", maps, w, noise and noise[2 * index])
            maps = conv(maps, self.weight(f"{name}.conv1"))
            maps = self.epilogue(f"{name}.epilogue1", maps, w_next, noise and noise[2 * index + 1])
        images = self.rgb(f"to_rgb.{level}", maps)
        if alpha is None:
            return images
        previous = doubled(self.rgb(f"to_rgb.{self.levels()[-2]}", before))
        return previous * (1 - alpha) + images * alpha

    def epilogue(self, name, x, w, noise):
        if self.config.noise:
            x = x + noise * self.state[f"{name}.noise.strength"].reshape(-1, 1, 1)
        x = leaky(x + self.state[f"{name}.bias"].reshape(-1, 1, 1))
        style = self.dense(f"{name}.style", w, 1)
        maps = x.shape[1]
        return adain(x, style[:, :maps] + 1, style[:, maps:])

    def halving_block(self, name, x):
        x = self.finished(f"{name}.conv0", conv(x, self.weight(f"{name}.conv0")))
        sums = conv(blurred(x), self.weight(f"{name}.conv1"))
        return self.finished(f"{name}.conv1", halved(sums))
