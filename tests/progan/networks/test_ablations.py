"""The forms that the paper compares its final networks with, against float64 numpy (within 1e-10)."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from progan import training
from progan.checkpoints import read_checkpoint
from progan.config import PhaseConfig
from progan.errors import Interrupted
from progan.networks import build_networks
from progan.networks.layers import (
    Conv,
    Dense,
    DownConv,
    FirstDense,
    FusedDownConv,
    FusedUpConv,
    LayerForm,
    LayerNorm,
    UpConv,
)
from progan.networks.progan import Discriminator, Generator
from progan.snapshots import SnapshotFolder
from progan.step import prepare_reals
from progan.store import FolderStore
from tests.checkpoints import DATASET
from tests.progan.networks import numpy_progan
from tests.progan.networks.numpy_progan import (
    FORMS,
    PAPER,
    SMALL,
    assert_equal,
    doubled,
    halved,
    leaky,
    normal,
    parameter_count,
    randomised,
)
from tests.progan.ranks import hooks

LINEAR = LayerForm(equalized_lr=True, activation="linear", norm="none")
LEAKY = LINEAR._replace(activation="leaky-relu")


def network_of(row):
    return dataclasses.replace(SMALL, **FORMS[row])


# ------------------------------------------------------------------------------------------------
# Fused scaling


def test_fused_upscaling():
    """Nearest-neighbour and convolution."""
    fused = randomised(FusedUpConv(3, 2, 3, LEAKY))
    x = normal(0, 2, 3, 4, 6)
    weight, bias = fused.weight.detach().numpy(), fused.bias.detach().numpy().reshape(-1, 1, 1)
    sums = numpy_progan.conv(doubled(x.numpy()), weight * math.sqrt(2 / 27))
    assert_equal(fused(x), leaky(sums + bias))

    unfused = UpConv(3, 2, 3, LEAKY).double()
    unfused.load_state_dict(fused.state_dict())
    torch.testing.assert_close(fused(x), unfused(x), rtol=1e-12, atol=1e-12)


def test_fused_downscaling():
    """Convolution and 2×2 mean, to the borders; bias and activation behind both, not between."""
    fused = randomised(FusedDownConv(3, 2, 3, LEAKY))
    x = normal(0, 2, 3, 6, 4)
    weight, bias = fused.weight.detach().numpy(), fused.bias.detach().numpy().reshape(-1, 1, 1)
    sums = halved(numpy_progan.conv(x.numpy(), weight * math.sqrt(2 / 27)))
    assert_equal(fused(x), leaky(sums + bias))

    unfused = DownConv(3, 2, 3, LEAKY).double()
    unfused.load_state_dict(fused.state_dict())
    assert not torch.allclose(fused(x), unfused(x), rtol=0.01)
    for layer in (fused, unfused):
        layer.form = LINEAR
    torch.testing.assert_close(fused(x), unfused(x), rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------
# Normalisation and initialisation


@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (4, 5)])
def test_layer_norm_against_numpy(shape):
    layer = randomised(LayerNorm(5))
    assert layer.gain.shape == ()
    x = normal(0, *shape) * 0.05 + 2  # small deviations, so that the epsilon shows
    gain, bias = layer.gain.detach().numpy(), layer.bias.detach().numpy()
    assert_equal(layer(x), numpy_progan.layer_norm(x.numpy(), gain, bias))


def test_batch_norm_in_training_and_after():
    """The minibatch's own statistics in training; later their running mean, a tenth of each minibatch."""
    layer = randomised(Conv(3, 2, 3, LINEAR._replace(activation="relu", norm="batch"))).train()
    x = normal(0, 4, 3, 4, 4) * 0.1
    before = {name: value.clone().numpy() for name, value in layer.norm.named_buffers()}
    sums = numpy_progan.conv(x.numpy(), layer.weight.detach().numpy() * math.sqrt(2 / 27))
    mean, variance = sums.mean((0, 2, 3)), sums.var((0, 2, 3))
    weight, bias = layer.norm.weight.detach().numpy(), layer.norm.bias.detach().numpy()
    normalised = numpy_progan.batch_norm(sums, weight, bias, mean, variance)
    assert_equal(layer(x), numpy_progan.relu(normalised))

    values = sums.shape[0] * sums.shape[2] * sums.shape[3]
    unbiased = variance * values / (values - 1)
    assert_equal(layer.norm.running_mean, 0.9 * before["running_mean"] + 0.1 * mean)
    assert_equal(layer.norm.running_var, 0.9 * before["running_var"] + 0.1 * unbiased)
    layer.eval()
    assert_equal(layer(x[:1]), layer(x)[:1].detach())


