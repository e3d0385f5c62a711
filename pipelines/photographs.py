"""The photographs that a dataset is built from, identified by DVC's files in git: no data is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from progan.errors import InputError

if TYPE_CHECKING:
    from progan.config import Config


def digest(config: "Config") -> str:
    """DVC's hash of the photographs at `dataset.path`, or the digest of the parameters that they are painted
    with; empty if they are neither tracked nor painted."""
    from progan.files import digest_of

    name = painted(config)
    return digest_of(asdict(config.paint[name])) if name else _tracked(config)


def origin(config: "Config") -> str:
    """DVC's name of what `digest` is taken from: a stage or a .dvc file; empty if there is neither."""
    if name := painted(config):
        return f"paint@{name}"
    return str(_dvc_file(config)) if _tracked(config) else ""


def painted(config: "Config") -> str | None:
    """The key of `paint` that draws the photographs; None if they are not painted."""
    path = _in_project(config.dataset.path)
    return next((name for name in config.paint if path == Path("data/raw", name)), None)


def are_new(config: "Config") -> bool:
    """Whether DVC tracks other photographs now than the dataset in dvc.lock was built from."""
    tracked = _tracked(config)
    lock = Path("dvc.lock")
    with written_by_dvc(lock):
        inputs = _read(lock).get("stages", {}).get("build-dataset", {}).get("deps", [])
        digests = {_in_project(file["path"]): file.get("md5") for file in inputs}
    built_from = digests.get(_in_project(config.dataset.path))
    return bool(tracked and built_from) and tracked != built_from


def _tracked(config: "Config") -> str:
    """DVC's hash of the photographs; that of their source if they were imported without a download."""
    from progan.files import digest_of

    file = _dvc_file(config)
    with written_by_dvc(file):
        tracked = _read(file)
        if not tracked:
            return ""
        sources = tracked.get("deps", [])
        hashes = (entry.get("md5") for entry in (*tracked["outs"], *sources))
        return next(filter(None, hashes), None) or digest_of(sources)


def _dvc_file(config: "Config") -> Path:
    path = _in_project(config.dataset.path)
    return path.with_name(f"{path.name}.dvc")


def _in_project(path: str) -> Path:
    """`path` relative to the project, the current folder, if it lies in it."""
    absolute = Path(path).absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute


@contextmanager
def written_by_dvc(file: Path) -> Iterator[None]:
    """Turn the errors of reading a file of another structure than DVC gives it into an InputError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError):
        raise InputError(f"{file}: not as DVC writes it; restore it (git checkout {file})") from None


def _read(file: Path) -> dict[str, Any]:
    from progan.validation import read_yaml

    return read_yaml(file, "") or {} if file.is_file() else {}
