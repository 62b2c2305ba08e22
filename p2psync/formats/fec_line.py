"""One line of a FEC, the French file of accounting entries (LPF, article A47 A-1).

A line has 18 fields in a fixed order, separated by tabs or ``|``; cash accountings append three or
four, and files in the wild have empty ones at the end. In place of Debit and Credit there may be
Montant and Sens (``D``, ``C``, ``+1``, ``-1``). A record's ``key`` leaves out the names of journals
and accounts, the lettering and the date of validation: those are filled in later.
"""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

from p2psync.core.records import Problem, Record, Segment, Side, is_account
from p2psync.formats.base import whole_segment
from p2psync.formats.fields import LineFields, quoted_fields
from p2psync.formats.lines import (
    UNBALANCED_PROBLEM,
    Delta,
    Line,
    field_count,
    join_parts,
    joined_identity,
    line_too_long,
    split_lines,
)
from p2psync.formats.values import clean, digest, read_amount
from p2psync.limits import LINE_BYTES_MAX

COLUMNS = (
    b"journalcode",
    b"journallib",
    b"ecriturenum",
    b"ecrituredate",
    b"comptenum",
    b"comptelib",
    b"compauxnum",
    b"compauxlib",
    b"pieceref",
    b"piecedate",
    b"ecriturelib",
    b"debit",
    b"credit",
    b"ecriturelet",
    b"datelet",
    b"validdate",
    b"montantdevise",
    b"idevise",
)
NAMES = (
    "JournalCode JournalLib EcritureNum EcritureDate CompteNum CompteLib CompAuxNum CompAuxLib "
    "PieceRef PieceDate EcritureLib Debit Credit EcritureLet DateLet ValidDate Montantdevise "
    "Idevise"
).split()
_OTHER_NAMES = {b"montant": b"debit", b"sens": b"credit"}
UTF8_BOM = b"\xef\xbb\xbf"
_JOURNAL, _NUMBER, _DATE, _ACCOUNT, _PIECE, _TEXT, _DEBIT, _CREDIT = 0, 2, 3, 4, 8, 10, 11, 12
_FIELDS_MIN = _CREDIT + 1
"""Up to the amounts: with fewer a line is no record."""
_COMPARED = (0, 2, 3, 4, 6, 8, 9, 11, 12, 16, 17)
"""All that makes the record but its text."""
_MANDATORY = (0, 1, 2, 3, 4, 5, 8, 9, 10, 15)
"""Columns that may not be empty."""
_NO_NUMBER = re.compile(rb"[0\s-]*")
_SIDES = {b"D": 1, b"C": -1, b"+1": 1, b"-1": -1, b"d": 1, b"c": -1}
_ZERO = Decimal(0)
_EXACT = Context(prec=64)
_LINES_REMEMBERED = 256
_ACCOUNTS_REMEMBERED = 4096
MANY = "..."
_HEADER_KEY = digest(b"p2psync-place", b"fec")
_UNBALANCED = "the debits and credits around voucher {voucher!r} do not balance"

_DAY = rb"""(?:19|20)[0-9]{2}
    (?: (?:0[1-9]|1[0-2])(?:0[1-9]|1[0-9]|2[0-8])
      | (?:0[13-9]|1[0-2])(?:29|30)
      | (?:0[13578]|1[02])31 )"""


def _plain(delimiter: bytes) -> re.Pattern[bytes]:
    any_ = rb"[^%b\n\"]*" % delimiter
    some = rb"[^%b\"\x00-\x20][^%b\n\"\x00\r]*" % (delimiter, delimiter)
    last = rb"[^%b\n\"\r]*" % delimiter
    amount = rb"(?:(-?[0-9]{1,13})[.,]([0-9]{2})|0?)"
    first = rb"([^|\"\x00-\x20][^|\t\n\"\x00\r]*)"
    fields = [first, some, b"(%b)" % some, _DAY, some, some, any_, any_, some, some, some]
    fields += [amount, amount, any_, any_, some, any_, last]
    return re.compile(delimiter.join(fields) + rb"[%b\r]*\n?\Z" % delimiter, re.VERBOSE)


PLAIN_TAB = _plain(rb"\t")
PLAIN_PIPE = _plain(rb"\|")
"""What nearly every line is: all there, each amount with two decimals, nothing in quotes."""


