"""A program for the discovery tests: a transport with LAN discovery on one machine.

Arguments: own seed number, then ``KEY:DEVICE,DEVICE`` per mandate with numbers for both. It prints
one JSON line per event and takes commands on standard input: ``mandates KEY:DEVICE,… …`` and
``stop``.
"""

import json
import os
import sys

import trio

from p2psync.engine.ports import DiscoverableMandate, Link, Sighting
from p2psync.network.discovery import LanDiscovery
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import device_of_seed
from tests.network.rig import seed_of


def key_of(number: int) -> bytes:
    return number.to_bytes(2, "big").rjust(32, b"k")


def mandates_of(words: list[str]) -> list[DiscoverableMandate]:
    mandates = []
    for word in words:
        key, _, devices = word.partition(":")
        mandates.append(
            DiscoverableMandate(
                key_of(int(key)),
                tuple(device_of_seed(seed_of(int(number))) for number in devices.split(",")),
            )
        )
    return mandates


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)  # noqa: T201 - its output is how the test hears it


async def echo(link: Link) -> None:
    await link.send(b"from " + await link.receive())
    await link.receive()


async def main(number: int, words: list[str]) -> None:
    commands = trio.lowlevel.FdStream(os.dup(sys.stdin.fileno()))
    transport = Libp2pTransport(seed_of(number), ["/ip4/0.0.0.0/tcp/0"], echo)
    give, take = trio.open_memory_channel[Sighting](100)
    async with transport.open(), trio.open_nursery() as nursery:
        discovery = LanDiscovery(
            transport.device, transport.addresses, give.send_nowait, check_seconds=0.5
        )
        discovery.update(mandates_of(words))

        async def call_whom_we_see() -> None:
            async for sighting in take:
                link = await transport.dial(sighting.device, sighting.addresses)
                await link.send(b"%d" % number)
                answer = (await link.receive()).decode()
                await link.close()
                say(seen=sighting.device.hex(), at=sighting.addresses, answer=answer)

        async def obey() -> None:
            while True:
                # The test sends one line at a time and waits for what comes of it.
                line = (await commands.receive_some(4096)).decode()
                command, *rest = line.split() or ["stop"]
                if command == "stop":
                    nursery.cancel_scope.cancel()
                    return
                discovery.update(mandates_of(rest))

        await nursery.start(discovery.run)
        nursery.start_soon(call_whom_we_see)
        nursery.start_soon(obey)
        say(ready=transport.peer_id)
    say(stopped=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
