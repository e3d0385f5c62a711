"""Every script of every job, run in a scratch clone. Forge and cluster are stood in for, and nothing else."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from ci.pull_request import description
from pipelines import cli
from progan import config
from progan.checkpoints import DatasetFacts
from progan.training import PhaseTrainer
from tests.ci import jobs
from tests.ci.stand_ins import CONTEXT, TOKEN, PullRequest, kubernetes, standing_in
from tests.components.test_warm_start import register_version
from tests.conftest import IMAGE, shrunk_params
from tests.pipelines.kubeflow_server import kubeflow_server

RUN_OF = "github.event.workflow_run"


def git(folder, *arguments):
    command = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def main(tmp_path_factory):
    """What is in git here, or would be, in a repository of its own: small parameters, one commit on main."""
    folder = tmp_path_factory.mktemp("ci") / "main"
    listed = git(jobs.ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in filter(lambda name: (jobs.ROOT / name).is_file(), listed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(jobs.ROOT / name, folder / name)
    change(folder / "params.yaml", lambda values: values.update(shrunk_params()))
    change(folder / "infra/cluster.yaml", lambda values: values.update(image=IMAGE))
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=The base")
    return folder


@pytest.fixture
def clone(main, tmp_path):
    return cloned(main, tmp_path)


def cloned(origin, folder):
    """A clone with this environment as its own."""
    git(folder, "clone", "--quiet", str(origin), "clone")
    clone = folder / "clone"
    (clone / ".venv").symlink_to(sys.prefix)
    (clone / ".git/info/exclude").write_text("/.venv\n")  # .gitignore has it as a folder
    return clone


def change(file, how):
    values = yaml.safe_load(file.read_text())
    how(values)
    file.write_text(yaml.safe_dump(values, sort_keys=False))


@pytest.fixture
def pull_request(clone):
    """One that trains the last phase for longer, merged for its jobs as forges do."""
    base = git(clone, "rev-parse", "HEAD")
    git(clone, "switch", "--quiet", "--create=longer")
    change(clone / "params.yaml", lambda values: values["phases"]["r0016"].update(stable_kimg=0.16))
    git(clone, "commit", "--quiet", "--all", "--message=Train longer at 16")
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "switch", "--quiet", "--detach", "main")
    git(clone, "merge", "--quiet", "--no-ff", "--message=Merge", "longer")
    return SimpleNamespace(base=base, head=head)


def check_description(text):
    assert "train r0016" in text
    [difference] = re.findall(r"```diff\n(.*?)```", text, re.DOTALL)
    parameter = "params.phases.r0016.stable_kimg"
    assert difference == f" every task\n-  {parameter}: 0.08\n+  {parameter}: 0.16\n"


def test_lint_and_tests(clone):
    """Both are what .ci/run runs, so here only that make knows them."""
    for job in ("test.yml: lint", "test.yml: test", ".gitlab-ci.yml: lint", ".gitlab-ci.yml: test"):
        printed = jobs.run(job, clone, {}, {"TORCH": "oldest"}).printed
    assert 'install "torch==2.11.*" torchvision' in printed
    assert "install_servers.sh" in printed
    assert 'pytest -m "not slow and not container and not cluster"' in printed
    for job in ("test-slow.yml: test-slow", ".gitlab-ci.yml: test-slow"):
        assert "pytest -m slow\n" in jobs.run(job, clone, {}, {}).printed


DOCKER = """#!/bin/sh
echo "docker $*" >> "$HOME/asked"
[ "$1" != login ] || cat >> "$HOME/password"
while [ $# -gt 0 ]; do
    [ "$1" != --metadata-file ] || echo '{ "containerimage.digest": "sha256:5eed" }' > "$2"
    shift
done
"""


@pytest.mark.parametrize("job", ["image.yml: image", ".gitlab-ci.yml: build-image"])
def test_the_image_has_an_sbom_and_provenance(clone, tmp_path, monkeypatch, job):
    """Docker is stood in for: it says what it was asked."""
    for name, script in {"docker": DOCKER, "apk": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    image = "registry.example.org/team/progan"
    expressions = {"vars.IMAGE": image, "github.token": TOKEN}
    gitlab = {"CI_REGISTRY": "registry.example.org", "CI_REGISTRY_USER": "ci", "CI_REGISTRY_PASSWORD": TOKEN}
    environment = {"GITHUB_ACTOR": "ci"} if job.startswith("image") else gitlab | {"IMAGE": image}
    done = jobs.run(job, clone, expressions, environment)
    login, *_, build = (tmp_path / "asked").read_text().splitlines()
    assert login == "docker login --username ci --password-stdin registry.example.org"
    assert (tmp_path / "password").read_text() == f"{TOKEN}\n"
    commit = git(clone, "rev-parse", "HEAD")
    assert build.startswith("docker buildx build --sbom=true --provenance=mode=max ")
    assert f" --build-arg GIT_COMMIT={commit} --tag {image}:{commit} " in build
    assert build.endswith(" --push .")
    assert done.printed.splitlines()[-1] == f"{image}@sha256:5eed"
    if job.startswith("image"):
        assert f"{image}@sha256:5eed" in done.summary


@pytest.mark.slow
def test_the_plan_of_a_pull_request_on_github(clone, pull_request):
    jobs.run("plan.yml: plan", clone, {}, {})
    check_description((clone / "plan.md").read_text())


def progan_here(*words, cwd):
    """The output of a command that runs in this process, where torch is imported already."""
    with contextlib.chdir(cwd):
        return CliRunner().invoke(cli.app, words, catch_exceptions=False).stdout


def test_the_comment_on_a_pull_request_on_github(clone, pull_request, monkeypatch):
    monkeypatch.chdir(clone)
    monkeypatch.setattr("ci.pull_request.progan", progan_here)
    with standing_in("github") as (forge, environment):
        artifact = clone / "downloaded/plan"
        artifact.mkdir(parents=True)
        (artifact / "plan.md").write_text(description("HEAD^1"))
        git(clone, "switch", "--quiet", "--detach", "main")

        forge.branches["longer"] = {"commit": pull_request.head}
        forge.pulls.append(PullRequest(1, "longer", "main", "Train longer", ""))
        expressions = {
            "github.token": TOKEN,
            "runner.temp": str(clone / "downloaded"),
            f"{RUN_OF}.head_repository.owner.login": "example",
            f"{RUN_OF}.head_branch": "longer",
            f"{RUN_OF}.head_sha": pull_request.head,
        }
        for _ in range(2):
            jobs.run("comment.yml: comment", clone, expressions, environment)
        [said] = forge.texts(1)
        check_description(said)
        (artifact / "plan.md").write_text("of a commit that is no longer the newest")
        expressions[f"{RUN_OF}.head_sha"] = pull_request.base
        assert "has moved on" in jobs.run("comment.yml: comment", clone, expressions, environment).printed
        assert forge.texts(1) == [said]


@pytest.mark.slow
def test_a_merge_request_on_gitlab(clone, pull_request):
    with standing_in("gitlab") as (forge, environment):
        merge = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": pull_request.base, "CI_MERGE_REQUEST_IID": "1"}
        jobs.run(".gitlab-ci.yml: plan", clone, {}, merge)
        token = {"PROGAN_FORGE_TOKEN": TOKEN}
        for _ in range(2):
            jobs.run(".gitlab-ci.yml: comment", clone, {}, {**environment, **merge, **token})
        [said] = forge.texts(1)
        check_description(said)


@pytest.fixture
def cluster(tmp_path):
    """Kubeflow, and its address and that of Kubernetes as variables."""
    with kubeflow_server(token="token for pipelines.kubeflow.org") as kubeflow, kubernetes() as api:
        variables = {
            "KF_PIPELINES_ENDPOINT": kubeflow.server.url,
            "KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "kubeflow-token"),
            "KUBERNETES_SERVER": api.url,
            "KUBERNETES_CA": "",
            "MAX_COST": "10",
            "AWS_ROLE_ARN": "",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "",
            "AWS_DEFAULT_REGION": "",
            "AWS_ENDPOINT_URL": "",
        }
        kubeflow.variables = variables
        yield kubeflow


def on_github(variables):
    return {"github.token": TOKEN} | {f"vars.{name}": value for name, value in variables.items()}


@pytest.mark.slow
def test_retraining_on_github(clone, cluster):
    with standing_in("github") as (forge, environment):
        done = jobs.run("retrain.yml: plan", clone, {}, environment)
        assert "tasks to do for the cluster" in done.summary
        assert int(done.outputs.removeprefix("to_do=")) > 0

        expressions = on_github(cluster.variables)
        jobs.run("retrain.yml: submit", clone, expressions, environment)
        check_submitted(clone, cluster, forge)
        with pytest.raises(AssertionError, match="MAX_COST: set this variable"):
            jobs.run("retrain.yml: submit", clone, expressions | {"vars.MAX_COST": ""}, environment)
        assert len(cluster.runs) == 1


def check_submitted(clone, cluster, forge):
    """One run, however often it was asked for; the commit says where it is."""
    [run] = cluster.runs
    assert run["service_account"] == "progan-pipeline"
    [(commit, status)] = forge.statuses.items()
    assert commit == git(clone, "rev-parse", "HEAD")
    assert status["target_url"] == f"{cluster.server.url}/#/runs/details/run-1"
    assert status["state"] == "pending"


@pytest.mark.slow
def test_retraining_on_gitlab(clone, cluster):
    with standing_in("gitlab") as (forge, environment):
        given = environment | cluster.variables | {"PROGAN_FORGE_TOKEN": TOKEN, "AWS_DEFAULT_REGION": "x"}
        done = jobs.run(".gitlab-ci.yml: plan-of-main", clone, {}, given)
        assert "tasks to do for the cluster" in done.printed
        for _ in range(2):
            jobs.run(".gitlab-ci.yml: submit", clone, {}, given)
        check_submitted(clone, cluster, forge)
        cluster.runs.clear()
        with pytest.raises(AssertionError, match="over the budget: it costs up to"):
            jobs.run(".gitlab-ci.yml: submit", clone, {}, given | {"MAX_COST": "0"})
        assert cluster.runs == []


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """The address of an MLflow whose champion keeps a checkpoint of r0004."""
    folder = tmp_path_factory.mktemp("registry")
    loaded = config.parse(shrunk_params(), "params.yaml")
    images = np.zeros((24, 3, 4, 4), np.uint8)
    trainer = PhaseTrainer(loaded, loaded.phase("r0004"), images, "digest", None, torch.device("cpu"))
    trainer.images_shown = trainer.schedule.total_images
    trainer.write_checkpoint(folder / "r0004", DatasetFacts("faces", 24, "made up"))
    address = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.chdir(folder)
        register_version(loaded.register.model, "r0004", folder / "r0004")
    return address


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "job"), [("github", "retrain.yml: start-from"), ("gitlab", ".gitlab-ci.yml: start-from")]
)
def test_starting_from_the_champion_is_proposed(clone, registry, name, job):
    expressions = {"inputs.from_phase": "r0004", "vars.MLFLOW_TRACKING_URI": registry, "github.token": TOKEN}
    given = {"FROM_PHASE": "r0004", "MLFLOW_TRACKING_URI": registry, "PROGAN_FORGE_TOKEN": TOKEN}
    with standing_in(name) as (forge, environment):
        forge.known_files.add("params.yaml")
        jobs.run(job, clone, expressions, environment | (given if name == "gitlab" else {}))
        [pull] = forge.pulls
        assert (pull.branch, pull.base) == ("start-from-r0004", "main")
        [(path, text)] = forge.branches[pull.branch]["files"].items()
        assert path == "params.yaml"
        assert list(yaml.safe_load(text)["warm_start"]) == ["r0004"]
        assert forge.branches[pull.branch]["parent"] == git(clone, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def trained(main, tmp_path_factory):
    """A commit whose dataset is built, and the id of the run that trained it where the profile says.

    kfp's local runner is the cluster; dataset, results and DVC's remote are folders that it shares with us.
    """
    root = tmp_path_factory.mktemp("trained")
    ours, cluster = root / "ours", root / "cluster"
    git(root, "clone", "--quiet", str(main), "ours")
    storage = {name: str(root / name) for name in ("datasets", "snapshots", "results")}
    change(ours / "infra/cluster.yaml", lambda values: values.update(storage=storage))
    change(ours / "params.yaml", lambda values: values["phases"].pop("r0016"))
    commands = str(Path(sys.prefix) / "bin")
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}

    def run(folder, *command):
        given = environment | {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
        done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(ours, "dvc", "remote", "add", "--quiet", "--default", "remote", str(root / "remote"))
    run(ours, "dvc", "repro", "--quiet", "build-dataset")
    run(ours, "dvc", "push", "--quiet")
    git(ours, "add", "--all")
    git(ours, "commit", "--quiet", "--message=Build the dataset")
    dataset = shutil.copytree(ours / "data/multires", root / "datasets/faces")
    cluster.mkdir()
    shutil.copy(ours / "params.yaml", cluster)
    places = (f"--dataset={dataset}", f"--results={storage['results']}")
    log = run(cluster, "progan", "run", *places)
    return SimpleNamespace(root=ours, run=log.split("/runs/")[1].split("/")[0], run_command=run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "job"), [("github", "collect.yml: collect"), ("gitlab", ".gitlab-ci.yml: collect")]
)
def test_collecting(trained, cluster, tmp_path, name, job):
    clone = cloned(trained.root, tmp_path)
    commit, url = git(clone, "rev-parse", "HEAD"), f"{cluster.server.url}/#/runs/details/{trained.run}"
    inputs = {"inputs.run": "", "github.event.client_payload.run": ""}
    with standing_in(name) as (forge, environment):
        forge.known_files.add("dvc.lock")
        forge.statuses[commit] = {
            "context": CONTEXT,
            "state": "pending",
            "status": "pending",
            "target_url": url,
        }
        given = environment | (cluster.variables | {"PROGAN_FORGE_TOKEN": TOKEN} if name == "gitlab" else {})
        given = {**given, "AWS_DEFAULT_REGION": "us-east-1"}

        def collect(state):
            cluster.states[trained.run] = [state]
            jobs.run(job, clone, on_github(cluster.variables) | inputs, given)
            return forge.statuses[commit]["state"]

        assert collect("RUNNING") == "pending"
        assert forge.pulls == []
        assert collect("SUCCEEDED") == "success"
        [pull] = forge.pulls
        [said] = forge.texts(pull.number)
        assert "r0008: the gate passed" in said
        assert "<b>The metrics</b>" in said
        assert "<html" in (clone / f"reports/{trained.run}.html").read_text()

        files = forge.branches[pull.branch]["files"]
        assert set(files) == {"dvc.lock", "report/metrics/r0004.json", "report/metrics/r0008.json"}
        for path, text in files.items():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(text)
        assert "up to date" in trained.run_command(clone, "dvc", "repro", "--dry", "--allow-missing")
        trained.run_command(clone, "dvc", "pull", "--quiet", "checkpoints/r0008")
        assert (clone / "checkpoints/r0008/networks.safetensors").exists()
