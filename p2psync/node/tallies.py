"""What waits of each file, summed up by day, and its first records: known without a look at the
file, also after a start (B-POS-1).

Sums are kept in step by the fold once somebody asked for them (``core.balance``). What they came to
is noted on the disk a moment after the last change, so that nobody has to read a file for it
again.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import trio

from p2psync.core import crypto
from p2psync.core.balance import Amounts, Sums, day_of
from p2psync.core.body import PendingRecord
from p2psync.core.crdt import measured
from p2psync.core.files import FileState
from p2psync.errors import P2PSyncError
from p2psync.formats.changed import edited
from p2psync.limits import PENDING_EDITED_RECORDS_MAX, PENDING_LISTED
from p2psync.node import views
from p2psync.node.opened import Opened
from p2psync.node.store import Store

Json = dict[str, Any]
Listed = tuple[int, Json]
"""A record's day, and how it is shown."""

Route = Callable[[int], str | None]
"""Tells the period of a day."""

_VERSION = 4
"""Rises when the same file gives another tally."""
_NOTE = b"pending"
_AT_ONCE_RECORDS = 5_000
"""A file with more records is summed up in a thread."""
NOTE_SECONDS = 2.0
"""How long after a change a tally is noted: who saves often shall not wait for it."""


@dataclass(slots=True)
class Part:
    """What waits of one file in one period."""

    sums: Sums = field(default_factory=Sums)
    changed: int = 0


@dataclass(slots=True)
class Tally:
    """What waits of one file."""

    mark: bytes
    """Tells of which state of the file."""
    _days: dict[int, Sums] | None
    changed: dict[int, int] = field(default_factory=dict)
    """How many of a day's records to add are edited ones that were posted before (B-POS-5)."""
    listed: list[Listed] = field(default_factory=list)
    """The first records, edited ones before others, each after what it was."""
    complete: bool = False
    """Whether these are all."""
    noted: str | None = None
    """The same as JSON, until somebody asks for it."""
    noted_days: str = "{}"
    """``days`` as JSON, until somebody asks for it."""
    parts: dict[str | None, Part] | None = None
    """The sums by period, once somebody routed them."""
    routed: Json | None = None
    """By what that was, as JSON."""

    @property
    def days(self) -> dict[int, Sums]:
        """The sums by day."""
        if self._days is None:
            days = json.loads(self.noted_days)
            self._days, self.noted_days = {int(day): _sums(each) for day, each in days.items()}, ""
        return self._days

    def by_period(self, routed: Json, route: Route) -> dict[str | None, Part]:
        """The sums by period; known until ``routed``, which tells what ``route`` goes by, is
        something else.
        """
        if self.parts is None or self.routed != routed:
            parts: dict[str | None, Part] = {}
            for day in sorted(self.days):
                part = parts.setdefault(route(day), Part())
                part.sums.include(self.days[day])
                part.changed += self.changed.get(day, 0)
            self.parts, self.routed = parts, routed
        return self.parts


