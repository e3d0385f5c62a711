"""`progan doctor`: say what is missing before it costs anything."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.commands import options
from progan.errors import InputError

app = typer.Typer(name="doctor", help="Say what is missing before it costs anything.", no_args_is_help=True)


@app.callback()
def _main() -> None:
    pass


@app.command()
def cluster(
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Else ~/.kube/config, or a pod's own account.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Of the kubeconfig; else its current one.")] = None,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    as_json: options.Json = False,
) -> None:
    """Compare a cluster with the profile: GPUs, quotas, secrets, accounts, MLflow and storage.

    Nothing is made: each pod is given to the API server as a trial run.

    Example: progan doctor cluster --context gke_my-project_europe-west4_gpu
    """
    from pipelines.cluster_checks import cluster_checks
    from pipelines.profile import load_profile
    from progan import config

    checks = cluster_checks(load_profile(profile), list(config.load(params).phases), kubeconfig, context)
    if as_json:
        options.print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            print(f"{'✓' if check.passed else '✗'} {check.text}")
    if wrong := sum(not check.passed for check in checks):
        raise InputError(f"{wrong} of {len(checks)} checks failed, see above")
