"""One line of a Crésus posting file: its fields, its record, its half of a group.

A line holds 21 tab-separated fields of Windows-1252: date, debit, credit, voucher, text, amount,
foreign amount, rate, group, net, typtva, notva, -, idno, VAT code, cost centre, four empty ones,
``0``. The writing program compares eight of them (date to amount, VAT code, cost centre) to tell
whether anything changed, and renumbers ``idno`` freely: so those eight are a record's ``key``. Its
``money_key`` leaves out the text alone: a voucher number tells one posting from another.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, NamedTuple

from p2psync.core.records import Problem, Record, Segment, Side, is_account
from p2psync.formats.base import whole_segment
from p2psync.formats.cresus_header import UTF8_BOM
from p2psync.formats.values import clean, decode_cp1252, digest, read_amount, read_date
from p2psync.limits import LINE_BYTES_MAX

FIELD_COUNT = 21
FIELD_COUNT_MIN = 6
"""Date, accounts, voucher, text and amount: with fewer a line is no posting."""
LINES_KEPT = 4096
"""Lines that are not read again when the file is saved anew."""
MANY = (b"...", b"\x85")
"""Three dots, or the one character for them: the many-sided half of a group."""
ZERO = Decimal(0)
_CODES_KEPT_MAX = 16_384

FIELD_INDEX = {
    "date": 0,
    "debit": 1,
    "credit": 2,
    "voucher": 3,
    "text": 4,
    "amount": 5,
    "currency_amount": 6,
    "rate": 7,
    "group": 8,
    "vat_code": 14,
    "cost_centre": 15,
    "id": 13,
}

FIELD_COUNT_PROBLEM = "field-count"
UNREADABLE_PROBLEM = "unreadable-line"
TOO_LONG_PROBLEM = "line-too-long"
UNBALANCED_PROBLEM = "unbalanced-group"


_DATE = rb"""
    (?: (?:0[1-9]|1[0-9]|2[0-8]) \. (?:0[1-9]|1[0-2])
      | (?:29|30) \. (?:0[13-9]|1[0-2])
      | 31 \. (?:0[13578]|1[02]) )
    \. (?:19|20)[0-9][0-9]
"""
_DATE_BYTES = 10
_ACCOUNT = rb"\t (?! \s* (?:\.\.\.|\x85) \s* \t ) [^\t\n]*"
_ANY = rb"\t [^\t\n]*"
_PLAIN_LINE = re.compile(
    rb"%b %b{2} %b{2} \t -?[0-9]{1,18}(?:\.[0-9]{1,8})? %b{2} \t 0? %b{4} \t ([^\t\n]*) %b{7} "
    rb"(?: \r?\n )? \Z" % (_DATE, b"(?:%b)" % _ACCOUNT, *[b"(?:%b)" % _ANY] * 4),
    re.VERBOSE,
)
"""What nearly every line is: one record in no group, with nothing wrong. Its group is the idno."""


def fields_of(raw: bytes) -> list[bytes]:
    """Splits a line at its tabs; its line end, CRLF or LF, is no part of the last field."""
    if raw.endswith(b"\r\n"):
        raw = raw[:-2]
    elif raw.endswith(b"\n"):
        raw = raw[:-1]
    return raw.split(b"\t")


@lru_cache(maxsize=_CODES_KEPT_MAX)
def _code(raw: bytes) -> str:
    return clean(decode_cp1252(raw))


@cache
def _places(names: tuple[str, ...]) -> list[int]:
    return [FIELD_INDEX[name] for name in names]


class PostingFields(Mapping[str, str]):
    """The named fields of one line, decoded and cleaned when asked for; missing ones are empty.

    A view of the line's bytes: a hundred thousand records would otherwise hold a million texts.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def __getitem__(self, name: str) -> str:
        index = FIELD_INDEX[name]
        fields = fields_of(self._raw)
        return clean(decode_cp1252(fields[index])) if index < len(fields) else ""

    def several(self, names: tuple[str, ...]) -> list[str]:
        """Gives some of them, short ones that come again and again, at the cost of one."""
        fields = fields_of(self._raw)
        count = len(fields)
        places = _places(names)
        return [_code(fields[place]) if place < count else "" for place in places]

    def __iter__(self) -> Iterator[str]:
        return iter(FIELD_INDEX)

    def __len__(self) -> int:
        return len(FIELD_INDEX)

    def __hash__(self) -> int:
        return hash(tuple(self.values()))

    def __repr__(self) -> str:
        return repr(dict(self))


