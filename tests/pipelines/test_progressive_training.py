"""The compiled pipeline: its chain, its cache keys, and that nothing of the cluster decides a result."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from components import stages
from components.signatures.trust import TrustedSigners
from pipelines.profile import load_profile
from progan import config
from progan.validation import validated
from tests.conftest import IMAGE, ROOT
from tests.pipelines.compiled_once import compiled_once
from tests.signers import person

DATASET = "d" * 64
PROFILE = ROOT / "infra/cluster.yaml"


@pytest.fixture
def profile():
    return load_profile(PROFILE, IMAGE)


def tasks_of(text):
    """Every task of a compiled pipeline by its name, with its executor and what Kubernetes gets to know."""
    spec, platform = yaml.load_all(text, yaml.CSafeLoader)
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    found = {}
    for graph in (spec["root"], *spec["components"].values()):
        for task in graph.get("dag", {}).get("tasks", {}).values():
            label = spec["components"][task["componentRef"]["name"]].get("executorLabel")
            if label:
                container = spec["deploymentSpec"]["executors"][label]["container"]
                found[task["taskInfo"]["name"]] = (task, container, placed[label])
    return found


def cache_keys(text):
    return {name: task["cachingOptions"].get("cacheKey") for name, (task, _, _) in tasks_of(text).items()}


def constants(text):
    """What tasks are given that is fixed when the pipeline is compiled."""
    return {
        name: {
            key: value["runtimeValue"]["constant"]
            for key, value in task["inputs"]["parameters"].items()
            if "runtimeValue" in value
        }
        for name, (task, _, _) in tasks_of(text).items()
    }


def test_a_chain_of_phases_each_evaluated_beside_the_next(small_config, profile):
    tasks = tasks_of(compiled_once(small_config, profile, DATASET))
    assert sorted(tasks) == sorted(
        ["build-dataset", "score-network", "gate", "register", "report"]
        + [f"{what} {key}" for what in ("train", "evaluate") for key in ("r0004", "r0008", "r0016")]
    )

    def after(name):
        return sorted(tasks[name][0]["dependentTasks"])

    assert after("train r0004") == ["build-dataset"]
    assert after("train r0008") == ["build-dataset", "train"]
    assert after("train r0016") == ["build-dataset", "train-2"]
    assert after("evaluate r0008") == ["build-dataset", "score-network", "train-2"]
    evaluated = ["evaluate", "evaluate-2", "evaluate-3"]
    assert after("gate") == evaluated
    assert after("register") == ["build-dataset", *evaluated, "gate", "train", "train-2", "train-3"]
    assert tasks["gate"][0]["inputs"]["artifacts"]["evaluation"]["taskOutputArtifact"]["producerTask"] == (
        "evaluate-3"
    )
    assert "triggerPolicy" not in tasks["register"][0], "what fails its gate is logged too"
    assert tasks["report"][0]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_a_warm_start_begins_the_chain(small_params, profile):
    del small_params["phases"]["r0004"]
    start = {"model": "faces", "version": "1", "checkpoint": "ab" * 32}
    warm = config.parse(small_params | {"warm_start": {"r0004": start}}, "")
    text = compiled_once(warm, profile, DATASET)
    task = tasks_of(text)["train r0008"][0]
    init = task["inputs"]["artifacts"]["init"]["taskOutputArtifact"]
    assert init == {"outputArtifactKey": "checkpoint", "producerTask": "warm-start"}


def test_compiling_again_gives_the_same_bytes(small_config, profile):
    """In another process, whose sets are ordered otherwise."""
    code = (
        "import sys; from pathlib import Path; from pipelines import refusals\n"
        "from pipelines.compiling import compiled\n"
        "from pipelines.profile import load_profile\n"
        "from progan.config import from_text\n"
        "refusals.training_bytes = lambda *_: 0\n"  # which takes seconds
        f"profile = load_profile(Path({str(PROFILE)!r}), {IMAGE!r})\n"
        f"sys.stdout.write(compiled(from_text(sys.argv[1]), profile, {DATASET!r}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, config.to_text(small_config)],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert other.stdout == compiled_once(small_config, profile, DATASET)


def test_whole_numbers_stay_whole(small_config, profile):
    """Kubeflow turns numbers inside mappings into doubles, so that parameters travel as text."""
    given = json.loads(constants(compiled_once(small_config, profile, DATASET))["train r0008"]["params"])
    assert isinstance(given["phases"]["r0008"]["resolution"], int)
    assert given["phases"]["r0008"]["fade_kimg"] == 0.08


def elsewhere(profile):
    """A profile in which everything differs."""
    pod = replace(
        profile.pod("r0004"), gpu="H200", gpus=4, gpu_memory_gib=141, gpu_hour_price=9.0, cpu=3,
        memory_gib=99, shm_gib=9, ephemeral_gib=9, node_selectors={"a": "b"}, tolerations=(),
        timeout_hours=1.0, retries=1, spot=False,
    )  # fmt: skip
    return replace(
        profile,
        image=f"other/progan@sha256:{'1' * 64}",
        namespace="other",
        service_account="other",
        queue="other",
        mlflow="https://mlflow.other",
        currency="EUR",
        volumes={"other": "/other"},
        secrets={"other": {"KEY": "key"}},
        storage=replace(profile.storage, datasets="/d", snapshots="/s"),
        pods=dict.fromkeys(profile.pods, pod),
    )


def test_nothing_of_the_cluster_enters_a_cache_key_or_an_input(small_config, profile):
    """But for the places of the data, which are no other result."""
    here, there = (compiled_once(small_config, where, DATASET) for where in (profile, elsewhere(profile)))
    assert cache_keys(here) == cache_keys(there)
    for task, before in constants(here).items():
        after = constants(there)[task]
        assert {key for key in before if before[key] != after[key]} <= {"dataset_uri", "snapshots"}


def test_another_place_of_results_gets_them_from_the_tasks_not_from_the_cache(small_config, profile):
    """What comes from the cache keeps nothing anew: verdict and registration would find nothing there."""
    moved = replace(profile, storage=replace(profile.storage, results="/r"))
    here, there = (cache_keys(compiled_once(small_config, where, DATASET)) for where in (profile, moved))
    assert [name for name, key in here.items() if key and key == there[name]] == []


def test_a_dataset_that_is_not_built_yet_is_never_mistaken_for_another(small_config, profile):
    """Its digest is an input that build-dataset gives; no key is made up without it."""
    unknown, known = (compiled_once(small_config, profile, digest) for digest in ("", DATASET))
    assert set(cache_keys(unknown).values()) == {None}
    task = tasks_of(unknown)["train r0004"][0]
    source = task["inputs"]["parameters"]["dataset_digest"]["taskOutputParameter"]
    assert source["producerTask"] == "build-dataset"
    cached = {name for name, key in cache_keys(known).items() if key}
    assert cached == {"score-network"} | {
        f"{what} {key}" for what in ("train", "evaluate") for key in small_config.phases
    }
    others = cache_keys(compiled_once(small_config, profile, "e" * 64))
    assert all(others[name] != cache_keys(known)[name] for name in cached)


def test_stopping_after_a_phase(small_config, profile):
    gate = replace(small_config.gate, stop_after="r0008")
    text = compiled_once(replace(small_config, gate=gate), profile, DATASET)
    spec = next(yaml.load_all(text, yaml.CSafeLoader))
    condition = next(
        component["dag"]["tasks"]
        for name, component in spec["components"].items()
        if name.startswith("comp-condition") and "train-3" in component.get("dag", {}).get("tasks", {})
    )
    names = {task["taskInfo"]["name"] for task in condition.values()}
    assert names == {"train r0016", "evaluate r0016", "gate", "register"}
    without = compiled_once(small_config, profile, DATASET)
    trained = [key for key in cache_keys(without) if key.startswith("train")]
    assert all(cache_keys(text)[key] == cache_keys(without)[key] for key in trained)


def test_where_a_phase_runs(small_config, profile):
    profile = replace(
        profile, queue="gpus", pods={**profile.pods, "r0016": replace(profile.pod("r0004"), gpus=2)}
    )
    tasks = tasks_of(compiled_once(small_config, profile, DATASET))

    def gpus(name):
        return tasks[name][1]["resources"].get("accelerator", {}).get("resourceCount", "0")

    assert [gpus(f"train {key}") for key in small_config.phases] == ["1", "1", "2"]
    assert [gpus(name) for name in ("evaluate r0016", "build-dataset", "report")] == ["1", "0", "0"]
    task, container, placed = tasks["train r0016"]
    assert container["image"] == profile.image
    assert {"name": "MLFLOW_TRACKING_URI", "value": profile.mlflow} in container["env"]
    assert {"name": "PROGAN_GPUS", "value": "2"} in container["env"]
    assert {"name": "PROGAN_GPU_HOUR_PRICE", "value": "1.8 USD"} in container["env"]
    assert placed["podMetadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "gpus"}
    assert placed["nodeSelector"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-80GB"
    assert placed["activeDeadlineSeconds"] == str(24 * 3600)
    assert placed["pvcMount"][0]["mountPath"] == "/progan/data"
    assert placed["securityContext"] == {"runAsNonRoot": True}
    assert placed["secretAsEnv"][0]["keyToEnv"] == [
        {"envVar": "MLFLOW_TRACKING_USERNAME", "secretKey": "username"}
    ]
    assert task["retryPolicy"]["maxRetryCount"] == 5
    assert task["retryPolicy"]["backoffFactor"] % 1 == 0  # Argo reads it as an integer


def test_the_key_that_signs_is_for_register_alone(small_config, profile, tmp_path):
    ann = person("ann", tmp_path)
    secrets = {"progan-signing": {"PROGAN_SIGNING_KEY": "key", "PROGAN_SIGNING_PASSPHRASE": "passphrase"}}
    trusted = TrustedSigners({"ann": ann.public}, ())
    signing = replace(profile, secrets=profile.secrets | secrets, signatures=trusted)
    tasks = tasks_of(compiled_once(small_config, signing, DATASET))
    with_key = [name for name, (_, _, placed) in tasks.items() if "progan-signing" in str(placed)]
    assert with_key == ["register"]
    environments = {
        name: {entry["name"]: entry["value"] for entry in container["env"]}
        for name, (_, container, _) in tasks.items()
    }
    assert environments["register"]["PROGAN_IMAGE"] == profile.image
    for environment in environments.values():
        assert validated(TrustedSigners, json.loads(environment["PROGAN_TRUSTED_SIGNERS"]), "") == trusted


def test_what_a_cluster_alone_would_refuse_or_do_wrong_is_in_every_task(small_config, profile):
    """Argo counts the window of retries from the first attempt's start; 64 MiB are a container's /dev/shm."""
    for name, (task, container, placed) in tasks_of(compiled_once(small_config, profile, DATASET)).items():
        attempts = task["retryPolicy"]["maxRetryCount"] + 1
        window = int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s"))
        assert window >= attempts * int(placed["activeDeadlineSeconds"]), name
        mounts = {mount["mountPath"]: mount for mount in placed["emptyDirMounts"]}
        assert mounts["/dev/shm"]["medium"] == "Memory", name
        assert container["image"] == IMAGE, name
        always = stages.task(small_config, *[*name.split(" "), None][:2]).run == "always"
        assert task["cachingOptions"].get("enableCache", False) != always, name


@pytest.mark.parametrize(
    "file", sorted((ROOT / "components").glob("*/component.py")), ids=lambda p: p.parent.name
)
def test_a_component_only_calls_its_stage(file):
    function = next(node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))
    body = [line for node in function.body[1:] for line in ast.unparse(node).splitlines()]
    assert len(body) <= 15
    stage = rf"components\.{file.parent.name}\.(stage|launch) import"
    assert any(re.search(stage, line) for line in body)
