"""The precisions of training, each against float64."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from progan import step
from progan.arithmetic import arithmetic
from progan.config import PhaseConfig
from progan.training import PhaseTrainer
from tests.progan.settings import SETTINGS, changed

FADING = PhaseConfig(8, "checkpoints/r0004", 1.0, 0.0, 8, 0.001)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
TOLERANCES = {"float32": 1e-5, "tf32": 1e-2, "bfloat16": 0.2}  # of a gradient, relative to its norm


def trainer_on(device, config, noise, **changes):
    """Styles are not mixed, as float64 has other latents to mix, and the more maps there are, the less it
    matters to which of them rounding gives another sign."""
    config, phase = changed(config, FADING, **changes)
    if hasattr(config.network, "style_mixing"):
        network = replace(config.network, style_mixing=0.0, fmap_base=256, fmap_max=32)
        config = replace(config, network=network)
    return PhaseTrainer(config, phase, noise, "data", None, torch.device(device), np.arange(64) % 5)


def gradients(trainer, minibatch):
    """Those of both networks in an iteration, in float64."""
    models, training = trainer.models, trainer.config.training
    with arithmetic(training.precision):
        latents = torch.cat([minibatch.draws.critic_latents, minibatch.labels], 1)
        fakes = models.generator(step.operands(latents, training), minibatch.alpha)
        critique = step.critique(models, minibatch, fakes, training)
        loss = step.generator_loss(models, critique.fake_outputs, minibatch.labels, training)
        options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        return [
            torch.cat(
                [part.flatten().cpu().double() for part in torch.autograd.grad(value, [*of], **options)]
            )
            for value, of in (
                (loss, models.generator.parameters()),
                (critique.loss, models.discriminator.parameters()),
            )
        ]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_gradients_against_float64(small_config, noise, device, precision, setting):
    """In the middle of a fade, without the noise of least squares, whose draws no two devices share."""
    trainer = trainer_on(device, small_config, noise, precision=precision, **SETTINGS[setting])
    reference = trainer_on("cpu", small_config, noise, **SETTINGS[setting])
    for name in ("generator", "discriminator"):
        network = getattr(reference.models, name)
        network.load_state_dict(getattr(trainer.models, name).state_dict())
        network.double()
    tensors = reference._minibatches(504)[0].tensors
    doubled = [tensor if tensor.dtype == torch.bool else tensor.double() for tensor in tensors]
    expected = gradients(reference, step.Minibatch.of(doubled))
    result = gradients(trainer, step.Minibatch.of([tensor.to(device) for tensor in tensors]))
    for ours, theirs in zip(result, expected, strict=True):
        assert (ours - theirs).norm() < TOLERANCES[precision] * theirs.norm()


def test_settings_are_as_before_afterwards():
    products = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [product.fp32_precision for product in products], torch.backends.cudnn.deterministic
    with contextlib.suppress(KeyboardInterrupt), arithmetic("tf32"):
        assert [product.fp32_precision for product in products] == ["tf32", "tf32"]
        assert torch.backends.cudnn.deterministic
        raise KeyboardInterrupt
    assert ([product.fp32_precision for product in products], torch.backends.cudnn.deterministic) == before
