"""Speaks to the local API of the running node, with the standard library alone (for speed)."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from p2psync import errors
from p2psync.api.address import ApiAddress, read_address
from p2psync.cli.settings import Settings
from p2psync.limits import API_HEARTBEAT_SECONDS, MIB

ANSWER_BYTES_MAX = 512 * MIB
EVENT_BYTES_MAX = 1 * MIB
CONNECT_SECONDS_MAX = 10.0


class NodeError(errors.P2PSyncError):
    """An error that the node answered with; its text comes filled and translated."""

    template = "{text}"
    hint_template = "{hint}"

    def __init__(self, code: str, text: str, hint: str, exit_code: int) -> None:
        super().__init__(text=text, hint=hint)
        self.node_code = code
        self.node_exit_code = exit_code


class Client:
    """One node's API. Every method raises ``NodeNotRunning`` when nothing answers there."""

    def __init__(
        self,
        settings: Settings,
        address: ApiAddress | None = None,
        *,
        patience_seconds: float | None = None,
    ) -> None:
        """``patience_seconds``: so long an answer may take, else ``ApiAnswerInvalid``; without
        it, as long as the work does."""
        found = address or read_address(settings.home)
        if found is None:
            raise errors.NodeNotRunning(home=settings.home)
        self._settings = settings
        self._patience_seconds = patience_seconds
        self.address = found

    def get(self, *path: str, **query: str | int | Sequence[str] | None) -> dict[str, Any]:
        """Return what a GET of the path answers; absent parameters are left out."""
        return self._request("GET", _target(path, query), None)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what a POST of ``body`` answers; waits for as long as it takes."""
        return self._request("POST", _target(path), body or {})

    def put(self, *path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a PUT of ``body`` answers."""
        return self._request("PUT", _target(path), body)

    def delete(self, *path: str, **query: str | None) -> dict[str, Any]:
        """Return what a DELETE answers."""
        return self._request("DELETE", _target(path, query), None)

    def events(
        self,
        mandate: str | None,
        since: int | None,
        types: Sequence[str] = (),
        severity: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield events until the node closes the stream."""
        query = {"mandate": mandate, "since": since, "type": types, "severity": severity}
        connection = self._connect()
        try:
            answer = self._send(connection, "GET", _target(("events",), query), None)
            if answer.status != 200:
                self._raise(answer.status, answer.read(EVENT_BYTES_MAX))
            for line in iter(lambda: answer.readline(EVENT_BYTES_MAX), b""):
                if line.startswith(b"data: "):
                    event = _decode(line[len(b"data: ") :])
                    if "error" in event:
                        self._raise(500, line[len(b"data: ") :])
                    yield event
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _request(self, method: str, target: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        connection = self._connect()
        try:
            answer = self._send(connection, method, target, body)
            content = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise errors.ApiAnswerInvalid(cause=str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if answer.status >= 400:
            self._raise(answer.status, content)
        return _decode(content)

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(
            self.address.host, self.address.port, timeout=CONNECT_SECONDS_MAX
        )
        try:
            connection.connect()
        except OSError:
            raise errors.NodeNotRunning(home=self._settings.home) from None
        return connection

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
    ) -> http.client.HTTPResponse:
        headers = {
            "Authorization": f"Bearer {self.address.token}",
            "Accept-Language": self._settings.language,
        }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps({k: v for k, v in body.items() if v is not None}).encode()
        # Only the stream has heartbeats; an answer may take as long as the work does, unless told.
        streams = target.startswith("/v1/events")
        patience_seconds = 3 * API_HEARTBEAT_SECONDS if streams else self._patience_seconds
        connection.sock.settimeout(patience_seconds)
        connection.request(method, target, body=content, headers=headers)
        return connection.getresponse()

    def _raise(self, status: int, content: bytes) -> None:
        error = _decode(content).get("error")
        if not isinstance(error, dict):
            raise errors.ApiAnswerInvalid(cause=f"HTTP {status}")
        if error.get("code") in ("unauthorized", "host-refused"):
            # Another program listens at the address that an earlier node left behind.
            raise errors.NodeNotRunning(home=self._settings.home)
        raise NodeError(
            str(error.get("code")),
            str(error.get("text")),
            str(error.get("hint", "")),
            int(error.get("exit_code", 1)),
        )


def _target(
    path: tuple[str, ...], query: Mapping[str, str | int | Sequence[str] | None] | None = None
) -> str:
    target = "/v1/" + "/".join(quote(part, safe="") for part in path)
    given = {name: value for name, value in (query or {}).items() if value is not None}
    text = urlencode(given, doseq=True)
    return f"{target}?{text}" if text else target


def _decode(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise errors.ApiAnswerInvalid(cause=error) from None
    if not isinstance(value, dict):
        raise errors.ApiAnswerInvalid(cause="no JSON object")
    return value
