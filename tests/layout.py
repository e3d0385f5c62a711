"""Where the stages' files lie in the current folder, as dvc.yaml says, but for a dataset elsewhere."""

from pathlib import Path

from components import stages
from components.register.finished_runs import RunFiles
from components.report.stage import ReportFiles

MULTIRES = Path("multires")


def run_files(config, dataset=MULTIRES):
    return RunFiles(**stages.task(config, "register").paths() | {"dataset": dataset})


def report_files(config, dataset=MULTIRES):
    return ReportFiles(**stages.task(config, "report").paths() | {"dataset": dataset})


def evaluated_files(config, key, dataset=MULTIRES):
    return stages.task(config, "evaluate", key).paths() | {"dataset": dataset}
