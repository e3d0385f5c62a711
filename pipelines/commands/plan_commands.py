"""`progan plan`: what a run would do, before anything is spent."""

from typing import Annotated

import typer

from pipelines.commands import options


def plan(
    cluster: Annotated[
        bool, typer.Option("--cluster", help="On the cluster of the profile, not on this machine.")
    ] = False,
    as_json: options.Json = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print Markdown, for a pull request.")] = False,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    dataset: options.Dataset = options.DATASET,
    snapshots: options.Snapshots = options.SNAPSHOTS,
    max_cost: options.MaxCost = None,
    max_hours: options.MaxHours = None,
) -> None:
    """Say what a run would do and why, and what it takes: time, memory, disk and price.

    A budget is compared with what it takes at most.

    Example: progan plan --cluster --md
    """
    from pipelines.budget import over_budget
    from pipelines.planning import show
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import plan_here
    from pipelines.profile import load_profile
    from progan import config

    contents = config.read_yaml(params, "run in the project's root, or give --params")
    loaded = config.parse(contents, str(params))
    if cluster:
        made = plan_cluster(loaded, contents, dataset, load_profile(profile))
    else:
        made = plan_here(loaded, contents, dataset, snapshots)
    if as_json:
        options.print_json(show.as_json(made))
    elif as_markdown:
        print(show.as_markdown(made))
    else:
        show.print_plan(made)
    if refusal := over_budget(made, max_cost, max_hours):
        raise refusal
