"""Change the champion, safely even if two people do so at once.

MLflow sets an alias regardless of its value, but refuses a second value for a parameter of a run. So every
promotion first writes the next entry of the model's ledger, a run of its own with parameters such as
"promotion.0001"; whoever finds the number taken has lost. A tag of the same name says that the entry is
applied. So any process can complete an interrupted promotion, and what people do on MLflow's page is taken as
it is found.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from components.register.download import verify_version
from components.register.registry import CHAMPION, PREVIOUS_CHAMPION
from components.signatures.trust import TrustedSigners, trusted_signers
from components.tracking.client import (
    clear_errors,
    client,
    current_user,
    experiment_of,
    public_address,
    tracking_uri,
)
from components.tracking.runs import find_or_create_run
from progan.errors import InputError
from progan.files import canonical_json

LEDGER = "progan.promotions"  # tag of the ledger: its model
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


@dataclass(frozen=True)
class Ledger:
    """The promotions of a model, by number, and which of them are applied."""

    run: str
    promotions: dict[int, Promotion]
    applied: frozenset[int]

    @property
    def newest(self) -> int:
        return max(self.promotions, default=0)


def promote(model: str, version: str, expect: str, why: str) -> Promotion:
    """Make `version` the champion of `model` instead of `expect`, a version or NONE.

    Raises InputError if `expect` is not the champion, if `version` does not exist or failed its gate, if its
    signature is not the one that must be there, and if somebody else changes the champion at the same time.
    """
    with clear_errors(model):
        registered = _version(model, version)
        tags = registered.tags
        if tags.get("gate") != "passed":
            raise InputError(
                f"{model} version {version}: did not pass the gate ({_reasons(tags)}); promote one that did"
            )
        if trusted := trusted_signers():
            _require_signature(registered, trusted)
        return _change(model, version, expect, why)


def _reasons(tags: Mapping[str, str]) -> str:
    """The reasons of a verdict, whose tag people can edit."""
    try:
        return "; ".join(json.loads(tags["verdict"])["reasons"])
    except (LookupError, TypeError, ValueError):
        return "it has no verdict"


def _require_signature(version: Any, trusted: TrustedSigners) -> None:
    """Raise InputError unless one of `trusted` signed the version, and as one that passed the gate."""
    signature = verify_version(version, trusted)
    if not signature.provenance.passed:
        reasons = "; ".join(signature.provenance.reasons)
        raise InputError(f"{signature.provenance}: signed as one that did not pass the gate ({reasons})")
    print(f"{signature.provenance}: signed by {signature.by}", file=sys.stderr)


def roll_back(model: str, expect: str, why: str) -> Promotion:
    """Make the version that was champion before `expect` champion again; errors as for `promote`."""
    with clear_errors(model):
        _complete_newest(model)
        previous = _aliases(model).get(PREVIOUS_CHAMPION)
        if previous is None:
            raise InputError(f"{model}: no version was champion before; nothing to roll back to")
        if trusted := trusted_signers():
            _require_signature(_version(model, previous), trusted)
        return _change(model, previous, expect, why)


def _change(model: str, version: str, expect: str, why: str) -> Promotion:
    if len(why) > LONGEST_WHY:
        raise InputError(f"--why: {len(why)} characters; give at most {LONGEST_WHY}")
    ledger = _complete_newest(model)
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
    if not _record(ledger.run, ledger.newest + 1, promotion):
        winner = _ledger(model).promotions[ledger.newest + 1]
        _complete_newest(model)
        raise InputError(
            f"{model}: {winner.by} promoted version {winner.version} at the same time; check it, then run "
            f"again with --expect {winner.version}"
        )
    _complete_newest(model)
    return promotion


def _complete_newest(model: str) -> Ledger:
    """Apply the newest promotion if that is still to be done; returns the ledger.

    If others were recorded while it was applied, an alias may have been set too late: the newest is applied
    again.
    """
    applied = 0
    while True:
        ledger = _ledger(model)
        newest = ledger.newest
        if newest in ledger.applied | {0} and applied in (newest, 0):
            return ledger
        if applied or _is_awaited(ledger.promotions[newest]):
            _apply(ledger.promotions[newest])
            applied = newest
        _write(client().set_tag, ledger.run, _entry(newest), "applied")


def _is_awaited(promotion: Promotion) -> bool:
    """Whether nobody has changed the champion or deleted the version since the promotion was recorded."""
    champion = _aliases(promotion.model).get(CHAMPION, NONE)
    return champion == promotion.before and promotion.version in _versions(promotion.model)


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


def _ledger(model: str) -> Ledger:
    """The ledger of `model`, which is created if it does not exist or was deleted."""
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

    mlflow_client = client()
    experiment = experiment_of(mlflow_client, model)
    note = "The changes of the champion, recorded by `progan promote` and `progan rollback`."
    run = find_or_create_run(
        mlflow_client, experiment, {LEDGER: model}, "promotions", {MLFLOW_RUN_NOTE: note}
    )
    if run.info.status == "RUNNING":
        mlflow_client.set_terminated(run.info.run_id)
    params = run.data.params.items()
    promotions = {_number(name): Promotion(**json.loads(text)) for name, text in params}
    applied = frozenset(_number(name) for name in run.data.tags if name.startswith(ENTRY))
    return Ledger(run.info.run_id, promotions, applied)


def _record(ledger: str, number: int, promotion: Promotion) -> bool:
    """Record `promotion` under `number`; False if the number is taken."""
    from mlflow.exceptions import MlflowException

    try:
        client().log_param(ledger, _entry(number), canonical_json(asdict(promotion)))
    except MlflowException:
        recorded = _ledger(promotion.model).promotions.get(number)
        if recorded is None:
            raise
        return recorded == promotion
    return True


def _entry(number: int) -> str:
    return f"{ENTRY}{number:04d}"


def _number(entry: str) -> int:
    return int(entry.removeprefix(ENTRY))


def _versions(model: str) -> dict[str, Any]:
    """All versions by number, oldest first."""
    versions = client().search_model_versions(f"name = '{model}'", order_by=["version_number ASC"])
    return {str(version.version): version for version in versions}


def _version(model: str, version: str) -> Any:
    versions = _versions(model)
    if version not in versions:
        address, existing = public_address(tracking_uri()), ", ".join(versions) or "none"
        raise InputError(f"{model}: no version {version} in {address}; there are {existing}")
    return versions[version]


def _aliases(model: str) -> dict[str, str]:
    """The version of each alias."""
    return {name: str(version) for name, version in client().get_registered_model(model).aliases.items()}