@pytest.mark.parametrize(
    ("made", "fan_in", "gain"),
    [
        (lambda form: Conv(32, 64, 3, form), 32 * 9, math.sqrt(2)),
        (lambda form: Conv(512, 64, 1, form, gain=1), 512, 1),
        (lambda form: Dense(256, 64, form), 256, math.sqrt(2)),
        (lambda form: FirstDense(64, 64, form), 64 * 16, math.sqrt(2)),  # as a 4×4 convolution of 1×1 maps
    ],
)
def test_without_equalised_learning_rate_weights_are_drawn_as_they_are(made, fan_in, gain):
    torch.manual_seed(0)
    layer = made(LINEAR._replace(equalized_lr=False))
    assert layer.weight.std().item() == pytest.approx(gain / math.sqrt(fan_in), rel=0.02)
    assert torch.equal(layer.scaled(torch.empty(0))[0], layer.weight)
    torch.manual_seed(0)
    torch.testing.assert_close(made(LINEAR).scaled(torch.empty(0))[0], layer.weight)


# ------------------------------------------------------------------------------------------------
# Minibatch discrimination


def test_calibration_of_minibatch_discrimination():
    """The nearest other image is 2 away on average, by each kernel; what is appended is 0 on average."""
    network = dataclasses.replace(SMALL, mbstd_group_size=0, minibatch_discrimination=3)
    discriminator = Discriminator(network, 8).double()
    layer = discriminator.blocks["r0004"].mbdisc
    seen = []
    layer.register_forward_hook(lambda _, inputs, outputs: seen.append((inputs[0], outputs)))
    images = normal(0, 20, 3, 8, 8)
    discriminator.calibrate(images)
    discriminator(images)
    features, appended = seen[-1]
    np.testing.assert_allclose(appended[:, -3:].detach().mean(0), 0, atol=1e-12)
    weight = layer.weight / layer.weight.norm(dim=0) * layer.log_scale.exp()
    projected = torch.einsum("nf,fkd->knd", features, weight).detach()
    distances = torch.cdist(projected, projected, p=1)
    distances.diagonal(dim1=1, dim2=2).fill_(math.inf)
    np.testing.assert_allclose(distances.amin(2).mean(1), 2, rtol=1e-10)
    assert len(layer._forward_pre_hooks) == 0


def test_the_first_phase_calibrates_by_its_real_images(small_config, noise):
    network = dataclasses.replace(small_config.network, mbstd_group_size=0, minibatch_discrimination=3)
    config = dataclasses.replace(small_config, network=network)
    trainer = training.PhaseTrainer(config, FIRST, noise, "data", None, torch.device("cpu"))
    discriminator = trainer.models.discriminator
    reals = prepare_reals(torch.from_numpy(noise), None, None)
    appended = []
    layer = discriminator.blocks["r0004"].mbdisc
    layer.register_forward_hook(lambda _, inputs, outputs: appended.append(outputs[:, -3:].detach()))
    discriminator(reals)
    assert appended[0].mean(0).abs().max() < 1e-4
    assert appended[0].std() > 1e-3


# ------------------------------------------------------------------------------------------------
# The MNIST-1K test's networks


@pytest.mark.parametrize(("divisor", "about"), [(2, 2000), (4, 500)])
def test_crippled_discriminators_are_as_small_as_the_papers(divisor, about):
    """About 2000 and 500 parameters, as the paper says, besides the lower levels' from_rgb."""
    network = dataclasses.replace(
        PAPER, fmap_base=64, latent_size=256, convs_per_block=1, discriminator_divisor=divisor
    )
    parameters = Discriminator(network, 32).named_parameters()
    unused = [f"from_rgb.r{level:04d}" for level in (4, 8, 16)]
    count = sum(value.numel() for name, value in parameters if not name.startswith(tuple(unused)))
    assert count == pytest.approx(about, rel=0.1)


def test_the_divisor_divides_the_discriminators_maps_alone():
    halved_maps = dataclasses.replace(PAPER, discriminator_divisor=2)
    with torch.device("meta"):
        assert parameter_count(Generator(halved_maps, 64)) == parameter_count(Generator(PAPER, 64))
        narrow, wide = Discriminator(halved_maps, 64).state_dict(), Discriminator(PAPER, 64).state_dict()
    assert narrow["from_rgb.r0064.weight"].shape[0] * 2 == wide["from_rgb.r0064.weight"].shape[0] == 256
    assert narrow["blocks.r0004.dense0.weight"].shape == (256, 16 * 256)
    assert narrow["blocks.r0004.conv.weight"].shape == (256, 257, 3, 3)


# ------------------------------------------------------------------------------------------------
# In training

CPU = torch.device("cpu")
FIRST = PhaseConfig(8, "data/multires/r0008", 0.0, 0.064, 8, 0.001)


