"""Where a container reads and writes besides its artifacts: the one place that knows what a URI is."""

import shutil
from pathlib import Path

from progan.dataset.manifest import MANIFEST_NAME
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import atomic_file


def folder_of(uri: str) -> Path:
    """The folder, mounted where this runs, that `uri` names. Raises InputError for other schemes."""
    if "://" in uri:
        raise InputError(f"{uri}: only folders can be read and written here; give the path of a mounted one")
    return Path(uri)


def found_digest(uri: str) -> str:
    """The digest of the dataset at `uri`; empty when there is none."""
    folder = folder_of(uri)
    return load_manifest(folder).digest if (folder / MANIFEST_NAME).exists() else ""


def put(file: Path, uri: str) -> None:
    """Copy `file` to `uri`, whole or not at all."""
    with atomic_file(folder_of(uri)) as beside:
        shutil.copyfile(file, beside)


def get(uri: str, file: Path) -> bool:
    """Copy what is at `uri` to `file`; False when there is nothing."""
    if not folder_of(uri).is_file():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder_of(uri), file)
    return True
