"""A stock py-libp2p host as a peer of the suite."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import multiaddr
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_static_key
from libp2p.custom_types import TProtocol
from libp2p.network.stream.exceptions import StreamEOF, StreamError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.relay.circuit_v2.config import RelayConfig, RelayRole
from libp2p.relay.circuit_v2.protocol import CircuitV2Protocol
from libp2p.relay.circuit_v2.transport import CircuitV2Transport
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport

from tests.interop.plays import PLAYS, Result, Stage
from tests.interop.relays import seen
from tests.interop.wire import Cut, Handler, Open, Place
from tests.network.rig import LOOPBACK

CALLED_SEED = b"stock called".ljust(32, b".")
CALLER_SEED = b"stock caller".ljust(32, b".")
_READ_BYTES = 256 * 1024


class StockWire:
    """A stream of the library."""

    tells_cut_from_end = False

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        try:
            return await self._stream.read(_READ_BYTES)
        except StreamEOF:
            return b""
        except StreamError as error:
            raise Cut(str(error)) from error

    async def write(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except StreamError as error:
            raise Cut(str(error)) from error

    async def end(self) -> None:
        # Not part of the interface that the library hands out.
        await cast(NetStream, self._stream).close_write()

    async def reset(self) -> None:
        await self._stream.reset()


@asynccontextmanager
async def host(seed: bytes) -> AsyncIterator[IHost]:
    keys = create_new_key_pair(seed)
    noise = NoiseTransport(keys, noise_privkey=new_static_key().private_key)
    made = new_host(key_pair=keys, sec_opt={NOISE: noise})
    async with made.run(listen_addrs=[multiaddr.Multiaddr(LOOPBACK)]):
        yield made


class Stock:
    name = "stock"

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Place]:
        async def handle(handler: Handler, stream: INetStream) -> None:
            # What a handler raises takes the whole host down.
            try:
                await handler(StockWire(stream))
            except Cut:
                await stream.reset()

        async with host(CALLED_SEED) as made:
            for protocol, handler in Stage().handlers().items():
                made.set_stream_handler(TProtocol(protocol), partial(handle, handler))
            address = str(made.get_addrs()[0]).split("/p2p/")[0]
            device = made.get_public_key().to_bytes()
            yield Place(address, device, str(made.get_id()))

    async def play(self, name: str, place: Place) -> Result:
        async with self.call(place) as open_:
            return await PLAYS[name](open_)

    async def visit(self, place: Place) -> Result:
        """Call through a relay, at which the library reserves first; what ``seen`` says."""
        async with host(CALLER_SEED) as made:
            protocol = CircuitV2Protocol(made, allow_hop=False)
            circuits = CircuitV2Transport(made, protocol, RelayConfig(roles=RelayRole.CLIENT))
            await circuits.dial(multiaddr.Multiaddr(f"{place.address}/p2p/{place.peer_id}"))
            called = ID.from_string(place.peer_id)

            async def open_(name: str) -> StockWire:
                return StockWire(await made.new_stream(called, [TProtocol(name)]))

            return await seen(open_)

    @asynccontextmanager
    async def call(self, place: Place) -> AsyncIterator[Open]:
        async with host(CALLER_SEED) as made:
            info = info_from_p2p_addr(multiaddr.Multiaddr(f"{place.address}/p2p/{place.peer_id}"))
            await made.connect(info)

            async def open_(protocol: str) -> StockWire:
                return StockWire(await made.new_stream(info.peer_id, [TProtocol(protocol)]))

            yield open_
