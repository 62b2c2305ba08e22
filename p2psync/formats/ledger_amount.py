"""Amounts of ledger and hledger: ``$1,000.00``, ``-5 EUR``, ``10 AAPL @ $30.00``, ``1.000,50 CHF``.

Pure and total. ``1,000`` could be a thousand or one, as settings elsewhere in the file say: it is
not read.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from p2psync.formats.expressions import Weight, product, signed
from p2psync.formats.values import read_amount

_CHARS_MAX = 400
_NUMBER = r"[0-9](?:[0-9.,' \u00a0\u202f]*[0-9])?[.,]?"
_NAME = r"\"[^\"]*\"|[^\s0-9.,;:?!+*/^&|=<>\[\](){}@\"'-]+"
_QUANTITY = re.compile(
    rf"([-+]?)[ \t]*(?:({_NAME})[ \t]*([-+]?)[ \t]*)?({_NUMBER})[ \t]*({_NAME})?", re.ASCII
)
_LOT = re.compile(r"\{\{?=?([^{}]*)\}\}?")
_NOTES = re.compile(r"\[[^\]]*\]|\(\([^)]*\)\)|\((?!@)[^)@]*\)")
_MARKS = "' \u00a0\u202f"
_GROUPED = re.compile(rf"[0-9]{{1,3}}(?:[{_MARKS}][0-9]{{3}})+(?:[.,][0-9]*)?", re.ASCII)
_CENTS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]*", re.ASCII)


class Amount(NamedTuple):
    """What stands behind an account.

    ``units`` is the quantity itself, ``weight`` what it counts for in its transaction, ``rate`` the
    price of one. ``assigned`` marks a posting whose amount is what makes a balance come true.
    """

    units: Weight | None
    weight: Weight | None
    rate: str = ""
    assigned: bool = False


def read_quantity(text: str) -> Weight | None:
    """Reads a number with its commodity before or behind it, or without one; else ``None``."""
    if len(text) > _CHARS_MAX:
        return None
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    sign, before, inner, number, behind = match.groups()
    if (before and behind) or (sign and inner):
        return None
    value = _number(number)
    if value is None:
        return None
    if "-" in (sign, inner):
        value = value.copy_negate()
    return Weight(value, (before or behind or "").strip('"'))


def _number(text: str) -> Decimal | None:
    if text[-1:] in (".", ","):
        text = text[:-1]
    if any(mark in text for mark in _MARKS) and not _GROUPED.fullmatch(text):
        return None
    if _CENTS.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    elif text.count(",") == 1 and "." not in text:
        whole, _, cents = text.partition(",")
        if len(cents) == 3 and whole.strip("0"):
            return None
        text = f"{whole}.{cents}"
    elif text.count(",") > 1 and "." not in text:
        text = f"{text}.0"
        value = read_amount(text)
        return None if value is None else value.to_integral_value()
    elif text.count(".") > 1:
        text = text.replace(".", "")
    return read_amount(text)


def read_posting_amount(text: str) -> Amount | None:
    """Reads all that stands behind an account, without its comment; ``None`` when it cannot."""
    if len(text) > _CHARS_MAX:
        return None
    text, equals, asserted = text.partition("=") if "{" not in text else _after_lot(text)
    text = text.strip()
    if not text:
        return Amount(None, None, assigned=bool(equals and asserted.strip("=* \t")))
    said, at, price_text = text.partition("@")
    virtual = said.endswith("(") and price_text.lstrip("@").startswith(")")
    if virtual:
        said = said[:-1]
        price_text = price_text.replace(")", "", 1)
    lot = _LOT.search(said)
    lot_text = ""
    if lot is not None:
        lot_text = lot[0]
        said = said[: lot.start()] + said[lot.end() :]
    units = read_quantity(_NOTES.sub("", said))
    if units is None:
        return None
    if at:
        total = price_text.startswith("@")
        price = read_quantity(price_text.lstrip("@"))
        if price is None:
            return None
    elif lot_text:
        total = lot_text.startswith("{{")
        price = read_quantity(lot_text.strip("{}").lstrip("="))
        if price is None:
            return Amount(units, None)
    else:
        return Amount(units, units)
    if total:
        return Amount(units, Weight(signed(price.amount, units.amount), price.currency))
    weight = Weight(product(units.amount, price.amount), price.currency)
    return Amount(units, weight, f"{price.amount:f}")


def _after_lot(text: str) -> tuple[str, str, str]:
    """Parts a balance that is asserted from an amount whose lot price may hold ``=``."""
    end = text.rfind("}") + 1
    rest, equals, asserted = text[end:].partition("=")
    return text[:end] + rest, equals, asserted
