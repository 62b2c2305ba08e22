"""SIE 4 (Sweden): vouchers and balances, as type 4E writes and type 4I hands in.

``#VER series number date text regdate sign`` and its lines in braces are one segment, whose records
are its ``#TRANS`` lines (``#RTRANS`` and ``#BTRANS`` tell what was corrected and count nothing).
Series and number identify a voucher. Every other tag is a segment without records, identified by
what it speaks of: a new ``#GEN`` date or a new balance of an account is no new element.
"""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.base import Format, has_suffix, whole_segment
from p2psync.formats.blocks import (
    BlockFormat,
    Facts,
    NamedFields,
    content_digest,
    count_records,
    place_segment,
    plain,
    read_day,
    sides,
    too_long,
)
from p2psync.formats.cresus_header import UTF8_BOM
from p2psync.formats.lines import lines_of
from p2psync.formats.sie_line import Line, read_line, tag_of, text_of
from p2psync.formats.values import clean, read_amount
from p2psync.limits import (
    LINE_BYTES_MAX,
    NAME_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_RECORDS_MAX,
)

_SUFFIXES = (".se", ".si", ".sie")
_HEADS = (b"FLAGGA", b"PROGRAM", b"FORMAT", b"GEN", b"SIETYP")
"""Tags that a file starts with; two of them are enough to know it."""
_HEAD_LINES = 20
_BETWEEN = (b" ", b"\t", b"\r", b"\n", b"")

_PLACES = {
    b"KONTO": 1,
    b"KTYP": 1,
    b"SRU": 2,
    b"ENHET": 1,
    b"DIM": 1,
    b"UNDERDIM": 1,
    b"OBJEKT": 2,
    b"RAR": 1,
    b"IB": 2,
    b"UB": 2,
    b"RES": 2,
    b"OIB": 3,
    b"OUB": 3,
    b"PSALDO": 4,
    b"PBUDGET": 4,
}
"""How many of a tag's fields say what it speaks of; the others are what it says."""
_SINGLE = frozenset(
    b"FLAGGA PROGRAM FORMAT GEN SIETYP PROSA FTYP FNR ORGNR BKOD ADRESS FNAMN TAXAR OMFATTN "
    b"KPTYP VALUTA KSUMMA".split()
)
"""Tags that stand once in a file and speak of the file."""

_NAMES = (
    "date",
    "debit",
    "credit",
    "voucher",
    "text",
    "amount",
    "account",
    "cost_centre",
    "journal",
    "quantity",
)
_OPEN_PROBLEM = "open-voucher"
_TOO_LARGE_PROBLEM = "voucher-too-large"
_UNMERGEABLE = frozenset((_OPEN_PROBLEM, _TOO_LARGE_PROBLEM, "checksum"))


def _recognises(name: str, head: bytes) -> bool:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in head:
        return False
    lines = head.removeprefix(UTF8_BOM).split(b"\n", _HEAD_LINES)[:_HEAD_LINES]
    tags = {tag_of(line[:80]) for line in lines}
    if len(tags.intersection(_HEADS)) >= 2:
        return True
    return has_suffix(name, _SUFFIXES)


# -- cutting ---------------------------------------------------------------------------------------


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts vouchers with their braces; blank lines go with what follows them."""
    held: list[bytes] = []
    size = 0
    inside = waiting = False
    for whole in lines_of(blocks):
        line = whole
        while not inside and line.startswith(UTF8_BOM):
            if held:
                yield b"".join(held)
                held, size, waiting = [], 0, False
            yield UTF8_BOM
            line = line[len(UTF8_BOM) :]
        if not line:
            continue
        start = line.lstrip()
        opens = start[:4].upper() == b"#VER" and start[4:5] in _BETWEEN
        if held and (
            (inside and opens)
            or (waiting and start and not start.startswith(b"{"))
            or size + len(line) > SEGMENT_BYTES_MAX
        ):
            yield b"".join(held)
            held, size, inside, waiting = [], 0, False, False
        held.append(line)
        size += len(line)
        if not start:
            continue
        if inside:
            inside = not start.startswith(b"}")
            if inside:
                continue
        elif opens:
            inside = _opens_itself(line)
            waiting = not inside
            continue
        elif start.startswith(b"{"):
            inside, waiting = not start.rstrip().endswith(b"}"), False
            if inside:
                continue
        yield b"".join(held)
        held, size, waiting = [], 0, False
    if held:
        yield b"".join(held)


def _opens_itself(line: bytes) -> bool:
    """Says whether the brace is at the end of the ``#VER`` line itself."""
    return line.rstrip().endswith((b" {", b"\t{"))


