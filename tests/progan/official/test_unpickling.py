"""A pickle cannot execute anything, and damaged ones are refused."""

import copyreg
import os
import pickle
import re
import struct
import subprocess

import numpy as np
import pytest

from progan.errors import InputError
from progan.official.unpickling import array_of, read_pickle
from tests.progan.official.released import tensorflow_networks, write_tensorflow


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.pkl"


class Calling:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_arrays_and_scalars(file):
    values = [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(4, dtype=">i4"),
        np.float32(0.5),
        np.array(7),
    ]
    for protocol in range(2, 5):
        file.write_bytes(pickle.dumps(values, protocol))
        for expected, record in zip(values, read_pickle(file), strict=True):
            array = array_of(record)
            assert array.dtype == np.asarray(expected).dtype
            np.testing.assert_array_equal(array, expected)


ATTACKS = {
    "system": lambda mark: pickle.dumps(Calling(os.system, f"touch {mark}")),
    "eval": lambda mark: pickle.dumps(Calling(eval, f"open({str(mark)!r}, 'w')")),
    "popen": lambda mark: pickle.dumps(Calling(subprocess.Popen, ["touch", str(mark)])),
    "open, in protocol 0": lambda mark: pickle.dumps(Calling(open, str(mark), "w"), 0),
    "text of INST": lambda mark: f"(S'touch {mark}'\nios\nsystem\n.".encode(),
    "text of GLOBAL and OBJ": lambda mark: b"(cos\nsystem\nS'touch %b'\no." % str(mark).encode(),
    "a method of an admitted class": lambda mark: b"cnumpy\nndarray.tofile\n(S'%b'\ntR." % str(mark).encode(),
    "a dotted name": lambda mark: b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93)\x81.",
    "numpy's own file functions": lambda mark: (
        b"cnumpy\nmemmap\n(S'%b'\nS'u1'\nS'w+'\ntR." % str(mark).encode()
    ),
    "an extension by number": lambda mark: b"\x80\x02\x82\x01.",
    "a persistent name": lambda mark: b"Pname\n.",
    "attributes of an admitted class": lambda mark: b"cnumpy\nndarray\n(dS'__new__'\ncos\nsystem\nsb.",
    "state of a class, without any name": lambda mark: b"cnumpy\nndarray\nN}S'__doc__'\nS'x'\ns\x86b.",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_and_have_no_effect(file, tmp_path, attack):
    mark = tmp_path / "mark"
    file.write_bytes(ATTACKS[attack](mark))
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}: [^\n]*$"):
        read_pickle(file)
    assert not mark.exists()


def test_the_attacks_would_have_had_an_effect(file, tmp_path):
    """Otherwise the test above would show nothing."""
    mark = tmp_path / "mark"
    for attack in ("system", "eval", "open, in protocol 0", "text of INST", "text of GLOBAL and OBJ"):
        pickle.loads(ATTACKS[attack](mark))
        assert mark.exists()
        mark.unlink()


def test_names_that_someone_has_numbered(file):
    """Python caches the object for such a number, and would not look up its name again."""
    numbered = b"\x80\x02\x82\x01."
    copyreg.add_extension("os", "getcwd", 1)
    try:
        assert pickle.loads(numbered) is os.getcwd
        file.write_bytes(numbered)
        with pytest.raises(InputError, match="uses the pickle operation EXT1, which no official file does"):
            read_pickle(file)
    finally:
        copyreg.remove_extension("os", "getcwd", 1)


def test_a_memo_larger_than_the_file(file):
    """Refused before it is allocated, even if there would be memory for it."""
    claiming = b"\x80\x04Nr\x00\x00\x10\x00."
    assert pickle.loads(claiming) is None
    file.write_bytes(claiming)
    with pytest.raises(InputError, match="not a pickle, or not a whole one"):
        read_pickle(file)


@pytest.mark.parametrize("place", ["name", "static_kwargs", "variables", "build_module_src"])
def test_attacks_inside_a_network(file, tmp_path, place):
    mark = tmp_path / "mark"
    network = tensorflow_networks()[0]

    class Hiding:
        state = network.state | {place: [("4x4/Conv/weight", Calling(os.system, f"touch {mark}"))]}

    write_tensorflow(file, [Hiding, *tensorflow_networks()[1:]])
    with pytest.raises(InputError, match=r"wants to load '(posix|nt).system', which no official file does"):
        read_pickle(file)
    assert not mark.exists()


