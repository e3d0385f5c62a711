"""What `register` signs, and what is not promoted, fetched or started from without a signature."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.register.download import fetch_generator, fetch_phases
from components.register.promotion import promote
from components.tracking.client import client
from components.warm_start.stage import warm_start
from progan import config as params
from progan.checkpoints import NETWORKS, read_checkpoint
from progan.errors import InputError
from tests.components.register.finished_run import change_evaluation, failing, run_gate_and_register
from tests.conftest import shrunk_params
from tests.signers import person

LOAD = """
import json, mlflow, os, sys
mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
os.environ["PROGAN_TRUSTED_SIGNERS"] = sys.argv[2]
try:
    mlflow.pyfunc.load_model(sys.argv[1], suppress_warnings=True)
except Exception as error:
    print(error)
"""


@pytest.fixture
def ann(tmp_path):
    return person("ann", tmp_path)


@pytest.fixture
def bob(tmp_path):
    return person("bob", tmp_path)


@pytest.fixture
def registered(run, ann, monkeypatch, tmp_path):
    """The configuration of a run that Ann has signed; she is trusted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    ann.signs(monkeypatch)
    run_gate_and_register(run)
    ann.trusted(monkeypatch)
    return run


def version_folder(version="1"):
    """Where the registry has the generator of a version."""
    [networks] = Path("mlruns").rglob(f"{model_of(version)}/artifacts/artifacts/{NETWORKS}")
    return networks.parent


def model_of(version):
    [model] = client().search_registered_models()
    return client().get_model_version(model.name, version).source.removeprefix("models:/")


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_what_is_registered_is_signed_once(registered, bob, monkeypatch, capsys):
    model = registered.register.model
    promote(model, "1", "none", "")
    assert f"{model} version 1: signed by ann" in capsys.readouterr().err
    version = client().get_model_version(model, "1")
    assert version.tags["signed_by"].startswith("key ")
    assert f"Signed by `{version.tags['signed_by']}`." in version.description
    predicate = json.loads((version_folder() / "statement.json").read_text())["predicate"]
    verdict = json.loads(version.tags["verdict"])
    assert (predicate["model"], predicate["version"]) == (model, "1")
    for name, tag in {"identity": "identity", "dataset": "dataset", "commit": "git_commit"}.items():
        assert predicate[name] == version.tags[tag]
    assert (predicate["passed"], predicate["reasons"]) == (verdict["passed"], verdict["reasons"])
    signatures = [version_folder() / "model.sig", *Path("mlruns").rglob("checkpoint/model.sig")]
    before = [file.read_bytes() for file in signatures]
    assert len(before) == 2
    run_gate_and_register(registered)  # its verdict has the champion now
    changed = [file.read_bytes() for file in signatures]
    run_gate_and_register(registered)
    assert [file.read_bytes() for file in signatures] == changed
    assert not set(changed) & set(before)
    bob.signs(monkeypatch)
    run_gate_and_register(registered)
    bob.trusted(monkeypatch)
    fetch_generator(f"models:/{model}/1")
    assert "signed by bob" in capsys.readouterr().err


def test_what_starts_from_a_version_says_by_whom_it_is_signed(registered, bob, monkeypatch, capsys):
    model, ours = registered.register.model, read_checkpoint(Path("checkpoints/r0004"))
    uri = f"models:/{model}/1"
    assert read_checkpoint(fetch_generator(uri), [NETWORKS]).facts.identity == ours.facts.identity
    assert f"{uri}: signed by ann" in capsys.readouterr().err
    [phase] = fetch_phases(uri)
    assert read_checkpoint(phase).digest == ours.digest
    assert f"{uri}, r0004: signed by ann" in capsys.readouterr().err
    values = shrunk_params()
    del values["phases"]["r0004"]
    start = {"model": model, "version": "1", "checkpoint": ours.digest}
    config = params.parse(values | {"warm_start": {"r0004": start}}, "params.yaml")
    warm_start(config, "r0004", Path("warm"))
    assert f"{model} version 1: signed by ann" in capsys.readouterr().err
    before, after = ({file.name for file in Path(at).iterdir()} for at in ("checkpoints/r0004", "warm"))
    assert before == after
    bob.trusted(monkeypatch)
    with pytest.raises(InputError, match="who is not trusted; trusted: bob"):
        warm_start(config, "r0004", Path("other"))
    assert not Path("other").exists()


@pytest.mark.slow
def test_a_server_loads_what_those_whom_it_trusts_have_signed(registered, ann, bob):
    """With the copies of our modules that lie beside the generator, outside the project."""
    model = registered.register.model
    command = [sys.executable, "-c", LOAD, f"models:/{model}/1", bob.as_trusted()]
    loaded = subprocess.run(command, capture_output=True, text=True, cwd="cache")
    assert f"{model} version 1: signed by ann" in loaded.stderr
    assert "who is not trusted; trusted: bob" in loaded.stdout


def test_what_was_changed_is_neither_promoted_nor_fetched(registered):
    """A changed byte; and the files, the statement and the signature of another version."""
    model = registered.register.model
    change_evaluation(identity="ab" * 32)
    run_gate_and_register(registered)
    for file in version_folder("1").iterdir():
        shutil.copy(file, version_folder("2"))
    flip_a_byte(version_folder("1") / NETWORKS)
    with pytest.raises(InputError, match="ann signed it as another one: its version is 1, not 2"):
        promote(model, "2", "none", "")
    with pytest.raises(InputError, match=f"^{model} version 1: changed since key .* signed it: {NETWORKS}$"):
        promote(model, "1", "none", "")
    with pytest.raises(InputError, match=f"^models:/{model}/1: changed since key .* signed it: {NETWORKS}$"):
        fetch_generator(f"models:/{model}/1")
    assert "champion" not in client().get_registered_model(model).aliases


def test_unsigned_versions_and_unknown_keys_are_refused(run, ann, bob, monkeypatch):
    run_gate_and_register(run)
    model = run.register.model
    promote(model, "1", "none", "")  # nothing is required
    assert "signed_by" not in client().get_model_version(model, "1").tags
    ann.trusted(monkeypatch)
    with pytest.raises(InputError, match="version 1: is not signed, but must be, by ann"):
        promote(model, "1", "1", "")
    bob.signs(monkeypatch)
    run_gate_and_register(run)  # what is registered already is signed too
    with pytest.raises(InputError, match="who is not trusted; trusted: ann"):
        promote(model, "1", "1", "")
    bob.trusted(monkeypatch)
    run_gate_and_register(failing(run))
    client().set_model_version_tag(model, "1", "gate", "passed")
    with pytest.raises(InputError, match="signed as one that did not pass the gate"):
        promote(model, "1", "1", "")


def test_a_key_that_cannot_sign_stops_before_anything_is_logged(run, monkeypatch):
    monkeypatch.setenv("PROGAN_SIGNING_KEY", "missing.pem")
    with pytest.raises(InputError, match="missing.pem: no such file"):
        run_gate_and_register(run)
    assert client().search_registered_models() == []
