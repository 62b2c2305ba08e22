"""A node's process as the tests of kills run it: forked from one that has imported everything.

Nothing but that start is special: it runs what ``p2psync node run`` runs.
"""

# ruff: noqa: E402  # what counts and fails comes before everything that it is put around

from tests.kills import faults, meter

faults.install()
meter.install()

import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import trio

from p2psync.cli import daemon
from p2psync.engine import peering
from p2psync.node import node, notices, runner, shelf


def _acknowledge_early() -> None:
    """Tell that it is done before it is durable."""

    async def wait(ticket: runner.Ticket) -> None:
        await trio.lowlevel.checkpoint()

    commit = runner.Runner._commit

    async def late(self: runner.Runner, batch: Any) -> None:
        await trio.sleep(0.05)
        await commit(self, batch)

    faulty: Any = runner
    faulty.Ticket.wait = wait
    faulty.Runner._commit = late


def _try_again_soon() -> None:
    patched: Any = node
    patched.RECOVER_SECONDS = patched.ROOM_SECONDS = 0.2
    patched = shelf
    patched.RETRY_SECONDS = 0.2
    patched = peering
    patched.BACKOFF_SECONDS_MAX = 1.0
    patched = notices
    patched.AGAIN_SECONDS = 0.1


MUTANTS = {"early": _acknowledge_early, "impatient": _try_again_soon}
"""Nodes with a fault that the checks must notice, and nodes that are quicker to try again."""


def host(
    home: str,
    listen: list[str],
    page: str,
    log: str,
    ready: "Connection[Any, Any]",
    mutant: str = "",
) -> None:
    """Run the node until it is stopped or killed; tell who asked when it is ready."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    meter.hold(meter.Meter(Path(page)))
    faults.hold(faults.Faults(Path(page).with_name("faults")))
    if mutant:
        MUTANTS[mutant]()

    def on_ready(said: Mapping[str, Any]) -> None:
        ready.send(dict(said))

    sys.exit(daemon.run(Path(home), listen, False, on_ready))
