"""How OpenMP's threads wait, as OpenMP itself says when torch loads it."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

WAYS = {
    "the command": "import pipelines.cli, torch",
    "the package": "import progan.training",
    "a benchmark": "import benchmarks.train_step",
    "a rank, which inherits it": (
        "import components.train.launch, subprocess, sys;"
        "subprocess.run([sys.executable, '-c', 'import torch'], check=True)"
    ),
}


def wait_policies(code, **environment):
    """What each process that `code` starts says of its threads, this one's first."""
    ours = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = ours | {"OMP_DISPLAY_ENV": "true", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return re.findall("OMP_WAIT_POLICY ?= ?'(.*)'", done.stderr)


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_wait_leave_the_cores_to_others(way):
    assert wait_policies(WAYS[way])[-1] == "PASSIVE"


def test_the_users_own_policy_is_kept():
    assert wait_policies("import progan.training", OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE"]


def test_pods_have_it_whatever_they_import_first():
    assert "ENV OMP_WAIT_POLICY=PASSIVE\n" in (ROOT / "Dockerfile").read_text()