def is_header(line: bytes) -> bool:
    """Says whether a line names the columns, by the first four of them."""
    start = line[:256].removeprefix(UTF8_BOM).lstrip(b'"')[: len(COLUMNS[0])]
    return start.lower() == COLUMNS[0] and header_names(line)[:4] == list(COLUMNS[:4])


def header_names(line: bytes) -> list[bytes]:
    """Gives the names of a header line in lower case; empty ones at the end are left out.

    Montant and Sens are given as the columns whose place they take.
    """
    line = line[:LINE_BYTES_MAX].removeprefix(UTF8_BOM)
    names = [name.strip().lower() for name in fields_of(line)]
    while names and not names[-1]:
        names.pop()
    return [_OTHER_NAMES.get(name, name) for name in names]


def fields_of(raw: bytes) -> list[bytes]:
    """Splits a line at its tabs, or at each ``|`` where that comes first; quotes are taken off."""
    line = raw.rstrip(b"\r\n")
    delimiter = delimiter_of(line)
    # A line of a quoted file has its first field in quotes; elsewhere a quote is part of a text.
    return quoted_fields(line, delimiter, b'"') if line[:1] == b'"' else line.split(delimiter)


def delimiter_of(raw: bytes) -> bytes:
    """Gives what separates the fields of a line: the first of the two that is in it."""
    tab, pipe = raw.find(b"\t"), raw.find(b"|")
    return b"|" if tab < 0 or 0 <= pipe < tab else b"\t"


def field_count_of(raw: bytes) -> int:
    """Says how many fields ``fields_of`` gives."""
    if raw[:1] == b'"':
        return len(fields_of(raw))
    return raw.count(delimiter_of(raw)) + 1


def decode(raw: bytes) -> str:
    """Decodes UTF-8; else Windows-1252 where a byte tells it, else ISO-8859-15."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        western = any(0x80 <= byte < 0xA0 for byte in raw)
        return raw.decode("cp1252" if western else "iso-8859-15", "replace")


_set_raw = Segment.__dict__["raw"].__set__
_set_problem = Segment.__dict__["problem"].__set__


class PlainLine(Segment):
    """A line with nothing odd in it, read only when somebody asks for more than its bytes.

    A file is counted and merged by its bytes alone, nearly always; reading takes ten times as long.
    """

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        _set_raw(self, raw)

    @property
    def record_count(self) -> int:
        """One."""
        return 1

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """Read from one field of each line alone."""
        return tuple([date for fields in self._fields() if (date := _read_date(fields[_DATE]))])

    @property
    def amounts(self) -> tuple[tuple[datetime.date | None, Decimal | None], ...]:
        """Read from three fields of each line alone."""
        return tuple([_date_and_amount(fields) for fields in self._fields()])

    @property
    def rows(self) -> tuple[tuple[datetime.date | None, Mapping[str, str]], ...]:
        """Read without the records' keys, which take most of the time."""
        raws = split_lines(self.raw)
        return tuple(
            [
                (date, LineFields(raw, _named_fields))
                for raw, date in zip(raws, map(_date_of, self._fields()), strict=True)
            ]
        )

    @property
    def sides(self) -> tuple[Side, ...]:
        """Read from three fields of each line alone."""
        return tuple([_plain_side(fields) for fields in self._fields()])

    def _fields(self) -> Iterator[list[bytes]]:
        delimiter = delimiter_of(self.raw)
        for line in self.raw.rstrip(b"\r\n").split(b"\n"):
            yield line.split(delimiter)

    def _read(self) -> Segment:
        return _read_record(self.raw).segment

    def __getattr__(self, name: str) -> Any:
        # Called for slots that are not filled, and for what does not exist.
        if name == "identity":
            # In a line that is plain, one of the two amounts is zero.
            identity = joined_identity(
                [_identity(fields, bool(fields[_DEBIT].strip(b"0.,"))) for fields in self._fields()]
            )
            object.__setattr__(self, name, identity)
            return identity
        if name not in ("key", "money_key", "records", "problem", "identity"):
            raise AttributeError(name)
        read = self._read()
        for slot in ("key", "money_key", "records", "problem", "identity"):
            object.__setattr__(self, slot, getattr(read, slot))
        return getattr(read, name)


