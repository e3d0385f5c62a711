"""The precisions of training, each against float64."""

import contextlib
import dataclasses

import numpy as np
import pytest
import torch

from progan import step
from progan.arithmetic import arithmetic
from progan.config import PhaseConfig
from progan.training import PhaseTrainer
from tests.progan.test_executor import SETTINGS

FADING = PhaseConfig(8, "checkpoints/r0004", 1.0, 0.0, 8, 0.001)
LOSSES = {name: values for name, values in SETTINGS.items() if not {"precision", "network"} & values.keys()}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
TOLERANCES = {"float32": 1e-5, "tf32": 1e-2, "bfloat16": 0.2}  # of a gradient, relative to its norm


def trainer_on(device, config, noise, label_size=0, **changes):
    network = dataclasses.replace(config.network, label_size=label_size)
    training = dataclasses.replace(config.training, **changes)
    config = dataclasses.replace(config, network=network, training=training)
    return PhaseTrainer(config, FADING, noise, "data", None, torch.device(device), np.arange(64) % 5)


def gradients(trainer, minibatch):
    """Those of both networks in an iteration, in float64."""
    models, training = trainer.models, trainer.config.training
    images, labels, draws, alpha = minibatch
    with arithmetic(training.precision):
        reals = step.prepare_reals(images, draws.mirror, alpha).to(draws.mix.dtype)
        latents = torch.cat([draws.critic_latents, labels], 1)
        fakes = models.generator(step.operands(latents, training), alpha)
        critique = step.critique(models, reals, fakes, labels, draws.mix, alpha, training)
        loss = step.generator_loss(models, critique.fake_outputs, labels, training)
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
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("precision", TOLERANCES)
def test_gradients_against_float64(small_config, noise, device, precision, loss):
    """In the middle of a fade, without the noise of least squares, whose draws no two devices share."""
    trainer = trainer_on(device, small_config, noise, precision=precision, **LOSSES[loss])
    reference = trainer_on("cpu", small_config, noise, **LOSSES[loss])
    for name in ("generator", "discriminator"):
        network = getattr(reference.models, name)
        network.load_state_dict(getattr(trainer.models, name).state_dict())
        network.double()
    tensors = reference._minibatches(504)[0].tensors
    doubled = [tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors]
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
