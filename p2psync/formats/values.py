"""Amounts, dates and texts as offices write them: bytes or text to values, pure and total."""

import datetime
import hashlib
import re
from decimal import Decimal
from functools import cache, lru_cache

from p2psync.limits import RECORD_TEXT_CHARS_MAX

_AMOUNT_CHARS_MAX = 32
_CACHE_ENTRIES_MAX = 16_384
_YEAR_PIVOT = 70
"""Two-digit years from here on belong to the 1900s."""
_DIGIT_GROUP_MARKS = str.maketrans("", "", "'\u2019 \u00a0\u202f")
_PLAIN_AMOUNT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,8})?", re.ASCII)
_UNLIKE_LATIN1 = bytes(range(0x80, 0xA0))


@cache
def _hasher(person: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, person=person)


def digest(person: bytes, data: bytes) -> bytes:
    """Gives the 16-byte BLAKE2b digest of ``data``, personalised by at most 16 bytes (RFC 7693)."""
    hasher = _hasher(person).copy()  # half the cost of setting one up
    hasher.update(data)
    return hasher.digest()


@lru_cache(maxsize=_CACHE_ENTRIES_MAX)
def read_amount(text: str) -> Decimal | None:
    """Reads ``1000``, ``-12.50``, ``1'000.00``, ``1,000.00`` or ``12,50``; else ``None``.

    A lone comma is a decimal point when one or two digits follow it; ``1,000`` could be either
    and is refused. Exponents, infinities and digits outside ASCII are refused. No rounding.
    """
    if len(text) > _AMOUNT_CHARS_MAX:
        return None
    if _PLAIN_AMOUNT.fullmatch(text):
        return Decimal(text)
    plain = text.translate(_DIGIT_GROUP_MARKS)
    sign = ""
    if plain[:1] in ("-", "+"):
        sign, plain = plain[0], plain[1:]
    elif plain[-1:] == "-":
        sign, plain = "-", plain[:-1]
    if "," in plain:
        whole, _, rest = plain.rpartition(",")
        if "." in rest:
            first, *groups = plain.partition(".")[0].split(",")
            if not first or any(len(group) != 3 for group in groups):
                return None
            plain = plain.replace(",", "")
        elif len(rest) in (1, 2) and "." not in whole and "," not in whole:
            plain = f"{whole}.{rest}"
        else:
            return None
    whole, point, cents = plain.partition(".")
    digits = whole + cents
    if not (digits.isascii() and digits.isdigit()) or (point and not cents):
        return None
    return Decimal(f"{sign}{whole or '0'}{point}{cents}")


@lru_cache(maxsize=_CACHE_ENTRIES_MAX)
def read_date(text: str) -> datetime.date | None:
    """Reads ``dd.MM.yyyy`` or ``dd.MM.yy`` (also with ``/``); else ``None``."""
    parts = text.strip().replace("/", ".").split(".")
    if len(parts) != 3:
        return None
    day, month, year = parts
    digits = day + month + year
    if not (digits.isascii() and digits.isdigit() and day and month):
        return None
    if len(day) > 2 or len(month) > 2 or len(year) not in (2, 4):
        return None
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= _YEAR_PIVOT else 2000
    try:
        return datetime.date(number, int(month), int(day))
    except ValueError:
        return None


def clean(text: str) -> str:
    """Gives one printable line: every control or invisible character becomes a space.

    At most ``RECORD_TEXT_CHARS_MAX`` characters are kept; what is shown to people can thus
    neither break a table nor drive a terminal.
    """
    if len(text) > RECORD_TEXT_CHARS_MAX:
        text = text[:RECORD_TEXT_CHARS_MAX]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text.strip()


def decode_cp1252(data: bytes) -> str:
    """Decodes Windows-1252; each of its five undefined bytes becomes U+FFFD."""
    # Outside 0x80-0x9F it is Latin-1, whose decoder is thirty times as fast.
    if data.isascii() or len(data.translate(None, _UNLIKE_LATIN1)) == len(data):
        return data.decode("latin-1")
    return data.decode("cp1252", "replace")
