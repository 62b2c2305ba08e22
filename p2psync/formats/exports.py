"""Records for the accountant's program: the raw lines, CSV or beancount (docs/formats.md).

Pure: what is to be added and what is to be taken back, in; the bytes of files, out.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal

from p2psync.core.records import Record, Segment

KINDS = ("raw", "csv", "beancount")
CSV_COLUMNS = (
    "change",
    "file",
    "period",
    "date",
    "debit",
    "credit",
    "voucher",
    "text",
    "amount",
    "currency_amount",
    "rate",
    "vat_code",
    "cost_centre",
    "group",
    "currency",
    "account",
    "counterparty",
    "iban",
    "reference",
    "value_date",
    "journal",
)
CURRENCY = re.compile(r"[A-Z][A-Z0-9'._-]{0,22}[A-Z0-9]", re.ASCII)
"""What beancount takes for a currency."""

_EXACT = Context(prec=64)
_ROOTS = {
    "1": "Assets",
    "2": "Liabilities",
    "3": "Income",
    "4": "Expenses",
    "5": "Expenses",
    "6": "Expenses",
    "7": "Expenses",
    "8": "Expenses",
    "9": "Equity",
}
"""By an account's first digit, as Swiss charts of accounts number them; 28 and 29 are equity."""
_OTHER = "Equity:Other:"
_NAMED = re.compile(r"(Assets|Liabilities|Equity|Income|Expenses):(.+)", re.DOTALL)
"""An account that has a name instead of a number."""
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP"}
_CURRENCY_CHARS_MAX = 24
UNBALANCED = "Equity:Unbalanced"
"""Takes what is missing of a transaction that does not balance."""
_MANY = ("...", "…")
_METADATA = (
    ("voucher", "voucher"),
    ("vat_code", "vat-code"),
    ("cost_centre", "cost-centre"),
    ("currency_amount", "currency-amount"),
    ("rate", "rate"),
)
_OF_A_LINE = ("cost_centre", "currency_amount", "rate")
"""What each of several lines of a transaction says for itself, where it differs."""


