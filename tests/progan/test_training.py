"""The loop: its schedule, its data, its checkpoint, and continuing after an interruption."""

import dataclasses
import math
import threading

import numpy as np
import pytest
import torch

from progan import snapshots, training
from progan.checkpoints import read_checkpoint
from progan.config import PhaseConfig
from progan.errors import InputError, Interrupted, Unavailable
from progan.history import Readings
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from tests.checkpoints import DATASET
from tests.progan import ranks
from tests.progan.ranks import tensors_of
from tests.progan.settings import SETTINGS, changed

CPU = torch.device("cpu")
FADING = PhaseConfig(8, "checkpoints/r0004", 0.064, 0.064, 8, 0.001)


def make_trainer(config, noise, phase=FADING, labels=None):
    return training.PhaseTrainer(config, phase, noise, "data", None, CPU, labels)


def hooks(stop_after=math.inf, trainer=None):
    return dataclasses.replace(
        ranks.hooks(stop_after, trainer),
        picture=lambda generator, alpha: (
            torch.cat([p.flatten() for p in generator.parameters()]).numpy().tobytes()
        ),
        machine=lambda: Readings(device="an abacus"),
    )


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_optimisers_are_reset_when_the_fade_ends(small_config, noise):
    trainer = make_trainer(small_config, noise)
    updates = []
    for _ in range(10):
        trainer.iterate()
        updates.append(int(trainer.models.discriminator_adam.updates))
    assert updates == [1, 2, 3, 4, 5, 6, 7, 0, 1, 2]


def test_critic_steps(small_config, noise):
    config, _ = changed(small_config, FADING, critic_steps=3)
    trainer = make_trainer(config, noise, dataclasses.replace(FADING, fade_kimg=0.0))
    trainer.iterate()
    assert trainer.images_shown == 24
    assert trainer._updates(24).tolist() == [3, 1, 3, 3, 3]
    assert trainer.models.discriminator_adam.updates == 3
    assert trainer.models.generator_adam.updates == 1


def test_data_order(noise):
    """Each epoch shows every image once, in a different order; positions can be read in any order."""
    labels = np.arange(64)
    reals = training.RealImages(noise, labels, 1, CPU)
    epochs = [reals.indices(start, 64).tolist() for start in (0, 64, 128)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(64))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    across = training.RealImages(noise, labels, 1, CPU).indices(60, 8).tolist()
    assert across == epochs[0][60:] + epochs[1][:4]
    images, shown_labels = reals.at(60, 8)
    assert torch.equal(images, torch.from_numpy(noise)[across])
    assert shown_labels.tolist() == across
    assert training.RealImages(noise, labels, 2, CPU).indices(0, 64).tolist() != epochs[0]


def unsure(trainer):
    """Begin with noise in the discriminator if the loss has noise."""
    if trainer.models.noise:
        trainer.models.noise.score.fill_(0.95)
    return trainer


@pytest.mark.parametrize(
    ("setting", "stop_after"),  # in the fade, at its end, and behind it
    [
        ("default", 64),
        ("joint update and labels", 24),
        ("least squares", 72),
        ("R1 and labels", 24),
        ("hinge, three critic steps", 24),
        ("StyleGAN", 72),
        ("StyleGAN2", 56),
        ("hinge, BigGAN", 48),
    ],
)
def test_interrupted_equals_uninterrupted(small_config, noise, tmp_path, monkeypatch, setting, stop_after):
    """Also between two rows of the history. A loss without image gradients has no gradient norm."""
    monkeypatch.setattr(training, "TICKS_PER_PHASE", 4)
    config, phase = changed(small_config, FADING, **SETTINGS[setting])
    labels = np.arange(64) % 5
    whole = unsure(make_trainer(config, noise, phase, labels))
    whole.train(SnapshotFolder(FolderStore(tmp_path / "a"), "r0008", whole.identity), hooks())
    first = unsure(make_trainer(config, noise, phase, labels))
    folder = SnapshotFolder(FolderStore(tmp_path / "b"), "r0008", first.identity)
    with pytest.raises(Interrupted, match="stopped at"):
        first.train(folder, hooks(stop_after, first))
    second = make_trainer(config, noise, phase, labels)
    second.train(folder, hooks())
    assert_same(tensors_of(second), tensors_of(whole))
    assert second.pictures == whole.pictures
    assert all(torch.isfinite(tensor).all() for tensor in tensors_of(whole).values())

    def losses(rows):
        return [
            {name: row.columns[name] for name in ("kimg", "alpha", "skipped", *training.STATISTICS)}
            for row in rows
        ]

    assert losses(second.history) == losses(whole.history)
    for row in whole.history[1:]:
        assert (row.gradient_norm is None) == setting.startswith(("least", "hinge"))
        assert np.isfinite([row.d_loss, row.g_loss, row.real_score, row.fake_score]).all()
        assert row.skipped == 0


