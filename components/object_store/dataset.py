"""A built dataset at its address: what it holds, one resolution of it brought here, all of it sent there."""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from components.object_store import open_store
from progan.dataset.manifest import MANIFEST_NAME, Level, Manifest, Shard
from progan.dataset.reader import built_level, load_manifest, parse_manifest
from progan.errors import InputError
from progan.files import atomic_file, sha256_file, write_json
from progan.progress import show_progress
from progan.resolutions import phase_key
from progan.store import FolderStore

if TYPE_CHECKING:
    from components.object_store.s3 import S3Store

SHARDS_AT_ONCE = 4  # each in parts, several of them at a time too


def find_manifest(uri: str) -> Manifest | None:
    """What the dataset at `uri` holds; None when there is no dataset, or not all of it yet."""
    content, where = open_store(uri).read(MANIFEST_NAME), f"{uri}/{MANIFEST_NAME}"
    if content is None:
        return None
    try:
        return parse_manifest(json.loads(content), where)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); copy the built dataset there again") from None


def fetch_manifest(uri: str, folder: Path) -> str:
    """Bring the manifest of the dataset at `uri` to `folder`; its digest, empty when there is none."""
    manifest = find_manifest(uri)
    if manifest is None:
        return ""
    write_json(folder / MANIFEST_NAME, manifest.to_json())
    return manifest.digest


def upload_dataset(folder: Path, uri: str) -> None:
    """Copy a built dataset to `uri`: its manifest last, so that half of one is never taken for it."""
    store, manifest = open_store(uri), load_manifest(folder)
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_NAME]
    sizes = {path: path.stat().st_size for path in files}

    def send(path: Path) -> int:
        store.upload(str(path.relative_to(folder)), path)
        return sizes[path]

    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        _show(f"upload {manifest.name}", pool.map(send, files), sum(sizes.values()))
    store.upload(MANIFEST_NAME, folder / MANIFEST_NAME)


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
    manifest = find_manifest(uri)
    if manifest is None:
        raise InputError(f"{uri}/{MANIFEST_NAME}: there is no such object; copy a built dataset there")
    _demand(digest, manifest, uri)
    level, key = built_level(manifest, resolution, uri), phase_key(resolution)
    cached = FolderStore(cache() / manifest.digest[:16])
    with cached.alone(key, f"is fetching {key} of {uri}"):
        cached.discard_unfinished(key)
        _fetch(store, level, cached.root, f"fetch {key}")
        write_json(cached.root / MANIFEST_NAME, manifest.to_json())
    return cached.root


def _fetch(store: "S3Store", level: Level, folder: Path, label: str) -> None:
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        sizes = pool.map(partial(_fetch_shard, store, folder), level.shards)
        _show(label, sizes, sum(shard.bytes for shard in level.shards))


def _show(label: str, sizes: Iterable[int], total: int) -> None:
    """Show how much of `total` bytes is done as `sizes` come in."""
    with show_progress(label, "bytes") as advance:
        advance(0, total)
        for done in accumulate(sizes):
            advance(done, total)


def _fetch_shard(store: "S3Store", folder: Path, shard: Shard) -> int:
    """Bring a shard to `folder` unless it is there and right; its size."""
    path, source = folder / shard.file, f"{store.uri}/{shard.file}"
    if path.is_file() and sha256_file(path) == shard.sha256:
        return shard.bytes
    with atomic_file(path) as beside:
        if not store.download(shard.file, beside):
            raise InputError(f"{source}: this shard is missing; copy the built dataset there again")
        if sha256_file(beside) != shard.sha256:
            raise InputError(
                f"{source}: not the shard that {MANIFEST_NAME} describes; copy the built dataset there again"
            )
    return shard.bytes


def _demand(digest: str, manifest: Manifest, uri: str) -> None:
    if digest not in ("", manifest.digest):
        raise InputError(
            f"{uri}: holds the dataset {manifest.digest[:12]}, not {digest[:12]}; give that one's address"
        )


def cache() -> Path:
    """The user's folder of datasets that lie elsewhere."""
    return platformdirs.user_cache_path("progan") / "datasets"
