"""What people and programs see of a mandate, as JSON-able values in the shapes of
docs/spec/api.md.
"""

import datetime
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from p2psync.core import clock
from p2psync.core.files import FileState, PendingRecord, Receipt, Version
from p2psync.core.mandate import Mandate
from p2psync.core.records import Problem, Record
from p2psync.formats import registry
from p2psync.limits import SUMMED_CURRENCIES_MAX
from p2psync.node.opened import Opened

Json = dict[str, Any]
ANONYMOUS = "Anonymous"
TROUBLE_TEXTS = {
    "conflict": "changed on two sides; the other version is kept as {others}: restore the version "
    "that is to count",
}


def iso(milliseconds: int) -> str:
    """A time as ISO 8601 text with an offset, in UTC."""
    try:
        at = datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        at = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return at.isoformat(timespec="milliseconds")


def iso_of(hlc: int) -> str:
    """The time that a device's clock showed."""
    return iso(clock.milliseconds(hlc))


def person(state: Mandate, device: bytes) -> str:
    """The name that a device's person gave, else its machine's name.

    Nobody has to say who they are to use a mandate of their own: its founder is anonymous
    (B-MAN-2).
    """
    known = state.devices.get(device)
    if known is not None and known.name:
        return known.name
    if known is not None and known.machine and state.shared:
        return known.machine
    return ANONYMOUS


def machine(state: Mandate, device: bytes) -> str:
    """The machine's name, as its device tells it."""
    known = state.devices.get(device)
    return "" if known is None else known.machine


def shown_name(opened: Opened, file: FileState) -> str:
    """The name that a file is shown under; a detached one has the name that it was attached
    with.
    """
    return opened.names().get(file.id, file.info.name)


def problem(found: Problem) -> Json:
    """One problem of a file."""
    return {
        "code": found.code,
        "line": found.line,
        "template": found.template,
        "params": dict(found.params),
        "text": found.text,
    }


def day(number: int | None) -> datetime.date | None:
    """The date of a day's number."""
    return None if number is None else datetime.date.fromordinal(number)


def period_text(period: tuple[datetime.date, datetime.date] | None) -> str | None:
    """``FROM..TO`` in ISO dates."""
    return None if period is None else f"{period[0].isoformat()}..{period[1].isoformat()}"


def file_period(file: FileState) -> str | None:
    """The period that the file was attached with."""
    first, last = day(file.info.period_from), day(file.info.period_to)
    return None if first is None or last is None else period_text((first, last))


def file_view(
    opened: Opened,
    file: FileState,
    name: str,
    own: bytes,
    problems: Iterable[Problem],
    period: str | None,
) -> Json:
    """A file as ``mandate show`` lists it (B-ATT-2); ``period`` is what its records tell."""
    state = opened.state
    current = file.current()
    added, deleted = file.pending() if counts(file) else (0, 0)
    copy = opened.copies.get((file.id, "attached"))
    here = file.device == own and copy is not None
    return {
        "id": file.id.hex(),
        "name": name,
        "kind": file.info.kind,
        "format": file.info.format,
        "format_title": format_title(file.info.format),
        "device": person(state, file.device),
        "machine": machine(state, file.device),
        "folder": str(copy.directory) if here and copy else file.info.folder,
        "period": file_period(file) or period,
        "merge": registry.by_name(file.info.format).merge,
        "records": file.records,
        "bytes": current.size_bytes if current else 0,
        "changed": iso_of(current.hlc) if current else None,
        "pending": {"added": added, "deleted": deleted},
        "delivered": delivered(opened, file, own),
        "posting": posting_view(opened, file, own),
        "state": file_state(opened, file),
        "problems": [problem(found) for found in (*problems, *_troubles(opened, file))],
    }


def format_title(name: str) -> Json:
    """What a format is called, for people: its name may be a whole definition."""
    form = registry.by_name(name)
    template = getattr(form, "title_template", form.title)
    params = dict(getattr(form, "title_params", {}))
    return {"text": form.title, "template": template, "params": params}


def format_word(name: str) -> str:
    """A format in a sentence: its name, or what the user calls it."""
    form = registry.by_name(name)
    return form.title if hasattr(form, "title_template") else name


def delivered(opened: Opened, file: FileState, own: bytes) -> bool | None:
    """Whether the accounting has the file's last version (B-POS-4); ``None`` when that is not
    known.
    """
    seat = opened.state.seat()
    if seat is None:
        return None
    if seat == own:
        return True
    known = opened.delivered.get(file.id)
    return None if known is None else known >= file.heads.keys()


def _troubles(opened: Opened, file: FileState) -> list[Problem]:
    """What is wrong with the file's copies here, and what to do about it."""
    found = [*opened.unreadable.items()]
    errors = [error for (file_id, _), error in found if file_id == file.id]
    if (unwritten := opened.unwritten.get(file.id)) is not None:
        errors.append(unwritten)
    out = [Problem(error.code, error.template, 0, error.params) for error in errors]
    if file.conflicts():
        others = ", ".join(sorted(opened.conflicts.get(file.id, ())))
        out.append(Problem("conflict", TROUBLE_TEXTS["conflict"], 0, {"others": others}))
    return out


def file_state(opened: Opened, file: FileState) -> str:
    """``ok``, or the one thing that is wrong with the file here."""
    attached = opened.copies.get((file.id, "attached"))
    folder = opened.copies.get((file.id, "folder"))
    copies = [copy for copy in (attached, folder) if copy is not None]
    if attached is not None and (attached.missing or attached.astray):
        return "missing"
    if any(copy.held for copy in copies):
        return "held"
    if any(file_id == file.id for file_id, _ in opened.unreadable):
        return "cannot-read"
    if file.id in opened.unwritten:
        return "cannot-write"
    if file.conflicts():
        return "conflict"
    if file.id in opened.incomplete:
        return "incoming"
    return "ok"


