"""What the workflows must not be, whatever their scripts do.

`make lint` refuses actions without a commit, expressions in scripts and `pull_request_target`.
"""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from tests.ci.jobs import JOBS, ROOT, WORKFLOWS, gitlab, whole_gitlab_jobs


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request):
    return request.param


def triggers(workflow):
    found = yaml.safe_load(workflow.read_text())[True]  # YAML's `on`
    return {found} if isinstance(found, str) else set(found)


def uses(workflow):
    return re.findall(r"\buses: (.*)", workflow.read_text())


def test_actionlint_finds_nothing():
    if shutil.which("actionlint") is None:
        pytest.skip("actionlint is not installed here; make servers installs it where it can")
    done = subprocess.run(["actionlint", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_one_action_is_pinned_to_one_commit():
    used = {re.search(r"(\S+)@(\S+)", line).groups() for path in WORKFLOWS for line in uses(path)}
    assert len({action for action, _ in used}) == len(used)


def test_no_workflow_knows_a_secret(workflow):
    assert "secrets." not in workflow.read_text()


def test_every_python_that_is_allowed_with_the_oldest_and_the_newest_torch():
    allowed = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])
    pythons = [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}")]
    github = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["test"]["strategy"]
    assert github["matrix"] == {"python": pythons, "torch": ["newest", "oldest"]}
    [matrix] = whole_gitlab_jobs()["test"]["parallel"]["matrix"]
    assert matrix == {"PYTHON": pythons, "TORCH": ["newest", "oldest"]}


def test_what_runs_a_pull_request_may_only_read(workflow):
    if "pull_request" in triggers(workflow):
        loaded = yaml.safe_load(workflow.read_text())
        assert loaded["permissions"] == {"contents": "read"}
        assert [name for name, job in loaded["jobs"].items() if "permissions" in job] == []


def test_what_may_write_runs_no_pull_request():
    """It checks out what is on the default branch, or was pushed there."""
    writing = {path.name for path in WORKFLOWS if re.search(r": write\b", path.read_text())}
    assert writing == {"comment.yml", "retrain.yml", "collect.yml", "image.yml"}
    for name in writing:
        text = (ROOT / ".github/workflows" / name).read_text()
        assert "head_sha" not in text.replace("HEAD_COMMIT: ${{ github.event.workflow_run.head_sha }}", "")
        assert set(re.findall(r" ref: (.*)", text)) <= {"${{ github.event.repository.default_branch }}"}


def test_only_jobs_of_an_environment_reach_the_cluster(workflow):
    """The cluster knows them by their environment: infra/ci.yaml."""
    loaded = yaml.safe_load(workflow.read_text())
    for name, job in loaded["jobs"].items():
        identified = job.get("permissions", {}).get("id-token") == "write"
        assert identified == ("environment" in job), name
        if identified:
            account = job["env"]["KUBERNETES_SERVICE_ACCOUNT"]
            user = f"forge:repo:example/progan:environment:{job['environment']}"
            assert who_may_have_tokens()[user] == account


SPENDS = re.compile(r"progan (submit|retrain)")


def test_what_spends_waits_for_an_approval_and_runs_once_at_a_time_a_branch():
    spending = [name for name, steps in JOBS.items() if any(SPENDS.search(step.script) for step in steps)]
    assert spending == ["retrain.yml: submit", ".gitlab-ci.yml: submit"]
    github = yaml.safe_load((ROOT / ".github/workflows/retrain.yml").read_text())["jobs"]["submit"]
    assert github["environment"] == "training"
    assert github["concurrency"] == {"group": "submit-${{ github.ref }}", "cancel-in-progress": False}
    assert "needs.plan.outputs.to_do != '0'" in github["if"]
    submit = whole_gitlab_jobs()["submit"]
    assert (submit["environment"], submit["when"]) == ("training", "manual")
    assert (submit["resource_group"], submit["interruptible"]) == ("submit-$CI_COMMIT_BRANCH", False)


def test_no_merge_request_asks_for_more_than_its_tests_and_its_plan():
    """Only main's pipelines may have a DO; and without one, no merge request has a job that spends."""
    of_requests, of_main = (rule["if"] for rule in gitlab()["workflow"]["rules"])
    assert of_requests == '$CI_PIPELINE_SOURCE == "merge_request_event" && $DO == ""'
    assert of_main == "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"
    for name in ("submit", "start-from", "collect", "test-slow"):
        for rule in whole_gitlab_jobs()[name]["rules"]:
            assert re.match(r'\$DO == "\S+"$|\$CI_PIPELINE_SOURCE == "push"$', rule["if"]), name


def access():
    return list(yaml.safe_load_all((ROOT / "infra/ci.yaml").read_text()))


def who_may_have_tokens():
    """{user: the one service account that it may ask tokens of}"""
    roles = {one["metadata"]["name"]: one["rules"] for one in access() if one["kind"] == "Role"}
    found = {}
    for binding in access():
        if binding["kind"] == "RoleBinding" and binding["roleRef"]["kind"] == "Role":
            [subject], [rule] = binding["subjects"], roles[binding["roleRef"]["name"]]
            what = rule["resources"], rule["verbs"], rule["resourceNames"]
            if what == (["serviceaccounts"], ["use"], ["progan-pipeline"]):
                assert subject["name"] == "progan-submit"
                continue
            assert what[:2] == (["serviceaccounts/token"], ["create"])
            [found[subject["name"]]] = rule["resourceNames"]
    return found


def test_the_rights_of_ci():
    rights = {
        one["metadata"]["name"]: one["roleRef"]["name"] for one in access() if one["kind"] == "RoleBinding"
    }
    assert rights["progan-submit"] == "kubeflow-edit"
    assert rights["progan-collect"] == "kubeflow-view"
    assert len(who_may_have_tokens()) == 2


def test_pushes_that_retrain_are_the_same_on_both_forges():
    github = yaml.safe_load((ROOT / ".github/workflows/retrain.yml").read_text())[True]["push"]["paths"]
    changes = gitlab()[".on-retraining"]["rules"][1]["changes"]
    same = {"data/**/*.dvc": "data/**.dvc", "progan/**/*": "progan/**", "components/**/*": "components/**"}
    assert [same.get(path, path) for path in changes] == github
    for path in github:
        assert Path(ROOT / path.split("*")[0]).exists() or path in ("dvc.lock", "data/**.dvc"), path
