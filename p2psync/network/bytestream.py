"""The bytes below everything: a TCP connection with exact reads and one kind of failure."""

import contextlib
import socket
from collections.abc import Callable

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress, address_of

_READ_BYTES = 256 * 1024


class ByteStream:
    """A trio TCP stream that reads exactly and raises only ``LinkBroken``.

    ``read_exactly`` never takes more from the kernel than asked for, so that the phases of an
    upgrade can follow one another on it.
    """

    def __init__(self, stream: trio.SocketStream, clock: Callable[[], float] = trio.current_time):
        self._stream = stream
        self._clock = clock
        self.heard_at = clock()
        """When the last byte came in, on trio's clock."""
        self.remote = _remote(stream)

    async def receive(self) -> bytes:
        """Some bytes, at least one; empty at the end of the stream."""
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise LinkBroken("the connection was lost") from error
        self.heard_at = self._clock()
        return bytes(data)

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes (at most 64 KiB here); raises ``LinkBroken`` when they end."""
        gathered = b""
        while len(gathered) < count:
            try:
                data = await self._stream.receive_some(count - len(gathered))
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                raise LinkBroken("the connection was lost") from error
            if not data:
                raise LinkBroken("the peer closed the connection")
            gathered += data
        self.heard_at = self._clock()
        return gathered

    async def send(self, data: bytes) -> None:
        """Write all of ``data``; after a cancelled call only ``close`` makes sense."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise LinkBroken("the connection was lost") from error

    async def end(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise LinkBroken("the connection was lost") from error

    def close(self) -> None:
        """Close both directions at once; idempotent."""
        self._stream.socket.close()

    async def write(self, data: bytes) -> None:
        """``send``, as the negotiation calls it."""
        await self.send(data)


def tune(stream: trio.SocketStream, silence_seconds: float) -> None:
    """Make the kernel notice a dead peer, and keep its queue of unsent bytes short.

    Without the second, a keepalive would wait behind megabytes on a slow line.
    """
    wanted: list[tuple[str, int]] = [
        ("TCP_USER_TIMEOUT", int(silence_seconds * 1000)),
        ("TCP_NOTSENT_LOWAT", 512 * 1024),
    ]
    for name, value in wanted:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.IPPROTO_TCP, option, value)


def _remote(stream: trio.SocketStream) -> TcpAddress | None:
    # An IPv6 peer has four fields here; libp2p reads two and then knows no address at all.
    try:
        name = stream.socket.getpeername()
        return address_of(name[0], name[1])
    except (OSError, ValueError, IndexError, TypeError):
        return None
