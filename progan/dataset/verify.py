"""Whether a built dataset still is what its manifest says, byte for byte."""

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
    """Read every shard again and compare digests; return the manifest when all are right.

    Raises InputError that names what is missing, damaged or does not belong to the dataset in `root`.
    """
    manifest = load_manifest(root)
    shards = [shard for level in manifest.levels.values() for shard in level.shards]
    wrong = _wrong_manifest(root, manifest) + _strangers(root, shards)
    total, done = sum(shard.bytes for shard in shards), 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(_wrong_shard, root, shard): shard for shard in shards}
        for finished in as_completed(running):
            done += running[finished].bytes
            progress(done, total)
            wrong += finished.result()
    if wrong:
        listed = "; ".join(sorted(wrong)[:5]) + ("; …" if len(wrong) > 5 else "")
        raise InputError(f"{root}: {len(wrong)} wrong: {listed}; run build-dataset again")
    return manifest


def _wrong_shard(root: Path, shard: Shard) -> list[str]:
    path = root / shard.file
    if not path.is_file():
        return [f"{shard.file} is missing"]
    if path.stat().st_size != shard.bytes:
        return [f"{shard.file} has {path.stat().st_size:,} bytes, not {shard.bytes:,}"]
    return [] if sha256_file(path) == shard.sha256 else [f"{shard.file} has other content"]


def _wrong_manifest(root: Path, manifest: Manifest) -> list[str]:
    """What in the manifest contradicts itself or the list of checks."""
    wrong = [
        f"{MANIFEST_NAME} has another digest for {key} than its shards give"
        for key, level in manifest.levels.items()
        if Level.of(level.shards).digest != level.digest
    ]
    if manifest.checks:
        path = root / CHECKS_NAME
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
        if Counter(row.get("result") for row in rows) != manifest.checks:
            wrong.append(f"{CHECKS_NAME} is not the one that {MANIFEST_NAME} sums up")
    return wrong


def _strangers(root: Path, shards: list[Shard]) -> list[str]:
    """Files that a reader of *.parquet would take for part of the dataset."""
    known = {root / shard.file for shard in shards}
    return [
        f"{path.relative_to(root)} does not belong to it"
        for path in root.rglob("*.parquet")
        if path not in known
    ]
