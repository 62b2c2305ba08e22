"""The local API over a fake node, in a process of its own: prints its URL, then serves until its
standard input ends, and answers each line there with its memory in bytes."""

import sys
from functools import partial

import trio

from p2psync.api.guard import Bounds
from p2psync.api.server import serve
from tests.fakes.service import FakeService
from tests.flood.floods import memory_bytes

TOKEN = "f" * 64


async def main() -> None:
    """Serve."""
    service = FakeService()
    bounds = Bounds(body_seconds_max=3, headers_seconds_max=2, send_seconds_max=2)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(serve, service, TOKEN, bounds=bounds))
        print(url, flush=True)  # noqa: T201 - this is what the test reads
        while await trio.to_thread.run_sync(sys.stdin.readline):
            for number in range(100):
                service.raise_event(f"event {number} " + "x" * 1000)
            del service.kept_events[:-1000]
            print(memory_bytes("VmHWM"), flush=True)  # noqa: T201
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
