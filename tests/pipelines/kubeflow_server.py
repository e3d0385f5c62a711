"""A stand-in for the API of Kubeflow Pipelines: real HTTP on loopback, and it runs nothing."""

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads

from tests.pipelines.http_server import serving

API = "/apis/v2beta1"


@dataclass
class Kubeflow:
    """Experiments and runs, which are RUNNING until `states` says otherwise.

    token: the only one that is let in; None for any. states: the answers to each question for a run, the last
    one for ever.
    """

    token: str | None = None
    multi_user: bool = True
    experiments: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    states: dict[str, list[str]] = field(default_factory=dict)

    def get(self, key, default):
        """The answer to (method, path), as `serving` asks for it."""
        method, path = key
        routes = {
            "GET /healthz": lambda request: {"multi_user": self.multi_user},
            "GET /experiments": self.list_experiments,
            "POST /experiments": self.create_experiment,
            "GET /runs": self.list_runs,
            "POST /runs": self.create_run,
            "GET /runs/(.+)": self.get_run,
            "POST /runs/(.+):terminate": self.terminate,
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
        self.experiments.append({"experiment_id": f"e{len(self.experiments) + 1}", **request.body})
        return self.experiments[-1]

    def create_run(self, request):
        number = len(self.runs) + 1
        run = {"run_id": f"run-{number}", "created_at": f"2026-01-01T00:00:{number:02d}Z", **request.body}
        self.runs.append(run)
        return run

    def list_runs(self, request):
        wanted = request.query["experiment_id"], named(request)
        runs = [run for run in self.runs if (run["experiment_id"], run["display_name"]) == wanted]
        return {"runs": [run | {"state": self.states_of(run["run_id"])[0]} for run in runs]}

    def get_run(self, request, run):
        states = self.states_of(run)
        return {"run_id": run, "state": states.pop(0) if len(states) > 1 else states[0]}

    def states_of(self, run):
        return self.states.setdefault(run, ["RUNNING"])

    def terminate(self, request, run):
        self.states[run] = ["CANCELED"]
        return {}


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
