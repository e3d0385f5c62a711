"""What all commands share: help with an example, completion, JSON, errors of one line, colours."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from components.register.registration import Registration
from pipelines import cli
from progan import config, presets
from progan.dataset.build import build
from tests.evaluations import evaluation, verdict

PROGAN = Path(sys.executable).with_name("progan")
HEAVY = {  # not pydantic, which typer itself needs for the values of options
    "torch", "torchvision", "mlflow", "numpy", "yaml", "kfp", "kubernetes", "boto3", "dvc",
    "matplotlib", "pyarrow", "PIL", "jinja2", "safetensors",
}  # fmt: skip


def commands(group=None, path=()):
    """Every command with the words that call it."""
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())
GROUPS = {path[:-1] for path in ALL}


def progan(*arguments, where=None, **environment):
    return subprocess.run(
        [PROGAN, *arguments], cwd=where, env=os.environ | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_the_example_in_the_help_is_a_valid_command_line(path):
    command = ALL[path]
    example = re.search(r"Example: progan (.*?)(?: [>|] .*)?$", command.help, re.MULTILINE)
    assert example, command.help
    words = shlex.split(example[1])
    assert tuple(words[: len(path)]) == path
    with command.make_context("progan", words[len(path) :]):
        pass


def test_the_help_shows_flags_without_a_value_and_arguments_in_capitals():
    for path in [*ALL, *GROUPS]:
        shown = CliRunner().invoke(cli.app, [*path, "--help"], env={"COLUMNS": "80"}).stdout
        assert "--help" in shown
        assert "<bool>" not in shown
        assert max(map(len, shown.splitlines())) <= 80
        arguments = shown.partition("─ Arguments ─")[2].partition("╰")[0]
        names = re.findall(r"│ [* ] +(\S+) +<", arguments)
        assert names == [name.upper() for name in names]
        assert bool(names) == bool(arguments)


def test_no_help_imports_anything_heavy():
    code = f"""
import sys
from pipelines import cli
for path in {[*ALL, ()]}:
    try:
        cli.app([*path, "--help"])
    except SystemExit:
        pass
print(sorted({HEAVY} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.count("Usage:") == len(ALL) + 1
    assert done.stdout.splitlines()[-1] == "[]"


def completed(words, where):
    """The words that a shell offers for the last of `words`."""
    environment = {"_PROGAN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words)}
    done = progan(where=where, **environment, COMP_CWORD=str(len(words) - 1))
    return done.stdout.split()


def test_completion(new_project):
    project = new_project()
    assert completed(["progan", "tr"], project.root) == ["train"]
    assert completed(["progan", "evaluate", "r"], project.root) == ["r0004", "r0008"]
    (project.root / "other.yaml").write_text("phases: {r0064: {}}")
    other = ["progan", "evaluate", "--params", "other.yaml", "r"]
    assert completed(other, project.root) == ["r0064"]
    (project.root / "params.yaml").write_text("phases: [")
    assert completed(["progan", "train", "r"], project.root) == []
    assert "cifar10" in completed(["progan", "presets", "show", "cif"], project.root)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("trian", "No such command 'trian'. Did you mean 'train',"),
        ("gate --parms x", "No such option: --parms"),
        ("train", "Missing argument 'PHASE'; see progan train --help"),
        (
            "run --runner x",
            "Invalid value for '--runner': 'x' is not one of 'subprocess', 'docker'; see progan",
        ),
        ("compile --profile nowhere", "nowhere: no such file; give --profile"),
    ],
)
def test_an_error_is_one_line(new_project, words, line):
    project = new_project()
    done = project.run("progan", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    (error,) = done.stderr.splitlines()
    assert error.startswith(f"progan: {line}")


def test_help_without_arguments():
    for path in ((), ("presets",)):
        done = progan(*path)
        assert done.returncode == 2
        assert "Usage: progan" in done.stdout + done.stderr
        assert "progan: " not in done.stdout + done.stderr


@pytest.fixture
def finished(new_project, photographs, small_config):
    """A project with a dataset, an evaluation, a verdict and a registration."""
    project = new_project()
    source = {"source": "folder", "path": str(photographs), "label_attributes": [], "resolution": 8}
    project.change(dataset=source)
    build(config.load(project.root / "params.yaml").dataset, project.root / "data/multires", workers=1)
    evaluation("r0008").write(project.root / "evaluation/r0008.json")
    Registration("faces", "3", "abc").write(project.root / "registration.json")
    return project


def test_json(finished, monkeypatch):
    """Standard output is JSON alone, whatever else a command prints."""
    monkeypatch.chdir(finished.root)
    monkeypatch.setattr("components.gate.stage.find_champion", lambda model: None)

    def read(*words):
        return json.loads(CliRunner().invoke(cli.app, [*words, "--json"]).stdout)

    assert read("gate")["reasons"][0]["measure"] == "swd_average"
    summary = read("summary")
    assert (summary["phase"], summary["passed"], summary["version"]) == ("r0008", True, "3")
    assert read("presets", "list").keys() >= {"cifar10", "celebahq-1024"}
    verified = read("dataset", "verify")
    assert (verified["images"], verified["shards"]) == (40, 2)
    shown = read("dataset", "show")
    assert (shown["digest"], shown["images"]) == (verified["digest"], 40)


def test_presets_are_listed_by_group(monkeypatch):
    """The quickest for photographs of one's own first, and LSUN's thirty categories in one line."""
    monkeypatch.setenv("COLUMNS", "40")
    lines = CliRunner().invoke(cli.app, ["presets", "list"]).stdout.splitlines()
    names = [line.split()[0] for line in lines if line.startswith("  ")]
    assert names[:2] == ["photographs-quick-cpu", "photographs-quick-gpu"]
    assert re.search(r"; training: about [\d.]+ (min|h) here$", lines[1])
    (lsun,) = (line for line in lines if line.startswith("  lsun-"))
    assert lsun.startswith("  lsun-airplane … lsun-tvmonitor (30)  ")
    assert len(names) == len(presets.listed()) - 29
    assert [line for line in lines if not line.startswith("  ")] == list(presets.grouped())


def test_colours_are_for_terminals_alone(finished):
    """None in a pipe; some on a terminal, unless NO_COLOR is set."""
    verdict(evaluation("r0008"), text="ms_ssim is [0.5]").write(finished.root / "verdict.json")
    colour = re.compile(r"\x1b\[[\d;]*3\d")

    def on_terminal(environment):
        command = f"{PROGAN} summary"
        variables = finished.environment | {"TERM": "xterm-256color"} | environment
        script = ["script", "-qec", command, "/dev/null"]
        return subprocess.run(script, cwd=finished.root, env=variables, capture_output=True, text=True).stdout

    for words in (["summary"], ["--help"], ["nosuch"]):
        done = finished.run("progan", *words)
        assert "\x1b" not in done.stdout + done.stderr
    assert colour.search(on_terminal({}))
    plain = on_terminal({"NO_COLOR": "1"})
    assert "the gate passed" in re.sub(r"\x1b\[[\d;]*m", "", plain)
    assert "✓ ms_ssim is [0.5]" in plain
    assert not colour.search(plain)