def test_a_phase_goes_on_with_its_number_of_threads(small_config, noise, tmp_path):
    """Sums of other numbers of threads have other last bits."""
    folder, threads = SnapshotFolder(FolderStore(tmp_path), "r0008", "data"), torch.get_num_threads()
    notices = []
    try:
        torch.set_num_threads(2)
        first = make_trainer(small_config, noise)
        with pytest.raises(Interrupted):
            first.train(folder, hooks(24, first))
        torch.set_num_threads(1)
        second = make_trainer(small_config, noise)
        second.train(folder, dataclasses.replace(hooks(), notice=notices.append))
        assert torch.get_num_threads() == 2
        second.write_checkpoint(tmp_path / "r0008", DATASET)
    finally:
        torch.set_num_threads(threads)
    assert notices == ["r0008: goes on with 2 CPU threads per process, as it began"]
    assert read_checkpoint(tmp_path / "r0008").facts.threads == 2


def test_history(small_config, noise, tmp_path):
    trainer = make_trainer(small_config, noise)
    trainer.train(SnapshotFolder(FolderStore(tmp_path), "r0008", trainer.identity), hooks())
    rows = trainer.history
    assert [row.images for row in rows] == list(range(0, 129, 8))
    assert rows[0].d_loss is None
    assert all(np.isfinite(row.d_loss) for row in rows[1:])
    measured = [row.images for row in rows if row.swd is not None]
    assert measured == [0, 80, 128]
    assert rows[-1].swd == 0.0
    assert [row.machine.device for row in rows] == ["an abacus"] * len(rows)
    assert list(trainer.pictures) == [f"{row.kimg:09.3f}" for row in rows if row.swd is not None]
    assert len(set(trainer.pictures.values())) == 3


def test_a_phase_with_a_problem_stops_only_if_it_is_told_to(small_config, noise, tmp_path):
    for stops in (False, True):
        trainer = make_trainer(changed(small_config, FADING, stop_on_problems=stops)[0], noise)
        with torch.no_grad():
            trainer.models.generator_adam.values.fill_(math.nan)
        folder = SnapshotFolder(FolderStore(tmp_path / str(stops)), "r0008", trainer.identity)
        if stops:
            with pytest.raises(InputError, match=r"r0008: the loss .* not finite, and training.stop_on_pro"):
                trainer.train(folder, hooks())
        else:
            trainer.train(folder, hooks())
        assert trainer.finished is not stops


def test_no_training_time_is_lost_at_a_stop(small_config, noise, tmp_path, monkeypatch):
    """Training shows one image a second here, and is stopped between two rows of the history."""
    monkeypatch.setattr(training, "TICKS_PER_PHASE", 4)
    monkeypatch.setattr(training.time, "monotonic", lambda: trainer.images_shown)
    trainer = make_trainer(small_config, noise)
    folder = SnapshotFolder(FolderStore(tmp_path), "r0008", trainer.identity)
    with pytest.raises(Interrupted):
        trainer.train(folder, hooks(24, trainer))
    trainer = make_trainer(small_config, noise)
    trainer.train(folder, hooks())
    assert [row.seconds for row in trainer.history] == [0, 32, 64, 96, 128]
    assert [row.images_per_second for row in trainer.history] == [None, 1, 1, 1, 1]


def test_the_last_row_of_the_history_is_no_shorter_than_others(small_config, noise, tmp_path, monkeypatch):
    """The losses of a single iteration would be a spike at the end of each curve."""
    monkeypatch.setattr(training, "TICKS_PER_PHASE", 6)
    trainer = make_trainer(small_config, noise)
    trainer.train(SnapshotFolder(FolderStore(tmp_path), "r0008", trainer.identity), hooks())
    assert [row.images for row in trainer.history] == [0, 24, 48, 64, 88, 112, 128]


