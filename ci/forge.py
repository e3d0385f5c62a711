"""GitHub and GitLab behind one interface.

Only the standard library: the job that comments on pull requests runs this on a bare Python.
"""

import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import quote, urlencode

from progan.errors import InputError
from progan.files import parse_json

State = Literal["pending", "success", "failure"]
Files = dict[str, str | None]  # texts by path; None: delete the file
CONTEXT = "progan/training"  # the name of the commit status that tells how a commit's run went
LONGEST_TEXT = 60_000  # characters; GitHub takes 65536 in a comment
LONGEST_DESCRIPTION = 140  # of a status


@dataclass(frozen=True)
class Status:
    """A commit's status `progan/training`; `url` is the address of the run."""

    state: State
    url: str


class Forge(Protocol):
    """What jobs need of a forge."""

    commit: str  # the one that this job has checked out
    job: str  # the address of the job's page

    def pull_request(self) -> int | None:
        """The number of this job's pull request; None if it is closed or has a newer commit."""

    def comment(self, number: int, about: str, text: str) -> None:
        """Write `text` as a comment on a pull request, in place of an earlier one `about` the same."""

    def set_status(self, commit: str, status: Status, description: str) -> None:
        """Set the status of a commit's run."""

    def status(self, commit: str) -> Status | None:
        """The newest status of a commit's run."""

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        """Open or update a pull request: `branch` with one commit of `files` on top of `parent`."""

    def identity(self, audience: str) -> str:
        """A token, valid for minutes, that identifies this job to `audience`."""


def current_forge() -> Forge:
    """The forge that runs this job."""
    if "GITHUB_API_URL" in os.environ:
        return GitHub()
    if "CI_API_V4_URL" in os.environ:
        return GitLab()
    raise InputError("not a job of GitHub or GitLab: neither GITHUB_API_URL nor CI_API_V4_URL is set")


