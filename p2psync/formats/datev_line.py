"""One line of a DATEV file (EXTF): its fields, and the record of a batch of postings.

Fields are separated by ``;``, texts in quotes. In a batch of postings (category 21) they are in a
fixed order, and the date is day and month: the year is that of the batch's fiscal year, which only
the header says. So a reader is made for one fiscal year (see ``datev``).
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.base import whole_segment
from p2psync.formats.fields import LineFields, quoted_fields
from p2psync.formats.lines import field_count, line_too_long
from p2psync.formats.values import clean, decode_cp1252, digest, read_amount
from p2psync.limits import LINE_BYTES_MAX

QUOTE = b'"'
UTF8_BOM = b"\xef\xbb\xbf"
_HEADER = re.compile(rb'(?:\xef\xbb\xbf)?"?(?:EXTF|DTVF)"?;')
_HEADER_KEY = digest(b"p2psync-place", b"datev")
_COLUMNS_KEY = digest(b"p2psync-place", b"datev-columns")
_FIELDS_MIN = 14
"""Up to the text: files may leave out columns at the end."""
_AMOUNT, _SIDE, _CURRENCY, _RATE, _BASE, _BASE_CURRENCY = 0, 1, 2, 3, 4, 5
_ACCOUNT, _CONTRA, _CODE = 6, 7, 8
_DATE, _VOUCHER, _REFERENCE, _TEXT, _COST_1, _COST_2, _REVERSAL = 9, 10, 11, 13, 36, 37, 117
_COMPARED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 36, 37, 39, 114, 117)
"""All that makes the posting but its text."""
_REVERSED = (b"1", b"G")
_EXACT = Context(prec=64)
_LINES_REMEMBERED = 256


def is_header(raw: bytes) -> bool:
    """Says whether a line is the first one of a file: what it holds, from where, of which time."""
    return _HEADER.match(raw) is not None


def is_columns(segment: Segment) -> bool:
    """Says whether a segment is a line that names the columns."""
    return segment.key == _COLUMNS_KEY


def fields_of(raw: bytes) -> list[bytes]:
    """Splits a line into its fields, without their quotes."""
    return quoted_fields(raw.removeprefix(UTF8_BOM).rstrip(b"\r\n"), b";", QUOTE)


def decode(raw: bytes) -> str:
    """Decodes UTF-8, which newer programs write, else Windows-1252."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return decode_cp1252(raw)


def read_posting(raw: bytes, year: datetime.date | None) -> Segment:
    """Reads a line of a batch of postings, of the fiscal year that begins at ``year``.

    Without one no record has a date.
    """
    fields = _lead(raw, rb"Umsatz")
    if isinstance(fields, Segment):
        return fields
    count = len(fields)
    amount = _read_amount(fields)
    day = _read_day(fields[_DATE]) if count > _DATE else None
    if day is None and amount is None:
        unreadable = Problem("unreadable-line", "the line has neither a date nor an amount", 1)
        wrong = unreadable if count >= _FIELDS_MIN else field_count(1, count, _FIELDS_MIN)
        return whole_segment(raw, wrong)
    date = None if day is None or year is None else _dated(day, year)
    problem = _problem(fields, amount)
    if problem is None and (day is None or (year is not None and date is None)):
        value = {"value": clean(decode(fields[_DATE]))}
        problem = Problem("date", "{value!r} is no date", 1, value)
    if problem is None and year is None:
        problem = Problem("no-year", "nothing tells of which year the date is", 1)

    money = b"\n".join([fields[place] if place < count else b"" for place in _COMPARED])
    text = fields[_TEXT] if count > _TEXT else b""
    key = digest(b"p2psync-datev", b"%b\n\n%b" % (money, text))
    money_key = digest(b"p2psync-datev-mo", money)
    named = _named_posting(raw)
    label = clean("{debit}/{credit} {voucher} {text}".format_map(named))
    record = Record(key, money_key, label, date, amount, LineFields(raw, _named_posting))
    return Segment(raw, key, money_key, (record,), problem)


def read_data(raw: bytes) -> Segment:
    """Reads a line of master data: one record, told apart by its content."""
    fields = _lead(raw, rb"[A-Za-z][^\"]|\"(?:Konto|Nummer|Adressnummer)\"")
    if isinstance(fields, Segment):
        return fields
    key = digest(b"p2psync-datev-d", b"\n".join([b"%d:%b" % (len(f), f) for f in fields]))
    label = clean(" ".join([decode(field) for field in fields if field][:3]))
    record = Record(key, key, label, None, None, LineFields(raw, _named_data))
    return Segment(raw, key, key, (record,))


