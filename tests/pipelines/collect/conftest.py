"""A checkout whose dataset DVC knows, before and after training."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.build_dataset.stage import build_dataset
from pipelines.dvc import Checkout
from progan import config
from tests.conftest import shrunk_params, start_project
from tests.pipelines.collect.made_up_run import Run, collected


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Two phases; the dataset is built and dvc.lock says so. To be copied."""
    root = tmp_path_factory.mktemp("built") / "project"
    params = shrunk_params()
    del params["phases"]["r0016"]
    params |= {"paint": {}}
    params["dataset"] |= {"source": "folder", "path": "data/raw/faces", "label_attributes": []}
    start_project(root, params)
    (root / "data/raw/faces").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"data/raw/faces/{number}.png")
    with contextlib.chdir(root):
        (root / ".dvc/config").write_text("[core]\n  no_scm = true\n  analytics = false\n")
        build_dataset(config.load(), Path("data/multires"))
        Checkout().record(["build-dataset"])
    return root


@pytest.fixture
def project(built, in_a_copy):
    """The current folder: a checkout where nothing is trained."""
    in_a_copy(built)


@pytest.fixture
def run(project, tmp_path):
    return Run(tmp_path / "made")


@pytest.fixture(scope="session")
def done(built, tmp_path_factory):
    """The same with everything done. To be copied."""
    root = tmp_path_factory.mktemp("done") / "project"
    shutil.copytree(built, root)
    with contextlib.chdir(root):
        Run(root.parent / "made").finish()
        collected()
        shutil.rmtree("results")
    return root
