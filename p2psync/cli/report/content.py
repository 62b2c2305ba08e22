"""What an audit report says, in the reader's language: from a verified file and its fold."""

import hashlib
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

from p2psync import __version__
from p2psync.audit.account import Account, account
from p2psync.audit.findings import Finding
from p2psync.audit.verify import Verification, hlc_words, stamp_words, words
from p2psync.cli.output import counts, safe, word
from p2psync.cli.report.model import Report, Section, Table
from p2psync.core.balance import Amounts, add_amount
from p2psync.core.words import key_phrase
from p2psync.i18n import _, fill, language, translate
from p2psync.limits import AUDIT_REPORT_ROWS_MAX

_CELL_CHARS_MAX = 200


def build(found: Verification, path: Path) -> Report:
    """Make the report of a file that verifies."""
    check = found.check
    assert check.head is not None and check.manifest is not None
    name = path.name if found.state is None else found.state.name
    sections = [_file(found, path), *_findings(found)]
    if found.state is not None and found.reading is not None:
        told = account(found)
        sections += [_members(told), _files(told), _receipts(told), _versions(told)]
    else:
        sections.append(
            Section(
                _("Content"), texts=[_("The keys are not in the file: nothing in it can be read.")]
            )
        )
    return Report(
        _("Audit report: {name}", name=safe(name)),
        language(),
        _("The file verifies: it is whole, and as it was signed."),
        _(
            "{file}, mandate {mandate}, p2psync {version}",
            file=safe(path.name),
            mandate=check.head.mandate.hex()[:16],
            version=__version__,
        ),
        sections,
    )


def _file(found: Verification, path: Path) -> Section:
    check = found.check
    manifest = check.manifest
    assert check.head is not None and manifest is not None
    who = manifest.device.hex()
    if found.state is not None and (known := found.state.devices.get(manifest.device)):
        who = f"{safe(known.name or known.machine)}, {who}"
    facts = [
        (_("mandate id"), check.head.mandate.hex()),
        (_("exported by"), who),
        (_("key phrase"), key_phrase(manifest.device)),
        (_("exported"), words(manifest.at_ms)),
        (_("file"), safe(path.name)),
        (_("SHA-256 of the file"), _sha256(path)),
        (_("log entries"), str(check.entries)),
        (_("logs"), str(len(check.logs))),
        (_("first entry"), "" if check.first_hlc is None else hlc_words(check.first_hlc)),
        (_("last entry"), hlc_words(check.last_hlc)),
        (_("made by"), safe(manifest.software)),
    ]
    for stamp in found.stamps:
        who = safe(stamp.signer or stamp.authority)
        facts.append((_("time stamp"), f"{stamp_words(stamp)}, {who}"))
    return Section(_("The file"), facts=facts)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _findings(found: Verification) -> list[Section]:
    def texts(some: Iterable[Finding]) -> list[str]:
        return [safe(fill(translate(each.template, language()), each.params)) for each in some]

    sections = [
        Section(_("What is proven"), points=texts(found.proven)),
        Section(_("What is not proven"), points=texts(found.unproven)),
    ]
    if found.check.notes:
        sections.append(Section(_("Notes"), points=texts(found.check.notes)))
    return sections


def _members(told: Account) -> Section:
    rows = [
        (
            each.name,
            each.machine,
            word(each.role),
            each.device[:16],
            each.phrase,
            each.admitted or "",
            _("founder") if each.is_founder else each.admitted_by,
            "" if each.removed is None else f"{each.removed}, {each.removed_by}",
        )
        for each in told.members
    ]
    headings = (
        *(_("name"), _("machine"), _("role"), _("device"), _("key phrase"), _("admitted")),
        *(_("admitted by"), _("removed")),
    )
    table = Table(headings, _safe(rows), widths=(5, 5, 6, 8, 7, 6, 5, 5))
    return Section(_("Members"), table=table)


