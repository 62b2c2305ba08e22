"""What the network tests share: transports on loopback, real link pairs, a raw attacker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2psync.engine.ports import Link
from p2psync.network.address import parse_address
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.connection import upgrade_outbound
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair
from p2psync.network.link import StreamLink
from p2psync.network.noise import NoiseSession

CALLER_SEED = b"caller".ljust(32, b".")
CALLED_SEED = b"called".ljust(32, b".")
STRANGER_SEED = b"stranger".ljust(32, b".")
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until the condition holds; the deadline is for broken code, not for slow machines."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.005)


async def hold(link: Link) -> None:
    """An accept handler that keeps the link open until it is over."""
    try:
        while True:
            await link.receive()
    except Exception:
        return


def seed_of(number: int) -> bytes:
    return number.to_bytes(4, "big").rjust(32, b"s")


@dataclass
class Rig:
    """A called transport with its inbound links, and a caller."""

    caller: Libp2pTransport
    called: Libp2pTransport
    inbound: trio.MemoryReceiveChannel[Link]
    raws: list[ByteStream] = field(default_factory=list)
    """Closed at the end."""

    async def links(self) -> tuple[StreamLink, Link]:
        """One link, both of its ends."""
        outbound = await self.caller.dial(self.called.device, self.called.addresses())
        return outbound, await self.inbound.receive()

    async def raw(self) -> ByteStream:
        """A bare TCP connection to the called transport."""
        self.raws.append(await raw_to(self.called))
        return self.raws[-1]

    async def session(self, seed: bytes = CALLER_SEED) -> NoiseSession:
        """A secured channel to the called transport on which anything can be sent."""
        return await upgrade_outbound(await self.raw(), key_pair(seed), self.called.device)


async def raw_to(transport: Libp2pTransport) -> ByteStream:
    address = parse_address(transport.addresses()[0])
    return ByteStream(await trio.open_tcp_stream(address.host, address.port))


@asynccontextmanager
async def rig(
    config: TransportConfig | None = None,
    accept: Callable[[Link], Awaitable[None]] | None = None,
    called_config: TransportConfig | None = None,
) -> AsyncIterator[Rig]:
    """Two running transports; without ``accept`` inbound links come out of ``Rig.inbound``."""
    give, take = trio.open_memory_channel[Link](64)

    async def hand_over(link: Link) -> None:
        await give.send(link)
        await trio.sleep_forever()

    called = Libp2pTransport(
        CALLED_SEED, [LOOPBACK], accept or hand_over, config=called_config or config
    )
    caller = Libp2pTransport(CALLER_SEED, [], hold, config=config)
    async with called.open(), caller.open():
        made = Rig(caller, called, take)
        try:
            yield made
        finally:
            for raw in made.raws:
                raw.close()
