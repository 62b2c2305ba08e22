"""The log store's tables: entries in order of arrival, found by id or by position in their log.

An index on the whole ids of a million entries would be written all over with each batch: ids are
random. So the lookup is cut into buckets of 4,096 entries in a row. A batch touches the last
bucket only, and a search goes from bucket to bucket, newest first; the next id of a chain is nearly
always in the bucket of the one before. With a million entries that are added a hundred at a time,
this writes a quarter of the bytes (docs/spec/storage.md has the figures).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from p2psync.engine.effects import StoredEntry
from p2psync.storage.rows import Position
from p2psync.storage.schema import BUCKET_BITS, LOOKUP_KEY_BYTES, PLACE_BITS
from p2psync.storage.sqlite import Reader

_PAGE_ROWS = 4096
_PAGE_RAWS = 256
_AHEAD_ROWS = 128
_AHEAD = "SELECT id, place FROM entry WHERE place > ? AND place < ? ORDER BY place LIMIT ?"
_IN_BUCKET = "SELECT place FROM lookup WHERE bucket = ? AND key = ?"
_IN_BUCKETS = """
    WITH RECURSIVE bucket_down (bucket) AS (
        SELECT ?1 UNION ALL SELECT bucket - 1 FROM bucket_down WHERE bucket > ?2
    )
    SELECT place FROM bucket_down CROSS JOIN lookup USING (bucket) WHERE key = ?3
"""
_BY_PLACE = "SELECT raw FROM entry JOIN raw USING (place) WHERE place = ? AND id = ?"


def places(number: int) -> tuple[int, int]:
    """Return the first place of a mandate and the first beyond it."""
    return number << PLACE_BITS, (number + 1) << PLACE_BITS


class EntryWriter:
    """Adds entries; remembers numbers and ends while nobody else writes to the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._mandates: dict[bytes, int] = {}
        self._next: dict[int, int] = {}
        self._logs: dict[tuple[int, bytes], int] = {}
        self._ends: dict[int, int] = {}

    def forget(self) -> None:
        """Drop what is remembered: the transaction failed, or another process has written."""
        for memory in (self._mandates, self._next, self._logs, self._ends):
            memory.clear()

    def number(self, mandate: bytes) -> int:
        """Return the number that stands for a mandate in all tables; new ones get the next."""
        number = self._mandates.get(mandate)
        if number is None:
            row = self._connection.execute(
                "SELECT number FROM mandate_number WHERE id = ?", (mandate,)
            ).fetchone()
            if row is None:
                number = self._connection.execute(
                    "INSERT INTO mandate_number (id) VALUES (?)", (mandate,)
                ).lastrowid
                assert number is not None
            else:
                number = int(row[0])
            self._mandates[mandate] = number
        return number

    def add(
        self, entries: Sequence[StoredEntry], stamps: Mapping[bytes, int] | None = None
    ) -> dict[bytes, int]:
        """Add entries behind all others of their mandate; those that are there stay as they are.

        ``stamps`` are the effective times of those that are folded. Return the new ones' places.
        """
        came: dict[bytes, int] = {}
        for mandate, group in groupby(entries, key=attrgetter("mandate")):
            self._add(self.number(mandate), group, stamps or {}, came)
        return came

    def _add(
        self,
        number: int,
        entries: Iterable[StoredEntry],
        stamps: Mapping[bytes, int],
        came: dict[bytes, int],
    ) -> None:
        heads: list[tuple[int, int, int, bytes, bytes, int | None]] = []
        raws: list[tuple[int, bytes]] = []
        keys: list[tuple[int, bytes, int]] = []
        place = self._next_place(number)
        for entry in entries:
            log = self._log(number, entry.log)
            end = self._ends[log]
            if entry.seq <= end:
                if entry.id in came or self._holds(log, entry.seq, entry.id):
                    continue
            else:
                self._ends[log] = entry.seq
            came[entry.id] = place
            heads.append((place, log, entry.seq, entry.id, entry.prev, stamps.get(entry.id)))
            raws.append((place, entry.raw))
            keys.append((place >> BUCKET_BITS, entry.id[:LOOKUP_KEY_BYTES], place))
            place += 1
        keys.sort()
        execute = self._connection.executemany
        execute(
            "INSERT INTO entry (place, log, seq, id, prev, stamp) VALUES (?, ?, ?, ?, ?, ?)", heads
        )
        execute("INSERT INTO raw (place, raw) VALUES (?, ?)", raws)
        execute("INSERT INTO lookup (bucket, key, place) VALUES (?, ?, ?)", keys)
        self._next[number] = place

    def _next_place(self, number: int) -> int:
        place = self._next.get(number)
        if place is None:
            first, beyond = places(number)
            (last,) = self._connection.execute(
                "SELECT max(place) FROM entry WHERE place >= ? AND place < ?", (first, beyond)
            ).fetchone()
            place = first if last is None else last + 1
        return place

    def last_place(self, number: int) -> int | None:
        """Return the place of the entry that came last; ``None`` when there is none."""
        place = self._next_place(number)
        return place - 1 if place > places(number)[0] else None

    def _log(self, number: int, log: bytes) -> int:
        found = self._logs.get((number, log))
        if found is None:
            row = self._connection.execute(
                "SELECT number FROM log WHERE mandate = ? AND log = ?", (number, log)
            ).fetchone()
            if row is None:
                found = self._connection.execute(
                    "INSERT INTO log (mandate, log) VALUES (?, ?)", (number, log)
                ).lastrowid
                assert found is not None
            else:
                found = int(row[0])
            (end,) = self._connection.execute(
                "SELECT max(seq) FROM entry WHERE log = ?", (found,)
            ).fetchone()
            self._logs[(number, log)] = found
            self._ends[found] = -1 if end is None else end
        return found

    def _holds(self, log: int, seq: int, entry_id: bytes) -> bool:
        return (
            self._connection.execute(
                "SELECT 1 FROM entry WHERE log = ? AND seq = ? AND id = ?", (log, seq, entry_id)
            ).fetchone()
            is not None
        )

    def drop(self, number: int) -> None:
        """Delete all entries of a mandate."""
        bounds = places(number)
        self._connection.execute(
            "DELETE FROM lookup WHERE bucket >= ? AND bucket < ?",
            tuple(bound >> BUCKET_BITS for bound in bounds),
        )
        for table in ("raw", "entry"):
            self._connection.execute(
                f"DELETE FROM {table} WHERE place >= ? AND place < ?",  # noqa: S608 # fixed names
                bounds,
            )
        self._connection.execute("DELETE FROM log WHERE mandate = ?", (number,))
        self.forget()


