"""Paint the photographs of the toy run, so that a first run needs no download."""

from pathlib import Path

from progan.config import Config
from progan.dataset.toy import celeba
from progan.errors import InputError


def paint(config: Config, name: str, out: Path) -> None:
    """Paint the images of `paint.<name>` in params.yaml to the folder `out`; InputError without it."""
    if name not in config.paint:
        raise InputError(f"paint.{name}: not in params.yaml; there are {', '.join(config.paint) or 'none'}")
    celeba.paint(out, config.paint[name].images, config.paint[name].seed)
    print(f"{out}: painted {config.paint[name].images:,} faces")
