"""`progan retrain`: start a run on the cluster, if there is something to do, in the budget, and only once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import options
from progan.errors import InputError

if TYPE_CHECKING:
    from pipelines.planning.tasks import Plan
    from pipelines.profile import Profile
    from progan.config import Config

SETTLE_SECONDS = 2.5  # Kubeflow notes in whole seconds when a run was made
KEY_DIGITS = 16
ENDED_BADLY = ("FAILED", "CANCELED", "CANCELING", "SKIPPED")


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
    token_file: options.TokenFile = options.TOKEN_OF_POD,
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
    from pipelines import submit
    from pipelines.planning.cluster import plan_cluster
    from pipelines.planning.here import is_up_to_date
    from pipelines.profile import load_profile

    values, loaded = _parameters(params, start_from)
    if write_params:
        _write(values, params, start_from)
        return
    cluster = load_profile(profile, image)
    plan, key = plan_cluster(loaded, values, dataset, cluster), run_key(loaded, dataset)
    if not start_from and is_up_to_date(values):
        _answer("nothing-to-do", key, plan, as_json)
        return
    if over := list(_over_budget(plan, max_cost, max_hours)):
        _answer("over-budget", key, plan, as_json)
        raise InputError(f"nothing is started: {'; '.join(over)}; raise the limit, or train less")
    if dry_run:
        _answer("would-submit", key, plan, as_json)
        return
    if host is None:
        raise InputError("--host: not given; it, or KF_PIPELINES_ENDPOINT, says where to start the run")
    with submit.clear_errors(host):
        client, user_namespace = submit.connect(host, token_file, namespace or cluster.namespace)
        home = submit.find_or_make_experiment(client, experiment or loaded.register.model, user_namespace)
    run, is_new = _started_once(host, client, home, key, loaded, cluster, dataset)
    _answer("submitted" if is_new else "found", key, plan, as_json, submit.address(ui or host, run))


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


def _started_once(
    host: str, client: Any, home: str, key: str, config: "Config", profile: "Profile", dataset: Path
) -> tuple[str, bool]:
    """The run of this key in the experiment with the id `home`; whether it was started just now."""
    from pipelines import submit
    from pipelines.compile import compiled
    from pipelines.lint import refuse

    name = f"{config.register.model} {key}"
    with submit.clear_errors(host):
        before = first_run(client, home, name)
    if before is not None:
        return before, False
    text = compiled(config, profile, options.planned_dataset(config, str(dataset)))
    refuse(text, config, profile)
    submit.hand_over_and_tell(config, profile, dataset)
    with submit.clear_errors(host):
        return settled(client, home, name, submit.start(client, text, home, name, profile))


def run_key(config: "Config", dataset: Path) -> str:
    """What tells a state from others: all parameters, RESULTS_VERSION and the photographs.

    Those that nothing tells from others go by the dataset that was made of them, if it lies in the folder
    `dataset`.
    """
    from components.identity import state_of
    from pipelines import photographs
    from progan.dataset.manifest import MANIFEST_NAME
    from progan.dataset.reader import load_manifest
    from progan.files import digest_of

    data = photographs.digest(config)
    if not data and (dataset / MANIFEST_NAME).exists():
        data = load_manifest(dataset).digest
    return digest_of([state_of(config), data])[:KEY_DIGITS]


def first_run(client: Any, experiment: str, name: str) -> str | None:
    """The earliest run of this name that is under way or succeeded."""
    named = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    answer = client.list_runs(page_size=100, experiment_id=experiment, filter=json.dumps(named))
    runs = [run for run in answer.runs or [] if run.state not in ENDED_BADLY]
    return min(runs, key=lambda run: (run.created_at, run.run_id)).run_id if runs else None


def settled(client: Any, experiment: str, name: str, mine: str) -> tuple[str, bool]:
    """The run of this name that stays when others start one at the same time as `mine`; whether it is mine.

    Two may both have found none and started one. So each looks again when whoever did that in the same second
    is done: all see the same runs then, and all but the first terminate their own.
    """
    time.sleep(SETTLE_SECONDS)
    first = first_run(client, experiment, name) or mine
    if first != mine:
        client.terminate_run(mine)
    return first, first == mine


def _over_budget(plan: "Plan", max_cost: float | None, max_hours: float | None) -> Iterator[str]:
    if max_cost is not None and plan.price.high > max_cost:
        yield f"it costs up to {plan.price.high:,.2f} {plan.currency}, more than --max-cost {max_cost:g}"
    if max_hours is not None and plan.hours.high > max_hours:
        yield f"it takes up to {plan.hours.high:,.1f} h, more than --max-hours {max_hours:g}"


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
            typer.echo(f"a run for this state ({key}) was started before:", err=True)
        print(url)
    else:
        show.print_plan(plan)
