"""One resolution of a built dataset, from where it is kept to a folder that the readers understand."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from components.object_store import open_store
from progan.config import phase_key
from progan.dataset.manifest import MANIFEST_NAME, Level, Manifest, Shard
from progan.dataset.reader import built_level, load_manifest, parse_manifest
from progan.errors import InputError
from progan.files import atomic_file, sha256_file
from progan.progress import show_progress
from progan.store import FolderStore

if TYPE_CHECKING:
    from components.object_store.s3 import S3Store

SHARDS_AT_ONCE = 4  # each in parts, several of them at a time too


def find_manifest(uri: str) -> Manifest | None:
    """What the dataset at `uri` holds; None when there is no dataset, or not all of it yet."""
    content = open_store(uri).read(MANIFEST_NAME)
    return None if content is None else _parsed(content, f"{uri}/{MANIFEST_NAME}")


def fetch_level(uri: str, digest: str, resolution: int) -> Path:
    """A folder with the manifest of the dataset at `uri` and, verified, the shards of one `resolution`.

    A dataset in a folder stays where it is. One at an s3:// address comes into the user's cache
    (XDG_CACHE_HOME); what an earlier call brought there whole is not fetched again.

    digest: what the manifest's digest has to be; empty for any. Raises InputError when it is another one, or
    the dataset is not whole; Unavailable when the store does not answer.
    """
    store = open_store(uri)
    if isinstance(store, FolderStore):
        _demand(digest, load_manifest(store.root), uri)
        return store.root
    content = store.read(MANIFEST_NAME)
    if content is None:
        raise InputError(f"{uri}/{MANIFEST_NAME}: there is no such object; copy a built dataset there")
    manifest = _parsed(content, f"{uri}/{MANIFEST_NAME}")
    _demand(digest, manifest, uri)
    level, key = built_level(manifest, resolution, uri), phase_key(resolution)
    cached = FolderStore(_cache() / manifest.digest[:16])
    with cached.alone(key, f"is fetching {key} of {uri}"):
        cached.discard_unfinished(key)
        _fetch(store, level, cached.root, f"fetch {key}")
        cached.write(MANIFEST_NAME, content)
    return cached.root


def _fetch(store: "S3Store", level: Level, folder: Path, label: str) -> None:
    total, done = sum(shard.bytes for shard in level.shards), 0
    with show_progress(label, "bytes") as advance, ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        advance(done, total)
        for size in pool.map(partial(_fetch_shard, store, folder), level.shards):
            done += size
            advance(done, total)


def _fetch_shard(store: "S3Store", folder: Path, shard: Shard) -> int:
    """Bring a shard to `folder` unless it is there and right; its size."""
    path, source = folder / shard.file, f"{store.uri}/{shard.file}"
    if path.is_file() and sha256_file(path) == shard.sha256:
        return shard.bytes
    with atomic_file(path) as beside:
        with beside.open("wb") as file:
            found = store.download(shard.file, file)
        if not found:
            raise InputError(f"{source}: this shard is missing; copy the built dataset there again")
        if sha256_file(beside) != shard.sha256:
            raise InputError(
                f"{source}: not the shard that {MANIFEST_NAME} describes; copy the built dataset there again"
            )
    return shard.bytes


def _parsed(content: bytes, where: str) -> Manifest:
    try:
        return parse_manifest(json.loads(content), where)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); copy the built dataset there again") from None


def _demand(digest: str, manifest: Manifest, uri: str) -> None:
    if digest not in ("", manifest.digest):
        raise InputError(
            f"{uri}: holds the dataset {manifest.digest[:12]}, not {digest[:12]}; give that one's address"
        )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "progan" / "datasets"
