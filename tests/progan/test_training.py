"""The training step against a plain spelling of it, and the loop around it."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from progan import training
from progan.config import PhaseConfig
from progan.errors import InputError, Interrupted
from progan.phases import Schedule
from progan.snapshots import SnapshotFolder, read_checkpoint

CPU = torch.device("cpu")
FADING = PhaseConfig(8, "checkpoints/r0004", 0.064, 0.064, 8, 0.001)


def make_trainer(config, noise, phase=FADING):
    return training.PhaseTrainer(config, phase, noise, "data", None, CPU)


def hooks(stop_after=None, trainer=None):
    return training.Hooks(
        progress=lambda done, total: None,
        measure=lambda generator, alpha: 0.0,
        stop_requested=lambda: stop_after is not None and trainer.images_shown >= stop_after,
    )


def tensors_of(trainer):
    return trainer.models.network_tensors() | trainer.models.optimizer_tensors()


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class PlainTrainer:
    """The same iteration spelt with modules, backward() and torch's Adam."""

    def __init__(self, models, config, phase):
        self.g, self.d = copy.deepcopy(models.generator), copy.deepcopy(models.discriminator)
        self.ema = copy.deepcopy(models.ema)
        self.training, self.phase = config.training, phase
        self.reset()

    def reset(self):
        options = {"lr": self.phase.learning_rate, "betas": tuple(self.training.adam_betas), "eps": 1e-8}
        self.g_adam = torch.optim.Adam(self.g.parameters(), **options)
        self.d_adam = torch.optim.Adam(self.d.parameters(), **options)

    def iterate(self, images, draws, alpha):
        t = self.training
        x = images.float() / 255 * 2 - 1
        x = torch.stack([image.flip(2) if m else image for image, m in zip(x, draws.mirror, strict=True)])
        if alpha < 1:
            half = x.view(len(x), 3, 4, 2, 4, 2).mean(dim=(3, 5))
            x = alpha * x + (1 - alpha) * half.repeat_interleave(2, 2).repeat_interleave(2, 3)
        a = torch.tensor(alpha)
        fake = self.g(draws.critic_latents, a).detach()
        u = draws.mix.view(-1, 1, 1, 1)
        mixed = (x + (fake - x) * u).requires_grad_()
        (gradient,) = torch.autograd.grad(self.d(mixed, a)[:, 0].sum(), mixed, create_graph=True)
        norm = gradient.flatten(1).norm(dim=1)
        real, unreal = self.d(x, a)[:, 0], self.d(fake, a)[:, 0]
        loss = unreal - real + t.wgan_lambda * (norm - 1) ** 2 + t.wgan_drift * real**2
        self.d_adam.zero_grad()
        loss.mean().backward()
        self.d_adam.step()
        with torch.no_grad():
            for average, value in zip(self.ema.parameters(), self.g.parameters(), strict=True):
                average.copy_(t.ema_decay * average + (1 - t.ema_decay) * value)
        self.g_adam.zero_grad()
        (-self.d(self.g(draws.generator_latents, a), a)[:, 0]).mean().backward()
        self.g_adam.step()


@pytest.mark.parametrize("seed", [0, 1])
def test_iterations_equal_the_plain_spelling(small_config, noise, seed):
    """Through the fade, its end with the optimisers' reset, and beyond."""
    config = dataclasses.replace(small_config, training=dataclasses.replace(small_config.training, seed=seed))
    trainer = make_trainer(config, noise)
    plain = PlainTrainer(trainer.models, config, FADING)
    for iteration in range(11):
        shown = iteration * 8
        if shown == 64:
            plain.reset()
        draws = training.draw(seed, shown, 8, 8, CPU)
        plain.iterate(trainer.reals.at(shown, 8), draws, min(shown / 64, 1.0))
        trainer.iterate()
    for ours, theirs in (
        (trainer.models.generator, plain.g),
        (trainer.models.discriminator, plain.d),
        (trainer.models.ema, plain.ema),
    ):
        torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), rtol=1e-3, atol=2e-5)


def test_optimisers_start_afresh_when_the_fade_ends(small_config, noise):
    trainer = make_trainer(small_config, noise)
    updates = []
    for _ in range(10):
        trainer.iterate()
        updates.append(int(trainer.models.discriminator_adam.updates))
    assert updates == [1, 2, 3, 4, 5, 6, 7, 0, 1, 2]