class Api:
    """JSON over HTTP."""

    def __init__(self, url: str, headers: dict[str, str], trust: ssl.SSLContext | None = None):
        self.url, self.headers, self.trust = url.rstrip("/"), headers, trust

    def __call__(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer; None for 404."""
        url = f"{self.url}{path}{'?' + urlencode(query) if query else ''}"
        headers = {**self.headers, "Content-Type": "application/json", "User-Agent": "progan"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=self.trust) as answer:
                return parse_json(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            reason = " ".join(error.read(500).decode(errors="replace").split())
            raise InputError(
                f"{method} {self.url}{path}: {error.code}: {reason}; check the token and its permissions"
            ) from None
        except OSError as error:
            raise InputError(f"{method} {self.url}{path}: {error}; run the job again") from None
        except (ValueError, http.client.HTTPException) as error:
            raise InputError(
                f"{method} {self.url}{path}: answers no JSON ({error}); check the address"
            ) from None

    def list_all(self, path: str) -> Iterator[Any]:
        """The entries of all pages of a list."""
        for page in count(1):
            entries = self("GET", path, per_page=100, page=page) or []
            yield from entries
            if len(entries) < 100:
                return

    def require(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The answer; a 404 is an error too."""
        answer = self(method, path, body, **query)
        if answer is None:
            raise InputError(
                f"{method} {self.url}{path}: 404: missing, or hidden from this token; check both"
            )
        return answer


class GitHub:
    """GitHub, from within a job: https://docs.github.com/en/rest, 2022-11-28."""

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
        """Found by what GitHub reports of the first workflow's run, not by what that workflow wrote."""
        owner, branch, commit = (os.environ[f"HEAD_{name}"] for name in ("OWNER", "BRANCH", "COMMIT"))
        pulls = self.api.require("GET", "/pulls", state="open", head=f"{owner}:{branch}")
        return next((pull["number"] for pull in pulls if pull["head"]["sha"] == commit), None)

    def comment(self, number: int, about: str, text: str) -> None:
        body = {"body": _marked(about, text)}
        for comment in self.api.list_all(f"/issues/{number}/comments"):
            if comment["body"].startswith(_marker(about)) and comment["user"]["type"] == "Bot":
                self.api.require("PATCH", f"/issues/comments/{comment['id']}", body)
                return
        self.api.require("POST", f"/issues/{number}/comments", body)

    def set_status(self, commit: str, status: Status, description: str) -> None:
        body = {
            "context": CONTEXT,
            "state": status.state,
            "target_url": status.url,
            "description": description[:LONGEST_DESCRIPTION],
        }
        self.api.require("POST", f"/statuses/{commit}", body)

    def status(self, commit: str) -> Status | None:
        statuses = self.api.require("GET", f"/commits/{commit}/status", per_page=100)["statuses"]
        ours = (status for status in statuses if status["context"] == CONTEXT)
        return next((Status(status["state"], status["target_url"]) for status in ours), None)

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        tree = self.api.require("GET", f"/git/commits/{parent}")["tree"]["sha"]
        entries = [
            {"path": path, "mode": "100644", "type": "blob"}
            | ({"sha": None} if content is None else {"content": content})
            for path, content in files.items()
        ]
        tree = self.api.require("POST", "/git/trees", {"base_tree": tree, "tree": entries})["sha"]
        commit = {"message": title, "tree": tree, "parents": [parent]}
        commit = self.api.require("POST", "/git/commits", commit)["sha"]
        if self.api("GET", f"/git/ref/heads/{branch}") is None:
            self.api.require("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})
        else:
            self.api.require("PATCH", f"/git/refs/heads/{branch}", {"sha": commit, "force": True})
        owner, _ = self.repository.split("/")
        content = {"title": title, "body": text[:LONGEST_TEXT]}
        for pull in self.api.require("GET", "/pulls", state="open", head=f"{owner}:{branch}"):
            return self.api.require("PATCH", f"/pulls/{pull['number']}", content)["number"]
        base = os.environ["GITHUB_REF_NAME"]
        return self.api.require("POST", "/pulls", {**content, "head": branch, "base": base})["number"]

    def identity(self, audience: str) -> str:
        headers = {"Authorization": f"Bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
        url, _, query = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"].partition("?")
        return Api(url, headers).require("GET", f"?{query}&audience={quote(audience)}")["value"]


class GitLab:
    """GitLab, from within a job: https://docs.gitlab.com/api/rest, v4."""

    STATES: ClassVar[dict[State, str]] = {"pending": "pending", "success": "success", "failure": "failed"}

    def __init__(self) -> None:
        headers = {"PRIVATE-TOKEN": os.environ["PROGAN_FORGE_TOKEN"]}
        self.commit, self.job = os.environ["CI_COMMIT_SHA"], os.environ["CI_JOB_URL"]
        self.instance = Api(os.environ["CI_API_V4_URL"], headers)
        self.api = Api(f"{self.instance.url}/projects/{os.environ['CI_PROJECT_ID']}", headers)

    def pull_request(self) -> int | None:
        return int(os.environ["CI_MERGE_REQUEST_IID"])

    def comment(self, number: int, about: str, text: str) -> None:
        body, notes = {"body": _marked(about, text)}, f"/merge_requests/{number}/notes"
        user = self.instance.require("GET", "/user")["id"]
        for note in self.api.list_all(notes):
            if note["body"].startswith(_marker(about)) and note["author"]["id"] == user:
                self.api.require("PUT", f"{notes}/{note['id']}", body)
                return
        self.api.require("POST", notes, body)

    def set_status(self, commit: str, status: Status, description: str) -> None:
        body = {
            "name": CONTEXT,
            "state": self.STATES[status.state],
            "target_url": status.url,
            "description": description[:LONGEST_DESCRIPTION],
        }
        self.api.require("POST", f"/statuses/{commit}", body)

    def status(self, commit: str) -> Status | None:
        statuses = self.api.require("GET", f"/repository/commits/{commit}/statuses", name=CONTEXT)
        states: dict[str, State] = {theirs: ours for ours, theirs in self.STATES.items()}
        return next(  # a person's `canceled` is one more way to fail
            (Status(states.get(status["status"], "failure"), status["target_url"]) for status in statuses),
            None,
        )

    def propose(self, branch: str, parent: str, files: Files, title: str, text: str) -> int:
        def action(path: str, content: str | None) -> dict[str, str]:
            if content is None:
                return {"action": "delete", "file_path": path}
            exists = self.api("GET", f"/repository/files/{quote(path, safe='')}", ref=parent)
            return {"action": "update" if exists else "create", "file_path": path, "content": content}

        actions = [action(path, content) for path, content in files.items()]
        commit = {"branch": branch, "start_sha": parent, "force": True, "commit_message": title}
        self.api.require("POST", "/repository/commits", {**commit, "actions": actions})
        content = {"title": title, "description": text[:LONGEST_TEXT]}
        for merge in self.api.require("GET", "/merge_requests", state="opened", source_branch=branch):
            return self.api.require("PUT", f"/merge_requests/{merge['iid']}", content)["iid"]
        content |= {"source_branch": branch, "target_branch": os.environ["CI_DEFAULT_BRANCH"]}
        return self.api.require("POST", "/merge_requests", {**content, "remove_source_branch": True})["iid"]

    def identity(self, audience: str) -> str:
        """One of the `id_tokens` in .gitlab-ci.yml, which are named after their audience."""
        return os.environ[f"ID_TOKEN_{audience.split('.')[0].upper()}"]


def _marker(about: str) -> str:
    return f"<!-- progan: {about} -->"


def _marked(about: str, text: str) -> str:
    return f"{_marker(about)}\n{text[:LONGEST_TEXT]}"
