"""Our connections against a stock py-libp2p host: same wire, both directions."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import multiaddr
import pytest
import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as new_static_key
from libp2p.custom_types import TProtocol
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import parse_identify_response
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport

from p2psync.engine.ports import Link
from p2psync.errors import PeerUnreachable
from p2psync.network import identify
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import device_of_public_key, device_of_seed
from p2psync.network.link import PROTOCOL
from tests.network.rig import CALLED_SEED, CALLER_SEED, LOOPBACK, STRANGER_SEED, hold

# The stock host forgets sockets; what it forgets is found here and not in somebody else's test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

STOCK_SEED = b"stock".ljust(32, b".")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@asynccontextmanager
async def stock(*, plaintext: bool = False, handler: Any = None) -> AsyncIterator[IHost]:
    keys = create_new_key_pair(STOCK_SEED)
    security: dict[TProtocol, Any] = {
        NOISE: NoiseTransport(keys, noise_privkey=new_static_key().private_key)
    }
    if plaintext:
        security = {TProtocol(PLAINTEXT_PROTOCOL_ID): InsecureTransport(keys)}
    host = new_host(key_pair=keys, sec_opt=security)
    async with host.run(listen_addrs=[multiaddr.Multiaddr(LOOPBACK)]):
        if handler is not None:
            host.set_stream_handler(TProtocol(PROTOCOL), handler)
        yield host


def stock_addresses(host: IHost) -> list[str]:
    return [str(address).split("/p2p/")[0] for address in host.get_addrs()]


async def read_frame(stream: INetStream) -> bytes:
    head = b""
    while len(head) < 4:
        head += await stream.read(4 - len(head))
    body = b""
    while len(body) < int.from_bytes(head, "big"):
        body += await stream.read(int.from_bytes(head, "big") - len(body))
    return body


async def test_a_stock_host_calls_us_and_asks_who_we_are() -> None:
    async def echo(link: Link) -> None:
        assert link.device == device_of_seed(STOCK_SEED)
        while True:
            await link.send(await link.receive())

    transport = Libp2pTransport(CALLED_SEED, [LOOPBACK], echo)
    async with transport.open(), stock() as host:
        info = info_from_p2p_addr(
            multiaddr.Multiaddr(f"{transport.addresses()[0]}/p2p/{transport.peer_id}")
        )
        with trio.fail_after(20):
            await host.connect(info)
            stream = await host.new_stream(info.peer_id, [TProtocol(PROTOCOL)])
            frame = bytes(range(256)) * 2000
            await stream.write(len(frame).to_bytes(4, "big") + frame)
            assert await read_frame(stream) == frame
            assert len(await PingService(host).ping(info.peer_id, 2)) == 2
            asked = await host.new_stream(info.peer_id, [TProtocol(identify.PROTOCOL)])
            told = parse_identify_response(await asked.read(4096))
            assert device_of_public_key(told.public_key) == transport.device
            assert told.agent_version == "p2psync"
            assert list(told.listen_addrs) == []
            assert PROTOCOL in told.protocols


async def test_we_call_a_stock_host() -> None:
    async def echo(stream: INetStream) -> None:
        for _ in range(2):
            frame = await read_frame(stream)
            await stream.write(len(frame).to_bytes(4, "big") + frame)

    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with caller.open(), stock(handler=echo) as host:
        with trio.fail_after(20):
            link = await caller.dial(device_of_seed(STOCK_SEED), stock_addresses(host))
            for frame in (b"hello", bytes(700_000)):
                await link.send(frame)
                assert await link.receive() == frame
            await link.abort()


async def test_a_stock_host_with_plaintext_only_is_not_talked_to() -> None:
    """Trap 1."""
    caller = Libp2pTransport(STRANGER_SEED, [], hold)
    async with caller.open(), stock(plaintext=True) as host:
        with pytest.raises(PeerUnreachable, match="does not speak /noise"):
            await caller.dial(device_of_seed(STOCK_SEED), stock_addresses(host))
