"""Bring home what runs made: the results as a pull request, the verdict and the report as a comment on it."""

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from ci.describe import checked_out, metrics, output
from ci.forge import Forge, Status
from progan.errors import InputError

NOT_ENDED = 75  # `progan collect` of a run that goes on
COMMITS = 100  # so many, back from the newest, are asked for their runs
REPORTS = Path("reports")  # what the job keeps


def collect(forge: Forge, run: str) -> None:
    """Collect the runs that commits wait for and that have ended; only one, if `run` is not empty."""
    commits_by_url = defaultdict(list)  # the newest commit first
    for commit in output("git", "rev-list", f"--max-count={COMMITS}", "HEAD").split():
        status = forge.status(commit)
        if status and status.state == "pending" and run in ("", _id(status.url)):
            commits_by_url[status.url].append(commit)
    if run and not commits_by_url:
        raise InputError(f"{run}: none of the last {COMMITS} commits waits for it")
    for url, commits in commits_by_url.items():
        _collect(forge, url, commits)


def _collect(forge: Forge, url: str, commits: list[str]) -> None:
    with checked_out(commits[0]) as folder:
        done = subprocess.run(["progan", "collect", _id(url)], cwd=folder)
        if done.returncode == NOT_ENDED:
            print(f"{url} has not ended")
            return
        if done.returncode:
            raise InputError(f"progan collect {_id(url)}: exit code {done.returncode}")
        verdict = _verdict(folder)
        _hand_on(forge, url, commits[0], folder, verdict)
    status = Status("success" if verdict and verdict["passed"] else "failure", url)
    for commit in commits:
        forge.set_status(commit, status, _headline(verdict))
    print(f"{url}: {_headline(verdict)}")


def _hand_on(forge: Forge, url: str, commit: str, folder: Path, verdict: dict[str, Any] | None) -> None:
    """Push what `folder` got, propose what changed in it, and keep its report."""
    output("dvc", "push", cwd=folder)
    report = folder / "report/report.html"
    if report.exists():
        REPORTS.mkdir(exist_ok=True)
        shutil.copy(report, REPORTS / f"{_id(url)}.html")
    changed = output("git", "ls-files", "--modified", "--others", "--exclude-standard", cwd=folder)
    if changed:
        files = {path: (folder / path).read_text() for path in changed.splitlines()}
        title = f"Take the results of run {_id(url)}"
        text = f"[The run]({url}) trained {commit}. Once this is merged, `dvc pull` fetches what it made."
        number = forge.propose(f"results/{_id(url)}", commit, files, title, text)
        forge.comment(number, "verdict", _comment(forge, folder, verdict))


def _comment(forge: Forge, folder: Path, verdict: dict[str, Any] | None) -> str:
    reasons = verdict["reasons"] if verdict else []
    lines = [f"- {'✓' if reason['passed'] else '✗'} {reason['text']}" for reason in reasons]
    report = f"The report is kept by [the job that collected it]({forge.job})."
    return "\n\n".join([f"**{_headline(verdict)}**", "\n".join(lines), metrics(folder), report])


def _headline(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "The run ended before its gate"
    return f"{verdict['phase']}: the gate {'passed' if verdict['passed'] else 'failed'}"


def _verdict(folder: Path) -> dict[str, Any] | None:
    from progan.files import read_json

    file = folder / "verdict.json"
    return read_json(file) if file.exists() else None


def _id(url: str) -> str:
    """Of the run that an address of Kubeflow's page leads to."""
    return url.rstrip("/").rpartition("/")[2]
