"""The disk fails under a running node: nothing is acknowledged, and it goes on when the disk
does.
"""

from pathlib import Path

import pytest
import trio

from p2psync.core import ops
from p2psync.engine.effects import Tick
from p2psync.engine.replica import Replica
from p2psync.errors import DiskFull, NodeFault, StateReloaded, StorageError
from p2psync.node import node as node_module
from tests.node.rig import V1, V2, founded, in_step, invited, linked, running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_module, "RECOVER_SECONDS", 0.05)


async def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.rest()
        before = machine.opened()
        machine.store.full = True
        with pytest.raises(DiskFull):
            await machine.service.post("Books", [], None)
        (listed,) = (await machine.service.mandate_list())["mandates"]
        assert (listed["state"], listed["action"]) == ("read-only", "mend-disk")
        with pytest.raises(StorageError):
            await machine.service.post("Books", [], None)
        machine.file("a.ecf", V2)
        machine.store.full = False
        await machine.until(lambda: machine.node.failure is None)
        assert machine.opened() is not before
        await machine.look()
        assert await machine.pending() == (8, 0)
        assert (await machine.service.receipts("Books"))["receipts"] == []
        assert (await machine.service.post("Books", [], None))["added"] == 8


async def test_who_worked_with_the_old_memory_is_told(tmp_path: Path) -> None:
    """A replica that is ahead of the disk would fork its own log if it wrote once more."""
    async with running(tmp_path) as machine:
        await founded(machine)
        stale = machine.opened()
        machine.store.full = True
        with pytest.raises(DiskFull):
            await machine.node.author(stale, [ops.Rename("Lost")]).wait()
        machine.store.full = False
        await machine.until(lambda: machine.node.failure is None)
        with pytest.raises(StateReloaded):
            await machine.node.author(stale, [ops.Rename("Forked")]).wait()
        machine.node.shelf.look_at(stale, next(iter(stale.copies.values())))
        assert not stale.jobs
        await machine.node.author(machine.opened(), [ops.Rename("New")]).wait()
        assert machine.opened().name == "New"
        assert len(machine.opened().replica.chains.heads(_log(machine.opened()))) == 1


def _log(opened: object) -> bytes:
    (log,) = opened.replica.chains.logs()  # type: ignore[attr-defined] # an Opened, in tests
    return bytes(log)


async def test_links_come_back_after_the_disk(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
            await in_step(anna, ben)
            anna.store.full = True
            ben.file("a.ecf", V2)
            await ben.look()
            await anna.until(lambda: anna.node.failure is not None)
        anna.store.full = False
        await anna.until(lambda: anna.node.failure is None)
        async with linked(anna, ben):
            await in_step(anna, ben)
        assert await anna.pending() == (8, 0)
        assert anna.copy("a.ecf").read_bytes() == V2


async def test_a_fault_in_the_engine_is_mended_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)

        def broken(*_: object) -> None:
            raise RuntimeError("half a step")

        monkeypatch.setattr(machine.node.engine, "step", broken)
        with pytest.raises(NodeFault):
            await machine.node.runner.feed(Tick()).wait()
        await machine.until(lambda: machine.node.failure is None)
        await machine.node.author(machine.opened(), [ops.Rename("New")]).wait()
    async with running(tmp_path) as machine:
        assert machine.opened().name == "New"


async def test_a_damaged_mandate_does_not_keep_out_the_others(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine, "One")
        await machine.service.mandate_create("Two", None)
        one = next(each for each in machine.node.opened.values() if each.name == "One")
        bad = one.id
    async with running(tmp_path) as machine:
        real = machine.node.store.load

        async def load(replica: Replica) -> None:
            if replica.mandate == bad:
                replica.load([b"damaged"])
            await real(replica)

        machine.node.store.load = load  # type: ignore[method-assign] # a damaged disk
        machine.node.runner._break(DiskFull(path="x"))
        with trio.fail_after(10):
            await machine.node.wait_for(lambda: machine.node.failure is None)
        assert [each.name for each in machine.node.opened.values()] == ["Two"]
        assert "mandate-unreadable" in await machine.alerts()