def trainer_of(row, config, noise, phase=FIRST, init=None):
    config = dataclasses.replace(config, network=network_of(row))
    return training.PhaseTrainer(config, phase, noise, "data", init, CPU)


def trained(trainer, folder, stop_after=math.inf):
    snapshots = SnapshotFolder(FolderStore(folder), trainer.phase.key, trainer.identity)
    trainer.train(snapshots, hooks(stop_after, trainer))
    return trainer


@pytest.mark.parametrize("row", ["a", "e*", "fused", "crippled"])
def test_all_that_takes_part_learns(row, small_config, noise):
    """With finite second derivatives; all but the RGB layers of lower levels take part."""
    trainer = trainer_of(row, small_config, noise)
    before = trainer.models.network_tensors()
    for _ in range(3):
        trainer.iterate()
    after = trainer.models.network_tensors()
    assert all(value.isfinite().all() for value in after.values())
    still = {name for name in after if torch.equal(before[name], after[name])}
    lower = {name for name in after if "rgb.r0004" in name}
    assert still == lower
    assert trainer.models.generator_adam.skipped == trainer.models.discriminator_adam.skipped == 0


@pytest.mark.parametrize("row", ["a", "e*", "fused"])
def test_second_derivatives_against_differences(row):
    """d/dθ of a gradient penalty: autograd's double backward against central differences, in float64."""
    discriminator = randomised(Discriminator(network_of(row), 8), 1)
    images = normal(0, 3, 3, 8, 8).requires_grad_()

    def penalty():
        (gradient,) = torch.autograd.grad(discriminator(images)[:, 0].sum(), images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).sqrt().sub(1).square().mean()

    used = {
        name: value
        for name, value in discriminator.named_parameters()
        if "conv" in name or "mbdisc.weight" in name
    }
    values = [value for value in used.values() if value.ndim > 0]
    derivatives = torch.autograd.grad(penalty(), values, allow_unused=True, materialize_grads=True)
    for value, derivative in zip(values, derivatives, strict=True):
        direction = normal(2, *value.shape)
        step, kept = 1e-7, value.detach().clone()
        value.data = kept + step * direction
        above = penalty().item()
        value.data = kept - step * direction
        below = penalty().item()
        value.data = kept
        slope = (derivative * direction).sum().item()
        assert (above - below) / (2 * step) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_interrupted_equals_uninterrupted(small_config, noise, tmp_path):
    """With running statistics."""
    whole = trained(trainer_of("a", small_config, noise), tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(trainer_of("a", small_config, noise), tmp_path / "parts", stop_after=32)
    resumed = trained(trainer_of("a", small_config, noise), tmp_path / "parts")
    expected, tensors = whole.models.network_tensors(), resumed.models.network_tensors()
    assert [name for name in expected if not torch.equal(expected[name], tensors[name])] == []


def test_running_statistics_reach_the_average_the_checkpoint_and_the_next_phase(
    small_config, noise, tmp_path
):
    """The average's are the generator's own; its images do not depend on what else is in the minibatch."""
    first = trained(trainer_of("a", small_config, noise), tmp_path)
    tensors = first.models.network_tensors()
    statistics = [
        name.removeprefix("ema.") for name in tensors if name.startswith("ema") and "running" in name
    ]
    assert len(statistics) == 8
    for name in statistics:
        assert torch.equal(tensors[f"ema.{name}"], tensors[f"generator.{name}"])
        assert tensors[f"ema.{name}"].std() > 0
    first.write_checkpoint(tmp_path / "r0008", DATASET)
    checkpoint = read_checkpoint(tmp_path / "r0008")

    loaded, _ = build_networks(network_of("a"), 8)
    loaded.load_state_dict(checkpoint.networks("ema"))
    latents = torch.randn(4, 6)
    images = loaded.eval()(latents)
    torch.testing.assert_close(images, first.models.ema(latents))
    torch.testing.assert_close(images[:1], first.models.ema(latents[:1]))

    larger = np.ascontiguousarray(noise.repeat(2, axis=2).repeat(2, axis=3))
    fading = PhaseConfig(16, "checkpoints/r0008", 0.064, 0.064, 8, 0.001)
    grown = trainer_of("a", small_config, larger, fading, checkpoint)
    after = grown.models.network_tensors()
    assert all(torch.equal(after[name], tensors[name]) for name in tensors)
    for _ in range(2):
        grown.iterate()
    after = grown.models.network_tensors()
    assert all(torch.equal(after[f"ema.{name}"], after[f"generator.{name}"]) for name in statistics)
    assert any(not torch.equal(after[f"ema.{name}"], tensors[f"ema.{name}"]) for name in statistics)