def test_a_refusal_names_what_was_asked_for_on_one_clean_line(file):
    name = b"sys\n\x1b[2Jtem"
    file.write_bytes(b"\x80\x04\x8c\x02os\x8c%c%b\x93." % (len(name), name))
    with pytest.raises(InputError) as raised:
        read_pickle(file)
    assert (
        str(raised.value)
        == rf"{file}: wants to load 'os.sys\n\x1b[2Jtem', which no official file does; refused"
    )


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="another format"),
        pytest.param(b"<!DOCTYPE html><title>Quota exceeded</title>", id="a page instead of the file"),
        pytest.param(b"\x80\x04.", id="nothing on the stack"),
        pytest.param(b"\x80\x04Nr\xff\xff\xff\xff.", id="memo of 64 GB"),
        pytest.param(b"p99999999999\n.", id="memo, as text"),
        pytest.param(b"\x80\x04\x8e" + struct.pack("<Q", 2**45) + b"x.", id="bytes of 32 TB"),
        pytest.param(b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"\x8d.", id="frame of 4 EB"),
        pytest.param(b"\x80\x7fN.", id="a protocol to come"),
        pytest.param(b"I" + b"9" * 10_000 + b"\n.", id="a number of 10,000 digits"),
    ],
)
def test_files_that_are_not_pickles(file, content):
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=f"^{re.escape(str(file))}: not a pickle, or not a whole one .* again$"
    ):
        read_pickle(file)


def test_truncated_anywhere(file):
    content = write_tensorflow(file).read_bytes()
    for length in (1, 2, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match="not a pickle, or not a whole one"):
            read_pickle(file)


def test_no_file(file):
    with pytest.raises(InputError, match="file.pkl: cannot be read .* name the file you downloaded"):
        read_pickle(file)


def array_pickle(shape, kind="f4", content=b"\0" * 16, order="<"):
    """A hand-written array, with any state."""

    class Claiming:
        def __reduce__(self):
            array = np.zeros(1, np.float32)
            rebuild, arguments, (version, _, _, fortran, _) = array.__reduce__()
            return rebuild, arguments, (version, shape, Kind(), fortran, content)

    class Kind:
        def __reduce__(self):
            return np.dtype, (kind, False, True), (3, order, None, None, None, -1, -1, 0)

    return pickle.dumps(Claiming(), 4)


def test_a_hand_written_array(file):
    file.write_bytes(array_pickle((2, 2)))
    np.testing.assert_array_equal(array_of(read_pickle(file)), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    ("claims", "line"),
    [
        ({"shape": (4,), "kind": "O8"}, "arrays of b1, .* are expected"),
        ({"shape": (4,), "kind": "O"}, "arrays of b1, .* are expected"),
        ({"shape": (4,), "kind": "V4"}, "arrays of b1, .* are expected"),
        ({"shape": (4,), "kind": ["f4"]}, "arrays of b1, .* are expected"),
        ({"shape": (4,), "order": "|O"}, "arrays of b1, .* are expected"),
        ({"shape": (5,)}, "16 bytes does not have the shape it says"),
        ({"shape": (2**40, 2**40)}, "16 bytes does not have the shape it says"),
        ({"shape": (0, 2**62), "content": b""}, "0 bytes does not have the shape it says"),
        ({"shape": (-2, -2)}, "sides of an array must be whole numbers"),
        ({"shape": (2.0, 2)}, "sides of an array must be whole numbers"),
        ({"shape": (1,) * 60 + (4,)}, "at most 4 dimensions"),
        ({"shape": (4,), "content": [1, 2, 3, 4]}, "content of an array must be bytes"),
        ({"shape": (1,), "content": "\u20ac"}, "content of an array must be bytes"),
    ],
)
def test_arrays_that_are_not_what_they_say(file, claims, line):
    file.write_bytes(array_pickle(**claims))
    with pytest.raises(InputError, match=line):
        array_of(read_pickle(file))


def test_real_object_arrays_are_refused(file):
    file.write_bytes(pickle.dumps(np.array([{}, None], object), 4))
    with pytest.raises(InputError, match="arrays of b1, .* are expected"):
        array_of(read_pickle(file))


def test_exponential_structures_cost_nothing(file):
    """Each level refers to the one before ten times: 10^60 elements in all."""
    content = b"\x80\x04]\x94" + b"".join(b"]\x94(" + b"h%c" % number * 10 + b"e" for number in range(60))
    file.write_bytes(content + b".")
    with pytest.raises(InputError, match="something else where an array is expected"):
        array_of(read_pickle(file))
