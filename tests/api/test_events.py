"""The event stream: order, resumption, heartbeat, slow and leaving readers (B-NOT-3)."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from p2psync.api.service import JsonObject
from tests.api.test_server import TOKEN, Running, running


class Reader:
    """Reads an event stream line by line; HTTP/1.0, so that there are no chunks in between."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = b""
        self.head: list[str] = []

    async def line(self) -> str | None:
        while b"\n" not in self._buffer:
            part = await self._stream.receive_some()
            if not part:
                return None
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().rstrip("\r")

    async def lines(self) -> list[str]:
        got = []
        while (line := await self.line()) is not None:
            got.append(line)
        return got

    async def take(self, count: int) -> list[tuple[int | None, dict[str, Any]]]:
        got: list[tuple[int | None, dict[str, Any]]] = []
        identifier: int | None = None
        while len(got) < count:
            line = await self.line()
            assert line is not None, "the stream ended early"
            if line.startswith("id: "):
                identifier = int(line[4:])
            elif line.startswith("data: "):
                got.append((identifier, json.loads(line[6:])))
                identifier = None
        return got


@asynccontextmanager
async def reading(api: Running, target: str, *headers: str) -> AsyncIterator[Reader]:
    fixed = [f"GET {target} HTTP/1.0", f"Host: 127.0.0.1:{api.port}"]
    lines = [*fixed, f"Authorization: Bearer {TOKEN}", *headers, "", ""]
    async with await api.raw("\r\n".join(lines).encode()) as stream:
        reader = Reader(stream)
        while line := await reader.line():
            reader.head.append(line.lower())
        yield reader


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.001)


async def test_events_come_as_they_happen() -> None:
    async with running() as api:
        api.service.raise_event("before")
        async with reading(api, "/v1/events") as reader:
            assert reader.head[0].split()[1] == "200"
            assert "content-type: text/event-stream; charset=utf-8" in reader.head
            assert "cache-control: no-store" in reader.head
            await until(lambda: api.service.listeners == 1)
            api.service.raise_event("after")
            [(identifier, event)] = await reader.take(1)
            assert identifier == event["id"] == 2
            assert event["text"] == "after"
            assert "template" not in event


async def test_a_reader_resumes_after_the_last_id_it_saw() -> None:
    async with running() as api:
        for number in range(5):
            api.service.raise_event(f"event {number + 1}")
        async with reading(api, "/v1/events?since=2") as reader:
            assert [identifier for identifier, _ in await reader.take(3)] == [3, 4, 5]
        async with reading(api, "/v1/events?since=0", "Last-Event-ID: 4") as reader:
            assert [identifier for identifier, _ in await reader.take(1)] == [5]


async def test_events_of_one_mandate_only() -> None:
    async with running() as api:
        await api.client.post("/v1/mandates", json={"name": "Acme"})
        api.service.raise_event("other", mandate="Other")
        api.service.raise_event("ours", mandate="Acme")
        async with reading(api, "/v1/events?mandate=Acme&since=0") as reader:
            assert [event["text"] for _, event in await reader.take(1)] == ["ours"]


async def test_passing_news_has_no_id() -> None:
    async with running() as api:

        async def progress(mandate: str | None, since: int | None) -> AsyncIterator[JsonObject]:
            yield {"type": "progress", "file": "a", "done_bytes": 1, "total_bytes": 2}

        api.service.events = progress  # type: ignore[method-assign]  # a shorter fake of one method
        async with reading(api, "/v1/events") as reader:
            [(identifier, event)] = await reader.take(1)
            assert identifier is None
            assert event["type"] == "progress"


async def test_a_failing_source_ends_the_stream_with_an_error() -> None:
    async with running() as api:

        async def failing(mandate: str | None, since: int | None) -> AsyncIterator[JsonObject]:
            yield {"id": 1, "type": "x"}
            raise ValueError("secret detail")

        api.service.events = failing  # type: ignore[method-assign]  # a shorter fake of one method
        async with reading(api, "/v1/events") as reader:
            lines = await reader.lines()
        assert any('"code":"internal"' in line for line in lines)
        assert not any("secret" in line for line in lines)


async def test_a_quiet_stream_has_a_heartbeat() -> None:
    async with running(heartbeat_seconds=0.02) as api, reading(api, "/v1/events") as reader:
        comments = 0
        while comments < 4:
            line = await reader.line()
            assert line is not None
            comments += line.startswith(":")


async def test_a_reader_that_leaves_frees_its_source() -> None:
    async with running() as api:
        async with reading(api, "/v1/events"):
            await until(lambda: api.service.listeners == 1)
        await until(lambda: api.service.listeners == 0)


async def test_a_reader_that_takes_nothing_is_dropped() -> None:
    async with running(send_seconds_max=0.2) as api:
        async with reading(api, "/v1/events"):
            await until(lambda: api.service.listeners == 1)
            for _number in range(100):
                # In all, far more than the kernel holds for one connection.
                api.service.raise_event("x" * 200_000)
            await until(lambda: api.service.listeners == 0)
        assert (await api.client.get("/v1/status")).status_code == 200


async def test_streams_end_at_once_when_the_server_stops() -> None:
    async with running() as api, reading(api, "/v1/events") as reader:
        await until(lambda: api.service.listeners == 1)
        api.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert not [line for line in await reader.lines() if line.startswith("data")]
