"""The event stream: server-sent events (WHATWG HTML, 9.2) that a reader can resume."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from p2psync.api.answers import HEADERS, error_object
from p2psync.api.service import JsonObject
from p2psync.errors import P2PSyncError
from p2psync.i18n import localise
from p2psync.limits import EVENTS_QUEUED_MAX


class EventStream(Response):
    """An answer that goes on until the reader leaves, the node closes or the events fail.

    Each event is ``id: N`` (absent for passing news) and ``data: JSON``; a comment every
    ``heartbeat_seconds`` tells both sides that the other is there. What the reader does not take
    waits in a short queue; behind it the source waits.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[JsonObject],
        language: str,
        heartbeat_seconds: float,
        closing: trio.Event,
        wanted: Callable[[JsonObject], bool] = lambda event: True,
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events = events
        self._language = language
        self._heartbeat_seconds = heartbeat_seconds
        self._closing = closing
        self._wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await _send_part(send, b": p2psync\n\n")
        taken, parts = trio.open_memory_channel[bytes](EVENTS_QUEUED_MAX)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take, taken)
            nursery.start_soon(self._end_when_gone, receive, nursery.cancel_scope)
            nursery.start_soon(self._end_when_closing, nursery.cancel_scope)
            while True:
                part = b": still here\n\n"
                try:
                    with trio.move_on_after(self._heartbeat_seconds):
                        part = await parts.receive()
                except trio.EndOfChannel:
                    break
                await _send_part(send, part)
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take(self, parts: trio.MemorySendChannel[bytes]) -> None:
        async with parts, aclosing(cast(AsyncGenerator[JsonObject], self._events)) as events:
            try:
                async for event in events:
                    if not self._wanted(event):
                        continue
                    await parts.send(encode_event(localise(event, self._language)))
            except P2PSyncError as error:
                await parts.send(encode_event(error_object(error, self._language)))
            except Exception:
                logging.getLogger("p2psync.api").exception("the event stream failed")
                bug = P2PSyncError(cause="see the node's log")
                await parts.send(encode_event(error_object(bug, self._language)))

    async def _end_when_gone(self, receive: Receive, scope: trio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    async def _end_when_closing(self, scope: trio.CancelScope) -> None:
        await self._closing.wait()
        scope.cancel()


def encode_event(event: dict[str, Any]) -> bytes:
    """Return one event as bytes; JSON keeps it on one line."""
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    head = f"id: {event['id']}\n" if isinstance(event.get("id"), int) else ""
    return f"{head}data: {data}\n\n".encode("utf-8", "replace")


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
