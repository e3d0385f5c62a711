"""`progan plan`: what a run would do, before anything is spent."""

from typing import Annotated

import typer

from pipelines.commands import common_options


def plan(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Plan for the profile's cluster, not for this machine.")
    ] = False,
    as_json: common_options.Json = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print Markdown, for a pull request.")] = False,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
    dataset: common_options.Dataset = common_options.DATASET,
    snapshots: common_options.Snapshots = common_options.SNAPSHOTS,
    max_cost: common_options.MaxCost = None,
    max_hours: common_options.MaxHours = None,
) -> None:
    """Show what a run would do and why, and how much time, memory, disk and money it needs.

    Limits are compared with the upper bounds. Photographs that are missing are an error, too.

    Example: progan plan --cluster --md
    """
    from pipelines.budget import over_budget
    from pipelines.planning import show
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import plan_here
    from pipelines.profile import load_profile
    from progan.errors import InputError

    contents, loaded = common_options.read_params(params)
    if cluster:
        planned = plan_cluster(loaded, contents, dataset, load_profile(profile))
    else:
        planned = plan_here(loaded, contents, dataset, snapshots)
    if as_json:
        common_options.print_json(show.as_json(planned))
    elif as_markdown:
        print(show.as_markdown(planned))
    else:
        show.print_plan(planned)
    if planned.obstacle:
        raise InputError(planned.obstacle)
    if refusal := over_budget(planned, max_cost, max_hours):
        raise refusal
