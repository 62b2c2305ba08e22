"""An HTTP proxy in a process of its own: HOST PORT USER:PASSWORD; it calls port 443 alone."""

import sys
from contextlib import suppress

import trio

from tests.network.grounds import FakeProxy


async def main(host: str, port: str, user: str) -> None:
    """Serve until killed; say so on standard output once it listens."""
    proxy = FakeProxy(user, ports=(443,))
    listeners = await trio.open_tcp_listeners(int(port), host=host)
    sys.stdout.write("ready\n")
    sys.stdout.flush()

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await proxy.serve(stream)

    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
