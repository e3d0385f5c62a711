"""The Dockerfile, without building it; tests/pipelines/test_image.py builds."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_package_is_in_the_image():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = [name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    assert "progan" in packages
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    included = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert sorted(copied) == sorted(packages)
    assert set(packages) < included


def test_every_requirement_has_a_hash_and_none_is_for_development():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)
    names = {re.match(r"[\w.-]+", entry)[0] for entry in entries}
    assert {"torch", "mlflow", "kfp", "boto3", "psycopg"} <= names
    assert names.isdisjoint({"pytest", "mypy", "ruff"})
