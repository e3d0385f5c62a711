"""Changes of the champion: refused ones, interrupted ones, and two at once on a real server."""

import shutil

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from components.register import promotion
from components.register.promotion import Promotion, promote, roll_back
from components.tracking.client import client
from progan.errors import InputError
from tests.commands import at_once

PROMOTE = """
from components.register import promotion
from components.register.registry import CHAMPION
from components.tracking.client import client
from progan.errors import InputError
client().search_registered_models()
for _ in range(rounds):
    wait()
    champion = promotion._aliases(model).get(CHAMPION, "none")
    try:
        told.put(("won", promotion.promote(model, version, champion, "").id))
    except InputError as error:
        told.put(("lost", str(error)))
"""


def make_versions(model, gates):
    """Create a version of `model` for each verdict in `gates`."""
    registry = client()
    experiment = registry.create_experiment(model)
    registry.create_registered_model(model)
    for gate in gates:
        run = registry.create_run(experiment).info
        tags = {
            "gate": gate,
            "verdict": '{"passed":false,"reasons":["swd_average is 90; not at most 60"]}',
        }
        registry.create_model_version(model, f"{run.artifact_uri}/generator", run.run_id, tags)
    return model


@pytest.fixture(scope="module")
def database(tmp_path_factory, empty_registry):
    """The address of an empty registry."""
    return f"sqlite:///{shutil.copy(empty_registry, tmp_path_factory.mktemp('registry'))}"


