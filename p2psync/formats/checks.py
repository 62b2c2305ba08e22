"""Postings held against each other and the accounting's settings: vouchers, period, accounts, VAT
codes (B-POS-8).
"""

import datetime
import re
from collections.abc import Mapping, Sequence

from p2psync.core.records import Document, Problem
from p2psync.formats.base import bounded
from p2psync.formats.cresus_line import PostingFields
from p2psync.formats.cresus_settings import Settings
from p2psync.formats.lines import record_lines

_NAMED = re.compile(r"\w")
"""A voucher without a letter or digit, such as ``-``, names none."""
_NO_ACCOUNT = ("...", "…")
"""What the many-sided half of a group has in place of an account."""
_CHECKED = ("voucher", "debit", "credit", "vat_code")


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
    return check_with_years(document, years)[0]


def check_with_years(
    document: Document, years: Sequence[Settings]
) -> tuple[tuple[Problem, ...], dict[datetime.date, Settings | None]]:
    """Does ``check``; returns also each date that there is, with its year."""
    repeated: list[Problem] = []
    unfit: list[Problem] = []
    seen: dict[tuple[str, ...], int] = {}
    year_of: dict[datetime.date, Settings | None] = {}
    line = 1
    for segment in document.segments:
        # One pass, and every line cut up once: a person waits for it.
        rows = [(date, _cells(fields)) for date, fields in segment.rows]
        at, step = record_lines(segment.raw, len(rows), line)
        if rows and (problem := _repeated(at, rows, seen)):
            repeated.append(problem)
        for date, cells in rows:
            if date is not None:
                if date not in year_of:
                    year_of[date] = settings_for(date, years)
                if years:
                    unfit += _unfit(at, date, cells, year_of[date])
            at += step
        line += segment.raw.count(b"\n")
    return bounded(repeated + unfit), year_of


def _cells(fields: Mapping[str, str]) -> Sequence[str]:
    """Gives voucher, debit, credit and VAT code; of the entries of a journal also what more must be
    the same in a paper that was entered twice, for one is often entered in parts.
    """
    if isinstance(fields, PostingFields):
        return fields.several(_CHECKED)
    if "debit" not in fields and "credit" not in fields:  # a bank's line, which names no accounts
        return ["", *_NO_ACCOUNT, fields.get("vat_code", "")]
    cells = [fields.get(name, "") for name in _CHECKED]
    if "journal" in fields:
        cells += [fields.get("date", ""), fields.get("amount", "")]
    return cells


def _repeated(
    line: int,
    rows: Sequence[tuple[datetime.date | None, Sequence[str]]],
    seen: dict[tuple[str, ...], int],
) -> Problem | None:
    """Finds a posting with the voucher and the accounts of an earlier one.

    A voucher alone proves nothing: an invoice and its payment share it, as do the lines of a group.
    """
    voucher = rows[0][1][0]
    if not _NAMED.search(voucher):
        return None
    place = [each for _, cells in rows for each in (*cells[1:3], *cells[4:])]
    first = seen.setdefault((voucher, *place), line)
    if first == line:
        return None
    template = "voucher {voucher!r} is in line {first} already, with the same accounts"
    params = {"voucher": voucher, "first": str(first)}
    return Problem("duplicate-voucher", template, line, params)


def _unfit(
    line: int, date: datetime.date, cells: Sequence[str], year: Settings | None
) -> list[Problem]:
    """Finds what a record names that is in no period, or not in its year."""
    if year is None:
        template = "the date {date} is in no accounting period"
        return [Problem("no-period", template, line, {"date": str(date)})]
    problems: list[Problem] = []
    _, debit, credit, code = cells[:4]
    if year.accounts:
        for account in (debit, credit):
            if account not in year.accounts and account not in _NO_ACCOUNT:
                template = "account {account!r} is not in the chart of accounts"
                params = {"account": account}
                problems.append(Problem("unknown-account", template, line, params))
    if code and year.vat_codes and code not in year.vat_codes:
        template = "VAT code {code!r} is not in the settings"
        problems.append(Problem("unknown-vat-code", template, line, {"code": code}))
    return problems
