"""What the tests of the database share: entries and rows that look like real ones."""

import hashlib
from collections.abc import Iterator

from p2psync.engine.effects import StoredEntry

MANDATE = bytes([1]) * 32
OTHER = bytes([2]) * 32
LOG = bytes([3]) * 32
SEED = bytes([4]) * 32
DEVICE = bytes([5]) * 32
FILE = bytes([6]) * 16


def name(*parts: object) -> bytes:
    """32 bytes that stand for something."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=32).digest()


def chain(
    count: int, *, mandate: bytes = MANDATE, log: bytes = LOG, start: int = 0
) -> list[StoredEntry]:
    """Consecutive entries of one log."""
    return list(_chain(count, mandate, log, start))


def _chain(count: int, mandate: bytes, log: bytes, start: int) -> Iterator[StoredEntry]:
    for seq in range(start, start + count):
        yield entry(seq, mandate=mandate, log=log)


def entry(seq: int, *, mandate: bytes = MANDATE, log: bytes = LOG, branch: int = 0) -> StoredEntry:
    """One entry; ``branch`` tells forks apart."""
    prev = name(mandate, log, seq - 1, 0) if seq else b""
    own = name(mandate, log, seq, branch)
    return StoredEntry(mandate, own, log, seq, prev, b"raw " + own)
