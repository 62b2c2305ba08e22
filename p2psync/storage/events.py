"""Messages and alerts: a bounded history with ids that rise by one (B-NOT-2, B-NOT-3)."""

import sqlite3
from collections.abc import Callable, Sequence

from p2psync.limits import ALERTS_OPEN_MAX, EVENTS_KEPT_MAX
from p2psync.storage.rows import EventRow, NewEvent
from p2psync.storage.sqlite import Reader, Row

_TRIM_EVERY = 256
_COLUMNS = (
    "SELECT event.id, mandate_number.id, severity, json, open FROM event "
    "LEFT JOIN mandate_number ON mandate_number.number = event.mandate "
)


def add(
    connection: sqlite3.Connection, number: Callable[[bytes], int], events: Sequence[NewEvent]
) -> list[int | None]:
    """Add events; return their ids, ``None`` for an alert that is open already.

    While ``ALERTS_OPEN_MAX`` alerts are open, further ones go into the history as closed.
    """
    ids: list[int | None] = []
    for event in events:
        mandate = None if event.mandate is None else number(event.mandate)
        is_open = event.severity == "alert"
        if is_open and event.key is not None and _open_alert(connection, mandate, event.key):
            ids.append(None)
            continue
        if is_open:
            (already,) = connection.execute("SELECT count(*) FROM event WHERE open").fetchone()
            is_open = already < ALERTS_OPEN_MAX
        event_id = connection.execute(
            "INSERT INTO event (mandate, severity, key, open, json) VALUES (?, ?, ?, ?, ?)",
            (mandate, event.severity, event.key, is_open, event.json),
        ).lastrowid
        assert event_id is not None
        ids.append(event_id)
        if event_id % _TRIM_EVERY == 0:
            trim(connection, event_id, EVENTS_KEPT_MAX)
    return ids


def trim(connection: sqlite3.Connection, last: int, kept: int) -> None:
    """Forget all but the last ``kept`` ids; open alerts stay."""
    connection.execute("DELETE FROM event WHERE id <= ? AND NOT open", (last - kept,))


def close(connection: sqlite3.Connection, event_id: int) -> bool:
    """Close an alert; tell whether it was open."""
    done = connection.execute("UPDATE event SET open = 0 WHERE id = ? AND open", (event_id,))
    return done.rowcount == 1


def close_key(connection: sqlite3.Connection, mandate: int | None, key: str) -> bool:
    """Close the open alert with a key, because its cause is gone; tell whether there was one."""
    event_id = _open_alert(connection, mandate, key)
    return event_id is not None and close(connection, event_id)


def _open_alert(connection: sqlite3.Connection, mandate: int | None, key: str) -> int | None:
    row = connection.execute(
        "SELECT id FROM event WHERE ifnull(mandate, 0) = ? AND key = ? AND open",
        (mandate or 0, key),
    ).fetchone()
    return None if row is None else int(row[0])


# -- reading ------------------------------------------------------------------------------------


def since(reader: Reader, last: int, mandate: bytes | None, limit: int) -> list[EventRow]:
    """Return at most ``limit`` events with higher ids, ascending; of one mandate or of all."""
    if mandate is None:
        sql, bound = "WHERE event.id > ? ORDER BY event.id LIMIT ?", (last, limit)
        return [_event(row) for row in reader.rows(_COLUMNS + sql, *bound)]
    sql = (
        "WHERE event.mandate = (SELECT number FROM mandate_number WHERE id = ?) "
        "AND event.id > ? ORDER BY event.id LIMIT ?"
    )
    return [_event(row) for row in reader.rows(_COLUMNS + sql, mandate, last, limit)]


def last_id(reader: Reader) -> int:
    """Return the id of the last event that was ever added; 0 before the first."""
    row = reader.row("SELECT seq FROM sqlite_sequence WHERE name = 'event'")
    return 0 if row is None else int(row[0])


def open_alerts(reader: Reader, mandate: bytes | None) -> list[EventRow]:
    """Return the alerts that nobody closed, ascending; of one mandate or of all."""
    rows = [_event(row) for row in reader.rows(_COLUMNS + "WHERE open ORDER BY event.id")]
    return [row for row in rows if mandate is None or row.mandate == mandate]


def _event(row: Row) -> EventRow:
    event_id, mandate, severity, json, is_open = row
    return EventRow(event_id, mandate, severity, json, bool(is_open))
