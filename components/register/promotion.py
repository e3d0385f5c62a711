"""Which version is champion: the one way to change it, safe when two do so at once.

MLflow sets an alias whatever it was before. What its database does keep unique is a run's parameter: the
second value for a name is refused. So every change first takes the next number of the model's promotions, as
a parameter "promotion.0001" of its oldest version's run, and whoever finds a number taken has lost. Whoever
finds a change that was begun and not ended ends it: the aliases follow from the parameter alone.
"""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from components.register.registry import (
    CHAMPION,
    PREVIOUS_CHAMPION,
    clear_errors,
    client,
    public_address,
    tracking_uri,
    who,
)
from progan.errors import InputError
from progan.files import canonical_json

ENTRY = "promotion."  # and its number: a parameter of the run of the model's oldest version
LONGEST_WHY = 1000
NONE = "none"  # in the place of a version: there is no champion


@dataclass(frozen=True)
class Promotion:
    """One change of champion."""

    model: str
    version: str
    before: str  # the version that was champion, or NONE
    by: str
    at: str
    why: str
    id: str  # tells it from one that says the same


def promote(model: str, version: str, expect: str, why: str) -> Promotion:
    """Let `version` be champion of `model` in the place of `expect`, a version or NONE.

    Raises InputError when another version is champion, when `version` is not there or its gate failed, and
    when somebody else changes the champion at the same time.
    """
    with clear_errors(model):
        found = _version(model, version)
        if found.tags.get("gate") != "passed":
            reasons = json.loads(found.tags.get("verdict", '{"reasons": ["it has no verdict"]}'))["reasons"]
            raise InputError(
                f"{model} version {version}: did not pass the gate ({'; '.join(reasons)}); "
                "promote one that did"
            )
        return _change(model, version, expect, why)


def roll_back(model: str, expect: str, why: str) -> Promotion:
    """Let the version that was champion before `expect` be it again; errors as for `promote`."""
    with clear_errors(model):
        _settle(model)
        previous = _aliases(model).get(PREVIOUS_CHAMPION)
        if previous is None:
            raise InputError(f"{model}: no version was champion before; there is nothing to go back to")
        return _change(model, previous, expect, why)


def _change(model: str, version: str, expect: str, why: str) -> Promotion:
    if len(why) > LONGEST_WHY:
        raise InputError(f"--why: {len(why)} characters; {LONGEST_WHY} are kept at most")
    newest = _settle(model)
    champion = _aliases(model).get(CHAMPION, NONE)
    if champion != expect:
        is_now = "there is no champion" if champion == NONE else f"the champion is version {champion}"
        raise InputError(f"{model}: {is_now}, not {expect} as expected; look again, then --expect {champion}")
    if champion == version:
        raise InputError(f"{model}: version {version} is champion already; nothing is to be done")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    mine = Promotion(model, version, champion, who(), now, why, uuid.uuid4().hex)
    if not _take(newest + 1, mine):
        winner = _promotions(model)[newest + 1]
        _settle(model)
        raise InputError(
            f"{model}: at this moment {winner.by} made version {winner.version} champion; look again, then "
            f"--expect {winner.version}"
        )
    _settle(model)
    return mine


def _settle(model: str) -> int:
    """End the newest promotion if it was begun and not ended; its number, 0 when there was none.

    If newer ones came while this one was carried out, an alias may have been set too late: the newest is
    carried out again.
    """
    carried_out = None
    while True:
        promotions = _promotions(model)
        newest = max(promotions, default=0)
        begun = newest and _aliases(model).get(CHAMPION, NONE) == promotions[newest].before
        if not begun and carried_out in (None, newest):
            return newest
        _carry_out(promotions[newest])
        carried_out = newest


def _carry_out(promotion: Promotion) -> None:
    """Set tags and aliases; the champion last, so that all else is there when it changes."""
    registry, model = client(), promotion.model
    tags = {"promoted_by": promotion.by, "promoted_at": promotion.at, "promoted_why": promotion.why}
    for name, value in tags.items():
        _write(registry.set_model_version_tag, model, promotion.version, name, value)
    if promotion.before != NONE:
        _write(registry.set_registered_model_alias, model, PREVIOUS_CHAMPION, promotion.before)
    _write(registry.set_registered_model_alias, model, CHAMPION, promotion.version)


def _write(write: Callable[..., None], *values: str) -> None:
    """Call `write`; once more if another process added the same row at the same moment, which is refused."""
    from mlflow.exceptions import MlflowException

    try:
        write(*values)
    except MlflowException as error:
        if error.error_code != "BAD_REQUEST":
            raise
        write(*values)


# ------------------------------------------------------------------------------------------------
# What stands in the registry


def _promotions(model: str) -> dict[int, Promotion]:
    """All changes of champion by number."""
    params = client().get_run(_ledger(model)).data.params
    entries = {name.removeprefix(ENTRY): text for name, text in params.items() if name.startswith(ENTRY)}
    return {int(number): Promotion(**json.loads(text)) for number, text in entries.items()}


def _take(number: int, promotion: Promotion) -> bool:
    """Write `promotion` down under `number`; False when another one stands there."""
    from mlflow.exceptions import MlflowException

    name, text = f"{ENTRY}{number:04d}", canonical_json(asdict(promotion))
    try:
        client().log_param(_ledger(promotion.model), name, text)
    except MlflowException:
        written = _promotions(promotion.model).get(number)
        if written is None:
            raise
        return written == promotion
    return True


def _ledger(model: str) -> str:
    """The run in which changes are written down: that of the oldest version whose run is there."""
    registry = client()
    for version in registry.search_model_versions(f"name = '{model}'", order_by=["version_number ASC"]):
        if version.run_id and registry.get_run(version.run_id).info.lifecycle_stage == "active":
            return version.run_id
    raise InputError(f"{model}: no version has a run in this registry; run progan register")


def _version(model: str, version: str) -> Any:
    found = client().search_model_versions(f"name = '{model}'", order_by=["version_number ASC"])
    by_number = {str(one.version): one for one in found}
    if version not in by_number:
        there, where = ", ".join(by_number) or "none", public_address(tracking_uri())
        raise InputError(f"{model}: no version {version} in {where}; there are {there}")
    return by_number[version]


def _aliases(model: str) -> dict[str, str]:
    """Version by alias."""
    return {name: str(version) for name, version in client().get_registered_model(model).aliases.items()}
