"""The operations and their derivatives against PyTorch's own formulations of the same functions."""

import contextlib

import pytest
import torch
from torch.nn import functional as F

from progan import operations

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def theirs(x, weight, bias, fused_weight):
    """Every operation of operations.py, as torch has it."""
    x = F.leaky_relu(F.conv2d(x, weight, bias, padding=1), 0.2)
    x = F.leaky_relu(F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1), 0.2)
    return F.avg_pool2d(F.conv2d(x, fused_weight, None, 2, 1), 2).square()


def ours(x, weight, bias, fused_weight):
    x = operations.leaky_relu(operations.conv2d(x, weight, bias, padding=1))
    x = operations.conv2d(operations.upsample(x), weight, bias, padding=1)
    x = operations.conv2d(operations.leaky_relu(x), fused_weight, None, stride=2, padding=1)
    return operations.downsample(x).square()


def inputs(device):
    random = torch.Generator().manual_seed(3)

    def normal(*shape):
        values = torch.randn(shape, generator=random, dtype=torch.float64).to(device)
        return values.requires_grad_()

    return normal(3, 2, 8, 8), normal(2, 2, 3, 3), normal(2), normal(4, 2, 4, 4)


@pytest.mark.parametrize("device", DEVICES)
def test_values_and_first_derivatives(device):
    tensors = inputs(device)
    torch.testing.assert_close(ours(*tensors), theirs(*tensors))
    gradients = [torch.autograd.grad(f(*tensors).sum(), tensors) for f in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("device", DEVICES)
def test_the_gradient_of_a_gradient_penalty(device):
    """The penalty is on gradients of images; it is differentiated by weights and biases."""
    results = []
    for function in (ours, theirs):
        x, *parameters = tensors = inputs(device)
        with operations.weights_held():
            (gradient,) = torch.autograd.grad(function(*tensors).sum(), x, create_graph=True)
        penalty = (gradient.square().sum(dim=(1, 2, 3)).sqrt() - 1).square().mean()
        results.append([gradient, *torch.autograd.grad(penalty, [x, *parameters])])
    torch.testing.assert_close(*results)


def test_the_gradients_of_weights_are_left_out_only_inside(monkeypatch):
    x, weight, *_ = inputs("cpu")
    wanted = []

    def gradients(gradient, x, weight, *others):
        wanted.append(others[-1])
        return torch.zeros_like(x), torch.zeros_like(weight), None

    monkeypatch.setattr(operations, "_gradients", gradients)
    y = operations.conv2d(x, weight, None, padding=1)
    with contextlib.suppress(KeyboardInterrupt), operations.weights_held():
        torch.autograd.grad(y.sum(), x, retain_graph=True)
        raise KeyboardInterrupt
    torch.autograd.grad(y.sum(), (x, weight))
    assert wanted == [(True, False, False), (True, True, False)]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_formulations_for_gpus(memory_format):
    """On the CPU too they give what the kernels give that are fast there, channels last in memory."""
    x = torch.randn(3, 5, 4, 6).contiguous(memory_format=memory_format)
    twice, half = operations.repeated(x), operations.block_means(x)
    assert torch.equal(twice, F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(half, F.avg_pool2d(x, 2))
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in (twice, half))


def test_what_has_no_derivative_says_so():
    x, weight, bias, _ = inputs("cpu")
    y = operations.conv2d(x, weight, bias, padding=1)
    (gradient,) = torch.autograd.grad(y.square().sum(), weight, create_graph=True)
    with pytest.raises(NotImplementedError, match="weight is not differentiable"):
        torch.autograd.grad(gradient.sum(), x)


@pytest.mark.gpu
def test_bytes_of_a_gpu_do_not_depend_on_the_run():
    x, weight, bias, fused = (tensor.detach().float().requires_grad_() for tensor in inputs("cuda"))
    torch.backends.cudnn.deterministic = True
    gradients = [torch.autograd.grad(ours(x, weight, bias, fused).sum(), (x, weight)) for _ in range(5)]
    assert all(torch.equal(a, b) for other in gradients for a, b in zip(gradients[0], other, strict=True))
