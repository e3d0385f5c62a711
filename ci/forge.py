"""GitHub and GitLab behind the same few verbs.

Only the standard library: the job that comments on pull requests runs this on a bare Python.
"""

import json
import os
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import quote, urlencode

from progan.errors import InputError

State = Literal["pending", "success", "failure"]
Files = dict[str, str | None]  # texts by path; None: to be deleted
CONTEXT = "progan/training"  # the commit status that says what became of a commit's run
LONGEST_TEXT = 60_000  # characters; GitHub takes 65536 in a comment
LONGEST_DESCRIPTION = 140  # of a status


@dataclass(frozen=True)
class Status:
    """What a commit's status `progan/training` says; `url` is the run's."""

    state: State
    url: str


class Forge(Protocol):
    """What is asked of either."""

    commit: str  # that this job has checked out
    job: str  # the address of its page

    def pull_request(self) -> int | None:
        """The number of the open pull request that this job is about, if it still is what the job saw."""

    def comment(self, number: int, about: str, text: str) -> None:
        """Say `text` on a pull request; what was said `about` the same before is replaced."""

    def set_status(self, commit: str, status: Status, description: str) -> None:
        """Say on a commit what becomes of its run."""

    def status(self, commit: str) -> Status | None:
        """What was said of the commit's run last."""

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        """Open a pull request, or renew it: on `branch`, one commit of `files` after `parent`."""

    def identity(self, audience: str) -> str:
        """A token, good for minutes, by which `audience` knows this job."""


def of_this_job() -> Forge:
    """The forge whose job this process is."""
    if "GITHUB_API_URL" in os.environ:
        return GitHub()
    if "CI_API_V4_URL" in os.environ:
        return GitLab()
    raise InputError(
        "this is a job of neither GitHub nor GitLab: GITHUB_API_URL and CI_API_V4_URL are not set"
    )


class Api:
    """JSON over HTTP."""

    def __init__(self, url: str, headers: dict[str, str], trust: ssl.SSLContext | None = None):
        self.url, self.headers, self.trust = url.rstrip("/"), headers, trust

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer; None where there is no such thing."""
        url = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        headers = {**self.headers, "Content-Type": "application/json", "User-Agent": "progan"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            said = " ".join(error.read(500).decode(errors="replace").split())
            raise InputError(
                f"{method} {self.url}{path}: {error.code}: {said}; check the token and its rights"
            ) from None
        except OSError as error:
            raise InputError(f"{method} {self.url}{path}: {error}; run the job again") from None

    def every(self, path: str) -> list[Any]:
        """The entries of all pages of a list."""
        found: list[Any] = []
        page = 1
        while entries := self("GET", path, per_page=100, page=page):
            found += entries
            if len(entries) < 100:
                break
            page += 1
        return found

    def must(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer, where nothing may be missing."""
        answer = self(method, path, body, **query)
        if answer is None:
            raise InputError(f"{method} {self.url}{path}: 404: not there, or not for this token")
        return answer


