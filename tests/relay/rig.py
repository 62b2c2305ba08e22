"""A relay and transports on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2psync import limits
from p2psync.engine.ports import Link
from p2psync.network import circuit
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.circuit import Limit, Status
from p2psync.network.config import TransportConfig
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair
from p2psync.network.link import StreamLink
from p2psync.network.multiaddr import peer_part, tcp_bytes
from p2psync.relay.circuits import OverLimit, Relay
from tests.network.rig import LOOPBACK, hold, seed_of

RELAY_SEED = b"relay".ljust(32, b".")
RELAY_CONFIG = TransportConfig(
    known=lambda _: True, streams_inbound_max=limits.CIRCUITS_INBOUND_MAX
)


@dataclass
class Rules:
    """A policy that a test turns as it likes."""

    strangers: set[bytes] = field(default_factory=set)
    limits: Limit = field(default_factory=Limit)
    quota_bytes: int | None = None
    carried_bytes: int = 0

    def may_reserve(self, device: bytes, origin: str) -> Status:
        return Status.PERMISSION_DENIED if device in self.strangers else Status.OK

    def may_connect(self, source: bytes, target: bytes, origin: str) -> "Status | Way":
        return Status.PERMISSION_DENIED if source in self.strangers else Way(self, self.limits)

    def limit(self) -> Limit:
        return self.limits


@dataclass
class Way:
    """One circuit that a test's rules let through."""

    rules: Rules
    limit: Limit

    def carried(self, count: int) -> None:
        self.rules.carried_bytes += count
        quota = self.rules.quota_bytes
        if quota is not None and self.rules.carried_bytes > quota:
            raise OverLimit("the quota is used up")

    def end(self) -> None:
        """Nothing is counted by circuit."""


@dataclass
class House:
    """A relay that runs, and who is on the network with it."""

    transport: Libp2pTransport
    relay: Relay
    rules: Rules
    now: list[float]

    @property
    def device(self) -> bytes:
        return self.transport.device

    @property
    def address(self) -> RelayAddress:
        return RelayAddress(parse_address(self.transport.addresses()[0]), self.device)


@dataclass
class Client:
    """A device that can be called through the relay alone."""

    transport: Libp2pTransport
    inbound: trio.MemoryReceiveChannel[Link]

    @property
    def device(self) -> bytes:
        return self.transport.device

    @asynccontextmanager
    async def kept(self, relay: RelayAddress) -> AsyncIterator[None]:
        """Keep a reservation for the length of a block."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.transport.circuits.keep, [relay])
            yield
            nursery.cancel_scope.cancel()

    async def status(self, wanted: str) -> None:
        with trio.fail_after(10):
            while [each.status for each in self.transport.circuits.states()] != [wanted]:
                await trio.sleep(0.005)


@asynccontextmanager
async def house(
    rules: Rules | None = None,
    *,
    listen: str = LOOPBACK,
    reservation_seconds: int = 3600,
    config: TransportConfig = RELAY_CONFIG,
) -> AsyncIterator[House]:
    """A relay on loopback."""
    rules = rules or Rules()
    now = [1_800_000_000.0]
    transport = Libp2pTransport(RELAY_SEED, (listen,), hold, config=config)

    def addresses() -> list[bytes]:
        return [
            tcp_bytes(parse_address(each)) + peer_part(transport.device)
            for each in transport.addresses()
        ]

    relay = Relay(
        key_pair(RELAY_SEED),
        rules,
        addresses,
        lambda: now[0],
        reservation_seconds=reservation_seconds,
    )
    transport.handle(circuit.HOP, relay.serve)
    async with transport.open():
        yield House(transport, relay, rules, now)


@asynccontextmanager
async def client(number: int, config: TransportConfig | None = None) -> AsyncIterator[Client]:
    """A device that listens nowhere."""
    send, receive = trio.open_memory_channel[Link](64)

    async def accept(link: Link) -> None:
        await send.send(link)
        await trio.sleep_forever()

    chosen = config or TransportConfig(known=lambda _: True)
    transport = Libp2pTransport(seed_of(number), (), accept, config=chosen)
    async with transport.open():
        yield Client(transport, receive)


@asynccontextmanager
async def meeting(rules: Rules | None = None) -> AsyncIterator[tuple[House, Client, Client]]:
    """A relay, a caller, and a device with a reservation."""
    async with (
        house(rules) as relay,
        client(1) as caller,
        client(2) as called,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(called.transport.circuits.keep, [relay.address])
        await called.status("reserved")
        yield relay, caller, called
        nursery.cancel_scope.cancel()


async def linked(caller: Client, called: Client) -> tuple[StreamLink, Link]:
    link = await caller.transport.dial(called.device, called.transport.addresses())
    with trio.fail_after(10):
        return link, await called.inbound.receive()
