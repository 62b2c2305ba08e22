"""What every kind of peer offers to the suite: streams by protocol, and where it listens."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

BLOCK = hashlib.shake_256(b"p2psync interop").digest(1 << 20)
MIB = 1 << 20
BULK_BYTES = 64 * MIB


class Cut(Exception):
    """The stream did not come to a clean end."""


class Wire(Protocol):
    """One stream."""

    tells_cut_from_end: bool
    """Whether ``read`` can tell the two apart; a stock stream that was reset may seem ended."""

    async def read(self) -> bytes:
        """Some bytes; empty when the peer has ended its side. Raises ``Cut``."""

    async def write(self, data: bytes) -> None:
        """All of ``data``; waits while the peer does not read. Raises ``Cut``."""

    async def end(self) -> None:
        """End our side; reading goes on."""

    async def reset(self) -> None:
        """Cut both sides."""


Handler = Callable[[Wire], Awaitable[None]]
Open = Callable[[str], Awaitable[Wire]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer can be called."""

    address: str
    """A multiaddr without peer ID."""
    device: bytes
    peer_id: str


class Kind(Protocol):
    """One implementation of the transport, as who is called and as who calls."""

    name: str

    def serve(self) -> AbstractAsyncContextManager[Place]:
        """Listen on loopback and serve all protocols of ``plays``, on a fresh stage."""

    async def play(self, name: str, place: Place) -> dict[str, Any]:
        """Call ``place`` and say what was seen in that play."""


def pattern(start: int, count: int) -> bytes:
    """``count`` bytes of the endless repetition of ``BLOCK``, from ``start`` on."""
    start %= len(BLOCK)
    turns = (start + count) // len(BLOCK) + 1
    return (BLOCK * turns)[start : start + count]


async def write_pattern(wire: Wire, count: int, piece: int = 256 * 1024) -> None:
    """Write the first ``count`` bytes of the pattern."""
    for start in range(0, count, piece):
        await wire.write(pattern(start, min(piece, count - start)))


async def read_exactly(wire: Wire, count: int) -> bytes:
    """Exactly ``count`` bytes, which are all that the peer sends for now."""
    got = b""
    while len(got) < count:
        data = await wire.read()
        if not data:
            raise Cut("the end came early")
        got += data
    assert len(got) == count
    return got


async def read_to_end(wire: Wire) -> tuple[int, str, str]:
    """Read until nothing more comes: how many bytes, their SHA-256, and ``end`` or ``cut``."""
    count, digest, how = 0, hashlib.sha256(), "end"
    try:
        while data := await wire.read():
            count += len(data)
            digest.update(data)
    except Cut:
        how = "cut"
    return count, digest.hexdigest(), how if wire.tells_cut_from_end else "over"


def digest_of_pattern(count: int) -> str:
    """SHA-256 of the first ``count`` bytes of the pattern, in hex."""
    digest = hashlib.sha256()
    for start in range(0, count, len(BLOCK)):
        digest.update(pattern(start, min(len(BLOCK), count - start)))
    return digest.hexdigest()