def _lead(raw: bytes, names: bytes) -> Segment | list[bytes]:
    """Gives the fields of a line, or the segment of a line that holds no record.

    A line that starts as ``names`` says names the columns.
    """
    if len(raw) > LINE_BYTES_MAX:
        return line_too_long(raw)
    if is_header(raw):
        return Segment(raw, _HEADER_KEY, _HEADER_KEY)
    if not raw.strip(b"; \t\r\n"):
        return whole_segment(raw)
    if raw.count(QUOTE) & 1:
        return whole_segment(raw, Problem("open-quote", "a quote in the line is never closed", 1))
    if re.match(rb'"?(?:%b)' % names, raw):
        return Segment(raw, _COLUMNS_KEY, _COLUMNS_KEY)
    return fields_of(raw)


def _read_amount(fields: Sequence[bytes]) -> Decimal | None:
    """Reads the amount in the currency of the books; a reversal counts the other way round."""
    base = fields[_BASE].strip() if len(fields) > _BASE else b""
    text = decode(base or fields[_AMOUNT].strip())
    if "," in text:
        text = text.replace(".", "").replace(",", ".")
    amount = read_amount(text)
    is_reversal = len(fields) > _REVERSAL and fields[_REVERSAL].strip() in _REVERSED
    return _EXACT.minus(amount) if amount is not None and is_reversal else amount


def _read_day(field: bytes) -> tuple[int, int, int | None] | None:
    """Reads ``DDMM`` (or ``DMM``), or ``DDMMYYYY``: day, month, and the year where there is one."""
    text = field.strip()
    if not text.isdigit() or len(text) not in (3, 4, 7, 8):
        return None
    if len(text) <= 4:
        return int(text[:-2]), int(text[-2:]), None
    return int(text[:-6]), int(text[-6:-4]), int(text[-4:])


def _dated(day: tuple[int, int, int | None], year: datetime.date) -> datetime.date | None:
    """Gives the date of a day in the twelve months from ``year`` on."""
    number, month, stated = day
    for each in (year.year, year.year + 1) if stated is None else (stated,):
        try:
            date = datetime.date(each, month, number)
        except ValueError:
            continue
        if stated is not None or date >= year:
            return date
    return None


def _problem(fields: Sequence[bytes], amount: Decimal | None) -> Problem | None:
    if len(fields) < _FIELDS_MIN:
        return field_count(1, len(fields), _FIELDS_MIN)
    if amount is None:
        value = {"value": clean(decode(fields[_AMOUNT]))}
        return Problem("amount", "{value!r} is no amount", 1, value)
    if fields[_SIDE].strip() not in (b"S", b"H"):
        template = "{value!r} is neither S nor H: which account is debited is not told"
        return Problem("side", template, 1, {"value": clean(decode(fields[_SIDE]))})
    for place, name in ((_ACCOUNT, "Konto"), (_CONTRA, "Gegenkonto")):
        if not fields[place].strip():
            template = "the field {field}, which is mandatory, is empty"
            return Problem("missing-field", template, 1, {"field": name})
    return None


@lru_cache(_LINES_REMEMBERED)
def _named_posting(raw: bytes) -> Mapping[str, str]:
    texts = [clean(decode(field)) for field in fields_of(raw)]
    texts += [""] * (_REVERSAL + 1 - len(texts))
    accounts = texts[_ACCOUNT], texts[_CONTRA]
    debit, credit = accounts if texts[_SIDE] != "H" else accounts[::-1]
    foreign = bool(texts[_BASE])
    return {
        "date": texts[_DATE],
        "debit": debit,
        "credit": credit,
        "voucher": texts[_VOUCHER],
        "text": texts[_TEXT],
        "amount": texts[_BASE] if foreign else texts[_AMOUNT],
        "currency": texts[_BASE_CURRENCY] if foreign else texts[_CURRENCY],
        "currency_amount": texts[_AMOUNT] if foreign else "",
        "foreign_currency": texts[_CURRENCY] if foreign else "",
        "rate": texts[_RATE],
        "vat_code": texts[_CODE],
        "cost_centre": texts[_COST_1],
        "group": "",
        "account": texts[_ACCOUNT],
        "reference": texts[_REFERENCE],
        "cost_centre_2": texts[_COST_2],
    }


@lru_cache(_LINES_REMEMBERED)
def _named_data(raw: bytes) -> Mapping[str, str]:
    texts = [clean(decode(field)) for field in fields_of(raw)]
    named = {"account": texts[0], "text": next((text for text in texts[1:] if text), "")}
    return named | {str(place): text for place, text in enumerate(texts, 1) if text}
