"""Stands in for the node's process: the real local API over the fake service."""

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from p2psync import __version__
from p2psync.api.address import remove_address, write_address
from p2psync.api.server import serve
from tests.fakes.service import FakeService


def run(
    home: Path,
    listen: list[str],
    lan: bool,
    on_ready: Callable[[dict[str, Any]], None],
    *,
    upnp: bool = False,
    proxy: str | None = None,
    ca: Path | None = None,
) -> int:
    """Serve until stopped; a ``--listen broken`` ends at once, as a taken port would."""
    if "broken" in listen:
        sys.stderr.write("error: another program already listens there\n")
        return 4
    home.mkdir(parents=True, exist_ok=True)
    trio.run(_run, home, on_ready)
    return 0


async def _run(home: Path, on_ready: Callable[[dict[str, Any]], None]) -> None:
    service, token = FakeService(), secrets.token_hex(32)
    async with trio.open_nursery() as nursery:

        async def served(task_status: Any) -> None:
            await serve(service, token, task_status=task_status)

        url = await nursery.start(served)
        write_address(home, url, os.getpid(), __version__, token)
        on_ready({"address": url, "pid": os.getpid()})
        await service.stopping.wait()
        remove_address(home)
        nursery.cancel_scope.cancel()