def test_critic_steps(small_config, noise):
    config = dataclasses.replace(
        small_config, training=dataclasses.replace(small_config.training, critic_steps=3)
    )
    trainer = make_trainer(config, noise, dataclasses.replace(FADING, fade_kimg=0.0))
    trainer.iterate()
    assert trainer.images_shown == 24
    assert trainer._updates(24).tolist() == [3, 1, 3, 3, 3]
    assert trainer.models.discriminator_adam.updates == 3
    assert trainer.models.generator_adam.updates == 1


def test_schedule_by_hand():
    schedule = Schedule(PhaseConfig(8, "checkpoints/r0004", 0.1, 0.05, 16, 0.001))
    assert schedule.fade_images == 100
    assert schedule.total_images == 160  # 150, in whole minibatches
    assert [schedule.alpha(images) for images in (0, 50, 96, 100, 112)] == [0, 0.5, 0.96, 1, 1]
    assert [schedule.is_stable(images) for images in (0, 96, 112)] == [False, False, True]
    first = Schedule(PhaseConfig(4, "data/multires/r0004", 0, 0.05, 16, 0.001))
    assert first.alpha(0) == 1
    assert first.is_stable(0)


def test_reals_by_hand():
    images = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    plain = training.prepare_reals(images, None, None)
    torch.testing.assert_close(plain[0, 0], torch.tensor([[-1.0, 1.0], [-0.6, 0.6]]))
    mirrored = training.prepare_reals(images, torch.tensor([True]), None)
    torch.testing.assert_close(mirrored[0, 0], torch.tensor([[1.0, -1.0], [0.6, -0.6]]))
    faded = training.prepare_reals(images, None, torch.tensor(0.5))  # half way to the mean, which is 0
    torch.testing.assert_close(faded[0, 0], torch.tensor([[-0.5, 0.5], [-0.3, 0.3]]))


def test_draws_are_a_pure_function(small_config):
    def drawn(seed, shown):
        return training.draw(seed, shown, 64, 8, CPU)

    for first, second in zip(drawn(1, 16), drawn(1, 16), strict=True):
        assert torch.equal(first, second)
    for other in (drawn(2, 16), drawn(1, 32)):
        assert not torch.equal(drawn(1, 16).critic_latents, other.critic_latents)
    draws = drawn(1, 16)
    assert not torch.equal(draws.critic_latents, draws.generator_latents)
    assert 0 <= draws.mix.min() <= draws.mix.max() < 1
    assert 16 < draws.mirror.sum() < 48


def test_data_order(noise):
    """Each epoch shows every image once, in an order of its own; any position can be asked for at once."""
    reals = training.RealImages(noise, 1, CPU)
    epochs = [reals.indices(start, 64).tolist() for start in (0, 64, 128)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(64))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    across = training.RealImages(noise, 1, CPU).indices(60, 8).tolist()
    assert across == epochs[0][60:] + epochs[1][:4]
    assert torch.equal(reals.at(60, 8), torch.from_numpy(noise)[across])
    assert training.RealImages(noise, 2, CPU).indices(0, 64).tolist() != epochs[0]


@pytest.mark.parametrize("stop_after", [24, 64, 72])
def test_interrupted_equals_uninterrupted(small_config, noise, tmp_path, stop_after):
    whole = make_trainer(small_config, noise)
    whole.train(SnapshotFolder(tmp_path / "a", "r0008", whole.fingerprint), hooks())
    first = make_trainer(small_config, noise)
    folder = SnapshotFolder(tmp_path / "b", "r0008", first.fingerprint)
    with pytest.raises(Interrupted, match=f"stopped at {stop_after} images"):
        first.train(folder, hooks(stop_after, first))
    second = make_trainer(small_config, noise)
    second.train(folder, hooks())
    assert_same(tensors_of(second), tensors_of(whole))

    def losses(rows):
        return [
            {name: row[name] for name in ("kimg", "alpha", "d_loss", "g_loss", "skipped")} for row in rows
        ]

    assert losses(second.history) == losses(whole.history)


