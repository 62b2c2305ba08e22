"""OFX bank and card statements: version 1 (SGML, values without end tags) and 2 (XML).

A segment is a ``STMTTRN``, which is one record. Both versions are read by one reader, and as
tolerantly as banks write: a value ends where the next tag begins, in either.
"""

import datetime
import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from p2psync.core.records import Document, Problem, Record, Segment
from p2psync.formats.base import Format, Merge, bounded, has_suffix, whole_segment
from p2psync.formats.iso20022 import (
    UNREADABLE,
    counts_of,
    decode,
    frame,
    interrupted,
    placed,
    plain,
    repeated,
    too_large,
    unreadable,
)
from p2psync.formats.markup import Cut, Rules, cut, tags
from p2psync.formats.values import clean, digest, read_amount
from p2psync.limits import RECORD_FILE_BYTES_MAX, RECORD_TEXT_CHARS_MAX, SEGMENT_BYTES_MAX

_RULES = Rules(frozenset((b"stmttrn",)), frozenset(), frozenset((b"banktranlist",)))
_START = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*OFXHEADER\s*:|<OFX>|<\?OFX\s", re.IGNORECASE)
_END = re.compile(rb"</OFX\s*>\s*\Z", re.IGNORECASE)
_VALUE = re.compile(r"<([A-Za-z0-9_.]+)>([^<]*)")
_ACCOUNT = re.compile(rb"<ACCTID>([^<\r\n]*)", re.IGNORECASE)
_DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})(?:[0-9.\[].*)?", re.ASCII | re.DOTALL)
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+", re.ASCII)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,6}|#x[0-9A-Fa-f]{1,5});")
_OUTER = (b"RS", b"RSV1", b"LIST", b"OFX")
"""How the names end of elements around a statement; others may lack their end tag."""
_UNMERGED = frozenset((UNREADABLE, "unclosed-element"))


