"""`progan promote` and `progan rollback`: which version of the model is champion."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands import options
from progan.errors import InputError

if TYPE_CHECKING:
    from components.register.promotion import Promotion


Expect = Annotated[
    str, typer.Option(help="The version that is champion now, or none: if it is not, nothing changes.")
]
Why = Annotated[str, typer.Option(help="Kept as a tag of the version.")]


def promote(
    version: Annotated[str, typer.Argument(help="The number of a version that passed its gate.")],
    expect: Expect,
    why: Why = "",
    params: options.Params = options.PARAMS,
    as_json: options.Json = False,
) -> None:
    """Make a version of the model champion, if the champion is the one you expect.

    Example: progan promote 7 --expect 5 --why "sharper, and fewer odd ears"
    """
    from components.register.promotion import promote
    from progan import config

    model = config.load(params).register.model
    _say(promote(model, _number(version, "VERSION"), _expected(expect), why), as_json)


def rollback(
    expect: Expect,
    why: Why = "",
    params: options.Params = options.PARAMS,
    as_json: options.Json = False,
) -> None:
    """Make the version that was champion before (alias previous-champion) champion again.

    Example: progan rollback --expect 7 --why "odd ears after all"
    """
    from components.register.promotion import roll_back
    from progan import config

    _say(roll_back(config.load(params).register.model, _expected(expect), why), as_json)


def _expected(text: str) -> str:
    from components.register.promotion import NONE

    return NONE if text == NONE else _number(text, "--expect")


def _number(text: str, what: str) -> str:
    if not text.isdecimal():
        raise InputError(f"{what}: {text}: the number of a version is expected, such as 7")
    return str(int(text))


def _say(promotion: "Promotion", as_json: bool) -> None:
    if as_json:
        options.print_json(asdict(promotion))
    else:
        print(f"{promotion.model}: version {promotion.version} is champion, it was {promotion.before}")
