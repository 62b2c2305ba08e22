"""A network in memory whose packets can be lost: for clocks that jump, and for much in little time.

What is sent into the dark is kept, as TCP keeps it, and arrives when there is light again, unless
an end was given up meanwhile.
"""

import errno
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import trio

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken
from p2psync.network import circuit
from p2psync.network.address import RelayAddress, TcpAddress, address_of
from p2psync.network.bytestream import ByteStream, Channel
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.ground_config import Way
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair
from p2psync.network.stream import Stream
from p2psync.relay.circuits import Relay
from tests.network.rig import hold
from tests.relay.rig import RELAY_CONFIG, Rules

ROOM_BYTES = 512 * 1024
ServeHop = Callable[[Connection, Stream], Awaitable[None]]


class End:
    """One end of a connection in memory: a ``Channel``."""

    def __init__(self, net: "Net", place: TcpAddress) -> None:
        self.remote: TcpAddress | None = None
        self.heard_at = trio.current_time()
        self.other: End = self
        self._net = net
        self._place = place
        """Where the server of this connection is."""
        self._inbox = bytearray()
        self._ended = False
        self._closed = False
        self._lost: list[bytes | None] = []
        """What did not get through; ``None`` is the end."""
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        self._changed = trio.lowlevel.ParkingLot()

    async def _travel(self) -> None:
        while self._under_way:
            due, data = self._under_way[0]
            await trio.sleep_until(due)
            self._under_way.popleft()
            self._put(data)

    def _arrives(self, data: bytes | None) -> None:
        if data is None:
            self._ended = True
        elif not self._closed:
            self._inbox += data
        self._changed.unpark_all()

    def _send(self, data: bytes | None) -> None:
        if not self._net.way_seconds:
            self._put(data)
            return
        self._under_way.append((trio.current_time() + self._net.way_seconds, data))
        if len(self._under_way) == 1:
            trio.lowlevel.spawn_system_task(self._travel)

    def _put(self, data: bytes | None) -> None:
        if self._place in self._net.dark:
            self._lost.append(data)
        else:
            self.other._arrives(data)

    def light(self) -> None:
        """What was lost is sent again."""
        lost, self._lost = self._lost, []
        for data in lost:
            self._put(data)

    def receive_now(self, buffer: memoryview) -> int | None:
        if self._closed:
            raise LinkBroken("the connection was lost")
        if not self._inbox:
            return 0 if self._ended else None
        count = min(len(buffer), len(self._inbox))
        buffer[:count] = self._inbox[:count]
        del self._inbox[:count]
        self.heard_at = trio.current_time()
        self.other._changed.unpark_all()
        return count

    async def readable(self) -> None:
        while not self._inbox and not self._ended and not self._closed:
            await self._changed.park()
        await trio.lowlevel.checkpoint()

    async def read_exactly(self, count: int) -> bytes:
        gathered = bytearray()
        while len(gathered) < count:
            buffer = bytearray(count - len(gathered))
            got = self.receive_now(memoryview(buffer))
            if got is None:
                await self.readable()
            elif not got:
                raise LinkBroken("the peer closed the connection")
            else:
                gathered += buffer[:got]
        return bytes(gathered)

    def send_now(self, data: memoryview) -> int:
        if self._closed or (self.other._closed and self._place not in self._net.dark):
            raise LinkBroken("the connection was lost")
        waiting = len(self.other._inbox) + sum(len(each or b"") for each in self._lost)
        waiting += sum(len(each or b"") for _, each in self._under_way)
        count = max(0, min(len(data), ROOM_BYTES - waiting))
        if count:
            self._send(bytes(data[:count]))
        return count

    async def writable(self) -> None:
        await self._changed.park()

    async def send(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[self.send_now(view) :]
            if view:
                await self.writable()

    async def write(self, data: bytes) -> None:
        await self.send(data)

    def end(self) -> None:
        self._send(None)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._send(None)
            self._changed.unpark_all()


class VirtualTransport(Libp2pTransport):
    """The transport as it is, but for what it stands on."""

    def on(self, net: "Net") -> "VirtualTransport":
        """Stand on a network."""

        async def connect(way: Way) -> Channel:
            return await net.connect(way.address)

        self.ground.open = connect  # type: ignore[method-assign]  # whoever holds it opens so
        return self


@dataclass
class Net:
    """Who listens, and whose packets are lost."""

    way_seconds: float = 0.0
    """How long bytes are on their way."""
    listeners: dict[TcpAddress, Libp2pTransport] = field(default_factory=dict)
    dark: set[TcpAddress] = field(default_factory=set)
    calls: list[tuple[float, TcpAddress]] = field(default_factory=list)
    """Each try to connect, and when."""
    _ends: list[End] = field(default_factory=list)

    def lighten(self, place: TcpAddress) -> None:
        """Let packets through again."""
        self.dark.discard(place)
        for end in self._ends:
            end.light()

    async def connect(self, place: TcpAddress) -> Channel:
        self.calls.append((trio.current_time(), place))
        await trio.lowlevel.checkpoint()
        if place in self.dark:
            await trio.sleep_forever()
        server = self.listeners.get(place)
        if server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        one, other = End(self, place), End(self, place)
        one.other, other.other = other, one
        one.remote, other.remote = place, address_of("10.0.0.9", 40_000 + len(self._ends))
        self._ends += [one, other]
        server.spawn(partial(server.serve_raw, cast(ByteStream, other)))
        return one

    @asynccontextmanager
    async def relay(
        self, number: int = 1, hop: ServeHop | None = None, config: TransportConfig = RELAY_CONFIG
    ) -> AsyncIterator["Middle"]:
        """A relay, for the length of a block; ``hop`` serves in the place of an honest one."""
        place = address_of(f"10.0.0.{number}", 4001)
        transport = VirtualTransport(_seed("relay", number), (), hold, config=config).on(self)
        keys = key_pair(_seed("relay", number))
        relay = Relay(keys, Rules(), lambda: (), time.time)
        transport.handle(circuit.HOP, hop or relay.serve)
        async with transport.open():
            self.listeners[place] = transport
            try:
                yield Middle(transport, relay, place)
            finally:
                del self.listeners[place]

    @asynccontextmanager
    async def device(
        self, number: int, config: TransportConfig | None = None
    ) -> AsyncIterator["Device"]:
        """A device that listens nowhere."""
        give, take = trio.open_memory_channel[Link](256)
        doubts: list[tuple[float, bytes, str]] = []

        async def accept(link: Link) -> None:
            await give.send(link)
            await trio.sleep_forever()

        def doubted(device: bytes, address: str) -> None:
            doubts.append((trio.current_time(), device, address))

        transport = VirtualTransport(
            _seed("device", number),
            (),
            accept,
            config=config or TransportConfig(known=lambda _: True),
            doubted=doubted,
        ).on(self)
        async with transport.open():
            yield Device(transport, take, doubts)


@dataclass
class Middle:
    """A relay that runs."""

    transport: Libp2pTransport
    relay: Relay
    place: TcpAddress

    @property
    def device(self) -> bytes:
        return self.transport.device

    @property
    def address(self) -> RelayAddress:
        return RelayAddress(self.place, self.device)


@dataclass
class Device:
    """A device that can be called through relays alone."""

    transport: VirtualTransport
    inbound: trio.MemoryReceiveChannel[Link]
    doubts: list[tuple[float, bytes, str]]

    @property
    def device(self) -> bytes:
        return self.transport.device

    def states(self) -> list[str]:
        """How it stands with its relays."""
        return [each.status for each in self.transport.circuits.states()]

    @asynccontextmanager
    async def kept(self, *relays: RelayAddress) -> AsyncIterator[None]:
        """Keep reservations for the length of a block, and wait for the first ones."""
        async with trio.open_nursery() as nursery:
            for relay in relays:
                nursery.start_soon(self.transport.circuits.keep, [relay])
            while self.states() != ["reserved"] * len(relays):
                await trio.sleep(0.01)
            yield
            nursery.cancel_scope.cancel()

    async def link_to(self, other: "Device", *relays: RelayAddress) -> tuple[Link, Link]:
        """Call another device through relays; both ends of the link."""
        link = await self.transport.dial(other.device, circuits(relays))
        while True:
            theirs = await other.inbound.receive()
            if theirs.device == self.device:
                return link, theirs


def circuits(relays: Sequence[RelayAddress]) -> list[str]:
    """Where devices behind relays are called."""
    return [relay.circuit for relay in relays]


def _seed(kind: str, number: int) -> bytes:
    return f"{kind} {number}".encode().ljust(limits.RELAY_TOKEN_BYTES_MAX // 2, b".")
