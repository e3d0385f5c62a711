"""Built datasets in a store: read the manifest, upload, and fetch one resolution or all."""

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from pathlib import Path

import platformdirs
from rich.filesize import decimal

from components.object_store import open_store
from progan.dataset.build import refuse_foreign
from progan.dataset.manifest import CHECKS_NAME, MANIFEST_NAME, Manifest, Shard
from progan.dataset.reader import built_level, load_manifest, parse_manifest
from progan.errors import InputError
from progan.files import (
    alone,
    atomic_file,
    disk_errors,
    parse_json,
    replace_folder,
    sha256_file,
    write_json,
)
from progan.progress import show_progress
from progan.resolutions import phase_key
from progan.store import FolderStore, Store

SHARDS_AT_ONCE = 4  # each of which is transferred in several parts at a time


def find_manifest(uri: str) -> Manifest | None:
    """The manifest of the dataset at `uri`; None if there is no dataset or it is not complete yet."""
    content, where = open_store(uri).read(MANIFEST_NAME), f"{uri}/{MANIFEST_NAME}"
    if content is None:
        return None
    try:
        return parse_manifest(parse_json(content), where)
    except ValueError as error:
        raise InputError(f"{where}: not valid JSON ({error}); copy the built dataset there again") from None


def upload_dataset(folder: Path, uri: str) -> None:
    """Copy a built dataset to `uri`, its manifest last, so that an incomplete one is never used."""
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
    """A folder with the manifest of the dataset at `uri` and the verified shards of one `resolution`.

    A dataset in a folder is used in place. One at an s3:// address is fetched to the user's cache
    (XDG_CACHE_HOME); shards that an earlier call has fetched are not fetched again.

    digest: the expected digest of the manifest; empty for any. Raises InputError if it is another one or the
    dataset is incomplete; Unavailable if the store does not answer.
    """
    store = open_store(uri)
    if isinstance(store, FolderStore):
        _require_digest(digest, load_manifest(store.root), uri)
        return store.root
    manifest = expected_manifest(uri, digest)
    level, key = built_level(manifest, resolution, uri), phase_key(resolution)
    cached = FolderStore(cache() / manifest.digest[:16])
    with cached.alone(key, f"is fetching {key} of {uri}"):
        cached.discard_unfinished(key)
        _fetch(store, uri, level.shards, cached.root, f"fetch {key}")
        write_json(cached.root / MANIFEST_NAME, manifest.to_json())
    return cached.root


def fetch_dataset(uri: str, digest: str, out: Path) -> None:
    """Fetch and verify the whole dataset at `uri` to the folder `out`, which appears whole or not at all.

    Shards in `out`, or beside it from an interrupted call, are not fetched again.

    digest: the expected digest of the manifest. Raises InputError if it is another one, the dataset is
    incomplete, or the disk is too full; Unavailable if the store does not answer.
    """
    manifest, beside = expected_manifest(uri, digest), out.with_name(f".{out.name}.{digest[:16]}.partial")
    refuse_foreign(out)
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with alone(out.with_name(f".{out.name}.lock"), f"is fetching {uri}"):
            for other in set(out.parent.glob(f".{out.name}.*.partial")) - {beside}:
                shutil.rmtree(other)
            folder = out if find_manifest(str(out)) == manifest else beside
            _fetch_all(uri, manifest, folder)
            if folder == beside:
                replace_folder(beside, out)


def _fetch_all(uri: str, manifest: Manifest, folder: Path) -> None:
    store, target = open_store(uri), FolderStore(folder)
    for key in manifest.levels:
        target.discard_unfinished(key)
    shards = [shard for level in manifest.levels.values() for shard in level.shards]
    missing = sum(shard.bytes for shard in shards if not (folder / shard.file).exists())
    print(f"{uri}: {decimal(missing)} to fetch")
    if missing > (free := shutil.disk_usage(folder.parent).free):
        raise InputError(
            f"{folder.parent}: {decimal(free)} free, but {decimal(missing)} to fetch; make room and run again"
        )
    _fetch(store, uri, shards, folder, f"fetch {manifest.name}")
    if manifest.checks and not store.download(CHECKS_NAME, folder / CHECKS_NAME):
        raise InputError(f"{uri}/{CHECKS_NAME}: there is no such object; copy the built dataset there again")
    write_json(folder / MANIFEST_NAME, manifest.to_json())


def _fetch(store: Store, uri: str, shards: Sequence[Shard], folder: Path, label: str) -> None:
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        sizes = pool.map(partial(_fetch_shard, store, uri, folder), shards)
        _show(label, sizes, sum(shard.bytes for shard in shards))


def _show(label: str, sizes: Iterable[int], total: int) -> None:
    """Consume `sizes`, bytes transferred, and show the progress towards `total`."""
    with show_progress(label, "bytes") as advance:
        advance(0, total)
        for done in accumulate(sizes):
            advance(done, total)


def _fetch_shard(store: Store, uri: str, folder: Path, shard: Shard) -> int:
    """Fetch a shard to `folder` unless a valid one is there; return its size in bytes."""
    path, source = folder / shard.file, f"{uri}/{shard.file}"
    if path.is_file() and sha256_file(path) == shard.sha256:
        return shard.bytes
    with atomic_file(path) as download:
        if not store.download(shard.file, download):
            raise InputError(f"{source}: this shard is missing; copy the built dataset there again")
        if sha256_file(download) != shard.sha256:
            raise InputError(
                f"{source}: not the shard that {MANIFEST_NAME} describes; copy the built dataset there again"
            )
    return shard.bytes


def expected_manifest(uri: str, digest: str) -> Manifest:
    """The manifest of the dataset at `uri`; InputError if there is none or its digest is not `digest`."""
    manifest = find_manifest(uri)
    if manifest is None:
        raise InputError(f"{uri}/{MANIFEST_NAME}: there is no such object; copy a built dataset there")
    _require_digest(digest, manifest, uri)
    return manifest


def _require_digest(digest: str, manifest: Manifest, uri: str) -> None:
    if digest not in ("", manifest.digest):
        raise InputError(
            f"{uri}: holds the dataset {manifest.digest[:12]}, not {digest[:12]}; give that one's address"
        )


def cache() -> Path:
    """The user's cache of datasets from object stores."""
    return platformdirs.user_cache_path("progan") / "datasets"
