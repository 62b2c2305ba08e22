"""Amounts of plain text journals: sums written out, and postings that leave their amount to others.

Pure and total; nothing is rounded but a division.
"""

import re
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, DecimalException
from typing import NamedTuple

_EXACT = Context(prec=64)
_DIVISION = Context(prec=28)
_CHARS_MAX = 200
_TOKEN = re.compile(r"\s*(?:([0-9][0-9,]*(?:\.[0-9]*)?|\.[0-9]+)|([-+*/()]))", re.ASCII)
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]*(?:\.[0-9]*)?", re.ASCII)
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "~": 3}


def evaluate(text: str) -> Decimal | None:
    """Gives the value of ``-12.50``, ``1,000.00`` or ``(3 + 4) * 2 / 5``; else ``None``.

    At most 200 characters are read; a comma parts thousands.
    """
    if len(text) > _CHARS_MAX:
        return None
    values: list[Decimal] = []
    waiting: list[str] = []
    operand = True
    place = 0
    end = len(text.rstrip())
    try:
        while place < end:
            match = _TOKEN.match(text, place)
            if match is None:
                return None
            place = match.end()
            number, sign = match[1], match[2]
            if number is not None:
                if not operand or not _GROUPED.fullmatch(number):
                    return None
                values.append(Decimal(number.replace(",", "")))
                operand = False
            elif sign == "(":
                if not operand:
                    return None
                waiting.append(sign)
            elif sign == ")":
                if operand or not _reduce(values, waiting, 1) or not waiting:
                    return None
                waiting.pop()
            elif operand:
                if sign not in "+-":
                    return None
                if sign == "-":
                    waiting.append("~")
            else:
                _reduce(values, waiting, _PRECEDENCE[sign])
                waiting.append(sign)
                operand = True
        if operand or "(" in waiting:
            return None
        _reduce(values, waiting, 1)
    except DecimalException:
        return None
    return values[0] if len(values) == 1 and values[0].is_finite() else None


def _reduce(values: list[Decimal], waiting: list[str], least: int) -> bool:
    """Works out what waits and binds at least so tightly, back to a parenthesis."""
    while waiting and _PRECEDENCE.get(waiting[-1], 0) >= least:
        sign = waiting.pop()
        right = values.pop()
        if sign == "~":
            values.append(_EXACT.minus(right))
            continue
        left = values.pop()
        match sign:
            case "+":
                values.append(_EXACT.add(left, right))
            case "-":
                values.append(_EXACT.subtract(left, right))
            case "*":
                values.append(_EXACT.multiply(left, right))
            case _:
                values.append(_DIVISION.divide(left, right))
    return True


class Weight(NamedTuple):
    """What a posting counts for in its transaction."""

    amount: Decimal
    currency: str


def product(units: Decimal, price: Decimal) -> Decimal:
    """Gives what some units cost at a price for each; of its decimals, zeros count as two only."""
    exact = _EXACT.multiply(units, price)
    whole, _, cents = f"{exact:f}".partition(".")
    return Decimal(f"{whole}.{cents.rstrip('0'):0<2}") if len(cents) > 2 else exact


def signed(total: Decimal, units: Decimal) -> Decimal:
    """Gives a price for all units together the sign of the units."""
    return _EXACT.copy_sign(total, units)


def missing(weights: Iterable[Weight | None], left_out: Sequence[bool]) -> Weight | None:
    """Gives what the one posting that leaves its amount out must count for.

    ``weights`` are those of all postings, ``None`` where nothing is known. Nothing is given when
    two leave theirs out, when another's is unknown, or when more than one currency does not sum up.
    """
    if sum(left_out) != 1:
        return None
    sums: dict[str, Decimal] = {}
    for weight, out in zip(weights, left_out, strict=True):
        if out:
            continue
        if weight is None:
            return None
        before = sums.get(weight.currency, Decimal(0))
        sums[weight.currency] = _EXACT.add(before, weight.amount)
    rest = [(currency, total) for currency, total in sums.items() if total]
    if len(rest) == 1:
        return Weight(_EXACT.minus(rest[0][1]), rest[0][0])
    if not rest and len(sums) == 1:
        return Weight(Decimal(0), next(iter(sums)))
    return None
