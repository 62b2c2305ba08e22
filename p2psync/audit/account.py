"""What an audit file tells of its mandate: members, files, versions, receipts, in plain values."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from p2psync.audit.verify import Verification, hlc_words
from p2psync.core.balance import Amounts, add_side
from p2psync.core.body import Pair
from p2psync.core.files import FileState, Receipt, Version
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.ops import Admit, Post, keyed
from p2psync.core.words import key_phrase


@dataclass(frozen=True, slots=True)
class MemberTold:
    """A device that is a member, or was one; ``admitted`` is when, by the clock of who did it; the
    founder was not. ``removed`` is when it was, if it is none any more.
    """

    name: str
    machine: str
    role: str
    device: str
    phrase: str
    admitted: str | None
    admitted_by: str
    is_founder: bool
    removed: str | None = None
    removed_by: str = ""


@dataclass(frozen=True, slots=True)
class FileTold:
    """A file as it is at the end; ``records`` is ``None`` where they were not counted."""

    name: str
    kind: str
    held_by: str
    period: str
    versions: int
    records: int | None
    last: str
    digest: str
    present: bool


@dataclass(frozen=True, slots=True)
class VersionTold:
    """One save of a file."""

    at: str
    file: str
    name: str
    by: str
    machine: str
    size_bytes: int
    records: int | None
    added: int
    deleted: int


@dataclass(frozen=True, slots=True)
class ReceiptTold:
    """One posting; the sums by currency are ``None`` where the records were not read."""

    at: str
    name: str
    by: str
    files: tuple[str, ...]
    added: int
    deleted: int
    amounts_added: Amounts | None
    amounts_deleted: Amounts | None
    state: str


@dataclass(frozen=True, slots=True)
class Account:
    """All of it; versions and receipts oldest first."""

    has_records: bool
    members: list[MemberTold]
    files: list[FileTold]
    versions: list[VersionTold]
    receipts: list[ReceiptTold]


def account(found: Verification) -> Account:
    """Tell what a verified file with keys says."""
    assert found.state is not None and found.reading is not None
    state, records = found.state, found.reading.records
    files = sorted(
        (file for file in state.files.values() if file.added is not None),
        key=lambda file: (file.info.name.casefold(), file.id),
    )
    versions = [(version, file) for file in files for version in file.versions.values()]
    versions.sort(key=lambda pair: (pair[0].stamp, pair[0].id))
    posts = _posts(found.reading.applied)
    receipts = sorted(state.receipts.values(), key=lambda each: (each.stamp, each.id))
    return Account(
        records,
        _members(state),
        [_file(state, file, records=records) for file in files],
        [_version(state, file, version, records=records) for version, file in versions],
        [_receipt(state, each, posts[each.id] if records else None) for each in receipts],
    )


def _person(state: Mandate, device: bytes) -> str:
    known = state.devices.get(device)
    return (known.name or known.machine) if known else device.hex()[:16]


def _machine(state: Mandate, device: bytes) -> str:
    known = state.devices.get(device)
    return "" if known is None else known.machine


def _members(state: Mandate) -> list[MemberTold]:
    membership = state.membership
    admissions: dict[tuple[bytes, bytes], list[tuple[int, int, bytes]]] = {}
    for stamped in state.stamped:
        by = membership.past(stamped.device)
        if isinstance(stamped.operation, Admit) and by is not None:
            named = (stamped.operation.device, stamped.operation.invitation)
            admissions.setdefault(named, []).append((by.rank, stamped.stamp, stamped.device))
    every = membership.members | {
        device: removal.member for device, removal in membership.removed.items()
    }
    admitted = {
        device: min(admissions.get((device, member.invitation or b""), []), default=None)
        for device, member in every.items()
    }
    told = []
    for device, first in sorted(admitted.items(), key=lambda each: (each[1] or (), each[0])):
        member, known = every[device], state.devices.get(device)
        removal = membership.removed.get(device)
        told.append(
            MemberTold(
                _person(state, device),
                "" if known is None else known.machine,
                member.role,
                device.hex(),
                key_phrase(device),
                None if first is None else hlc_words(first[1]),
                "" if first is None else _person(state, first[2]),
                device == state.founder,
                None if removal is None else hlc_words(removal.stamp),
                "" if removal is None else _person(state, removal.by[0][1]),
            )
        )
    return told


def _file(state: Mandate, file: FileState, *, records: bool) -> FileTold:
    current = file.current()
    return FileTold(
        file.info.name,
        file.info.kind,
        _person(state, file.device),
        _period(file),
        len(file.versions),
        _count(file, file.records) if records else None,
        "" if current is None else hlc_words(current.hlc),
        "" if current is None else current.digest.hex(),
        file.present,
    )


def _count(file: FileState, records: int) -> int | None:
    """None for a file that is kept whole: nothing in it is counted."""
    current = file.current()
    return None if current is not None and current.content is not None else records


def _period(file: FileState) -> str:
    first, last = file.info.period_from, file.info.period_to
    if first is None or last is None:
        return ""
    days = (datetime.date.fromordinal(each).isoformat() for each in (first, last))
    return " – ".join(days)


def _version(state: Mandate, file: FileState, version: Version, *, records: bool) -> VersionTold:
    counted = records and version.content is None
    return VersionTold(
        hlc_words(version.hlc),
        file.info.name,
        version.name,
        _person(state, version.device),
        _machine(state, version.device),
        version.size_bytes,
        version.records if counted else None,
        version.added,
        version.deleted,
    )


def _posts(applied: Iterable[Applied]) -> dict[tuple[bytes, int], Post]:
    return {
        (entry.id, index): operation
        for entry in applied
        for index, operation in enumerate(entry.operations)
        if isinstance(operation, Post)
    }


def _receipt(state: Mandate, receipt: Receipt, post: Post | None) -> ReceiptTold:
    names = [state.files[file].info.name for file in receipt.files if state.files[file].added]
    return ReceiptTold(
        hlc_words(receipt.hlc),
        receipt.name,
        _person(state, receipt.device),
        tuple(names),
        receipt.added,
        receipt.deleted,
        None if post is None else _amounts(state, keyed(post.adds)),
        None if post is None else _amounts(state, keyed(post.drops)),
        state.receipt_state(receipt.id),
    )


def _amounts(state: Mandate, taken: Iterable[tuple[bytes, tuple[bytes, int], bytes]]) -> Amounts:
    """The sums of the records that a receipt names, as ``pending`` shows them."""
    total: Amounts = {}
    for file_id, element, key in taken:
        pair: Pair = (element, key)
        file = state.files.get(file_id)
        segment = None if file is None else file.segments.segment_of(*pair)
        for side in () if segment is None else segment.sides:
            add_side(total, side, 1)
    return total
