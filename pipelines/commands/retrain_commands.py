"""`progan retrain` and `progan start-from-champion`: a new run, only if it is needed; one that goes on."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import options
from pipelines.kubeflow import TOKEN_OF_POD, Kubeflow, address

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan


def retrain(
    host: options.Host,
    max_cost: options.MaxCost = None,
    max_hours: options.MaxHours = None,
    as_json: options.Json = False,
    experiment: options.Experiment = None,
    namespace: options.Namespace = None,
    token_file: options.TokenFile = TOKEN_OF_POD,
    ui: options.Ui = None,
    params: options.Params = options.PARAMS,
    profile: options.ProfileFile = options.PROFILE,
    image: options.Image = None,
    dataset: options.Dataset = options.DATASET,
) -> None:
    """Start a run on the cluster if anything is to be done, once for each state of parameters and data.

    Prints the run's address, or that of an earlier one for the same state which did not fail.

    Example: progan retrain --host https://kubeflow.example.org/pipeline --max-cost 500
    """
    from pipelines.budget import over_budget
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import is_up_to_date
    from pipelines.profile import load_profile
    from pipelines.retraining import run_key, started_once
    from progan import config

    values = config.read_yaml(params, "run in the project's root, or give --params")
    loaded, cluster = config.parse(values, str(params)), load_profile(profile, image)
    plan, key = plan_cluster(loaded, values, dataset, cluster), run_key(loaded, dataset)
    if is_up_to_date(values):
        _answer("nothing-to-do", key, plan, as_json)
        return
    if refusal := over_budget(plan, max_cost, max_hours):
        _answer("over-budget", key, plan, as_json)
        raise refusal
    kubeflow = Kubeflow(host, token_file, namespace or cluster.namespace)
    home = kubeflow.experiment(experiment or loaded.register.model)
    run, is_new = started_once(kubeflow, home, key, loaded, cluster, dataset)
    _answer("submitted" if is_new else "found", key, plan, as_json, address(ui or host, run))


def start_from_champion(
    phase: Annotated[str, typer.Argument(help="The last one that need not be trained, such as r0064.")],
    params: options.Params = options.PARAMS,
) -> None:
    """Change params.yaml so that training goes on from the champion's checkpoint of a phase.

    Example: progan start-from-champion r0064
    """
    from pipelines.planning.warm_start import start_from_champion, write
    from progan import config

    values = config.read_yaml(params, "run in the project's root, or give --params")
    changed = start_from_champion(values, config.parse(values, str(params)), phase)
    config.parse(changed, f"{params} from {phase}")
    write(changed, params)
    print(f"{params}: starts from the champion's {phase}; progan plan says what that takes")


def _answer(decision: str, key: str, plan: "Plan", as_json: bool, url: str | None = None) -> None:
    """Print what was decided: to a machine as JSON, to people as a plan, an address or a line."""
    from pipelines.planning import show

    if as_json:
        options.print_json({"decision": decision, "key": key, "url": url, "plan": show.as_json(plan)})
    elif decision == "nothing-to-do":
        print("nothing to do: dvc.lock has the results of these parameters and data")
    elif url is None:
        show.print_plan(plan)
    else:
        if decision == "found":
            print(f"a run for this state ({key}) was started before:", file=sys.stderr)
        print(url)
