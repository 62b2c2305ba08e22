"""The folded entries of a mandate in causal order: by effective time, then by id."""

import sqlite3
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from p2psync.errors import MandateUnknown
from p2psync.storage.entries import places
from p2psync.storage.sqlite import Reader

_PAGE_PLACES = 256


@dataclass(frozen=True, slots=True)
class OrderedEntries:
    """Entries as they stood when this was made; what comes later is not among them.

    Holds 8 bytes for each. ``openings`` are the bytes of those at seq 0, ``waiting`` is how many
    more are held that are not folded: something that they depend on has not come.
    """

    openings: tuple[bytes, ...]
    waiting: int
    size_bytes: int
    _reader: Reader
    _places: "array[int]"

    def __len__(self) -> int:
        return len(self._places)

    def raws(self) -> Iterator[bytes]:
        """Yield the bytes of each; raises ``MandateUnknown`` when they are deleted meanwhile."""
        for start in range(0, len(self._places), _PAGE_PLACES):
            page = self._places[start : start + _PAGE_PLACES]
            marks = ",".join("?" * len(page))
            sql = f"SELECT place, raw FROM raw WHERE place IN ({marks})"  # noqa: S608 # marks only
            found = dict(self._reader.rows(sql, *page))
            for place in page:
                if place not in found:
                    raise MandateUnknown(mandate="?")
                yield found[place]


def ordered(reader: Reader, number: int) -> OrderedEntries:
    """Look up the entries of a mandate."""

    def look(connection: sqlite3.Connection) -> OrderedEntries:
        bounds = places(number)
        rows = connection.execute(
            "SELECT place FROM entry WHERE place >= ? AND place < ? AND stamp IS NOT NULL "
            "ORDER BY stamp, id",
            bounds,
        )
        found = array("q", (row[0] for row in rows))
        openings = connection.execute(
            "SELECT raw FROM entry JOIN raw USING (place) WHERE place >= ? AND place < ? "
            "AND seq = 0 AND stamp IS NOT NULL ORDER BY stamp, id",
            bounds,
        ).fetchall()
        (waiting,) = connection.execute(
            "SELECT count(*) FROM entry WHERE place >= ? AND place < ? AND stamp IS NULL", bounds
        ).fetchone()
        (size,) = connection.execute(
            "SELECT ifnull(sum(length(raw)), 0) FROM raw WHERE place >= ? AND place < ?", bounds
        ).fetchone()
        return OrderedEntries(tuple(raw for (raw,) in openings), waiting, size, reader, found)

    return reader.call(look)
