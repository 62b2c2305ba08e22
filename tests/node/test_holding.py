"""Held saves when the power fails, on devices that may only read, and with other ways out."""

from contextlib import suppress
from pathlib import Path

import pytest
import trio

from p2psync.errors import FileHeldBack, NodeEnding, NotAllowed, NothingHeld
from tests.node.rig import (
    PATIENCE_SECONDS,
    V1,
    Machine,
    PowerCut,
    founded,
    in_step,
    linked,
    running,
)
from tests.rules.offices import meet, office

HEADER = b"".join(V1.splitlines(keepends=True)[:2])
LINE = V1.splitlines(keepends=True)[2]
FULL = HEADER + b"".join(LINE.replace(b"R-2001", b"R-%d" % (4000 + each)) for each in range(60))
GUTTED = HEADER + LINE
COMMITS_MAX = 40


async def prepared(machine: Machine) -> None:
    await founded(machine)
    await machine.service.attach("Books", [machine.file("a.ecf", FULL)], "invoicing", None, None)
    await machine.service.post("Books", [], None)
    machine.file("a.ecf", GUTTED)
    await machine.look()
    assert (await machine.shown("a.ecf"))["state"] == "held"


@pytest.mark.parametrize("verdict", ["confirm", "refuse"])
async def test_an_answer_is_done_whole_or_not_at_all_when_the_power_fails(
    tmp_path: Path, verdict: str
) -> None:
    """B-HIS-3: nothing is lost, and what was refused is a version, or still held."""
    for before in range(COMMITS_MAX):
        root = tmp_path / str(before)
        async with running(root) as machine:
            await prepared(machine)
        was_cut = False
        try:
            async with running(root, before) as machine:
                await machine.look()
                await getattr(machine.service, verdict)("Books", "a.ecf")
                await machine.rest()
        except* (PowerCut, NodeEnding):
            was_cut = True
        async with running(root) as machine:
            await machine.look()
            state = (await machine.shown("a.ecf"))["state"]
            content = (machine.desk / "a.ecf").read_bytes()
            listed = (await machine.service.held_list("Books"))["held"]
            if state == "held":
                assert was_cut and content == GUTTED and len(listed) == 1
                with suppress(NothingHeld):
                    await getattr(machine.service, verdict)("Books", "a.ecf")
                content = (machine.desk / "a.ecf").read_bytes()
            assert (await machine.shown("a.ecf"))["state"] == "ok"
            assert (await machine.service.held_list("Books"))["held"] == []
            assert content == (GUTTED if verdict == "confirm" else FULL)
            assert machine.copy("a.ecf").read_bytes() == content
            assert await machine.pending() == ((1, 60) if verdict == "confirm" else (0, 0))
            assert await machine.alerts() == []
            if verdict == "refuse":
                versions = (await machine.service.history("Books", "a.ecf", None))["versions"]
                (refused,) = [each for each in versions if each["bytes"] == len(GUTTED)]
                assert refused["content"] == "here" and refused["records"] == 1
                out = machine.root / "out"
                await machine.service.restore("Books", "a.ecf", refused["version"], str(out))
                assert out.read_bytes() == GUTTED
        if not was_cut:
            assert before > 0
            return
    raise AssertionError("the story never ended")


async def test_a_hold_is_told_once_over_restarts(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await prepared(machine)
        (held,) = (await machine.service.held_list("Books"))["held"]
    async with running(tmp_path) as machine:
        await machine.look()
        await machine.look()
        assert (await machine.service.held_list("Books"))["held"] == [held]
        assert await machine.alerts() == ["save-held-back"]


async def test_a_reader_refuses_and_confirms_nothing(tmp_path: Path) -> None:
    """What it changed is not a save that anybody else could judge."""
    async with office(tmp_path, role="writer") as (anna, ben):
        ticket = (await anna.service.invite("Books", "reader", 3600, 1, None, True))["ticket"]
        async with running(tmp_path / "carl") as carl, linked(anna, carl):
            await carl.service.subscribe(ticket, None, None, None)
            await in_step(anna, carl)
            carl.copy("a.ecf").write_bytes(b"")
            await carl.look()
            await in_step(anna, carl)
            assert await carl.alerts() == ["change-not-allowed"]
            assert "deletion-held" not in await anna.alerts()
            assert (await anna.service.held_list("Books"))["held"] == []
            for answer in (carl.service.confirm, carl.service.refuse):
                with pytest.raises(NotAllowed):
                    await answer("Books", "a.ecf")
        assert ben.copy("a.ecf").read_bytes() == V1


async def test_restore_and_detach_end_a_hold_for_everybody(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        ben.file("a.ecf", FULL)
        await ben.look()
        ben.file("a.ecf", GUTTED)
        await ben.look()
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]
        versions = (await ben.service.history("Books", "a.ecf", None))["versions"]
        await ben.service.restore("Books", "a.ecf", versions[0]["version"], None)
        await meet(anna, ben)
        assert await anna.alerts() == [] and await ben.alerts() == []
        kept = (await ben.service.history("Books", "a.ecf", None))["versions"]
        assert [each["bytes"] for each in kept].count(len(GUTTED)) == 1  # lost to nobody
        await ben.service.attach("Books", [ben.file("b.txt", b"x" * 999)], "other", None, None)
        ben.file("b.txt", b"")
        await ben.look()
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]
        with suppress(FileHeldBack):
            await ben.service.detach("Books", "b.txt")
        await meet(anna, ben)
        listed = (await anna.service.held_list("Books"))["held"]
        assert listed == [] or (await ben.shown("b.txt"))["state"] == "held"
        assert ("deletion-held" in await anna.alerts()) == bool(listed)


async def test_nobody_waits_for_who_left(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await ben.service.attach("Books", [ben.file("b.txt", b"x" * 999)], "other", None, None)
        ben.file("b.txt", b"")
        await ben.look()
        await meet(anna, ben)
        assert await anna.alerts() == ["deletion-held"]
        await ben.service.mandate_remove("Books")
        async with linked(anna, ben):
            with trio.fail_after(PATIENCE_SECONDS):
                while ben.device not in anna.opened().state.standing.left():
                    await trio.sleep(0.01)
            await anna.node.runner.flushed()
        assert "deletion-held" not in await anna.alerts()
        assert (await anna.service.held_list("Books"))["held"] == []
