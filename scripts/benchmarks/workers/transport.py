"""One end of a connection: ``serve OURS|STOCK BYTES`` or ``dial OURS|STOCK BYTES ADDRESS DEVICE``.

The dialling end sends so many bytes in frames of 256 KiB (stock: as one stream) and waits for one
byte that says that all came. Both print a JSON object. A process of its own, which imports nothing
but the library that it measures.
"""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

PIECE_BYTES = 256 * 1024
STOCK_PROTOCOL = "/bench/sink/1.0.0"
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
SERVER_SEED, CLIENT_SEED = b"bench server".ljust(32, b"."), b"bench client".ljust(32, b".")


def say(**told: object) -> None:
    """Prints one JSON object, at once."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def cpu() -> float:
    """Returns the processor seconds that this process has used."""
    return time.process_time()


# -- ours


async def serve_ours(count: int) -> None:
    """Takes frames on one link."""
    from p2psync.engine.ports import Link
    from p2psync.network.config import TransportConfig
    from p2psync.network.host import Libp2pTransport

    done = trio.Event()

    async def sink(link: Link) -> None:
        used, left = cpu(), count
        while left > 0:
            left -= len(await link.receive())
        await link.send(b"k")
        say(cpu=cpu() - used)
        done.set()
        await trio.sleep_forever()

    config = TransportConfig(known=lambda _device: True)
    async with Libp2pTransport(SERVER_SEED, [LOOPBACK], sink, config=config).open() as server:
        say(address=server.addresses()[0], device=server.device.hex())
        await done.wait()
        await trio.sleep(1)


async def dial_ours(count: int, address: str, device: str) -> None:
    """Sends frames over one link."""
    from p2psync.engine.ports import Link
    from p2psync.network.host import Libp2pTransport

    async def refuse(link: Link) -> None:
        await link.abort()

    piece = os.urandom(PIECE_BYTES)
    async with Libp2pTransport(CLIENT_SEED, [], refuse).open() as client:
        link = await client.dial(bytes.fromhex(device), [address])
        began, used = time.perf_counter(), cpu()
        for _ in range(count // PIECE_BYTES):
            await link.send(piece)
        await link.receive()
        say(seconds=time.perf_counter() - began, cpu=cpu() - used)
        await link.close()


# -- stock


def _stock(seed: bytes) -> Any:
    from libp2p import create_yamux_muxer_option, new_host
    from libp2p.crypto.ed25519 import create_new_key_pair
    from libp2p.crypto.x25519 import create_new_key_pair as new_static_key
    from libp2p.security.noise.transport import PROTOCOL_ID, Transport

    keys = create_new_key_pair(seed)
    security: Any = {PROTOCOL_ID: Transport(keys, noise_privkey=new_static_key().private_key)}
    return new_host(key_pair=keys, sec_opt=security, muxer_opt=create_yamux_muxer_option())


async def serve_stock(count: int) -> None:
    """Takes bytes on one stream."""
    import multiaddr
    from libp2p.custom_types import TProtocol

    done = trio.Event()

    async def sink(stream: Any) -> None:
        used, left = cpu(), count
        while left > 0:
            left -= len(await stream.read(PIECE_BYTES))
        await stream.write(b"k")
        say(cpu=cpu() - used)
        done.set()

    host = _stock(SERVER_SEED)
    host.set_stream_handler(TProtocol(STOCK_PROTOCOL), sink)
    async with host.run([multiaddr.Multiaddr(LOOPBACK)]):
        say(address=str(host.get_addrs()[0]), device="")
        await done.wait()
        await trio.sleep(1)


async def dial_stock(count: int, address: str, _device: str) -> None:
    """Sends bytes over one stream."""
    import multiaddr
    from libp2p.custom_types import TProtocol
    from libp2p.peer.peerinfo import info_from_p2p_addr

    piece = os.urandom(PIECE_BYTES)
    host = _stock(CLIENT_SEED)
    async with host.run([multiaddr.Multiaddr(LOOPBACK)]):
        info = info_from_p2p_addr(multiaddr.Multiaddr(address))
        await host.connect(info)
        stream = await host.new_stream(info.peer_id, [TProtocol(STOCK_PROTOCOL)])
        began, used = time.perf_counter(), cpu()
        for _ in range(count // PIECE_BYTES):
            await stream.write(piece)
        await stream.read(1)
        say(seconds=time.perf_counter() - began, cpu=cpu() - used)


if __name__ == "__main__":
    side, whose, size, *rest = sys.argv[1:]
    work: dict[tuple[str, str], Callable[..., Awaitable[None]]] = {
        ("serve", "ours"): serve_ours,
        ("dial", "ours"): dial_ours,
        ("serve", "stock"): serve_stock,
        ("dial", "stock"): dial_stock,
    }
    trio.run(work[side, whose], int(size), *rest)
