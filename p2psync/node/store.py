"""What the node keeps in its database, in the node's own values; waits in threads.

Reads and writes of single rows are quick, but an fsync is not: everything that writes goes
through a thread, one batch at a time.
"""

import base64
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from p2psync.engine import wire
from p2psync.engine.effects import (
    CloseLog,
    KeepEpochKey,
    KeepLogKey,
    Persist,
    SendEntries,
    SendOpening,
    StoredEntry,
)
from p2psync.engine.ports import Archive
from p2psync.engine.replica import OwnLog, Replica
from p2psync.errors import StateDamaged, StorageError
from p2psync.node.copies import Copy
from p2psync.node.runner import Durable, InBatch, wall_ms
from p2psync.node.views import iso
from p2psync.storage.database import Batch, Database
from p2psync.storage.events import Wanted
from p2psync.storage.fingerprint import fingerprint, machine_facts
from p2psync.storage.ordered import OrderedEntries
from p2psync.storage.past import Arrivals
from p2psync.storage.rows import CopyRow, EventRow, HookRow, MandateRow, NewEvent

logger = logging.getLogger(__name__)
T = TypeVar("T")
Event = dict[str, Any]
_ADDRESSES = "addresses:"
"""What the names of settings that hold signed addresses begin with."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An event to keep; ``key`` tells an alert from others of its mandate."""

    event: Event
    key: str | None
    lasting: bool = False
    """Whether it holds until its cause is gone, also after a person closed it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The cause of the alert with this key is gone."""

    mandate: bytes | None
    key: str


