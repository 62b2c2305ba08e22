"""Turns typed words into numbers without typer's own way, which loads pydantic.

Loading it takes longer than a whole command. Typer keeps what turns a word into a value in a
private attribute of each parameter: should it no longer do so, its own way is taken again.
"""

import math
from pathlib import Path
from typing import Any

import typer

from p2psync.i18n import _


class _PlainValue:
    """Has the one method of typer's ``RuntimeParam``."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value in the parameter's type; raises ``typer.BadParameter``."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind = param.type_descriptor.annotation
        if kind in (int, float):
            return _number(value, kind, param, ctx)
        if kind == list[str]:
            return [str(item) for item in value]
        return kind(value)


_KINDS = (str, bool, int, float, Path, list[str])
_PLAIN_VALUE = _PlainValue()


def use_plain_values(command: Any, ctx: Any) -> None:
    """Give each parameter of a command our way, if its type is one of ours."""
    for param in command.get_params(ctx):
        kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        if getattr(param, "_runtime_param", "") is None and kind in _KINDS:
            param._runtime_param = _PLAIN_VALUE


def _number(value: Any, kind: type[int] | type[float], param: Any, ctx: Any) -> int | float:
    try:
        number = kind(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise typer.BadParameter(_("{value} is no number", value=value), ctx=ctx, param=param)
    least = getattr(param, "min", None)
    if least is not None and number < least:
        raise typer.BadParameter(_("at least {least}", least=least), ctx=ctx, param=param)
    most = getattr(param, "max", None)
    if most is not None and number > most:
        raise typer.BadParameter(_("at most {most}", most=most), ctx=ctx, param=param)
    return number
