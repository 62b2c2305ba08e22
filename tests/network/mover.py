"""Waits in a namespace until its address changes, with a connection open from the old one.

Prints ``ready``, then ``cut`` once the connection has ended and ``moved`` once it was told; the
addresses themselves are never looked at unasked.
"""

import sys
from functools import partial

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network import moves
from p2psync.network.bytestream import ByteStream


async def main(host: str) -> None:
    """Connect to the port ``PORT`` of ``host``, and wait."""
    raw = ByteStream(await trio.open_tcp_stream(host, PORT))

    async def until_cut() -> None:
        try:
            await raw.read_exactly(1)
        except LinkBroken:
            sys.stdout.write("cut\n")
            sys.stdout.flush()

    def changed() -> None:
        sys.stdout.write("moved\n")
        sys.stdout.flush()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_cut)
        nursery.start_soon(partial(moves.watch, changed, look_seconds=3600))
        sys.stdout.write("ready\n")
        sys.stdout.flush()


PORT = 4001

if __name__ == "__main__":
    trio.run(main, sys.argv[1])
