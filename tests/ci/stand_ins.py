"""What answers in the place of GitHub and GitLab: their REST APIs' few calls, in their own JSON, in memory.

They refuse what the real ones refuse, so that a second run of a job is as much of a test as the first.
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass

from tests.pipelines.http_server import serving

TOKEN = "token-of-the-job"
CONTEXT = "progan/training"


@dataclass
class PullRequest:
    number: int
    branch: str
    base: str
    title: str
    text: str
    open: bool = True


class StandIn:
    """What a forge remembers."""

    def __init__(self):
        self.comments = {}  # of each pull request: [id, author, text]
        self.statuses = {}  # of each commit: its newest of ours, as the forge tells it
        self.pulls = []
        self.branches = {}  # {"parent": commit, "files": {path: text, or None where it was deleted}}
        self.known_files = set()  # in every commit

    def texts(self, number):
        return [text for _, _, text in self.comments.get(number, [])]

    def get(self, key, default):
        """As the table of http_server.serving: the first route that fits."""
        method, path = key
        for pattern, answer in self.routes.items():
            if fits := re.fullmatch(pattern, f"{method} {path}"):
                return lambda request: self.answer(request, answer, fits.groups())
        return default

    def answer(self, request, answer, groups):
        if not self.let_in(request.headers):
            return 401, {"message": "401 Unauthorized"}
        return answer(request, *groups)

    def open_pulls(self, branch):
        return [pull for pull in self.pulls if pull.open and pull.branch == branch]

    def say(self, number, text, author):
        comments = self.comments.setdefault(number, [])
        comments.append([sum(map(len, self.comments.values())) + 1, author, text])
        return comments[-1]

    def edit(self, comment, text):
        found = next(said for comments in self.comments.values() for said in comments if said[0] == comment)
        found[2] = text
        return found


def page(request, entries):
    size, number = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    return entries[(number - 1) * size : number * size]


class GitHub(StandIn):
    REPOSITORY = "example/progan"
    ME, SOMEBODY = ("github-actions[bot]", "Bot"), ("somebody", "User")

    def __init__(self):
        super().__init__()
        self.trees, self.commits = {}, {}
        repository = f"/repos/{self.REPOSITORY}"
        self.routes = {
            rf"GET {repository}/pulls": self.list_pulls,
            rf"POST {repository}/pulls": self.make_pull,
            rf"PATCH {repository}/pulls/(\d+)": self.change_pull,
            rf"GET {repository}/issues/(\d+)/comments": self.list_comments,
            rf"POST {repository}/issues/(\d+)/comments": self.make_comment,
            rf"PATCH {repository}/issues/comments/(\d+)": self.change_comment,
            rf"GET {repository}/commits/(\w+)/status": self.combined_status,
            rf"POST {repository}/statuses/(\w+)": self.make_status,
            rf"GET {repository}/git/commits/(\w+)": lambda request, sha: {"tree": {"sha": f"tree-of-{sha}"}},
            rf"POST {repository}/git/trees": self.make_tree,
            rf"POST {repository}/git/commits": self.make_commit,
            rf"GET {repository}/git/ref/heads/(.+)": self.get_ref,
            rf"POST {repository}/git/refs": self.make_ref,
            rf"PATCH {repository}/git/refs/heads/(.+)": self.change_ref,
            r"GET /token": self.identity,
        }

    def let_in(self, headers):
        return headers.get("authorization") == f"Bearer {TOKEN}"

    def environment(self, url):
        """What GitHub gives every job; the token where the workflow asks for it."""
        return {
            "GITHUB_API_URL": url,
            "GITHUB_SERVER_URL": "https://github.example.org",
            "GITHUB_REPOSITORY": self.REPOSITORY,
            "GITHUB_REF_NAME": "main",
            "GITHUB_RUN_ID": "77",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": TOKEN,
        }

    def identity(self, request):
        assert request.query["api-version"] == "2.0"
        return {"value": f"identity for {request.query['audience']}"}

    def pull(self, pull):
        return {"number": pull.number, "head": {"sha": self.branches[pull.branch]["commit"]}}

    def list_pulls(self, request):
        assert request.query["state"] == "open"
        owner, branch = request.query["head"].split(":")
        return [self.pull(pull) for pull in self.open_pulls(branch)] if owner == "example" else []

    def make_pull(self, request):
        given = request.body
        if self.open_pulls(given["head"]):
            return 422, {"message": "A pull request already exists"}
        number = len(self.pulls) + 1
        self.pulls.append(PullRequest(number, given["head"], given["base"], given["title"], given["body"]))
        return 201, self.pull(self.pulls[-1])

    def change_pull(self, request, number):
        pull = self.pulls[int(number) - 1]
        pull.title, pull.text = request.body["title"], request.body["body"]
        return self.pull(pull)

    @staticmethod
    def comment(said):
        number, (login, kind), text = said
        return {"id": number, "user": {"login": login, "type": kind}, "body": text}

    def list_comments(self, request, number):
        return [self.comment(said) for said in page(request, self.comments.get(int(number), []))]

    def make_comment(self, request, number):
        if len(request.body["body"]) > 65536:
            return 422, {"message": "body is too long"}
        return 201, self.comment(self.say(int(number), request.body["body"], self.ME))

    def change_comment(self, request, comment):
        return self.comment(self.edit(int(comment), request.body["body"]))

    def combined_status(self, request, commit):
        others = [{"context": "ci/other", "state": "failure", "target_url": "https://example.org"}]
        return {"statuses": others + ([self.statuses[commit]] if commit in self.statuses else [])}

    def make_status(self, request, commit):
        given = request.body
        if given["state"] not in ("error", "failure", "pending", "success"):
            return 422, {"message": "State is not included in the list"}
        if len(given["description"]) > 140:
            return 422, {"message": "description is too long"}
        self.statuses[commit] = given
        return 201, given

    def make_tree(self, request):
        assert request.body["base_tree"].startswith("tree-of-")
        name = f"tree-{len(self.trees)}"
        for entry in request.body["tree"]:
            if ("content" in entry) == ("sha" in entry):
                return 422, {"message": "Must supply either tree.sha or tree.content"}
        self.trees[name] = {entry["path"]: entry.get("content") for entry in request.body["tree"]}
        return 201, {"sha": name}

    def make_commit(self, request):
        [parent] = request.body["parents"]
        name = f"commit{len(self.commits)}"
        self.commits[name] = {"commit": name, "parent": parent, "files": self.trees[request.body["tree"]]}
        return 201, {"sha": name}

    def get_ref(self, request, branch):
        return {"object": {"sha": "…"}} if branch in self.branches else (404, {"message": "Not Found"})

    def make_ref(self, request):
        branch = request.body["ref"].removeprefix("refs/heads/")
        if branch in self.branches:
            return 422, {"message": "Reference already exists"}
        self.branches[branch] = self.commits[request.body["sha"]]
        return 201, {}

    def change_ref(self, request, branch):
        if not request.body.get("force"):
            return 422, {"message": "Update is not a fast forward"}
        self.branches[branch] = self.commits[request.body["sha"]]
        return {}


class GitLab(StandIn):
    ME, SOMEBODY = 7, 8

    def __init__(self):
        super().__init__()
        self.routes = {
            r"GET /user": lambda request: {"id": self.ME},
            r"GET /projects/42/merge_requests": self.list_merges,
            r"POST /projects/42/merge_requests": self.make_merge,
            r"PUT /projects/42/merge_requests/(\d+)": self.change_merge,
            r"GET /projects/42/merge_requests/(\d+)/notes": self.list_notes,
            r"POST /projects/42/merge_requests/(\d+)/notes": self.make_note,
            r"PUT /projects/42/merge_requests/\d+/notes/(\d+)": self.change_note,
            r"GET /projects/42/repository/commits/(\w+)/statuses": self.list_statuses,
            r"POST /projects/42/statuses/(\w+)": self.make_status,
            r"GET /projects/42/repository/files/(.+)": self.get_file,
            r"POST /projects/42/repository/commits": self.make_commit,
        }

    def let_in(self, headers):
        return headers.get("private-token") == TOKEN

    def environment(self, url):
        return {
            "CI_API_V4_URL": url,
            "CI_PROJECT_ID": "42",
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_URL": "https://gitlab.example.org/example/progan/-/jobs/77",
            "ID_TOKEN_KUBERNETES": "identity for kubernetes",
            "ID_TOKEN_STS": "identity for sts.amazonaws.com",
        }

    def list_merges(self, request):
        assert request.query["state"] == "opened"
        return [{"iid": pull.number} for pull in self.open_pulls(request.query["source_branch"])]

    def make_merge(self, request):
        given = request.body
        if self.open_pulls(given["source_branch"]):
            return 409, {"message": ["Another open merge request already exists for this source branch"]}
        names = ("source_branch", "target_branch", "title", "description")
        self.pulls.append(PullRequest(len(self.pulls) + 1, *(given[name] for name in names)))
        return 201, {"iid": len(self.pulls)}

    def change_merge(self, request, number):
        pull = self.pulls[int(number) - 1]
        pull.title, pull.text = request.body["title"], request.body["description"]
        return {"iid": pull.number}

    @staticmethod
    def note(said):
        return {"id": said[0], "author": {"id": said[1]}, "body": said[2]}

    def list_notes(self, request, number):
        return [self.note(said) for said in page(request, self.comments.get(int(number), []))]

    def make_note(self, request, number):
        return 201, self.note(self.say(int(number), request.body["body"], self.ME))

    def change_note(self, request, note):
        return self.note(self.edit(int(note), request.body["body"]))

    def list_statuses(self, request, commit):
        assert request.query["name"] == CONTEXT
        return [self.statuses[commit]] if commit in self.statuses else []

    def make_status(self, request, commit):
        given = request.body
        if given["state"] not in ("pending", "running", "success", "failed", "canceled"):
            return 400, {"message": "state does not have a valid value"}
        if self.statuses.get(commit, {}).get("status") == given["state"]:
            return 400, {"message": f"Cannot transition status from :{given['state']}"}
        self.statuses[commit] = {"status": given["state"], **given}
        return 201, self.statuses[commit]

    def get_file(self, request, path):
        found = path in self.known_files
        return {"file_path": path} if found else (404, {"message": "404 File Not Found"})

    def make_commit(self, request):
        given = request.body
        for action in given["actions"]:
            if (action["action"] != "create") != (action["file_path"] in self.known_files):
                return 400, {"message": "A file with this name already exists, or doesn't"}
        if given["branch"] in self.branches and not given.get("force"):
            return 400, {"message": "A branch called results already exists"}
        files = {action["file_path"]: action.get("content") for action in given["actions"]}
        self.branches[given["branch"]] = {"parent": given["start_sha"], "files": files}
        return 201, {}


FORGES = {"github": GitHub, "gitlab": GitLab}


@contextmanager
def standing_in(name):
    """The forge `name`, and the environment of its jobs."""
    forge = FORGES[name]()
    with serving(forge) as server:
        forge.server = server
        yield forge, forge.environment(server.url)


@contextmanager
def kubernetes():
    """The API server: it gives tokens of the accounts of infra/ci.yaml to whom a forge vouches for."""

    def token(request):
        if request.headers["authorization"] != "Bearer identity for kubernetes":
            return 401, {"message": "Unauthorized"}
        return 201, {"status": {"token": f"token for {request.body['spec']['audiences'][0]}"}}

    accounts = "/api/v1/namespaces/progan/serviceaccounts"
    names = ("progan-submit", "progan-collect")
    with serving({("POST", f"{accounts}/{name}/token"): token for name in names}) as server:
        yield server
