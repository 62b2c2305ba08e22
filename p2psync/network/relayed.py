"""A stream of one connection as the ground of another: how two devices meet through a relay.

The relay passes on what it cannot read: on this channel the two ends run the whole upgrade, as on
a TCP connection.
"""

from collections.abc import Callable

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.stream import Stream


class StreamChannel:
    """The ``Channel`` of a circuit.

    One task may read and one may write at a time.
    """

    def __init__(self, stream: Stream, clock: Callable[[], float] = trio.current_time) -> None:
        self.remote: TcpAddress | None = None
        self._stream = stream
        self._clock = clock
        self.heard_at = clock()

    @property
    def drained(self) -> bool:
        """Whether all that was sent is on its way to the relay."""
        return not self._stream.outbox

    def receive_now(self, buffer: memoryview) -> int | None:
        """Read what is there; 0 at the end, None when there is nothing yet."""
        stream = self._stream
        if not stream.inbox:
            if stream.ended:
                return 0
            if stream.broken is not None:
                raise LinkBroken(stream.broken)
            return None
        taken = stream.take(len(buffer))
        buffer[: len(taken)] = taken
        self.heard_at = self._clock()
        return len(taken)

    async def readable(self) -> None:
        """Wait until ``receive_now`` has something to return."""
        await self._stream.more(0)

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes; raises ``LinkBroken`` when they end."""
        return await self._stream.read_exactly(count)

    def send_now(self, data: memoryview) -> int:
        """Queue what there is room for; returns how many bytes."""
        stream = self._stream
        if stream.broken is not None:
            raise LinkBroken(stream.broken)
        count = min(len(data), limits.LINK_OUTBOX_BYTES_MAX - len(stream.outbox))
        if count <= 0:
            return 0
        stream.put(bytes(data[:count]))
        return count

    async def writable(self) -> None:
        """Wait until ``send_now`` has room."""
        await self._stream.room(1)

    async def send(self, data: bytes | memoryview) -> None:
        """Queue all of ``data``."""
        view = memoryview(data)
        while view:
            view = view[self.send_now(view) :]
            if view:
                await self.writable()

    async def write(self, data: bytes) -> None:
        """``send``, as the negotiation calls it."""
        await self.send(data)

    def end(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        self._stream.end()

    def close(self) -> None:
        """Close both directions at once and wake who waits; idempotent."""
        self._stream.reset("the connection was closed here")
