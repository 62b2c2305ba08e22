"""Entries as they stood at a time: by the clocks of those who wrote them, or as they came here."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass

from p2psync.storage.entries import places
from p2psync.storage.sqlite import Reader

_PAGE_PLACES = 256
_LAST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is known of when a mandate's entries came to this device.

    ``place`` is the last that had come at the time asked for, -1 when none had; ``since_ms`` is
    from when on that is known, ``None`` when nothing ever came.
    """

    place: int
    since_ms: int | None


def note_arrival(connection: sqlite3.Connection, number: int, place: int) -> None:
    """Note that a mandate's entries up to a place are here as of now."""
    connection.execute(
        "INSERT OR REPLACE INTO arrival (mandate, place, at_ms) VALUES (?, ?, ?)",
        (number, place, time.time_ns() // 1_000_000),
    )


def arrivals(reader: Reader, number: int, at_ms: int) -> Arrivals:
    """Return which entries of a mandate had come to this device at a time."""
    row = reader.row(
        "SELECT max(place) FILTER (WHERE at_ms <= ?), min(at_ms) FROM arrival WHERE mandate = ?",
        at_ms,
        number,
    )
    place, since_ms = (None, None) if row is None else row
    return Arrivals(-1 if place is None else place, since_ms)


def until(
    reader: Reader, number: int, stamp: int = _LAST, place: int = _LAST
) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes and effective times of the folded entries up to an effective time and a
    place, in causal order; 8 bytes of each are held.
    """
    first, beyond = places(number)
    found = reader.rows(
        "SELECT place, stamp FROM entry WHERE place >= ? AND place < ? AND stamp <= ? "
        "ORDER BY stamp, id",
        first,
        min(beyond, place + 1 if place < _LAST else beyond),
        min(stamp, _LAST),  # a year far ahead has no place in 63 bits
    )
    for start in range(0, len(found), _PAGE_PLACES):
        page = found[start : start + _PAGE_PLACES]
        marks = ",".join("?" * len(page))
        sql = f"SELECT place, raw FROM raw WHERE place IN ({marks})"  # noqa: S608 # marks only
        raws = dict(reader.rows(sql, *(each[0] for each in page)))
        for at, when in page:
            if at in raws:  # the mandate may be deleted meanwhile
                yield raws[at], when