class PlainEntry(PlainLine):
    """A balanced run of such lines."""

    __slots__ = ()

    def __init__(self, raw: bytes) -> None:
        _set_raw(self, raw)
        _set_problem(self, None)

    @property
    def record_count(self) -> int:
        """One a line."""
        return self.raw.count(b"\n") + (not self.raw.endswith(b"\n"))

    def _read(self) -> Segment:
        return join_parts([_read_record(raw).segment for raw in split_lines(self.raw)])


def join(parts: Sequence[Segment]) -> Segment:
    """Makes one segment of the lines of a balanced run."""
    for part in parts:
        if type(part) is not PlainLine:
            return join_parts(parts)
    return PlainEntry(b"".join([part.raw for part in parts]))


def read_line(raw: bytes) -> Line:
    """Reads one line with its terminator; lines of one entry have one group.

    Its ``delta`` is in hundredths.
    """
    if len(raw) <= LINE_BYTES_MAX:
        plain = PLAIN_TAB.match(raw) or PLAIN_PIPE.match(raw)
        if plain is not None:
            journal, number, debit, debit_cents, credit, credit_cents = plain.groups(b"0")
            debited, credited = int(debit + debit_cents), int(credit + credit_cents)
            if debited != credited and not (debited and credited):
                return Line(PlainLine(raw), (journal, number), debited - credited)
    return _read_record(raw)


def _read_record(raw: bytes) -> Line:
    """Reads a line field by field."""
    if len(raw) > LINE_BYTES_MAX:
        return Line(line_too_long(raw), None, 0)
    if is_header(raw):
        return Line(Segment(raw, _HEADER_KEY, _HEADER_KEY), None, 0)
    if not raw.strip(b"\t|\r\n "):
        return Line(whole_segment(raw), None, 0)
    fields = fields_of(raw)
    count = len(fields)
    if count < _FIELDS_MIN:
        return Line(whole_segment(raw, field_count(1, count, len(COLUMNS))), None, 0)
    date = _read_date(fields[_DATE])
    amounts = _read_amounts(fields)
    debit, credit = amounts or (None, None)
    if date is None and amounts is None:
        unreadable = Problem("unreadable-line", "the line has neither a date nor an amount", 1)
        wrong = field_count(1, count, len(COLUMNS)) if count < len(COLUMNS) else unreadable
        return Line(whole_segment(raw, wrong), None, 0)
    delta: Delta = 0
    if debit is not None and credit is not None:
        delta = _EXACT.scaleb(_EXACT.subtract(debit, credit), 2)
    problem = _problem(fields, date, debit, credit)
    if problem is None and delta:
        params = {"voucher": clean(decode(fields[_NUMBER]))}
        problem = Problem(UNBALANCED_PROBLEM, _UNBALANCED, 1, params)
    segment = _segment(raw, fields, date, amounts, problem)
    return Line(segment, (fields[_JOURNAL], fields[_NUMBER]), delta)


def _read_date(field: bytes) -> datetime.date | None:
    text = field.strip()
    if len(text) != 8 or not text.isdigit():
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _read_amounts(fields: Sequence[bytes]) -> tuple[Decimal, Decimal] | None:
    """Reads debit and credit, empty ones as zero; ``None`` when one is no amount, or both miss."""
    first, second = fields[_DEBIT].strip(), fields[_CREDIT].strip()
    side = _SIDES.get(second)
    if side is not None:
        amount = _read_amount(first)
        # Digits alone may also be one franc of credit, where nothing is debited.
        if second.isalpha() or amount:
            if amount is None:
                return None
            return (amount, _ZERO) if side > 0 else (_ZERO, amount)
    if not first and not second:
        return None
    debit = _read_amount(first) if first else _ZERO
    credit = _read_amount(second) if second else _ZERO
    return None if debit is None or credit is None else (debit, credit)


def _read_amount(field: bytes) -> Decimal | None:
    text = decode(field)
    if "," in text:
        whole, _, cents = text.rpartition(",")
        if "," not in whole and "." not in cents:  # the comma is the decimal mark in a FEC
            text = f"{whole.replace('.', '')}.{cents}"
    return read_amount(text)


