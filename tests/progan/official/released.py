"""Made-up files in the format of the authors' code, and the output of their networks in float64 numpy.

All is done on the arrays as they are stored, in the authors' layouts; no code is shared with progan.
"""

import math
import pickle
import struct
import sys
from types import ModuleType

import numpy as np
from scipy.signal import convolve2d

from tests.progan.networks.numpy_progan import doubled, halved, leaky, pixel_norm, with_stddev

SMALL = {"num_channels": 3, "resolution": 16, "fmap_base": 64, "fmap_max": 8, "latent_size": 6}
ROOT2 = math.sqrt(2)


def maps(options, stage):
    return min(int(options["fmap_base"] / 2 ** (stage * options.get("fmap_decay", 1.0))), options["fmap_max"])


# ------------------------------------------------------------------------------------------------
# The TensorFlow branch


class TensorFlowNetwork:
    """A network of the TensorFlow branch with weights drawn from `seed`."""

    def __init__(self, function, options, seed=0, lod=0.0):
        self.function, self.options = function, options
        self.random = np.random.default_rng(seed)
        self.variables = {"lod": np.float32(lod)}
        self.top = int(math.log2(options["resolution"]))
        self.fused = options.get("fused_scale", True)
        self.wscale = options.get("use_wscale", True)
        (self._make_generator if function == "G_paper" else self._make_discriminator)()

    @property
    def state(self):
        return {
            "version": 2,
            "name": self.function[0],
            "static_kwargs": self.options,
            "build_module_src": "raise SystemExit('the source text was executed')",
            "build_func_name": self.function,
            "variables": list(self.variables.items()),
        }

    def _add(self, name, weight_shape, outputs, gain=ROOT2):
        weight = self.random.standard_normal(weight_shape)
        if not self.wscale:
            weight = weight * gain / math.sqrt(weight.size / outputs)
        self.variables[f"{name}/weight"] = weight.astype(np.float32)
        biases = outputs // 16 if name == "4x4/Dense" else outputs
        self.variables[f"{name}/bias"] = self.random.standard_normal(biases).astype(np.float32) / 4

    def _make_generator(self):
        o = self.options
        latents = o.get("latent_size", maps(o, 0)) + o.get("label_size", 0)
        self._add("4x4/Dense", (latents, maps(o, 1) * 16), maps(o, 1) * 16, ROOT2 / 4)
        self._add("4x4/Conv", (3, 3, maps(o, 1), maps(o, 1)), maps(o, 1))
        for r in range(3, self.top + 1):
            into, out, side = maps(o, r - 2), maps(o, r - 1), f"{2**r}x{2**r}"
            if self.fused:
                self._add(f"{side}/Conv0_up", (3, 3, out, into), out)
            else:
                self._add(f"{side}/Conv0", (3, 3, into, out), out)
            self._add(f"{side}/Conv1", (3, 3, out, out), out)
        for r in range(2, self.top + 1):
            self._add(
                f"ToRGB_lod{self.top - r}", (1, 1, maps(o, r - 1), o["num_channels"]), o["num_channels"], 1
            )

    def _make_discriminator(self):
        o = self.options
        for r in range(self.top, 1, -1):
            self._add(f"FromRGB_lod{self.top - r}", (1, 1, o["num_channels"], maps(o, r - 1)), maps(o, r - 1))
            if r > 2:
                into, out, side = maps(o, r - 1), maps(o, r - 2), f"{2**r}x{2**r}"
                self._add(f"{side}/Conv0", (3, 3, into, into), into)
                self._add(f"{side}/{'Conv1_down' if self.fused else 'Conv1'}", (3, 3, into, out), out)
        extra = o.get("mbstd_group_size", 4) > 1
        self._add("4x4/Conv", (3, 3, maps(o, 1) + extra, maps(o, 1)), maps(o, 1))
        self._add("4x4/Dense0", (maps(o, 1) * 16, maps(o, 0)), maps(o, 0))
        outputs = 1 + o.get("label_size", 0)
        self._add("4x4/Dense1", (maps(o, 0), outputs), outputs, 1)

    def weight(self, name, gain=ROOT2):
        """The weight as it is applied, and the bias."""
        weight = self.variables[f"{name}/weight"].astype(np.float64)
        if self.wscale:
            outputs = weight.shape[2 if name.endswith("Conv0_up") else -1]
            weight = weight * gain / math.sqrt(weight.size / outputs)
        return weight, self.variables[f"{name}/bias"].astype(np.float64)

    def conv(self, x, name, gain=ROOT2):
        weight, bias = self.weight(name, gain)
        return correlated(x, weight, stride=1) + bias[:, None, None]

    def images(self, latents):
        """Images at the resolution of the lod: [N, C, R, R]."""
        o = self.options
        act = leaky if o.get("use_leakyrelu", True) else lambda x: np.maximum(x, 0)
        norm = pixel_norm if o.get("use_pixelnorm", True) else lambda x: x
        x = pixel_norm(latents) if o.get("normalize_latents", True) else latents
        weight, bias = self.weight("4x4/Dense", ROOT2 / 4)
        x = norm(act((x @ weight).reshape(len(x), -1, 4, 4) + bias[:, None, None]))
        x = norm(act(self.conv(x, "4x4/Conv")))
        lod = int(self.variables["lod"])
        for r in range(3, self.top - lod + 1):
            side = f"{2**r}x{2**r}"
            if self.fused:
                weight, bias = self.weight(f"{side}/Conv0_up")
                x = norm(act(transposed(x, fused(weight)) + bias[:, None, None]))
            else:
                x = norm(act(self.conv(doubled(x), f"{side}/Conv0")))
            x = norm(act(self.conv(x, f"{side}/Conv1")))
        return self.conv(x, f"ToRGB_lod{lod}", 1)

    def scores(self, images):
        """Scores and class logits of images at the resolution of the lod: [N, 1 + labels]."""
        lod = int(self.variables["lod"])
        x = leaky(self.conv(images, f"FromRGB_lod{lod}"))
        for r in range(self.top - lod, 2, -1):
            side = f"{2**r}x{2**r}"
            x = leaky(self.conv(x, f"{side}/Conv0"))
            if self.fused:
                weight, bias = self.weight(f"{side}/Conv1_down")
                x = leaky(correlated(x, fused(weight) / 4, stride=2) + bias[:, None, None])
            else:
                x = halved(leaky(self.conv(x, f"{side}/Conv1")))
        group = self.options.get("mbstd_group_size", 4)
        x = leaky(self.conv(with_stddev(x, group) if group > 1 else x, "4x4/Conv"))
        weight, bias = self.weight("4x4/Dense0")
        x = leaky(x.reshape(len(x), -1) @ weight + bias)
        weight, bias = self.weight("4x4/Dense1", 1)
        return x @ weight + bias


