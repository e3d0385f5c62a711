"""Bring home what runs made: the results as a pull request, the verdict and the report as a comment on it."""

import json
import shutil
from collections import defaultdict
from pathlib import Path

from ci.forge import Forge, Status
from ci.pull_request import metrics
from ci.worktrees import changed_files, checked_out, output, progan
from progan.errors import InputError, Interrupted

COMMITS = 100  # so many, back from the newest, are asked for their runs
REPORTS = Path("reports")  # what the job keeps


def bring_home(forge: Forge, run: str) -> None:
    """Collect the runs that commits wait for and that have ended; or only `run`, if it is not empty.

    Raises InputError after all others when one cannot be collected; it is tried again by hand only.
    """
    commits_by_url = defaultdict(list)  # the newest commit first
    for commit in output("git", "rev-list", f"--max-count={COMMITS}", "HEAD").split():
        status = forge.status(commit)
        if status and (_id(status.url) == run if run else status.state == "pending"):
            commits_by_url[status.url].append(commit)
    if run and not commits_by_url:
        raise InputError(f"{run}: the status of none of the last {COMMITS} commits names it")
    refused = []
    for url, commits in commits_by_url.items():
        try:
            outcome = _collected(forge, url, commits[0])
        except Interrupted as error:
            print(error)
            continue
        except InputError as error:
            refused.append(str(error))
            outcome = Status("failure", url), str(error)
        for commit in commits:
            forge.set_status(commit, *outcome)
        print(f"{url}: {outcome[1]}")
    if refused:
        raise InputError("; ".join(refused))


def _collected(forge: Forge, url: str, commit: str) -> tuple[Status, str]:
    """Bring a run's results home; how it ended, and that in a line. Raises Interrupted if it goes on."""
    run = _id(url)
    with checked_out(commit) as folder:
        comment = folder.with_suffix(".md")
        found = json.loads(progan("collect", run, "--push", "--json", "--md", str(comment), cwd=folder))
        _keep_report(folder, run)
        if files := changed_files(folder):
            text = f"[The run]({url}) trained {commit}. Once this is merged, `dvc pull` fetches what it made."
            number = forge.propose(f"results/{run}", commit, files, f"Take the results of run {run}", text)
            kept = f"The report is kept by [the job that collected it]({forge.job})."
            forge.comment(number, "verdict", "\n\n".join([comment.read_text(), metrics(folder), kept]))
    verdict = found["verdict"]
    if verdict is None:
        return Status("failure", url), f"The run ended without a verdict: {found['state']}"
    passed = verdict["passed"]
    line = f"{verdict['phase']}: the gate {'passed' if passed else 'failed'}"
    return Status("success" if passed else "failure", url), line


def _keep_report(folder: Path, run: str) -> None:
    report = folder / "report/report.html"
    if report.exists():
        REPORTS.mkdir(exist_ok=True)
        shutil.copy(report, REPORTS / f"{run}.html")


def _id(url: str) -> str:
    """Of the run that an address of Kubeflow's page leads to."""
    return url.rstrip("/").rpartition("/")[2]
