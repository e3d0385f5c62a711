"""Collect runs: their results become a pull request, the verdict and the metrics a comment on it."""

import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ci.forge import Forge, Status
from ci.pull_request import metrics
from ci.worktrees import changed_files, checked_out, output, progan
from progan.errors import InputError, Interrupted
from progan.files import parse_json
from progan.validation import from_json

COMMITS = 100  # the newest ones, whose statuses are read
REPORTS = Path("reports")  # an artifact of the job


@dataclass(frozen=True)
class Verdict:
    """What the gate said of the last phase of a run."""

    phase: str
    passed: bool


@dataclass(frozen=True)
class Collected:
    """What `progan collect --json` says, as the commit of the run has it, that concerns its status."""

    state: str
    verdict: Verdict | None

    @classmethod
    def parse(cls, printed: str | bytes) -> "Collected":
        try:
            values = parse_json(printed)
            verdict = values["verdict"]
            if verdict is not None:
                verdict = {"phase": verdict["phase"], "passed": verdict["passed"]}
            return from_json(cls, {"state": values["state"], "verdict": verdict})
        except (ValueError, LookupError, TypeError):
            raise InputError("progan collect: printed no result; run it by hand with --debug") from None

    def status(self, url: str) -> tuple[Status, str]:
        """The status of the run's commit, and its description."""
        if self.verdict is None:
            description = f"{self.state} without a verdict; progan submit goes on from what there is"
            return Status("failure", url), description
        passed = self.verdict.passed
        description = f"{self.verdict.phase}: the gate {'passed' if passed else 'failed'}"
        return Status("success" if passed else "failure", url), description


def bring_home(forge: Forge, run: str) -> None:
    """Collect the runs that have ended and that commits wait for; or only `run`, if it is not empty.

    Raises InputError, after all the others, if a run cannot be collected; only by hand is it tried again.
    """
    commits_by_url = defaultdict(list)  # the newest commit first
    for commit in output("git", "rev-list", f"--max-count={COMMITS}", "HEAD").split():
        status = forge.status(commit)
        if status and (_id(status.url) == run if run else status.state == "pending"):
            commits_by_url[status.url].append(commit)
    if run and not commits_by_url:
        raise InputError(f"{run}: none of the last {COMMITS} commits has a status that names it")
    errors = []
    for url, commits in commits_by_url.items():
        try:
            status, description = _collect(forge, url, commits[0])
        except Interrupted as error:
            print(error)
            continue
        except InputError as error:
            errors.append(str(error))
            status, description = Status("failure", url), str(error)
        for commit in commits:
            forge.set_status(commit, status, description)
        print(f"{url}: {description}")
    if errors:
        raise InputError("; ".join(errors))


def _collect(forge: Forge, url: str, commit: str) -> tuple[Status, str]:
    """Collect a run; return the commit's status and its description. Raises Interrupted if it goes on."""
    run = _id(url)
    with checked_out(commit) as folder:
        comment = folder.with_suffix(".md")
        collected = Collected.parse(
            progan("collect", run, "--push", "--json", "--md", str(comment), cwd=folder)
        )
        _keep_report(folder, run)
        if files := changed_files(folder):
            text = f"[The run]({url}) trained {commit}. Once this is merged, `dvc pull` fetches its results."
            number = forge.propose(f"results/{run}", commit, files, f"Take the results of run {run}", text)
            report = f"The report is an artifact of [the job that collected it]({forge.job})."
            forge.comment(number, "verdict", "\n\n".join([comment.read_text(), metrics(folder), report]))
    return collected.status(url)


def _keep_report(folder: Path, run: str) -> None:
    report = folder / "report/report.html"
    if report.exists():
        REPORTS.mkdir(exist_ok=True)
        shutil.copy(report, REPORTS / f"{run}.html")


def _id(url: str) -> str:
    """The id of a run, by the address of its page."""
    return url.rstrip("/").rpartition("/")[2]
