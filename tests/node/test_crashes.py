"""The power fails before each commit in turn: after the restart nothing is lost, nothing counts
twice.

Files are written between commits, so this meets a file that was written and not noted, too.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from p2psync.errors import NodeEnding, SubscribedAlready
from tests.node.rig import (
    V1,
    V2,
    V2_RENUMBERED,
    Machine,
    PowerCut,
    founded,
    in_step,
    invited,
    linked,
    running,
)

Story = Callable[[Machine], Awaitable[None]]
COMMITS_MAX = 60


async def cut(root: Path, story: Story, before: int) -> bool:
    """Play a story until the power fails before a commit; tell whether it did."""
    was_cut = False
    try:
        async with running(root, before) as machine:
            await story(machine)
    except* (PowerCut, NodeEnding):
        was_cut = True
    return was_cut


async def attach_and_save(machine: Machine) -> None:
    await founded(machine)
    path = machine.file("a.ecf", V1)
    await machine.service.attach("Books", [path], "invoicing", None, None)
    machine.file("a.ecf", V2)
    await machine.look()
    machine.copy("a.ecf").write_bytes(V1)
    await machine.look()
    machine.file("a.ecf", V2_RENUMBERED)
    await machine.look()


async def repeat(machine: Machine) -> None:
    """What a person does who does not know how far it came."""
    if not machine.node.opened:
        await founded(machine)
    found = await machine.service.mandate_show("Books")
    names = {file["name"] for file in found["files"]}
    if "atelier_2025.crp" not in names:
        path = str(machine.desk / "atelier_2025.crp")
        await machine.service.attach("Books", [path], "accounting", None, None)
    if "a.ecf" not in names:
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
    await machine.look()


async def test_creating_attaching_and_saving(tmp_path: Path) -> None:
    for before in range(COMMITS_MAX):
        root = tmp_path / str(before)
        was_cut = await cut(root, attach_and_save, before)
        async with running(root) as machine:
            await machine.look()
            assert len(machine.node.opened) <= 1
            for opened in machine.node.opened.values():
                assert opened.state.founder == machine.device
                assert opened.state.name == "Books"
            await repeat(machine)
            content = (machine.desk / "a.ecf").read_bytes()
            assert machine.copy("a.ecf").read_bytes() == content
            assert await machine.pending() == ((7, 0) if content == V1 else (8, 0)), before
            machine.file("a.ecf", V2)
            await machine.look()
            assert machine.copy("a.ecf").read_bytes() == V2
            assert await machine.pending() == (8, 0), before
            await machine.service.post("Books", [], str(machine.desk / "out"))
            assert await machine.pending() == (0, 0)
        if not was_cut:
            assert before > 5
            return
    raise AssertionError("the story never ended")


async def post(machine: Machine) -> None:
    await machine.service.post("Books", [], str(machine.desk / "out"))


async def test_posting_can_be_repeated(tmp_path: Path) -> None:
    """B-POS-3: the same output and one receipt, however often it takes."""
    for before in range(COMMITS_MAX):
        root = tmp_path / str(before)
        async with running(root) as machine:
            await founded(machine)
            path = machine.file("a.ecf", V1)
            await machine.service.attach("Books", [path], "invoicing", None, None)
            await machine.rest()
        was_cut = await cut(root, post, before)
        async with running(root) as machine:
            await machine.look()
            posted = not was_cut
            assert await machine.pending() == ((0, 0) if posted else (7, 0))
            if not posted:
                await post(machine)
            receipts = (await machine.service.receipts("Books"))["receipts"]
            assert [receipt["added"] for receipt in receipts] == [7]
            assert (machine.desk / "out").read_bytes() == b"".join(V1.splitlines(True)[2:])
            assert await machine.pending() == (0, 0)
        if not was_cut:
            return
    raise AssertionError("the story never ended")


LINES = V1.splitlines(keepends=True)
OURS = b"".join([*LINES, LINES[2].replace(b"2340.00", b"1.00")])
THEIRS = b"".join([LINES[0], LINES[1], LINES[3].replace(b"615.75", b"2.00"), *LINES[2:]])


@pytest.mark.parametrize("victim", ["anna", "ben"])
async def test_merging_two_sides(tmp_path: Path, victim: str) -> None:
    """Both changed the file apart; one side's power fails anywhere while they come together."""
    for before in range(COMMITS_MAX):
        anna_root, ben_root = tmp_path / f"anna{before}", tmp_path / f"ben{before}"
        async with running(anna_root) as anna, running(ben_root) as ben:
            await founded(anna)
            ticket = await invited(anna)
            async with linked(anna, ben):
                await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
                await in_step(anna, ben)
            anna.copy("a.ecf").write_bytes(OURS)
            ben.file("a.ecf", THEIRS)
        was_cut = False
        try:
            cuts = {"anna": before if victim == "anna" else None}
            cuts["ben"] = before if victim == "ben" else None
            async with (
                running(anna_root, cuts["anna"]) as anna,
                running(ben_root, cuts["ben"]) as ben,
            ):
                await anna.look()
                await ben.look()
                async with linked(anna, ben):
                    await in_step(anna, ben)
        except* (PowerCut, NodeEnding):
            was_cut = True
        async with running(anna_root) as anna, running(ben_root) as ben:
            await anna.look()
            await ben.look()
            async with linked(anna, ben):
                await in_step(anna, ben)
            assert await anna.pending() == await ben.pending() == (9, 0), before
            merged = anna.copy("a.ecf").read_bytes()
            assert ben.copy("a.ecf").read_bytes() == merged
            assert (ben.desk / "a.ecf").read_bytes() == merged
            lines = merged.splitlines(keepends=True)
            assert sorted(lines) == sorted({*OURS.splitlines(True), *THEIRS.splitlines(True)})
            versions = (await anna.service.history("Books", "a.ecf", None))["versions"]
            assert len(versions) == 3, before
        if not was_cut:
            assert before > 2
            return
    raise AssertionError("the story never ended")


async def subscribe(machine: Machine, ticket: str) -> None:
    with suppress(SubscribedAlready):
        await machine.service.subscribe(ticket, None, None, None)


async def test_subscribing(tmp_path: Path) -> None:
    """A ticket that was half redeemed is redeemed once, with the same file."""
    for before in range(COMMITS_MAX):
        anna_root, ben_root = tmp_path / f"anna{before}", tmp_path / f"ben{before}"
        was_cut = False
        async with running(anna_root) as anna:
            await founded(anna)
            ticket = await invited(anna)
            try:
                async with running(ben_root, before) as ben, linked(anna, ben):
                    await subscribe(ben, ticket)
                    await in_step(anna, ben)
            except* (PowerCut, NodeEnding):
                was_cut = True
            async with running(ben_root) as ben, linked(anna, ben):
                await subscribe(ben, ticket)
                await in_step(anna, ben)
                assert len(anna.opened().state.membership.members) == 2
                await ben.service.wait("Books", True, 20)
                found = await ben.service.mandate_show("Books")
                assert found["state"] == "ok"
                assert [file["name"] for file in found["files"]] == ["atelier_2025.crp"]
        if not was_cut:
            return
    raise AssertionError("the story never ended")
