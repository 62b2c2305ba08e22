"""One line of a delimited text, read as its definition says."""

import datetime
import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from functools import lru_cache

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.base import whole_segment
from p2psync.formats.definition import Definition
from p2psync.formats.fields import LineFields, quoted_fields
from p2psync.formats.lines import UNBALANCED_PROBLEM, Delta, Line, field_count, line_too_long
from p2psync.formats.values import clean, digest, read_amount
from p2psync.limits import LINE_BYTES_MAX

UTF8_BOM = b"\xef\xbb\xbf"
_YEAR_PIVOT = 70
_DIGITS = re.compile(rb"[0-9]+")
_DATE_PATTERNS = {
    "YYYY": r"(?P<Y>[0-9]{4})",
    "YY": r"(?P<Y>[0-9]{2})",
    "MM": r"(?P<M>[0-9]{%s})",
    "M": r"(?P<M>[0-9]{1,2})",
    "DD": r"(?P<D>[0-9]{%s})",
    "D": r"(?P<D>[0-9]{1,2})",
}
_DATE_TOKENS = re.compile(r"YYYY|YY|MM|DD|M|D|.")
_GROUP_MARKS = {".": str.maketrans("", "", ","), ",": str.maketrans("", "", ".")}
_ZERO = Decimal(0)
_EXACT = Context(prec=64)
_LINES_REMEMBERED = 256
_TEXTS_REMEMBERED = 4096
"""Dates, accounts and names of one file that come again and again."""
_SHOWN = (
    "debit",
    "credit",
    "voucher",
    "text",
    "amount",
    "currency",
    "currency_amount",
    "rate",
    "vat_code",
    "cost_centre",
    "group",
)
"""Fields that every record has, empty where no column is named so."""