class GitHub:
    """As its jobs see it: https://docs.github.com/en/rest, 2022-11-28."""

    def __init__(self) -> None:
        headers = {
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        self.repository = os.environ["GITHUB_REPOSITORY"]
        self.commit = os.environ["GITHUB_SHA"]
        page = f"{os.environ['GITHUB_SERVER_URL']}/{self.repository}"
        self.job = f"{page}/actions/runs/{os.environ['GITHUB_RUN_ID']}"
        self.api = Api(f"{os.environ['GITHUB_API_URL']}/repos/{self.repository}", headers)

    def pull_request(self) -> int | None:
        """Found by what GitHub says that the first workflow ran on, not by what that workflow left behind."""
        owner, branch, commit = (os.environ[f"HEAD_{name}"] for name in ("OWNER", "BRANCH", "COMMIT"))
        open_ones = self.api.must("GET", "/pulls", state="open", head=f"{owner}:{branch}")
        return next((pull["number"] for pull in open_ones if pull["head"]["sha"] == commit), None)

    def comment(self, number: int, about: str, text: str) -> None:
        marked = _marked(about, text)
        for said in self.api.every(f"/issues/{number}/comments"):
            if said["body"].startswith(_marker(about)) and said["user"]["type"] == "Bot":
                self.api.must("PATCH", f"/issues/comments/{said['id']}", {"body": marked})
                return
        self.api.must("POST", f"/issues/{number}/comments", {"body": marked})

    def set_status(self, commit: str, status: Status, description: str) -> None:
        body = {
            "context": CONTEXT,
            "state": status.state,
            "target_url": status.url,
            "description": description[:LONGEST_DESCRIPTION],
        }
        self.api.must("POST", f"/statuses/{commit}", body)

    def status(self, commit: str) -> Status | None:
        said = self.api.must("GET", f"/commits/{commit}/status", per_page=100)["statuses"]
        ours = (status for status in said if status["context"] == CONTEXT)
        return next((Status(status["state"], status["target_url"]) for status in ours), None)

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        tree = self.api.must("GET", f"/git/commits/{parent}")["tree"]["sha"]
        entries = [
            {"path": path, "mode": "100644", "type": "blob"}
            | ({"sha": None} if content is None else {"content": content})
            for path, content in files.items()
        ]
        tree = self.api.must("POST", "/git/trees", {"base_tree": tree, "tree": entries})["sha"]
        commit = {"message": title, "tree": tree, "parents": [parent]}
        commit = self.api.must("POST", "/git/commits", commit)["sha"]
        if self.api("GET", f"/git/ref/heads/{branch}") is None:
            self.api.must("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        else:
            self.api.must("PATCH", f"/git/refs/heads/{branch}", {"sha": commit, "force": True})
        owner, _ = self.repository.split("/")
        told = {"title": title, "body": text[:LONGEST_TEXT]}
        for pull in self.api.must("GET", "/pulls", state="open", head=f"{owner}:{branch}"):
            return self.api.must("PATCH", f"/pulls/{pull['number']}", told)["number"]
        base = os.environ["GITHUB_REF_NAME"]
        return self.api.must("POST", "/pulls", {**told, "head": branch, "base": base})["number"]

    def identity(self, audience: str) -> str:
        headers = {"Authorization": f"Bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
        url, _, query = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"].partition("?")
        return Api(url, headers).must("GET", f"?{query}&audience={quote(audience)}")["value"]


class GitLab:
    """As its jobs see it: https://docs.gitlab.com/api/rest, v4."""

    STATES: ClassVar[dict[State, str]] = {"pending": "pending", "success": "success", "failure": "failed"}

    def __init__(self) -> None:
        headers = {"PRIVATE-TOKEN": os.environ["PROGAN_FORGE_TOKEN"]}
        self.commit, self.job = os.environ["CI_COMMIT_SHA"], os.environ["CI_JOB_URL"]
        self.whole = Api(os.environ["CI_API_V4_URL"], headers)
        self.api = Api(f"{self.whole.url}/projects/{os.environ['CI_PROJECT_ID']}", headers)

    def pull_request(self) -> int | None:
        return int(os.environ["CI_MERGE_REQUEST_IID"])

    def comment(self, number: int, about: str, text: str) -> None:
        marked, notes = _marked(about, text), f"/merge_requests/{number}/notes"
        me = self.whole.must("GET", "/user")["id"]
        for said in self.api.every(notes):
            if said["body"].startswith(_marker(about)) and said["author"]["id"] == me:
                self.api.must("PUT", f"{notes}/{said['id']}", {"body": marked})
                return
        self.api.must("POST", notes, {"body": marked})

    def set_status(self, commit: str, status: Status, description: str) -> None:
        body = {
            "name": CONTEXT,
            "state": self.STATES[status.state],
            "target_url": status.url,
            "description": description[:LONGEST_DESCRIPTION],
        }
        self.api.must("POST", f"/statuses/{commit}", body)

    def status(self, commit: str) -> Status | None:
        said = self.api.must("GET", f"/repository/commits/{commit}/statuses", name=CONTEXT)
        states = {theirs: ours for ours, theirs in self.STATES.items()}
        return next((Status(states[status["status"]], status["target_url"]) for status in said), None)

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        def action(path: str, content: str | None) -> dict[str, str]:
            if content is None:
                return {"action": "delete", "file_path": path}
            known = self.api("GET", f"/repository/files/{quote(path, safe='')}", ref=parent)
            return {"action": "update" if known else "create", "file_path": path, "content": content}

        actions = [action(path, content) for path, content in files.items()]
        commit = {"branch": branch, "start_sha": parent, "force": True, "commit_message": title}
        self.api.must("POST", "/repository/commits", {**commit, "actions": actions})
        told = {"title": title, "description": text[:LONGEST_TEXT]}
        for merge in self.api.must("GET", "/merge_requests", state="opened", source_branch=branch):
            return self.api.must("PUT", f"/merge_requests/{merge['iid']}", told)["iid"]
        ways = {"source_branch": branch, "target_branch": os.environ["CI_DEFAULT_BRANCH"]}
        return self.api.must("POST", "/merge_requests", {**told, **ways, "remove_source_branch": True})["iid"]

    def identity(self, audience: str) -> str:
        """From `id_tokens` of .gitlab-ci.yml, whose names are made of the audience."""
        return os.environ[f"ID_TOKEN_{audience.split('.')[0].upper()}"]


def _marker(about: str) -> str:
    return f"<!-- progan: {about} -->"


def _marked(about: str, text: str) -> str:
    return f"{_marker(about)}\n{text[:LONGEST_TEXT]}"
