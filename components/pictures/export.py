"""Export a generator as an ONNX file, which needs neither this project nor torch."""

from pathlib import Path

from components.pictures.sources import checkpoint_of
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
    from components.pictures.onnx_file import check, write

    checkpoint = checkpoint_of(address)
    sampler = Sampler.of(checkpoint)
    with atomic_file(out) as partial:
        write(sampler, checkpoint.facts, partial)
        difference = check(sampler, partial)
    print(f"{out}: {address} as ONNX; onnxruntime's images are within {difference:.0e} of torch's")
