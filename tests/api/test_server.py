"""The local API over real sockets: who is let in, and what a hostile caller cannot do."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from p2psync import errors, limits
from p2psync.api.guard import Bounds
from p2psync.api.server import serve
from tests.fakes.service import FakeService

TOKEN = bytes(range(32)).hex()


@dataclass
class Running:
    service: FakeService
    url: str
    client: httpx.AsyncClient
    nursery: trio.Nursery

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def raw(self, content: bytes) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        await stream.send_all(content)
        return stream


@asynccontextmanager
async def running(**bounds: Any) -> AsyncIterator[Running]:
    service = FakeService()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def served(task_status: Any) -> None:
                await serve(service, TOKEN, bounds=Bounds(**bounds), task_status=task_status)

            url = await nursery.start(served)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
                yield Running(service, url, client, nursery)
            nursery.cancel_scope.cancel()


async def read_all(stream: trio.SocketStream) -> bytes:
    got = b""
    try:
        async for part in stream:
            got += part
    except trio.BrokenResourceError:
        pass
    await stream.aclose()
    return got


def head(*lines: str, method: str = "GET", target: str = "/v1/status", port: int) -> bytes:
    fixed = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    return "\r\n".join([*fixed, f"Authorization: Bearer {TOKEN}", *lines, "", ""]).encode()


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "text", "hint", "exit_code"}
    error: dict[str, Any] = body["error"]
    return error


async def test_answers_carry_no_store_and_nosniff() -> None:
    async with running() as api:
        answer = await api.client.get("/v1/status")
        assert answer.status_code == 200
        assert answer.json()["device"]
        for name, value in (("cache-control", "no-store"), ("x-content-type-options", "nosniff")):
            assert answer.headers[name] == value
        assert "server" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}0", f"Bearer {TOKEN[:-1]}"],
)
@pytest.mark.parametrize("path", ["/v1/status", "/v1/openapi.json", "/", "/docs", "/v1/events"])
async def test_nothing_is_answered_without_the_token(header: str, path: str) -> None:
    async with running() as api:
        answer = await api.client.get(path, headers={"Authorization": header})
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", ""])
async def test_a_rebound_host_name_is_refused(host: str) -> None:
    async with running() as api:
        answer = await api.client.get("/v1/status", headers={"Host": host})
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "host-refused"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", ""])
async def test_a_foreign_origin_is_refused(origin: str) -> None:
    async with running() as api:
        answer = await api.client.get("/v1/status", headers={"Origin": origin})
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "origin-refused"
        own = await api.client.get("/v1/status", headers={"Origin": api.url})
        assert own.status_code == 200


async def test_a_preflight_is_not_answered_with_permission() -> None:
    async with running() as api:
        answer = await api.client.options(
            "/v1/status",
            headers={"Origin": api.url, "Access-Control-Request-Method": "GET"},
        )
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_there_are_no_documentation_pages() -> None:
    async with running() as api:
        assert (await api.client.get("/v1/openapi.json")).json()["info"]["title"] == "p2psync"
        for path in ("/docs", "/redoc", "/openapi.json", "/"):
            answer = await api.client.get(path)
            assert answer.status_code == 404
            assert error_of(answer)["code"] == "route-unknown"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "route-unknown"),
        ("PATCH", "/v1/mandates", None, 405, "method-unknown"),
        ("POST", "/v1/mandates", b"", 400, "request-invalid"),
        ("POST", "/v1/mandates", b"{", 422, "body-invalid"),
        ("POST", "/v1/mandates", b"\xff\xfe", 422, "body-invalid"),
        ("POST", "/v1/mandates", b"[]", 422, "body-invalid"),
        ("POST", "/v1/mandates", b'{"name": NaN}', 422, "body-invalid"),
        ("POST", "/v1/mandates", b'{"name": "half \\ud800"}', 422, "body-invalid"),
        ("PUT", "/v1/identity", b'{"\\udc00": "half"}', 422, "body-invalid"),
        ("POST", "/v1/mandates", b'{"name": 7}', 400, "request-invalid"),
        ("POST", "/v1/mandates", b'{"name": ""}', 400, "request-invalid"),
        ("POST", "/v1/mandates", b'{"name": "a", "more": 1}', 400, "request-invalid"),
        ("POST", "/v1/mandates", b'{"name": ' + b"[" * 100_000, 422, "body-invalid"),
        ("DELETE", "/v1/alerts/seven", None, 400, "request-invalid"),
        ("GET", "/v1/events?since=-1", None, 400, "request-invalid"),
        ("GET", "/v1/events?mandate=none", None, 400, "mandate-unknown"),
        ("GET", "/v1/mandates/%FF%00", None, 400, "mandate-unknown"),
    ],
)
async def test_garbage_is_a_clear_error(
    method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    async with running() as api:
        answer = await api.client.request(
            method, path, content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == status
        assert error_of(answer)["code"] == code
        assert (await api.client.get("/v1/status")).status_code == 200


async def test_a_form_of_another_page_is_no_json() -> None:
    async with running() as api:
        answer = await api.client.post("/v1/mandates", data={"name": "a"})
        assert answer.status_code == 415
        assert error_of(answer)["code"] == "body-type"


async def test_a_body_over_the_limit_is_refused() -> None:
    async with running() as api:
        answer = await api.client.post(
            "/v1/mandates",
            content=b"x" * (2 * limits.MIB),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 413
        assert error_of(answer)["code"] == "body-too-large"


async def test_a_chunked_body_without_end_is_refused() -> None:
    async with running() as api:
        stream = await api.raw(
            head("Transfer-Encoding: chunked", method="POST", target="/v1/stop", port=api.port)
        )
        sent = 0
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            while sent < 64 * limits.MIB:
                await stream.send_all(chunk)
                sent += len(chunk)
        except trio.BrokenResourceError:
            pass
        await stream.aclose()
        # What the kernel holds in both directions comes on top of what the server read.
        assert sent < 32 * limits.MIB
        assert not api.service.stopping.is_set()
        assert (await api.client.get("/v1/status")).status_code == 200


async def test_a_body_that_does_not_come_times_out() -> None:
    async with running(body_seconds_max=0.1) as api:
        stream = await api.raw(
            head("Content-Length: 10", method="POST", target="/v1/stop", port=api.port)
        )
        got = await read_all(stream)
        assert got.startswith(b"HTTP/1.1 408 ")
        assert b'"body-too-slow"' in got


async def test_headers_that_do_not_come_end_the_connection() -> None:
    async with running(headers_seconds_max=0.1) as api:
        stream = await api.raw(b"GET /v1/status HTTP/1.1\r\nHost: ")
        assert await read_all(stream) == b""
        assert (await api.client.get("/v1/status")).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET \xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n" * 1000,
    ],
)
async def test_noise_does_not_end_the_server(content: bytes) -> None:
    async with running(headers_seconds_max=0.2) as api:
        got = await read_all(await api.raw(content))
        assert b"200" not in got.split(b"\r\n")[0]
        assert (await api.client.get("/v1/status")).status_code == 200


async def test_a_websocket_is_refused() -> None:
    async with running() as api:
        upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        stream = await api.raw(
            head(*upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", port=api.port)
        )
        assert (await read_all(stream)).startswith(b"HTTP/1.1 403")


async def test_connections_over_the_limit_are_closed() -> None:
    async with running(connections_max=2) as api:
        held = [await trio.open_tcp_stream("127.0.0.1", api.port) for _ in range(2)]
        third = await trio.open_tcp_stream("127.0.0.1", api.port)
        assert await read_all(third) == b""
        for stream in held:
            await stream.aclose()


async def test_a_caller_that_went_away_holds_no_connection() -> None:
    """One that could be used again would else count for as long as it may stay idle."""
    async with running(connections_max=1, headers_seconds_max=1000) as api:
        for _ in range(3):
            with trio.fail_after(20):
                while True:
                    stream = await api.raw(head(port=api.port))
                    if await stream.receive_some():
                        break
                    # The server has not seen yet that the last caller left.
                    await stream.aclose()
                await trio.testing.wait_all_tasks_blocked()  # it waits for another request now
                await stream.aclose()


async def test_a_bug_is_an_internal_error_and_tells_no_detail() -> None:
    async with running() as api:
        api.service.fail_with = ValueError("secret detail")
        answer = await api.client.get("/v1/status")
        assert answer.status_code == 500
        assert error_of(answer)["code"] == "internal"
        assert "secret detail" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError(cause="x"), 400),
        (errors.RefusedError(cause="x"), 409),
        (errors.UnavailableError(cause="x"), 503),
        (errors.BadInputError(cause="x"), 422),
        (errors.StorageError(cause="x"), 507),
    ],
)
async def test_each_kind_of_error_has_its_status(error: errors.P2PSyncError, status: int) -> None:
    async with running() as api:
        api.service.fail_with = error
        answer = await api.client.get("/v1/status")
        assert answer.status_code == status
        assert error_of(answer)["exit_code"] == error.exit_code


async def test_texts_come_in_the_language_of_the_caller() -> None:
    async with running() as api:
        await api.client.post("/v1/mandates", json={"name": "Acme"})
        for accept, text in (
            ("fr-CH, en;q=0.5", "la phrase secrète"),
            ("de, en;q=0.5", "the passphrase"),
        ):
            ticket = {"ticket": "p2psync ticket 1\nMFRGGZDFMZTWQ2LK\n", "passphrase": "no"}
            answer = await api.client.post(
                "/v1/subscriptions", json=ticket, headers={"Accept-Language": accept}
            )
            assert error_of(answer)["text"].startswith(text)


async def test_problems_are_filled_and_keep_their_other_fields() -> None:
    async with running() as api:
        await api.client.post("/v1/mandates", json={"name": "Acme"})
        answer = await api.client.post(
            "/v1/mandates/Acme/files", json={"files": ["/a/sales.ecf"], "kind": "invoicing"}
        )
        assert answer.json()["files"][0]["problems"] == [
            {"code": "line-unreadable", "line": 7, "text": "the line has 3 fields"}
        ]


@pytest.mark.parametrize("name", ["a/b", "a/share", "50%", "é ü", "..", "a?b#c", "%2F"])
async def test_any_name_fits_into_a_path(name: str) -> None:
    async with running() as api:
        made = await api.client.post("/v1/mandates", json={"name": name})
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        stream = await api.raw(
            head("Connection: close", target=f"/v1/mandates/{quoted}", port=api.port)
        )
        body = (await read_all(stream)).partition(b"\r\n\r\n")[2]
        assert json.loads(body)["id"] == made.json()["id"]


async def test_every_endpoint_answers_from_the_service() -> None:
    async with running() as api:
        sequence: list[tuple[str, str, Any, int]] = [
            ("POST", "/v1/mandates", {"name": "Acme"}, 201),
            ("GET", "/v1/mandates", None, 200),
            ("GET", "/v1/mandates/Acme", None, 200),
            ("POST", "/v1/mandates/Acme/share", {}, 200),
            ("POST", "/v1/mandates/Acme/files", {"files": ["/s"], "kind": "other"}, 201),
            ("POST", "/v1/mandates/Acme/invitations", {}, 201),
            ("GET", "/v1/mandates/Acme/invitations", None, 200),
            ("DELETE", "/v1/mandates/Acme/invitations/00000000", None, 200),
            ("GET", "/v1/mandates/Acme/pending", None, 200),
            ("POST", "/v1/mandates/Acme/receipts", {}, 201),
            ("GET", "/v1/mandates/Acme/receipts", None, 200),
            ("DELETE", "/v1/mandates/Acme/receipts/00000001", None, 200),
            ("POST", "/v1/mandates/Acme/confirmations", {"file": "s"}, 201),
            ("POST", "/v1/mandates/Acme/refusals", {"file": "s"}, 201),
            ("GET", "/v1/mandates/Acme/held", None, 200),
            ("GET", "/v1/mandates/Acme/history?file=s&at=2025-12-31&known=true", None, 200),
            ("GET", "/v1/mandates/Acme/history/records?file=s&line=3", None, 200),
            ("POST", "/v1/mandates/Acme/restore", {"file": "s", "at": "2025-12-31"}, 200),
            ("POST", "/v1/mandates/Acme/restore", {"file": "s"}, 400),
            ("GET", "/v1/retention", None, 200),
            ("PUT", "/v1/retention", {"policy": {"keep_days": 9}, "dry_run": True}, 200),
            ("GET", "/v1/mandates/Acme/retention", None, 200),
            ("PUT", "/v1/mandates/Acme/retention", {"policy": None}, 200),
            ("POST", "/v1/mandates/Acme/wait", {"timeout_seconds": 3}, 200),
            ("GET", "/v1/mandates/Acme/history?file=s&at=2024", None, 200),
            ("POST", "/v1/mandates/Acme/restore", {"file": "s", "version": "1"}, 200),
            ("GET", "/v1/mandates/Acme/members", None, 200),
            ("GET", "/v1/alerts", None, 200),
            ("GET", "/v1/identity", None, 200),
            ("PUT", "/v1/identity", {"name": "Bob"}, 200),
            ("POST", "/v1/identity/lock", {"passphrase": "x"}, 200),
            ("POST", "/v1/identity/unlock", {"passphrase": "x"}, 200),
            ("POST", "/v1/stop", None, 200),
        ]
        for method, path, body, status in sequence:
            answer = await api.client.request(method, path, json=body)
            assert (path, answer.status_code) == (path, status)
        assert ("history", "Acme", "s", "2024") in api.service.calls
        assert api.service.stopping.is_set()


async def test_a_request_under_way_is_answered_when_the_server_stops() -> None:
    async with running() as api:
        begun, go_on = trio.Event(), trio.Event()

        async def slow() -> dict[str, object]:
            begun.set()
            await go_on.wait()
            return {"slow": True}

        api.service.status = slow  # type: ignore[method-assign]  # a slower fake of one method
        stream = await api.raw(head("Connection: close", port=api.port))
        await begun.wait()
        api.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            go_on.set()
            assert (await read_all(stream)).endswith(b'{"slow":true}')