class PlainLine(Segment):
    """A line that ``_PLAIN_LINE`` matches: read only when somebody asks for more than its bytes.

    A file is merged by its bytes alone, nearly always; reading takes ten times as long.
    """

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        object.__setattr__(self, "raw", raw)
        object.__setattr__(self, "problem", None)
        object.__setattr__(self, "identity", None)

    @property
    def record_count(self) -> int:
        """One."""
        return 1

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """Read from the first field alone."""
        date = read_date(self.raw[:_DATE_BYTES].decode("latin-1"))
        return () if date is None else (date,)

    @property
    def amounts(self) -> tuple[tuple[datetime.date | None, Decimal | None], ...]:
        """Read from the two fields alone."""
        fields = self.raw.split(b"\t", FIELD_COUNT_MIN)
        date, amount = fields[0].decode("latin-1"), decode_cp1252(fields[5])
        return ((read_date(date), read_amount(amount)),)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Read from four fields alone."""
        fields = self.raw.split(b"\t", FIELD_COUNT_MIN)
        date, amount = fields[0].decode("latin-1"), decode_cp1252(fields[5])
        debit, credit = is_account(_code(fields[1])), is_account(_code(fields[2]))
        return (Side(read_date(date), read_amount(amount), debit, credit, ""),)

    @property
    def rows(self) -> tuple[tuple[datetime.date | None, Mapping[str, str]], ...]:
        """Read when they are asked for."""
        date = read_date(self.raw[:_DATE_BYTES].decode("latin-1"))
        return ((date, PostingFields(self.raw)),)

    def __getattr__(self, name: str) -> Any:
        # Called for slots that are not filled, and for what does not exist.
        if name not in ("key", "money_key", "records"):
            raise AttributeError(name)
        read = _read_fields(self.raw, 0).segment
        for slot in ("key", "money_key", "records"):
            object.__setattr__(self, slot, getattr(read, slot))
        return getattr(read, name)


class Line(NamedTuple):
    """A line read on its own.

    ``group`` is (group number, voucher), or ``None`` for a line that stands alone; ``delta`` is
    what the line adds to its group: debit halves count up, credit halves down. ``id`` is the
    ``idno``, empty where there is none.
    """

    segment: Segment
    group: tuple[bytes, bytes] | None
    delta: Decimal
    id: bytes


def plain_line(raw: bytes) -> PlainLine | None:
    """Gives the segment of a line that holds one record and nothing odd; ``None`` for others."""
    if len(raw) <= LINE_BYTES_MAX and _PLAIN_LINE.match(raw):
        return PlainLine(raw)
    return None


def read_line(raw: bytes, number: int) -> Line:
    """Reads one line with its terminator; ``number`` (from 1) goes into its problem."""
    if len(raw) > LINE_BYTES_MAX:
        too_long = Problem(
            TOO_LONG_PROBLEM,
            "the line has {found} bytes; at most {limit} are read",
            number,
            {"found": str(len(raw)), "limit": str(LINE_BYTES_MAX)},
        )
        return Line(whole_segment(raw, too_long), None, ZERO, b"")
    plain = _PLAIN_LINE.match(raw)
    if plain is not None:
        return Line(PlainLine(raw), None, ZERO, plain[1])
    return _read_fields(raw, number)


@lru_cache(LINES_KEPT)
def plain_line_again(raw: bytes) -> Line | None:
    """Does ``read_line`` for a plain line, ``None`` for others; remembers the last of them.

    From one save of a file to the next nearly all lines stay.
    """
    if len(raw) > LINE_BYTES_MAX:
        return None
    plain = _PLAIN_LINE.match(raw)
    return None if plain is None else Line(PlainLine(raw), None, ZERO, plain[1])


def _read_fields(raw: bytes, number: int) -> Line:
    fields = fields_of(raw)
    count = len(fields)
    if count < FIELD_COUNT_MIN or raw[:1] == b"#":
        return Line(_read_other(raw, number, count), None, ZERO, b"")

    date = read_date(fields[0].decode("latin-1"))
    amount = read_amount(decode_cp1252(fields[5]))
    wrong_count = None if count == FIELD_COUNT else _field_count(number, count)
    if date is None and amount is None:
        unreadable = wrong_count
        if unreadable is None:
            template = "the line has neither a date nor an amount"
            unreadable = Problem(UNREADABLE_PROBLEM, template, number)
        return Line(whole_segment(raw, unreadable), None, ZERO, b"")
    problem = wrong_count
    if problem is None and (date is None or amount is None):
        problem = _bad_value(number, fields, date is None)

    if count > 15:
        vat_code, cost_centre = fields[14], fields[15]
    else:
        vat_code, cost_centre = fields[14] if count > 14 else b"", b""
    voucher, text = fields[3], fields[4]
    # Joining by tabs is injective: no field can hold one.
    money = b"\t".join((*fields[:4], fields[5], vat_code, cost_centre))
    money_key = digest(b"p2psync-money", money)
    key = digest(b"p2psync-posting", b"%b\t%b" % (money, text))
    label = clean(decode_cp1252(b"%b/%b %b %b" % (fields[1], fields[2], voucher, text)))
    record = Record(key, money_key, label, date, amount, PostingFields(raw))

    group: tuple[bytes, bytes] | None = None
    delta = ZERO
    many_debit = fields[1].strip() in MANY
    many_credit = fields[2].strip() in MANY
    if count > 8 and fields[8] not in (b"", b"0"):
        group = (fields[8], fields[3])
    if many_debit or many_credit:
        if amount is None or many_debit == many_credit:
            group = None
        else:
            delta = amount if many_credit else -amount
        if problem is None and (delta or many_debit == many_credit):
            problem = _unbalanced(number, voucher)
    segment = Segment(raw, key, money_key, (record,), problem)
    return Line(segment, group, delta, fields[13] if count > 13 else b"")


def _read_other(raw: bytes, number: int, count: int) -> Segment:
    """Reads a line that is no posting: a header, a blank line, or one that cannot be read."""
    start = raw.removeprefix(UTF8_BOM)
    if start.startswith(b"#"):
        tag, _, rest = start.rstrip(b"\r\n").partition(b"\t")
        place = tag.strip()
        if place == b"#ECC":
            place += b"\t" + b"".join(rest.split(b";")[1:2]).strip()
        key = digest(b"p2psync-place", place)
        return Segment(raw, key, key)
    if not raw.strip():
        return whole_segment(raw)
    return whole_segment(raw, _field_count(number, count))


def _field_count(number: int, count: int) -> Problem:
    return Problem(
        FIELD_COUNT_PROBLEM,
        "the line has {found} fields instead of {expected}",
        number,
        {"found": str(count), "expected": str(FIELD_COUNT)},
    )


def _bad_value(number: int, fields: list[bytes], is_date: bool) -> Problem:
    value = {"value": clean(decode_cp1252(fields[0 if is_date else 5]))}
    if is_date:
        return Problem("date", "{value!r} is no date", number, value)
    return Problem("amount", "{value!r} is no amount", number, value)


def _unbalanced(number: int, voucher: bytes) -> Problem:
    template = "the debits and credits around voucher {voucher!r} do not balance"
    return Problem(UNBALANCED_PROBLEM, template, number, {"voucher": clean(decode_cp1252(voucher))})
