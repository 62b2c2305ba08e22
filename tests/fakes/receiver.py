"""A small HTTP server on loopback that takes webhooks and answers as it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import trio


@dataclass
class Taken:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """``answers`` are used up one after the other; then it answers 204."""

    url: str = ""
    requests: list[Taken] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    endless: bool = False
    """Whether it goes on answering for ever."""

    async def serve(self, stream: trio.SocketStream) -> None:
        data = b""
        async with stream:
            while b"\r\n\r\n" not in data:
                data += await stream.receive_some()
            head, _, body = data.partition(b"\r\n\r\n")
            line, *rest = head.decode().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (each.partition(": ") for each in rest)
            }
            while len(body) < int(headers["content-length"]):
                body += await stream.receive_some()
            self.requests.append(Taken(line, headers, body))
            try:
                await stream.send_all(self.answers.pop(0) if self.answers else answer(204))
                while self.endless:
                    await stream.send_all(b"x" * 4096)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def got(self, count: int) -> list[Taken]:
        """Return the requests once so many have come."""
        await until(lambda: len(self.requests) >= count)
        return self.requests


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.002)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        receiver.url = f"http://127.0.0.1:{port}/hook"
        nursery.start_soon(partial(trio.serve_listeners, receiver.serve, [listener]))
        yield receiver
        nursery.cancel_scope.cancel()
