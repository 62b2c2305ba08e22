"""Targets for the local API: any request, in process, to the endpoints over a fake and a real node.

A caller that holds the token may do what the user may; so the properties are that no request makes
an error that is a fault of ours, and that a request which is refused has changed nothing.
"""

import copy
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote_from_bytes

import trio
from fastapi import FastAPI

from p2psync.api.app import create_app
from p2psync.api.guard import Bounds, Guard
from p2psync.api.service import Service
from tests.fakes.service import FakeService
from tests.fuzz.feed import Feed
from tests.fuzz.target import Target
from tests.fuzz.ticket_targets import quick_stretch
from tests.node.rig import Machine, founded, running

TOKEN = "t" * 64
PORT = 4000
_SECONDS_MAX = 10

_HOST = (b"host", b"127.0.0.1:4000")
_BEARER = (b"authorization", b"Bearer " + TOKEN.encode())
_JSON = (b"content-type", b"application/json")

Json = Any
ROUTES: tuple[tuple[str, str, Json], ...] = (
    ("GET", "/v1/status", None),
    ("GET", "/v1/identity", None),
    ("PUT", "/v1/identity", {"name": "Ada"}),
    ("POST", "/v1/identity/lock", {"passphrase": "one two"}),
    ("POST", "/v1/identity/lock", None),
    ("POST", "/v1/identity/unlock", {"passphrase": "one two"}),
    ("GET", "/v1/mandates", None),
    ("POST", "/v1/mandates", {"name": "Books", "accounting": None}),
    ("POST", "/v1/mandates", {"name": "Other", "accounting": "@atelier.crp"}),
    ("GET", "/v1/mandates/{}", None),
    ("POST", "/v1/mandates/{}/share", None),
    (
        "POST",
        "/v1/mandates/{}/files",
        {
            "files": ["@sales.ecf"],
            "kind": "invoicing",
            "period": "2025-01-01..2025-12-31",
            "follows": None,
        },
    ),
    ("GET", "/v1/mandates/{}/invitations", None),
    (
        "POST",
        "/v1/mandates/{}/invitations",
        {"role": "writer", "expires_seconds": 60, "uses": 1, "unsealed": True},
    ),
    ("POST", "/v1/mandates/{}/invitations", {"passphrase": "one two three four"}),
    ("DELETE", "/v1/mandates/{}/invitations/{}", None),
    (
        "POST",
        "/v1/subscriptions",
        {"ticket": "p2psync ticket 1", "passphrase": "x", "attach": "@sales.ecf", "kind": "other"},
    ),
    ("GET", "/v1/mandates/{}/pending", None),
    ("GET", "/v1/mandates/{}/receipts", None),
    ("POST", "/v1/mandates/{}/receipts", {"files": ["sales.ecf"], "output": "@out.ecf"}),
    ("POST", "/v1/mandates/{}/receipts", {}),
    ("DELETE", "/v1/mandates/{}/receipts/{}", None),
    ("POST", "/v1/mandates/{}/confirmations", {"file": "sales.ecf"}),
    ("POST", "/v1/mandates/{}/wait", {"synced": True, "timeout_seconds": 0}),
    ("GET", "/v1/mandates/{}/history", None),
    (
        "POST",
        "/v1/mandates/{}/restore",
        {"file": "sales.ecf", "version": "00", "output": "@again.ecf"},
    ),
    ("GET", "/v1/mandates/{}/members", None),
    ("GET", "/v1/alerts", None),
    ("DELETE", "/v1/alerts/{}", None),
    ("GET", "/v1/events", None),
    ("GET", "/v1/openapi.json", None),
    ("POST", "/v1/stop", None),
)
_PARTS = (b"Books", b"sales.ecf", b"00", b"1", b"..", b"%2F", b"%", b"%00", b"\xff", b"", b"9" * 30)
_QUERIES = (
    b"",
    b"file=sales.ecf",
    b"file=%00",
    b"at=2025-01-01",
    b"at=2025-01-01T00:00:00%2B01:00",
    b"at=0001-01-01",
    b"at=9999-12-31T23:59:59-23:59",
    b"since=0",
    b"since=-1",
    b"since=9223372036854775807",
    b"mandate=Books",
    b"mandate=%ff",
    b"&&=&=;",
)
_TEXTS = ("", "Books", "@x", "@" + "y" * 300, "\ud800", "\0", "\u202e", "..", "00", "1e9", "2025")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server hands it on."""

    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def _json(feed: Feed, depth: int = 0) -> Json:
    match feed.number(10):
        case 0:
            return feed.pick(_TEXTS)
        case 1:
            return feed.chunk().decode("utf-8", "surrogateescape")
        case 2:
            return feed.number(1 << 16) - 5
        case 3:
            return feed.pick((None, True, False, 1 << 70, 10**400, -1, 0, 0.5))
        case 4:
            return feed.pick((float("inf"), float("nan"), 1e308, -0.0))
        case 5 if depth < 3:
            return {feed.pick(_TEXTS): _json(feed, depth + 1) for _ in range(feed.number(4))}
        case 6 if depth < 3:
            return [_json(feed, depth + 1) for _ in range(feed.number(4))]
        case _:
            return feed.pick(("other", "writer", "@sales.ecf", "sales.ecf", "Books"))


def _body(feed: Feed, model: Json) -> bytes:
    match feed.number(6):
        case 0:
            return feed.chunk()
        case 1:
            depth = feed.number(400)
            return b'{"name":' * depth + b"1" + b"}" * feed.number(400)
        case 2 | 3 if isinstance(model, dict):
            model = dict(model)
            for _ in range(feed.number(3)):
                keys = sorted(model) or ["name"]
                key = feed.pick(keys) if feed.number(6) else feed.pick(_TEXTS)
                model[key] = _json(feed)
                if feed.number(8) == 7:
                    del model[key]
        case 4:
            model = _json(feed)
        case _:
            pass
    return b"" if model is None else json.dumps(model).encode()


def request_of(feed: Feed) -> Request:
    """A request near to one that is right."""
    method, template, model = feed.pick(ROUTES)
    path = b"/".join(
        quote_from_bytes(feed.chunk()).encode()
        if piece == "{}" and feed.number(4) == 3
        else (feed.pick(_PARTS) if piece == "{}" else piece.encode())
        for piece in template.split("/")
    )
    if feed.number(16) == 15:
        path = b"/" + feed.chunk()
    if feed.number(16) == 15:
        method = feed.pick(("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "X"))
    query = feed.chunk() if feed.number(16) == 15 else feed.pick(_QUERIES)
    headers = [_HOST, _BEARER, _JSON]
    if feed.number(8) == 7:
        names = (b"host", b"authorization", b"content-type", b"content-length", b"origin")
        more = (b"accept-language", b"last-event-id", b"cookie", b"transfer-encoding")
        header = (feed.pick((*names, *more)), feed.chunk())
        place = feed.number(4)
        headers[place : place + feed.number(2)] = [header]
    return Request(method, path, query, tuple(headers), _body(feed, model))


@cache
def _endpoints() -> FastAPI:
    """The endpoints, made once: that takes longer than a hundred requests."""
    return create_app(FakeService(), Bounds(), trio.Event())


def _guarded(service: Service) -> Guard:
    app = _endpoints()
    app.state.service = service
    app.state.closing = trio.Event()
    return Guard(app, TOKEN, PORT, Bounds())


async def ask(app: Guard, asked: Request) -> tuple[int, bytes]:
    """Answer one request; the caller leaves once the answer has begun and the body is read."""
    said: list[dict[str, Any]] = []
    pieces = [asked.body[:7], asked.body[7:]]

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path.decode("latin-1"),
        "raw_path": asked.path,
        "query_string": asked.query,
        "root_path": "",
        "headers": list(asked.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", PORT),
        "state": {},
    }
    with trio.fail_after(_SECONDS_MAX):
        await app(scope, cast(Any, receive), cast(Any, send))
    starts = [message for message in said if message["type"] == "http.response.start"]
    assert len(starts) == 1, f"{len(starts)} answers"
    body = b"".join(message.get("body", b"") for message in said[1:])
    return int(starts[0]["status"]), body


def check_answer(asked: Request, status: int, body: bytes) -> None:
    """What must hold of every answer."""
    assert status < 500 or status in (503, 505, 507), f"{asked.method} {asked.path!r}: {status}"
    if asked.method != "HEAD" and status >= 400:
        error = json.loads(body)["error"]
        assert set(error) == {"code", "text", "hint", "exit_code"}
        assert error["text"]


async def _converse(
    feed: Feed,
    app: Guard,
    look: Callable[[], Awaitable[Any]],
    kept: Callable[[Request], Request | None],
    most: int,
) -> None:
    before = await look()
    for _ in range(most):
        asked = kept(request_of(feed))
        if asked is not None:
            status, body = await ask(app, asked)
            check_answer(asked, status, body)
            after = await look()
            if status >= 400:
                assert after == before, f"{asked.method} {asked.path!r}: {status}, yet it changed"
            before = after
        if not feed.left:
            return


def run_api(data: bytes) -> None:
    """Requests to the endpoints, over a fake node."""
    service = FakeService()

    async def look() -> Any:
        held = (service.mandates, service.receipts_made, service.invitations, service.kept_events)
        return copy.deepcopy((held, service.name, service.locked, service.passphrase))

    async def main() -> None:
        await service.mandate_create("Books", None)
        service.raise_event("{x}", severity="alert")
        app = _guarded(service)
        await _converse(Feed(data), app, look, lambda asked: asked, 4)

    trio.run(main)


# -- a real node --------------------------------------------------------------------------------


def _within(root: Path, value: Json) -> Json:
    """The same JSON with every path below ``root``: a caller may write where the user may."""
    if isinstance(value, str) and value.startswith("@"):
        return str(root) + "/" + value[1:].replace("..", "__")
    if isinstance(value, str):
        return value.replace("/", "_")
    if isinstance(value, list):
        return [_within(root, each) for each in value]
    if isinstance(value, dict):
        return {key: _within(root, each) for key, each in value.items()}
    return value


def _kept_within(root: Path, asked: Request) -> Request | None:
    try:
        value = json.loads(asked.body) if asked.body else None
    except (ValueError, RecursionError):
        value = None
    body = asked.body if value is None else json.dumps(_within(root, value)).encode()
    if value is None and (b"/" in body or b"\\" in body):
        return None
    if asked.path.endswith(b"/wait"):
        return None
    return Request(asked.method, asked.path, asked.query, asked.headers, body)


async def _look_at(machine: Machine) -> Any:
    service = machine.service
    listed = await service.mandate_list()
    shown: list[Any] = [{**(await service.identity_show())}]
    for each in listed["mandates"]:
        found = await service.mandate_show(each["id"])
        members = [
            (member["device"], member["name"], member["role"]) for member in found["members"]
        ]
        shown.append((found["name"], found["kind"], members, found.get("seat")))
        shown.append([(file["id"], file["name"], file["kind"]) for file in found["files"]])
        shown.append(await service.invite_list(each["id"]))
        shown.append(await service.receipts(each["id"]))
    return shown


def run_node(data: bytes) -> None:
    """Requests to a whole node."""
    memory = Path("/dev/shm")
    made = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)

    async def main() -> None:
        root = Path(made)
        async with running(root) as machine:
            await founded(machine)
            example = machine.file("sales.ecf", _example("atelier_2025_v1.ecf"))
            machine.file("atelier.crp", _example("atelier_2025.crp"))
            await machine.service.attach("Books", [example], "invoicing", None, None)
            await machine.rest()
            app = _guarded(machine.service)

            def kept(asked: Request) -> Request | None:
                return _kept_within(machine.desk, asked)

            await _converse(Feed(data), app, lambda: _look_at(machine), kept, 6)

    try:
        with quick_stretch():
            trio.run(main)
    finally:
        shutil.rmtree(made)


def _example(name: str) -> bytes:
    folder = Path(__file__).resolve().parents[2] / "docs" / "examples"
    return (folder / name).read_bytes()


def _said(index: int, *body: int, query: int = 0) -> bytes:
    """The bytes that make a request of a route; ``body`` are those of ``_body``."""
    places = ROUTES[index][1].count("{}")
    return bytes([index, *(0, 0) * places, 0, 0, 0, query, 0, *body])


_AS_IT_IS = (5,)
_CHANGED = (2, 1, 0, 1, 3, 0)


def _seeds() -> Iterable[bytes]:
    for index in range(len(ROUTES)):
        yield _said(index, *_AS_IT_IS)
        yield _said(index, *_CHANGED)
        yield _said(index, 1, 0, 40, 0, 40)
        yield _said(index, *_AS_IT_IS, query=index % len(_QUERIES))


def _node_seeds() -> Iterable[bytes]:
    """Several requests in a row: a node takes a while to start."""
    routes = range(len(ROUTES))
    for start in range(0, len(ROUTES), 5):
        some = routes[start : start + 5]
        yield b"".join(_said(index, *_AS_IT_IS) for index in (10, *some))
        yield b"".join(_said(index, *_CHANGED) for index in some)
    history = next(index for index in routes if ROUTES[index][1].endswith("/history"))
    for start in range(0, len(_QUERIES), 6):
        queries = range(start, min(start + 6, len(_QUERIES)))
        yield b"".join(_said(history, *_AS_IT_IS, query=query) for query in queries)


TARGETS = (
    Target(
        "api",
        "no request ends in a fault of ours, and one that is refused has changed nothing",
        run_api,
        _seeds,
        bytes_max=2048,
        short_runs=130,
    ),
    Target(
        "node",
        "the same of a whole node, for several requests in a row",
        run_node,
        _node_seeds,
        bytes_max=1024,
        short_runs=20,
    ),
)