def test_only_least_squares_has_noise_and_its_score_follows_the_fakes(small_config, noise):
    assert make_trainer(small_config, noise).models.noise is None
    trainer = make_trainer(changed(small_config, FADING, **SETTINGS["least squares"])[0], noise)
    expected = 0.0
    for _ in range(3):
        before = trainer.models.sums.clone()
        trainer.iterate()
        score = (trainer.models.sums - before)[training.STATISTICS.index("fake_score")].item()
        expected = 0.9 * expected + 0.1 * min(max(score, 0.0), 1.0)
    assert trainer.models.noise.score.item() == pytest.approx(expected, rel=1e-5)


def test_the_next_phase_loads_tensors_by_name(small_config, noise, tmp_path):
    small = make_trainer(small_config, noise[:, :, ::2, ::2].copy(), small_config.phases["r0004"])
    small.train(SnapshotFolder(FolderStore(tmp_path), "r0004", small.identity), hooks())
    small.write_checkpoint(tmp_path / "r0004", DATASET)
    init = read_checkpoint(tmp_path / "r0004")
    grown = training.PhaseTrainer(small_config, FADING, noise, "data", init, CPU)
    before, after = small.models.network_tensors(), grown.models.network_tensors()
    assert_same(before, {name: after[name] for name in before})
    assert len(after) > len(before)
    assert grown.start_images == small.images_shown == 80
    new = {name for name in after if name not in before and name.startswith("generator.")}
    for name in new:
        assert torch.equal(after[name], after["ema" + name.removeprefix("generator")])
    grown.write_checkpoint(tmp_path / "r0008", DATASET)
    facts = read_checkpoint(tmp_path / "r0008").facts
    assert facts.init == init.digest
    assert init.facts.init is None


def test_mismatches_are_refused(small_config, noise, tmp_path):
    small = make_trainer(small_config, noise[:, :, ::2, ::2].copy(), small_config.phases["r0004"])
    small.write_checkpoint(tmp_path / "r0004", DATASET)
    init = read_checkpoint(tmp_path / "r0004")
    wider = dataclasses.replace(small_config, network=dataclasses.replace(small_config.network, fmap_max=16))
    with pytest.raises(InputError, match="r0004: made with another network configuration"):
        training.PhaseTrainer(wider, FADING, noise, "data", init, CPU)
    other = dataclasses.replace(
        small_config, network=dataclasses.replace(small_config.network, generator_activation="relu")
    )
    message = r"network.generator_activation: leaky-relu, in params.yaml relu\); set it as it was"
    with pytest.raises(InputError, match=message):  # tensors of the same shapes
        training.PhaseTrainer(other, FADING, noise, "data", init, CPU)
    with pytest.raises(InputError, match="holds r0004, which r0016 cannot start from"):
        training.PhaseTrainer(small_config, small_config.phases["r0016"], noise, "data", init, CPU)
    later = dataclasses.replace(small_config.phases["r0016"], minibatch=72)
    config = dataclasses.replace(small_config, phases=small_config.phases | {"r0016": later})
    with pytest.raises(InputError, match=r"phases\.r0016\.minibatch: 72 is more than the 64 images"):
        make_trainer(config, noise)


def test_results_version(small_config, noise):
    """These numbers are what RESULTS_VERSION stands for. If they change on purpose, raise it."""
    trainer = make_trainer(small_config, noise)
    for _ in range(12):
        trainer.iterate()
    image = trainer.models.ema(torch.ones(1, 8))[0]
    statistics = [image.mean().item(), image.std().item(), *(trainer.models.sums / 12).tolist()]
    assert statistics == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = [0.4349796, 0.7085202, 6.705722, -0.1653131, 0.06084669, 0.1662332, 0.1914439]


def test_critic_steps_that_do_not_divide_the_phase(small_config, noise, tmp_path):
    """128 images in iterations of 3 × 8: it ends with the first that reaches them, and records it."""
    config, _ = changed(small_config, FADING, critic_steps=3)
    trainer = make_trainer(config, noise)
    trainer.train(SnapshotFolder(FolderStore(tmp_path), "r0008", trainer.identity), hooks())
    assert trainer.history[-1].images == trainer.images_shown == 144
    assert trainer.history[-1].swd is not None


class Away(FolderStore):
    """A folder that does not answer, so that nothing is stored."""

    def write(self, name, content):
        raise Unavailable(f"{name}: does not answer, try again later")


