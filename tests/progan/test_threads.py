"""How OpenMP's threads wait, as OpenMP reports it when torch loads it."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "loading", ["pipelines.cli, torch", pytest.param("benchmarks.train_step", marks=pytest.mark.slow)]
)
def test_threads_that_wait_leave_the_cores_to_others(loading):
    """In processes that import `progan` before torch, and in those that they start, such as ranks."""
    loaded = run_without_it(f"import {loading}", OMP_DISPLAY_ENV="true")
    assert re.findall("OMP_WAIT_POLICY ?= ?'(.*)'", loaded.stderr) == ["PASSIVE"]


def test_the_users_own_policy_is_kept():
    own = run_without_it("import progan, os; print(os.environ['OMP_WAIT_POLICY'])", OMP_WAIT_POLICY="ACTIVE")
    assert own.stdout.strip() == "ACTIVE"


def test_pods_have_the_policy_whatever_they_import_first():
    assert "ENV OMP_WAIT_POLICY=PASSIVE OPENBLAS_THREAD_TIMEOUT=4\n" in (ROOT / "Dockerfile").read_text()


def run_without_it(code, **environment):
    """`code` in a new process, which does not inherit the variable from this one."""
    ours = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = ours | {"PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
