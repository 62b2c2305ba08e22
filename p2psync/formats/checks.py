"""Postings held against each other and the accounting's settings: vouchers, period, accounts, VAT
codes (B-POS-8).
"""

import datetime
from collections.abc import Iterator, Sequence

from p2psync.core.records import Document, Problem, Record
from p2psync.formats.base import bounded
from p2psync.formats.cresus_line import PostingFields
from p2psync.formats.cresus_settings import Settings

_NO_ACCOUNT = ("...", "…")
"""What the many-sided half of a group has in place of an account."""


def settings_for(date: datetime.date | None, years: Sequence[Settings]) -> Settings | None:
    """Gives the first accounting year whose period holds ``date``."""
    if date is None:
        return None
    for year in years:
        if year.period is not None and year.period[0] <= date <= year.period[1]:
            return year
    return None


def check(document: Document, years: Sequence[Settings]) -> tuple[Problem, ...]:
    """Finds vouchers that are used twice, and records that fit no period or name an account or VAT
    code that their year lacks.

    The problems carry the record's line in the file. A year without accounts or VAT codes checks
    none; without any year nothing is known of it and nothing is wrong.
    """
    problems = _repeated_vouchers(document)
    if not years:
        return bounded(problems)
    for line, record in _numbered(document):
        if record.date is None:
            continue
        year = settings_for(record.date, years)
        if year is None:
            template = "the date {date} is in no accounting period"
            problems.append(Problem("no-period", template, line, {"date": str(record.date)}))
        else:
            problems += _unknown(line, record, year)
    return bounded(problems)


def _numbered(document: Document) -> Iterator[tuple[int, Record]]:
    """Yields each record with its line: a segment with records holds one a line."""
    line = 1
    for segment in document.segments:
        yield from enumerate(segment.records, line)
        line += segment.raw.count(b"\n")


def _repeated_vouchers(document: Document) -> list[Problem]:
    """Finds postings with the voucher and the accounts of an earlier one.

    A voucher alone proves nothing: an invoice and its payment share it, as do the lines of a group.
    """
    problems: list[Problem] = []
    seen: dict[tuple[str, ...], int] = {}
    line = 1
    for segment in document.segments:
        cells = [_cells(record, ("voucher", "debit", "credit")) for record in segment.records]
        if cells and (voucher := cells[0][0]):
            first = seen.setdefault((voucher, *(each for c in cells for each in c[1:])), line)
            if first != line:
                template = "voucher {voucher!r} is in line {first} already, with the same accounts"
                params = {"voucher": voucher, "first": str(first)}
                problems.append(Problem("duplicate-voucher", template, line, params))
        line += segment.raw.count(b"\n")
    return problems


def _cells(record: Record, names: Sequence[str]) -> list[str]:
    fields = record.fields
    if isinstance(fields, PostingFields):
        return fields.several(names)
    return [fields.get(name, "") for name in names]


def _unknown(line: int, record: Record, year: Settings) -> Iterator[Problem]:
    debit, credit, code = _cells(record, ("debit", "credit", "vat_code"))
    if year.accounts:
        for account in (debit, credit):
            if account not in _NO_ACCOUNT and account not in year.accounts:
                template = "account {account!r} is not in the chart of accounts"
                yield Problem("unknown-account", template, line, {"account": account})
    if year.vat_codes and code and code not in year.vat_codes:
        template = "VAT code {code!r} is not in the settings"
        yield Problem("unknown-vat-code", template, line, {"code": code})
