"""`progan watch`: see a phase while it trains."""

import webbrowser
from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.commands import common_options


def watch(
    run: Annotated[
        str | None, typer.Argument(help="Kubeflow's id of a run on a cluster; without it, what trains here.")
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the newest page in a browser; it renews itself.")
    ] = False,
    as_json: common_options.Json = False,
    snapshots: common_options.Snapshots = common_options.SNAPSHOTS,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
) -> None:
    """Show where training stands: progress, losses, problems, and the page with pictures and curves.

    Example: progan watch --open
    """
    from pipelines import watching

    names = None
    if run is not None:
        from pipelines.compiling import storage_of
        from pipelines.profile import load_profile
        from progan import config

        storage = storage_of(config.load(params), load_profile(profile))
        snapshots = storage.snapshots
        names = watching.folders_of_run(run, storage.results, storage.dataset)
    records = watching.records(snapshots, names)
    if as_json:
        common_options.print_json([asdict(record.live) | {"page": record.page} for record in records])
    else:
        print(*map(watching.as_text, records), sep="\n")
    if open_page:
        webbrowser.open(watching.page_here(records[0]).as_uri())
