"""What WebSocket and TLS have in common: a ``Channel`` that stands on another one.

What is written is wrapped and goes to the channel below at once, as far as there is room. The rest
waits in an outbox, at most that of one call: until it is out, the last byte of the call counts as
not taken, so that the writer waits for room and comes again, as on a bare connection.
"""

from abc import ABC, abstractmethod

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.bytestream import Channel

_DIRECT_BYTES = 32 * 1024
"""A buffer of so many bytes is filled without a copy."""
_SMALL_BYTES = 16 * 1024


class Layer(ABC):
    """A channel that wraps and unwraps what passes; one task may read and one may write."""

    def __init__(self, below: Channel) -> None:
        self._below = below
        self._outbox = bytearray()
        self._owed = False
        """Whether the next byte that is written is in the outbox already."""
        self._unread = b""
        self._ended = False

    @abstractmethod
    def _wrap(self, data: memoryview) -> bytes | bytearray:
        """The bytes that go below for ``data``."""

    @abstractmethod
    def _fill(self, buffer: memoryview) -> int | None:
        """Read from below and unwrap; as ``receive_now``, of which it is the work."""

    @property
    def remote(self) -> TcpAddress | None:
        """Where the other end is, as far as the channel below knows."""
        return self._below.remote

    @property
    def heard_at(self) -> float:
        """When the last byte came in, on trio's clock."""
        return self._below.heard_at

    # -- reading

    def receive_now(self, buffer: memoryview) -> int | None:
        """Read what is there; 0 at the end, None when there is nothing yet."""
        if not self._unread:
            if self._ended:
                return 0
            if len(buffer) >= _DIRECT_BYTES:
                return self._fill(buffer)
            scratch = bytearray(_SMALL_BYTES)
            with memoryview(scratch) as view:
                count = self._fill(view)
                if not count:
                    return count
                self._unread = bytes(view[:count])
        taken = self._unread[: len(buffer)]
        self._unread = self._unread[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    async def readable(self) -> None:
        """Wait until ``receive_now`` has something to return."""
        await self._below.readable()

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes; raises ``LinkBroken`` when they end."""
        gathered = bytearray(count)
        at = 0
        await trio.lowlevel.checkpoint()
        with memoryview(gathered) as view:
            while at < count:
                got = self.receive_now(view[at:])
                if got is None:
                    await self.readable()
                elif not got:
                    raise LinkBroken("the peer closed the connection")
                else:
                    at += got
        return bytes(gathered)

    # -- writing

    def send_now(self, data: memoryview) -> int:
        """Write what there is room for; returns how many bytes were taken."""
        if self._outbox and not self._flush():
            return 0
        early = 0
        if self._owed:
            self._owed, early = False, 1
            data = data[1:]
        if not data:
            return early
        wire = self._wrap(data)
        with memoryview(wire) as view:
            sent = self._below.send_now(view)
            if sent == len(view):
                return early + len(data)
            self._outbox += view[sent:]
        self._owed = True
        return early + len(data) - 1

    async def writable(self) -> None:
        """Wait until ``send_now`` has room."""
        await self._below.writable()

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``; after a cancelled call only ``close`` makes sense."""
        view = memoryview(data)
        while view:
            view = view[self.send_now(view) :]
            if view:
                await self.writable()

    async def write(self, data: bytes) -> None:
        """``send``, as the negotiation calls it."""
        await self.send(data)

    def _put(self, wire: bytes | bytearray) -> None:
        """Send what the layer itself has to say, now or before what is written next."""
        self._outbox += wire
        self._flush()

    def _flush(self) -> bool:
        """Write the outbox below; whether it is empty."""
        while self._outbox:
            with memoryview(self._outbox) as view:
                sent = self._below.send_now(view)
            del self._outbox[:sent]
            if not sent:
                return False
        return True

    def close(self) -> None:
        """Close both directions at once and wake who waits; idempotent."""
        self._below.close()
