"""What is done with runs that ended, and with those that did not. `progan collect` itself is run in
test_jobs.py, slowly; here something writes what it writes."""

import json
import subprocess
from contextlib import nullcontext

import pytest

from ci.bring_home import bring_home
from ci.forge import Status, current_forge
from progan.errors import InputError, Interrupted
from tests.ci.stand_ins import PullRequest

PAGE = "https://kubeflow.example.org/#/runs/details"
GO_ON = "progan submit goes on from what there is"
VERDICT = {"phase": "r0016", "passed": True, "reasons": []}


@pytest.fixture
def commits(tmp_path, monkeypatch, forge):
    """Three of them, the newest first, in the folder that the tests run in."""
    monkeypatch.chdir(tmp_path)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for name in ("dvc.lock", "größen.json"):
        (tmp_path / name).write_text("as it was\n")
        forge.known_files.add(name)
    (tmp_path / ".gitignore").write_text("/report/\n")
    subprocess.run([*git, "add", "--all"], check=True)
    for number in range(3):
        subprocess.run([*git, "commit", "--quiet", "--allow-empty", f"--message={number}"], check=True)
    listed = subprocess.run([*git, "rev-list", "HEAD"], check=True, capture_output=True, text=True)
    return listed.stdout.split()


@pytest.fixture
def cluster(monkeypatch):
    """{run: what `progan collect` would tell of it, or raise}; the folders it was run in, too."""
    runs, folders = {}, []

    def progan(_, run, *options, cwd):
        folders.append(cwd.name)
        if isinstance(runs[run], Exception):
            raise runs[run]
        (cwd / "dvc.lock").write_text(f"as {run} made it\n")
        (cwd / "größen.json").unlink()  # the measures of a phase that this run has not
        (cwd / "report").mkdir()
        (cwd / "report/report.html").write_text(f"<p>{run}")
        cwd.with_suffix(".md").write_text("### The gate passed\n")
        return json.dumps({"state": "SUCCEEDED", "verdict": VERDICT, **runs[run]})

    monkeypatch.setattr("ci.bring_home.progan", progan)
    monkeypatch.setattr("ci.bring_home.metrics", lambda folder: "(metrics)")
    runs["folders"] = folders
    return runs


def submitted(commit, run):
    current_forge().set_status(commit, Status("pending", f"{PAGE}/{run}"), "The cluster trains")


def test_a_run_that_ended_comes_home(forge, commits, cluster, tmp_path):
    submitted(commits[1], "run-1")
    cluster["run-1"] = {}
    bring_home(current_forge(), "")
    assert cluster["folders"] == [commits[1][:10]]
    [pull] = forge.pulls
    assert isinstance(pull, PullRequest)
    assert (pull.branch, pull.base) == ("results/run-1", "main")
    assert f"{PAGE}/run-1" in pull.text
    assert forge.branches["results/run-1"]["parent"] == commits[1]
    files = {"dvc.lock": "as run-1 made it\n", "größen.json": None}
    assert forge.branches["results/run-1"]["files"] == files
    [said] = forge.texts(pull.number)
    assert "### The gate passed" in said
    assert "(metrics)" in said
    assert current_forge().job in said
    assert current_forge().status(commits[1]) == Status("success", f"{PAGE}/run-1")
    assert (tmp_path / "reports/run-1.html").read_text() == "<p>run-1"
    bring_home(current_forge(), "")
    assert len(cluster["folders"]) == 1


def test_one_run_of_two_commits_is_collected_once_for_the_newer(forge, commits, cluster):
    for commit in commits[:2]:
        submitted(commit, "run-1")
    cluster["run-1"] = {}
    bring_home(current_forge(), "")
    assert forge.branches["results/run-1"]["parent"] == commits[0]
    assert {current_forge().status(commit).state for commit in commits[:2]} == {"success"}


@pytest.mark.parametrize(
    ("found", "description"),
    [
        ({"verdict": VERDICT | {"passed": False}}, "r0016: the gate failed"),
        ({"verdict": None, "state": "FAILED"}, f"FAILED without a verdict; {GO_ON}"),
        (InputError("run-1: FAILED before it had a dataset"), "run-1: FAILED before it had a dataset"),
    ],
)
def test_a_run_that_did_not_end_well(forge, commits, cluster, found, description):
    """The others are collected all the same."""
    cluster["run-1"], cluster["run-2"] = found, {}
    submitted(commits[0], "run-1")
    submitted(commits[1], "run-2")
    refused = pytest.raises(InputError, match=description) if isinstance(found, Exception) else nullcontext()
    with refused:
        bring_home(current_forge(), "")
    assert current_forge().status(commits[0]) == Status("failure", f"{PAGE}/run-1")
    assert forge.statuses[commits[0]]["description"] == description
    assert current_forge().status(commits[1]).state == "success"


def test_a_run_that_goes_on_is_asked_again(forge, commits, cluster):
    cluster["run-1"] = Interrupted("run-1: is RUNNING")
    submitted(commits[0], "run-1")
    bring_home(current_forge(), "")
    assert current_forge().status(commits[0]).state == "pending"
    assert forge.pulls == []


def test_by_hand_a_run_is_collected_again_whatever_became_of_it(forge, commits, cluster):
    cluster["run-1"], cluster["run-2"] = {}, {}
    for run in ("run-1", "run-2"):
        submitted(commits[0 if run == "run-1" else 1], run)
    current_forge().set_status(commits[0], Status("failure", f"{PAGE}/run-1"), "the object store was away")
    bring_home(current_forge(), "run-1")
    assert current_forge().status(commits[0]).state == "success"
    assert current_forge().status(commits[1]).state == "pending"
    with pytest.raises(InputError, match="run-9: none of the last 100 commits has a status that names it"):
        bring_home(current_forge(), "run-9")
