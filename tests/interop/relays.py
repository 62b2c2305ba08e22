"""Our relay, and our devices behind any relay, as parts of the suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from p2psync.network import identify
from p2psync.network.address import CircuitAddress, RelayAddress, parse_address, parse_any
from p2psync.network.connection import Connection, upgrade_outbound
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import KEY_PREFIX, key_pair, peer_id_text
from p2psync.network.protobuf import fields
from p2psync.network.relayed import StreamChannel
from p2psync.network.stream import Stream
from p2psync.relay.config import RelayConfig
from p2psync.relay.process import RelayProcess
from tests.interop import plays
from tests.interop.ours import CONFIG, OurWire
from tests.interop.plays import Result, Stage
from tests.interop.wire import Handler, Open, Place, read_exactly
from tests.network.rig import CALLED_SEED, CALLER_SEED, LOOPBACK, hold, until

RELAY_SEED = b"open relay".ljust(32, b".")
_PING = bytes(range(32))


class OurRelays:
    """The relay as its operator runs it with ``open = true``, and transports that use relays."""

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[Place]:
        process = RelayProcess(RELAY_SEED, RelayConfig(listen=(LOOPBACK,), open=True))
        transport = process.transport
        async with transport.open():
            yield Place(transport.addresses()[0], transport.device, peer_id_text(transport.device))

    @asynccontextmanager
    async def reserved(self, relay: Place) -> AsyncIterator[Place]:
        async def handle(handler: Handler, connection: Connection, stream: Stream) -> None:
            await handler(OurWire(stream))

        transport = Libp2pTransport(CALLED_SEED, [], hold, config=CONFIG)
        for protocol, handler in Stage().handlers().items():
            transport.handle(protocol, partial(handle, handler))
        address = RelayAddress(parse_address(relay.address), relay.device)
        async with transport.open(), trio.open_nursery() as nursery:
            nursery.start_soon(transport.circuits.keep, [address])
            await until(lambda: bool(transport.addresses()))
            (reached,) = transport.addresses()
            yield Place(reached, transport.device, peer_id_text(transport.device))
            nursery.cancel_scope.cancel()

    async def visit(self, place: Place) -> Result:
        """What ``seen`` says; the peer asks who we are meanwhile."""
        address = parse_any(place.address)
        assert isinstance(address, CircuitAddress)
        transport = Libp2pTransport(CALLER_SEED, [], hold, config=CONFIG)
        async with transport.open(), trio.open_nursery() as nursery:
            raw = StreamChannel(await transport.circuits.call(address, place.device))
            session = await upgrade_outbound(raw, key_pair(CALLER_SEED), place.device)
            connection = transport._connection(session, "outbound", address.device)
            await nursery.start(connection.run)

            async def open_(protocol: str) -> OurWire:
                return OurWire(await connection.open_stream(protocol))

            said = await seen(open_)
            await connection.close()
            nursery.cancel_scope.cancel()
        return said


async def seen(open_: Open) -> Result:
    """What identify, ping and echo say on a connection whose relay set no limit."""
    asked = await open_(identify.PROTOCOL)
    message = b""
    while data := await asked.read():
        message += data
    said: list[tuple[int, Any]] = list(fields(_without_length(message)))
    key = dict(said)[1]
    assert key.startswith(KEY_PREFIX)
    pinged = await open_(identify.PING_PROTOCOL)
    await pinged.write(_PING)
    assert await read_exactly(pinged, len(_PING)) == _PING
    await pinged.end()
    return {
        "key": key.removeprefix(KEY_PREFIX).hex(),
        "agent": dict(said)[6].decode(),
        "protocols": [value.decode() for number, value in said if number == 3],
        "limited": False,
        "echo": (await plays.echo(open_))["same"],
    }


def _without_length(message: bytes) -> bytes:
    length = shift = at = 0
    while True:
        length |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            break
    assert len(message) - at == length, "one message"
    return message[at:]
