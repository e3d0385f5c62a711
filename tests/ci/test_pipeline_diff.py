"""Differences of compiled pipelines, in the form that KFP gives them; test_jobs.py has real ones."""

import json

import pytest
import yaml

from ci.pipeline_diff import difference
from progan.errors import InputError
from tests.conftest import IMAGE

CODE = "import kfp\n\ndef train():\n    return {}\n"


def pipeline(params, names=("train r0004", "evaluate r0004"), image=IMAGE, code="1"):
    """Tasks that each carry all parameters, and hand something to the last one."""
    keys = [f"task-{number}" for number in range(len(names))]
    constant = {"inputs": {"parameters": {"params": {"runtimeValue": {"constant": json.dumps(params)}}}}}
    tasks = {
        key: {"taskInfo": {"name": name}, "componentRef": {"name": f"comp-{key}"}, **constant}
        for key, name in zip(keys, names, strict=True)
    }
    tasks[keys[-1]]["dependentTasks"] = keys[:-1]
    components = {f"comp-{key}": {"executorLabel": f"exec-{key}"} for key in keys}
    for key in keys[:-1]:
        components[f"comp-{keys[-1]}"] |= {f"pipelinechannel--{key}-out": {"artifactType": "Model"}}
    container = {"image": image, "command": ["sh", CODE.format(code)]}
    executors = {f"exec-{key}": {"container": container} for key in keys}
    timeouts = {f"exec-{key}": {"activeDeadlineSeconds": "60"} for key in keys}
    documents = [
        {
            "root": {"dag": {"tasks": tasks}},
            "components": components,
            "deploymentSpec": {"executors": executors},
        },
        {"platforms": {"kubernetes": {"deploymentSpec": {"executors": timeouts}}}},
    ]
    return yaml.safe_dump_all(documents)


PARAMS = {"phases": {"r0004": {"stable_kimg": 4.0}}}


def test_what_is_the_same_has_no_difference():
    assert difference(pipeline(PARAMS), pipeline(PARAMS)) == []


@pytest.mark.parametrize(
    "other", ["", "a: b: c", "[]", "[" * 200_000, "- " * 200_000, "components: {}", f'"{{{"[" * 200_000}"']
)
def test_what_is_no_pipeline_is_refused(other):
    """A pull request's own code writes it; libyaml crashed on some of these."""
    with pytest.raises(InputError, match=r"^pipeline\.yaml: not a pipeline that `progan compile` wrote$"):
        difference(pipeline(PARAMS), other)


def test_a_parameter_that_every_task_carries_is_told_once():
    longer = {"phases": {"r0004": {"stable_kimg": 9.0, "fade_kimg": 1}}}
    assert difference(pipeline(PARAMS), pipeline(longer)) == [
        " every task",
        "-  params.phases.r0004.stable_kimg: 4.0",
        "+  params.phases.r0004.stable_kimg: 9.0",
        "+  params.phases.r0004.fade_kimg: 1",
    ]


def test_a_parameter_may_be_called_as_a_task_is():
    """The gate's thresholds are in what every task carries, the gate's own task or not."""
    before, after = ({"task-1": {"swd_max": limit}} for limit in (60, 50))
    assert difference(pipeline(before), pipeline(after)) == [
        " every task",
        "-  params.task-1.swd_max: 60",
        "+  params.task-1.swd_max: 50",
    ]


def test_images_are_told_by_the_beginning_of_their_digests():
    other = pipeline(PARAMS, image=IMAGE.replace("ab", "cd"))
    assert difference(pipeline(PARAMS), other) == [
        " every task",
        "-  image: registry.example.org/progan@sha256:abababababab…",
        "+  image: registry.example.org/progan@sha256:cdcdcdcdcdcd…",
    ]


def test_tasks_are_known_by_their_names_not_by_the_numbers_that_the_compiler_gives():
    longer = pipeline(PARAMS, names=("build dataset", "train r0004", "evaluate r0004"))
    assert difference(pipeline(PARAMS), longer) == [
        "+build dataset",
        " evaluate r0004",
        "   dependentTasks:",
        "@@ -1 +1,2 @@",
        "+build dataset",
        " train r0004",
    ]


def test_code_is_told_by_its_lines():
    assert difference(pipeline(PARAMS), pipeline(PARAMS, code="2")) == [
        " every task",
        "   command:",
        "@@ -4,2 +4,2 @@",
        " def train():",
        "-    return 1",
        "+    return 2",
    ]
