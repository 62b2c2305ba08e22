"""Both ends of one connection in this process, and a small HTTP proxy."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from p2psync.network.bytestream import ByteStream

_opened: list[ByteStream] = []


def ends() -> tuple[ByteStream, ByteStream]:
    """Two ends of a connection that never touches a network; see ``close_ends``."""
    first, second = trio.socket.socketpair()
    pair = ByteStream(trio.SocketStream(first)), ByteStream(trio.SocketStream(second))
    _opened.extend(pair)
    return pair


def close_ends() -> None:
    """Close what a test opened and left; nobody waits for it any more."""
    for end in _opened:
        end._socket.close()
    _opened.clear()


async def both(*tasks: Callable[[], Awaitable[object]]) -> list[object]:
    """Run all at once; what each returns or raises."""
    results: list[object] = [None] * len(tasks)

    async def run(place: int, task: Callable[[], Awaitable[object]]) -> None:
        try:
            results[place] = await task()
        except Exception as error:
            results[place] = error

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for place, task in enumerate(tasks):
                nursery.start_soon(run, place, task)
    return results


@dataclass
class FakeProxy:
    """A proxy that opens tunnels; ``answer`` says something else instead."""

    user: str = ""
    port: int = 0
    ports: tuple[int, ...] = ()
    """Ports that it calls; empty: all."""
    answer: bytes = b""
    redirect: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Hosts that only the proxy knows."""
    asked: list[str] = field(default_factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        async with stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await stream.receive_some(1)
            first, *lines = head.decode().strip().split("\r\n")
            target = first.split(" ")[1]
            self.asked.append(target)
            said = base64.b64encode(self.user.encode()).decode()
            if self.answer:
                await stream.send_all(self.answer)
                return
            if self.user and f"Proxy-Authorization: Basic {said}" not in lines:
                await stream.send_all(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic"
                    b' realm="office"\r\nContent-Length: 0\r\n\r\n'
                )
                return
            host, _, port = target.rpartition(":")
            if self.ports and int(port) not in self.ports:
                await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            place = self.redirect.get(host, (host.strip("[]"), int(port)))
            async with await trio.open_tcp_stream(*place) as further:
                await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_pass_on, stream, further)
                    await _pass_on(further, stream)
                    nursery.cancel_scope.cancel()


class EndlessChannel:
    """A channel on which the same bytes come again and again, always before they are read.

    More than ``room`` bytes are not to be read.
    """

    def __init__(self, data: bytes, room: int) -> None:
        self.remote = None
        self.heard_at = 0.0
        self._data = data
        self._at = 0
        self._room = room

    def receive_now(self, buffer: memoryview) -> int | None:
        at = self._at % len(self._data)
        part = self._data[at : at + len(buffer)]
        self._at += len(part)
        assert self._at <= self._room, "it is listened to for ever"
        buffer[: len(part)] = part
        return len(part)

    async def readable(self) -> None:
        await trio.lowlevel.checkpoint()

    async def read_exactly(self, count: int) -> bytes:
        raise AssertionError("what is listened to here is read as it comes")

    def send_now(self, data: memoryview) -> int:
        return len(data)

    async def writable(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send(self, data: bytes | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    def end(self) -> None:
        pass

    def close(self) -> None:
        pass


async def _pass_on(one: trio.SocketStream, other: trio.SocketStream) -> None:
    try:
        while data := await one.receive_some(65_536):
            await other.send_all(data)
        await other.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


@asynccontextmanager
async def running(proxy: FakeProxy) -> AsyncIterator[FakeProxy]:
    """Serve it on loopback for the length of a block."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            await proxy.serve(stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()
