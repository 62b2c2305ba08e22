"""Messages and alerts: a bounded history with ids that rise by one (B-NOT-2, B-NOT-3)."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from p2psync.limits import ALERTS_OPEN_MAX, EVENTS_KEPT_MAX
from p2psync.storage.rows import EventRow, NewEvent, Severity
from p2psync.storage.sqlite import Reader, Row

_TRIM_EVERY = 256
_FORGOTTEN = "events-forgotten"
_COLUMNS = (
    "SELECT event.id, mandate_number.id, severity, json, open, event.key, closed_ms, closed_by "
    "FROM event LEFT JOIN mandate_number ON mandate_number.number = event.mandate "
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events: of one mandate or of all, of some types or of all, of one severity or of both;
    and not those that are about one hook.
    """

    mandate: bytes | None = None
    types: tuple[str, ...] | None = None
    severity: Severity | None = None
    but_hook: int | None = None


EVERYTHING = Wanted()


def add(
    connection: sqlite3.Connection, number: Callable[[bytes], int], events: Sequence[NewEvent]
) -> list[int | None]:
    """Add events; return their ids, ``None`` for an alert that holds already.

    While ``ALERTS_OPEN_MAX`` alerts are open, further ones go into the history as closed.
    """
    ids: list[int | None] = []
    for event in events:
        mandate = None if event.mandate is None else number(event.mandate)
        is_open = event.severity == "alert"
        keyed = is_open and event.key is not None
        if event.key is not None and keyed and _held(connection, mandate, event.key) is not None:
            ids.append(None)
            continue
        if is_open:
            (already,) = connection.execute("SELECT count(*) FROM event WHERE open").fetchone()
            is_open = already < ALERTS_OPEN_MAX
        holds = 0 if not (keyed and is_open) else 2 if event.lasting else 1
        event_id = connection.execute(
            "INSERT INTO event (mandate, severity, key, open, json, holds) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (mandate, event.severity, event.key, is_open, event.json, holds),
        ).lastrowid
        assert event_id is not None
        ids.append(event_id)
        if event_id % _TRIM_EVERY == 0:
            trim(connection, event_id, EVENTS_KEPT_MAX)
    return ids


def trim(connection: sqlite3.Connection, last: int, kept: int) -> None:
    """Forget all but the last ``kept`` ids; open alerts stay, and for a while what closed ones
    hold back.
    """
    if last <= kept:
        return
    connection.execute(
        "DELETE FROM event WHERE id <= ?1 - ?2 AND NOT open AND (NOT holds OR id <= ?1 - 2 * ?2)",
        (last, kept),
    )
    connection.execute(
        "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (_FORGOTTEN, str(last - kept))
    )


def close(connection: sqlite3.Connection, event_id: int, at_ms: int | None = None) -> bool:
    """Close an alert by a person's word; tell whether it was open."""
    done = connection.execute(
        "UPDATE event SET open = 0, closed_ms = ?, closed_by = 'person', "
        "holds = CASE holds WHEN 2 THEN 2 ELSE 0 END WHERE id = ? AND open",
        (at_ms, event_id),
    )
    return done.rowcount == 1


def close_key(
    connection: sqlite3.Connection, mandate: int | None, key: str, at_ms: int | None = None
) -> int | None:
    """Settle the alert with a key, because its cause is gone; return its id if it was open."""
    event_id = _held(connection, mandate, key)
    if event_id is None:
        return None
    was_open = connection.execute(
        "UPDATE event SET open = 0, closed_ms = ?, closed_by = 'cause' WHERE id = ? AND open",
        (at_ms, event_id),
    ).rowcount
    connection.execute("UPDATE event SET holds = 0 WHERE id = ?", (event_id,))
    return event_id if was_open else None


def _held(connection: sqlite3.Connection, mandate: int | None, key: str) -> int | None:
    row = connection.execute(
        "SELECT id FROM event WHERE ifnull(mandate, 0) = ? AND key = ? AND holds",
        (mandate or 0, key),
    ).fetchone()
    return None if row is None else int(row[0])


# -- reading ------------------------------------------------------------------------------------


def since(reader: Reader, last: int, wanted: Wanted, limit: int) -> list[EventRow]:
    """Return at most ``limit`` events with higher ids, ascending."""
    where, bound = _where(wanted)
    sql = f"{_COLUMNS}WHERE event.id > ?{where} ORDER BY event.id LIMIT ?"
    return [_event(row) for row in reader.rows(sql, last, *bound, limit)]


def before(reader: Reader, first: int | None, wanted: Wanted, limit: int) -> list[EventRow]:
    """Return at most ``limit`` events with lower ids than ``first``, or the last ones; newest
    first.
    """
    where, bound = _where(wanted)
    sql = f"{_COLUMNS}WHERE event.id < ?{where} ORDER BY event.id DESC LIMIT ?"
    return [_event(row) for row in reader.rows(sql, first or (1 << 63) - 1, *bound, limit)]


def count_since(reader: Reader, last: int, wanted: Wanted) -> int:
    """Return how many events with higher ids there are."""
    where, bound = _where(wanted)
    row = reader.row(f"SELECT count(*) FROM event WHERE event.id > ?{where}", last, *bound)  # noqa: S608 # fixed words
    return 0 if row is None else int(row[0])


def _where(wanted: Wanted) -> tuple[str, list[bytes | str | int]]:
    where, bound = "", list[bytes | str | int]()
    if wanted.mandate is not None:
        where += " AND event.mandate = (SELECT number FROM mandate_number WHERE id = ?)"
        bound.append(wanted.mandate)
    if wanted.types is not None:
        where += " AND json_extract(json, '$.type') IN (SELECT value FROM json_each(?))"
        bound.append(json.dumps(wanted.types))
    if wanted.severity is not None:
        where += " AND severity = ?"
        bound.append(wanted.severity)
    if wanted.but_hook is not None:
        where += " AND json_extract(json, '$.data.hook') IS NOT ?"
        bound.append(wanted.but_hook)
    return where, bound


def last_id(reader: Reader) -> int:
    """Return the id of the last event that was ever added; 0 before the first."""
    row = reader.row("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
    return 0 if row is None else int(row[0])


def forgotten(reader: Reader) -> int:
    """Return the id up to which messages and closed alerts were forgotten; 0 when none was."""
    row = reader.row("SELECT value FROM setting WHERE key = ?", _FORGOTTEN)
    return 0 if row is None else int(row[0])


def open_alerts(reader: Reader, mandate: bytes | None) -> list[EventRow]:
    """Return the alerts that nobody closed, ascending; of one mandate or of all."""
    rows = [_event(row) for row in reader.rows(_COLUMNS + "WHERE open ORDER BY event.id")]
    return [row for row in rows if mandate is None or row.mandate == mandate]


def holding(reader: Reader) -> list[tuple[bytes | None, str]]:
    """Return mandate and key of each alert whose cause is not known to be gone."""
    return [
        (mandate, key)
        for mandate, key in reader.rows(
            "SELECT mandate_number.id, key FROM event "
            "LEFT JOIN mandate_number ON mandate_number.number = event.mandate WHERE holds"
        )
    ]


def _event(row: Row) -> EventRow:
    event_id, mandate, severity, text, is_open, key, closed_ms, closed_by = row
    return EventRow(event_id, mandate, severity, text, bool(is_open), key, closed_ms, closed_by)
