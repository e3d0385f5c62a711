"""The pipeline under kfp.local: the same checkpoints as by DVC, each branch, a report however it ends."""

import shutil
import sys
from pathlib import Path

import pytest
import yaml
from kfp.dsl.executor_main import executor_main
from typer.testing import CliRunner

from pipelines import cli
from pipelines.local_run import _is_complete
from progan import config
from progan.dataset.build import build
from progan.errors import InputError, Unavailable
from progan.files import read_json, write_json
from progan.store import FolderStore
from tests.pipelines.http_server import serving


def digests_of(folder):
    """The digests of a checkpoint's files, and what it says of itself but for where it lay."""
    facts = read_json(folder / "checkpoint.json")
    return facts["files"], facts["identity"], facts["dataset"]


def run(project, *options):
    """`progan run`: exit code, the tasks that ran in order, the folder of this run's results, and its log."""
    before = set((project.root / ".kfp/results/runs").glob("*"))
    done = project.run("progan", "run", *options)
    log = done.stdout + done.stderr
    results = set((project.root / ".kfp/results/runs").glob("*")) - before
    assert len(results) == 1, log
    return done.returncode, tasks_in(log), results.pop(), log


def tasks_in(log):
    return [line.split("'")[1] for line in log.splitlines() if "Executing task" in line]


@pytest.fixture
def tasks_in_this_process(tmp_path_factory, monkeypatch):
    """kfp executes tasks here, where torch is imported already, instead of each in a process."""

    def execute(full_command, env_vars):
        code = next(number for number, part in enumerate(full_command) if part.startswith("\nimport kfp"))
        file = tmp_path_factory.mktemp("task") / "ephemeral_component.py"
        file.write_text(full_command[code])
        arguments = [f"--component_module_path={file}", *full_command[code + 1 :]]
        monkeypatch.setattr(sys, "argv", ["executor_main", *arguments])
        for name, value in env_vars.items():
            monkeypatch.setenv(name, value)
        executor_main()
        return 0

    monkeypatch.setattr("kfp.local.subprocess_task_handler.run_local_subprocess", execute)


