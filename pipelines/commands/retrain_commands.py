"""`progan retrain` and `progan start-from-champion`: start a run if one is needed; warm-start the next."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import common_options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan


def retrain(
    host: common_options.Host,
    max_cost: common_options.MaxCost = None,
    max_hours: common_options.MaxHours = None,
    as_json: common_options.Json = False,
    experiment: common_options.Experiment = None,
    namespace: common_options.Namespace = None,
    token_file: common_options.TokenFile = TOKEN_OF_POD,
    ui: common_options.Ui = None,
    params: common_options.Params = common_options.PARAMS,
    profile: common_options.ProfileFile = common_options.PROFILE,
    image: common_options.Image = None,
    dataset: common_options.Dataset = common_options.DATASET,
) -> None:
    """Start a run on the cluster if there is anything to do, once for each state of parameters and data.

    Prints the run's address, or that of an earlier run of the same state that did not fail.

    Example: progan retrain --host https://kubeflow.example.org/pipeline --max-cost 500
    """
    from pipelines.budget import over_budget
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import is_up_to_date
    from pipelines.profile import load_profile
    from pipelines.retraining import run_key, start_once

    contents, loaded = common_options.read_params(params)
    cluster = load_profile(profile, image)
    plan, key = plan_cluster(loaded, contents, dataset, cluster), run_key(loaded, dataset)
    if is_up_to_date(contents):
        _print_decision("nothing-to-do", key, plan, as_json)
        return
    if refusal := over_budget(plan, max_cost, max_hours):
        _print_decision("over-budget", key, plan, as_json)
        raise refusal
    kubeflow = Kubeflow(host, token_file, namespace or cluster.namespace, ui)
    run, is_new = start_once(kubeflow, experiment or loaded.register.model, key, loaded, cluster, dataset)
    _print_decision("submitted" if is_new else "found", key, plan, as_json, kubeflow.page(run))


def start_from_champion(
    phase: Annotated[str, typer.Argument(help="Last phase that is not trained again, such as r0064.")],
    params: common_options.Params = common_options.PARAMS,
) -> None:
    """Change params.yaml so that training starts from the champion's checkpoint of a phase.

    Example: progan start-from-champion r0064
    """
    from pipelines.planning.warm_start import start_from_champion, write
    from progan import config

    changed = start_from_champion(*common_options.read_params(params), phase)
    config.parse(changed, f"{params} from {phase}")
    write(changed, params)
    print(f"{params}: starts from the champion's {phase}; progan plan shows what is left to do")


def _print_decision(decision: str, key: str, plan: "Plan", as_json: bool, url: str | None = None) -> None:
    """Print what was decided: as JSON, or as a plan, an address or a line."""
    from pipelines.planning import show

    if as_json:
        common_options.print_json({"decision": decision, "key": key, "url": url, "plan": show.as_json(plan)})
    elif decision == "nothing-to-do":
        print("nothing to do: dvc.lock has the results of these parameters and data")
    elif url is None:
        show.print_plan(plan)
    else:
        if decision == "found":
            print(f"a run of this state ({key}) was started before:", file=sys.stderr)
        print(url)
