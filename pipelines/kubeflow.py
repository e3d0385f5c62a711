"""A client of Kubeflow Pipelines: start a run, find it, and wait until it ends."""

import contextlib
import io
import json
import os
import time
import urllib.request
import warnings
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from progan.errors import InputError, Interrupted, Unavailable

TOKEN_OF_POD = Path("/var/run/secrets/kubeflow/pipelines/token")
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
ENDED_BADLY = ("FAILED", "CANCELED", "CANCELING", "SKIPPED")
POLL_SECONDS, MAX_UNANSWERED = 10.0, 30


class Refused(InputError):
    """The service did not do what it was asked."""


class Kubeflow:
    """The service at `host`. Runs and experiments are given as ids.

    namespace: that of runs and experiments, if the service has several users. ui: the address of its pages;
    None if they are at `host`, which is then ml-pipeline-ui. The API server alone has none.
    """

    def __init__(self, host: str, token_file: Path, namespace: str, ui: str | None) -> None:
        from kfp import Client
        from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

        if not host.startswith(("http://", "https://")):
            raise InputError(f"--host {host}: must begin with http:// or https://")
        self.host = host.rstrip("/")
        with _clear_errors(self.host), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            token = _token(token_file)
            health = json.loads(_read(f"{self.host}/apis/v2beta1/healthz", token))
            self.namespace = namespace if health.get("multi_user") else None
            self.ui = ui or self.host
            if not ui and not _has_pages(self.host, token):
                raise InputError(
                    f"{host}: an API server without pages; give ml-pipeline-ui as --host or --ui"
                )
            self.client = Client(
                host=self.host,
                namespace=self.namespace or "kubeflow",
                credentials=ServiceAccountTokenVolumeCredentials(str(token_file)) if token else None,
                ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
            )

    def experiment(self, name: str) -> str:
        """The experiment with this name, created if there is none."""
        import kfp_server_api

        with _clear_errors(self.host), contextlib.redirect_stdout(io.StringIO()):
            try:
                return self.client.create_experiment(name, namespace=self.namespace).experiment_id
            except kfp_server_api.ApiException as error:
                if error.status != HTTPStatus.CONFLICT:  # another caller has just created it
                    raise
                return self.client.get_experiment(
                    experiment_name=name, namespace=self.namespace
                ).experiment_id

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

    def runs(self, experiment: str, name: str) -> dict[str, str]:
        """The states of the runs with this name. A run is listed when its workflow exists, after seconds."""
        same_name = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        filters = json.dumps({"predicates": [same_name]})
        with _clear_errors(self.host):
            answer = self.client.list_runs(page_size=100, experiment_id=experiment, filter=filters)
        return {run.run_id: str(run.state) for run in answer.runs or []}

    def claim(self, name: str) -> str | None:
        """Claim `name`; None if somebody did before. Of all callers, however slow, only one ever gets it.

        The claim is an experiment without runs, for the names of experiments are unique in Kubeflow's
        database. It is archived, so that people do not see it, and the name stays taken.
        """
        import kfp_server_api

        api = self.client._experiment_api
        claim = kfp_server_api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        with _clear_errors(self.host):
            try:
                claim = api.experiment_service_create_experiment(experiment=claim)
            except kfp_server_api.ApiException as error:
                if error.status != HTTPStatus.CONFLICT:
                    raise
                return None
            with contextlib.suppress(kfp_server_api.ApiException):
                self.client.archive_experiment(claim.experiment_id)
        return str(claim.experiment_id)

    def release(self, claim: str) -> None:
        """Give up a claim for which no run was started."""
        with _clear_errors(self.host):
            self.client.delete_experiment(claim)

    def page(self, run: str) -> str:
        """The address of the run's page."""
        return f"{self.ui.rstrip('/')}/#/runs/details/{run}"

    def state(self, run: str) -> str:
        """The run's state, as the service reports it."""
        with _clear_errors(self.host):
            return str(self.client.get_run(run).state)

    def wait(self, run: str) -> str:
        """Wait until the run has ended, through outages of some minutes; return its last state.

        Raises Interrupted if waiting ends earlier, as when the token has expired: the run goes on.
        """
        import kfp_server_api
        import urllib3

        unanswered, state = 0, None
        try:
            while state not in ENDED:
                time.sleep(POLL_SECONDS)
                try:
                    previous, state = state, self.client.get_run(run).state
                except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError) as error:
                    unanswered += 1
                    if unanswered > MAX_UNANSWERED:
                        why = f"{self.host} does not say how it is ({_reason(error)})"
                        raise Interrupted(f"{run}: {why}, but the run goes on: {self.page(run)}") from error
                else:
                    unanswered = 0
                    if state != previous:
                        print(state, flush=True)
        except KeyboardInterrupt:
            raise Interrupted(f"{run}: stopped waiting, but the run goes on: {self.page(run)}") from None
        return str(state)


def _token(file: Path) -> str | None:
    """The token in the file; None if it is the file that only a pod has, and is missing."""
    if file.exists():
        return file.read_text().strip()
    if file != TOKEN_OF_POD:
        raise InputError(f"{file}: no such file; write a token to it, or leave out --token-file")
    return None


def _read(url: str, token: str | None) -> bytes:
    """The answer of the first requests, which show a wrong host or token at once."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read()


def _has_pages(host: str, token: str | None) -> bool:
    try:
        _read(f"{host}/", token)
    except OSError as error:  # of a login page, for example
        return getattr(error, "code", None) != HTTPStatus.NOT_FOUND
    return True


@contextlib.contextmanager
def _clear_errors(host: str) -> Iterator[None]:
    """Turn the errors of a host that does not answer, or refuses, into errors of one line."""
    import kfp_server_api
    import urllib3

    try:
        yield
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = _reason(error)
        status = getattr(error, "status", None) or getattr(error, "code", None)  # kfp's name, and urllib's
        if isinstance(error, ValueError) or (status and status < 500):
            kind = Refused if status else InputError
            raise kind(f"{host}: {reason}; check --host, --token-file and --namespace") from error
        raise Unavailable(f"{host}: {reason}; check --host, or try again later") from error


def _reason(error: Exception) -> str:
    """What the service says, in one line."""
    body = getattr(error, "body", None)
    return " ".join((f"{getattr(error, 'status', '')}: {body}" if body else str(error)).split())[:300]
