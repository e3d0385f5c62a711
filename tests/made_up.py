"""What tasks make, made up in no time: for tests of whoever keeps, finds or shows it."""

from dataclasses import replace
from pathlib import Path

from components import stages
from components.register.registration import Registration
from progan.files import write_json
from tests.checkpoints import write_made_checkpoint
from tests.evaluations import evaluation, verdict
from tests.histories import history

REPORT = ("report.html", "training.csv", "swd.csv", "metrics/r0008.json")


def file(path, content=b"made up"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def training(config, key, root=Path(), seed=0, init=None):
    """A checkpoint of random networks, a history and a picture. init: the folder that it began with."""
    paths, phase = stages.task(config, "train", key).paths(root), config.phase(key)
    before = None if phase.is_first else init or paths["init"]
    write_made_checkpoint(paths["checkpoint"], config.network, phase.resolution, seed=seed, init=before)
    history(160, 10.0).write(paths["history"])
    file(paths["grids"] / "00000.080.png", f"picture of {key}".encode())
    return paths["checkpoint"]


def score_network(config, root=Path(), why="made up"):
    write_json(root / "score_network/score_network.json", {"kind": "none", "why": why})


def evaluated(config, key, checkpoint, root=Path()):
    """checkpoint: its digest."""
    paths = stages.task(config, "evaluate", key).paths(root)
    replace(evaluation(key), checkpoint=checkpoint).write(paths["evaluation"])
    for name in ("samples", "nearest"):
        file(paths[name], f"{name} of {key}".encode())


def judgement(config, key, checkpoint, passed=True, root=Path()):
    """Verdict and registration."""
    candidate = replace(evaluation(key), checkpoint=checkpoint)
    verdict(candidate, passed, "ms_ssim is").write(root / "verdict.json")
    version = "3" if passed else None
    Registration(config.register.model, version, "mlflow-run").write(root / "registration.json")


def report(root=Path()):
    for name in REPORT:
        file(root / "report" / name, name.encode())