@pytest.fixture
def model(database, request, monkeypatch):
    """Four versions, of which the third failed its gate."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    return make_versions(request.node.name, ["passed", "passed", "failed", "passed"])


def aliases(model):
    return promotion._aliases(model)


def recorded(model):
    return promotion._ledger(model).promotions


def refused(message, change, *arguments):
    before = aliases(arguments[0]), recorded(arguments[0])
    with pytest.raises(InputError, match=message) as caught:
        change(*arguments, "")
    assert "\n" not in str(caught.value)
    assert (aliases(arguments[0]), recorded(arguments[0])) == before


def test_the_champion_changes_and_changes_back(model):
    promote(model, "1", "none", "the first")
    assert aliases(model) == {"champion": "1"}
    refused("no version was champion before", roll_back, model, "1")
    promote(model, "2", "1", "sharper")
    assert aliases(model) == {"champion": "2", "previous-champion": "1"}
    tags = client().get_model_version(model, "2").tags
    assert (tags["promoted_by"], tags["promoted_why"]) == ("ann", "sharper")
    assert tags["promoted_at"].endswith("Z")
    refused("the champion is 2, not 1 as expected", roll_back, model, "1")
    roll_back(model, "2", "odd ears")
    assert aliases(model) == {"champion": "1", "previous-champion": "2"}
    assert client().get_model_version(model, "1").tags["promoted_why"] == "odd ears"
    promote(model, "4", "1", "")
    assert aliases(model) == {"champion": "4", "previous-champion": "1"}


def test_a_refused_change_changes_nothing(model):
    refused("no version 9 in sqlite:.*; there are 1, 2, 3, 4", promote, model, "9", "none")
    refused("version 3: did not pass the gate .swd_average is 90", promote, model, "3", "none")
    for edited in "{", "[]", '{"reasons": [1]}':
        client().set_model_version_tag(model, "3", "verdict", edited)
        refused(r"version 3: did not pass the gate \(it has no verdict\)", promote, model, "3", "none")
    refused("the champion is none, not 2 as expected", promote, model, "1", "2")
    with pytest.raises(InputError, match="give at most 1000"):
        promote(model, "1", "none", "x" * 1001)
    promote(model, "1", "none", "")
    refused("the champion is 1, not none as expected", promote, model, "2", "none")
    refused("version 1 is already champion", promote, model, "1", "1")
    with pytest.raises(InputError, match="no version 1 in .*; there are none"):
        promote("unheard-of", "1", "none", "")


def interrupted(model):
    """Promote version 2 after 1, killed when that is recorded and not yet applied."""
    promote(model, "1", "none", "")
    promotion._record(
        promotion._ledger(model).run, 2, Promotion(model, "2", "1", "bob", "then", "sharper", "b")
    )


def test_the_next_promotion_completes_an_interrupted_one(model):
    interrupted(model)
    with pytest.raises(InputError, match="the champion is 2, not 1 as expected"):
        promote(model, "4", "1", "")
    assert aliases(model) == {"champion": "2", "previous-champion": "1"}
    assert client().get_model_version(model, "2").tags["promoted_by"] == "bob"


def test_what_people_do_on_mlflow_s_page_is_taken_as_it_is_found(model):
    """A deleted champion, an alias set by hand, also after an interrupted promotion, and a deleted ledger."""
    registry = client()
    promote(model, "1", "none", "")
    promote(model, "2", "1", "")
    registry.set_registered_model_alias(model, "champion", "1")
    promote(model, "4", "1", "")
    assert aliases(model) == {"champion": "4", "previous-champion": "1"}
    registry.delete_model_version(model, "4")
    refused("the champion is none, not 4 as expected", promote, model, "2", "4")
    promote(model, "2", "none", "")
    assert aliases(model)["champion"] == "2"
    promotion._record(promotion._ledger(model).run, 5, Promotion(model, "1", "2", "bob", "then", "", "b"))
    registry.delete_registered_model_alias(model, "champion")
    promote(model, "2", "none", "")
    registry.delete_run(promotion._ledger(model).run)
    promote(model, "1", "2", "")
    assert aliases(model) == {"champion": "1", "previous-champion": "2"}


def test_an_interrupted_promotion_of_a_deleted_version(model):
    interrupted(model)
    client().delete_model_version(model, "2")
    promote(model, "4", "1", "")
    assert aliases(model) == {"champion": "4", "previous-champion": "1"}


def test_promotions_are_no_parameters_of_a_training_run(model):
    promote(model, "1", "none", "")
    registry = client()
    runs = [registry.get_model_version(model, version).run_id for version in "1234"]
    assert [registry.get_run(run).data.params for run in runs] == [{}] * 4


def test_an_alias_that_is_set_too_late_is_corrected(model, monkeypatch):
    """Between recording and applying a promotion, two others change the champion."""
    promote(model, "1", "none", "")
    apply, paused = promotion._apply, []

    def slow(entry):
        if entry.version == "2" and not paused:
            paused.append(entry)
            promote(model, "4", "2", "")
            promote(model, "1", "4", "")
        apply(entry)

    monkeypatch.setattr(promotion, "_apply", slow)
    promote(model, "2", "1", "")
    assert paused
    assert aliases(model) == {"champion": "1", "previous-champion": "4"}


def test_the_number_was_taken_in_between(model, monkeypatch):
    promote(model, "1", "none", "")
    record = promotion._record

    def after_another(ledger, number, entry):
        record(ledger, number, Promotion(model, "4", "1", "bob", "then", "", "b"))
        return record(ledger, number, entry)

    monkeypatch.setattr(promotion, "_record", after_another)
    with pytest.raises(InputError, match="bob promoted version 4 at the same time.*--expect 4"):
        promote(model, "2", "1", "")
    assert aliases(model) == {"champion": "4", "previous-champion": "1"}


def test_a_row_that_another_process_has_just_added(model, monkeypatch):
    """The database refuses the second insertion, and MLflow calls that a bad request."""
    for method in ("set_model_version_tag", "set_registered_model_alias", "set_tag"):
        write, refused = getattr(MlflowClient, method), set()

        def once_refused(self, *values, write=write, refused=refused):
            if values not in refused:
                refused.add(values)
                raise MlflowException("UniqueViolation", BAD_REQUEST)
            write(self, *values)

        monkeypatch.setattr(MlflowClient, method, once_refused)
    promote(model, "1", "none", "")
    promote(model, "2", "1", "")
    assert aliases(model) == {"champion": "2", "previous-champion": "1"}


def test_two_processes_at_once_on_a_server(tracking, monkeypatch):
    """Every promotion follows the one before it; exactly those that won are recorded."""
    for name, value in tracking.environment.items():
        monkeypatch.setenv(name, value)
    model, rounds = make_versions("promoted-at-once", ["passed"] * 3), 2
    names = [{"model": model, "version": version, "rounds": rounds} for version in ("2", "3")]
    told = at_once(PROMOTE, *names)
    assert [len(answers) for answers in told] == [rounds, rounds]
    won = {text for answers in told for outcome, text in answers if outcome == "won"}
    lost = [text for answers in told for outcome, text in answers if outcome == "lost"]
    promotions = recorded(model)
    assert sorted(promotions) == list(range(1, len(promotions) + 1))
    assert {entry.id for entry in promotions.values()} == won, [
        line for line in lost if "--expect" not in line
    ]
    assert any("at the same time" in line or "as expected" in line for line in lost), "they never met"
    champion = "none"
    for number in sorted(promotions):
        assert promotions[number].before == champion
        champion = promotions[number].version
    assert aliases(model)["champion"] == champion
    assert aliases(model).get("previous-champion", "none") == promotions[len(promotions)].before
