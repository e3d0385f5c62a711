"""`dataset.json`, the manifest of a built dataset: its images, shard by shard, with digests."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from progan.files import digest_of
from progan.resolutions import phase_key, resolution_of
from progan.validation import default_of, from_json

MANIFEST_NAME = "dataset.json"
CHECKS_NAME = "checks.csv"  # beside the manifest: image, result, detail
FORMAT = 2


@dataclass(frozen=True)
class Shard:
    """One Parquet file; `file` is relative to the dataset's folder."""

    file: str
    images: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Level:
    """One resolution. `digest` covers the digests and counts of its shards; it identifies a phase's data."""

    digest: str
    shards: tuple[Shard, ...]

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> "Level":
        shards = tuple(shards)
        return cls(digest_of([[shard.images, shard.sha256] for shard in shards]), shards)


@dataclass(frozen=True)
class ClassCount:
    """A class and how many images it has; a label is the index of its class."""

    name: str
    images: int


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Manifest:
    """A built dataset. It holds no times or paths, so the same input gives the same bytes."""

    format: int
    source: str
    name: str  # of the folder or archive that was read
    parameters: dict[str, Any]  # those of `dataset` in params.yaml that decide the images
    images: int
    channels: int
    classes: tuple[ClassCount, ...]  # empty without labels
    enlarged: int  # images that had fewer pixels than the highest resolution
    skipped: int
    skipped_items: tuple[Skipped, ...]  # the first 100 of the skipped images
    checks: dict[str, int]  # number of images by result in CHECKS_NAME; empty if the source has no checks
    levels: dict[str, Level]  # by phase key, the lowest first
    passed_over: int = 0  # files that are no photographs; not in the file if there are none
    passed_over_items: tuple[str, ...] = ()  # the first 100 of them

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Lowest first."""
        return tuple(map(resolution_of, self.levels))

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole manifest, which includes the digests of all shards."""
        return digest_of(self.to_json())

    def level(self, resolution: int) -> Level:
        """The level of one resolution; KeyError if it was not built."""
        return self.levels[phase_key(resolution)]

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        for field in dataclasses.fields(self):
            if values[field.name] == default_of(field):
                del values[field.name]
        return values

    @classmethod
    def from_json(cls, values: Any) -> "Manifest":
        """The inverse of `to_json`; ValueError for other values."""
        if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
            raise ValueError(f"format {values['format']}, this version reads {FORMAT}")
        manifest = from_json(cls, values)
        for key, level in manifest.levels.items():
            if sum(shard.images for shard in level.shards) != manifest.images:
                raise ValueError(f"the shards of {key} do not hold {manifest.images} images")
            for shard in level.shards:
                if Path(shard.file).is_absolute() or ".." in Path(shard.file).parts:
                    raise ValueError(f"the shard {shard.file} does not lie in the dataset's folder")
        return manifest
