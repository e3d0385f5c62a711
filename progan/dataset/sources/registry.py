"""The sources by name, as `dataset.source` in params.yaml spells them."""

import difflib
from collections.abc import Callable
from pathlib import Path

from progan.config import DatasetConfig
from progan.dataset.sources.celeba_hq import CelebaHq
from progan.dataset.sources.celeba_wild import CelebaWild
from progan.dataset.sources.folder import Folder
from progan.dataset.sources.source import Source
from progan.errors import InputError

# Each is called with the parameters and a folder for what must be unpacked, and raises InputError.
SOURCES: dict[str, Callable[[DatasetConfig, Path], Source]] = {
    "celeba-hq": CelebaHq.open,
    "celeba-wild": CelebaWild.open,
    "folder": Folder.open,
}


def open_source(config: DatasetConfig, scratch: Path) -> Source:
    """List the images of `config`'s source; an InputError says what is wrong with the input."""
    if config.source not in SOURCES:
        near = difflib.get_close_matches(config.source, SOURCES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(SOURCES)}"
        raise InputError(f"dataset.source: {config.source}: no such source; {hint}")
    return SOURCES[config.source](config, scratch)
