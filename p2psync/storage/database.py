"""The node's database: entries, keys, copies, contacts, events, settings. See docs/spec/storage.md.

All calls block (use threads) and may come from any thread. One transaction writes at a time; reads
go over a connection of their own and see what was committed before.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from p2psync.engine.effects import StoredEntry
from p2psync.engine.ports import Kept
from p2psync.errors import StorageError
from p2psync.storage import entries, events, fold, hooks, past
from p2psync.storage.batch import Batch
from p2psync.storage.entries import EntryWriter
from p2psync.storage.events import EVERYTHING, Wanted
from p2psync.storage.fold import StoredArchive
from p2psync.storage.highwater import HighWater, Mark
from p2psync.storage.ordered import OrderedEntries, ordered
from p2psync.storage.rows import (
    CopyRow,
    EventRow,
    HookRow,
    MandateRow,
    NewEvent,
    OwnLogRow,
    Position,
    load_heads,
    load_stat,
    load_writing,
)
from p2psync.storage.sqlite import Reader, Row, open_writer, sqlite_errors

__all__ = [
    "Batch",
    "CopyRow",
    "Database",
    "EventRow",
    "HighWater",
    "MandateRow",
    "Mark",
    "NewEvent",
    "OwnLogRow",
    "Position",
    "StoredEntry",
]

_MANDATES = (
    "SELECT mandate_number.id, genesis, by_ticket, admission_seed, ticket_role, "
    "ticket_expires_ms, created_ms, folder, state, number "
    "FROM mandate JOIN mandate_number USING (number) "
)
_COPIES = (
    "SELECT mandate_number.id, file, role, directory, name, heads, digest, stat, writing, held, "
    "seen "
    "FROM copy JOIN mandate_number ON mandate_number.number = copy.mandate "
)


class Database:
    """An open database; a context manager."""

    def __init__(self, path: Path, marks: HighWater | None = None) -> None:
        """Open or make the file at ``path`` (0600); its folder must be there.

        With ``marks``, how far own logs have come is noted there after each commit. Raises
        ``DatabaseDamaged``, ``DatabaseForeign``, ``DatabaseNewer``, ``DatabaseBusy``, ``DiskFull``,
        ``DiskReadOnly`` and other storage errors.
        """
        self._path = path
        self._marks = marks
        self._lock = threading.Lock()
        self._numbers: dict[bytes, int] = {}
        self._own_logs: set[tuple[bytes, bytes]] = set()
        self._connection = open_writer(path)
        try:
            self._reader = Reader(path)
        except BaseException:
            self._connection.close()
            raise
        self._writer = EntryWriter(self._connection)
        self._data_version = -1
        self._distrusted: set[bytes] = set()
        """Mandates of whose fold something wrong was kept, as far as somebody noticed."""

    @classmethod
    def open(cls, path: Path, marks: HighWater | None = None) -> Self:
        """Open or make a database; see ``__init__``."""
        return cls(path, marks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Carry the log over into the file and close it; idempotent. ``marks`` stays open."""
        self._reader.close()
        with self._lock:
            self._connection.close()

    # -- writing ------------------------------------------------------------------------------

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Begin a transaction; it is durable when the block ends, and undone when the block raises.

        One flush of the disk, however much it writes. Batches do not nest. Raises ``DiskFull``,
        ``DiskReadOnly``, ``DatabaseBusy``, ``DatabaseDamaged`` or another storage error, at any
        call of the batch or at its end: nothing of it was written then.
        """
        with self._lock:
            with sqlite_errors(self._path), self._transaction():
                self._notice_others()
                batch = Batch(self._connection, self._writer, self._own_logs)
                yield batch
                batch.finish()
            self._note_marks(batch)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._data_version = -1
            # After some failures SQLite has undone the transaction already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _notice_others(self) -> None:
        """Forget what is remembered when another process has written, or a batch was undone."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._data_version:
            self._writer.forget()
            rows = self._connection.execute(
                "SELECT id, log FROM own_log JOIN mandate_number ON number = own_log.mandate"
            ).fetchall()
            self._own_logs.clear()
            self._own_logs.update(rows)
            self._data_version = version

    def _note_marks(self, batch: Batch) -> None:
        if self._marks is None:
            return
        try:
            for mandate in batch.removed:
                self._marks.drop(mandate)
            self._marks.raise_to(batch.marks)
        except StorageError as error:
            # The batch is durable; a mark that is too low only hides a restored backup.
            logging.getLogger("p2psync.storage").warning("%s", error.text)

    def try_writing(self) -> None:
        """Commit a change to see whether the disk can be written; raises what keeps it from it."""
        with self.batch() as batch:
            batch.put_setting("tried", None)
            batch.put_setting("tried", "")

    # -- mandates and their keys ----------------------------------------------------------------

    def mandates(self) -> list[MandateRow]:
        """Return all mandates, oldest first."""
        return [self._mandate(row) for row in self._reader.rows(_MANDATES + "ORDER BY number")]

    def mandate(self, mandate: bytes) -> MandateRow | None:
        """Return one mandate."""
        row = self._reader.row(_MANDATES + "WHERE mandate_number.id = ?", mandate)
        return None if row is None else self._mandate(row)

    def _mandate(self, row: Row) -> MandateRow:
        keys = self._reader.rows(
            "SELECT key FROM epoch_key WHERE mandate = ? ORDER BY place", row[9]
        )
        return MandateRow(
            id=row[0],
            epoch_keys=tuple(key for (key,) in keys),
            genesis=row[1],
            by_ticket=bool(row[2]),
            admission_seed=row[3],
            ticket_role=row[4],
            ticket_expires_ms=row[5],
            created_ms=row[6],
            folder=row[7],
            state=row[8],
        )

    def own_logs(self, mandate: bytes | None = None) -> list[OwnLogRow]:
        """Return the logs that this device opened, by incarnation; of one mandate or of all."""
        rows = self._reader.rows(
            "SELECT mandate_number.id, log, seed, incarnation, closed FROM own_log "
            "JOIN mandate_number ON mandate_number.number = own_log.mandate "
            "ORDER BY mandate, incarnation, log"
        )
        return [
            OwnLogRow(owner, log, seed, incarnation, bool(closed))
            for owner, log, seed, incarnation, closed in rows
            if mandate is None or owner == mandate
        ]

    def behind(self) -> tuple[Mark, ...]:
        """Return the marks that open own logs end below: the database is older than what was sent.

        The node closes these logs and opens new incarnations (B-ID-4). Logs that are closed, or
        whose keys are not here, cannot be gone on with and are left out. Empty without ``marks``.
        """
        marks = () if self._marks is None else self._marks.marks()
        rows = self._reader.rows(
            "SELECT own_log.log, ifnull(max(entry.seq), -1) FROM own_log "
            "LEFT JOIN log ON log.log = own_log.log AND log.mandate = own_log.mandate "
            "LEFT JOIN entry ON entry.log = log.number WHERE NOT closed GROUP BY own_log.log"
        )
        ends: dict[bytes, int] = dict(rows)
        return tuple(mark for mark in marks if ends.get(mark.log, mark.seq) < mark.seq)

    # -- entries --------------------------------------------------------------------------------

    def index(self, mandate: bytes) -> Iterator[Position]:
        """Yield all entries of a mandate, in order of arrival: ``prev`` before who names it."""
        number = self._number(mandate)
        return iter(()) if number is None else entries.index(self._reader, number)

    def raws(self, mandate: bytes) -> Iterator[bytes]:
        """Yield the bytes of all entries of a mandate, in order of arrival; holds only a page."""
        number = self._number(mandate)
        return iter(()) if number is None else entries.raws(self._reader, number)

    def ordered(self, mandate: bytes) -> OrderedEntries | None:
        """Return the folded entries of a mandate in causal order; ``None`` when it has none."""
        number = self._number(mandate)
        return None if number is None else ordered(self._reader, number)

    def find(self, mandate: bytes, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the bytes of entries by id, in the order asked for; unknown ids are left out.

        All are held in memory: ask for a bounded number. Fast for ids in order of arrival.
        """
        number = self._number(mandate)
        return {} if number is None else entries.find(self._reader, number, ids)

    def count(self, mandate: bytes) -> int:
        """Return how many entries of a mandate are held."""
        number = self._number(mandate)
        return 0 if number is None else entries.count(self._reader, number)

    def kept(self, mandate: bytes) -> Kept | None:
        """Return what is kept of a mandate's fold, when it stands where its entries stand."""
        number = self._number(mandate)
        if number is None or mandate in self._distrusted:
            return None
        return fold.kept(self._reader, number)

    def until(
        self, mandate: bytes, stamp: int | None = None, place: int | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the folded entries of a mandate and their effective times, in causal order, up to
        an effective time and a place.
        """
        number = self._number(mandate)
        if number is None:
            return iter(())
        limits = {} if stamp is None else {"stamp": stamp}
        if place is not None:
            limits["place"] = place
        return past.until(self._reader, number, **limits)

    def arrivals(self, mandate: bytes, at_ms: int) -> past.Arrivals:
        """Return which entries of a mandate had come to this device at a time."""
        number = self._number(mandate)
        if number is None:
            return past.Arrivals(-1, None)
        return past.arrivals(self._reader, number, at_ms)

    def archive(self, mandate: bytes) -> StoredArchive | None:
        """Return what answers for a mandate's entries; ``None`` before it has any row."""
        number = self._number(mandate)
        if number is None:
            return None
        return StoredArchive(self._reader, number, lambda: self._distrust(mandate))

    def _distrust(self, mandate: bytes) -> None:
        self._distrusted.add(mandate)
        with suppress(StorageError), self.batch() as batch:
            batch.drop_fold(mandate)

    def trust(self, mandate: bytes) -> None:
        """What is kept of a fold was made anew."""
        self._distrusted.discard(mandate)

    def _number(self, mandate: bytes) -> int | None:
        number = self._numbers.get(mandate)
        if number is None:
            row = self._reader.row("SELECT number FROM mandate_number WHERE id = ?", mandate)
            if row is None:
                return None
            number = self._numbers[mandate] = int(row[0])
        return number

    # -- copies of files --------------------------------------------------------------------------

    def copies(self, mandate: bytes | None = None) -> list[CopyRow]:
        """Return the copies of files here, by file and role; of one mandate or of all."""
        if mandate is None:
            rows = self._reader.rows(_COPIES + "ORDER BY mandate, file, role")
        else:
            where = "WHERE copy.mandate = ? ORDER BY file, role"
            rows = self._reader.rows(_COPIES + where, self._number(mandate))
        return [_copy(row) for row in rows]

    def copy(self, mandate: bytes, file: bytes, role: str) -> CopyRow | None:
        """Return one copy."""
        where = "WHERE copy.mandate = ? AND file = ? AND role = ?"
        row = self._reader.row(_COPIES + where, self._number(mandate), file, role)
        return None if row is None else _copy(row)

    def note(self, mandate: bytes, file: bytes, mark: bytes) -> str | None:
        """Return what was noted of a file's content; ``None`` when that was another content."""
        row = self._reader.row(
            "SELECT json FROM note WHERE mandate = ? AND file = ? AND mark = ?",
            self._number(mandate),
            file,
            mark,
        )
        return None if row is None else str(row[0])

    # -- peers ------------------------------------------------------------------------------------

    def contacts(self) -> dict[bytes, tuple[str, ...]]:
        """Return where each known device can be dialled, what answered last first."""
        found: dict[bytes, list[str]] = {}
        for device, address in self._reader.rows(
            "SELECT device, address FROM contact ORDER BY device, last_ok_ms DESC, address"
        ):
            found.setdefault(device, []).append(address)
        return {device: tuple(addresses) for device, addresses in found.items()}

    def last_seen(self, mandate: bytes) -> dict[bytes, int]:
        """Return when each device was last there for a mandate, in ms since 1970; 0 for never."""
        rows = self._reader.rows(
            "SELECT device, last_ms FROM seen WHERE mandate = ? ORDER BY device",
            self._number(mandate),
        )
        return dict(rows)

    def last_seen_everywhere(self) -> dict[bytes, dict[bytes, int]]:
        """Return ``last_seen`` of every mandate."""
        found: dict[bytes, dict[bytes, int]] = {}
        for mandate, device, at_ms in self._reader.rows(
            "SELECT mandate_number.id, device, last_ms FROM seen "
            "JOIN mandate_number ON mandate_number.number = seen.mandate ORDER BY mandate, device"
        ):
            found.setdefault(mandate, {})[device] = at_ms
        return found

    # -- events -----------------------------------------------------------------------------------

    def events_since(self, last: int, limit: int, wanted: Wanted = EVERYTHING) -> list[EventRow]:
        """Return at most ``limit`` events with higher ids, ascending."""
        return events.since(self._reader, last, wanted, limit)

    def events_before(
        self, first: int | None, limit: int, wanted: Wanted = EVERYTHING
    ) -> list[EventRow]:
        """Return at most ``limit`` events with lower ids, or the last ones; newest first."""
        return events.before(self._reader, first, wanted, limit)

    def count_events(self, last: int, wanted: Wanted = EVERYTHING) -> int:
        """Return how many events with higher ids there are."""
        return events.count_since(self._reader, last, wanted)

    def last_event_id(self) -> int:
        """Return the id of the last event that was ever kept; 0 before the first."""
        return events.last_id(self._reader)

    def events_forgotten(self) -> int:
        """Return the id up to which messages and closed alerts were forgotten."""
        return events.forgotten(self._reader)

    def open_alerts(self, mandate: bytes | None = None) -> list[EventRow]:
        """Return the alerts that nobody closed, ascending; of one mandate or of all."""
        return events.open_alerts(self._reader, mandate)

    def holding_alerts(self) -> list[tuple[bytes | None, str]]:
        """Return mandate and key of each alert whose cause is not known to be gone."""
        return events.holding(self._reader)

    def add_events(self, new: Sequence[NewEvent]) -> list[int | None]:
        """Keep events in a transaction of their own; see ``Batch.add_events``."""
        with self.batch() as batch:
            return batch.add_events(new)

    def close_alert(self, event_id: int) -> bool:
        """Close an alert in a transaction of its own; tell whether it was open."""
        with self.batch() as batch:
            return batch.close_alert(event_id)

    # -- hooks --------------------------------------------------------------------------------

    def hooks(self) -> list[HookRow]:
        """Return all hooks, oldest first."""
        return hooks.rows(self._reader)

    # -- settings ---------------------------------------------------------------------------------

    def setting(self, key: str) -> str | None:
        """Return a setting; ``None`` when it was never put, or was taken away."""
        row = self._reader.row("SELECT value FROM setting WHERE key = ?", key)
        return None if row is None else str(row[0])

    def settings(self) -> dict[str, str]:
        """Return all settings."""
        return dict(self._reader.rows("SELECT key, value FROM setting ORDER BY key"))


def _copy(row: Row) -> CopyRow:
    mandate, file, role, directory, name, heads, digest, stat, writing, held, seen = row
    return CopyRow(
        mandate,
        file,
        role,
        directory,
        name,
        load_heads(heads),
        digest,
        load_stat(stat),
        load_writing(writing),
        held,
        load_stat(seen),
    )