def test_history(small_config, noise, tmp_path):
    trainer = make_trainer(small_config, noise)
    trainer.train(SnapshotFolder(tmp_path, "r0008", trainer.fingerprint), hooks())
    rows = trainer.history
    assert [row["images"] for row in rows] == list(range(0, 129, 8))
    assert rows[0]["d_loss"] is None
    assert all(np.isfinite(row["d_loss"]) for row in rows[1:])
    assert [row["swd"] is not None for row in rows].count(
        True
    ) == 3  # at the start, after 80 images, at the end
    assert rows[-1]["swd"] == 0.0


def test_next_phase_takes_over_by_name(small_config, noise, tmp_path):
    small = make_trainer(small_config, noise[:, :, ::2, ::2].copy(), small_config.phases["r0004"])
    small.train(SnapshotFolder(tmp_path, "r0004", small.fingerprint), hooks())
    small.write_checkpoint(tmp_path / "r0004", {"digest": "data"})
    init = read_checkpoint(tmp_path / "r0004")
    grown = training.PhaseTrainer(small_config, FADING, noise, "data", init, CPU)
    before, after = small.models.network_tensors(), grown.models.network_tensors()
    assert_same(before, {name: after[name] for name in before})
    assert len(after) > len(before)
    assert grown.start_images == small.images_shown == 80
    new = {name for name in after if name not in before and name.startswith("generator.")}
    for name in new:
        assert torch.equal(after[name], after["ema" + name.removeprefix("generator")])


def test_what_does_not_fit_is_refused(small_config, noise, tmp_path):
    small = make_trainer(small_config, noise[:, :, ::2, ::2].copy(), small_config.phases["r0004"])
    small.write_checkpoint(tmp_path / "r0004", {"digest": "data"})
    init = read_checkpoint(tmp_path / "r0004")
    wider = dataclasses.replace(small_config, network=dataclasses.replace(small_config.network, fmap_max=16))
    with pytest.raises(InputError, match="r0004: made with another network configuration"):
        training.PhaseTrainer(wider, FADING, noise, "data", init, CPU)
    with pytest.raises(InputError, match="holds r0004, which r0016 cannot start from"):
        training.PhaseTrainer(small_config, small_config.phases["r0016"], noise, "data", init, CPU)
    with pytest.raises(InputError, match=r"phases\.r0008\.minibatch: 8 is more than the 4 images"):
        make_trainer(small_config, noise[:4])


def test_fingerprint_takes_in_all_that_decides_the_result_and_nothing_else(small_config):
    def fingerprint(config=small_config, phase=FADING, data="data"):
        return training.fingerprint(config, phase, data, None)

    replace = dataclasses.replace
    base = fingerprint()
    assert fingerprint(phase=replace(FADING, init="elsewhere")) == base
    assert fingerprint(config=replace(small_config, gate=replace(small_config.gate, swd_max=1.0))) == base
    others = [
        fingerprint(data="other"),
        fingerprint(phase=replace(FADING, learning_rate=0.002)),
        fingerprint(config=replace(small_config, network=replace(small_config.network, fmap_max=16))),
        fingerprint(config=replace(small_config, training=replace(small_config.training, seed=5))),
    ]
    assert len({base, *others}) == 5


def test_results_version(small_config, noise):
    """These numbers are what RESULTS_VERSION stands for. If they change on purpose, raise it."""
    trainer = make_trainer(small_config, noise)
    for _ in range(12):
        trainer.iterate()
    image = trainer.models.ema(torch.ones(1, 8))[0]
    seen = [image.mean().item(), image.std().item(), *(trainer.models.sums / 12).tolist()]
    assert seen == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = [0.4349796, 0.7085202, 6.705722, -0.1653131, 0.06084669, 0.1662332, 0.1914439]


def test_critic_steps_that_do_not_divide_the_phase(small_config, noise, tmp_path):
    """128 images in iterations of 3 × 8: the phase ends with the first that reaches them, and says so."""
    config = dataclasses.replace(
        small_config, training=dataclasses.replace(small_config.training, critic_steps=3)
    )
    trainer = make_trainer(config, noise)
    trainer.train(SnapshotFolder(tmp_path, "r0008", trainer.fingerprint), hooks())
    assert trainer.history[-1]["images"] == trainer.images_shown == 144
    assert trainer.history[-1]["swd"] is not None
