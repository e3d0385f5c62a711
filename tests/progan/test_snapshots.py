"""Snapshots: undamaged ones are read, damaged ones are detected."""

import re

import pytest
import torch

from progan.errors import Unavailable
from progan.snapshots import SnapshotFolder, expected_interval
from progan.store import FolderStore


def tensors(value):
    return {"a.weight": torch.full((2, 3), float(value)), "a.count": torch.tensor(value)}


@pytest.fixture
def files(tmp_path):
    """The folder of the snapshots."""
    return tmp_path / "r0008-0123456789abcdef"


@pytest.fixture
def folder(tmp_path, files):
    files.mkdir()
    return SnapshotFolder(FolderStore(tmp_path), "r0008", "0123456789abcdef-and-more")


def test_newest_of_the_last_two(folder, files):
    assert folder.read() is None
    for images in (8, 16, 24):
        folder.write(images, tensors(images), {"images_shown": images})
    assert len(list(files.glob("*.safetensors"))) == 2
    read, facts = folder.read()
    assert facts == {"images_shown": 24}
    assert torch.equal(read["a.weight"], tensors(24)["a.weight"])


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_instead_of_a_damaged_snapshot_the_one_before_is_read(folder, files, damage):
    folder.write(8, tensors(8), {"images_shown": 8})
    folder.write(16, tensors(16), {"images_shown": 16})
    newest = max(files.glob("*.safetensors"))
    newest.write_bytes(damage(newest.read_bytes()))
    assert folder.read()[1] == {"images_shown": 8}


def test_an_unfinished_write_is_ignored(folder, files):
    folder.write(8, tensors(8), {"images_shown": 8})
    half = files / ".000000000016-abc.safetensors.123.partial"
    half.write_bytes(b"half")
    assert folder.read()[1] == {"images_shown": 8}
    folder.write(24, tensors(24), {"images_shown": 24})
    assert not half.exists()


def test_a_snapshot_without_its_pointer_still_counts(folder, files):
    """Killed between the rename and LATEST: the pointer names the older one, which is undamaged too."""
    folder.write(8, tensors(8), {"images_shown": 8})
    pointer = (files / "LATEST").read_text()
    folder.write(16, tensors(16), {"images_shown": 16})
    (files / "LATEST").write_text(pointer)
    assert folder.read()[1] == {"images_shown": 8}
    (files / "LATEST").unlink()
    assert folder.read()[1] == {"images_shown": 16}


def test_snapshots_of_other_identities_are_not_read(folder, tmp_path):
    folder.write(8, tensors(8), {"images_shown": 8})
    assert SnapshotFolder(FolderStore(tmp_path), "r0008", "fedcba9876543210-and-more").read() is None


class Away(FolderStore):
    """A folder that does not answer while `away`."""

    away = False

    def write(self, name, content):
        if self.away:
            raise Unavailable(f"{name}: does not answer, try again later")
        super().write(name, content)


def test_an_unavailable_store_causes_a_warning_and_the_previous_snapshot_remains(tmp_path, capsys):
    store = Away(tmp_path)
    folder = SnapshotFolder(store, "r0008", "identity")
    assert folder.write(8, tensors(8), {"images_shown": 8}) is True
    store.away = True
    assert folder.write(16, tensors(16), {"images_shown": 16}) is False
    warning = r"warning: r0008-identity/000000000016-\w+\.safetensors: does not answer, .*; training goes on"
    assert re.match(warning, capsys.readouterr().err)
    assert folder.read()[1] == {"images_shown": 8}
    store.away = False
    assert folder.write(24, tensors(24), {"images_shown": 24}) is True
    assert folder.read()[1] == {"images_shown": 24}


def test_a_snapshot_that_another_process_deletes_meanwhile_is_skipped(tmp_path):
    class Removing(FolderStore):
        def names(self, folder):
            names = super().names(folder)
            self.delete(names[-1])
            return names

    SnapshotFolder(FolderStore(tmp_path), "r0008", "f").write(8, tensors(8), {"images_shown": 8})
    SnapshotFolder(FolderStore(tmp_path), "r0008", "f").write(16, tensors(16), {"images_shown": 16})
    (tmp_path / "r0008-f/LATEST").unlink()
    assert SnapshotFolder(Removing(tmp_path), "r0008", "f").read()[1] == {"images_shown": 8}


def test_the_interval_that_the_plan_expects():
    """The copy takes 2 % of it at most, and the writing 10 %."""
    assert expected_interval(10**6) == 10
    assert expected_interval(700 * 10**6) == pytest.approx(70)
