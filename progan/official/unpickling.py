"""Read the authors' pickles without executing anything in them.

The few names that such a pickle needs are replaced by inert records of the arguments that they are called
with; the pickle never calls NumPy itself. Every other name is refused before it is looked up.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np

from progan.errors import InputError

ELEMENT_TYPES = ("b1", "i4", "i8", "u1", "f2", "f4", "f8")  # of supported arrays
MAX_DIMENSIONS = 4


class Record:
    """Replaces an allowed name: it stores the arguments and the state that the pickle gives it."""

    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> "Record":
        self = super().__new__(cls)
        self.arguments, self.state = arguments, None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class NetworkRecord(Record):
    """A network; its state is the dict that the authors' class pickled."""


class ArrayRecord(Record):
    """An array; its state is (version, shape, element type, Fortran order?, bytes)."""


class ScalarRecord(Record):
    """A NumPy scalar; its arguments are (element type, bytes)."""


class TypeRecord(Record):
    """An element type; its arguments are ("f4", …), its state is (version, byte order, …)."""


class BytesRecord(Record):
    """Bytes as Python 3 pickles them for Python 2; its arguments are (text, "latin1")."""


RECORDS = {
    ("tfutil", "Network"): NetworkRecord,  # TensorFlow branch
    ("dnnlib.tflib.network", "Network"): NetworkRecord,  # its successor, which also trains these networks
    ("network", "Network"): NetworkRecord,  # Theano branch
    ("numpy", "ndarray"): Record,
    ("numpy", "dtype"): TypeRecord,
    ("numpy.core.multiarray", "_reconstruct"): ArrayRecord,
    ("numpy._core.multiarray", "_reconstruct"): ArrayRecord,
    ("numpy.core.multiarray", "scalar"): ScalarRecord,
    ("numpy._core.multiarray", "scalar"): ScalarRecord,
    ("_codecs", "encode"): BytesRecord,
}


class InertUnpickler(pickle.Unpickler):
    """An unpickler that resolves the names in RECORDS and no others."""

    def find_class(self, module: str, name: str) -> type[Record]:
        try:
            return RECORDS[module, name]
        except KeyError:
            refused = ascii(f"{module}.{name}"[:80])
            raise InputError(f"wants to load {refused}, which no official file does; refused") from None


def read_pickle(path: Path) -> Any:
    """The content of the pickle `path`, as Records and plain Python values; nothing in it is executed.

    Strings of Python 2 are read as Latin-1. Raises InputError if the file is missing, is not a complete
    pickle, or refers to a name that no official file does.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name the file you downloaded") from None
    try:
        _check_operations(content)
        return InertUnpickler(io.BytesIO(content), encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(
            f"{path}: not a pickle, or not a whole one ({type(error).__name__}); download it again"
        ) from None


def _check_operations(content: bytes) -> None:
    """Check the pickle's operations without executing them: sizes and indices must be within the file.

    Otherwise a few bytes could request unlimited memory. Raises ValueError or InputError.
    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name.startswith("EXT"):  # refers to a name by number, bypassing find_class
            raise InputError(
                f"uses the pickle operation {operation.name}, which no official file does; refused"
            )
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > number:
            raise ValueError(f"memo {argument} after {number} operations")


def array_of(value: Any) -> np.ndarray:
    """The array or scalar that `value` records: read-only, of at most MAX_DIMENSIONS.

    Raises InputError if `value` is anything else, if its element type is not one of ELEMENT_TYPES, or if its
    size does not match its shape.
    """
    if isinstance(value, ScalarRecord) and len(value.arguments) == 2:
        kind, content = value.arguments
        return _array((), kind, False, content)
    if isinstance(value, ArrayRecord) and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, kind, fortran, content = value.state
        return _array(shape, kind, bool(fortran), content)
    raise InputError("something else where an array is expected")


def number_of(value: Any) -> float:
    """The number that `value` records. Raises InputError as `array_of` does, or for several numbers."""
    array = array_of(value)
    if array.size != 1:
        raise InputError(f"an array of {array.size:,} elements where a number is expected")
    return float(array.item())


def _array(shape: Any, kind: Any, fortran: bool, content: Any) -> np.ndarray:
    element = _element_type(kind)
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
        raise InputError(f"an array of at most {MAX_DIMENSIONS} dimensions is expected")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise InputError("the sides of an array must be whole numbers")
    raw = _bytes(content)
    if math.prod(shape) * element.itemsize != len(raw) or not raw:
        raise InputError(f"an array of {len(raw):,} bytes does not have the shape it says")
    return np.frombuffer(raw, element).reshape(shape, order="F" if fortran else "C")


def _element_type(kind: Any) -> np.dtype:
    if isinstance(kind, TypeRecord) and kind.arguments and kind.arguments[0] in ELEMENT_TYPES:
        order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "="
        if order in ("<", ">", "=", "|"):
            return np.dtype(kind.arguments[0]).newbyteorder(order)
    raise InputError(f"arrays of {', '.join(ELEMENT_TYPES)} are expected, and no others")


def _bytes(content: Any) -> bytes:
    if isinstance(content, BytesRecord) and content.arguments[1:] == ("latin1",):
        content = content.arguments[0]
    try:
        return content.encode("latin1") if isinstance(content, str) else bytes(memoryview(content))
    except (TypeError, UnicodeEncodeError):
        raise InputError("the content of an array must be bytes") from None