def counts(file: FileState) -> bool:
    """Whether the file's records are there to be posted."""
    return file.info.kind != "accounting"


def amount(value: Decimal) -> str:
    """An amount as text: plain digits, at least two after the point, none that say nothing."""
    text = f"{value:f}"
    whole, point, cents = text.partition(".")
    cents = cents.rstrip("0").ljust(2, "0") if point else "00"
    digits = f"{whole}.{cents}"
    return digits.removeprefix("-") if not value else digits


def amounts(sums: Mapping[str, Decimal]) -> Json:
    """Sums by currency as text."""
    shown = sorted(sums.items())[:SUMMED_CURRENCIES_MAX]
    return {currency: amount(each) for currency, each in shown}


def one_amount(amounts: Mapping[str, Decimal]) -> str | None:
    """A sum as text, without its currency; ``None`` where there is more than one."""
    return None if len(amounts) > 1 else amount(next(iter(amounts.values()), Decimal(0)))


def told_amounts(amounts: Mapping[str, Decimal]) -> str:
    """A sum in few words, the same in every language: ``12.50 CHF, 3.00 EUR``."""
    shown = sorted(amounts.items())[:SUMMED_CURRENCIES_MAX]
    told = [f"{amount(each)} {currency}".rstrip() for currency, each in shown]
    return ", ".join([*told, "…"] if len(amounts) > len(told) else told or ["0.00"])


def posted_count(file: FileState) -> int:
    """How many records of a file are posted (B-POS-2)."""
    added, deleted = file.pending()
    return file.records - added + deleted


def record_view(item: PendingRecord, *, changed: bool) -> Json:
    """A record that is to be posted; ``changed``: one side of an edited one (B-POS-5)."""
    view = plain_record(item.record)
    view["change"] = item.change
    if changed:
        view["changed"] = True
    return view


def plain_record(record: Record) -> Json:
    """A record with its fields."""
    view: Json = {name: value for name, value in dict(record.fields).items() if value}
    return view | {
        "text": record.text,
        "amount": None if record.amount is None else str(record.amount),
        "date": None if record.date is None else record.date.isoformat(),
    }


def last_receipt(state: Mandate, file: bytes) -> Receipt | None:
    """The last receipt of a file that still counts."""
    known = [
        receipt
        for receipt in state.receipts.values()
        if file in receipt.files and receipt.id not in state.retracted
    ]
    return max(known, key=lambda receipt: (receipt.stamp, receipt.id), default=None)


def posting_view(opened: Opened, file: FileState, own: bytes) -> Json | None:
    """How far a file has come: generated, delivered, posted (B-POS-4).

    Nothing for a file without records.
    """
    current = file.current()
    receipt = last_receipt(opened.state, file.id)
    if not counts(file) or current is None or not (file.records or receipt):
        return None
    state = opened.state
    is_delivered = delivered(opened, file, own)
    at = opened.delivered_ms.get(file.id)
    return {
        "state": "posted"
        if receipt is not None and file.pending() == (0, 0)
        else "delivered"
        if is_delivered
        else "generated",
        "generated": {
            "at": iso_of(current.hlc),
            "by": person(state, current.device),
            "machine": machine(state, current.device),
        },
        "delivered": {"at": None if at is None else iso(at)} if is_delivered else None,
        "posted": None
        if receipt is None
        else {
            "at": iso_of(receipt.hlc),
            "by": person(state, receipt.device),
            "machine": machine(state, receipt.device),
            "receipt": receipt.name,
        },
    }


def waiting_view(opened: Opened, file: FileState, name: str, own: bytes) -> Json:
    """A file with records that wait, and how far it has come (B-POS-4)."""
    current = file.current()
    assert current is not None
    added, deleted = file.pending()
    at = opened.delivered_ms.get(file.id)
    reached = delivered(opened, file, own)
    return {
        "file": name,
        "state": "delivered" if reached else "generated",
        "at": iso_of(current.hlc),
        "by": person(opened.state, current.device),
        "machine": machine(opened.state, current.device),
        "delivered": iso(at) if reached and at is not None else None,
        "added": added,
        "deleted": deleted,
    }


def receipt_files(opened: Opened, receipt: Receipt) -> list[str]:
    """The names of the files whose records a receipt names."""
    names, files = opened.names(), opened.state.files
    return [
        names.get(file) or (files[file].info.name if files[file].added else "?")
        for file in receipt.files
        if file in files
    ]


def receipt_view(opened: Opened, receipt: Receipt) -> Json:
    """A receipt as both sides list it (B-POS-4)."""
    state = opened.state
    return {
        "receipt": receipt.name,
        "at": iso_of(receipt.hlc),
        "by": person(state, receipt.device),
        "machine": machine(state, receipt.device),
        "files": receipt_files(opened, receipt),
        "added": receipt.added,
        "deleted": receipt.deleted,
        "state": state.receipt_state(receipt.id),
    }


def version_view(opened: Opened, file: FileState, name: str, version: Version) -> Json:
    """A version as ``history`` lists it (B-HIS-1)."""
    state = opened.state
    return {
        "version": version.name,
        "file": name,
        "at": iso_of(version.hlc),
        "by": person(state, version.device),
        "machine": machine(state, version.device),
        "bytes": version.size_bytes,
        "records": version.records,
        "added": version.added,
        "deleted": version.deleted,
        "current": version.id in file.heads and file.present,
    }
