"""Outputs appear whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from progan.errors import InputError
from progan.files import (
    alone,
    atomic_file,
    atomic_folder,
    canonical_json,
    digest_of,
    disk_errors,
    read_json,
    write_json,
)


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail():
        with atomic_file(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert read_json(path) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_the_old_one_or_not(tmp_path):
    path = tmp_path / "out"
    with atomic_folder(path) as beside:
        (beside / "a").write_text("1")

    def fail():
        with atomic_folder(path) as beside:
            (beside / "b").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [file.name for file in path.iterdir()] == ["a"]
    with atomic_folder(path) as beside:
        (beside / "c").write_text("3")
    assert [file.name for file in path.iterdir()] == ["c"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "no space left on the disk"), (errno.EACCES, "cannot write here")]
)
def test_errors_of_the_disk_are_one_line(tmp_path, number, message):
    def fail():
        with atomic_file(tmp_path / "a"):
            raise OSError(number, "whatever the system says")

    with pytest.raises(InputError, match=message):
        fail()


def test_a_full_disk_in_the_words_of_numpy_and_of_rust(tmp_path):
    """tests/test_recovery.py has the other libraries, on a disk that is full."""

    def write_array():
        with Path("/dev/full").open("wb") as file:
            np.zeros(2**16).tofile(file)

    def write_tensors():
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    for write in write_array, write_tensors:
        with pytest.raises(InputError, match="/a: no space left on the disk"), disk_errors(tmp_path / "a"):
            write()


def test_errors_that_nothing_has_explained(tmp_path):
    with (
        pytest.raises(InputError, match=r"/a: cannot be read or written \(Permission denied\)"),
        disk_errors(),
    ):
        raise PermissionError(errno.EACCES, "whatever the system says", str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError), disk_errors():
        (tmp_path / "a").read_text()


@pytest.mark.parametrize("place", ["file/out", "file/deeper/out", "folder"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"{place}: cannot write here .*; name another path"):
        write_json(tmp_path / place, {})
    if place != "folder":
        with (
            pytest.raises(InputError, match=f"{place}: cannot write here"),
            atomic_folder(tmp_path / place),
        ):
            pass
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_json(tmp_path):
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1, "b": 3})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.json: not valid JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(InputError, match=r"b\.json/a\.json: no such file"):
        read_json(tmp_path / "b.json/a.json")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)


def test_alone_waits_for_the_other_process(tmp_path):
    code = f"""
from pathlib import Path
from progan.files import alone
with alone(Path({str(tmp_path / "lock")!r}), "is at work"):
    print("in", flush=True)
"""
    with alone(tmp_path / "lock", "is at work"):
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert other.stderr.readline() == "another process is at work; waiting for it\n"
        assert other.poll() is None
    assert other.communicate(timeout=60)[0] == "in\n"
