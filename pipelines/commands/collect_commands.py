"""`progan collect`: bring the results of a run into this checkout.

CI calls `progan collect RUN --push --md comment.md` (or `--json`). It exits with 0 if the run was collected,
whatever its verdict, which is printed; with 75 if the run has not ended; with 2, and one line that says why,
if it cannot be collected here. Running it again after any interruption goes on.
"""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import common_options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow


def collect(
    run: Annotated[
        str, typer.Argument(help="Kubeflow's id of the run, under which its results are stored, too.")
    ],
    host: Annotated[
        str | None,
        typer.Option(
            envvar="KF_PIPELINES_ENDPOINT", help="Address of Kubeflow Pipelines, to ask how the run ended."
        ),
    ] = None,
    namespace: common_options.Namespace = None,
    token_file: common_options.TokenFile = TOKEN_OF_POD,
    ui: common_options.Ui = None,
    results: Annotated[
        str | None, typer.Option(help="Where results are stored; default: the profile's storage.results.")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Push the results to DVC's remote, too.")] = False,
    as_json: common_options.Json = False,
    md: Annotated[Path | None, typer.Option(help="Markdown file to write the verdict and links to.")] = None,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
) -> None:
    """Bring the results of a run here, into DVC's cache and dvc.lock, so that nothing is left to do.

    Refuses a run with other parameters or another dataset than this checkout's. If the checkout has no
    dataset, the run's is fetched from the profile's storage.

    Example: progan collect 6f3c7a1e-… --host https://kubeflow.example.org/pipeline --push
    """
    from pipelines import collecting
    from pipelines.compiling import storage_of
    from pipelines.profile import load_profile
    from progan import config

    loaded, cluster = config.load(params), load_profile(profile)
    uri = results or cluster.storage.results
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        kubeflow = host and Kubeflow(host, token_file, namespace or cluster.namespace, ui or host)
        state, url = (kubeflow.state(run), kubeflow.page(run)) if kubeflow else (None, None)
        storage = storage_of(loaded, cluster)
        collected = collecting.collect(run, uri, state, loaded, storage, common_options.DATASET, push)
        collected = replace(collected, url=url)
    if md:
        md.write_text(collecting.as_markdown(collected, loaded, cluster))
    common_options.print_json(asdict(collected)) if as_json else print(collecting.as_text(collected))
