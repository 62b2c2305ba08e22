"""Floods of the local API by who has the token: memory is bounded, and others are answered."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trio

from p2psync import limits
from p2psync.limits import MIB
from tests.flood.served import TOKEN

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 20
GROWN_MIB_MAX = 200
ONE_MIB = b'{"name": "' + b"x" * MIB + b'"}'


@dataclass
class Api:
    """The process, and how to reach it."""

    process: subprocess.Popen[str]
    port: int
    before: int = 0

    def ask(self) -> int:
        """Have many events happen; return the most memory that it has had."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    async def peak(self) -> int:
        return await trio.to_thread.run_sync(self.ask)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    def head(self, line: str, *headers: str) -> bytes:
        fixed = (
            line + " HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {TOKEN}",
        )
        return "\r\n".join([*fixed, *headers, "", ""]).encode()

    async def honest(self) -> None:
        """Be answered once there is a place, within the deadline."""
        url = f"http://127.0.0.1:{self.port}/v1/status"
        with trio.fail_after(DEADLINE_SECONDS):
            while True:
                with suppress(httpx.TransportError):
                    async with httpx.AsyncClient() as client:
                        answer = await client.get(url, headers={"Authorization": f"Bearer {TOKEN}"})
                    assert answer.status_code == 200
                    return
                await trio.sleep(0.05)


@asynccontextmanager
async def served() -> AsyncIterator[Api]:
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-m", "tests.flood.served"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = await trio.to_thread.run_sync(process.stdout.readline)
        api = Api(process, int(url.rpartition(":")[2]))
        await api.honest()
        api.before = await api.peak()
        yield api
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await trio.to_thread.run_sync(process.wait)
        if process.stdout is not None:
            process.stdout.close()


async def huge_bodies(api: Api) -> None:
    """Bodies of more and more megabytes, declared and not."""
    for number in range(60):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with await api.connect() as stream:
                length = "Content-Length: 900000000" if number % 2 else "Transfer-Encoding: chunked"
                kind = "Content-Type: application/json"
                await stream.send_all(api.head("POST /v1/mandates", length, kind))
                piece = b"x" * MIB
                framed = piece if number % 2 else b"100000\r\n" + piece + b"\r\n"
                for _ in range(8):
                    await stream.send_all(framed)


async def hard_json(api: Api) -> None:
    """Bodies within the limit that are hard to read."""
    bodies = (
        ONE_MIB[: limits.API_BODY_BYTES_MAX],
        b'{"a":' * 200_000,
        b"[" * limits.API_BODY_BYTES_MAX,
        (b'{"a": ' + b'\\"' * limits.API_BODY_BYTES_MAX)[: limits.API_BODY_BYTES_MAX],
        b'{"a": 1' + b"0" * 900_000 + b"}",
        b'{"name": "' + b"\\u0000" * 150_000 + b'"}',
        b"{" + b",".join(b'"%d": 1' % number for number in range(80_000)) + b"}",
    )
    async with httpx.AsyncClient(timeout=DEADLINE_SECONDS) as client:
        for body in bodies:
            answer = await client.post(
                f"http://127.0.0.1:{api.port}/v1/mandates",
                content=body,
                headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            )
            assert 400 <= answer.status_code < 500
            assert len(answer.content) < 10_000


async def slow_bodies(api: Api) -> None:
    """As many connections as there may be, each with a body that never ends."""
    streams = []
    for _ in range(limits.API_CONNECTIONS_MAX + 20):
        stream = await api.connect()
        with suppress(trio.BrokenResourceError):
            length = "Content-Length: 1000000"
            await stream.send_all(api.head("POST /v1/mandates", length) + b'{"name')
        streams.append(stream)
    await api.honest()
    for stream in streams:
        await stream.aclose()


async def many_listeners(api: Api) -> None:
    """A thousand event streams that nobody reads, in turns, while many events happen."""
    for _ in range(4):
        streams = []
        for _ in range(250):
            stream = await api.connect()
            with suppress(trio.BrokenResourceError):
                await stream.send_all(api.head("GET /v1/events?since=0"))
            streams.append(stream)
        await api.peak()
        for stream in streams:
            await stream.aclose()
        await api.honest()


async def silent(api: Api) -> None:
    """A thousand connections that say nothing, or half a line."""
    streams = []
    for number in range(1000):
        stream = await api.connect()
        if number % 2:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(b"GET /v1/sta")
        streams.append(stream)
    await api.honest()
    for stream in streams:
        await stream.aclose()


FLOODS = (huge_bodies, hard_json, slow_bodies, many_listeners, silent)


@pytest.mark.parametrize("flood", FLOODS, ids=lambda each: each.__name__)
async def test_flood(flood: Callable[[Api], Awaitable[None]], measure: list[str]) -> None:
    async with served() as api:
        await flood(api)
        await api.honest()
        grown = (await api.peak() - api.before) / MIB
        measure.append(f"API {flood.__name__:14} memory grown by {grown:5.1f} MiB")
        assert grown <= GROWN_MIB_MAX
