"""`progan promote` and `progan rollback`: which version of the model is champion."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import common_options
from progan.errors import InputError

if TYPE_CHECKING:
    from components.register.promotion import Promotion


Expect = Annotated[
    str, typer.Option(help="The present champion's version, or none; if it is another, nothing changes.")
]
Why = Annotated[str, typer.Option(help="Reason, stored as a tag of the version.")]


def promote(
    version: Annotated[str, typer.Argument(help="Number of a version that passed its gate.")],
    expect: Expect,
    why: Why = "",
    params: common_options.Params = common_options.PARAMS,
    as_json: common_options.Json = False,
) -> None:
    """Make a version of the model champion, if the present champion is the expected one.

    Example: progan promote 7 --expect 5 --why "sharper, and fewer odd ears"
    """
    from components.register.promotion import promote
    from progan import config

    model = config.load(params).register.model
    _print(promote(model, _number(version, "VERSION"), _expected(expect), why), as_json)


def rollback(
    expect: Expect,
    why: Why = "",
    params: common_options.Params = common_options.PARAMS,
    as_json: common_options.Json = False,
) -> None:
    """Make the version that was champion before (alias previous-champion) champion again.

    Example: progan rollback --expect 7 --why "odd ears after all"
    """
    from components.register.promotion import roll_back
    from progan import config

    _print(roll_back(config.load(params).register.model, _expected(expect), why), as_json)


def _expected(text: str) -> str:
    from components.register.promotion import NONE

    return NONE if text == NONE else _number(text, "--expect")


def _number(text: str, option: str) -> str:
    if not text.isdecimal():
        raise InputError(f"{option}: {text}: expected a version number, such as 7")
    return str(int(text))


def _print(promotion: "Promotion", as_json: bool) -> None:
    if as_json:
        common_options.print_json(asdict(promotion))
    else:
        print(f"{promotion.model}: version {promotion.version} is now champion, before: {promotion.before}")
