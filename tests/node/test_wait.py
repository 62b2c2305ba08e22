"""``wait --synced`` ends when the others have the files on their disks, not before."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from p2psync.errors import P2PSyncError
from p2psync.node import copies
from p2psync.node.copies import Write
from p2psync.storage.file_state import FileStat
from tests.node.rig import V1, V2, founded, in_step, invited, linked, running


async def test_a_member_is_in_step_once_it_has_written_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    gate.set()
    write_many = copies.write_many
    reached = trio.Event()
    token = trio.lowlevel.current_trio_token()
    office_folder = tmp_path / "office" / "home" / "mandates"

    def gated(writes: Sequence[Write], ready: Callable[[], None]) -> list[FileStat | P2PSyncError]:
        there = any(office_folder in write.copy.directory.parents for write in writes)
        if there and not gate.is_set():
            token.run_sync_soon(reached.set)
            assert gate.wait(20)
        return write_many(writes, ready)

    monkeypatch.setattr(copies, "write_many", gated)
    async with running(tmp_path / "office") as office, running(tmp_path / "clerk") as clerk:
        await founded(office)
        ticket = await invited(office)
        async with linked(office, clerk), trio.open_nursery() as nursery:
            path = clerk.file("a.ecf", V1)
            await clerk.service.subscribe(ticket, None, path, "invoicing")
            await in_step(office, clerk)
            gate.clear()
            clerk.file("a.ecf", V2)
            nursery.start_soon(clerk.look)
            with trio.fail_after(20):
                await reached.wait()
            # The entries are there and durable, the file is not.
            assert await office.pending() == (8, 0)
            assert office.copy("a.ecf").read_bytes() == V1
            answered = trio.Event()

            async def wait() -> None:
                await clerk.service.wait("Books", True, 20)
                answered.set()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not answered.is_set()
            gate.set()
            with trio.fail_after(20):
                await answered.wait()
            assert office.copy("a.ecf").read_bytes() == V2