def progan(*words):
    """What a command prints that runs in this process, where torch is imported already."""
    done = CliRunner().invoke(cli.app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def checkpoints(project):
    """The newest checkpoint of each phase."""
    found = sorted((project.root / ".kfp").glob("progressive-training-*/train*/checkpoint"))
    return {read_json(folder / "checkpoint.json")["phase"]: folder for folder in found}


def test_a_run_with_the_stages_own_checkpoint(
    new_project, tasks_in_this_process, empty_registry, monkeypatch
):
    """Every task runs; the functions that DVC calls give the same. Below, of two phases and with labels."""
    project = new_project()
    shutil.copy(empty_registry, project.root)
    monkeypatch.chdir(project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.environment["MLFLOW_TRACKING_URI"])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # which the command sets
    params = yaml.safe_load(Path("params.yaml").read_text())
    del params["phases"]["r0008"]
    params["dataset"]["label_attributes"] = []
    params["gate"]["score_min"] = None
    Path("params.yaml").write_text(yaml.safe_dump(params))
    progan("paint")
    ran = tasks_in(CliRunner().invoke(cli.app, ["run"], catch_exceptions=False).output)
    [results] = Path(".kfp/results/runs").iterdir()
    tasks = {"build-dataset", "score-network", "train", "evaluate", "gate", "register", "report"}
    assert (set(ran), len(ran), ran[-1]) == (tasks, 7, "report")
    assert read_json(results / "registration.json")["version"] == "1"
    assert "registered as version 1" in (results / "report/report.html").read_text()
    progan("train", "r0004")
    assert digests_of(checkpoints(project)["r0004"]) == digests_of(Path("checkpoints/r0004"))


def test_a_task_that_failed_unseen(tmp_path):
    """A container that is gone too soon counts as a success to kfp: what the run kept tells."""
    store, kept = FolderStore(tmp_path), tmp_path / "runs/7"
    assert not _is_complete(store, "7", "r0016")
    for verdict, ends_early in {
        ("r0008", False): True,
        ("r0008", True): False,
        ("r0016", False): False,
        ("r0016", True): False,
    }.items():
        write_json(kept / "verdict.json", dict(zip(("phase", "passed"), verdict, strict=True)))
        assert _is_complete(store, "7", "r0016") == ends_early
    write_json(kept / "registration.json", {"version": None})
    assert _is_complete(store, "7", "r0016")


def test_a_run_reports_its_own_results(new_project, monkeypatch):
    """Not those of another run at the same time."""
    monkeypatch.chdir(new_project().root)

    def run_pipeline(config, storage, digest, root, image, run):
        for name in (run, "another"):
            write_json(Path(storage.results, "runs", name, "report/report.html"), name)
            write_json(Path(storage.results, "runs", name, "registration.json"), {})
        return True

    monkeypatch.setattr("pipelines.local_run._run_pipeline", run_pipeline)
    page = Path(progan("run").strip().removeprefix("report: "))
    assert read_json(page) == page.parts[-3] != "another"


@pytest.mark.slow
def test_through_dvc_and_through_kubeflow(new_project):
    """The same checkpoints and measures; then from the cache with a verdict of no; then a task that fails."""
    project = new_project()
    done = project.run("dvc", "repro", "train", "evaluate")
    assert done.returncode == 0, done.stdout + done.stderr
    code, ran, results, log = run(project)
    assert code == 0, log
    assert set(checkpoints(project)) == {"r0004", "r0008"}
    for key, folder in checkpoints(project).items():
        assert digests_of(folder) == digests_of(project.root / "checkpoints" / key)
        kept = next((project.root / ".kfp/results/evaluate").glob(f"{key}-*/evaluation/{key}.json"))
        assert read_json(kept) == read_json(project.root / "evaluation" / f"{key}.json")

    project.change(gate={"ms_ssim_max": 0.0})
    code, ran, results, log = run(project)
    assert code == 0, log
    assert ran == ["build-dataset", "gate", "register", "report"]  # the rest came from the cache
    assert read_json(results / "registration.json")["version"] is None
    assert "nothing was registered" in (results / "report/report.html").read_text()

    shutil.rmtree(project.root / ".kfp/snapshots")
    (project.root / ".kfp/snapshots").touch()  # no folder can be made here: training breaks
    project.change(training={"seed": 5})
    code, ran, results, log = run(project)
    assert code == 1
    assert ran == ["build-dataset", "train", "report"]
    report = (results / "report/report.html").read_text()
    assert "The run did not finish" in report
    assert "data:image/png" not in report
    assert f"report: {results / 'report/report.html'}" in log
    assert "progan: the run did not finish; the log above says why" in log


@pytest.mark.parametrize(("limit", "goes_on"), [(0.0, False), (1.0, True)])
@pytest.mark.slow
def test_a_phase_that_fails_its_gate_ends_the_run(new_project, limit, goes_on):
    project = new_project()
    project.change(gate={"stop_after": "r0004", "ms_ssim_max": limit})
    assert project.run("progan", "paint").returncode == 0
    code, ran, results, log = run(project)
    assert code == 0, log
    assert ("train-2" in ran) == ("register" in ran) == goes_on
    verdict = read_json(results / "verdict.json")
    assert (verdict["phase"], verdict["passed"]) == (("r0008", True) if goes_on else ("r0004", False))
    assert "r0004" in checkpoints(project)
    assert ran[-1] == "report"
    assert f"at {verdict['phase']}" in (results / "report/report.html").read_text()


def test_no_photographs(new_project):
    """The report says so, and the line of the task that failed stands in the log."""
    code, ran, results, log = run(new_project())
    assert code == 1
    assert ran == ["build-dataset", "report"]
    assert "data/raw/toy-celeba" in log
    assert "No dataset was built" in (results / "report/report.html").read_text()


def test_docker_that_is_not_there_or_has_no_such_image(new_project, monkeypatch):
    monkeypatch.chdir(new_project().root)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # which the command sets
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(Unavailable, match="Docker: Error while fetching server API version"):
        progan("run", "--runner", "docker")
    answers = {
        ("GET", "/version"): {"ApiVersion": "1.44"},
        ("GET", "/v1.44/info"): {},
        ("GET", "/v1.44/images/json"): [],
        ("POST", "/v1.44/images/create"): (404, {"message": "pull access denied for nowhere"}),
    }
    with serving(answers) as docker:
        monkeypatch.setenv("DOCKER_HOST", docker.url.replace("http", "tcp"))
        line = "--image nowhere:1: pull access denied for nowhere; build or pull it"
        with pytest.raises(InputError, match=line):
            progan("run", "--runner", "docker", "--image", "nowhere:1")


def test_a_dataset_of_other_parameters_is_refused_before_anything_runs(new_project, photographs, monkeypatch):
    project = new_project()
    monkeypatch.chdir(project.root)
    project.change(
        dataset={"source": "folder", "path": str(photographs), "label_attributes": [], "resolution": 8}
    )
    build(config.load().dataset, Path("data/multires"), workers=1)
    project.change(dataset={"seed": 4})
    with pytest.raises(
        InputError, match="data/multires: built with other parameters than params.yaml's; run"
    ):
        progan("run")
    assert not Path(".kfp").exists()
