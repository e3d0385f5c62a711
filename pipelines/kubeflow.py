"""A client of Kubeflow Pipelines: start a run, find one, and wait until it ends."""

import contextlib
import io
import json
import os
import time
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from progan.errors import InputError, Interrupted, Unavailable

TOKEN_OF_POD = Path("/var/run/secrets/kubeflow/pipelines/token")
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
ENDED_BADLY = ("FAILED", "CANCELED", "CANCELING", "SKIPPED")
POLL_SECONDS, MAX_UNANSWERED = 10.0, 30
SETTLE_SECONDS = 2.5  # more than the resolution of `created_at`, which is one second


def address(ui: str, run: str) -> str:
    """The address of a run's page."""
    return f"{ui.rstrip('/')}/#/runs/details/{run}"


class Kubeflow:
    """The service at `host`. Runs and experiments are given as ids.

    namespace: that of runs and experiments, if the service has several users.
    """

    def __init__(self, host: str, token_file: Path, namespace: str) -> None:
        from kfp import Client
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        self.host = host.rstrip("/")
        with _clear_errors(self.host), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            token = _token(token_file)
            self.namespace = namespace if _health(self.host, token).get("multi_user") else None
            self.client = Client(
                host=self.host,
                namespace=self.namespace or "kubeflow",
                credentials=ServiceAccountTokenVolumeCredentials(str(token_file)) if token else None,
                ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
            )

    def experiment(self, name: str) -> str:
        """The experiment with this name, created if there is none."""
        with _clear_errors(self.host), contextlib.redirect_stdout(io.StringIO()):
            return self.client.create_experiment(name, namespace=self.namespace).experiment_id

    def start(self, text: str, experiment: str, name: str, service_account: str) -> str:
        """Start a run of the compiled pipeline `text`; return the run."""
        with (
            _clear_errors(self.host),
            TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            file = Path(folder) / "pipeline.yaml"
            file.write_text(text)
            run = self.client.run_pipeline(experiment, name, str(file), service_account=service_account)
        return run.run_id

    def first_run(self, experiment: str, name: str) -> str | None:
        """The earliest run with this name that is under way or succeeded; None if there is none."""
        same_name = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        filters = json.dumps({"predicates": [same_name]})
        with _clear_errors(self.host):
            answer = self.client.list_runs(page_size=100, experiment_id=experiment, filter=filters)
        runs = [run for run in answer.runs or [] if run.state not in ENDED_BADLY]
        return min(runs, key=lambda run: (run.created_at, run.run_id)).run_id if runs else None

    def settle(self, experiment: str, name: str, started: str) -> str:
        """Keep one of the runs that several callers start with this name at the same time; return it.

        Callers may each find no run and start one. Each therefore looks again after SETTLE_SECONDS, when all
        see the same runs, and terminates the run that it started unless that is the first.
        """
        time.sleep(SETTLE_SECONDS)
        first = self.first_run(experiment, name) or started
        if first != started:
            with _clear_errors(self.host):
                self.client.terminate_run(started)
        return first

    def state(self, run: str) -> str:
        """The run's state, as the service reports it."""
        with _clear_errors(self.host):
            return str(self.client.get_run(run).state)

    def wait(self, run: str, url: str) -> str:
        """Wait until the run has ended, through outages of some minutes; return its last state."""
        try:
            with _clear_errors(self.host):
                return self._last_state(run)
        except KeyboardInterrupt:
            raise Interrupted(f"{run}: stopped waiting, but the run goes on: {url}") from None

    def _last_state(self, run: str) -> str:
        import kfp_server_api
        import urllib3

        unanswered, state = 0, None
        while state not in ENDED:
            time.sleep(POLL_SECONDS)
            try:
                previous, state = state, self.client.get_run(run).state
            except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError):
                unanswered += 1
                if unanswered > MAX_UNANSWERED:
                    raise
            else:
                unanswered = 0
                if state != previous:
                    print(state, flush=True)
        return str(state)


def _token(file: Path) -> str | None:
    """The token in the file; None if it is the file that only a pod has, and is missing."""
    if file.exists():
        return file.read_text().strip()
    if file != TOKEN_OF_POD:
        raise InputError(f"{file}: no such file; write a token to it, or leave out --token-file")
    return None


def _health(host: str, token: str | None) -> dict[str, Any]:
    """The service's own status; as the first request, it shows a wrong host or token at once."""
    if not host.startswith(("http://", "https://")):
        raise InputError(f"--host {host}: must begin with http:// or https://")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{host}/apis/v2beta1/healthz", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@contextlib.contextmanager
def _clear_errors(host: str) -> Iterator[None]:
    """Turn the errors of a host that does not answer, or refuses, into errors of one line."""
    import kfp_server_api
    import urllib3

    try:
        yield
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if isinstance(error, kfp_server_api.ApiException) and error.body:
            reason = f"{error.status}: {error.body}"
        else:
            reason = str(error)
        reason = " ".join(reason.split())[:300]
        status = getattr(error, "status", None) or getattr(error, "code", None)  # kfp's name, and urllib's
        if isinstance(error, ValueError) or (status and status < 500):
            raise InputError(f"{host}: {reason}; check --host, --token-file and --namespace") from error
        raise Unavailable(f"{host}: {reason}; check --host, or try again later") from error