class LineReader:
    """Reads the lines of files of one definition; pure and total."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._delimiter = definition.delimiter.encode()
        self.quote = definition.quote.encode()
        self._encoding = definition.encoding
        self._places = {name: at for at, name in enumerate(definition.columns) if name}
        names = definition.key or tuple(self._places)
        self._money = [self._places[name] for name in names if name not in definition.text]
        self._texts = [self._places[name] for name in names if name in definition.text]
        self._identity = [self._places[name] for name in definition.identity]
        self._group = [self._places[name] for name in definition.group]
        self._debits, self._credits = map(frozenset, definition.side)
        self._skipped = tuple(each.encode(self._encoding, "replace") for each in definition.skip)
        self._date = re.compile(_date_pattern(definition.date_format))
        self._expected = len(definition.columns)
        self._fewest = definition.columns_min or self._expected
        self._named = lru_cache(_LINES_REMEMBERED)(self._read_named)
        self._decode = lru_cache(_TEXTS_REMEMBERED)(self._read_text)

    def fields_of(self, raw: bytes) -> list[bytes]:
        """Splits a line into its fields, without their quotes."""
        line = raw.removeprefix(UTF8_BOM).rstrip(b"\r\n")
        if self.quote:
            return quoted_fields(line, self._delimiter, self.quote)
        return line.split(self._delimiter)

    def is_skipped(self, raw: bytes) -> bool:
        """Says whether a line is blank, or starts as lines do that are to be left out."""
        line = raw.removeprefix(UTF8_BOM)
        if not line.strip(b" \t\r\n" + self._delimiter):
            return True
        return bool(self._skipped) and line.removeprefix(self.quote).startswith(self._skipped)

    def read_line(self, raw: bytes) -> Line:
        """Reads a line with its terminator.

        One with neither a date nor an amount is no record, and no problem: it may be a header.
        """
        if len(raw) > LINE_BYTES_MAX:
            return Line(line_too_long(raw), None, 0)
        if self.is_skipped(raw):
            return Line(_other(raw), None, 0)
        if self.quote and raw.count(self.quote) & 1:
            problem = Problem("open-quote", "a quote in the line is never closed", 1)
            return Line(whole_segment(raw, problem), None, 0)
        fields = self.fields_of(raw)
        texts = self._decoded(fields)
        date = self._read_date(texts)
        amounts = self._read_amounts(texts)
        if date is None and amounts is None:
            return Line(_other(raw), None, 0)
        return self._record(raw, fields, texts, date, amounts)

    def _record(
        self,
        raw: bytes,
        fields: Sequence[bytes],
        texts: Mapping[str, str],
        date: datetime.date | None,
        amounts: tuple[Decimal, bool | None] | None,
    ) -> Line:
        amount, is_debit = (None, None) if amounts is None else amounts
        debit, credit = self._accounts(texts, is_debit)
        many = self._definition.many
        delta: Delta = 0
        if amount is not None and (debit == many) is not (credit == many):
            delta = _EXACT.minus(amount) if debit == many else amount
        problem = self._problem(fields, texts, date, amount, is_debit)
        group = None
        if self._group:
            values = tuple([_at(fields, place) for place in self._group])
            group = values if any(values) else None
            if problem is None and delta:
                template = "the debits and credits around voucher {voucher!r} do not balance"
                params = {"voucher": texts.get("voucher") or " ".join(map(self._decode, values))}
                problem = Problem(UNBALANCED_PROBLEM, template, 1, params)
        money = b"".join([_framed(_at(fields, place)) for place in self._money])
        text = b"".join([_framed(_at(fields, place)) for place in self._texts])
        money_key = digest(b"p2psync-delim-mo", money)
        key = digest(b"p2psync-delim", money_key + text)
        identity = None
        if self._identity and all(_at(fields, place) for place in self._identity):
            named = b"".join([_framed(_at(fields, place)) for place in self._identity])
            identity = digest(b"p2psync-delim-id", named)
            money_key = key  # two programs may have given one number to two lines
        accounts = f"{debit}/{credit}" if debit or credit else ""
        said = (accounts, texts.get("voucher"), texts.get("text") or texts.get("counterparty"))
        label = clean(" ".join([each for each in said if each]))
        record = Record(key, money_key, label, date, amount, LineFields(raw, self._named))
        return Line(Segment(raw, key, money_key, (record,), problem, identity), group, delta)

    # -- values -----------------------------------------------------------------------------------

    def _read_text(self, field: bytes) -> str:
        return clean(field.decode(self._encoding, "replace"))

    def _decoded(self, fields: Sequence[bytes]) -> dict[str, str]:
        count = len(fields)
        return {
            name: self._decode(fields[at]) if at < count else ""
            for name, at in self._places.items()
        }

    def _read_date(self, texts: Mapping[str, str]) -> datetime.date | None:
        match = self._date.fullmatch(texts["date"])
        if match is None:
            return None
        year = int(match["Y"])
        if len(match["Y"]) == 2:
            year += 1900 if year >= _YEAR_PIVOT else 2000
        try:
            return datetime.date(year, int(match["M"]), int(match["D"]))
        except ValueError:
            return None

    def _amount(self, text: str) -> Decimal | None:
        mark = self._definition.decimal
        plain = text.translate(_GROUP_MARKS[mark]) if len(text) < 64 else text
        return read_amount(plain.replace(",", ".") if mark == "," else plain)

    def _read_amounts(self, texts: Mapping[str, str]) -> tuple[Decimal, bool | None] | None:
        """Gives the amount, and whether it is a debit where the line tells."""
        if "amount" in texts:
            amount = self._amount(texts["amount"])
            if amount is None:
                return None
            side = texts.get("side")
            if side in self._debits:
                return self._signed(texts, amount, True)
            return self._signed(texts, amount, False if side in self._credits else None)
        debit_text, credit_text = texts["debit_amount"], texts["credit_amount"]
        if not debit_text and not credit_text:
            return None
        debit = self._amount(debit_text) if debit_text else _ZERO
        credit = self._amount(credit_text) if credit_text else _ZERO
        if debit is None or credit is None:
            return None
        if debit and credit:
            net = _EXACT.subtract(debit, credit)
            return self._signed(texts, abs(net), net >= 0)
        return self._signed(texts, credit, False) if credit else self._signed(texts, debit, True)

    def _signed(
        self, texts: Mapping[str, str], amount: Decimal, is_debit: bool | None
    ) -> tuple[Decimal, bool | None]:
        """Without an account it is a bank's statement, where a debit is money that goes out."""
        if is_debit and "account" not in texts:
            return _EXACT.minus(amount), is_debit
        return amount, is_debit

    def _accounts(self, texts: Mapping[str, str], is_debit: bool | None) -> tuple[str, str]:
        if "debit" in texts:
            return texts["debit"], texts["credit"]
        if "account" not in texts:
            return "", ""
        sides = texts["account"], texts.get("contra_account") or self._definition.many
        return sides if is_debit is not False else (sides[1], sides[0])

    def _problem(
        self,
        fields: Sequence[bytes],
        texts: Mapping[str, str],
        date: datetime.date | None,
        amount: Decimal | None,
        is_debit: bool | None,
    ) -> Problem | None:
        count = len(fields)
        surplus = fields[self._expected :]
        if count < self._fewest or (not self._definition.more_columns and any(surplus)):
            return field_count(1, count, self._expected)
        if date is None:
            return Problem("date", "{value!r} is no date", 1, {"value": texts["date"]})
        if amount is None:
            names = ("amount", "debit_amount", "credit_amount")
            value = " / ".join([texts[name] for name in names if name in texts])
            return Problem("amount", "{value!r} is no amount", 1, {"value": value})
        if "side" in texts and is_debit is None:
            template = "{value!r} is neither of the texts for debit nor of those for credit"
            return Problem("side", template, 1, {"value": texts["side"]})
        if "debit_amount" in texts and all(
            self._amount(texts[name]) for name in ("debit_amount", "credit_amount")
        ):
            return Problem("two-sided", "the line has a debit and a credit", 1)
        return None

    def _read_named(self, raw: bytes) -> Mapping[str, str]:
        texts = self._decoded(self.fields_of(raw))
        amounts = self._read_amounts(texts)
        debit, credit = self._accounts(texts, None if amounts is None else amounts[1])
        named = {"date": texts["date"]} | dict.fromkeys(_SHOWN, "") | texts
        amount = "" if amounts is None else f"{amounts[0]:f}"
        group = texts.get("group") or " ".join(texts[name] for name in self._definition.group)
        return named | {"debit": debit, "credit": credit, "amount": amount, "group": group}


def _other(raw: bytes) -> Segment:
    """Gives a line that is no record: the same one also when numbers or a time in it change."""
    if not raw.strip():
        return whole_segment(raw)
    key = digest(b"p2psync-place", _DIGITS.sub(b"0", raw))
    return Segment(raw, key, key)


def _at(fields: Sequence[bytes], place: int) -> bytes:
    return fields[place] if place < len(fields) else b""


def _framed(field: bytes) -> bytes:
    return b"%d:%b" % (len(field), field)


def _date_pattern(date_format: str) -> str:
    tokens = _DATE_TOKENS.findall(date_format)
    # Between marks a day or month may also have one digit; without marks only two tell them apart.
    width = "1,2" if any(not token[0].isalpha() for token in tokens) else "2"
    parts = [
        _DATE_PATTERNS[token].replace("%s", width) if token in _DATE_PATTERNS else re.escape(token)
        for token in tokens
    ]
    return "".join(parts)
