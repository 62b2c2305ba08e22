"""What was known at a time (B-HIS-1): the mandate folded from the entries up to then.

A time means one of two things. *By the clocks*: what everybody had written by then, as their clocks
say (the entries' effective time, which never runs against cause and effect), also what reached this
device later. *As this device knew it*: what had come here by then, by this device's own clock.
"""

import datetime
from dataclasses import dataclass
from typing import Any

import trio

from p2psync.core import balance, clock
from p2psync.core.files import FileState
from p2psync.core.mandate import Mandate
from p2psync.core.names import unique_names
from p2psync.errors import ArrivalUnknown, TimeInvalid
from p2psync.node import views
from p2psync.node.node import Node
from p2psync.node.opened import Opened

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, in milliseconds since 1970, and how it is meant; ``place`` is the last entry that
    was here, for what this device knew.
    """

    at_ms: int
    text: str
    known: bool = False
    place: int | None = None

    @property
    def stamp(self) -> int | None:
        """The last effective time that counts."""
        return None if self.known else ((self.at_ms + 1) << clock.COUNTER_BITS) - 1


def read_time(text: str) -> tuple[int, str]:
    """Read an ISO date (its end) or time; without an offset it is local time.

    Returns milliseconds since 1970 and the exact time, with its offset. Raises ``TimeInvalid``.
    """
    try:
        at = datetime.datetime.fromisoformat(text)
        if len(text) <= 10:
            at = at.replace(hour=23, minute=59, second=59, microsecond=999_999)
        at = at if at.tzinfo is not None else at.astimezone()
        milliseconds = int(at.timestamp() * 1000)
        if milliseconds < 0:
            raise ValueError("before 1970")
        return milliseconds, at.isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # the first and the last year have no local time
        raise TimeInvalid(time=text) from None


async def moment(node: Node, opened: Opened, text: str, *, known: bool) -> Moment:
    """Return the moment that a text stands for.

    Raises ``TimeInvalid``, ``ArrivalUnknown`` when what was ``known`` then was not noted yet.
    """
    at_ms, exact = read_time(text)
    if not known:
        return Moment(at_ms, exact)
    found = await node.store.arrivals(opened.id, at_ms)
    if found.since_ms is not None and at_ms < found.since_ms:
        raise ArrivalUnknown(time=exact, since=views.iso(found.since_ms))
    return Moment(at_ms, exact, True, found.place)


async def fold(node: Node, opened: Opened, at: Moment) -> Mandate:
    """The mandate as it was at a moment; nothing of it is kept."""
    await node.runner.flushed()  # what was written last is on the disk then
    entries = node.store.until(opened.id, at.stamp, at.place)
    return await trio.to_thread.run_sync(opened.replica.past, entries)


def names(state: Mandate) -> dict[bytes, str]:
    """The names that the attached files were shown under."""
    return unique_names([(file.id, file.info.name) for file in state.present_files()])


def view(state: Mandate, files: list[FileState], shown: dict[bytes, str]) -> Json:
    """The mandate as people saw it; may take a while: sums read the records."""
    seat = state.seat()
    return {
        "name": state.name,
        "shared": state.shared,
        "closed": bool(state.standing.closed),
        "seat": None if seat is None else _device(state, seat),
        "members": [
            _device(state, device) | {"role": member.role}
            for device, member in sorted(state.membership.members.items())
            if device not in state.standing.left()
        ],
        "files": [_file(state, file, shown[file.id]) for file in files],
    }


def _device(state: Mandate, device: bytes) -> Json:
    return {
        "device": device.hex(),
        "name": views.person(state, device),
        "machine": views.machine(state, device),
    }


def _file(state: Mandate, file: FileState, name: str) -> Json:
    current = file.current()
    added, deleted = file.pending() if views.counts(file) else (0, 0)
    sums = balance.total(file.body.days) if added or deleted else balance.Sums()
    return {
        "id": file.id.hex(),
        "name": name,
        "kind": file.info.kind,
        "format": file.info.format,
        "device": views.person(state, file.device),
        "machine": views.machine(state, file.device),
        "folder": file.info.folder,
        "version": None if current is None else current.name,
        "heads": len(file.heads),
        "merged": file.merged,
        "records": file.records,
        "bytes": 0 if current is None else current.size_bytes,
        "changed": None if current is None else views.iso_of(current.hlc),
        "by": None if current is None else views.person(state, current.device),
        "posted": views.posted_count(file) if views.counts(file) else 0,
        "pending": {
            "added": added,
            "deleted": deleted,
            "amount": views.one_amount(sums.amounts),
            "amounts": views.amounts(sums.amounts),
        },
    }


def receipts(state: Mandate, shown: dict[bytes, str], limit: int) -> tuple[list[Json], int]:
    """The receipts that had been made, newest first, and how many more there are."""
    every = sorted(state.receipts.values(), key=lambda each: (each.stamp, each.id), reverse=True)
    return [
        {
            "receipt": each.name,
            "at": views.iso_of(each.hlc),
            "by": views.person(state, each.device),
            "machine": views.machine(state, each.device),
            "files": [
                shown.get(file) or state.files[file].info.name
                for file in each.files
                if file in state.files and state.files[file].added
            ],
            "added": each.added,
            "deleted": each.deleted,
            "state": state.receipt_state(each.id),
        }
        for each in every[:limit]
    ], max(0, len(every) - limit)