def fused(weight):
    """Four copies of the kernel (its sides first), shifted against each other by one pixel, summed."""
    wide = np.pad(weight, ((1, 1), (1, 1), (0, 0), (0, 0)))
    return wide[1:, 1:] + wide[:-1, 1:] + wide[1:, :-1] + wide[:-1, :-1]


def correlated(x, weight, stride):
    """Correlation with [k, k, in, out] and "SAME" padding."""
    kernel, (height, width) = len(weight), x.shape[2:]
    before = (kernel - stride) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (before, kernel), (before, kernel)))
    return sum(
        np.einsum(
            "nchw,co->nohw",
            padded[:, :, i : i + height : stride, j : j + width : stride],
            weight[i, j],
        )
        for i in range(kernel)
        for j in range(kernel)
    )


def transposed(x, weight):
    """Each pixel spreads a 4×4 kernel [4, 4, out, in] over the image of twice the size."""
    n, _, height, width = x.shape
    spread = np.zeros((n, weight.shape[2], 2 * height + 2, 2 * width + 2))
    for i in range(4):
        for j in range(4):
            spread[:, :, i : i + 2 * height : 2, j : j + 2 * width : 2] += np.einsum(
                "nchw,oc->nohw", x, weight[i, j]
            )
    return spread[:, :, 1:-1, 1:-1]


# ------------------------------------------------------------------------------------------------
# The Theano branch


