"""What is kept of each mandate's fold, beside its entries: docs/spec/storage.md, "The fold".

It is written in the transaction of the entries that it stands for, and can be thrown away.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core.files import Touch
from p2psync.core.frontier import Known
from p2psync.engine.effects import Derived, Persist, StoredEntry
from p2psync.engine.ports import Kept, Touching
from p2psync.storage import entries
from p2psync.storage.entries import EntryWriter, places
from p2psync.storage.past import note_arrival
from p2psync.storage.sqlite import Reader

_CHECK_BYTES = 8
_PAGE_ROWS = 256
_TOUCHING = """
    SELECT touch.place, number, records, added, deleted, entry.id, entry.stamp, raw.raw
    FROM touch JOIN entry USING (place) JOIN raw USING (place)
    WHERE touch.mandate = ? AND touch.file = ? AND (touch.place, number) > (?, ?)
"""
_LEAST = -(1 << 30)


# -- writing --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pending:
    """What is to be written of one mandate."""

    entries: list[StoredEntry] = field(default_factory=list)
    stamps: dict[bytes, int] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)
    things: dict[bytes, bytes | None] = field(default_factory=dict)
    last: Derived | None = None
    whole: bool = False

    def take(self, effect: Persist) -> None:
        """Add what one effect brings; the later word on a thing counts."""
        self.entries += effect.entries
        derived = effect.derived
        if derived is None:
            return
        if derived.whole:
            self.touches.clear()
            self.things.clear()
            self.whole = True
        self.stamps.update(derived.stamps)
        self.touches += derived.touches
        self.things.update(derived.things)
        self.last = derived

    def write(self, connection: sqlite3.Connection, writer: EntryWriter, mandate: bytes) -> None:
        """Write it all."""
        number = writer.number(mandate)
        came = writer.add(self.entries, self.stamps)
        if came:
            note_arrival(connection, number, max(came.values()))
        if self.last is None:
            return
        place = _Places(connection, writer, number, came, len(self.stamps)).of
        if self.whole:
            drop(connection, number)
        many = connection.executemany
        folded = [(stamp, place(each)) for each, stamp in self.stamps.items() if each not in came]
        if folded:
            many("UPDATE entry SET stamp = ? WHERE place = ?", folded)
        if self.touches:
            many(
                "INSERT OR IGNORE INTO touch "
                "(mandate, file, place, number, records, added, deleted) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        number,
                        each.file,
                        place(each.entry),
                        each.index,
                        each.records,
                        each.added,
                        each.deleted,
                    )
                    for each in self.touches
                ],
            )
        here = [(number, name, value) for name, value in self.things.items() if value is not None]
        gone = [(number, name) for name, value in self.things.items() if value is None]
        if here:
            many("INSERT OR REPLACE INTO thing (mandate, name, value) VALUES (?, ?, ?)", here)
        if gone:
            many("DELETE FROM thing WHERE mandate = ? AND name = ?", gone)
        connection.execute(
            "INSERT OR REPLACE INTO fold (mandate, version, last, checksum) VALUES (?, ?, ?, ?)",
            (
                number,
                self.last.version,
                writer.last_place(number),
                self.last.check.to_bytes(_CHECK_BYTES, "big"),
            ),
        )


@dataclass(slots=True)
class _Places:
    """Finds the places of entries; all at once when there are many."""

    connection: sqlite3.Connection
    writer: EntryWriter
    number: int
    known: dict[bytes, int]
    many: int

    def of(self, entry_id: bytes) -> int:
        place = self.known.get(entry_id)
        if place is None and self.many > 1000:
            self.many = 0
            rows = self.connection.execute(
                "SELECT id, place FROM entry WHERE place >= ? AND place < ?", places(self.number)
            )
            self.known = dict(rows.fetchall())
            place = self.known.get(entry_id)
        if place is None:
            place = self.known[entry_id] = entries.place_of(self.connection, self.number, entry_id)
        return place


def drop(connection: sqlite3.Connection, number: int) -> None:
    """Throw away what is kept of a mandate's fold."""
    for table in ("fold", "thing", "touch"):
        connection.execute(
            f"DELETE FROM {table} WHERE mandate = ?",  # noqa: S608 # fixed names
            (number,),
        )


# -- reading --------------------------------------------------------------------------------------