# -- reading: in pages, so that no read stays open while the caller works -----------------------


def index(reader: Reader, number: int) -> Iterator[Position]:
    """Yield all entries of a mandate in order of arrival: ``prev`` comes before who names it."""
    logs: dict[int, bytes] = {}
    place, beyond = places(number)
    place -= 1
    while page := reader.rows(
        "SELECT place, log, seq, id, prev FROM entry WHERE place > ? AND place < ? "
        "ORDER BY place LIMIT ?",
        place,
        beyond,
        _PAGE_ROWS,
    ):
        if not logs.keys() >= {row[1] for row in page}:
            logs.update(reader.rows("SELECT number, log FROM log WHERE mandate = ?", number))
        for _, log, seq, entry_id, prev in page:
            yield entry_id, logs[log], seq, prev
        place = page[-1][0]


def raws(reader: Reader, number: int) -> Iterator[bytes]:
    """Yield the bytes of all entries of a mandate in order of arrival."""
    place, beyond = places(number)
    place -= 1
    while page := reader.rows(
        "SELECT place, raw FROM raw WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
        place,
        beyond,
        _PAGE_RAWS,
    ):
        for _, raw in page:
            yield raw
        place = page[-1][0]


def find(reader: Reader, number: int, ids: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the bytes of entries by id, in the order asked for; unknown ids are left out."""

    def search(connection: sqlite3.Connection) -> dict[bytes, bytes]:
        wanted = list(ids)
        found: dict[bytes, bytes] = {}
        first, beyond = places(number)
        (last,) = connection.execute(
            "SELECT max(place) FROM entry WHERE place >= ? AND place < ?", (first, beyond)
        ).fetchone()
        if last is None:
            return found
        ends = (last >> BUCKET_BITS, first >> BUCKET_BITS)
        near = ends[0]
        asked = set(wanted)
        ahead: dict[bytes, bytes] = {}
        hits = 0
        for entry_id in wanted:
            raw = ahead.get(entry_id)
            if raw is not None:
                found[entry_id] = raw
                hits += 1
                continue
            key = entry_id[:LOOKUP_KEY_BYTES]
            for sql, buckets in ((_IN_BUCKET, (near,)), (_IN_BUCKETS, ends)):
                hit = _read(connection, sql, (*buckets, key), entry_id)
                if hit is not None:
                    place, found[entry_id] = hit
                    near = place >> BUCKET_BITS
                    break
            else:
                continue
            # What is asked for next came soon after, nearly always; look while that helps.
            if len(wanted) > _AHEAD_ROWS and hits >= len(ahead) // 16:
                rows = connection.execute(_AHEAD, (place, beyond, _AHEAD_ROWS)).fetchall()
                heads = dict(rows)
                chosen = [at for each, at in heads.items() if each in asked]
                ahead = _raws_at(connection, chosen)
                hits = 0
        return found

    return reader.call(search)


def _raws_at(connection: sqlite3.Connection, chosen: Sequence[int]) -> dict[bytes, bytes]:
    """Read entries at some places, ascending."""
    if not chosen:
        return {}
    marks = ",".join("?" * len(chosen))
    sql = f"SELECT id, raw FROM entry JOIN raw USING (place) WHERE place IN ({marks})"  # noqa: S608
    return dict(connection.execute(sql, list(chosen)).fetchall())


def _read(
    connection: sqlite3.Connection, sql: str, parameters: tuple[object, ...], entry_id: bytes
) -> tuple[int, bytes] | None:
    for (place,) in connection.execute(sql, parameters).fetchall():
        row = connection.execute(_BY_PLACE, (place, entry_id)).fetchone()
        if row is not None:
            return place, row[0]
    return None


def row_of(
    connection: sqlite3.Connection, number: int, entry_id: bytes
) -> tuple[int, int, bytes, int | None] | None:
    """Return (log's number, seq, prev, stamp) of an entry, when it is held."""
    place = find_place(connection, number, entry_id)
    if place is None:
        return None
    row: tuple[int, int, bytes, int | None] = connection.execute(
        "SELECT log, seq, prev, stamp FROM entry WHERE place = ?", (place,)
    ).fetchone()
    return row


def find_place(connection: sqlite3.Connection, number: int, entry_id: bytes) -> int | None:
    """Return the place of an entry, when it is held; newer entries are found sooner."""
    first, beyond = places(number)
    (last,) = connection.execute(
        "SELECT max(place) FROM entry WHERE place >= ? AND place < ?", (first, beyond)
    ).fetchone()
    if last is None:
        return None
    ends = (last >> BUCKET_BITS, first >> BUCKET_BITS)
    key = entry_id[:LOOKUP_KEY_BYTES]
    for (place,) in connection.execute(_IN_BUCKETS, (*ends, key)).fetchall():
        row = connection.execute("SELECT id FROM entry WHERE place = ?", (place,)).fetchone()
        if row is not None and row[0] == entry_id:
            return int(place)
    return None


def place_of(connection: sqlite3.Connection, number: int, entry_id: bytes) -> int:
    """Return the place of an entry that is held."""
    place = find_place(connection, number, entry_id)
    assert place is not None, "the fold speaks of entries that are held"
    return place


def count(reader: Reader, number: int) -> int:
    """Return how many entries of a mandate are held."""
    first, beyond = (bound >> BUCKET_BITS for bound in places(number))
    total: int = reader.rows(
        "SELECT count(*) FROM lookup WHERE bucket >= ? AND bucket < ?", first, beyond
    )[0][0]
    return total
