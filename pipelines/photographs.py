"""Which photographs a dataset is made of, by what git has of DVC: every clone can tell, without the data."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from progan.config import Config


def digest(config: "Config") -> str:
    """DVC's hash of the photographs that it tracks at `dataset.path`, or a digest of the parameters by which
    they are painted; empty where nothing tells them from others."""
    from progan.files import digest_of

    name = painted(config)
    return digest_of(asdict(config.paint[name])) if name else _tracked(config)


def origin(config: "Config") -> str:
    """What `digest` goes by, as DVC calls it: a stage, or a .dvc file; empty where there is none."""
    if name := painted(config):
        return f"paint@{name}"
    return f"{config.dataset.path}.dvc" if _tracked(config) else ""


def painted(config: "Config") -> str | None:
    """The key of `paint` whose pictures are the photographs; None for others."""
    return next((name for name in config.paint if config.dataset.path == f"data/raw/{name}"), None)


def are_new(config: "Config") -> bool:
    """Whether DVC tracks other photographs now than those that the dataset in dvc.lock is made of."""
    now = _tracked(config)
    built = _read(Path("dvc.lock")).get("stages", {}).get("build-dataset", {}).get("deps", [])
    made_of = {each["path"]: each["md5"] for each in built}.get(config.dataset.path)
    return bool(now and made_of) and now != made_of


def _tracked(config: "Config") -> str:
    tracked = _read(Path(f"{config.dataset.path}.dvc"))
    return str(tracked["outs"][0]["md5"]) if tracked else ""


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text()) if file.is_file() else {}