@dataclass(frozen=True, slots=True)
class OfxFormat:
    """Goes by what the file starts with, and by its suffix where it starts with anything else."""

    name: str = "ofx"
    title: str = "Bank statement, OFX"
    suffixes: tuple[str, ...] = (".ofx", ".qfx")
    merge: Merge = "records"
    identifies: bool = True

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the header or the outermost element, else by the suffix."""
        # The words first: the expression alone takes 30 ms for a picture.
        starts = b"OFX" in head.upper() and _START.search(head) is not None
        return starts or has_suffix(name, self.suffixes)

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        if len(data) > RECORD_FILE_BYTES_MAX:
            return Document(self.name, (whole_segment(data),), False, (too_large(),))
        cuts = list(cut([data], _RULES))
        segments = tuple(map(_read, cuts))
        problems = _damage(data)
        twice = repeated(segments)
        if twice is not None:
            problems.append(twice)
        lists = sum(
            closing and name.lower() in _RULES.lists
            for each in cuts
            if not (each.whole or each.broken)
            for closing, name in tags(each.raw)
        )
        if lists > 1:
            template = "the file holds {count} statements; two versions of it are not merged"
            problems.append(Problem("several-statements", template, 0, {"count": str(lists)}))
        between = None if problems else interrupted(segments)
        if between is not None:
            problems.append(between)
        found = placed(segments)
        mergeable = not problems and all(each.code not in _UNMERGED for each in found)
        counts = counts_of(segments, ("STMTTRN",))
        return Document(self.name, segments, mergeable, bounded(problems + found), counts=counts)

    def read_segment(self, raw: bytes) -> Segment:
        """Reads a transaction, or what stands around transactions."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return whole_segment(raw)
        return _read_alone(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields a transaction at a time."""
        return map(_read, cut(blocks, _RULES))


FORMATS: tuple[Format, ...] = (OfxFormat(),)


def _damage(data: bytes) -> list[Problem]:
    """Finds what is wrong with the file as a whole."""
    if not data.strip():
        return [Problem("empty", "the file is empty")]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return [Problem("utf-16", "the file is UTF-16, which is not read")]
    problems: list[Problem] = []
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        problems.append(Problem("nul", "the file holds a NUL byte", line))
    if _END.search(data, max(0, len(data) - 4096)) is None:
        line = data.count(b"\n") + 1
        problems.append(Problem("truncated-tail", "the file does not end in </OFX>", line))
    return problems


def _read(each: Cut) -> Segment:
    return _transaction(each.raw, closed=True) if each.whole else _read_alone(each.raw)


def _read_alone(raw: bytes) -> Segment:
    """Reads a segment by its bytes alone."""
    cuts = list(cut([raw], _RULES))
    if len(cuts) != 1 or cuts[0].broken:
        return unreadable(raw)
    if cuts[0].name:
        return _transaction(raw, closed=cuts[0].whole)
    account = [clean(decode(found)) for found in _ACCOUNT.findall(raw)]
    return frame(b"p2psync-ofx", raw, account, lambda name: name.upper().endswith(_OUTER))


def _transaction(raw: bytes, *, closed: bool) -> Segment:
    values: dict[str, str] = {}
    for name, text in _VALUE.findall(decode(raw)):
        plain_text = text.strip()
        if "&" in plain_text:
            plain_text = _ENTITY.sub(lambda match: html.unescape(match[0]), plain_text)
        said = clean(plain_text)
        if said:
            values.setdefault(name.upper(), said)
    date = _day(values.get("DTPOSTED", ""))
    amount = _amount(values.get("TRNAMT", ""))
    value_date = _day(values.get("DTAVAIL", "") or values.get("DTUSER", ""))
    identifier = values.get("FITID", "")
    fields = {
        "date": "" if date is None else date.isoformat(),
        "value_date": "" if value_date is None else value_date.isoformat(),
        "amount": plain(amount),
        "currency": values.get("CURSYM", ""),
        "voucher": values.get("CHECKNUM", "").lstrip("0") or values.get("REFNUM", ""),
        "reference": identifier,
        "iban": values.get("ACCTID", ""),
        "kind": values.get("TRNTYPE", ""),
    }
    money = "\0".join(fields.values()).encode()
    texts = dict.fromkeys(filter(None, (values.get("NAME", ""), values.get("MEMO", ""))))
    text = ": ".join(texts)[:RECORD_TEXT_CHARS_MAX].strip()
    fields |= {"counterparty": values.get("NAME", ""), "text": text}
    money_key = digest(b"p2psync-ofx-mo", money)
    key = digest(b"p2psync-ofx-tx", money_key + text.encode())
    record = Record(key, money_key, text or identifier, date, amount, fields)
    usable = bool(identifier.strip("0"))
    return Segment(
        raw,
        key,
        money_key,
        (record,),
        _lacking(record, values, closed=closed),
        digest(b"p2psync-fitid", identifier.encode()) if usable else None,
    )


def _lacking(record: Record, values: dict[str, str], *, closed: bool) -> Problem | None:
    if not closed:
        return Problem("unclosed-element", "a transaction without its end tag", 1)
    if record.date is None:
        value = {"value": values.get("DTPOSTED", "")}
        return Problem("date", "{value!r} is no date", 1, value)
    if record.amount is None:
        value = {"value": values.get("TRNAMT", "")}
        return Problem("amount", "{value!r} is no amount", 1, value)
    return None


def _day(text: str) -> datetime.date | None:
    """Reads ``YYYYMMDD``, perhaps with a time and a zone (OFX 2.3, section 3.2.8.2)."""
    match = _DAY.fullmatch(text)
    if match is None:
        return None
    try:
        return datetime.date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None


def _amount(text: str) -> Decimal | None:
    """Reads an amount, whose decimal point may be a comma; nothing separates thousands."""
    return read_amount(text.replace(",", ".") if _COMMA.fullmatch(text) else text)