@dataclass(frozen=True, slots=True)
class Found:
    """Events, the id up to which any were forgotten, and the last id there was before them."""

    forgotten: int
    newest: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is kept beside the entries of all mandates, by mandate."""

    own_logs: Mapping[bytes, Sequence[OwnLog]]
    copies: Mapping[bytes, Sequence[Copy]]
    contacts: Mapping[bytes, Mapping[bytes, tuple[str, ...]]]
    """The devices that have to do with a mandate, and where each was reached."""


FRESH_BYTES_MAX = 256 * 1024
"""Entries that were just written and are kept in memory."""
_ENTRIES_READ = 256
"""Entries that are read from the database at a time while sending."""


class Store:
    """The node's view of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh: dict[bytes, bytes] = {}

    async def _thread(self, call: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(partial(call, *arguments))

    async def _write(self, write: Callable[[Batch], T]) -> T:
        def run() -> T:
            with self._database.batch() as batch:
                return write(batch)

        with trio.CancelScope(shield=True):
            return await trio.to_thread.run_sync(run)

    # -- what the runner needs ------------------------------------------------------------------

    def commit(self, work: Sequence[Durable]) -> None:
        """Make all of it durable in one transaction; blocks."""
        with self._database.batch() as batch:
            for item in work:
                match item:
                    case Persist():
                        batch.persist(item)
                    case KeepLogKey(mandate=mandate, log=log, seed=seed, incarnation=number):
                        batch.keep_log_key(mandate, log, seed, number)
                    case KeepEpochKey(mandate=mandate, key=key):
                        batch.add_epoch_key(mandate, key)
                    case CloseLog(log=log):
                        batch.close_log(log)
                    case InBatch(write=write):
                        write(batch)
        self._remember(
            [entry for item in work if isinstance(item, Persist) for entry in item.entries]
        )

    def _remember(self, entries: Sequence[StoredEntry]) -> None:
        """Keep what was just written in memory: it is sent next."""
        if entries and sum([len(entry.raw) for entry in entries]) <= FRESH_BYTES_MAX // 4:
            fresh = {**self._fresh, **{entry.id: entry.raw for entry in entries}}
            while sum(map(len, fresh.values())) > FRESH_BYTES_MAX:
                del fresh[next(iter(fresh))]
            self._fresh = fresh

    async def try_writing(self) -> None:
        """Find out whether the disk can be written; raises ``StorageError``."""
        await self._thread(self._database.try_writing)

    # -- mandates -----------------------------------------------------------------------------

    async def mandates(self) -> list[MandateRow]:
        """All mandates of this home."""
        return await self._thread(self._database.mandates)

    async def surroundings(self) -> Surroundings:
        """What is kept beside the entries; read at once, however many mandates there are."""
        return await self._thread(self._surroundings)

    def _surroundings(self) -> Surroundings:
        own_logs: dict[bytes, list[OwnLog]] = {}
        for row in self._database.own_logs():
            log = OwnLog(row.seed, row.incarnation, row.closed)
            own_logs.setdefault(row.mandate, []).append(log)
        copies: dict[bytes, list[Copy]] = {}
        directories: dict[str, Path] = {}  # shared: a path of its own for each copy takes 500 bytes
        for each in self._database.copies():
            directory = directories.setdefault(each.directory, Path(each.directory))
            copies.setdefault(each.mandate, []).append(_copy(each, directory))
        known = self._database.contacts()
        contacts = {
            mandate: {device: known.get(device, ()) for device in sorted(seen)}
            for mandate, seen in self._database.last_seen_everywhere().items()
        }
        return Surroundings(own_logs, copies, contacts)

    async def close_overtaken_logs(self, home: Path) -> int:
        """Close the logs that this home must not go on with; return how many (B-ID-4).

        That is all of them when the home was copied or moved to another machine, and those whose
        end in the database is below the mark kept outside it, after a restored backup.
        """

        def close() -> int:
            here = fingerprint(machine_facts(home))
            before = self._database.setting("fingerprint")
            logs = {mark.log for mark in self._database.behind()}
            if before is not None and before != here:
                logs |= {row.log for row in self._database.own_logs() if not row.closed}
            if logs or before != here:
                with self._database.batch() as batch:
                    for log in sorted(logs):
                        batch.close_log(log)
                    batch.put_setting("fingerprint", here)
            return len(logs)

        return await self._thread(close)

    # -- entries ------------------------------------------------------------------------------

    async def load(self, replica: Replica) -> None:
        """Let a replica take up what is on the disk: what is kept of its fold, or all entries.

        The latter when nothing is kept, or something else than the entries make.
        """
        await self._thread(self._load, replica)

    def _load(self, replica: Replica) -> None:
        mandate = replica.mandate
        archive = self._database.archive(mandate)
        kept = self._database.kept(mandate)
        if archive is not None and kept is not None:
            try:
                replica.restore(kept, archive)
                return
            except StateDamaged as error:
                logger.warning("%s", error.text)
        replica.load(self._database.raws(mandate))
        if archive is not None:
            with suppress(StorageError):  # a disk that cannot be written can still be read
                self.commit([replica.keep()])
                self._database.trust(mandate)
                replica.rest(archive)

    def attach(self, replica: Replica) -> None:
        """Let a replica look up what it need not remember."""
        archive = self._database.archive(replica.mandate)
        if archive is not None:
            replica.attach(archive)

    def until(
        self, mandate: bytes, stamp: int | None = None, place: int | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """The folded entries of a mandate and their effective times, in causal order, up to a time
        and a place; blocks.
        """
        return self._database.until(mandate, stamp, place)

    async def arrivals(self, mandate: bytes, at_ms: int) -> Arrivals:
        """Which entries of a mandate had come to this device at a time."""
        return await self._thread(self._database.arrivals, mandate, at_ms)

    def archive(self, mandate: bytes) -> Archive | None:
        """What answers for the entries of a mandate that are on the disk."""
        return self._database.archive(mandate)

    async def entries(self, mandate: bytes) -> list[bytes]:
        """All entries of a mandate, in the order in which they came."""
        return await self._thread(lambda: list(self._database.raws(mandate)))

    async def ordered(self, mandate: bytes) -> OrderedEntries | None:
        """The folded entries of a mandate in causal order, as they stand on the disk now."""
        return await self._thread(self._database.ordered, mandate)

    async def raws(self, mandate: bytes, ids: Sequence[bytes]) -> list[bytes]:
        """Some entries, in the order asked for."""
        fresh = [self._fresh.get(id) for id in ids]
        if None not in fresh:
            return [raw for raw in fresh if raw is not None]
        found = await self._thread(self._database.find, mandate, ids)
        return list(found.values())

    async def frames(self, send: SendEntries | SendOpening) -> AsyncGenerator[bytes, None]:
        """Yield the frames that a send stands for, read piece by piece."""
        match send:
            case SendEntries(handle=handle, mandate=mandate, ids=ids):
                for start in range(0, len(ids), _ENTRIES_READ):
                    raws = await self.raws(mandate, ids[start : start + _ENTRIES_READ])
                    more = start + _ENTRIES_READ < len(ids)
                    for frame in wire.entries_frames(handle, raws, more=more):
                        yield frame
            case SendOpening(handle=handle, mandate=mandate, ids=ids):
                raws = await self.raws(mandate, ids)
                yield wire.encode(wire.Opening(handle, tuple(raws)))

    def fresh_frames(self, send: SendEntries | SendOpening) -> list[bytes] | None:
        """The frames that a send stands for when all was just written; ``None`` else."""
        raws = [raw for id in send.ids if (raw := self._fresh.get(id)) is not None]
        if len(raws) < len(send.ids) or len(raws) > _ENTRIES_READ:
            return None
        if isinstance(send, SendOpening):
            return [wire.encode(wire.Opening(send.handle, tuple(raws)))]
        return list(wire.entries_frames(send.handle, raws))

    # -- copies -------------------------------------------------------------------------------

    def keep_copy(self, copy: Copy) -> InBatch:
        """Note, in the transaction around it, what a copy holds now."""
        row = CopyRow(
            mandate=copy.mandate,
            file=copy.file,
            role=copy.role,
            directory=str(copy.directory),
            name=copy.name,
            heads=copy.heads,
            digest=copy.digest,
            stat=copy.stat,
            writing=copy.writing,
            held=copy.held,
            seen=copy.seen,
        )
        return InBatch(lambda batch: batch.put_copy(row))

    def drop_copy(self, copy: Copy) -> InBatch:
        """Forget, in the transaction around it, that a copy is there."""
        mandate, file, role = copy.mandate, copy.file, copy.role
        return InBatch(lambda batch: batch.delete_copy(mandate, file, role))

    # -- notes --------------------------------------------------------------------------------

    async def note(self, mandate: bytes, file: bytes, mark: bytes) -> Any:
        """What was noted of a file's content that had this mark; ``None`` for any other."""
        text = await self._thread(self._database.note, mandate, file, mark)
        return None if text is None else json.loads(text)

    async def notes(self, mandate: bytes, marks: Mapping[bytes, bytes]) -> dict[bytes, Any]:
        """The same of several files, by file, in one go; those that are not there are left out."""

        def read() -> dict[bytes, Any]:
            texts = {file: self._database.note(mandate, file, mark) for file, mark in marks.items()}
            return {file: json.loads(text) for file, text in texts.items() if text is not None}

        return await self._thread(read)

    async def put_note(self, mandate: bytes, file: bytes, mark: bytes, value: object) -> None:
        """Note something of a file's content; what cannot be written is found out again."""
        text = json.dumps(value, ensure_ascii=False)
        with suppress(StorageError):
            await self._write(lambda batch: batch.put_note(mandate, file, mark, text))

    # -- peers --------------------------------------------------------------------------------

    def tell_contacts(
        self, mandate: bytes, devices: Mapping[bytes, Sequence[str]], at_ms: int = 0
    ) -> InBatch:
        """Keep what is told of devices and their addresses; ``at_ms``: when they answered there."""

        def write(batch: Batch) -> None:
            for device, addresses in devices.items():
                batch.put_seen(mandate, device, at_ms)
                for address in addresses:
                    batch.put_contact(device, address, at_ms)

        return InBatch(write)

    async def reached(
        self, members: Iterable[tuple[bytes, bytes]], addresses: Mapping[bytes, Sequence[str]]
    ) -> None:
        """Keep, in one transaction, that members were there now, and where.

        ``members`` are pairs of mandate and device.
        """
        now = wall_ms()

        def write(batch: Batch) -> None:
            for mandate, device in members:
                batch.put_seen(mandate, device, now)
            for device, known in addresses.items():
                for address in known:
                    batch.put_contact(device, address, now)

        await self._write(write)

    async def contacts(self, mandate: bytes) -> dict[bytes, tuple[str, ...]]:
        """The devices that have to do with a mandate, and where each was reached."""

        def read() -> dict[bytes, tuple[str, ...]]:
            known = self._database.contacts()
            seen = self._database.last_seen(mandate)
            return {device: known.get(device, ()) for device in sorted(seen)}

        return await self._thread(read)

    async def last_seen(self, mandate: bytes) -> dict[bytes, int]:
        """When each member was last there, in milliseconds since 1970."""
        seen = await self._thread(self._database.last_seen, mandate)
        return {device: at for device, at in seen.items() if at}

    async def addresses(self) -> dict[bytes, bytes]:
        """The signed addresses that were kept, by device."""
        return {
            bytes.fromhex(key.removeprefix(_ADDRESSES)): base64.b64decode(value)
            for key, value in (await self.settings()).items()
            if key.startswith(_ADDRESSES)
        }

    async def put_addresses(self, records: Mapping[bytes, bytes | None]) -> None:
        """Keep signed addresses, each in place of what its device signed before; ``None``: none."""

        def write(batch: Batch) -> None:
            for device, raw in records.items():
                text = None if raw is None else base64.b64encode(raw).decode()
                batch.put_setting(_ADDRESSES + device.hex(), text)

        await self._write(write)

    # -- events -------------------------------------------------------------------------------

    async def add_events(self, news: Sequence[Raised | Settled]) -> list[int | None]:
        """Keep events and close alerts, in order, in one transaction; return the id of each.

        It is ``None`` for an alert with a key that holds already, and for one that was closed.
        """
        at_ms = wall_ms()

        def write(batch: Batch) -> list[int | None]:
            ids: list[int | None] = []
            for each in news:
                match each:
                    case Settled(mandate=mandate, key=key):
                        ids.append(batch.close_alert_key(mandate, key, at_ms))
                    case Raised(event=event, key=key, lasting=lasting):
                        mandate = event["mandate"]
                        text = json.dumps(event, ensure_ascii=False)
                        of = None if mandate is None else bytes.fromhex(mandate)
                        new = NewEvent(of, event["severity"], text, key, lasting)
                        ids += batch.add_events([new])
            return ids

        return await self._write(write)

    async def events_since(self, last: int, wanted: Wanted, limit: int) -> Found:
        """Events with a higher id, ascending."""

        def read() -> Found:
            newest = self._database.last_event_id()
            rows = self._database.events_since(last, limit, wanted)
            # Looked up last: what was forgotten while the rows were read is told too often at most.
            forgotten = self._database.events_forgotten()
            return Found(forgotten, newest, [_event(row) for row in rows])

        return await self._thread(read)

    async def events_before(self, first: int | None, wanted: Wanted, limit: int) -> list[Event]:
        """Events with a lower id, or the last ones; newest first."""
        rows = await self._thread(self._database.events_before, first, limit, wanted)
        return [_event(row) for row in rows]

    async def count_events(self, last: int, wanted: Wanted) -> int:
        """How many events have a higher id."""
        return await self._thread(self._database.count_events, last, wanted)

    async def last_event_id(self) -> int:
        """The id of the last event; 0 before the first."""
        return await self._thread(self._database.last_event_id)

    async def open_alerts(self, mandate: bytes | None) -> list[Event]:
        """Alerts that nobody closed yet."""
        rows = await self._thread(self._database.open_alerts, mandate)
        return [_event(row) for row in rows]

    async def holding_alerts(self) -> list[tuple[bytes | None, str]]:
        """Mandate and key of each alert whose cause is not known to be gone."""
        return await self._thread(self._database.holding_alerts)

    async def close_alerts(self, alerts: Sequence[int]) -> list[int]:
        """Close alerts; return those that were open."""
        at_ms = wall_ms()
        return await self._write(
            lambda batch: [each for each in alerts if batch.close_alert(each, at_ms)]
        )

    # -- hooks --------------------------------------------------------------------------------

    async def hooks(self) -> list[HookRow]:
        """All hooks."""
        return await self._thread(self._database.hooks)

    async def add_hook(self, text: str, done: int, progress: str) -> int:
        """Keep a hook; return its id."""
        return await self._write(lambda batch: batch.add_hook(text, done, progress))

    async def note_hook(self, hook: int, done: int, progress: str) -> None:
        """Keep how far a hook has come."""
        await self._write(lambda batch: batch.note_hook(hook, done, progress))

    async def delete_hook(self, hook: int) -> bool:
        """Delete a hook; false when there is none with that id."""
        return await self._write(lambda batch: batch.delete_hook(hook))

    # -- peers that were met ------------------------------------------------------------------

    async def last_met(self) -> dict[bytes, int]:
        """When any other device was last there, by mandate, in milliseconds since 1970."""
        seen = await self._thread(self._database.last_seen_everywhere)
        return {mandate: max(times.values(), default=0) for mandate, times in seen.items()}

    # -- settings -----------------------------------------------------------------------------

    async def setting(self, key: str) -> str | None:
        """A small value of the node's own."""
        return await self._thread(self._database.setting, key)

    async def settings(self) -> dict[str, str]:
        """All of them."""
        return await self._thread(self._database.settings)

    async def put_setting(self, key: str, value: str | None) -> None:
        """Keep a small value, durably; ``None`` takes it away."""
        await self._write(lambda batch: batch.put_setting(key, value))


def _event(row: EventRow) -> Event:
    event: Event = {"id": row.id, **json.loads(row.json)}
    for name in ("mandate_name", "device", "device_name"):
        event.setdefault(name, None)  # what was kept before these were told has none
    event.setdefault("data", {})
    if row.severity == "alert":
        event["open"] = row.open
        event["closed_by"] = row.closed_by
        event["closed_at"] = None if row.closed_ms is None else iso(row.closed_ms)
    return event


def _copy(row: CopyRow, directory: Path) -> Copy:
    return Copy(
        mandate=row.mandate,
        file=row.file,
        role=row.role,
        directory=directory,
        name=row.name,
        heads=row.heads,
        digest=row.digest,
        stat=row.stat,
        seen=row.seen,
        writing=row.writing,
        held=row.held,
    )
