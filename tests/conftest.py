"""Small made-up things that many tests need."""

import copy
import functools
import gc
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from progan import config

pytest_plugins = ["tests.servers", "tests.browser"]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests run in several processes at once
# MLflow's telemetry changes the environment from a thread, and a copy of it made meanwhile fails.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
gc.set_threshold(10_000, 20, 20)  # the libraries' millions of objects make a collection slow

ROOT = Path(__file__).parents[1]
IMAGE = f"registry.example.org/progan@sha256:{'ab' * 32}"

PROJECT_FILES = (
    "dvc.yaml",
    ".dvc/config",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    "progan/__init__.py",
    "infra/cluster.yaml",
)

SMALL = {
    "paint": {"toy-celeba": {"images": 48, "seed": 1}},
    "dataset": {"resolution": 16, "max_skipped": 0.2},
    "network": {"latent_size": 8, "fmap_base": 64, "fmap_max": 8},
    "measures": {
        "swd_images": 16,
        "ms_ssim_pairs": 8,
        "nearest_images": 16,
        "score_images": 16,
        "score_splits": 2,
        "classifier_epochs": 1,
    },
    "gate": {"swd_max": 1e6, "ms_ssim_max": 1.0, "score_min": 1.0},
    "phases": {
        "r0004": {"stable_kimg": 0.08, "minibatch": 8},
        "r0008": {"fade_kimg": 0.08, "stable_kimg": 0.08, "minibatch": 8},
        "r0016": {"fade_kimg": 0.08, "stable_kimg": 0.08, "minibatch": 8},
    },
}


def merged(values, changes):
    """`values` with the nested `changes` made."""
    result = copy.deepcopy(values)
    for key, change in changes.items():
        result[key] = merged(result[key], change) if isinstance(change, dict) and key in result else change
    return result


@pytest.hookimpl(trylast=True)  # after the deselection of slow tests
def pytest_collection_modifyitems(items):
    import torch

    _share(items)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


def _share(items):
    """Sort the tests for two workers, of which each starts with a half and then takes over from the other.

    The first has the tests of `components`, MLflow's server and the server of forks, the second has DVC and
    Kubeflow; both have quick ones at the end, so that neither waits long for the other.
    """
    first, second, quick = [], [], []
    for item in items:
        folder, name = item.path.parent.relative_to(ROOT / "tests").parts[:1], item.path.name
        if "tracking" in item.fixturenames or folder == ("components",) or name == "test_recovery.py":
            first.append(item)
        elif folder == ("progan",) and name != "test_distributed.py":
            quick.append(item)
        else:
            second.append(item)
    first.sort(key=lambda item: "tracking" not in item.fixturenames)
    middle = max(0, len(items) // 2 - len(first))
    items[:] = first + quick[:middle] + second + quick[middle:]


def start_project(root, params):
    """Make `root` a checkout without a commit: the project's own files, and these parameters."""
    for name in PROJECT_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)


def shrunk_params():
    """The project's own params.yaml, shrunk to seconds of work: a plain dict to change at will."""
    values = merged(own_params(), SMALL)
    del values["phases"]["r0032"]
    return values


@functools.cache
def own_params():
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(scope="session", autouse=True)
def callers_without_source():
    """For an error that it may raise, kfp reads the code of all callers at each setting of a task."""
    with pytest.MonkeyPatch.context() as patch:
        caller = "", "", 0, "this setting"
        patch.setattr("kfp.dsl.pipeline_task.inspect", SimpleNamespace(stack=lambda: [caller] * 2))
        yield


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """An mlflow.db to copy: MLflow takes seconds to create its tables."""
    from components.tracking.client import client

    file = tmp_path_factory.mktemp("empty-registry") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
        client()
    return file


@pytest.fixture
def small_params():
    return shrunk_params()


@pytest.fixture
def small_config(small_params):
    return config.parse(small_params, "params.yaml")


def noise_images():
    """uint8 [64, 3, 8, 8] images that differ."""
    return np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), np.uint8)


@pytest.fixture
def noise():
    return noise_images()


@pytest.fixture
def photographs(tmp_path):
    """A folder of 40 smooth colourful 20×24 pictures, half of them in each of two class folders."""
    random = np.random.default_rng(0)
    folder = tmp_path / "photographs"
    for number in range(40):
        path = folder / ("cats" if number % 2 else "dogs") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rough = random.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(rough).resize((20, 24), Image.Resampling.BICUBIC).save(path)
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Returns a function that makes a folder with only so much space ("1m"), where the system lets us."""
    made = []

    def make(size):
        disk = tmp_path / f"disk-{len(made)}"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting a small disk needs root")
        made.append(disk)
        return disk

    yield make
    for disk in made:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """A file of random weights for the 2015 network, in the form torch-fidelity publishes."""
    import torch
    from torch_fidelity import feature_extractor_inceptionv3 as architecture

    class Skeleton(architecture.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            return None

    empty = tmp_path_factory.mktemp("weights") / "empty.pth"
    torch.save({}, empty)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Skeleton("random", ["2048"], feature_extractor_weights_path=empty)
    state = network.state_dict()
    for name, value in state.items():  # keep the signal alive through the depth, so that features differ
        if name.endswith("conv.weight"):
            torch.nn.init.kaiming_normal_(value, generator=torch.Generator().manual_seed(len(name)))
    state["fc.weight"] *= 30  # and the logits apart
    path = empty.with_name("random.pth")
    torch.save(state, path)
    return path
