"""`progan submit`: compile, lint, and start a run on a cluster."""

import contextlib
import io
import json
import os
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import options
from progan.errors import InputError, Interrupted, Unavailable

if TYPE_CHECKING:
    from pipelines.profile import Profile
    from progan.config import Config

ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
POLL_SECONDS, MAX_UNANSWERED = 10.0, 30


def submit(
    host: options.Host,
    experiment: options.Experiment = None,
    namespace: options.Namespace = None,
    token_file: options.TokenFile = options.TOKEN_OF_POD,
    ui: options.Ui = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit 1 if it failed.")] = False,
    as_json: options.Json = False,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    image: options.Image = None,
    dataset: options.Dataset = options.DATASET,
) -> None:
    """Start a run on a cluster and print its address.

    What was trained and measured, there or here, is not done again: what this checkout has finished is handed
    over where the profile keeps results in S3.

    Example: progan submit --host https://kubeflow.example.org/pipeline --token-file token --wait
    """
    from pipelines.compile import compiled
    from pipelines.lint import refuse

    loaded, cluster, digest = options.read_all(params, profile, image, dataset)
    text = compiled(loaded, cluster, digest)
    refuse(text, loaded, cluster)
    name = experiment or loaded.register.model
    with clear_errors(host):
        client, user_namespace = connect(host, token_file, namespace or cluster.namespace)
    handed = hand_over_and_tell(loaded, cluster, dataset)
    with clear_errors(host), contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        found = find_or_make_experiment(client, name, user_namespace)
        run = start(client, text, found, f"{name} {time.strftime('%Y-%m-%d %H:%M:%S')}", cluster)
        url = address(ui or host, run)
        print(url, flush=True)
        state = _wait(client, run, url) if wait else None
    if as_json:
        options.print_json({"run": run, "url": url, "handed_over": handed, "state": state})
    if wait and state != "SUCCEEDED":
        raise typer.Exit(1)


def hand_over_and_tell(config: "Config", profile: "Profile", dataset: Path) -> list[str]:
    """Bring to the cluster what this checkout has finished and it has not; what that was."""
    from pipelines.compile import storage_of
    from pipelines.hand_over import hand_over

    handed = hand_over(config, storage_of(config, profile), dataset)
    if handed:
        typer.echo(f"handed over: {', '.join(handed)}", err=True)
    return handed


def address(ui: str, run: str) -> str:
    """Where people look at a run."""
    return f"{ui.rstrip('/')}/#/runs/details/{run}"


def connect(host: str, token_file: Path, namespace: str) -> tuple[Any, str | None]:
    """A client, and the namespace that runs belong to where a Kubeflow has several users."""
    from kfp import Client
    from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials

    host, token = host.rstrip("/"), _token(token_file)
    multi_user = _health(host, token).get("multi_user", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = Client(
            host=host,
            namespace=namespace if multi_user else "kubeflow",
            credentials=ServiceAccountTokenVolumeCredentials(str(token_file)) if token else None,
            ssl_ca_cert=os.environ.get("SSL_CERT_FILE"),
        )
    return client, namespace if multi_user else None


def _token(file: Path) -> str | None:
    """What stands in the file; None when there is no file of a pod's own."""
    if file.exists():
        return file.read_text().strip()
    if file != options.TOKEN_OF_POD:
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


def find_or_make_experiment(client: Any, name: str, namespace: str | None) -> str:
    """The id of the experiment of this name."""
    with contextlib.redirect_stdout(io.StringIO()):
        return client.create_experiment(name, namespace=namespace).experiment_id


def start(client: Any, text: str, experiment: str, name: str, profile: "Profile") -> str:
    """Start the compiled pipeline in the experiment with this id; the id of its run."""
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "pipeline.yaml"
        file.write_text(text)
        run = client.run_pipeline(experiment, name, str(file), service_account=profile.service_account)
    return run.run_id


def _wait(client: Any, run: str, url: str) -> str:
    """Ask until the run has ended, whatever goes wrong for some minutes; the state it ended in."""
    try:
        return _end(client, run)
    except KeyboardInterrupt:
        raise Interrupted(f"{run}: goes on, it is only not waited for any more; look at {url}") from None


def _end(client: Any, run: str) -> str:
    import kfp_server_api
    import urllib3

    unanswered, state = 0, None
    while state not in ENDED:
        time.sleep(POLL_SECONDS)
        try:
            before, state = state, client.get_run(run).state
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError):
            unanswered += 1
            if unanswered > MAX_UNANSWERED:
                raise
        else:
            unanswered = 0
            if state != before:
                print(state, flush=True)
    return str(state)


@contextlib.contextmanager
def clear_errors(host: str) -> Iterator[None]:
    """One line for a host that does not answer or says no."""
    import kfp_server_api
    import urllib3

    host = host.rstrip("/")
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
