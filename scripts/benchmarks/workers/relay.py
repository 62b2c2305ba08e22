"""A relay, or one end of a link through it.

``pass``, ``serve BYTES RELAY DEVICE``, ``dial BYTES ADDRESS DEVICE``: the dialling end sends so
many bytes in frames of 256 KiB and waits for one byte that says that all came. ``hold COUNT
SECONDS`` and ``crowd COUNT RELAY DEVICE``: a relay with so many devices, and those. Each prints
JSON objects, in a process of its own.
"""

import json
import os
import sys
import time

import trio

from p2psync.engine.ports import Link
from p2psync.network import circuit
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.stream import Stream
from p2psync.relay.config import RelayConfig
from p2psync.relay.process import RelayProcess

PIECE_BYTES = 256 * 1024
LOOPBACK = "/ip4/127.0.0.1/tcp/0"
RELAY_SEED, SERVER_SEED, CLIENT_SEED = (
    name.ljust(32, b".") for name in (b"bench relay", b"bench server", b"bench client")
)
CONFIG = TransportConfig(known=lambda _device: True)


def say(**told: object) -> None:
    """Prints one JSON object, at once."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


async def pass_on() -> None:
    """Is a relay for everybody until its first circuit has ended."""
    process = RelayProcess(RELAY_SEED, RelayConfig(listen=(LOOPBACK,), open=True))
    over = trio.Event()

    async def serve_hop(connection: Connection, stream: Stream) -> None:
        await process.relay.serve(connection, stream)
        if process.policy.carried_bytes:
            over.set()

    process.transport.handle(circuit.HOP, serve_hop)
    async with process.transport.open() as relay:
        say(address=relay.addresses()[0], device=relay.device.hex())
        used = time.process_time()
        await over.wait()
        say(cpu=time.process_time() - used)


async def serve(count: int, relay: str, device: str) -> None:
    """Takes frames on one link that comes through the relay."""
    done = trio.Event()

    async def sink(link: Link) -> None:
        used, left = time.process_time(), count
        while left > 0:
            left -= len(await link.receive())
        await link.send(b"k")
        say(cpu=time.process_time() - used)
        done.set()
        await trio.sleep_forever()

    def look() -> None:
        if transport.addresses():
            reserved.set()

    reserved = trio.Event()
    transport = Libp2pTransport(SERVER_SEED, [], sink, config=CONFIG, relays_changed=look)
    async with transport.open(), trio.open_nursery() as nursery:
        address = RelayAddress(parse_address(relay), bytes.fromhex(device))
        nursery.start_soon(transport.circuits.keep, [address])
        await reserved.wait()
        say(address=transport.addresses()[0], device=transport.device.hex())
        await done.wait()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def dial(count: int, address: str, device: str) -> None:
    """Sends frames over one link."""

    async def refuse(link: Link) -> None:
        await link.abort()

    piece = os.urandom(PIECE_BYTES)
    async with Libp2pTransport(CLIENT_SEED, [], refuse, config=CONFIG).open() as client:
        link = await client.dial(bytes.fromhex(device), [address])
        began, used = time.perf_counter(), time.process_time()
        for _ in range(count // PIECE_BYTES):
            await link.send(piece)
        await link.receive()
        say(seconds=time.perf_counter() - began, cpu=time.process_time() - used)
        await link.close()


async def hold(count: int, seconds: float) -> None:
    """Is a relay for everybody; tells what it takes when so many devices have been here a while."""
    process = RelayProcess(
        RELAY_SEED,
        RelayConfig(
            listen=(LOOPBACK,), open=True, devices_max=count, devices_per_address_max=count
        ),
    )
    all_here = trio.Event()

    def look() -> None:
        if len(process.relay.reserved) >= count:
            all_here.set()

    process.changed = look
    async with process.transport.open() as relay, trio.open_nursery() as nursery:
        nursery.start_soon(process.look_after)
        say(address=relay.addresses()[0], device=relay.device.hex())
        await all_here.wait()
        await trio.sleep(seconds / 4)
        used, began = time.process_time(), time.perf_counter()
        await trio.sleep(seconds)
        share = (time.process_time() - used) / (time.perf_counter() - began)
        say(memory=resident_bytes(), share=share)
        nursery.cancel_scope.cancel()


def resident_bytes() -> int:
    """What of this process is in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def crowd(count: int, relay: str, device: str) -> None:
    """Are so many devices with a reservation, until the relay goes away."""

    async def refuse(link: Link) -> None:
        await link.abort()

    address = RelayAddress(parse_address(relay), bytes.fromhex(device))
    came, gone = trio.Event(), trio.Event()
    transports: list[Libp2pTransport] = []

    def look() -> None:
        if transports[-1].addresses():
            came.set()
        if came.is_set() and not transports[0].addresses():
            gone.set()

    async with trio.open_nursery() as nursery:
        for number in range(count):
            came = trio.Event()
            seed = number.to_bytes(32, "big")
            transports.append(Libp2pTransport(seed, [], refuse, config=CONFIG, relays_changed=look))
            await nursery.start(transports[-1].run)
            nursery.start_soon(transports[-1].circuits.keep, [address])
            await came.wait()
        say(devices=count)
        await gone.wait()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["pass"]:
            trio.run(pass_on)
        case ["serve", size, *where]:
            trio.run(serve, int(size), *where)
        case ["hold", count, seconds]:
            trio.run(hold, int(count), float(seconds))
        case ["crowd", count, *where]:
            trio.run(crowd, int(count), *where)
        case ["dial", size, *where]:
            trio.run(dial, int(size), *where)
