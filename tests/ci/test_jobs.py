"""Every script of every job, run in a scratch clone: the forge and the cluster are stood in for, nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.ci import jobs
from tests.ci.stand_ins import TOKEN, PullRequest, standing_in
from tests.conftest import shrunk_params

GITHUB_TOKEN = {"github.token": TOKEN}


def git(folder, *arguments):
    command = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What is in git here, or would be, in a repository of its own; small parameters; one commit on main."""
    folder = tmp_path_factory.mktemp("ci") / "clone"
    folder.mkdir()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    subprocess.run(
        f"{' '.join(listed)} | xargs --null cp --parents --target-directory={folder}",
        shell=True,
        cwd=jobs.ROOT,
        check=True,
    )
    (folder / ".venv").symlink_to(sys.prefix)
    change(folder, lambda values: values.update(shrunk_params()))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=The base")
    return folder


def change(folder, how):
    file = folder / "params.yaml"
    values = yaml.safe_load(file.read_text())
    how(values)
    file.write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture(scope="module")
def pull_request(clone):
    """The merge commit of a pull request that trains one phase for longer; its parents are base and head."""
    base = git(clone, "rev-parse", "main")
    git(clone, "switch", "--quiet", "--create=longer")
    change(clone, lambda values: values["phases"]["r0016"].update(stable_kimg=0.16))
    git(clone, "commit", "--quiet", "--all", "--message=Train longer at 16")
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "switch", "--quiet", "--detach", "main")
    git(clone, "merge", "--quiet", "--no-ff", "--message=Merge", "longer")
    return base, head


def test_lint_and_tests(clone):
    """Both are what .ci/run runs, so here only that make knows them."""
    for job in ("test.yml: lint", "test.yml: test", ".gitlab-ci.yml: lint", ".gitlab-ci.yml: test"):
        for torch in ("newest", "oldest"):
            printed = jobs.run(job, clone, {}, {"TORCH": torch})
    assert 'install --quiet "torch==2.11.*" torchvision' in printed
    assert "install_servers.sh" in printed
    assert 'pytest -m "not slow and not container"' in printed


@pytest.mark.slow
def test_plan_and_comment_on_github(clone, pull_request):
    _, head = pull_request
    git(clone, "switch", "--quiet", "--detach", "HEAD")
    with standing_in("github") as (forge, environment):
        jobs.run("plan.yml: plan", clone, {}, {})
        forge.branches["longer"] = {"commit": head}
        forge.pulls.append(PullRequest(1, "longer", "main", "Train longer", ""))
        of_run = "github.event.workflow_run"
        expressions = GITHUB_TOKEN | {
            "runner.temp": str(clone),  # where the artifact is downloaded to
            f"{of_run}.head_repository.owner.login": "example",
            f"{of_run}.head_branch": "longer",
            f"{of_run}.head_sha": head,
        }
        (clone / "plan").mkdir(exist_ok=True)
        (clone / "plan.md").rename(clone / "plan/plan.md")
        for _ in range(2):
            jobs.run("comment.yml: comment", clone, expressions, environment)
        [said] = forge.texts(1)
        print(said)
        check_description(said)
        expressions[f"{of_run}.head_sha"] = "somebody pushed again"
        printed = jobs.run("comment.yml: comment", clone, expressions, environment)
        assert "moved on" in printed


def check_description(text):
    assert "train@r0016" in text
    assert "The pipeline</b>: 2 lines added, 2 removed" in text