def _problem(
    fields: Sequence[bytes],
    date: datetime.date | None,
    debit: Decimal | None,
    credit: Decimal | None,
) -> Problem | None:
    """Finds what is wrong with a line on its own, the worst of it."""
    if len(fields) < len(COLUMNS):
        return field_count(1, len(fields), len(COLUMNS))
    if date is None:
        value = clean(decode(fields[_DATE]))
        return Problem("date", "{value!r} is no date", 1, {"value": value})
    if debit is None or credit is None:
        value = clean(" / ".join(decode(field) for field in fields[_DEBIT : _CREDIT + 1]))
        return Problem("amount", "{value!r} is no amount", 1, {"value": value})
    if debit and credit:
        return Problem("two-sided", "the line has a debit and a credit", 1)
    for place in _MANDATORY:
        if not fields[place].strip():
            template = "the field {field}, which is mandatory, is empty"
            return Problem("missing-field", template, 1, {"field": NAMES[place]})
    return None


def _segment(
    raw: bytes,
    fields: Sequence[bytes],
    date: datetime.date | None,
    amounts: tuple[Decimal, Decimal] | None,
    problem: Problem | None,
) -> Segment:
    # Joining by a line's end is injective: no field holds one.
    money = b"\n".join([fields[place] for place in _COMPARED if place < len(fields)])
    key = digest(b"p2psync-fec", b"%b\n%b" % (money, fields[_TEXT]))
    is_debit, amount = _side(amounts)
    identity = _identity(fields, is_debit)
    # Where nothing says which paper it is about, the text tells one entry from another; so it does
    # where two programs may have given one number to two entries.
    text_alone = identity is None and not _NO_NUMBER.fullmatch(fields[_PIECE])
    money_key = digest(b"p2psync-fec-mo", money) if text_alone else key
    account, piece, text = (decode(fields[place]) for place in (_ACCOUNT, _PIECE, _TEXT))
    sides = f"{account}/{MANY}" if is_debit else f"{MANY}/{account}"
    label = clean(f"{sides} {piece} {text}")
    record = Record(key, money_key, label, date, amount, LineFields(raw, _named_fields))
    return Segment(raw, key, money_key, (record,), problem, identity)


def _identity(fields: Sequence[bytes], is_debit: bool) -> bytes | None:
    """Gives what names a line: the law wants the entries of a journal numbered without gaps."""
    if _NO_NUMBER.fullmatch(fields[_NUMBER]):
        return None
    named = (fields[_JOURNAL], fields[_NUMBER], fields[_ACCOUNT], b"D" if is_debit else b"C")
    return digest(b"p2psync-fec-id", b"\n".join(named))


def _side(amounts: tuple[Decimal, Decimal] | None) -> tuple[bool, Decimal | None]:
    """Gives whether a line debits its account, and by how much; both sides make up one amount."""
    if amounts is None:
        return True, None
    debit, credit = amounts
    if debit and credit:
        return debit >= credit, abs(_EXACT.subtract(debit, credit))
    return (False, credit) if credit else (True, debit)


def _date_of(fields: Sequence[bytes]) -> datetime.date | None:
    return _read_date(fields[_DATE])


def _date_and_amount(fields: Sequence[bytes]) -> tuple[datetime.date | None, Decimal | None]:
    return _read_date(fields[_DATE]), _side(_read_amounts(fields))[1]


def _plain_side(fields: Sequence[bytes]) -> Side:
    is_debit, amount = _side(_read_amounts(fields))
    named = _is_account(fields[_ACCOUNT])
    return Side(_read_date(fields[_DATE]), amount, named and is_debit, named and not is_debit, "")


@lru_cache(_ACCOUNTS_REMEMBERED)
def _is_account(raw: bytes) -> bool:
    return is_account(clean(decode(raw)))


@lru_cache(_LINES_REMEMBERED)
def _named_fields(raw: bytes) -> Mapping[str, str]:
    fields = fields_of(raw)
    texts = [clean(decode(field)) for field in fields]
    texts += [""] * (len(COLUMNS) - len(texts))
    is_debit, _ = _side(_read_amounts(fields))
    account = texts[_ACCOUNT]
    return {
        "date": texts[_DATE],
        "debit": account if is_debit else MANY,
        "credit": MANY if is_debit else account,
        "voucher": texts[_PIECE],
        "text": texts[_TEXT],
        "amount": texts[_DEBIT] if is_debit else texts[_CREDIT],
        "currency": "",
        "currency_amount": texts[16],
        "foreign_currency": texts[17],
        "rate": "",
        "vat_code": "",
        "cost_centre": "",
        "group": texts[_NUMBER],
        "journal": texts[_JOURNAL],
        "account": account,
        "sub_account": texts[6],
        "counterparty": texts[7],
        "account_name": texts[5],
        "value_date": texts[9],
        "lettering": texts[13],
    }
