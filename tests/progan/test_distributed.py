"""Two processes that share the minibatch equal each other bit for bit, and one process that has all of it."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from progan import training
from progan.distributed import Ranks, check_continued, check_shares
from progan.errors import InputError
from progan.networks.layers import MinibatchStddev
from progan.store import FolderStore
from progan.training import STATISTICS
from tests.conftest import shrunk_params
from tests.progan import ranks
from tests.progan.networks.numpy_progan import with_stddev
from tests.progan.ranks import FADING, SETTINGS, hooks, make_trainer, tensors_of
from tests.servers import free_port


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def two_ranks(folder, **environment):
    """The output of two ranks that run `ranks.main`, with their final state in `folder`."""
    (folder / "params.yaml").write_text(yaml.safe_dump(shrunk_params()))
    of_torchrun = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, ranks.__file__, folder],
            env=os.environ | environment | of_torchrun | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return "".join(printed)


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """A folder with the final state of two ranks on the CPU, and what they printed."""
    folder = tmp_path_factory.mktemp("ranks")
    return folder, two_ranks(folder, CUDA_VISIBLE_DEVICES="")


def end_of(ends, name, rank):
    return safetensors.torch.load_file(ends[0] / f"{name}.{rank}.safetensors")


def different(first, second):
    assert first.keys() == second.keys()
    return [name for name in first if not torch.equal(first[name], second[name])]


def iterated(config, changes, device=ranks.CPU):
    """The final state of one process with the whole minibatch."""
    trainer = make_trainer(config, changes, device=device)
    for _ in range(10):
        trainer.iterate()
    return tensors_of(trainer)


def assert_close(first, second):
    for name in first:
        torch.testing.assert_close(
            first[name], second[name], rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("setting", SETTINGS)
def test_ranks_are_equal(ends, setting):
    """Except for the running statistics of batch norm, which only the first rank uses."""
    first, second = (end_of(ends, setting, rank) for rank in (0, 1))
    differ = different(first, second)
    assert all("running" in name for name in differ)
    assert bool(differ) == (setting == "batch norm")


def test_arrays_of_the_first_rank_are_mapped_by_all(ends):
    for rank in (0, 1):
        arrays = end_of(ends, "shared", rank)
        assert torch.equal(arrays["images"], torch.arange(12, dtype=torch.uint8).view(3, 4))
        assert arrays["labels"].tolist() == [5, 6, 7]


WHOLE = [name for name in SETTINGS if name not in ("batch norm", "groups of eight")]


@pytest.mark.parametrize("setting", WHOLE)
def test_two_ranks_equal_one_process_with_the_whole_minibatch(small_config, ends, setting):
    """Through the fade and beyond; including the sums for the history, both optimisers and the average."""
    assert_close(end_of(ends, setting, 0), iterated(small_config, SETTINGS[setting]))


def test_groups_larger_than_the_share_are_the_share(small_config, ends):
    """Groups of eight in minibatches of eight, but four images on each rank: as groups of four."""
    end = end_of(ends, "groups of eight", 0)
    assert_close(end, iterated(small_config, {"mbstd_group_size": 4}))
    assert not torch.allclose(
        end["running.sums"], iterated(small_config, {"mbstd_group_size": 8})["running.sums"]
    )


def test_batch_norm_sees_only_its_share(small_config, ends):
    end, one = end_of(ends, "batch norm", 0), iterated(small_config, SETTINGS["batch norm"])
    assert not torch.allclose(end["running.sums"], one["running.sums"])
    assert torch.isfinite(end["running.sums"]).all()


def test_a_gradient_that_is_not_finite_on_one_rank_is_skipped_on_all(ends):
    before, after = (end_of(ends, f"{when} poison", 0) for when in ("before", "after"))
    assert not [name for name in different(after, end_of(ends, "after poison", 1)) if name != "running.sums"]
    networks = [name for name in before if name.startswith(("generator.", "discriminator."))]
    assert all(torch.equal(after[name], before[name]) for name in networks)
    for network in ("generator", "discriminator"):
        assert (after[f"{network}_adam.skipped"], after[f"{network}_adam.updates"]) == (1, 1)


def test_a_stop_on_one_rank_stops_all_and_the_next_run_continues_bit_for_bit(ends):
    """Rank 1 asked to stop; rank 0 saved; rank 1, whose folder is empty, received the state from it."""
    folder, printed = ends
    for rank in (0, 1):
        assert f"rank {rank}: r0008: stopped at 40 images, state saved" in printed
        assert different(end_of(ends, "resumed", rank), end_of(ends, "uninterrupted", 0)) == []
    assert different(end_of(ends, "stopped", 0), end_of(ends, "uninterrupted", 0))
    assert not list((folder / "interrupted" / "of rank 1").rglob("*.safetensors"))
    assert len(list((folder / "interrupted" / "of rank 0").rglob("*.safetensors"))) == 2


def test_the_history_has_means_over_the_ranks(small_config, ends, tmp_path):
    one = make_trainer(small_config, {})
    one.train(training.SnapshotFolder(FolderStore(tmp_path), "r0008", one.identity), hooks())
    for rank in (0, 1):
        rows = json.loads((ends[0] / f"history.{rank}.json").read_text())
        alone = [row.columns for row in one.history]
        assert [row["images"] for row in rows] == [row["images"] for row in alone]
        for name in STATISTICS:
            values, expected = ([row[name] for row in history[1:]] for history in (rows, alone))
            assert values == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("size", "group"), [(2, 4), (4, 4), (2, 2), (8, 2), (1, 16)])
def test_shares_keep_the_groups_of_minibatch_stddev(size, group):
    """Each rank's appended map is its share of the map for the whole minibatch."""
    whole = np.random.default_rng(0).normal(size=(16, 3, 2, 2))
    expected = torch.from_numpy(with_stddev(whole, group))
    shares = [Ranks(rank, size).share(torch.from_numpy(whole)) for rank in range(size)]
    for rank, share in enumerate(shares):
        assert len(share) == 16 // size
        torch.testing.assert_close(MinibatchStddev(group)(share), Ranks(rank, size).share(expected))
    assert torch.equal(torch.stack(shares, 1).flatten(0, 1), torch.from_numpy(whole))


