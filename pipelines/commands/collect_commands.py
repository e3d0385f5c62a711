"""`progan collect`: bring home what a run made.

How CI calls it: `progan collect RUN --push --md comment.md` (or `--json`). It exits with 0 when the run was
collected, whatever its verdict, which the output tells; 75 when the run has not ended; 2 when it cannot be
collected here, with one line that says why. Run again after any interruption, it goes on.
"""

import contextlib
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands import options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow, address


def collect(
    run: Annotated[str, typer.Argument(help="Kubeflow's id of the run, by which its results are kept too.")],
    host: Annotated[
        str | None,
        typer.Option(
            envvar="KF_PIPELINES_ENDPOINT", help="Of Kubeflow Pipelines, which is asked how the run ended."
        ),
    ] = None,
    namespace: options.Namespace = None,
    token_file: options.TokenFile = TOKEN_OF_POD,
    ui: options.Ui = None,
    results: Annotated[
        str | None, typer.Option(help="Where results are kept; the profile's storage.results if not given.")
    ] = None,
    push: Annotated[bool, typer.Option("--push", help="Send it to DVC's remote, too.")] = False,
    as_json: options.Json = False,
    md: Annotated[
        Path | None, typer.Option(help="Write verdict and links to this file, as Markdown.")
    ] = None,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
) -> None:
    """Bring what a run made here and into DVC's cache, so that dvc.lock says it and nothing is left to do.

    Refuses a run of other parameters or of another dataset than this checkout's; where it has none, the run's
    comes from the profile's storage.

    Example: progan collect 6f3c7a1e-… --host https://kubeflow.example.org/pipeline --push
    """
    from pipelines import collecting
    from pipelines.compiling import storage_of
    from pipelines.profile import load_profile
    from progan import config

    loaded, cluster = config.load(params), load_profile(profile)
    uri = results or cluster.storage.results
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        ended = host and Kubeflow(host, token_file, namespace or cluster.namespace).state(run)
        storage = storage_of(loaded, cluster)
        found = collecting.collect(run, uri, ended, loaded, storage, options.DATASET, push)
        found = replace(found, url=address(ui or host, run) if host else None)
    if md:
        md.write_text(collecting.as_markdown(found, loaded, cluster))
    options.print_json(asdict(found)) if as_json else print(collecting.as_text(found))