@dataclass(frozen=True, slots=True)
class Item:
    """A segment that is handed over, with the file and the period that it belongs to."""

    segment: Segment
    file: str = ""
    period: str = ""


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files' contents: what is added, and beside it what is deleted (``None``: no such file).

    ``unexpressed`` counts records that stand in a comment alone, for the format has no way to say
    them.
    """

    added: bytes
    deleted: bytes | None
    unexpressed: int = 0


def write(
    format_name: str, added: Sequence[Item], deleted: Sequence[Item], currency: str
) -> Outputs:
    """Gives the output in one of ``KINDS``."""
    match format_name:
        case "csv":
            gone = _csv(deleted, "deleted") if deleted else None
            return Outputs(_csv(added, "added"), gone)
        case "beancount":
            return _beancount(added, deleted, currency)
        case _:
            return Outputs(_raw(added), _raw(deleted) if deleted else None)


def _raw(items: Sequence[Item]) -> bytes:
    return b"".join([item.segment.raw for item in items])


# -- CSV (RFC 4180, UTF-8) -------------------------------------------------------------------------


def _csv(items: Sequence[Item], change: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for item in items:
        for record in item.segment.records:
            writer.writerow([_cell(item, record, change, column) for column in CSV_COLUMNS])
    return text.getvalue().encode()


def _cell(item: Item, record: Record, change: str, column: str) -> str:
    match column:
        case "change":
            return change
        case "file":
            return item.file
        case "period":
            return item.period
        case "date":
            return "" if record.date is None else record.date.isoformat()
        case "amount":
            return "" if record.amount is None else f"{record.amount:f}"
        case _:
            return record.fields.get(column, "")


# -- beancount (version 2 and 3 read it) -----------------------------------------------------------


def _beancount(added: Sequence[Item], deleted: Sequence[Item], currency: str) -> Outputs:
    """Gives one file: what is deleted is reversed in it by a transaction of its own."""
    parts: list[str] = []
    unexpressed = 0
    for items, sign, change in ((added, 1, "added"), (deleted, -1, "deleted")):
        for item in items:
            records = item.segment.records
            said = [record for record in records if _can_be_said(record)]
            unexpressed += len(records) - len(said)
            parts += [_comment(item, record) for record in records if not _can_be_said(record)]
            if said:
                parts.append(_transaction(item, said, sign, change, currency))
    return Outputs("\n".join(parts).encode(), None, unexpressed)


def _can_be_said(record: Record) -> bool:
    return not _lacking(record)


def _lacking(record: Record) -> str:
    """Names what beancount would need of a record and does not get."""
    if record.date is None or not 1000 <= record.date.year < 3000:
        return "date"
    if record.amount is None:
        return "amount"
    return "" if _sides(record) else "account"


def _sides(record: Record) -> list[tuple[str, str]]:
    sides = [(side, record.fields.get(side, "")) for side in ("debit", "credit")]
    return [(side, account) for side, account in sides if account and account not in _MANY]


def _comment(item: Item, record: Record) -> str:
    date = "" if record.date is None else record.date.isoformat()
    amount = "" if record.amount is None else f"{record.amount:f}"
    said = (date, amount, record.fields.get("currency", ""), record.text)
    words = " ".join([_plain(each) for each in said if each])
    return f"; {_plain(item.file)}: no {_lacking(record)}: {words}\n"


def _transaction(
    item: Item, records: Sequence[Record], sign: int, change: str, currency: str
) -> str:
    first = records[0]
    assert first.date is not None
    text = _text_of(first)
    narration = text if sign > 0 else f"{text} (deleted)"
    lines = [f"{first.date.isoformat()} * {_quoted(narration)}"]
    lines += [
        f"  {name}: {_quoted(said)}"
        for field, name in _METADATA
        if (said := first.fields.get(field, "")) not in ("", "0")
    ]
    lines += [f"  change: {_quoted(change)}"]
    if item.file:
        lines.append(f"  source: {_quoted(item.file)}")
    balances: dict[str, Decimal] = {}
    for record in records:
        assert record.amount is not None
        value = record.amount if sign > 0 else _EXACT.minus(record.amount)
        money = currency_name(record.fields.get("currency", ""), currency)
        for side, account in _sides(record):
            moved = value if side == "debit" else _EXACT.minus(value)
            balances[money] = _EXACT.add(balances.get(money, Decimal(0)), moved)
            lines.append(f"  {account_name(account)}  {moved:f} {money}")
            if record is not first:
                lines += _differences(record, first)
    for money, balance in balances.items():
        if balance:
            lines.append(f"  {UNBALANCED}  {_EXACT.minus(balance):f} {money}")
    return "\n".join(lines) + "\n"


def _differences(record: Record, first: Record) -> list[str]:
    """Gives the metadata of a line that the first one of its transaction has not."""
    lines = []
    if _text_of(record) != _text_of(first):
        lines.append(f"    text: {_quoted(_text_of(record))}")
    for field, name in _METADATA:
        said = record.fields.get(field, "")
        if field in _OF_A_LINE and said not in ("", "0", first.fields.get(field, "")):
            lines.append(f"    {name}: {_quoted(said)}")
    return lines


def _text_of(record: Record) -> str:
    """Gives the text of one line of a group."""
    return record.fields.get("text", record.text)


def account_name(number: str) -> str:
    """Gives beancount's name of an account: ``1020`` is ``Assets:1020``.

    ASCII digits and letters stay; anything else becomes ``-`` and its code point in six hexadecimal
    digits, so no two accounts share a name. An account that has a name of beancount's five kinds
    (``Assets:Bank``) keeps it, part by part.
    """
    named = _NAMED.fullmatch(number)
    if named is not None:
        return ":".join([named[1], *map(_part, named[2].split(":"))])
    plain = _encoded(number)
    if number[:2] in ("28", "29"):
        return f"Equity:{plain}"
    root = _ROOTS.get(number[:1])
    if root is not None:
        return f"{root}:{plain}"
    # A part of a name begins with a capital or a digit.
    return f"{_OTHER}X{plain}"


def _part(name: str) -> str:
    """Gives a part of an account's name, which begins with a capital or a digit."""
    kept = "".join([each if each == "-" else _encoded(each) for each in name])
    starts = kept[:1].isdigit() or kept[:1].isupper()
    return kept if starts else f"X{kept}"


def _encoded(text: str) -> str:
    return "".join(
        [each if each.isascii() and each.isalnum() else f"-{ord(each):06X}" for each in text]
    )


def currency_name(said: str, otherwise: str) -> str:
    """Gives beancount's name of a currency: a symbol without one becomes ``X`` and code points.

    ``otherwise`` is that of a record that names none.
    """
    if not said:
        return otherwise
    if CURRENCY.fullmatch(said):
        return said
    known = _CURRENCIES.get(said)
    return known or "".join(["X", *[f"{ord(each):06X}" for each in said]])[:_CURRENCY_CHARS_MAX]


def _quoted(text: str) -> str:
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
