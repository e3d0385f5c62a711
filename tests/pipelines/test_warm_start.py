"""A warm start from end to end: the champion of a real registry, new photographs, on a cluster and by DVC."""

import json
import shutil

import pytest

from components.tracking.client import client
from components.warm_start.registered import find_run
from progan.checkpoints import read_checkpoint
from progan.files import read_json
from tests.conftest import shrunk_params
from tests.pipelines.conftest import Project
from tests.pipelines.test_local_run import checkpoints, digests_of, run

pytestmark = pytest.mark.slow

MODEL = "warm-started"


def done(project, *command):
    finished = project.run(*command)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture
def laptop(new_project, tracking, monkeypatch):
    """A project whose phases r0004 and r0008 made the champion of MLflow's server."""
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    project = Project(new_project("laptop").root, registry=tracking.server.url)
    project.change(register={"model": MODEL})
    done(project, "dvc", "repro")
    done(project, "progan", "promote", "1", "--expect", "none")
    return project


def test_on_a_cluster_and_by_dvc(laptop, tmp_path):
    """A phase more than the champion has is trained on other faces, from the champion's first."""
    champion = read_checkpoint(shutil.copytree(laptop.root / "checkpoints/r0004", tmp_path / "champion"))
    last_picture = (laptop.root / "grids/r0004/00000.080.png").read_bytes()
    laptop.change(
        paint={"toy-celeba": {"images": 48, "seed": 2}},
        phases={"r0016": shrunk_params()["phases"]["r0016"]},
    )
    done(laptop, "progan", "start-from-champion", "r0004")

    cluster = Project(tmp_path / "cluster", laptop.registry)
    cluster.root.mkdir()
    shutil.copy(laptop.root / "params.yaml", cluster.root)
    done(cluster, "progan", "paint")
    code, ran, results, log = run(cluster)
    assert code == 0, log
    twice = ["train", "train-2", "evaluate", "evaluate-2"]
    once = ["build-dataset", "score-network", "warm-start", "gate", "register", "report"]
    assert sorted(ran) == sorted([*once, *twice])

    trained = checkpoints(cluster)
    first = read_json(trained["r0008"] / "checkpoint.json")
    assert trained.keys() == {"r0008", "r0016"}
    assert first["init"] == champion.digest
    assert first["images_shown"] == 80 + 160
    pictures = next((cluster.root / ".kfp/results/train").glob("r0008-*/grids/r0008"))
    assert min(pictures.iterdir()).read_bytes() == last_picture  # at alpha 0, by the champion's weights

    assert read_json(results / "registration.json")["version"] == "2"
    version = client().get_model_version(MODEL, "2")
    start = {"model": MODEL, "version": "1", "phase": "r0004", "checkpoint": champion.digest}
    assert json.loads(version.tags["warm_start"]) == start
    assert f"Warm start from the checkpoint of r0004 of {MODEL} version 1." in version.description
    assert find_run(MODEL, "2", "r0004") == find_run(MODEL, "1", "r0004")

    speeds = client().get_metric_history(version.run_id, "curves/images_per_second")
    shutil.rmtree(laptop.root / "checkpoints/r0004")
    done(laptop, "dvc", "repro")
    assert read_checkpoint(laptop.root / "checkpoints/r0004").facts == champion.facts
    for key, folder in trained.items():
        assert digests_of(laptop.root / "checkpoints" / key) == digests_of(folder)
    assert read_json(laptop.root / "registration.json") == read_json(results / "registration.json")
    assert client().get_metric_history(version.run_id, "curves/images_per_second") == speeds
