"""A relay that does its work and writes down all that it can see, packets of its machine included.

``python -m tests.e2e.watching_relay FOLDER`` says its peer ID in a line of JSON; when its standard
input ends it leaves ``passed``, what circuits carried as a relay sees it, and ``packets``, each
behind its length.
"""

import json
import socket
import sys
import threading
from pathlib import Path

import trio

from p2psync import limits
from p2psync.network import access, circuit
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.stream import Stream
from tests.network.hostile_relay import HostileRelay
from tests.network.rig import hold

PORT = 4001
SINK_PORT = 4444
"""Takes what a test sends in clear, to see whether it would be found."""
_ALL_PROTOCOLS = 0x0003


def watch(packets: list[bytes], over: threading.Event) -> None:
    """Take down every packet of this machine's network, but for its loopback."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS)) as tap:
        tap.settimeout(0.2)
        while not over.is_set():
            try:
                data, (interface, *_) = tap.recvfrom(1 << 17)
            except TimeoutError:
                continue
            if interface != "lo":
                packets.append(data)


async def main(folder: Path) -> None:
    packets: list[bytes] = []
    over = threading.Event()
    watcher = threading.Thread(target=watch, args=(packets, over))
    watcher.start()
    relay = HostileRelay()
    shown = bytearray()

    async def let_in(connection: Connection, stream: Stream) -> None:
        said = await access.asked(stream)
        shown.extend(said.token + b"".join(sorted(said.groups)))
        await access.answer(stream, access.Access.GRANTED)

    config = TransportConfig(known=lambda _: True, streams_inbound_max=limits.CIRCUITS_INBOUND_MAX)
    seed = b"watching".ljust(32, b".")
    transport = Libp2pTransport(seed, (f"/ip4/0.0.0.0/tcp/{PORT}",), hold, config=config)
    transport.handle(circuit.HOP, relay.serve)
    transport.handle(access.PROTOCOL, let_in)
    try:
        async with transport.open(), trio.open_nursery() as nursery:
            nursery.start_soon(sink)
            print(json.dumps({"peer": transport.peer_id}), flush=True)  # noqa: T201 - for the test
            await trio.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()
    finally:
        over.set()
        watcher.join()
        (folder / "passed").write_bytes(bytes(relay.seen + shown))
        framed = b"".join(len(each).to_bytes(4, "big") + each for each in packets)
        (folder / "packets").write_bytes(framed)


async def sink() -> None:
    async def swallow(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    await trio.serve_tcp(swallow, SINK_PORT)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
