"""`progan doctor`: find what a cluster lacks before a run costs anything."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.commands import common_options
from progan.errors import InputError

app = typer.Typer(
    name="doctor",
    cls=common_options.Group,
    help="Find what is missing before a run costs anything.",
    no_args_is_help=True,
)


@app.callback()
def _main() -> None:
    pass


@app.command()
def cluster(
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Default: ~/.kube/config, or a pod's own account.")
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig; default: its current one.")
    ] = None,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
    as_json: common_options.Json = False,
) -> None:
    """Compare a cluster with the profile: GPUs, quotas, secrets, accounts, MLflow and storage.

    Nothing is created: pods are sent to the API server as a dry run.

    Example: progan doctor cluster --context gke_my-project_europe-west4_gpu
    """
    from pipelines.cluster_checks import cluster_checks
    from pipelines.profile import load_profile
    from progan import config

    checks = cluster_checks(load_profile(profile), list(config.load(params).phases), kubeconfig, context)
    if as_json:
        common_options.print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            print(f"{'✓' if check.passed else '✗'} {check.text}")
    if failed := sum(not check.passed for check in checks):
        raise InputError(f"{failed} of {len(checks)} checks failed, see above")
