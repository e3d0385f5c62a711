"""The networks' operations and the derivatives that training takes of them, fast and deterministic.

PyTorch's own derivatives are right, but slow where training needs them most. In the double backward pass of a
convolution, the weight's gradient is a convolution whose kernel is as large as the image; that of leaky ReLU
sends zeros back through the whole network; and the pooling kernels for tensors with the channels last reach a
tenth of a GPU's memory bandwidth. So each function here states its own derivatives. The gradient of a
convolution's weight has none: training differentiates gradients of images alone.
Images and features are [N, C, H, W], channels last in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LEAKY_SLOPE = 0.2

# ------------------------------------------------------------------------------------------------
# Convolution


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int = 1, padding: int = 0) -> Tensor:
    """[N, in, H, W] with weight [out, in, k, k] and bias [out] → [N, out, H', W']."""
    return _Convolution.apply(x, weight, bias, stride, padding)


@contextmanager
def weights_held() -> Iterator[None]:
    """Leave out the gradients of convolutions' weights and biases: the gradient of images needs none of them.

    PyTorch does not tell a Function which of its gradients are wanted.
    """
    _Convolution.weights_held = True
    try:
        yield
    finally:
        _Convolution.weights_held = False


class _Convolution(Function):
    weights_held = False

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        if _Convolution.weights_held:
            of_weight = of_bias = False
        wanted = of_x, of_weight, of_bias
        stride, padding = ctx.geometry
        return *_ConvolutionBackward.apply(gradient, x, weight, stride, padding, wanted), None, None


class _ConvolutionBackward(Function):
    """The gradients of a convolution. Only that of `x` can be differentiated again, and only once."""

    @staticmethod
    def forward(
        ctx: Any,
        gradient: Tensor,
        x: Tensor,
        weight: Tensor,
        stride: int,
        padding: int,
        wanted: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        ctx.save_for_backward(gradient, weight)
        ctx.geometry = stride, padding
        ctx.set_materialize_grads(False)
        return _gradients(gradient, x, weight, stride, padding, wanted)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_x: Tensor | None, *others: Tensor | None) -> tuple[Tensor | None, ...]:
        if any(other is not None for other in others):
            raise NotImplementedError("the gradient of a convolution's weight is not differentiable")
        if of_x is None:
            return (None,) * 6
        gradient, weight = ctx.saved_tensors
        stride, padding = ctx.geometry
        of_gradient = of_weight = None
        if ctx.needs_input_grad[0]:
            of_gradient = F.conv2d(of_x, weight, None, stride, padding)
        if ctx.needs_input_grad[2]:
            of_weight = _gradients(gradient, of_x, weight, stride, padding, (False, True, False))[1]
        return of_gradient, None, of_weight, None, None, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    """The gradients of x, weight and bias, each if it is `wanted`."""
    strides, paddings = [stride] * 2, [padding] * 2
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], strides, paddings, [1, 1], False, [0, 0], 1, wanted
    )


# ------------------------------------------------------------------------------------------------
# Leaky ReLU


def leaky_relu(x: Tensor) -> Tensor:
    return _LeakyReLU.apply(x)


class _LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = F.leaky_relu(x, LEAKY_SLOPE)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return _TimesSlope.apply(gradient, y)


class _TimesSlope(Function):
    """`x` times the slope of leaky ReLU where it gave `y`; linear in `x`, constant in `y`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return torch.ops.aten.leaky_relu_backward(x, y, LEAKY_SLOPE, True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return _TimesSlope.apply(gradient, y), None


# ------------------------------------------------------------------------------------------------
# Resampling: each is the other's transpose, up to a factor


def upsample(x: Tensor) -> Tensor:
    """Repeat each pixel 2×2: [N, C, H, W] → [N, C, 2H, 2W]."""
    return _Upsample.apply(x)


def downsample(x: Tensor) -> Tensor:
    """Mean of each 2×2 block: [N, C, H, W] → [N, C, H/2, W/2]."""
    return _Downsample.apply(x)


def blur(x: Tensor) -> Tensor:
    """Convolve each map with [1, 2, 1] / 4 along both sides, zeros around it. [N, C, H, W] → the same."""
    return smooth(x, 2, 1)


def smooth(x: Tensor, order: int, padding: int) -> Tensor:
    """Convolve each map with binomial coefficients, of order 3 with [1, 3, 3, 1] / 8, along both sides.

    [N, C, H, W], with as many zeros around each map as `padding` says → [N, C, H + 2 padding - order, …].
    """
    return _Smooth.apply(x, order, padding)


class _Upsample(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return repeated(x) if x.is_cuda else F.interpolate(x, scale_factor=2, mode="nearest")

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 4 * _Downsample.apply(gradient)


class _Downsample(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return block_means(x) if x.is_cuda else F.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Upsample.apply(gradient / 4)


class _Smooth(Function):
    """The kernels are symmetric, so the transpose is the same with what is left of the padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int, padding: int) -> Tensor:
        ctx.transpose = order, order - padding
        x = F.pad(x, [padding] * 4)
        for side in [2, 3] * order:  # each time with [1, 1]
            x = x.narrow(side, 1, x.shape[side] - 1) + x.narrow(side, 0, x.shape[side] - 1)
        return x / 4**order

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Smooth.apply(gradient, *ctx.transpose), None, None


def repeated(x: Tensor) -> Tensor:
    """`upsample` as concatenations, which copy whole pixels."""
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1)
    rows = torch.cat([rows, rows], 3).reshape(n, h, 1, 2 * w * c)
    return torch.cat([rows, rows], 2).view(n, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


def block_means(x: Tensor) -> Tensor:
    """`downsample` as a reduction."""
    blocks = x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2))
    return blocks.mean(dim=(2, 4)).permute(0, 3, 1, 2)
