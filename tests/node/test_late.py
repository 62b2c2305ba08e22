"""What is attached by the hundred is sent before it is copied, and copied for sure (0019)."""

from pathlib import Path

import pytest
import trio
import trio.testing

from p2psync.node import shelf
from tests.node.rig import PATIENCE_SECONDS, Machine, in_step, linked, running
from tests.rules.offices import office

NAMES = [f"{number:03}.bin" for number in range(shelf.LATE_FROM_FILES)]


def placed(machine: Machine) -> list[str]:
    """Write the files that are to be attached; returns their paths."""
    return [machine.file(name, name.encode() * 100) for name in NAMES]


def copied(machine: Machine) -> set[str]:
    """The names of those that are whole in the mandate folder."""
    folder = machine.opened().folder
    return {
        name
        for name in NAMES
        if (folder / name).exists() and (folder / name).read_bytes() == name.encode() * 100
    }


async def attach(machine: Machine) -> None:
    said = await machine.service.attach("Books", placed(machine), "other", None, None)
    assert len(said["files"]) == len(NAMES)


async def test_b_att_1_many_files_are_copied_when_others_have_them(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        async with ben.opened().lock:  # Ben writes nothing meanwhile
            await attach(anna)
            await anna.node.runner.flushed()
            anna.node.look_at_all()
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not copied(anna)
            assert not anna.node.shelf.at_rest(anna.opened()), "who waits waits for the copies"
            for machine in (anna, ben):
                watched = machine.node.targets().get(machine.opened().folder, set())
                assert not watched & set(NAMES), "what is not there is not looked for"
        await in_step(anna, ben)
        assert copied(anna) == copied(ben) == set(NAMES)
        for machine in (anna, ben):
            assert machine.node.targets()[machine.opened().folder] >= set(NAMES)


async def test_b_att_1_without_others_the_copies_are_there_at_once(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await attach(anna)
        assert copied(anna) == set(NAMES)
        assert not copied(ben)


async def test_b_att_1_a_late_copy_outlasts_the_end_of_the_process(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        async with ben.opened().lock:
            await attach(anna)
            assert not copied(anna)
            root = anna.root
            await anna.node.runner.flushed()
    async with running(root) as anna:
        await anna.look()
        assert copied(anna) == set(NAMES)


async def test_a_member_that_takes_nothing_does_not_keep_off_the_copies_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "LATE_SECONDS_MAX", 0.1)
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        async with ben.opened().lock:
            await attach(anna)
            with trio.fail_after(PATIENCE_SECONDS):
                while copied(anna) != set(NAMES):
                    await trio.sleep(0.005)


async def test_a_member_that_leaves_does_not_keep_off_the_copies(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        async with linked(anna, ben):
            await in_step(anna, ben)
            async with ben.opened().lock:
                await attach(anna)
                assert not copied(anna)
        await anna.rest()
        assert copied(anna) == set(NAMES)


async def test_a_save_of_a_file_that_waits_for_its_copy_is_taken_up(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        async with ben.opened().lock:
            await attach(anna)
            anna.file(NAMES[5], b"saved again, much later" * 100)
            anna.node.look_at_all()
            copy = anna.copy(NAMES[5])
            with trio.fail_after(PATIENCE_SECONDS):
                while not copy.exists():
                    await trio.sleep(0.005)
            assert copy.read_bytes() == b"saved again, much later" * 100
            assert not copied(anna)
        await in_step(anna, ben)
        assert copied(anna) == copied(ben) == set(NAMES) - {NAMES[5]}
        assert ben.copy(NAMES[5]).read_bytes() == copy.read_bytes()


async def test_a_name_in_the_mandate_folder_that_somebody_has_taken_is_watched(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        folder = ben.opened().folder
        folder.mkdir(exist_ok=True)
        (folder / "new.bin").write_bytes(b"Ben's own")
        await anna.service.attach("Books", [anna.file("new.bin", b"Anna's")], "other", None, None)
        await ben.until(lambda: bool(ben.opened().unwritten))
        assert "new.bin" in ben.node.targets()[folder]
        (folder / "new.bin").rename(folder / "mine.bin")
        ben.node.hint(folder, "new.bin")
        await in_step(anna, ben)
        assert (folder / "new.bin").read_bytes() == b"Anna's"
