import json

import pytest

from progan.dataset.build import build
from progan.dataset.reader import load_manifest
from progan.dataset.verify import verify
from progan.errors import InputError


@pytest.fixture
def built(tmp_path, config, photos, monkeypatch):
    monkeypatch.setattr("progan.dataset.build.images_per_shard", lambda resolution: 2)
    build(config(photos(tmp_path / "p", ["a/1", "a/2", "b/3"])), tmp_path / "out", workers=1)
    return tmp_path / "out"


def test_an_undamaged_dataset(built):
    steps = []
    manifest = verify(built, lambda *step: steps.append(step))
    assert manifest == load_manifest(built)
    total = sum(file.stat().st_size for file in built.rglob("*.parquet"))
    assert steps[-1] == (total, total)
    assert len(steps) == 4


def shard(built, number=0):
    return sorted((built / "r0008").glob("*.parquet"))[number]


def flip(built):
    data = bytearray(shard(built).read_bytes())
    data[-40] ^= 1
    shard(built).write_bytes(data)


def edit_manifest(built, change):
    values = json.loads((built / "dataset.json").read_text())
    change(values)
    (built / "dataset.json").write_text(json.dumps(values))


def claim_checks(values):
    values["checks"] = {"exact": 3}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            flip,
            r"out: 1 wrong: r0008/train-00000-of-00002.parquet has other content; run build-dataset again",
        ),
        (lambda built: shard(built, 1).unlink(), "1 wrong: r0008/train-00001-of-00002.parquet is missing"),
        (lambda built: shard(built).write_bytes(b"PAR1"), r"00000-of-00002.parquet has 4 bytes, not [\d,]+;"),
        (
            lambda built: (built / "r0004" / "train-00002-of-00003.parquet").write_bytes(b""),
            "r0004/train-00002-of-00003.parquet is not in the manifest",
        ),
        (
            lambda built: edit_manifest(built, lambda m: m["levels"]["r0004"].update(digest="0" * 64)),
            "dataset.json has another digest for r0004 than its shards give",
        ),
        (
            lambda built: edit_manifest(built, claim_checks),
            "checks.csv is not the one that dataset.json sums up",
        ),
    ],
)
def test_every_kind_of_damage_is_named(built, spoil, message):
    spoil(built)
    with pytest.raises(InputError, match=message):
        verify(built)


def test_all_faults_are_counted(built):
    for file in built.rglob("*.parquet"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"out: 4 wrong: r0004/train-00000.*; r0008/train-00001[^;]*; run"):
        verify(built)
