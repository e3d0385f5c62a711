"""infra/cluster.yaml: what is accepted, what an entry takes from the one before, and what retries get."""

from pathlib import Path

import pytest
import yaml

from pipelines.profile import Toleration, load_profile
from progan.errors import InputError
from tests.signers import person

TAINT = {"operator": "Exists", "value": None, "effect": "NoExecute"}
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
        (set_pod("r0256", gpuss=2), "pods.r0256.gpuss: unknown; did you mean gpus?"),
        (set_pod("r0256", gpus=16), "pods.r0256.gpus: must be from 0 to 8, as in one node, not 16"),
        (
            set_pod("r0256", shm_gib=500),
            "pods.r0256.shm_gib: is part of memory_gib and must be smaller",
        ),
        (set_pod("r0004", gpus=0), "pods.r0004.gpu_memory_gib: must be positive if there are gpus"),
        (set_pod("r0004", retries=-1), "pods.r0004.retries: must be from 0 to 20, not -1"),
        (set_pod("r0004", retries=10**9), "pods.r0004.retries: must be from 0 to 20, not 1000000000"),
        (set_pod("r0004", timeout_hours=1e308), "pods.r0004.timeout_hours: must be from 0.001 to 100000"),
        (set_pod("r0004", cpu=1e-6), "pods.r0004.cpu: must be from 0.001 to 100000, not 1e-06"),
        (set_pod("r0004", cpu="many"), "pods.r0004.cpu: must be a number, not 'many'"),
        (set_pod("r0300"), "pods.r0300: unknown entry; known here: stages, r0004, r0008"),
        (set_pod(256), "pods.256: as a key, it must be text, not 256"),
        (set_pod("r0064"), "pods: must begin with stages and r0004, then go up by resolution"),
        (
            set_pod("stages", tolerations=[{**TAINT, "ky": "x"}]),
            "pods.stages.tolerations.0.ky: unknown",
        ),
        (
            set_pod("r0004", tolerations=[{"key": "x", **TAINT, "operator": "Equal"}]),
            "pods.r0004.tolerations.0.value: Equal needs a value",
        ),
        (
            lambda values: values.update(namespace="my.team"),
            "namespace: must be a DNS label: a-z, 0-9 and -, at most 63",
        ),
        (
            lambda values: values.update(queue="My Team"),
            "queue: must be the name of a Kubernetes object, not 'My Team'",
        ),
        (
            lambda values: values.update(volumes={"my.data": "/d"}),
            "volumes.my.data: the key must be a DNS label",
        ),
        (
            lambda values: values.update(mlflow="mlflow:5000"),
            "mlflow: must be an http(s) URL, not 'mlflow:5000'",
        ),
        (lambda values: values.update(currency="US dollars"), "currency: must be one word, such as USD"),
        (
            lambda values: values.update(volumes={"data": "data"}),
            "volumes.data: must be an absolute path, not 'data'",
        ),
        (lambda values: values.pop("image"), "image: missing"),
        (lambda values: values.update(pods=None), "pods: must be a mapping of keys to values, not null"),
    ],
)
def test_one_fault_is_one_line(load, change, told):
    """An entry's fault is not told of those that inherit it again."""
    with pytest.raises(InputError) as caught:
        load(change)
    assert f"cluster.yaml: {told}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_is_to_sign_is_checked(load, tmp_path):
    def trust(**section):
        return lambda values: values.update(signatures={"keys": {}, "identities": [], **section})

    ann = person("ann", tmp_path)
    assert load().signatures is None
    assert load(trust(keys={"ann": ann.public})).signatures.keys == {"ann": ann.public}
    with pytest.raises(InputError, match=r"signatures.keys: must name at least one"):
        load(trust())
    with pytest.raises(InputError, match=r"signatures.keys.ann: must be a public key in PEM"):
        load(trust(keys={"ann": ann.key.read_text()}))


def test_all_faults_are_told_at_once(load):
    def change(values):
        values |= {"queue": "My Team", "volumes": {"my.data": "data"}}
        values["pods"] |= {"r0300": {}, "r0256": {"cpu": 0, "memory_gib": 4}}

    with pytest.raises(InputError) as caught:
        load(change)
    keys = [line.partition(": ")[0].strip() for line in str(caught.value).splitlines()[1:]]
    assert keys == [
        "pods.r0300",
        "pods.r0256.cpu",
        "pods.r0256.shm_gib",
        "queue",
        "volumes.my.data",
        "volumes.my.data",
    ]


def test_another_image_and_no_file(tmp_path):
    assert load_profile(OWN, "me/progan:1").image == "me/progan:1"
    with pytest.raises(InputError, match="nowhere.yaml: no such file; give --profile"):
        load_profile(tmp_path / "nowhere.yaml")
