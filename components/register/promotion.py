"""Change the champion, safely even if two people do so at once.

MLflow sets an alias regardless of its value, but refuses a second value for a parameter of a run. So every
promotion first writes the next entry of the model's ledger, a parameter such as "promotion.0001" of the run
of the model's oldest version; whoever finds the number taken has lost. The aliases follow from the entries
alone, so any process can complete an interrupted promotion.
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from components.register.mlflow_registry import (
    CHAMPION,
    PREVIOUS_CHAMPION,
    clear_errors,
    client,
    current_user,
    public_address,
    tracking_uri,
)
from progan.errors import InputError
from progan.files import canonical_json

ENTRY = "promotion."  # prefix of a parameter in the ledger, before its number
LONGEST_WHY = 1000
NONE = "none"  # instead of a version: there is no champion


@dataclass(frozen=True)
class Promotion:
    """One change of champion."""

    model: str
    version: str
    before: str  # the version that was champion, or NONE
    by: str
    at: str
    why: str
    id: str  # unique, even among promotions with the same contents


def promote(model: str, version: str, expect: str, why: str) -> Promotion:
    """Make `version` the champion of `model` instead of `expect`, a version or NONE.

    Raises InputError if `expect` is not the champion, if `version` does not exist or failed its gate, and if
    somebody else changes the champion at the same time.
    """
    with clear_errors(model):
        tags = _version(model, version).tags
        if tags.get("gate") != "passed":
            reasons = json.loads(tags.get("verdict", '{"reasons": ["it has no verdict"]}'))["reasons"]
            raise InputError(
                f"{model} version {version}: did not pass the gate ({'; '.join(reasons)}); "
                "promote one that did"
            )
        return _change(model, version, expect, why)


def roll_back(model: str, expect: str, why: str) -> Promotion:
    """Make the version that was champion before `expect` champion again; errors as for `promote`."""
    with clear_errors(model):
        _complete_newest(model)
        previous = _aliases(model).get(PREVIOUS_CHAMPION)
        if previous is None:
            raise InputError(f"{model}: no version was champion before; nothing to roll back to")
        return _change(model, previous, expect, why)


def _change(model: str, version: str, expect: str, why: str) -> Promotion:
    if len(why) > LONGEST_WHY:
        raise InputError(f"--why: {len(why)} characters; give at most {LONGEST_WHY}")
    newest = _complete_newest(model)
    champion = _aliases(model).get(CHAMPION, NONE)
    if champion != expect:
        raise InputError(
            f"{model}: the champion is {champion}, not {expect} as expected; check it, then run again with "
            f"--expect {champion}"
        )
    if champion == version:
        raise InputError(f"{model}: version {version} is already champion; nothing to do")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    promotion = Promotion(model, version, champion, current_user(), now, why, uuid.uuid4().hex)
    if not _record(newest + 1, promotion):
        winner = _promotions(model)[newest + 1]
        _complete_newest(model)
        raise InputError(
            f"{model}: {winner.by} promoted version {winner.version} at the same time; check it, then run "
            f"again with --expect {winner.version}"
        )
    _complete_newest(model)
    return promotion


def _complete_newest(model: str) -> int:
    """Apply the newest promotion if that was interrupted; returns its number, 0 if there is none.

    If others were recorded while it was applied, an alias may have been set too late: the newest is applied
    again.
    """
    applied = None
    while True:
        promotions = _promotions(model)
        newest = max(promotions, default=0)
        pending = newest and _aliases(model).get(CHAMPION, NONE) == promotions[newest].before
        if not pending and applied in (None, newest):
            return newest
        _apply(promotions[newest])
        applied = newest


def _apply(promotion: Promotion) -> None:
    """Set tags and aliases; the champion last, when everything else is in place."""
    mlflow_client, model = client(), promotion.model
    tags = {"promoted_by": promotion.by, "promoted_at": promotion.at, "promoted_why": promotion.why}
    for name, value in tags.items():
        _write(mlflow_client.set_model_version_tag, model, promotion.version, name, value)
    if promotion.before != NONE:
        _write(mlflow_client.set_registered_model_alias, model, PREVIOUS_CHAMPION, promotion.before)
    _write(mlflow_client.set_registered_model_alias, model, CHAMPION, promotion.version)


def _write(write: Callable[..., None], *values: str) -> None:
    """Call `write`, and once more if it is refused because another process has just added the same row."""
    from mlflow.exceptions import MlflowException

    try:
        write(*values)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write(*values)


# ------------------------------------------------------------------------------------------------
# The ledger and the versions


def _promotions(model: str) -> dict[int, Promotion]:
    """All recorded promotions, by number."""
    params = client().get_run(_ledger(model)).data.params
    entries = {name.removeprefix(ENTRY): text for name, text in params.items() if name.startswith(ENTRY)}
    return {int(number): Promotion(**json.loads(text)) for number, text in entries.items()}


def _record(number: int, promotion: Promotion) -> bool:
    """Record `promotion` under `number`; False if the number is taken."""
    from mlflow.exceptions import MlflowException

    name, text = f"{ENTRY}{number:04d}", canonical_json(asdict(promotion))
    try:
        client().log_param(_ledger(promotion.model), name, text)
    except MlflowException:
        recorded = _promotions(promotion.model).get(number)
        if recorded is None:
            raise
        return recorded == promotion
    return True


def _ledger(model: str) -> str:
    """The run that records the promotions: that of the oldest version whose run is not deleted."""
    mlflow_client = client()
    for version in _versions(model):
        if version.run_id and mlflow_client.get_run(version.run_id).info.lifecycle_stage == "active":
            return version.run_id
    raise InputError(f"{model}: no version has a run in this registry; run progan register")


def _versions(model: str) -> Any:
    """All versions, oldest first."""
    return client().search_model_versions(f"name = '{model}'", order_by=["version_number ASC"])


def _version(model: str, version: str) -> Any:
    versions = {str(each.version): each for each in _versions(model)}
    if version not in versions:
        address, existing = public_address(tracking_uri()), ", ".join(versions) or "none"
        raise InputError(f"{model}: no version {version} in {address}; there are {existing}")
    return versions[version]


def _aliases(model: str) -> dict[str, str]:
    """The version of each alias."""
    return {name: str(version) for name, version in client().get_registered_model(model).aliases.items()}
