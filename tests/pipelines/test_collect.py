"""`progan collect` in a project whose dataset DVC knows, of runs that are made up to the last digest."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from components.build_dataset.stage import build_dataset
from components.results import Results, opened
from pipelines import cli
from pipelines.checkout import Checkout
from progan import config
from progan.dataset.reader import load_manifest
from progan.errors import InputError, Interrupted
from progan.files import read_json, write_json
from progan.snapshots import write_checkpoint
from progan.training import fingerprint
from tests.conftest import ROOT
from tests.pipelines.http_server import serving
from tests.pipelines.test_submit import API

REPORT = ("report.html", "training.csv", "swd.csv")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project of two phases whose dataset is built and in dvc.lock; to be copied."""
    ...
