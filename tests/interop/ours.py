"""Our transport as a peer of the suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import parse_address
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection, upgrade_outbound
from p2psync.network.dial import connect
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair, peer_id_text
from p2psync.network.stream import Stream
from tests.interop.plays import PLAYS, Result, Stage
from tests.interop.wire import Cut, Handler, Open, Place
from tests.network.rig import CALLED_SEED, CALLER_SEED, LOOPBACK, hold

CONFIG = TransportConfig(known=lambda device: True, streams_inbound_max=128)
_READ_BYTES = 256 * 1024


class OurWire:
    """One of our streams."""

    tells_cut_from_end = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        try:
            await self._stream.more(0)
        except LinkBroken as error:
            raise Cut(str(error)) from error
        return self._stream.take(_READ_BYTES)

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except LinkBroken as error:
            raise Cut(str(error)) from error

    async def end(self) -> None:
        self._stream.end()

    async def reset(self) -> None:
        self._stream.reset()


class Ours:
    name = "ours"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Place]:
        async def handle(handler: Handler, connection: Connection, stream: Stream) -> None:
            await handler(OurWire(stream))

        transport = Libp2pTransport(CALLED_SEED, [LOOPBACK], hold, config=CONFIG)
        for protocol, handler in Stage().handlers().items():
            transport.handle(protocol, partial(handle, handler))
        async with transport.open():
            yield Place(transport.addresses()[0], transport.device, peer_id_text(transport.device))

    async def play(self, name: str, place: Place) -> Result:
        async with self.call(place) as open_:
            return await PLAYS[name](open_)

    @asynccontextmanager
    async def call(self, place: Place) -> AsyncIterator[Open]:
        stream = ByteStream(await connect(parse_address(place.address)))
        async with trio.open_nursery() as nursery:
            session = await upgrade_outbound(stream, key_pair(CALLER_SEED), place.device)
            connection = Connection(
                session, "outbound", {}, lambda task: nursery.start_soon(task), CONFIG
            )
            await nursery.start(connection.run)

            async def open_(protocol: str) -> OurWire:
                return OurWire(await connection.open_stream(protocol))

            yield open_
            await connection.close()
            nursery.cancel_scope.cancel()
