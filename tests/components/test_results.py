"""Small results: found by what decides them, never another's; and where containers read and write."""

from dataclasses import replace

import pytest

from components import storage
from components.build_dataset.stage import find_or_build
from components.object_store.dataset import fetch_level
from components.results import Results
from progan.errors import InputError


@pytest.fixture
def files(tmp_path):
    """Returns a function that makes a file with a text."""

    def make(text):
        path = tmp_path / "made" / text
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return make


def gathered(results, folder):
    results.gather(folder)
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_was_kept_is_laid_out_as_dvc_does(tmp_path, small_config, files):
    results = Results(str(tmp_path / "results"), small_config, "data", "run-1")
    assert gathered(results, tmp_path / "nothing") == {}
    results.keep_history("r0004", files("history"))
    results.keep_evaluation("r0004", files("evaluation"), files("samples"), files("nearest"))
    results.keep_for_run(files("verdict.json"))
    assert gathered(results, tmp_path / "project") == {
        "history/r0004.csv": "history",
        "evaluation/r0004.json": "evaluation",
        "samples/r0004.png": "samples",
        "samples/r0004-nearest.png": "nearest",
        "verdict.json": "verdict.json",
    }


def test_nothing_of_other_parameters_data_or_runs_is_found(tmp_path, small_config, files):
    results = Results(str(tmp_path / "results"), small_config, "data", "run-1")
    for key in small_config.phases:
        results.keep_history(key, files(key))
        results.keep_evaluation(key, files(key), files(key), files(key))
    results.keep_for_run(files("verdict.json"))
    assert set(gathered(replace(results, dataset_digest="other"), tmp_path / "a")) == {"verdict.json"}
    assert "verdict.json" not in gathered(replace(results, run="run-2"), tmp_path / "b")
    measures = replace(small_config, measures=replace(small_config.measures, seed=9))
    found = gathered(replace(results, config=measures), tmp_path / "c")
    assert {name.split("/")[0] for name in found} == {"history", "verdict.json"}
    later = replace(small_config.phases["r0016"], stable_kimg=9.0)
    phases = replace(small_config, phases=small_config.phases | {"r0016": later})
    found = gathered(replace(results, config=phases), tmp_path / "d")
    assert "history/r0008.csv" in found
    assert "history/r0016.csv" not in found


def test_folders_only(tmp_path):
    with pytest.raises(InputError, match="s3://faces/x: only folders can be read and written here"):
        storage.folder_of("s3://faces/x")
    assert storage.found_digest(str(tmp_path)) == ""


def test_a_dataset_is_built_once_and_known_by_its_digest(tmp_path, small_config, photographs):
    dataset = replace(small_config.dataset, source="folder", path=str(photographs), label_attributes=())
    config = replace(small_config, dataset=dataset)
    folder = tmp_path / "multires"
    digest = find_or_build(config, folder, "")
    built = (folder / "dataset.json").stat().st_mtime_ns
    assert find_or_build(config, folder, digest) == digest
    assert (folder / "dataset.json").stat().st_mtime_ns == built
    assert fetch_level(str(folder), digest, 4) == folder
    assert storage.found_digest(str(folder)) == digest
    other = "0" * 64
    with pytest.raises(InputError, match=f"holds the dataset {digest[:12]}, not 000000000000"):
        fetch_level(str(folder), other, 4)
    with pytest.raises(InputError, match=f"holds the dataset {digest[:12]}, not 000000000000 as planned"):
        find_or_build(config, folder, other)
    with pytest.raises(InputError, match="built with other parameters than params.yaml's"):
        find_or_build(replace(config, dataset=replace(dataset, seed=9)), folder, "")
