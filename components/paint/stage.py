"""Paint the photographs of the toy run, so that a first run needs no download."""

from pathlib import Path

from progan.config import Config
from progan.dataset.toy import celeba


def paint(config: Config, name: str, out: Path) -> None:
    """Paint `name` (a key of params.yaml's `paint`) into the folder `out`."""
    celeba.paint(out, config.paint[name].images, config.paint[name].seed)
    print(f"{out}: painted {config.paint[name].images:,} faces")
