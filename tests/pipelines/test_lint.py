"""`progan lint`: a good pipeline passes, and each thing that fails on a cluster only is found when broken."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines import cli
from pipelines.compiling import compiled
from pipelines.lint import findings, refuse
from pipelines.profile import load_profile
from progan import config
from progan.errors import InputError
from tests.conftest import IMAGE, ROOT


@pytest.fixture
def profile():
    return load_profile(ROOT / "infra/cluster.yaml", IMAGE)


@pytest.fixture
def broken(small_config, profile):
    """Returns a function that compiles, lets a change break the two documents, and gives what is found."""
    text = whole(config.to_text(small_config))

    def broken(change):
        spec, platform = yaml.load_all(text, yaml.CSafeLoader)
        change(spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"])
        return list(findings(f"{json.dumps(spec)}\n---\n{json.dumps(platform)}", small_config, profile))

    return broken


@cache
def whole(params):
    """The pipeline as it is."""
    return compiled(config.from_text(params), load_profile(ROOT / "infra/cluster.yaml", IMAGE), "d" * 64)


def dag(spec, task):
    graphs = [spec["root"], *spec["components"].values()]
    return next(g["dag"]["tasks"][task] for g in graphs if task in g.get("dag", {}).get("tasks", {}))


def test_the_projects_own_pipeline(broken):
    assert broken(lambda spec, placed: None) == []


def test_a_window_shorter_than_all_attempts(broken):
    def change(spec, placed):
        dag(spec, "train-2")["retryPolicy"]["backoffMaxDuration"] = f"{6 * 24 * 3600 - 1}s"

    assert broken(change) == ["train r0008: retries for 518399 s, but 6 attempts take up to 518400 s"]


def test_the_window_that_kubeflow_gives_by_itself(broken):
    def change(spec, placed):
        dag(spec, "train-2")["retryPolicy"]["backoffMaxDuration"] = "3600s"

    assert broken(change) == ["train r0008: retries for 3600 s, but 6 attempts take up to 518400 s"]


def test_no_timeout(broken):
    def change(spec, placed):
        del placed["exec-evaluate"]["activeDeadlineSeconds"]

    assert broken(change) == ["evaluate r0004: has no timeout; set timeout_hours"]


@pytest.mark.parametrize("image", ["progan", "registry.example.org/progan:1.2", "progan@sha256:abc"])
def test_an_image_without_a_digest(broken, image):
    def change(spec, placed):
        spec["deploymentSpec"]["executors"]["exec-gate"]["container"]["image"] = image

    (line,) = broken(change)
    assert line.startswith(f"gate r0016: image {image} has no digest")


def test_the_examples_image(small_config):
    profile = load_profile(ROOT / "infra/cluster.yaml")
    (line,) = findings(compiled(small_config, profile, "d" * 64), small_config, profile)
    assert line.startswith("every task: image ")
    assert "is the example's; name the one you pushed" in line


def test_what_is_wrong_with_several_tasks_is_one_line(broken):
    def change(spec, placed):
        for number in ("", "-3"):
            placed[f"exec-train{number}"].pop("emptyDirMounts")

    (line,) = broken(change)
    assert line.startswith("train r0004, train r0016: has no /dev/shm in memory")


@pytest.mark.parametrize(
    "change",
    [
        lambda mounts: mounts.clear(),
        lambda mounts: mounts[0].update(mountPath="/dev/shm2"),
        lambda mounts: mounts[0].pop("medium"),
    ],
)
def test_no_shared_memory(broken, change):
    found = broken(lambda spec, placed: change(placed["exec-train-3"]["emptyDirMounts"]))
    assert found == ["train r0016: has no /dev/shm in memory: a container's own holds 64 MiB; set shm_gib"]


@pytest.mark.parametrize("digest", ["params_digest", "dataset_digest"])
@pytest.mark.parametrize(("task", "name"), [("train-2", "train r0008"), ("register", "register")])
@pytest.mark.parametrize("empty", [True, False])
def test_a_digest_missing_from_the_inputs(broken, digest, task, name, empty):
    def change(spec, placed):
        inputs = dag(spec, task)["inputs"]["parameters"]
        if empty:
            inputs[digest] = {"runtimeValue": {"constant": ""}}
        else:
            del inputs[digest]

    assert broken(change) == [f"{name}: takes no {digest}: the cache would give it another's result; pass it"]


@pytest.mark.parametrize(
    ("task", "name"), [("gate", "gate r0016"), ("register", "register"), ("build-dataset", "build dataset")]
)
def test_caching_of_what_must_be_done_every_time(broken, task, name):
    def change(spec, placed):
        dag(spec, task)["cachingOptions"] = {"enableCache": True}

    (line,) = broken(change)
    assert line.startswith(f"{name}: is cached")


def test_a_phase_that_no_card_holds(small_config, profile):
    network = replace(small_config.network, latent_size=512, fmap_base=8192, fmap_max=512)
    phases = small_config.phases | {"r0016": replace(small_config.phases["r0016"], minibatch=512)}
    large = replace(small_config, network=network, phases=phases)
    small_card = replace(profile.pod("r0004"), gpu_memory_gib=8)
    there = replace(profile, pods=profile.pods | {"r0004": small_card})
    (line,) = findings(compiled(large, there, "d" * 64), large, there)
    assert line.startswith("train r0016: takes about ")
    assert line.endswith("a card has 8; lower phases.r0016.minibatch, or give it more or larger GPUs")
    eight = replace(there, pods=profile.pods | {"r0004": replace(small_card, gpus=8)})
    assert list(findings(compiled(large, eight, "d" * 64), large, eight)) == []


def test_a_minibatch_that_the_gpus_cannot_share(small_config, profile):
    three = replace(profile, pods=profile.pods | {"r0016": replace(profile.pod("r0004"), gpus=3)})
    (line,) = findings(compiled(small_config, three, "d" * 64), small_config, three)
    assert line.startswith("train r0016: phases.r0016.minibatch: 8 images are not shared evenly by 3 ranks")


def test_refusing(small_config, profile, capsys):
    refuse(compiled(small_config, profile, "d" * 64), small_config, profile)
    bad = replace(profile, image="progan:latest")
    with pytest.raises(InputError, match="the pipeline would fail on a cluster: 1 found"):
        refuse(compiled(small_config, bad, "d" * 64), small_config, bad)
    assert capsys.readouterr().err.startswith("every task: image progan:latest has no digest")


def test_what_is_no_pipeline(small_config, profile):
    for text in ("", "a: 1", "{", "a: 1\n---\nb: 2"):
        with pytest.raises(InputError, match="no compiled pipeline of this project"):
            list(findings(text, small_config, profile))


def test_the_commands(new_project, monkeypatch, profile):
    """compile writes, the same in any process, what lint reads; whole numbers as keys get no further."""
    project = new_project()
    monkeypatch.chdir(project.root)
    profile_file = ("--profile", str(ROOT / "infra/cluster.yaml"))

    def lint(*options):
        return CliRunner().invoke(cli.app, ["lint", *profile_file, *options])

    refused = lint()
    assert isinstance(refused.exception, InputError)
    assert str(refused.exception) == "the pipeline would fail on a cluster: 1 found, see above"
    assert project.run("progan", "compile", *profile_file, "--image", IMAGE).returncode == 0
    assert Path("pipeline.yaml").read_text() == compiled(config.load(), profile, "")
    passed = lint("--pipeline", "pipeline.yaml")
    assert passed.exit_code == 0, passed.output
    assert passed.stdout == "pipeline.yaml: nothing found that would fail on a cluster\n"
    project.change(phases={8: {"resolution": 8}})
    numbers = lint()
    assert isinstance(numbers.exception, InputError)
    assert "phases.8: keys are strings here, such as r0004" in str(numbers.exception)
