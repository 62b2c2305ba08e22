"""How far this device's own logs had come, kept outside the database (B-ID-4).

A database that was put back from a backup ends below these marks. Were it used as it is, the next
own entry would get a (log, seq) that peers know with another content: a fork. The node opens a new
incarnation instead. The file belongs where no backup of the database includes it; when a backup
has both, the machine fingerprint or a peer that knows more of our logs tells.

Slots are written after the commit that they tell of, and never flushed. A power cut may so take
marks back, but then they are too low, and a mark that is too low does no harm: the commits
themselves are flushed, so that the database is not behind. Flushing would double the cost
of each commit.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from p2psync.core import crypto
from p2psync.limits import HIGH_WATER_MARKS_MAX
from p2psync.storage.disk import disk_errors

SLOT_BYTES = 128
"""A power of two, so that a slot never lies across two sectors."""
_CHECK_BYTES = 16
_BODY_BYTES = 32 + 32 + 8
_CHECK = b"p2psync.mark.1"


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """The last seq that was committed of one own log; mandate and log have 32 bytes each."""

    mandate: bytes
    log: bytes
    seq: int


class HighWater:
    """The file of marks; for any thread. A slot that is torn or strange counts as free."""

    def __init__(self, path: Path) -> None:
        """Open or make the file (0600); raises storage errors."""
        self._path = path
        self._lock = threading.Lock()
        self._slots: dict[bytes, tuple[int, Mark]] = {}
        self._free: list[int] = []
        self._closed = False
        with disk_errors(str(path)):
            self._descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
            data = os.pread(self._descriptor, SLOT_BYTES * HIGH_WATER_MARKS_MAX, 0)
        self._count = -(-len(data) // SLOT_BYTES)
        for slot in range(self._count):
            mark = decode(data[slot * SLOT_BYTES : (slot + 1) * SLOT_BYTES])
            known = None if mark is None else self._slots.get(mark.log)
            if mark is None:
                self._free.append(slot)
            elif known is None or known[1].seq < mark.seq:
                self._slots[mark.log] = (slot, mark)

    def marks(self) -> tuple[Mark, ...]:
        """Return all marks, ascending."""
        with self._lock:
            return tuple(sorted(mark for _, mark in self._slots.values()))

    def raise_to(self, marks: Iterable[Mark]) -> None:
        """Write marks that are higher than before; raises storage errors.

        Beyond ``HIGH_WATER_MARKS_MAX`` logs nothing is noted: peers still know.
        """
        with self._lock, disk_errors(str(self._path)):
            for mark in marks:
                known = self._slots.get(mark.log)
                if known is not None and known[1].seq >= mark.seq:
                    continue
                slot = self._slot() if known is None else known[0]
                if slot is None:
                    continue
                # Known even when the write fails half-way: the next one mends the slot.
                self._slots[mark.log] = (slot, mark)
                os.pwrite(self._descriptor, encode(mark), slot * SLOT_BYTES)

    def drop(self, mandate: bytes) -> None:
        """Forget the marks of a mandate that was removed; raises storage errors."""
        with self._lock, disk_errors(str(self._path)):
            for log, (slot, mark) in list(self._slots.items()):
                if mark.mandate == mandate:
                    os.pwrite(self._descriptor, bytes(SLOT_BYTES), slot * SLOT_BYTES)
                    del self._slots[log]
                    self._free.append(slot)

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)

    def _slot(self) -> int | None:
        if self._free:
            return self._free.pop()
        if self._count >= HIGH_WATER_MARKS_MAX:
            return None
        self._count += 1
        return self._count - 1


def encode(mark: Mark) -> bytes:
    """Return a slot: mandate, log, seq (big-endian, 8 bytes), checksum (16), zeros."""
    body = mark.mandate + mark.log + mark.seq.to_bytes(8, "big")
    assert len(body) == _BODY_BYTES
    return (body + crypto.digest(_CHECK, body, size=_CHECK_BYTES)).ljust(SLOT_BYTES, b"\0")


def decode(slot: bytes) -> Mark | None:
    """Read a slot; ``None`` when it is free, torn or altered."""
    body, check = slot[:_BODY_BYTES], slot[_BODY_BYTES : _BODY_BYTES + _CHECK_BYTES]
    if len(slot) != SLOT_BYTES or any(slot[_BODY_BYTES + _CHECK_BYTES :]):
        return None
    if check != crypto.digest(_CHECK, body, size=_CHECK_BYTES):
        return None
    return Mark(body[:32], body[32:64], int.from_bytes(body[64:], "big"))
