"""Export a generator as an ONNX file, which needs neither this project nor torch."""

from pathlib import Path

from components.pictures.sources import checkpoint_of
from progan.checkpoints import Checkpoint
from progan.errors import InputError
from progan.files import atomic_file
from progan.sampling import Sampler


def export(address: str, out: Path) -> None:
    """Write the generator of `address` to the ONNX file `out`, after comparing onnxruntime with torch.

    address: see `checkpoint_of`. Raises RuntimeError if their images differ by more than onnx_file.TOLERANCE.
    """
    if out.suffix != ".onnx":
        raise InputError(f"--onnx: {out}: a file name that ends with .onnx is expected")
    if Path(address).suffix == ".onnx":
        raise InputError(
            f"{address}: is an ONNX file already; name a checkpoint, or a version in the registry"
        )
    checkpoint = checkpoint_of(address)
    with atomic_file(out) as partial:
        difference = write_onnx(checkpoint, Sampler.of(checkpoint), partial)
    print(f"{out}: {address} as ONNX; onnxruntime's images are within {difference:.0e} of torch's")


def write_onnx(checkpoint: Checkpoint, sampler: Sampler, file: Path) -> float:
    """Write the sampler of `checkpoint` to `file`; the largest difference between onnxruntime and torch."""
    from components.pictures.onnx_file import check, write

    write(sampler, checkpoint.facts, file)
    return check(sampler, file)