def test_uneven_shares_are_refused(small_config):
    def check(minibatch, group, size):
        network = dataclasses.replace(small_config.network, mbstd_group_size=group)
        config = dataclasses.replace(small_config, network=network)
        check_shares(config, dataclasses.replace(FADING, minibatch=minibatch), size)

    for fitting in ((8, 4, 2), (8, 4, 1), (8, 16, 2), (12, 0, 4), (24, 4, 3), (8, 4, 8)):
        check(*fitting)
    with pytest.raises(
        InputError, match=r"phases\.r0008\.minibatch: 8 images are not shared evenly by 3 ranks"
    ):
        check(8, 4, 3)
    with pytest.raises(
        InputError, match="6 of 12 images on each of 2 ranks are not a multiple of network.mbstd_g"
    ):
        check(12, 4, 2)
    with pytest.raises(InputError, match="not shared evenly by 3 ranks"):
        make_trainer(small_config, {}, Ranks(0, 3))


def resumed_from(ends, folder, config, changes):
    """A trainer in this process that continues from the state that two ranks saved at image 40."""
    saved = ends[0] / "interrupted" / "of rank 0"
    trainer = make_trainer(config, changes)
    snapshots = training.SnapshotFolder(FolderStore(folder), "r0008", trainer.identity)
    (snapshot,) = saved.glob("*/000000000040-*.safetensors")
    (folder / snapshots.name).mkdir()
    shutil.copy(snapshot, folder / snapshots.name)
    trainer.train(snapshots, hooks())
    return trainer


def test_one_process_continues_what_two_ranks_began(small_config, ends, tmp_path):
    trainer = resumed_from(ends, tmp_path, small_config, {})
    assert trainer.history[-1].images == trainer.images_shown == 120
    assert_close(end_of(ends, "uninterrupted", 0), tensors_of(trainer))


def test_another_number_of_ranks_is_refused_if_it_changes_the_result(small_config, ends, tmp_path):
    with pytest.raises(
        InputError, match="r0008: 2 ranks wrote its snapshot, and with network.mbstd_group_size"
    ):
        resumed_from(ends, tmp_path, small_config, {"mbstd_group_size": 8})


def test_exactly_the_share_dependent_settings_are_refused(small_config):
    """For the settings whose results are compared above; the same number may always continue."""
    for name, changes in SETTINGS.items():
        trainer = make_trainer(small_config, changes)
        check_continued(trainer.config, FADING, 2, 2)
        with contextlib.nullcontext() if name in WHOLE else pytest.raises(InputError, match="2 ranks"):
            check_continued(trainer.config, FADING, 2, 1)


def test_a_snapshot_without_a_number_of_ranks_is_of_one(small_config, tmp_path):
    trainer = ranks.train(small_config, tmp_path, Ranks(), stop_at=40)
    folder = training.SnapshotFolder(FolderStore(tmp_path / "of rank 0"), "r0008", trainer.identity)
    tensors, facts = folder.read()
    del facts["ranks"]
    folder.write(facts["images_shown"], tensors, facts)
    assert ranks.train(small_config, tmp_path, Ranks()).images_shown == 120


@pytest.mark.gpu
def test_two_gpus_equal_one(small_config, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    ends = tmp_path, two_ranks(tmp_path)
    for setting in WHOLE:
        first, second = (end_of(ends, setting, rank) for rank in (0, 1))
        assert different(first, second) == []
        assert_close(first, iterated(small_config, SETTINGS[setting], torch.device("cuda", 0)))
