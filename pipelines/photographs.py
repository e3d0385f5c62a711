"""Which photographs a dataset is made of, by what git has of DVC: every clone can tell, without the data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from progan.config import Config


def digest(config: "Config") -> str:
    """DVC's hash of the photographs that it tracks at `dataset.path`; empty where it tracks nothing there."""
    tracked = _read(Path(f"{config.dataset.path}.dvc"))
    return str(tracked["outs"][0]["md5"]) if tracked else ""


def are_new(config: "Config") -> bool:
    """Whether DVC tracks other photographs now than those that the dataset in dvc.lock is made of."""
    now = digest(config)
    built = _read(Path("dvc.lock")).get("stages", {}).get("build-dataset", {}).get("deps", [])
    made_of = {each["path"]: each["md5"] for each in built}.get(config.dataset.path)
    return bool(now and made_of) and now != made_of


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text()) if file.is_file() else {}
