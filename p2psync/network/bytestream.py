"""The bytes below everything: exact reads and one kind of failure; of TCP, or whatever else."""

import contextlib
import socket
from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol
from weakref import WeakSet

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress, address_of

_READ_BYTES = 64 * 1024


class Channel(Protocol):
    """What a connection stands on; ``ByteStream`` tells what each member does."""

    @property
    def remote(self) -> TcpAddress | None:
        """Where the other end is, as far as TCP knows."""
        ...

    @property
    def heard_at(self) -> float:
        """When the last byte came in, on trio's clock."""
        ...

    def receive_now(self, buffer: memoryview) -> int | None:
        """Read without waiting."""
        ...

    async def readable(self) -> None:
        """Wait until there is something to read."""
        ...

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        ...

    def send_now(self, data: memoryview) -> int:
        """Write without waiting."""
        ...

    async def writable(self) -> None:
        """Wait until there is room."""
        ...

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``."""
        ...

    async def write(self, data: bytes) -> None:
        """``send``, as the negotiation calls it."""
        ...

    def end(self) -> None:
        """Tell the peer that nothing more comes."""
        ...

    def close(self) -> None:
        """Close both directions at once."""
        ...


class ByteStream:
    """A TCP connection that reads exactly and raises only ``LinkBroken``.

    It takes the socket out of ``stream``. Reading and writing try first and wait only when the
    kernel has nothing or no room: a wait costs more than a system call. ``read_exactly`` never
    takes more from the kernel than asked for, so that the phases of an upgrade can follow one
    another on it. One task may read and one may write at a time.
    """

    def __init__(self, stream: trio.SocketStream, clock: Callable[[], float] = trio.current_time):
        self.remote = _remote(stream)
        self._local = _local(stream)
        self._socket = socket.socket(fileno=stream.socket.detach())
        self._socket.setblocking(False)
        self._clock = clock
        self.heard_at = clock()
        """When the last byte came in, on trio's clock."""
        _open.add(self)

    # -- reading

    def receive_now(self, buffer: memoryview) -> int | None:
        """Read what is there into ``buffer``, without waiting.

        Returns how many bytes, 0 at the end of the stream, or None when there is nothing yet.
        """
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise LinkBroken("the connection was lost") from error
        self.heard_at = self._clock()
        return count

    async def readable(self) -> None:
        """Wait until ``receive_now`` has something to return."""
        try:
            await trio.lowlevel.wait_readable(self._socket.fileno())
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise LinkBroken("the connection was lost") from error

    async def receive(self, count: int = _READ_BYTES) -> bytes:
        """Some bytes, at least one and at most ``count``; empty at the end of the stream."""
        buffer = bytearray(count)
        await trio.lowlevel.checkpoint()
        while (got := self.receive_now(memoryview(buffer))) is None:
            await self.readable()
        return bytes(buffer[:got])

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes (at most 64 KiB here); raises ``LinkBroken`` when they end."""
        gathered = b""
        while len(gathered) < count:
            data = await self.receive(count - len(gathered))
            if not data:
                raise LinkBroken("the peer closed the connection")
            gathered += data
        return gathered

    # -- writing

    def send_now(self, data: memoryview) -> int:
        """Write what the kernel has room for, without waiting; returns how many bytes."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise LinkBroken("the connection was lost") from error

    async def writable(self) -> None:
        """Wait until ``send_now`` has room."""
        try:
            await trio.lowlevel.wait_writable(self._socket.fileno())
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise LinkBroken("the connection was lost") from error

    async def send(self, data: bytes | memoryview) -> None:
        """Write all of ``data``; after a cancelled call only ``close`` makes sense.

        It waits, and can be cancelled, only when the kernel has no room.
        """
        view = memoryview(data)
        while view:
            sent = self.send_now(view)
            view = view[sent:]
            if view:
                await self.writable()

    def end(self) -> None:
        """Tell the peer that nothing more comes; reading goes on."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise LinkBroken("the connection was lost") from error

    def close(self) -> None:
        """Close both directions at once and wake who waits; idempotent."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket.fileno())
            self._socket.close()

    async def write(self, data: bytes) -> None:
        """``send``, as the negotiation calls it."""
        await self.send(data)

    def cut_unless(self, hosts: Collection[str]) -> None:
        """End it when it comes from an address that this machine has no more."""
        if self._local is not None and str(self._local) not in hosts:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


_open: WeakSet[ByteStream] = WeakSet()


def cut_gone(hosts: Collection[str]) -> None:
    """End the connections of this process that come from none of the machine's addresses."""
    for stream in list(_open):
        stream.cut_unless(hosts)


def _local(stream: trio.SocketStream) -> IPv4Address | IPv6Address | None:
    """Its own end's address; ``None`` for what no change of network takes away."""
    try:
        ip = ip_address(stream.socket.getsockname()[0].partition("%")[0])
    except (OSError, ValueError, IndexError, TypeError, AttributeError):
        return None
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return None if ip.is_loopback or ip.is_link_local else ip


def tune(stream: trio.SocketStream, silence_seconds: float) -> None:
    """Make the kernel notice a dead peer, and keep its queue of unsent bytes short.

    Without the second, a keepalive would wait behind megabytes on a slow line.
    """
    wanted: list[tuple[str, int]] = [
        ("TCP_USER_TIMEOUT", int(silence_seconds * 1000)),
        ("TCP_NOTSENT_LOWAT", 256 * 1024),
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