class Tallies:
    """The tallies of all files of this node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[bytes, bytes], Tally] = {}
        self._unnoted: dict[tuple[bytes, bytes], Opened] = {}
        self._changed = trio.Event()
        self._noting = trio.Lock()
        self.on_rest: Callable[[Opened, FileState], Awaitable[object]] | None = None
        """Called with each file a moment after its last change."""

    async def of(self, opened: Opened, file: FileState) -> Tally:
        """Return what waits of a file now; may raise ``StateDamaged``."""
        key = (opened.id, file.id)
        while True:
            mark = state_mark(opened, file)
            known = self._known.get(key)
            if known is not None and known.mark == mark:
                return known
            found = None
            if not file.loaded:
                found = _from_note(mark, await self._store.note(opened.id, file.id + _NOTE, mark))
            if found is None:
                found = await _tally(mark, file)
                self.note_soon(opened, file.id)
            if found is not None and state_mark(opened, file) == mark:
                self._known[key] = found
                return found

    async def read(self, opened: Opened, files: Sequence[FileState]) -> None:
        """Take up, all at once, what was noted of files that nobody looked at since the start."""
        wanted = {
            file.id + _NOTE: state_mark(opened, file)
            for file in files
            if not file.loaded and (opened.id, file.id) not in self._known
        }
        if len(wanted) < 2:
            return
        noted = await self._store.notes(opened.id, wanted)
        for name, mark in wanted.items():
            found = _from_note(mark, noted.get(name))
            if found is not None:
                self._known.setdefault((opened.id, name.removesuffix(_NOTE)), found)

    def records(self, file: FileState, tally: Tally, most: int) -> list[Listed]:
        """Return the first records that wait, right after ``of``."""
        if tally.noted is not None:
            tally.listed, tally.noted = [tuple(each) for each in json.loads(tally.noted)], None
        if len(tally.listed) < most and not tally.complete:
            _list(file, tally, most)
        return tally.listed[:most]

    # -- notes ----------------------------------------------------------------------------------

    def note_soon(self, opened: Opened, file: bytes) -> None:
        """Have a file's tally noted after a while."""
        self._unnoted[(opened.id, file)] = opened
        self._changed.set()

    @property
    def waiting(self) -> bool:
        """Whether anything is to be noted."""
        return bool(self._unnoted)

    async def run(self) -> None:
        """Note tallies, those of files that are at rest."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await trio.sleep(NOTE_SECONDS)
            await self.note()

    async def note(self) -> None:
        """Note what was not noted yet."""
        async with self._noting:
            waiting, self._unnoted = self._unnoted, {}
            for (mandate, file_id), opened in waiting.items():
                file = opened.state.files.get(file_id)
                if not opened.live:
                    self._known.pop((mandate, file_id), None)
                elif file is not None and file.added is not None:
                    await self._note(opened, file)
                    if self.on_rest is not None:
                        with suppress(P2PSyncError):  # whoever asks for it is told
                            await self.on_rest(opened, file)

    async def _note(self, opened: Opened, file: FileState) -> None:
        try:
            tally = await self.of(opened, file)
            self.records(file, tally, PENDING_LISTED)
        except P2PSyncError:
            return  # whoever asks for it is told
        self._unnoted.pop((opened.id, file.id), None)
        note = _to_note(tally)
        if note["complete"] or len(tally.listed) <= PENDING_LISTED:
            tally.listed, tally.noted = [], note["listed"]  # a tenth of the memory
        if opened.live:  # of what was deleted meanwhile nothing is noted
            await self._store.put_note(opened.id, file.id + _NOTE, tally.mark, note)


def state_mark(opened: Opened, file: FileState) -> bytes:
    """Tells of which state of a file a tally is: all that was saved, posted and taken back."""
    receipts = opened.state.receipts
    retracted = [each for each in opened.state.retracted if file.id in receipts[each].files]
    what = (_VERSION, file.mark, file.touches, sorted(file.heads))
    return crypto.content_digest(repr((what, sorted(retracted))).encode())


async def _tally(mark: bytes, file: FileState) -> Tally | None:
    """Sum up a file; ``None`` when it changed meanwhile."""
    body = file.body
    segments = body.segments
    if not body.is_measured and file.records > _AT_ONCE_RECORDS:
        revision, raws = segments.revision, segments.raws()
        measure = await trio.to_thread.run_sync(measured, raws, segments.read)
        if not segments.take_measure(revision, measure):
            return None
    days = {day: _copy(sums) for day, sums in body.days.items()}
    tally = Tally(mark, days)
    if any(sums.deleted for sums in days.values()):
        _list(file, tally, PENDING_LISTED)
    return tally


def _copy(sums: Sums) -> Sums:
    out = Sums()
    out.include(sums)
    return out


def _list(file: FileState, tally: Tally, most: int) -> None:
    """Find the first records, and which of all are edited ones; as quick as there are few."""
    added = sum(sums.added for sums in tally.days.values())
    deleted = sum(sums.deleted for sums in tally.days.values())
    pairs: list[tuple[PendingRecord, PendingRecord]] = []
    rest: list[PendingRecord]
    if added and deleted and added + deleted <= PENDING_EDITED_RECORDS_MAX:
        every = list(file.pending_records())
        came, gone = every[:added], every[added:]
        matches = _edited(gone, came)
        pairs = [(gone[old], came[new]) for old, new in sorted(matches, key=lambda each: each[1])]
        taken = {old + added for old, _ in matches} | {new for _, new in matches}
        rest = [item for index, item in enumerate(every) if index not in taken]
    else:
        rest = list(islice(file.pending_records(), most))
    tally.changed = {}
    for _, now in pairs:
        day = day_of(now.record.date)
        tally.changed[day] = tally.changed.get(day, 0) + 1
    first = [(item, True) for pair in pairs for item in pair] + [(item, False) for item in rest]
    tally.listed = [
        (day_of(item.record.date), views.record_view(item, changed=changed))
        for item, changed in first[:most]
    ]
    tally.complete = len(tally.listed) >= added + deleted


def _edited(gone: Sequence[PendingRecord], came: Sequence[PendingRecord]) -> list[tuple[int, int]]:
    """Pairs (index into ``gone``, index into ``came``) of what is one record: by its identifier
    where it has one, else by likeness.
    """
    pairs: list[tuple[int, int]] = []
    places: dict[bytes, list[int]] = {}
    for index, item in enumerate(gone):
        if item.identity is not None:
            places.setdefault(item.identity, []).append(index)
    for index, item in enumerate(came):
        if item.identity is not None and places.get(item.identity):
            pairs.append((places[item.identity].pop(0), index))
    old = [index for index, item in enumerate(gone) if item.identity is None]
    new = [index for index, item in enumerate(came) if item.identity is None]
    likely = edited([gone[index].record for index in old], [came[index].record for index in new])
    return pairs + [(old[one], new[other]) for one, other in likely]


def _to_note(tally: Tally) -> Json:
    days = {str(day): _noted_sums(sums) for day, sums in tally.days.items()}
    return {
        "days": json.dumps(days),
        "changed": {str(day): count for day, count in tally.changed.items()},
        "parts": None
        if tally.parts is None
        else [[each, _noted_sums(part.sums), part.changed] for each, part in tally.parts.items()],
        "routed": tally.routed,
        "listed": json.dumps(tally.listed[:PENDING_LISTED], ensure_ascii=False),
        "complete": tally.complete and len(tally.listed) <= PENDING_LISTED,
    }


def _from_note(mark: bytes, note: Any) -> Tally | None:
    if note is None:
        return None
    return Tally(
        mark,
        None,
        {int(day): count for day, count in note["changed"].items()},
        complete=note["complete"],
        noted=note["listed"],
        noted_days=note["days"],
        parts=None
        if note["parts"] is None
        else {period: Part(_sums(sums), changed) for period, sums, changed in note["parts"]},
        routed=note["routed"],
    )


def _noted_sums(sums: Sums) -> list[int | dict[str, str]]:
    return [
        sums.added,
        sums.deleted,
        {currency: str(amount) for currency, amount in sums.added_amounts.items()},
        {currency: str(amount) for currency, amount in sums.deleted_amounts.items()},
        sums.added_groups,
        sums.deleted_groups,
    ]


def _sums(noted: Any) -> Sums:
    added, deleted, more, less, groups, gone = noted
    return Sums(added, deleted, _amounts(more), _amounts(less), groups, gone)


def _amounts(noted: dict[str, str]) -> Amounts:
    return {currency: Decimal(amount) for currency, amount in noted.items()}
