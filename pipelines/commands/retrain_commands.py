"""`progan retrain`: start a run on the cluster, if there is something to do, in the budget, and only once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands import options
from pipelines.kubeflow import TOKEN_OF_POD
from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan
    from progan.config import Config


def retrain(
    host: Annotated[
        str | None, typer.Option(envvar="KF_PIPELINES_ENDPOINT", help="Of Kubeflow Pipelines.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Refuse what may cost more.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="Refuse what may take longer.")] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="PHASE", help="Go on from the champion's checkpoint of this phase."),
    ] = None,
    write_params: Annotated[
        bool, typer.Option("--write-params", help="With --from: change params.yaml, and start nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide, and start nothing.")] = False,
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
    A budget is compared with what the run takes at most.

    Example: progan retrain --host https://kubeflow.example.org/pipeline --max-cost 500 --dry-run
    """
    from pipelines import kubeflow
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import is_up_to_date
    from pipelines.profile import load_profile
    from pipelines.retraining import over_budget, run_key, started_once

    values, loaded = _parameters(params, start_from)
    if write_params:
        _write(values, params, start_from)
        return
    cluster = load_profile(profile, image)
    plan, key = plan_cluster(loaded, values, dataset, cluster), run_key(loaded, dataset)
    if not start_from and is_up_to_date(values):
        _answer("nothing-to-do", key, plan, as_json)
        return
    if over := list(over_budget(plan, max_cost, max_hours)):
        _answer("over-budget", key, plan, as_json)
        raise InputError(f"nothing is started: {'; '.join(over)}; raise the limit, or train less")
    if dry_run:
        _answer("would-submit", key, plan, as_json)
        return
    if host is None:
        raise InputError("--host: not given; it, or KF_PIPELINES_ENDPOINT, says where to start the run")
    with kubeflow.clear_errors(host):
        client, user_namespace = kubeflow.connect(host, token_file, namespace or cluster.namespace)
        home = kubeflow.find_or_make_experiment(client, experiment or loaded.register.model, user_namespace)
    run, is_new = started_once(host, client, home, key, loaded, cluster, dataset)
    _answer("submitted" if is_new else "found", key, plan, as_json, kubeflow.address(ui or host, run))


def _parameters(params: Path, start_from: str | None) -> "tuple[Any, Config]":
    """The contents of the parameter file, as they are or made to start from the champion, and checked."""
    from pipelines.planning.warm_start import start_from_champion
    from progan import config

    values = config.read_yaml(params, "run in the project's root, or give --params")
    loaded = config.parse(values, str(params))
    if start_from is None:
        return values, loaded
    values = start_from_champion(values, loaded, start_from)
    return values, config.parse(values, f"{params} from {start_from}")


def _write(values: Any, params: Path, start_from: str | None) -> None:
    from pipelines.planning.warm_start import write

    if start_from is None:
        raise InputError("--write-params: goes with --from, which says what to write")
    write(values, params)
    print(f"{params}: starts from the champion's {start_from}; progan plan says what that takes")


def _answer(decision: str, key: str, plan: "Plan", as_json: bool, url: str | None = None) -> None:
    """Print what was decided: to a machine as JSON, to people as a plan, an address or a line."""
    from pipelines.planning import show

    if as_json:
        answer = {"decision": decision, "key": key, "url": url, "plan": show.as_json(plan)}
        options.print_json(answer)
    elif decision == "nothing-to-do":
        print("nothing to do: dvc.lock has the results of these parameters and data")
    elif url:
        if decision == "found":
            print(f"a run for this state ({key}) was started before:", file=sys.stderr)
        print(url)
    else:
        show.print_plan(plan)
