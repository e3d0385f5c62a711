"""infra/cluster.yaml: what is accepted, what an entry takes from the one before, and what retries get."""

from pathlib import Path

import pytest
import yaml

from pipelines.profile import Toleration, load_profile
from progan.errors import InputError

OWN = Path(__file__).parents[2] / "infra/cluster.yaml"


@pytest.fixture
def load(tmp_path):
    """Returns a function that loads the project's own profile with changes made to it."""

    def load(change=lambda values: None):
        values = yaml.safe_load(OWN.read_text())
        change(values)
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_profile(file)

    return load


def test_an_entry_holds_from_its_resolution_on(load):
    def change(values):
        values["pods"] = {
            "stages": values["pods"]["stages"],
            "r0004": {**values["pods"]["r0004"], "gpus": 1, "cpu": 8},
            "r0064": {"gpus": 2},
            "r0256": {"cpu": 30},
        }

    profile = load(change)
    seen = {
        key: (profile.pod(key).gpus, profile.pod(key).cpu) for key in ("r0004", "r0032", "r0064", "r0128")
    }
    assert seen == {"r0004": (1, 8), "r0032": (1, 8), "r0064": (2, 8), "r0128": (2, 8)}
    assert (profile.pod("r1024").gpus, profile.pod("r1024").cpu) == (2, 30)
    assert profile.pod(None).gpus == 0


def test_spot_adds_what_marks_spot_nodes(load):
    profile = load()
    spot, other = profile.pod("r0004"), profile.pod("r1024")
    label = {"cloud.google.com/gke-spot": "true"}
    assert profile.node_labels(spot) == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB", **label}
    assert label.keys().isdisjoint(profile.node_labels(other))
    mark = Toleration("cloud.google.com/gke-spot", "Equal", "true", "NoSchedule")
    assert mark in profile.tolerations(spot)
    assert mark not in profile.tolerations(other)


def test_the_window_of_retries_holds_every_attempt_and_every_wait(load):
    pod = load().pod("r0256")
    assert (pod.timeout_hours, pod.retries) == (72, 5)
    assert pod.retry_window_seconds == 6 * (72 + 24) * 3600 + 60 + 120 + 240 + 480 + 960


def set_pod(key, **changes):
    return lambda values: values["pods"].setdefault(key, {}).update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_pod("r0256", gpuss=2), "pods.r0256.gpuss: unknown parameter; did you mean gpus?"),
        (set_pod("r0256", gpus=16), "pods.r0256: gpus: from 0 to 8, those of one node, not 16"),
        (set_pod("r0256", shm_gib=500), "pods.r0256: shm_gib is a part of memory_gib"),
        (set_pod("r0004", gpus=0), "pods.r0004: gpu_memory_gib must be positive where there are gpus"),
        (set_pod("r0004", retries=-1), "pods.r0004: retries must not be negative"),
        (set_pod("r0004", cpu="many"), "pods.r0004.cpu: input should be a valid number"),
        (set_pod("r0300"), "pods.r0300: unknown entry; known here: stages, r0004, r0008"),
        (set_pod(256), "pods.256: unknown entry"),
        (set_pod("r0064"), "pods: begins with stages and r0004, then goes up by resolution"),
        (set_pod("stages", tolerations=[{"ky": "x"}]), "pods.stages.tolerations.0.ky: unknown parameter"),
        (
            set_pod(
                "r0004", tolerations=[{"key": "x", "operator": "Equal", "value": None, "effect": "NoExecute"}]
            ),
            "pods.r0004.tolerations.0: x: Equal needs a value",
        ),
        (
            lambda values: values.update(namespace="my.team"),
            "'my.team' is no name of a namespace or a volume",
        ),
        (lambda values: values.update(queue="My Team"), "'My Team' is no name of a Kubernetes object"),
        (lambda values: values.update(volumes={"my.data": "/d"}), "'my.data' is no name of a namespace or a"),
        (lambda values: values.update(mlflow="mlflow:5000"), "mlflow: mlflow:5000 is no http(s) URL"),
        (lambda values: values.update(currency="US dollars"), "currency: one word is expected, such as USD"),
        (lambda values: values.update(volumes={"data": "data"}), "volumes: data: must be an absolute path"),
        (lambda values: values.pop("image"), "image: missing; add it"),
        (lambda values: values.update(pods=None), "pods: input should be a valid dictionary"),
    ],
)
def test_wrong_profiles(load, change, told):
    with pytest.raises(InputError) as caught:
        load(change)
    assert told in str(caught.value)
    assert "cluster.yaml: " in str(caught.value)


def test_another_image_and_no_file(tmp_path):
    assert load_profile(OWN, "me/progan:1").image == "me/progan:1"
    with pytest.raises(InputError, match="nowhere.yaml: no such file; give --profile"):
        load_profile(tmp_path / "nowhere.yaml")
