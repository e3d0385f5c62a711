"""Kubeflow Pipelines: start a run, find one, and wait for its end."""

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
SETTLE_SECONDS = 2.5  # Kubeflow notes in whole seconds when a run was made


def address(ui: str, run: str) -> str:
    """Where people look at a run."""
    return f"{ui.rstrip('/')}/#/runs/details/{run}"


class Kubeflow:
    """The service at `host`. Runs and experiments are named by their ids.

    namespace: whose they are, if the service has several users.
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
        """The experiment of this name, which is made if there is none."""
        with _clear_errors(self.host), contextlib.redirect_stdout(io.StringIO()):
            return self.client.create_experiment(name, namespace=self.namespace).experiment_id

    def start(self, text: str, experiment: str, name: str, service_account: str) -> str:
        """Start the compiled pipeline `text`; its run."""
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
        """The earliest run of this name that is under way or succeeded."""
        named = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
        with _clear_errors(self.host):
            answer = self.client.list_runs(page_size=100, experiment_id=experiment, filter=json.dumps(named))
        runs = [run for run in answer.runs or [] if run.state not in ENDED_BADLY]
        return min(runs, key=lambda run: (run.created_at, run.run_id)).run_id if runs else None

    def settled(self, experiment: str, name: str, mine: str) -> str:
        """The run of this name that stays when others start one at the same time as `mine`.

        Two may both have found none and started one. So each looks again when whoever did that in the same
        second is done: all see the same runs then, and all but the first terminate their own.
        """
        time.sleep(SETTLE_SECONDS)
        first = self.first_run(experiment, name) or mine
        if first != mine:
            with _clear_errors(self.host):
                self.client.terminate_run(mine)
        return first

    def state(self, run: str) -> str:
        """What the service says of the run."""
        with _clear_errors(self.host):
            return str(self.client.get_run(run).state)

    def wait(self, run: str, url: str) -> str:
        """Ask until the run has ended, whatever goes wrong for some minutes; the state it ended in."""
        try:
            with _clear_errors(self.host):
                return self._end(run)
        except KeyboardInterrupt:
            raise Interrupted(f"{run}: goes on, it is only not waited for any more; look at {url}") from None

    def _end(self, run: str) -> str:
        import kfp_server_api
        import urllib3

        unanswered, state = 0, None
        while state not in ENDED:
            time.sleep(POLL_SECONDS)
            try:
                before, state = state, self.client.get_run(run).state
            except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError):
                unanswered += 1
                if unanswered > MAX_UNANSWERED:
                    raise
            else:
                unanswered = 0
                if state != before:
                    print(state, flush=True)
        return str(state)


def _token(file: Path) -> str | None:
    """What stands in the file; None when there is no file of a pod's own."""
    if file.exists():
        return file.read_text().strip()
    if file != TOKEN_OF_POD:
        raise InputError(f"{file}: no such file; write a token to it, or leave out --token-file")
    return None


def _health(host: str, token: str | None) -> dict[str, Any]:
    """What the service says of itself: the first question, so that a wrong host or token is told at once."""
    if not host.startswith(("http://", "https://")):
        raise InputError(f"--host {host}: an address is expected that begins with http:// or https://")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{host}/apis/v2beta1/healthz", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@contextlib.contextmanager
def _clear_errors(host: str) -> Iterator[None]:
    """One line for a host that does not answer or says no."""
    import kfp_server_api
    import urllib3

    try:
        yield
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if isinstance(error, kfp_server_api.ApiException) and error.body:
            why = f"{error.status}: {error.body}"
        else:
            why = str(error)
        why = " ".join(why.split())[:300]
        status = getattr(error, "status", None) or getattr(error, "code", None)  # kfp's name, and urllib's
        if isinstance(error, ValueError) or (status and status < 500):
            raise InputError(f"{host}: {why}; check --host, --token-file and --namespace") from error
        raise Unavailable(f"{host}: {why}; check --host, or try again later") from error