@pytest.fixture
def many_snapshots(monkeypatch):
    """A snapshot is due whenever none is being written."""
    for name, value in {
        "INTERVAL_SECONDS": 0.0,
        "COPYING": 1e9,
        "WRITING": 1e9,
        "RETRY_SECONDS": 0.0,
    }.items():
        monkeypatch.setattr(snapshots, name, value)


@pytest.mark.usefixtures("many_snapshots")
def test_a_phase_is_trained_even_if_its_snapshots_cannot_be_written(small_config, noise, tmp_path, capsys):
    whole, alone = make_trainer(small_config, noise), make_trainer(small_config, noise)
    whole.train(SnapshotFolder(FolderStore(tmp_path), "r0008", whole.identity), hooks())
    away = SnapshotFolder(Away(tmp_path / "away"), "r0008", alone.identity)
    alone.train(away, hooks())
    assert_same(tensors_of(alone), tensors_of(whole))
    assert capsys.readouterr().err.count("training goes on without this snapshot") >= 2
    stopped = make_trainer(small_config, noise)
    with pytest.raises(Interrupted, match="r0008: stopped at 24 images, the previous snapshot remains"):
        stopped.train(away, hooks(24, stopped))


class Slow(FolderStore):
    """A folder whose first write ends only when it is told to."""

    def __init__(self, root):
        super().__init__(root)
        self.begun, self.may_end = threading.Event(), threading.Event()

    def write(self, name, content):
        self.begun.set()
        assert self.may_end.wait(60), "training does not go on"
        super().write(name, content)


@pytest.mark.usefixtures("many_snapshots")
def test_training_goes_on_while_a_snapshot_is_written(small_config, noise, tmp_path):
    """A stop then waits for it and writes the last one too; the next run ends in the same bits."""
    store, trainer, meanwhile = Slow(tmp_path), make_trainer(small_config, noise), []
    folder = SnapshotFolder(store, "r0008", trainer.identity)

    def stop_requested():
        if store.begun.is_set():
            meanwhile.append(trainer.images_shown)
        if len(meanwhile) == 4:
            store.may_end.set()
        return len(meanwhile) == 4

    with pytest.raises(Interrupted, match="state saved"):
        trainer.train(folder, dataclasses.replace(hooks(), stop_requested=stop_requested))
    assert meanwhile == list(range(meanwhile[0], meanwhile[0] + 32, 8))
    assert folder.newest() == trainer.images_shown == meanwhile[-1]
    resumed, whole = make_trainer(small_config, noise), make_trainer(small_config, noise)
    resumed.train(folder, hooks())
    whole.train(SnapshotFolder(FolderStore(tmp_path / "whole"), "r0008", whole.identity), hooks())
    assert_same(tensors_of(resumed), tensors_of(whole))


class Forbidden(FolderStore):
    def write(self, name, content):
        raise InputError(f"{name}: AccessDenied")


@pytest.mark.usefixtures("many_snapshots")
def test_a_store_that_refuses_a_snapshot_ends_training(small_config, noise, tmp_path):
    trainer = make_trainer(small_config, noise)
    with pytest.raises(InputError, match="AccessDenied"):
        trainer.train(SnapshotFolder(Forbidden(tmp_path), "r0008", trainer.identity), hooks())


def test_when_snapshots_are_due(monkeypatch):
    """Copies hold training up for 2 % of the time, and 10 % of it are spent on writing, beside training.

    A snapshot that could not be written is tried again within minutes.
    """
    now = 1000.0
    monkeypatch.setattr(snapshots.time, "monotonic", lambda: now)

    class Folder:
        def write(self, seconds, written):
            nonlocal now
            now += seconds
            return written

    def seconds_to_next(copying, *writing):
        """From the start of a snapshot on that takes so long."""
        nonlocal now

        def copy():
            nonlocal now
            now += copying
            return writing

        began = now
        writer.start(copy)
        writer.wait()
        while not writer.due():
            now += 1
        return now - began

    with snapshots.SnapshotWriter(Folder()) as writer:
        assert not writer.due()
        assert seconds_to_next(0, 0, True) == 10
        assert seconds_to_next(1, 2, True) == 50
        assert seconds_to_next(1, 30, True) == 300
        assert seconds_to_next(0, 100, True) == 1000
        assert seconds_to_next(0, 100, False) == 300