def _files(told: Account) -> Section:
    rows = [
        (
            each.name if each.present else _("{name} (detached)", name=each.name),
            word(each.kind),
            each.held_by,
            each.period,
            str(each.versions),
            "" if each.records is None else str(each.records),
            each.last,
            each.digest,
        )
        for each in told.files
    ]
    headings = (
        *(_("file"), _("kind"), _("held by"), _("period"), _("versions"), _("records")),
        *(_("last version"), "BLAKE3"),
    )
    table = Table(headings, _safe(rows), frozenset({4, 5}), (5, 4, 3, 4, 3, 3, 4, 6))
    texts = [] if told.has_records else [_("There are too many records to count them here.")]
    return Section(_("Files"), texts=texts, table=table)


def _receipts(told: Account) -> Section:
    rows = [
        (
            each.at,
            each.name,
            each.by,
            ", ".join(each.files),
            str(each.added),
            str(each.deleted),
            _amounts(each.amounts_added),
            _amounts(each.amounts_deleted),
            word(each.state),
        )
        for each in told.receipts
    ]
    counting = [each for each in told.receipts if each.state != "retracted"]
    total = (
        *("", _("in all, without retracted ones"), "", ""),
        *(str(sum(each.added for each in counting)), str(sum(each.deleted for each in counting))),
        _amounts(_sum(each.amounts_added for each in counting)),
        _amounts(_sum(each.amounts_deleted for each in counting)),
        "",
    )
    headings = (
        *(_("when"), _("receipt"), _("by"), _("files"), _("added"), _("deleted")),
        *(_("amount added"), _("amount deleted"), _("state")),
    )
    listed, texts = _bounded(rows)
    if not rows:
        return Section(_("Postings"), texts=[_("Nothing was posted.")])
    table = Table(
        headings,
        [*_safe(listed), total],
        frozenset({4, 5, 6, 7}),
        (4, 4, 2, 4, 2, 2, 3, 3, 3),
    )
    return Section(_("Postings"), texts=texts, table=table)


def _versions(told: Account) -> Section:
    rows = [
        (
            each.at,
            each.file,
            each.name,
            each.by,
            each.machine,
            str(each.size_bytes),
            "" if each.records is None else str(each.records),
            "" if each.records is None else counts({"added": each.added, "deleted": each.deleted}),
        )
        for each in told.versions
    ]
    headings = (
        *(_("when"), _("file"), _("version"), _("by"), _("machine"), _("bytes"), _("records")),
        _("change"),
    )
    listed, texts = _bounded(rows)
    table = Table(headings, _safe(listed), frozenset({5, 6, 7}), (4, 4, 4, 2, 3, 2, 2, 2))
    return Section(_("Versions of files"), texts=texts, table=table)


def _bounded(rows: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], list[str]]:
    """The newest rows, oldest first, and what is said of those that are left out."""
    left_out = len(rows) - AUDIT_REPORT_ROWS_MAX
    if left_out <= 0:
        return rows, []
    text = _("{count} older ones are not listed; all of them are in the file.", count=left_out)
    return rows[left_out:], [text]


def _safe(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[_cut(safe(cell)) for cell in row] for row in rows]


def _cut(text: str) -> str:
    """The beginning of a text that is too long for a cell: no cell is higher than a page."""
    return text if len(text) <= _CELL_CHARS_MAX else text[: _CELL_CHARS_MAX - 1] + "…"


def _sum(parts: Iterable[Amounts | None]) -> Amounts | None:
    total: Amounts = {}
    for each in parts:
        if each is None:
            return None
        for currency, amount in each.items():
            add_amount(total, currency, amount, 1)
    return total


def _amounts(value: Amounts | None) -> str:
    """A sum for each currency, with at least two digits after the point."""
    if value is None:
        return ""
    shown = [f"{_amount(value[currency])} {currency}".rstrip() for currency in sorted(value)]
    return ", ".join(shown) or _amount(Decimal())


def _amount(value: Decimal) -> str:
    whole, _point, cents = f"{value:f}".partition(".")
    return f"{whole}.{cents.rstrip('0').ljust(2, '0')}"
