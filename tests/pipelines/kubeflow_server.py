"""A stand-in for the API of Kubeflow Pipelines: real HTTP on loopback, and it runs nothing."""

import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads

from tests.pipelines.http_server import serving

API = "/apis/v2beta1"


@dataclass
class Kubeflow:
    """ml-pipeline-ui, with experiments and runs, which are RUNNING until `states` says otherwise.

    token: the only one that is let in; None for any. has_pages: False for an API server alone. states: the
    answers to each question for a run, the last one for ever. starting: is called before a run is listed.
    """

    token: str | None = None
    multi_user: bool = True
    has_pages: bool = True
    experiments: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    states: dict[str, list[str]] = field(default_factory=dict)
    starting: Callable[[], None] = lambda: None

    def __post_init__(self):
        self.lock = threading.Lock()

    def get(self, key, default):
        """The answer to (method, path), as `serving` asks for it."""
        method, path = key
        routes = {
            "GET /": lambda request: {} if self.has_pages else (404, {}),
            "GET /healthz": lambda request: {"multi_user": self.multi_user},
            "GET /experiments": self.list_experiments,
            "POST /experiments": self.create_experiment,
            "GET /runs": self.list_runs,
            "POST /experiments/(.+):archive": lambda request, experiment: {},
            "DELETE /experiments/(.+)": self.delete_experiment,
            "POST /runs": self.create_run,
            "GET /runs/(.+)": self.get_run,
        }
        for route, answer in routes.items():
            if match := re.fullmatch(route, f"{method} {path.removeprefix(API)}"):
                return lambda request: self.authorized(request, answer, match.groups())
        return default

    def authorized(self, request, answer, groups):
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        return answer(request, *groups)

    def list_experiments(self, request):
        name = named(request)
        return {"experiments": [each for each in self.experiments if each["display_name"] == name]}

    def create_experiment(self, request):
        """Names are unique, as by the index of Kubeflow's database."""
        name = request.body["display_name"]
        with self.lock:
            if any(each["display_name"] == name for each in self.experiments):
                return 409, {"message": f"The name {name} already exists. Please specify a new name"}
            self.experiments.append({"experiment_id": f"e{len(self.experiments) + 1}", **request.body})
            return self.experiments[-1]

    def delete_experiment(self, request, experiment):
        self.experiments = [each for each in self.experiments if each["experiment_id"] != experiment]
        return {}

    def create_run(self, request):
        self.starting()
        self.runs.append({"run_id": f"run-{len(self.runs) + 1}", **request.body})
        return self.runs[-1]

    def list_runs(self, request):
        wanted = request.query["experiment_id"], named(request)
        runs = [run for run in self.runs if (run["experiment_id"], run["display_name"]) == wanted]
        return {"runs": [run | {"state": self.states_of(run["run_id"])[0]} for run in runs]}

    def get_run(self, request, run):
        states = self.states_of(run)
        return {"run_id": run, "state": states.pop(0) if len(states) > 1 else states[0]}

    def states_of(self, run):
        return self.states.setdefault(run, ["RUNNING"])


def named(request):
    """The name that the filter of a list asks for."""
    (predicate,) = loads(request.query["filter"])["predicates"]
    assert predicate["operation"] in ("EQUALS", 1)
    assert predicate["key"] == "display_name"
    return predicate["stringValue"]


@contextmanager
def kubeflow_server(**settings):
    """The stand-in, with `server` for its address and the requests that it got."""
    kubeflow = Kubeflow(**settings)
    with serving(kubeflow) as kubeflow.server:
        yield kubeflow
