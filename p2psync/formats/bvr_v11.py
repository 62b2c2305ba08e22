"""BVR/ESR v11: what Swiss banks told of payments by orange slip until 2022; read only.

Records of a fixed length, 100 bytes (type 3) or 200 (type 4), with or without line ends; each
delivery ends in a record with its total and its count (PostFinance, "ESR record description").

A delivery is one segment, kept byte for byte: so in a merged file each total is still the bank's
own, above the payments it was made for. The records of the segment are the payments.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.base import Format, has_suffix
from p2psync.formats.blocks import (
    BlockFormat,
    Facts,
    NamedFields,
    content_digest,
    count_records,
    place_segment,
    plain,
    read_day,
)
from p2psync.formats.values import clean
from p2psync.limits import KIB, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX

_SUFFIXES = (".v11",)
_BLOCK_BYTES = 64 * KIB
_ENDS = b"\r\n"
_END_BYTES_MAX = 3
"""Some programs end a line in CR CR LF."""
_RUN_BYTES_MAX = SEGMENT_BYTES_MAX - 2 * KIB
"""Leaves room for the total."""
_OPEN_PROBLEM = "no-total"
_BROKEN_PROBLEM = "broken-record"
_UNMERGEABLE = frozenset((_OPEN_PROBLEM, _BROKEN_PROBLEM, "not-one-segment"))
_NAMES = (
    "date",
    "voucher",
    "text",
    "amount",
    "currency",
    "account",
    "reference",
    "value_date",
    "journal",
)


class _Layout(NamedTuple):
    """Where the fields of one type stand: start and end."""

    length: int
    pattern: re.Pattern[bytes]
    total: re.Pattern[bytes]


_TYPE_3 = _Layout(
    100,
    re.compile(
        rb"(?P<code>[01][0-9](?P<kind>[258])) (?P<account>[0-9]{9}) (?P<reference>[0-9]{27})"
        rb"(?P<amount>[0-9]{10}) .{10} (?P<paid>[0-9]{6}) (?P<read>[0-9]{6}) (?P<value>[0-9]{6})"
        rb".{23}".replace(b" ", b""),
        re.DOTALL,
    ),
    re.compile(
        rb"99(?P<kind>[59]) (?P<account>[0-9]{9}) .{27} (?P<amount>[0-9]{12}) (?P<count>[0-9]{12})"
        rb"(?P<day>[0-9]{6}) .{31}".replace(b" ", b""),
        re.DOTALL,
    ),
)
_TYPE_4 = _Layout(
    200,
    re.compile(
        rb"(?P<code>[0-8][0-9](?P<kind>[123])[0-9]{3}) (?P<account>[0-9]{9})"
        rb"(?P<reference>[0-9]{27}) (?P<currency>[A-Z]{3}) (?P<amount>[0-9]{12}) .{35}"
        rb"(?P<paid>[0-9]{8}) (?P<read>[0-9]{8}) (?P<value>[0-9]{8}) .{84}".replace(b" ", b""),
        re.DOTALL,
    ),
    re.compile(
        rb"99(?P<kind>[0-9])[0-9]{3} (?P<account>[0-9]{9}) .{27} (?P<currency>[A-Z]{3})"
        rb"(?P<amount>[0-9]{12}) (?P<count>[0-9]{12}) (?P<day>[0-9]{8}) .{123}".replace(b" ", b""),
        re.DOTALL,
    ),
)


def _recognises(name: str, head: bytes) -> bool:
    if has_suffix(name, _SUFFIXES):
        return True
    start = head.lstrip(_ENDS)[: _TYPE_4.length]
    layout = _layout(start)
    first = start[: layout.length]
    following = start[layout.length : layout.length + 1]
    is_one = layout.pattern.fullmatch(first) or layout.total.fullmatch(first)
    return is_one is not None and (following in (b"", b"\r", b"\n") or following.isdigit())


# -- cutting ---------------------------------------------------------------------------------------


def _layout(raw: bytes) -> _Layout:
    """Tells the type by its currency, where type 3 has digits."""
    return _TYPE_4 if raw[42:45].isalpha() else _TYPE_3


def _cut(raw: bytes) -> int:
    """Gives the length of the record that some bytes start with, its line end included.

    A line that ends too early is taken as it is.
    """
    length = _layout(raw).length
    early = raw.find(b"\n", 0, length)
    if early >= 0:
        return early + 1
    end = length
    while end < length + _END_BYTES_MAX - 1 and raw[end : end + 1] == b"\r":
        end += 1
    if raw[end : end + 1] == b"\n":
        end += 1
    return min(end, len(raw))


def _records(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields each record with its line end; holds one block."""
    longest = _TYPE_4.length + _END_BYTES_MAX
    held = b""
    for block in blocks:
        for start in range(0, len(block), _BLOCK_BYTES):
            held += block[start : start + _BLOCK_BYTES]
            place = 0
            while len(held) - place >= longest:
                size = _cut(held[place : place + longest])
                yield held[place : place + size]
                place += size
            held = held[place:]
    while held:
        size = _cut(held)
        yield held[:size]
        held = held[size:]


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Joins the records of a delivery with its total."""
    run: list[bytes] = []
    size = 0
    for raw in _records(blocks):
        body = raw.rstrip(_ENDS)
        layout = _layout(body)
        if layout.pattern.fullmatch(body):
            run.append(raw)
            size += len(raw)
            while len(run) > SEGMENT_RECORDS_MAX or size > _RUN_BYTES_MAX:
                size -= len(run[0])
                yield run.pop(0)
        elif layout.total.fullmatch(body):
            yield b"".join([*run, raw])
            run, size = [], 0
        else:
            yield from run
            yield raw
            run, size = [], 0
    yield from run


# -- reading ---------------------------------------------------------------------------------------


def _read(raw: bytes) -> Segment:
    if raw.endswith(b"\n") and not raw.strip(_ENDS):
        return place_segment(raw, (b"v11", b"blank"))
    raws = list(_records((raw,)))
    bodies = [each.rstrip(_ENDS) for each in raws]
    key = content_digest(b"p2psync-v11", bodies)
    records = []
    problem = None
    total: re.Match[bytes] | None = None
    number = line = 1
    for body, each in zip(bodies, raws, strict=True):
        number, line = line, line + each.count(b"\n")
        layout = _layout(body)
        match = layout.pattern.fullmatch(body)
        if match is not None:
            records.append(_record(match))
            if records[-1].date is None and problem is None:
                value = {"value": clean(match["value"].decode("ascii"))}
                problem = Problem("date", "{value!r} is no date", number, value)
            continue
        total = layout.total.fullmatch(body)
        if total is None:
            template = "the record has {found} bytes, or holds what none of its type does"
            problem = Problem(_BROKEN_PROBLEM, template, number, {"found": str(len(body))})
    if total is None and problem is None:
        problem = Problem(_OPEN_PROBLEM, "no total follows the payments", 1)
    if total is not None and problem is None:
        problem = _disagreement(total, records, number)
    return Segment(raw, key, key, tuple(records), problem)


def _disagreement(total: re.Match[bytes], records: Sequence[Record], line: int) -> Problem | None:
    amount = sum([record.amount for record in records if record.amount is not None], Decimal(0))
    told = Decimal(int(total["amount"])).scaleb(-2)
    count = int(total["count"])
    if abs(amount) == told and len(records) == count:
        return None
    template = "the total says {count} payments of {told}; there are {found} of {amount}"
    params = {
        "count": str(count),
        "told": plain(told),
        "found": str(len(records)),
        "amount": plain(amount),
    }
    return Problem("total", template, line, params)


def _record(match: re.Match[bytes]) -> Record:
    amount = Decimal(int(match["amount"])).scaleb(-2)
    if match["kind"] == (b"5" if match.re is _TYPE_3.pattern else b"2"):  # taken back
        amount = amount.copy_negate()
    date = _day(match["value"]) or _day(match["paid"])
    reference = match["reference"].decode("ascii")
    account = match["account"].decode("ascii")
    currency = match.groupdict().get("currency", b"").decode("ascii")
    values = (
        "" if date is None else date.isoformat(),
        reference,
        reference,
        plain(amount),
        currency,
        account,
        reference,
        "" if date is None else date.isoformat(),
        match["code"].decode("ascii"),
    )
    key = content_digest(b"p2psync-v11-rec", (match[0],))
    return Record(key, key, f"{account} {reference}", date, amount, NamedFields(_NAMES, values))


def _day(field: bytes) -> datetime.date | None:
    text = field.decode("ascii")
    if len(text) == 6:
        text = f"20{text}" if text < "70" else f"19{text}"
    return read_day(text[:4], text[4:6], text[6:])


# -- the file --------------------------------------------------------------------------------------


def _facts(segments: Sequence[Segment]) -> Facts:
    payments = count_records(segments)
    totals = sum([_has_total(segment) for segment in segments])
    return Facts((("records", payments + totals), ("payments", payments), ("totals", totals)))


def _has_total(segment: Segment) -> bool:
    body = segment.raw.rstrip(_ENDS)
    return any(
        layout.total.fullmatch(body[-layout.length :]) is not None
        for layout in (_TYPE_3, _TYPE_4)
        if len(body) >= layout.length
    )


def _damage(data: bytes) -> list[Problem]:
    """Finds what shows that a file is no such file; records need no line ends."""
    if not data:
        return [Problem("empty", "the file is empty")]
    return []


FORMATS: tuple[Format, ...] = (
    BlockFormat(
        "bvr-v11",
        "BVR/ESR payments, v11",
        _SUFFIXES,
        _recognises,
        _split,
        _read,
        _facts,
        _UNMERGEABLE,
        _damage,
        identifies=False,
    ),
)
