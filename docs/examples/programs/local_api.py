"""The local API of the p2psync node of this user: all that a program needs of it.

Copy it into your program; it uses the standard library alone, and is free under Apache-2.0.
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Refused(Exception):
    """The node said no: ``code`` is stable, the text is for people."""

    def __init__(self, code: str, text: str, hint: str) -> None:
        super().__init__(f"{text} ({hint})" if hint else text)
        self.code = code


class NotRunning(Exception):
    """No node runs for this user."""


def home() -> Path:
    """Where the node of this user keeps its own."""
    if os.environ.get("P2PSYNC_HOME"):
        return Path(os.environ["P2PSYNC_HOME"])
    if sys.platform == "win32":
        return Path(os.environ["LOCALAPPDATA"]) / "p2psync"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "p2psync"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "p2psync"


def call(method: str, *path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
    """Ask the node: ``call("GET", "mandates", "Atelier", "pending")``.

    Raises ``Refused`` and ``NotRunning``.
    """
    with _open(method, path, body, query, {}) as answer:
        return json.load(answer)


def events(since: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield what happens, first all after the event ``since``; ends when the node ends."""
    headers = {} if since is None else {"Last-Event-ID": str(since)}
    with _open("GET", ("events",), None, {}, headers) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line[len(b"data: ") :])


def _open(
    method: str,
    path: tuple[str, ...],
    body: dict[str, Any] | None,
    query: dict[str, str],
    headers: dict[str, str],
) -> Any:
    try:
        # Both are new each time the node starts.
        address = json.loads((home() / "api.json").read_text("utf-8"))["address"]
        token = (home() / "api.token").read_text("ascii").strip()
    except FileNotFoundError:
        raise NotRunning(f"no node runs in {home()}") from None
    url = f"{address}/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in path)
    if query:
        url += "?" + urllib.parse.urlencode(query)
    request = urllib.request.Request(url, method=method, headers=headers)
    request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    # No proxy: the node is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(request)
    except urllib.error.HTTPError as error:
        said = json.load(error)["error"]
        raise Refused(said["code"], said["text"], said["hint"]) from None
    except urllib.error.URLError as error:
        raise NotRunning(f"no node answers at {address}: {error.reason}") from None