# -- reading ---------------------------------------------------------------------------------------


def _read(raw: bytes) -> Segment:
    lines = raw.split(b"\n")
    longest = max(lines, key=len)
    if len(longest) > LINE_BYTES_MAX:
        return whole_segment(raw, too_long(longest, LINE_BYTES_MAX))
    start = next((index for index, line in enumerate(lines) if line.strip()), None)
    if start is None:
        return place_segment(raw, (b"sie", b"blank"))
    if raw == UTF8_BOM:
        return place_segment(raw, (b"sie", b"bom"))
    tag = tag_of(lines[start])
    if tag == b"VER":
        return _read_voucher(raw, lines, start)
    if not tag:
        text = b"\n".join([line.strip() for line in lines[start:]]).strip()
        key = content_digest(b"p2psync-sie-text", (text,))
        problem = None
        if text.strip(b"\x1a"):
            problem = Problem("unreadable-line", "the line has no tag", start + 1)
        if text.startswith(b"{") and not _is_shut(lines, start):
            # What follows it in a merged file would be taken for its lines.
            problem = Problem(_OPEN_PROBLEM, "the voucher has no end", start + 1)
        return Segment(raw, key, key, (), problem)
    return _read_tag(raw, read_line(lines[start]), start + 1)


def _read_tag(raw: bytes, line: Line, number: int) -> Segment:
    if line.tag in _SINGLE:
        place: tuple[bytes, ...] = ()
    else:
        place = line.fields[: _PLACES.get(line.tag, len(line.fields))]
    problem = None
    if line.tag == b"KSUMMA" and line.fields:
        template = "the file has a check sum, which a merged file could not have"
        problem = Problem("checksum", template, number)
    elif line.tag in (b"TRANS", b"RTRANS", b"BTRANS"):
        problem = Problem(_OPEN_PROBLEM, "the line is in no voucher", number)
    return place_segment(raw, (b"sie", line.tag, *place), problem)


def _read_voucher(raw: bytes, lines: Sequence[bytes], start: int) -> Segment:
    tag, fields = read_line(lines[start])
    line = Line(tag, fields[:-1] if _opens_itself(lines[start]) else fields)
    series, voucher_number, date_field, text = (line.raw(index) for index in range(4))
    date = _date(date_field)
    voucher = clean(f"{line.text(0)} {line.text(1)}")
    place = (series, voucher_number, date_field)
    head = _Head(date, line.text(0), voucher, line.text(3), place, text)
    problem = None
    if date is None:
        value = {"value": text_of(date_field)}
        problem = Problem("date", "{value!r} is no date", start + 1, value)
    if not _is_closed(lines, start):
        problem = Problem(_OPEN_PROBLEM, "the voucher has no end", start + 1)
    records: list[Record] = []
    parts: list[bytes] = [series, voucher_number, date_field]
    words: list[bytes] = [text]
    balance: Decimal | None = Decimal(0)
    for number, each in enumerate(lines[start + 1 :], start + 2):
        tag = tag_of(each)
        if not tag:
            continue
        read = read_line(each)
        if tag != b"TRANS":
            words += [tag, *read.fields]
            continue
        amount_text = read.text(2)
        amount = read_amount(amount_text)
        money = _money(read)
        records.append(_record(head, read, money, amount))
        parts += money
        words.append(read.raw(4))
        if amount is None:
            value = {"value": amount_text}
            problem = problem or Problem("amount", "{value!r} is no amount", number, value)
            balance = None
        elif balance is not None:
            balance += amount
    if len(records) > SEGMENT_RECORDS_MAX:
        template = "the voucher has {found} lines; at most {limit} are merged"
        limits = {"found": str(len(records)), "limit": str(SEGMENT_RECORDS_MAX)}
        problem = Problem(_TOO_LARGE_PROBLEM, template, start + 1, limits)
    if balance and problem is None:
        template = "the debits and credits around voucher {voucher!r} do not balance"
        problem = Problem("unbalanced-group", template, start + 1, {"voucher": voucher})
    identity = None
    if voucher_number.strip(b"0 "):
        identity = content_digest(b"p2psync-sie-ver", (series, voucher_number))
    key = content_digest(b"p2psync-sie", (b"%d" % len(parts), *parts, *words))
    return Segment(
        raw,
        key,
        # Two programs may have given one number to two vouchers: their texts tell them apart.
        key if identity else content_digest(b"p2psync-sie-mone", parts),
        tuple(records),
        problem,
        identity,
    )


