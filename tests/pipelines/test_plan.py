"""`progan plan`: agrees with DVC about what runs; derives hours, prices and memory from known rates."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from dvc.repo import Repo
from typer.testing import CliRunner

from components import stages
from components.object_store import open_store
from components.receipts import identity_here
from components.results import Results
from pipelines import cli
from pipelines.compiling import storage_of
from pipelines.profile import load_profile
from progan import RESULTS_VERSION, config, presets
from progan.errors import InputError, Interrupted
from progan.snapshots import SnapshotFolder
from progan.store import FolderStore
from progan.training import Hooks
from tests import made_up
from tests.pipelines.finished import FACES, add_photographs, trainer_of


def planned(*options):
    result = CliRunner().invoke(cli.app, ["plan", "--json", *options])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def tasks(plan):
    return {task["name"]: task for task in plan["tasks"]}


def to_do(plan):
    return [task["name"] for task in plan["tasks"] if task["state"] != "cached"]


def reproduced():
    """The tasks that `dvc repro --dry --force-downstream` would run."""
    with Repo() as repo:
        stages = repo.reproduce(dry=True, force_downstream=True)
    return {stage.addressing.replace("@", " ") for stage in stages if not stage.is_data_source}


CHANGES = {
    "one phase": (
        lambda project: project.change(phases={"r0008": phase(project, "r0008") | {"stable_kimg": 0.5}}),
        {"train r0008": "phases.r0008.stable_kimg 0.08 → 0.5", "gate": "phases.r0008.stable_kimg 0.08 → 0.5"},
    ),
    "what all phases share": (
        lambda project: project.change(training={"mirror": False, "ema_decay": 0.9}),
        {
            "train r0004": "training.ema_decay 0.99 → 0.9; training.mirror true → false",
            "evaluate r0004": "training.mirror true → false",
        },
    ),
    "a threshold": (
        lambda project: project.change(gate={"swd_max": None}),
        {"gate": "gate.swd_max 1000000.0 → null"},
    ),
    "photographs": (
        lambda project: add_photographs(25),
        {"build-dataset": "data/raw/faces "},
    ),
    "results version": (
        lambda project: Path("progan/__init__.py").write_text("RESULTS_VERSION = 99\n"),
        dict.fromkeys(["build-dataset", "score-network"], f"RESULTS_VERSION {RESULTS_VERSION} → 99"),
    ),
    "a checkpoint": (
        lambda project: Path("checkpoints/r0004/checkpoint.json").write_text("{}"),
        {"train r0004": "checkpoints/r0004 is not what the stage made"},
    ),
    "a picture, and DVC's copy of it": (
        lambda project: (shutil.rmtree("samples"), shutil.rmtree(".dvc/cache")),
        {
            "build-dataset": "DVC keeps no copy of data/multires",
            "evaluate r0004": "DVC keeps no copy of evaluation/r0004.json; samples/r0004.png is missing",
        },
    ),
}


def phase(project, key):
    return yaml.safe_load((project.root / "params.yaml").read_text())["phases"][key]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_and_everything_downstream(finished, change):
    """DVC would run the same tasks; the plan gives the reasons."""
    apply, reasons = CHANGES[change]
    apply(finished)
    plan = planned()
    assert set(to_do(plan)) == reproduced() != set()
    for name, reason in reasons.items():
        assert "; ".join(tasks(plan)[name]["why"]).startswith(reason)
    for name in to_do(plan):
        assert tasks(plan)[name]["why"] or tasks(plan)[name]["upstream"]
    first = tasks(plan)[next(iter(reasons))]
    assert first["upstream"] == []


def test_downstream_tasks_count_but_are_not_certain(finished):
    finished.change(phases={"r0004": phase(finished, "r0004") | {"stable_kimg": 0.5}})
    plan = planned()
    downstream = tasks(plan)["train r0008"]
    assert (downstream["why"], downstream["upstream"]) == ([], ["train r0004"])
    totals = plan["totals"]
    assert 0 < totals["certain_hours"]["high"] < totals["hours"]["high"]
    assert totals["hours"]["high"] == pytest.approx(
        sum(t["hours"]["high"] for t in tasks(plan).values() if t["hours"])
    )


def test_a_clone_without_data(finished, tmp_path, monkeypatch):
    """As on a pull request: dvc.lock is there, but its data is in a remote or nowhere."""
    subprocess.run(["git", "add", "."], check=True)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "all"], check=True)
    subprocess.run(["git", "clone", "-q", finished.root, tmp_path / "clone"], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    lost = planned()
    assert tasks(lost)["train r0004"]["why"] == [
        "checkpoints/r0004 is missing",
        "history/r0004.csv is missing",
        "grids/r0004 is missing",
        "receipts/train/r0004.json is missing",
    ]
    with Path(".dvc/config").open("a") as file:
        file.write("    remote = store\n['remote \"store\"']\n    url = s3://bucket/dvc\n")
    kept = planned()
    assert {task["state"] for task in kept["tasks"]} == {"remote"}
    assert (kept["totals"]["to_do"], kept["totals"]["to_pull"]) == (0, len(kept["tasks"]))
    assert tasks(kept)["train r0004"]["why"] == ["run dvc pull first"]
    output = CliRunner().invoke(cli.app, ["plan"]).stdout
    assert "9 results are in DVC's remote alone: run dvc pull first\ntime: about " in output
    tracked = yaml.safe_load(Path(f"{FACES}.dvc").read_text())
    tracked["outs"][0]["md5"] = "00" * 16 + ".dir"
    Path(f"{FACES}.dvc").write_text(yaml.safe_dump(tracked))
    changed = planned()
    assert tasks(changed)["build-dataset"]["why"][0].endswith("→ 0000000")
    assert len(to_do(changed)) == len(changed["tasks"])


def refused(*options):
    result = CliRunner().invoke(cli.app, ["plan", *options])
    assert isinstance(result.exception, InputError)
    return str(result.exception), result.stdout


def test_what_a_run_would_stop_at_is_said_before_it(finished):
    finished.change(dataset={"resolution": 16})
    shutil.rmtree(FACES)
    assert planned()["remarks"] == [
        "dataset.resolution: no phase uses 16 px; 8 would do, or a phase is missing",
        f"{FACES}: not here; run dvc pull first",
    ]
    finished.change(dataset={"path": "data/raw/face"})
    error, output = refused()
    assert error == "data/raw/face: no such folder or archive; check dataset.path"
    assert "9 of 9 tasks to do" in output
    finished.change(dataset={"source": "foldr"})
    assert refused() == ("dataset.source: foldr: no such source; did you mean folder?", "")
    assert refused("--cluster")[0].startswith("dataset.source: foldr: no such source")


def test_a_folder_without_a_dvc_project(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(finished.root / "params.yaml", tmp_path)
    plan = planned()
    assert {task["state"] for task in plan["tasks"]} == {"runs"}
    assert {tuple(task["why"]) for task in plan["tasks"]} == {("not run before",)}
    assert plan["remarks"] == ["no DVC project here: earlier runs are unknown"]
    assert tasks(plan)["train r0008"]["hours"]["likely"] > 0
    assert plan["totals"]["unknown"] == ["build-dataset", "score-network"]


def interrupted(loaded, key, images, snapshots=FolderStore(Path("snapshots"))):
    """Train a phase for real until it has shown `images` images."""
    trainer = trainer_of(loaded, key)
    hooks = Hooks(
        lambda done, total: None, lambda generator, alpha: 1.0, lambda: trainer.images_shown >= images
    )
    with pytest.raises(Interrupted):
        trainer.train(SnapshotFolder(snapshots, key, trainer.identity), hooks)


def test_an_interrupted_phase_resumes(finished):
    finished.change(phases={"r0008": phase(finished, "r0008") | {"stable_kimg": 0.4}})
    assert tasks(planned())["train r0008"]["state"] == "runs"
    interrupted(config.load(), "r0008", 96)
    task = tasks(planned())["train r0008"]
    assert (task["state"], task["resumes_at_kimg"]) == ("resumes", (80 + 96) / 1000)
    assert (task["images"], task["steps"]) == (480 - 96, (480 - 96) / 8)
    finished.change(training={"seed": 2})  # gives another r0004, and so r0008 another, unknown identity
    assert tasks(planned())["train r0008"]["state"] == "runs"
    assert tasks(planned("--snapshots", "/nowhere"))["train r0008"]["images"] == 480


def test_the_disk(finished):
    """A checkpoint, its copy and two snapshots, by the size of real ones; DVC stores the dataset twice."""
    finished.change(dataset={"seed": 2})
    here, cluster = tasks(planned()), tasks(planned("--cluster"))
    for key in ("r0004", "r0008"):
        checkpoint = sum(path.stat().st_size for path in Path(f"checkpoints/{key}").iterdir())
        assert here[f"train {key}"]["disk_gib"] * 2**30 == pytest.approx(4 * checkpoint, rel=0.3)
    assert here["build-dataset"]["disk_gib"] == 2 * cluster["build-dataset"]["disk_gib"] > 0
    assert here["gate"]["disk_gib"] is None


def warm_started(project):
    """Start r0008 from a registered checkpoint of r0004."""
    start = {"model": "faces", "version": "1", "checkpoint": "ab" * 32}
    values = yaml.safe_load((project.root / "params.yaml").read_text())
    del values["phases"]["r0004"]
    (project.root / "params.yaml").write_text(yaml.safe_dump(values | {"warm_start": {"r0004": start}}))


def test_a_warm_start_is_a_stage_before_the_first_phase(finished):
    warm_started(finished)
    plan = planned()
    assert set(to_do(plan)) == reproduced()
    assert "train r0004" not in tasks(plan)
    assert tasks(plan)["warm-start r0004"]["why"] == ["not run before"]
    assert tasks(plan)["train r0008"]["upstream"] == ["warm-start r0004"]


# ------------------------------------------------------------------------------------------------
# The cluster


@pytest.fixture
def cluster(finished):
    """A profile with its storage in folders of this machine; returns a function that changes its pods."""
    profile = yaml.safe_load(Path("infra/cluster.yaml").read_text())
    root = finished.root / "cluster"
    profile["storage"] = {name: str(root / name) for name in ("datasets", "snapshots", "results")}
    for folder in profile["storage"].values():
        Path(folder).mkdir(parents=True)
    profile["volumes"] = {}

    def write(**pods):
        for name, entry in pods.items():
            profile["pods"].setdefault(name, {}).update(entry)
        profile["pods"] = dict(sorted(profile["pods"].items(), key=lambda pod: (pod[0] != "stages", pod[0])))
        Path("infra/cluster.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
        return root

    write()
    return write


def store(root, *keys):
    """Store finished phases, their evaluations and the score network as a run on the cluster does."""
    loaded = config.load()
    storage = storage_of(loaded, load_profile(Path("infra/cluster.yaml")))
    shutil.copytree("data/multires", storage.dataset, dirs_exist_ok=True)
    for task in stages.tasks(loaded):
        if task.run == "once" and task.key in (None, *keys):
            Results(storage.results).keep(task, identity_here(loaded, task, task.paths()), Path())


def test_the_plan_for_the_cluster_goes_by_its_results(finished, cluster):
    """Not by what is finished here. Gate, register and report are part of every run."""
    root = cluster()
    always = ["gate", "register", "report"]
    plan = planned("--cluster")
    assert to_do(plan) == [task["name"] for task in plan["tasks"]]
    assert tasks(plan)["train r0004"]["why"] == ["no result on the cluster"]
    assert tasks(plan)["train r0008"]["upstream"] == ["train r0004"]
    store(root, "r0004")
    assert to_do(planned("--cluster")) == ["train r0008", "evaluate r0008", *always]
    store(root, "r0004", "r0008")
    assert to_do(planned("--cluster")) == always
    finished.change(phases={"r0008": phase(finished, "r0008") | {"stable_kimg": 0.4}})
    changed = planned("--cluster")
    assert to_do(changed) == ["train r0008", "evaluate r0008", *always]
    assert tasks(changed)["train r0008"]["why"] == ["phases.r0008.stable_kimg 0.08 → 0.4"]
    interrupted(config.load(), "r0008", 96)
    shutil.copytree("snapshots", root / "snapshots", dirs_exist_ok=True)
    assert tasks(planned("--cluster"))["train r0008"]["resumes_at_kimg"] == 0.176


def test_storage_in_s3(finished, cluster, address):
    """Results of this checkout are handed over, and snapshots are found."""
    profile = yaml.safe_load(Path("infra/cluster.yaml").read_text())
    profile["storage"] = {name: f"{address}/{name}" for name in ("datasets", "snapshots", "results")}
    Path("infra/cluster.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    plan = planned("--cluster")
    assert plan["remarks"] == []
    assert tasks(plan)["build-dataset"]["state"] == "cached"
    for name in ("score-network", "train r0004", "evaluate r0004", "train r0008", "evaluate r0008"):
        task = tasks(plan)[name]
        assert (task["state"], task["why"]) == ("cached", ["handed over from here"])
    finished.change(phases={"r0008": phase(finished, "r0008") | {"stable_kimg": 0.4}})
    interrupted(config.load(), "r0008", 96, open_store(f"{address}/snapshots"))
    assert tasks(planned("--cluster"))["train r0008"]["resumes_at_kimg"] == 0.176
    assert tasks(planned("--snapshots", f"{address}/snapshots"))["train r0008"]["state"] == "resumes"


def test_a_phase_that_started_from_another_checkpoint_is_not_finished(finished, cluster):
    root = cluster()
    store(root, "r0004", "r0008")
    loaded = config.load()
    task = stages.task(loaded, "train", "r0004")
    made_up.training(loaded, "r0004", root / "another machine", seed=5)
    identity = identity_here(loaded, task, task.paths())
    Results(str(root / "results")).keep(task, identity, root / "another machine")
    plan = planned("--cluster")
    assert tasks(plan)["train r0004"]["state"] == "cached"
    assert tasks(plan)["train r0008"]["state"] == "runs"


def test_the_price(cluster):
    cluster(r0004={"gpus": 2, "gpu_hour_price": 3.0, "spot": False}, r0008={"gpus": 4})
    plan = planned("--cluster")
    for name, gpus in {"train r0004": 2, "train r0008": 4, "evaluate r0008": 1}.items():
        task = tasks(plan)[name]
        for bound in ("low", "likely", "high"):
            assert task["price"][bound] == pytest.approx(task["hours"][bound] * gpus * 3.0)
    assert tasks(plan)["gate"]["price"] is None
    total = sum(task["price"]["high"] for task in plan["tasks"] if task["price"])
    assert plan["totals"]["price"]["high"] == pytest.approx(total)
    assert plan["totals"]["currency"] == "USD"
    output = CliRunner().invoke(cli.app, ["plan", "--cluster"]).stdout
    assert f"at most {total:.2f} USD, for GPU hours at the profile's prices" in output


def test_a_narrow_terminal_hides_columns_and_cuts_no_cells(cluster, monkeypatch):
    monkeypatch.setattr("pipelines.planning.tasks.training_bytes", lambda *_: 30 * 2**30)  # takes seconds
    Path("large.yaml").write_text(presets.to_yaml("celebahq-1024"))

    def table(columns):
        terminal = {"FORCE_COLOR": "1", "COLUMNS": columns}
        result = CliRunner().invoke(cli.app, ["plan", "--cluster", "--params", "large.yaml"], env=terminal)
        return click.unstyle(result.stdout).partition("build-dataset:")[0]

    names = ["task", "what happens", "images", "steps", "time", "GPU GiB", "disk", "price"]
    for columns, left_out in (("120", []), ("70", ["steps", "disk", "images"])):
        text = table(columns)
        assert "…" not in text
        head = re.split(r"  +", text.strip().splitlines()[0].strip())
        assert head == [name for name in names if name not in left_out]


def test_a_stop_of_a_spot_pod_costs_what_no_snapshot_holds(cluster):
    """Ten seconds of training, or the whole of another task; low and likely times have no stops."""
    cluster(r0004={"spot": False, "retries": 3})
    reserved = tasks(planned("--cluster"))
    cluster(r0004={"spot": True})
    spot = tasks(planned("--cluster"))
    before = reserved["evaluate r0008"]["hours"] | {"high": 4 * reserved["evaluate r0008"]["hours"]["high"]}
    assert spot["evaluate r0008"]["hours"] == pytest.approx(before)
    before = reserved["train r0008"]["hours"]
    assert spot["train r0008"]["hours"] == pytest.approx(before | {"high": before["high"] + 3 * 10 / 3600})
    assert spot["gate"]["hours"] == reserved["gate"]["hours"]


def test_a_gpu_with_too_little_memory(cluster):
    cluster(r0004={"gpu_memory_gib": 0.5})
    output = CliRunner().invoke(cli.app, ["plan", "--cluster"]).stdout
    assert "! 1 of 0.5" in output
    assert "more memory than the card has (!): train r0004, train r0008" in output


def test_storage_that_cannot_be_read_from_here(finished):
    plan = planned("--cluster")
    assert [remark.split(":")[0] for remark in plan["remarks"]] == ["dataset", "snapshots", "results"]
    assert all("cannot be read from here" in remark for remark in plan["remarks"])
    assert len(to_do(plan)) == len(plan["tasks"])


# ------------------------------------------------------------------------------------------------
# Output


@pytest.mark.parametrize("options", [(), ("--cluster",)])
def test_the_table_fits_a_hundred_columns(cluster, options, tmp_path, finished):
    cluster()
    finished.change(training={"mirror": False, "seed": 7, "ema_decay": 0.5, "adam_betas": [0.5, 0.9]})
    finished.change(dataset={"label_attributes": ["bold", "red"]})
    lines = CliRunner().invoke(cli.app, ["plan", *options]).stdout.splitlines()
    assert max(map(len, lines)) <= 100
    for text in (
        *("train r0008", "runs in full", "at most"),
        *("training.adam_betas [0.0, 0.99] → [0.5, 0.9]", "dataset.label_attributes [] → [bold, red]"),
    ):
        assert any(text in line for line in lines)


def test_markdown_for_a_pull_request(finished):
    assert reproduced() == set()
    up_to_date = CliRunner().invoke(cli.app, ["plan", "--md"]).stdout
    assert up_to_date.startswith("**Nothing to do for dvc repro, here on CPU: all 9 tasks are cached.**")
    finished.change(gate={"swd_max": 5.0})
    lines = CliRunner().invoke(cli.app, ["plan", "--md"]).stdout.splitlines()
    assert lines[0] == "**3 of 9 tasks to do for dvc repro, here on CPU**"
    head, rule, *rows = (line for line in lines if line.startswith("|"))
    assert {line.count("|") for line in (head, rule, *rows)} == {head.count("|")}
    assert len(rows) == 9
    assert "- **gate**: gate.swd_max 1000000.0 → 5.0" in lines
    assert "- **register, report**: upstream changed" in lines
