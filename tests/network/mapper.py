"""A node's port mapper in a process of its own: ``python -m tests.network.mapper PORT LEASE``.

Prints what is mapped, one line of JSON each time, and answers calls to the port; ends in order at
the end of its input.
"""

import json
import sys

import trio

from p2psync.network.address import TcpAddress
from p2psync.network.upnp import PortMapper


async def main() -> None:
    """Keep the port mapped until the end of the input."""
    port, lease = int(sys.argv[1]), int(sys.argv[2])

    def changed(mapped: tuple[TcpAddress, ...]) -> None:
        told = json.dumps({"mapped": [str(each) for each in mapped]})
        print(told, flush=True)  # noqa: T201 - its output is how the test hears it

    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(b"here")

    mapper = PortMapper(lambda: port, changed, lease)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_tcp, answer, port)
        nursery.start_soon(mapper.run)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
