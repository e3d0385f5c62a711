"""Check that a built dataset matches its manifest, byte for byte."""

import csv
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from progan.dataset.manifest import CHECKS_NAME, MANIFEST_NAME, Level, Manifest, Shard
from progan.dataset.reader import load_manifest
from progan.errors import InputError
from progan.files import sha256_file

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def verify(root: Path, progress: Progress = lambda done, total: None) -> Manifest:
    """Read every shard in `root` and compare its digest; return the manifest if all match.

    Raises InputError naming the files that are missing, damaged or not part of the dataset.
    """
    manifest = load_manifest(root)
    shards = [shard for level in manifest.levels.values() for shard in level.shards]
    faults = _manifest_faults(root, manifest) + _unlisted_shards(root, shards)
    total, done = sum(shard.bytes for shard in shards), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(_shard_faults, root, shard): shard for shard in shards}
        for finished in as_completed(running):
            done += running[finished].bytes
            progress(done, total)
            faults += finished.result()
    if faults:
        listed = "; ".join(sorted(faults)[:5]) + ("; …" if len(faults) > 5 else "")
        raise InputError(f"{root}: {len(faults)} wrong: {listed}; run build-dataset again")
    return manifest


def _shard_faults(root: Path, shard: Shard) -> list[str]:
    path = root / shard.file
    if not path.is_file():
        return [f"{shard.file} is missing"]
    if path.stat().st_size != shard.bytes:
        return [f"{shard.file} has {path.stat().st_size:,} bytes, not {shard.bytes:,}"]
    return [] if sha256_file(path) == shard.sha256 else [f"{shard.file} has other content"]


def _manifest_faults(root: Path, manifest: Manifest) -> list[str]:
    """Faults of the manifest: a level's digest that differs from its shards', or other counts of checks."""
    faults = [
        f"{MANIFEST_NAME} has another digest for {key} than its shards give"
        for key, level in manifest.levels.items()
        if Level.of(level.shards).digest != level.digest
    ]
    if manifest.checks:
        path = root / CHECKS_NAME
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ()
        rows = csv.DictReader(lines)
        if Counter(row.get("result") for row in rows) != manifest.checks:
            faults.append(f"{CHECKS_NAME} is not the one that {MANIFEST_NAME} sums up")
    return faults


def _unlisted_shards(root: Path, shards: list[Shard]) -> list[str]:
    """Parquet files that are not in the manifest; a reader of *.parquet would take them for shards."""
    listed = {root / shard.file for shard in shards}
    return [
        f"{path.relative_to(root)} is not in the manifest"
        for path in root.rglob("*.parquet")
        if path not in listed
    ]
