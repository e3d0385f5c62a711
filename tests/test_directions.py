"""Imports run downwards only, and the science runs where nothing of the pipeline is installed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from components import stages
from progan import config

ROOT = Path(__file__).parents[1]
ABOVE = {
    "progan": {"components", "pipelines", "ci", "kfp", "mlflow", "dvc", "kubernetes", "boto3"},
    "components": {"pipelines", "ci", "kfp", "dvc", "kubernetes"},
    "pipelines": {"ci"},
}
NOT_ON_A_BARE_GPU_MACHINE = [
    "pydantic",
    "torch_fidelity",
    "mlflow",
    "dvc",
    "kfp",
    "boto3",
    "jinja2",
    "scipy",
    "lmdb",
    "google_crc32c",
]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def assert_importable(modules, without):
    code = f"""
import importlib, sys
for name in {without}:
    sys.modules[name] = None
for name in {modules}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("room", ABOVE)
def test_imports_run_downwards(room):
    files = list((ROOT / room).rglob("*.py"))
    assert len(files) > 5
    wrong = {path.relative_to(ROOT): set(imported(path)) & ABOVE[room] for path in files}
    for path, names in wrong.items():
        assert names <= ({"kfp"} if path.name == "component.py" else set()), path


def test_components_are_known_to_kubeflow_by_their_own_file():
    """kfp is imported by the runner of the pipeline, never by a stage that a plain process calls."""
    folders = {path.parent.name for path in (ROOT / "components").glob("*/component.py")}
    tasks = stages.tasks(config.load(ROOT / "params.yaml"))
    on_a_cluster = {task.stage.replace("-", "_") for task in tasks if task.run != "here"}
    assert folders == on_a_cluster | {"warm_start"}, "params.yaml names no warm start"


def test_the_science_needs_nothing_of_the_pipeline():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "progan").rglob("*.py")
        if path.name != "__init__.py"
    ]
    assert_importable(modules, without=NOT_ON_A_BARE_GPU_MACHINE)


def test_stages_that_compute_nothing_start_without_pytorch():
    """PyTorch takes seconds to import, in each process of a run."""
    modules = [
        f"components.{name}.stage" for name in ("paint", "build_dataset", "gate", "register", "report")
    ]
    assert_importable([*modules, "components.report.summary", "pipelines.collecting"], without=["torch"])


@pytest.mark.parametrize(
    ("library", "importers"),
    [
        ("dvc", {"pipelines/dvc.py"}),
        ("dvc_data", {"pipelines/dvc.py"}),
        ("typer", {"pipelines/cli.py", "pipelines/commands"}),
    ],
)
def test_a_library_that_must_be_able_to_go_is_imported_in_one_place(library, importers):
    files = [path for room in (*ABOVE, "ci") for path in (ROOT / room).rglob("*.py")]
    found = {path.relative_to(ROOT) for path in files if library in imported(path)}
    assert {str(path if str(path) in importers else path.parent) for path in found} == importers