class TheanoNetwork:
    """A network of the Theano branch with weights drawn from `seed`; the file holds them without names."""

    def __init__(self, function, options, seed=0, lod=0.0):
        self.function, self.options, self.lod = function, options, lod
        self.random = np.random.default_rng(seed)
        self.wscale = options.get("use_wscale", True)
        self.top = int(math.log2(options["resolution"]))
        self.layers = {}
        (self._make_generator if function.startswith("G") else self._make_discriminator)()

    @property
    def state(self):
        return {
            "build_func_spec": {"func": self.function, **self.options},
            "build_module_src": "raise SystemExit('the source text was executed')",
            "param_values": [np.asarray(value) for layer in self.layers.values() for value in layer],
            "toplevel_params": {"cur_lod": np.asarray(np.float32(self.lod))},
        }

    def _add(self, name, weight_shape, outputs, gain=ROOT2):
        """He-normal weights and a bias; with wscale, of unit mean square, and the scale between them."""
        fan_in = weight_shape[0] if len(weight_shape) == 2 else math.prod(weight_shape[1:])
        weight = self.random.standard_normal(weight_shape) * gain / math.sqrt(fan_in)
        bias = self.random.standard_normal(outputs).astype(np.float32) / 4
        scale = np.sqrt((weight**2).mean())
        if self.wscale:
            self.layers[name] = ((weight / scale).astype(np.float32), np.float32(scale), bias)
        else:
            self.layers[name] = (weight.astype(np.float32), bias)

    def _make_generator(self):
        o = self.options
        latents = o.get("latent_size", maps(o, 0)) + o.get("label_size", 0)
        self._add("1a", (maps(o, 1), latents, 4, 4), maps(o, 1))
        self._add("1b", (maps(o, 1), maps(o, 1), 3, 3), maps(o, 1))
        for i in range(2, self.top):
            self._add(f"{i}a", (maps(o, i), maps(o, i - 1), 3, 3), maps(o, i))
            self._add(f"{i}b", (maps(o, i), maps(o, i), 3, 3), maps(o, i))
        for lod, i in enumerate(range(self.top - 1, 0, -1)):
            self._add(f"lod{lod}", (maps(o, i), o["num_channels"]), o["num_channels"], 1)

    def _make_discriminator(self):
        o = self.options
        self._add(f"{self.top - 1}x", (o["num_channels"], maps(o, self.top - 1)), maps(o, self.top - 1))
        for i in range(self.top - 1, 1, -1):
            self._add(f"{i}b", (maps(o, i), maps(o, i), 3, 3), maps(o, i))
            self._add(f"{i}a", (maps(o, i - 1), maps(o, i), 3, 3), maps(o, i - 1))
            self._add(f"{i - 1}x", (o["num_channels"], maps(o, i - 1)), maps(o, i - 1))
        self._add("1b", (maps(o, 1), maps(o, 1) + 1, 3, 3), maps(o, 1))
        self._add("1a", (maps(o, 0), maps(o, 1), 4, 4), maps(o, 0))
        self._add("scores", (maps(o, 0), 1), 1, 1)
        if o.get("label_size"):
            self._add("labels", (maps(o, 0), o["label_size"]), o["label_size"], 1)

    def apply(self, x, name, mode="same"):
        weight, *scale, bias = (np.asarray(value, np.float64) for value in self.layers[name])
        if weight.ndim == 4:
            x = np.array(
                [
                    [sum(map(convolve2d, image, kernels, [mode] * len(image))) for kernels in weight]
                    for image in x
                ]
            )
        else:
            x = np.einsum("nc...,co->no...", x, weight)
        x = x * scale[0] if scale else x
        return x + bias.reshape(-1, *[1] * (x.ndim - 2))

    def images(self, latents):
        size = self.options.get("latent_size", maps(self.options, 0))
        x = np.concatenate([pixel_norm(latents[:, :size]), latents[:, size:]], axis=1)[:, :, None, None]
        x = pixel_norm(leaky(self.apply(x, "1a", "full")))
        x = pixel_norm(leaky(self.apply(x, "1b")))
        for i in range(2, self.top - int(self.lod)):
            x = pixel_norm(leaky(self.apply(doubled(x), f"{i}a")))
            x = pixel_norm(leaky(self.apply(x, f"{i}b")))
        return self.apply(x, f"lod{int(self.lod)}")

    def scores(self, images):
        reached = self.top - int(self.lod)
        x = leaky(self.apply(images, f"{reached - 1}x"))
        for i in range(reached - 1, 1, -1):
            x = leaky(self.apply(x, f"{i}b"))
            x = halved(leaky(self.apply(x, f"{i}a")))
        x = leaky(self.apply(with_stddev(x, len(x)), "1b"))
        x = leaky(self.apply(x, "1a", "valid"))[:, :, 0, 0]
        return np.concatenate(
            [self.apply(x, name) for name in ("scores", "labels") if name in self.layers], 1
        )


# ------------------------------------------------------------------------------------------------
# Pickles


class Python3Pickler(pickle._Pickler):
    """Names NumPy's modules as it named them when the files were written."""

    def save_global(self, obj, name=None):
        module, name = obj.__module__.replace("numpy._core", "numpy.core"), name or obj.__qualname__
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)


class Python2Pickler(Python3Pickler):
    """Writes texts and bytes alike, as strings of Python 2."""

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch = pickle._Pickler.dispatch | {str: save_string, bytes: save_string}


def write_released(path, states, module="tfutil", protocol=4, pickler=Python3Pickler):
    """Write a tuple of networks in these states as instances of `module`.Network."""

    class Network:
        def __init__(self, state):
            self.state = state

        def __getstate__(self):
            return self.state

    Network.__module__, Network.__qualname__ = module, "Network"
    stand_in = ModuleType(module)
    stand_in.Network = Network
    sys.modules[module] = stand_in
    try:
        with path.open("wb") as file:
            pickler(file, protocol).dump(tuple(map(Network, states)))
    finally:
        del sys.modules[module]
    return path


def tensorflow_networks(options=SMALL, **arguments):
    """G, D and Gs with different weights."""
    functions = ("G_paper", "D_paper", "G_paper")
    return [TensorFlowNetwork(name, options, seed, **arguments) for seed, name in enumerate(functions)]


def theano_networks(options=SMALL, functions=("G_paper", "D_paper", "G_paper"), **arguments):
    """G, D and Gs with different weights."""
    return [TheanoNetwork(name, options, seed, **arguments) for seed, name in enumerate(functions)]


def write_tensorflow(path, networks=None):
    return write_released(path, [network.state for network in networks or tensorflow_networks()])


def write_theano(path, networks=None):
    states = [network.state for network in networks or theano_networks()]
    return write_released(path, states, "network", 2, Python2Pickler)
