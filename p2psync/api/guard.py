"""Who may speak to the local API, and how much: the checks before any endpoint.

In this order: protocol, Host (DNS rebinding), Origin (pages in the user's browser), token, then
the body (size, time, type, JSON, depth). Each is an error in the API's shape; nothing that a
caller sends ends the server.
"""

import hmac
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from p2psync import errors, limits
from p2psync.api.answers import error_answer
from p2psync.i18n import accepted_language, set_language

_log = logging.getLogger("p2psync.api")

# Possessive, and to the end where a string has none: it is read once, whatever it holds.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Times and sizes of one server; tests make them smaller."""

    body_bytes_max: int = limits.API_BODY_BYTES_MAX
    body_seconds_max: float = limits.API_BODY_SECONDS_MAX
    headers_seconds_max: float = limits.API_HEADERS_SECONDS_MAX
    send_seconds_max: float = limits.API_SEND_SECONDS_MAX
    heartbeat_seconds: float = limits.API_HEARTBEAT_SECONDS
    connections_max: int = limits.API_CONNECTIONS_MAX
    stop_seconds_max: float = limits.API_STOP_SECONDS_MAX


class Guard:
    """An ASGI application that lets only fitting requests through to another one."""

    def __init__(self, app: ASGIApp, token: str, port: int, bounds: Bounds) -> None:
        self._app = app
        self._token = token.encode()
        self._bounds = bounds
        self._hosts = frozenset({b"127.0.0.1:%d" % port, b"localhost:%d" % port})
        self._origins = frozenset(b"http://" + host for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises nothing but cancellation."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = {}
        repeated: set[bytes] = set()
        for name, value in scope["headers"]:
            (repeated.add(name) if name in headers else headers.update({name: value}))
        language = accepted_language(headers.get(b"accept-language", b"").decode("latin1"))
        set_language(language)
        # The segments stay encoded until an endpoint takes them: a name may hold a slash.
        scope["path"] = scope["raw_path"].decode("ascii", "replace")

        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            self._check_caller(scope, headers, repeated)
            body = await self._read_body(receive, headers)
            await self._app(scope, _replay(body, receive), watched_send)
        except errors.P2PSyncError as error:
            await error_answer(error, language, close=True)(scope, receive, send)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not started:
                bug = errors.P2PSyncError(cause="see the node's log")
                await error_answer(bug, language)(scope, receive, send)

    def _check_caller(
        self, scope: Scope, headers: Mapping[bytes, bytes], repeated: set[bytes]
    ) -> None:
        if not scope["http_version"].startswith("1."):
            raise errors.ApiProtocolRefused
        if headers.get(b"host") not in self._hosts or b"host" in repeated:
            raise errors.ApiHostRefused
        if b"origin" in headers and (
            headers[b"origin"] not in self._origins or b"origin" in repeated
        ):
            raise errors.ApiOriginRefused
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        # Both sides are compared in full length, so that time tells nothing about the token.
        if not hmac.compare_digest(given.strip(), self._token) or scheme.lower() != b"bearer":
            raise errors.ApiUnauthorized

    async def _read_body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        try:
            with trio.fail_after(self._bounds.body_seconds_max):
                body = await self._receive_all(receive, headers)
        except trio.TooSlowError:
            raise errors.ApiBodyTooSlow(seconds=self._bounds.body_seconds_max) from None
        if body:
            media_type = headers.get(b"content-type", b"").partition(b";")[0]
            if media_type.strip().lower() != b"application/json":
                raise errors.ApiBodyType
            check_json(body)
        return body

    async def _receive_all(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        limit = self._bounds.body_bytes_max
        declared = headers.get(b"content-length", b"0")
        kept, seen = bytearray(), 0
        too_large = not declared.isdigit() or int(declared[:20]) > limit
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise errors.ApiBodyInvalid(cause="it ends too early")
            chunk = message.get("body", b"")
            seen += len(chunk)
            too_large = too_large or seen > limit
            if not too_large:
                kept += chunk
            if not message.get("more_body", False) or seen > limit + limits.API_DRAIN_BYTES_MAX:
                break
        if too_large:
            raise errors.ApiBodyTooLarge(limit_bytes=limit)
        return bytes(kept)


def check_json(body: bytes) -> None:
    """Raise ``ApiBodyInvalid`` unless the body is UTF-8 JSON, an object, not nested too deep, whose
    texts are whole: an escaped half of a surrogate pair is JSON (RFC 8259, 8.2), but no text.
    """
    depth = 0
    for bracket in _BRACKETS.finditer(_STRINGS.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > limits.NESTING_DEPTH_MAX:
            raise errors.ApiBodyInvalid(cause="it is nested too deep")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise errors.ApiBodyInvalid(cause=error) from None
    if b"\\u" in body:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise errors.ApiBodyInvalid(cause="a text holds half a character") from None
    if not isinstance(value, dict):
        raise errors.ApiBodyInvalid(cause="it is no object")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [body]

    async def replayed() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replayed
