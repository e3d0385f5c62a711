"""Small made-up photographs and the parameters to build datasets of them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from progan.config import DatasetConfig
from progan.dataset.build import build
from progan.dataset.sources.by_name import SOURCES
from progan.dataset.sources.source import Item, Picture


@pytest.fixture
def config() -> Callable[..., DatasetConfig]:
    """Parameters for the folder at `path`, with a test's changes."""
    base = DatasetConfig("folder", "photographs", 4, 8, 123, (), None, 0.0, "report")
    return lambda path, **changes: dataclasses.replace(base, path=str(path), **changes)


@pytest.fixture
def photos() -> Callable[..., Path]:
    """Write random PNGs of `side` pixels to root/<name>.png for every name; return root."""

    def write(root: Path, names: list[str], side: int = 8) -> Path:
        rng = np.random.default_rng(5)
        for name in names:
            file = root / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(file)
        return root

    return write


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder, with its bytes."""
    return lambda root: {
        str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()
    }


@pytest.fixture
def grey_dataset(tmp_path, config, monkeypatch) -> Path:
    """A built dataset of 16 grey noise images at 4 and 8 px."""

    @dataclasses.dataclass(frozen=True)
    class Grey:
        items: tuple[Item, ...]
        classes: tuple[str, ...] = ()
        identity: str = ""
        channels: int = 1

        def load(self, item: Item) -> Picture:
            return Picture(np.random.default_rng(int(item.name)).integers(0, 256, (8, 8, 1), np.uint8))

    items = tuple(Item(str(number), None) for number in range(16))
    monkeypatch.setitem(SOURCES, "grey", lambda config, scratch: Grey(items))
    build(config("x", source="grey"), tmp_path / "grey", workers=1)
    return tmp_path / "grey"