def kept(reader: Reader, number: int) -> Kept | None:
    """Return what is kept of a fold; ``None`` when it does not stand where the entries stand."""

    def read(connection: sqlite3.Connection) -> Kept | None:
        row = connection.execute(
            "SELECT version, last, checksum FROM fold WHERE mandate = ?", (number,)
        ).fetchone()
        (last,) = connection.execute(
            "SELECT max(place) FROM entry WHERE place >= ? AND place < ?", places(number)
        ).fetchone()
        if row is None or row[1] != last:
            return None
        things = connection.execute(
            "SELECT name, value FROM thing WHERE mandate = ? ORDER BY name", (number,)
        ).fetchall()
        return Kept(row[0], int.from_bytes(row[2], "big"), dict(things))

    return reader.call(read)


class StoredArchive:
    """An ``Archive`` of one mandate in the database."""

    def __init__(self, reader: Reader, number: int, distrusted: Callable[[], None]) -> None:
        """``distrusted`` is told when what is kept turns out to be wrong."""
        self._reader = reader
        self._number = number
        self._logs: dict[bytes, int] = {}
        self._names: dict[int, bytes] = {}
        self._distrusted = distrusted

    def _log(self, log: bytes) -> int | None:
        if log not in self._logs:
            self._read_logs()
        return self._logs.get(log)

    def _read_logs(self) -> None:
        rows = self._reader.rows("SELECT log, number FROM log WHERE mandate = ?", self._number)
        self._logs = dict(rows)
        self._names = {number: log for log, number in rows}

    def at(self, log: bytes, seq: int) -> Sequence[Known]:
        """See ``Index``."""
        rows = self._reader.rows(
            "SELECT id, prev, stamp FROM entry WHERE log = ? AND seq = ?", self._log(log), seq
        )
        return [Known(entry_id, log, seq, prev, stamp) for entry_id, prev, stamp in rows]

    def where(self, entry_id: bytes) -> Known | None:
        """See ``Index``."""
        row = self._reader.call(
            lambda connection: entries.row_of(connection, self._number, entry_id)
        )
        if row is None:
            return None
        log, seq, prev, stamp = row
        if log not in self._names:
            self._read_logs()
        return Known(entry_id, self._names[log], seq, prev, stamp)

    def chain(self, log: bytes, first: int, beyond: int) -> Sequence[bytes]:
        """See ``Index``."""
        rows = self._reader.rows(
            "SELECT id FROM entry WHERE log = ? AND seq >= ? AND seq < ? ORDER BY seq",
            self._log(log),
            first,
            beyond,
        )
        return [entry_id for (entry_id,) in rows]

    def branches(self, log: bytes) -> Sequence[Known]:
        """See ``Index``."""
        rows = self._reader.rows(
            "SELECT id, seq, prev, stamp FROM entry WHERE log = ? ORDER BY place", self._log(log)
        )
        return [Known(entry_id, log, seq, prev, stamp) for entry_id, seq, prev, stamp in rows]

    def raws(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """See ``Archive``."""
        return entries.find(self._reader, self._number, ids)

    def touching(self, file: bytes) -> Iterator[Touching]:
        """See ``Archive``."""
        return self._pages(file, "", ())

    def versions(self, file: bytes, entry: bytes | None = None) -> Iterator[Touching]:
        """See ``Archive``."""
        if entry is None:
            return self._pages(file, "AND number >= 0", ())
        found = self._reader.call(
            lambda connection: entries.find_place(connection, self._number, entry)
        )
        if found is None:
            return iter(())
        return self._pages(file, "AND number >= 0 AND touch.place = ?", (found,))

    def _pages(self, file: bytes, more: str, parameters: tuple[int, ...]) -> Iterator[Touching]:
        """Yield in pages: nothing is read in steps."""
        at = (-1, _LEAST)
        sql = f"{_TOUCHING} {more} ORDER BY touch.place, number LIMIT {_PAGE_ROWS}"
        while page := self._reader.rows(sql, self._number, file, *at, *parameters):
            for _, number, records, added, deleted, entry_id, stamp, raw in page:
                yield Touching(entry_id, number, records, added, deleted, raw, stamp)
            at = (page[-1][0], page[-1][1])

    def waiting(self) -> Sequence[bytes]:
        """See ``Archive``."""
        rows: Iterable[tuple[bytes]] = self._reader.rows(
            "SELECT raw FROM entry JOIN raw USING (place) "
            "WHERE stamp IS NULL AND place >= ? AND place < ? ORDER BY place",
            *places(self._number),
        )
        return [raw for (raw,) in rows]

    def distrust(self) -> None:
        """See ``Archive``."""
        self._distrusted()