def _is_shut(lines: Sequence[bytes], start: int) -> bool:
    """Says whether a brace that begins a segment ends in it."""
    last = next(line for line in reversed(lines) if line.strip())
    return lines[start].rstrip().endswith(b"}") or last.lstrip().startswith(b"}")


def _is_closed(lines: Sequence[bytes], start: int) -> bool:
    """Says whether the braces are there, and hold what they should."""
    last = next((line for line in reversed(lines) if line.strip()), b"").strip()
    return len(lines) > start + 1 and last.endswith(b"}") and not last.startswith(b"#")


def _money(line: Line) -> tuple[bytes, ...]:
    """Gives account, objects, amount, date and quantity."""
    fields = (*line.fields[:6], *[b""] * 6)
    return (*fields[:4], fields[5])


class _Head(NamedTuple):
    """What a voucher says of all its lines."""

    date: datetime.date | None
    series: str
    voucher: str
    text: str
    place: tuple[bytes, bytes, bytes]
    raw_text: bytes


def _record(head: _Head, line: Line, money: tuple[bytes, ...], signed: Decimal | None) -> Record:
    date = _date(money[3]) or head.date
    text = line.text(4) or head.text
    account = line.text(0)
    debit, credit, amount = sides(account, signed)
    label = clean(" ".join([each for each in (f"{debit}/{credit}", head.voucher, text) if each]))
    values = (
        "" if date is None else date.isoformat(),
        debit,
        credit,
        head.voucher,
        text,
        plain(amount),
        account,
        line.text(1),
        head.series,
        line.text(5),
    )
    said = (*head.place, *money)
    return Record(
        content_digest(b"p2psync-sie-line", (*said, head.raw_text, line.raw(4))),
        content_digest(b"p2psync-sie-lmon", said),
        label,
        date,
        amount,
        NamedFields(_NAMES, values),
    )


def _date(field: bytes) -> datetime.date | None:
    if len(field) != 8:
        return None
    text = field.decode("latin-1")
    return read_day(text[:4], text[4:6], text[6:])


# -- the file --------------------------------------------------------------------------------------


def _facts(segments: Sequence[Segment]) -> Facts:
    vouchers = [segment for segment in segments if segment.records or _is_voucher(segment)]
    tags = {b"ORGNR": "", b"RAR": ""}
    period = None
    for segment in segments:
        tag = tag_of(segment.raw[:LINE_BYTES_MAX])
        if tag not in tags or len(segment.raw) > LINE_BYTES_MAX:
            continue
        line = read_line(segment.raw)
        if tag == b"RAR" and line.raw(0) == b"0" and period is None:
            start, end = _date(line.raw(1)), _date(line.raw(2))
            if start is not None and end is not None and start <= end:
                period = start, end
        elif tag == b"ORGNR" and not tags[tag]:
            tags[tag] = line.text(0)
    embedded = None
    if tags[b"ORGNR"]:
        year = f" {period[0].isoformat()}" if period else ""
        embedded = f"{tags[b'ORGNR']}{year}"[:NAME_BYTES_MAX]
    return Facts(
        (("VER", len(vouchers)), ("TRANS", count_records(segments))),
        period,
        embedded,
    )


def _is_voucher(segment: Segment) -> bool:
    return tag_of(segment.raw[:LINE_BYTES_MAX]) == b"VER"


FORMATS: tuple[Format, ...] = (
    BlockFormat("sie", "SIE 4", _SUFFIXES, _recognises, _split, _read, _facts, _UNMERGEABLE),
)
