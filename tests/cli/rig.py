"""A command line against the real local API over the fake service, in one process."""

import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync import __version__
from p2psync.api.address import write_address
from p2psync.api.server import serve
from p2psync.cli.main import run
from tests.fakes.service import FakeService


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        assert self.err == ""
        [line] = self.out.splitlines()
        value: dict[str, Any] = json.loads(line)
        return value

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON error on standard error."""
        assert self.out == ""
        [line] = self.err.splitlines()
        value: dict[str, Any] = json.loads(line)
        assert set(value) == {"error"}
        assert set(value["error"]) == {"code", "text", "hint"}
        error: dict[str, Any] = value["error"]
        return error


class CommandLine:
    def __init__(
        self, home: Path, service: FakeService, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.home = home
        self.service = service
        self._capsys = capsys

    def __call__(self, *args: str) -> Ended:
        code = run(["--home", str(self.home), *args])
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    def json(self, *args: str) -> dict[str, Any]:
        ended = self(*args, "--json")
        assert (ended.code, ended.err) == (0, "")
        return ended.json


@contextmanager
def served(home: Path) -> Iterator[FakeService]:
    """Serve a fake service from another thread, as the node's process would."""
    started: list[Any] = []
    ready = threading.Event()

    async def main() -> None:
        service, token = FakeService(), secrets.token_hex(32)
        async with trio.open_nursery() as nursery:

            async def serving(task_status: Any) -> None:
                await serve(service, token, task_status=task_status)

            url = await nursery.start(serving)
            write_address(home, url, os.getpid(), __version__, token)
            end: Callable[[], None] = nursery.cancel_scope.cancel
            started.extend([service, trio.lowlevel.current_trio_token(), end])
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(30)
    service, token, end = started
    try:
        yield service
    finally:
        token.run_sync_soon(end)
        thread.join(30)
