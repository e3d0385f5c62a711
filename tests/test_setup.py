"""`make setup`: what it installs, by a Python that only records what it is asked for."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT

RECORDER = """#!/bin/sh
echo "$*" >> commands
case "$*" in "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python;; esac
"""


@pytest.fixture
def installed(tmp_path):
    """Returns a function that calls `make setup` with options; its output and the commands of its Python."""
    for name in ("Makefile", "pyproject.toml", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(RECORDER)
    (tmp_path / "python").chmod(0o755)

    def setup(*options):
        command = ["make", "setup", "PYTHON=./python", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout, (tmp_path / "commands").read_text().splitlines()

    return setup


def packages(lock):
    return {line.split("==")[0] for line in lock.read_text().splitlines() if line[:1].isalpha()}


def test_the_locked_packages(installed):
    output, (*_, locked, editable) = installed()
    assert "7 GB on disk" in output
    assert locked.endswith("install --no-deps --require-hashes --requirement requirements-dev.lock")
    assert editable.endswith("--editable .")


def test_torch_from_another_index(installed, tmp_path):
    output, (*_, locked, torch, editable) = installed("TORCH_INDEX=https://example.org/cpu")
    assert "3 GB on disk" in output
    assert locked.endswith("install --no-deps --require-hashes --requirement .venv/requirements.lock")
    assert "--no-deps --index-url https://example.org/cpu torch==2" in torch
    assert editable.endswith("--editable .")
    left_out = packages(ROOT / "requirements-dev.lock") - packages(tmp_path / ".venv/requirements.lock")
    assert left_out >= {"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"}
    assert not {name for name in left_out if not name.startswith(("torch", "triton", "nvidia", "cuda"))}
    assert not left_out & {"torch-fidelity", "nvidia-ml-py"}
