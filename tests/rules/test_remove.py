"""B-REM: mandates leave a list, are closed, and come back. Both sides are looked at, also the one
that was off line."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from p2psync.errors import (
    AttachedAlready,
    MandateIsClosed,
    MandateNotClosed,
    MandateUnknown,
    NodeEnding,
    NotAllowed,
    RemovalBlocked,
    RemovalBlockedByDrive,
    RemovedUnknown,
    TicketClosed,
    UndoTooLate,
)
from p2psync.limits import UNDO_SECONDS
from p2psync.node.removed import Removed
from p2psync.node.retention import key_of
from p2psync.storage.mounts import on_network
from tests.fakes.clock import FakeClock
from tests.node.rig import (
    CRP,
    V1,
    V2,
    Machine,
    PowerCut,
    founded,
    in_step,
    invited,
    linked,
    running,
)
from tests.rules.offices import cancelled, events, files, meet, names, office, state

HOME = "home"


def folder_of(root: Path) -> Path:
    return root / HOME / "mandates" / "Books"


async def subscribed(anna: Machine, ben: Machine, role: str = "writer") -> None:
    """Ben comes in by a ticket, without a file."""
    ticket = await invited(anna, role)
    async with linked(anna, ben):
        await ben.service.subscribe(ticket, None, None, None)
        await in_step(anna, ben)


def told(anna: Machine, ben: Machine) -> bool:
    """Whether Ben has all that Anna wrote when she removed the mandate."""
    (opened,) = anna.node.removal.hidden.values()
    removed = Removed.of(opened.row)
    return removed is not None and ben.device in removed.told


# -- B-REM-1 --------------------------------------------------------------------------------------


async def test_b_rem_1_any_subscriber_removes_it_and_no_file_is_touched(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        said = await ben.service.mandate_remove("Books")
        assert (said["case"], said["how"]) == ("accounting-elsewhere", "left")
        assert await names(ben) == []
        assert await names(anna) == ["Books"]
        assert (ben.desk / "a.ecf").read_bytes() == V1
        assert (folder_of(ben.root) / "a.ecf").exists(), "until it cannot be undone any more"
        assert len(await events(ben, "mandate-removed")) == 1
        with pytest.raises(MandateUnknown):
            await ben.service.pending("Books")
        assert ben.node.targets() == {}
        (listed,) = (await ben.service.removed_list())["mandates"]
        assert (listed["name"], listed["state"]) == ("Books", "removed")
        # What the file belongs to is free again.
        await ben.service.mandate_create("Mine", None)
        await ben.service.attach("Mine", [str(ben.desk / "a.ecf")], "invoicing", None, None)


async def test_b_rem_1_a_reader_too(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await subscribed(anna, ben, "reader")
        assert (await ben.service.mandate_remove("Books"))["how"] == "left"
        async with linked(anna, ben):
            left = ben.device
            await anna.until(lambda: left in anna.opened().state.standing.left())
        assert await names(ben) == [] and await names(anna) == ["Books"]


async def test_b_rem_1_a_subscription_that_nobody_admitted_yet(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        with trio.move_on_after(0.5):
            await ben.service.subscribe(ticket, None, None, None)
        assert (await state(ben))["state"] == "waiting"
        assert (await ben.service.mandate_remove("Books"))["how"] == "hidden"
        assert await names(ben) == []
        # The same ticket begins anew.
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        assert await names(ben) == ["Books"]
        assert len(anna.opened().state.membership.members) == 2


# -- B-REM-2 --------------------------------------------------------------------------------------


async def test_b_rem_2_a_local_mandate_needs_no_cancelling(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        assert await anna.pending() == (7, 0)
        entries = anna.opened().replica.tips()
        assert (await anna.service.removal_plan("Books"))["case"] == "local"
        said = await anna.service.mandate_remove("Books")
        assert (said["how"], said["told"], said["detaches"]) == ("hidden", 0, [])
        assert await names(anna) == []
        anna.file("a.ecf", V2)
        await anna.look()
        assert (folder_of(anna.root) / "a.ecf").read_bytes() == V1, "nobody looks any more"
        await anna.service.mandate_restore("Books")
        await anna.rest()
        assert await anna.pending() == (8, 0), "what was saved meanwhile is taken up"
        assert anna.copy("a.ecf").read_bytes() == V2
        assert entries != anna.opened().replica.tips()
        assert len(await events(anna, "mandate-restored")) == 1


# -- B-REM-3 --------------------------------------------------------------------------------------


async def test_b_rem_3_all_files_here_no_cancelling_and_others_are_told(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await subscribed(anna, ben)
        said = await anna.service.mandate_remove("Books")
        assert (said["how"], said["told"]) == ("closed", 1)
        assert await names(anna) == []
        assert (anna.desk / "a.ecf").read_bytes() == V1
        assert (await state(ben))["state"] != "closed", "off line, it cannot know"
        async with linked(anna, ben):
            await ben.until(lambda: ben.opened().closed)
        shown = await state(ben)
        assert shown["state"] == "closed"
        assert await ben.alerts() == ["mandate-closed"]


async def test_b_rem_3_shared_with_nobody_is_gone_at_once(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_share("Books")
        said = await anna.service.mandate_remove("Books")
        assert (said["case"], said["told"]) == ("all-here", 0)
        assert anna.node.removal.in_engine() == [], "nobody has to be told"


async def test_b_rem_3_who_may_not_close_leaves(tmp_path: Path) -> None:
    """The only files are a writer's: it goes on, empty, for the others."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Books", None)
        await subscribed(anna, ben)
        await ben.service.attach("Books", [ben.file("a.ecf", V1)], "invoicing", None, None)
        await meet(anna, ben)
        said = await ben.service.mandate_remove("Books")
        assert (said["case"], said["how"], said["detaches"]) == ("all-here", "left", ["a.ecf"])
        async with linked(anna, ben):
            await anna.until(lambda: not anna.opened().state.present_files())
        assert await names(anna) == ["Books"]
        assert not anna.opened().closed


# -- B-REM-4 --------------------------------------------------------------------------------------


async def test_b_rem_4_refused_while_another_device_has_uncancelled_postings(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Books", None)
        await ben.service.identity_set("Ben")
        await subscribed(anna, ben)
        await ben.service.attach("Books", [ben.file("a.ecf", V1)], "invoicing", None, None)
        await meet(anna, ben)
        before = anna.opened().replica.tips()
        with pytest.raises(RemovalBlocked) as caught:
            await anna.service.mandate_remove("Books")
        assert "a.ecf is on the machine of Ben" in caught.value.text
        assert "a.ecf (+7 -0 =0)" in caught.value.text
        assert await names(anna) == ["Books"] and anna.opened().replica.tips() == before
        assert (await anna.service.removal_plan("Books"))["blocking"] == ["a.ecf"]
        # Once nothing is pending nor posted any more it goes.
        ben.file("a.ecf", b"".join(V1.splitlines(keepends=True)[:2]))
        await ben.look()
        await ben.service.confirm("Books", "a.ecf")
        await meet(anna, ben)
        said = await anna.service.mandate_remove("Books")
        assert (said["case"], said["how"]) == ("elsewhere", "left")
        async with linked(anna, ben):
            left = anna.device
            await ben.until(lambda: left in ben.opened().state.standing.left())
        assert await names(ben) == ["Books"] and await files(ben) == ["a.ecf"]


async def test_b_rem_4_refused_for_a_file_on_a_network_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Books", None)
        await subscribed(anna, ben)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await meet(anna, ben)
        assert not on_network(anna.desk)
        monkeypatch.setattr("p2psync.node.removal.on_network", lambda path: path == anna.desk)
        with pytest.raises(RemovalBlockedByDrive, match=r"a\.ecf is on a network drive"):
            await anna.service.mandate_remove("Books")
        assert await names(anna) == ["Books"]
        monkeypatch.undo()
        assert (await anna.service.mandate_remove("Books"))["case"] == "all-here"


# -- B-REM-5 --------------------------------------------------------------------------------------


async def test_b_rem_5_closed_for_everyone_also_who_was_off_line(tmp_path: Path) -> None:
    """The accounting is here: pending and posted records keep nobody from it."""
    async with running(tmp_path / "carl") as carl:
        async with office(tmp_path) as (anna, ben):
            await carl.service.identity_set("Carl")
            ticket = await invited(anna)
            async with linked(anna, carl):
                await carl.service.subscribe(ticket, None, None, None)
                await in_step(anna, carl)
            await meet(anna, ben)
            assert await anna.pending() == (7, 0)
            async with linked(anna, ben):
                said = await anna.service.mandate_remove("Books")
                assert (said["case"], said["how"], said["told"]) == ("accounting-here", "closed", 2)
                await ben.until(lambda: ben.opened().closed)
                await anna.until(lambda: told(anna, ben))
                await anna.node.runner.flushed()
            assert [each.id for each in anna.node.removal.in_engine()] == [ben.opened().id]
        # Anna's machine was started anew; Carl was not there until now.
        assert (await state(carl))["state"] != "closed"
        async with running(tmp_path / "anna") as anna:
            assert await names(anna) == []
            async with linked(anna, carl):
                await carl.until(lambda: carl.opened().closed)
                await anna.until(lambda: not anna.node.removal.in_engine())
            shown = await state(carl)
            assert shown["state"] == "closed"
            assert "Anna closed it for everyone" in shown["cause"]["text"]
            assert shown["action"] == "remove"
            (alert,) = await events(carl, "mandate-closed")
            assert (alert["params"]["who"], alert["action"]) == ("Anna", "remove")
            assert await carl.alerts() == ["mandate-closed"]


async def test_b_rem_5_in_a_closed_mandate_nothing_is_taken_up_and_reading_works(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        said = await anna.service.mandate_close("Books")
        assert said["state"] == "closed"
        await meet(anna, ben)
        ben.file("a.ecf", V2)
        anna.copy("a.ecf").write_bytes(V2)
        for machine in (anna, ben):
            await machine.look()
            assert (await state(machine))["state"] == "closed"
            assert await machine.pending() == (7, 0), "reading is never blocked"
            assert await files(machine) == ["a.ecf", "atelier_2025.crp"]
            assert machine.node.targets() == {}
            assert await machine.alerts() == ["mandate-closed"]
        assert (await state(anna))["action"] == "reopen"
        versions = (await ben.service.history("Books", "a.ecf", None))["versions"]
        again = str(ben.desk / "again")
        await ben.service.restore("Books", "a.ecf", versions[0]["version"], again)
        tips = [machine.opened().replica.tips() for machine in (anna, ben)]
        refused: list[Callable[[], Awaitable[object]]] = [
            lambda: ben.service.attach("Books", [again], "other", None, None),
            lambda: ben.service.detach("Books", "a.ecf"),
            lambda: ben.service.restore("Books", "a.ecf", versions[0]["version"], None),
            lambda: anna.service.post("Books", [], None),
            lambda: anna.service.post("Books", [], str(anna.desk / "out")),
            lambda: anna.service.invite("Books", "writer", 3600, 1, None, True),
            lambda: anna.service.mandate_rename("Books", "Cooks"),
            lambda: anna.service.mandate_close("Books"),
        ]
        for command in refused:
            with pytest.raises(MandateIsClosed, match="Anna"):
                await command()
        assert tips == [machine.opened().replica.tips() for machine in (anna, ben)]
        assert not (anna.desk / "out").exists()


async def test_b_rem_5_reopening_brings_all_back_and_takes_up_what_was_saved(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.mandate_close("Books")
        await meet(anna, ben)
        ben.file("a.ecf", V2)
        await ben.look()
        with pytest.raises(NotAllowed, match="reopen"):
            await ben.service.mandate_reopen("Books")
        await anna.service.mandate_reopen("Books")
        await meet(anna, ben)
        for machine in (anna, ben):
            assert (await state(machine))["state"] in ("ok", "offline")
            assert await machine.pending() == (8, 0)
            assert machine.copy("a.ecf").read_bytes() == V2
            assert await machine.alerts() == []
            assert len(await events(machine, "mandate-reopened")) == 1
        assert ben.desk in ben.node.targets()
        with pytest.raises(MandateNotClosed):
            await anna.service.mandate_reopen("Books")


async def test_b_rem_5_undo_after_a_restart_for_30_days(tmp_path: Path) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben), linked(anna, ben):
        await anna.service.mandate_remove("Books")
        await ben.until(lambda: ben.opened().closed)
    await clock.advance(UNDO_SECONDS - 3600)
    async with (
        running(tmp_path / "anna", clock=clock) as anna,
        running(tmp_path / "ben", clock=clock) as ben,
    ):
        assert await names(anna) == []
        await anna.service.mandate_restore("Books")
        await anna.look()
        assert await anna.pending() == (7, 0)
        await meet(anna, ben)
        assert not ben.opened().closed
        assert ben.device not in anna.opened().state.standing.left()
        assert anna.opened().state.standing.left() == frozenset()
        assert await ben.alerts() == []
        ben.file("a.ecf", V2)
        await ben.look()
        await meet(anna, ben)
        assert anna.copy("a.ecf").read_bytes() == V2
        with pytest.raises(RemovedUnknown):
            await anna.service.mandate_restore("Books")


async def test_b_rem_5_after_30_days_it_is_purged_and_what_is_not_ours_stays(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben):
        mandate = anna.opened().id
        async with linked(anna, ben):
            await anna.service.mandate_remove("Books")
            await ben.until(lambda: ben.opened().closed)
            await anna.until(lambda: not anna.node.removal.in_engine())
        folder = folder_of(anna.root)
        (folder / "notes.txt").write_text("mine")
        (folder / "atelier_2025.crp").write_bytes(CRP + b"changed")
        await clock.advance(UNDO_SECONDS + 1)
        await anna.until(lambda: not anna.node.removal.hidden)
        assert sorted(path.name for path in folder.iterdir()) == ["atelier_2025.crp", "notes.txt"]
        assert (anna.desk / "atelier_2025.crp").read_bytes() == CRP
        assert (await anna.service.removed_list())["mandates"] == []
        assert not (anna.root / HOME / "versions" / mandate.hex()).exists()
        with pytest.raises(RemovedUnknown):
            await anna.service.mandate_restore("Books")
    async with running(tmp_path / "anna", clock=clock) as anna:
        assert not anna.node.removal.hidden and await names(anna) == []


async def test_b_rem_5_no_setting_of_what_was_purged_stays(tmp_path: Path) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben):
        mandate = anna.opened().id
        bundle = str(tmp_path / "bens.p2psync-bundle")
        await ben.service.bundle_export("Books", bundle, None, None)
        await anna.service.bundle_import(bundle)
        await anna.store.put_setting(key_of(mandate), "{}")
        before = [key for key in await anna.store.settings() if mandate.hex() in key]
        assert {key.partition(":")[0] for key in before} >= {"bundle", "retention"}
        async with linked(anna, ben):
            await anna.service.mandate_remove("Books")
            await ben.until(lambda: ben.opened().closed)
            await anna.until(lambda: not anna.node.removal.in_engine())
        await clock.advance(UNDO_SECONDS + 1)
        await anna.until(lambda: not anna.node.removal.hidden)
        assert [key for key in await anna.store.settings() if mandate.hex() in key] == []


async def test_b_rem_5_it_is_kept_until_the_last_member_was_told(tmp_path: Path) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben):
        await anna.service.mandate_remove("Books")
    await clock.advance(3 * UNDO_SECONDS)
    async with (
        running(tmp_path / "anna", clock=clock) as anna,
        running(tmp_path / "ben", clock=clock) as ben,
    ):
        assert len(anna.node.removal.hidden) == 1
        assert (await anna.service.removed_list())["mandates"] == [], "it cannot be undone"
        with pytest.raises(UndoTooLate):
            await anna.service.mandate_restore("Books")
        async with linked(anna, ben):
            await ben.until(lambda: ben.opened().closed)
            await anna.until(lambda: not anna.node.removal.hidden)
        assert not folder_of(anna.root).exists()


async def test_b_rem_5_a_ticket_of_a_closed_mandate_says_so(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        await anna.service.mandate_close("Books")
        async with linked(anna, ben):
            with pytest.raises(TicketClosed):
                await ben.service.subscribe(ticket, None, None, None)
        assert await names(ben) == []


async def test_b_rem_5_removing_a_closed_mandate_keeps_it_closed_after_the_undo(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.mandate_close("Books")
        await meet(anna, ben)
        await ben.service.mandate_remove("Books")
        assert await names(ben) == [] and await ben.alerts() == []
        await ben.service.mandate_restore("Books")
        assert (await state(ben))["state"] == "closed"
        await meet(anna, ben)
        assert await files(ben) == await files(anna) == ["a.ecf", "atelier_2025.crp"]


# -- B-REM-6 --------------------------------------------------------------------------------------


async def test_b_rem_6_it_leaves_this_device_and_goes_on_for_the_others(tmp_path: Path) -> None:
    """Ben's postings are pending and posted: the accounting keeps what it posted."""
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        ben.file("a.ecf", V2)
        await ben.look()
        said = await ben.service.mandate_remove("Books")
        assert (said["case"], said["how"]) == ("accounting-elsewhere", "left")
        assert said["detaches"] == ["a.ecf"]
        assert (ben.desk / "a.ecf").read_bytes() == V2
        assert "a.ecf" in await files(anna)
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.look()
        async with linked(anna, ben):
            left = ben.device
            await anna.until(lambda: left in anna.opened().state.standing.left())
            await anna.rest()
            await ben.until(lambda: not ben.node.removal.in_engine())
            assert await files(anna) == ["atelier_2025.crp"]
            assert not anna.copy("a.ecf").exists()
            # Who has left is not waited for, whether it is there or not.
            assert (await anna.service.wait("Books", True, 5))["members"] == 0
        (member,) = [
            each
            for each in (await anna.service.member_list("Books"))["members"]
            if each["device"] == left.hex()
        ]
        assert (member["left"], member["online"]) == (True, False)
        assert (await state(anna))["state"] == "ok", "nobody is missed"
        assert [each["params"]["who"] for each in await events(anna, "member-left")] == ["Ben"]
        assert len((await anna.service.receipts("Books"))["receipts"]) == 1
        assert await anna.alerts() == []
        assert await names(anna) == ["Books"] and await names(ben) == []


async def test_b_rem_6_undo_attaches_its_files_again(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await ben.service.attach("Books", [ben.file("b.ecf", V1)], "invoicing", None, None)
        await ben.service.attach("Books", [ben.file("c.pdf", b"c")], "other", None, None)
        await meet(anna, ben)
        await ben.service.detach("Books", "c.pdf")
        await ben.service.mandate_remove("Books")
        ben.file("a.ecf", V2)
        async with linked(anna, ben):
            left = ben.device
            await anna.until(lambda: left in anna.opened().state.standing.left())
        await ben.service.mandate_restore("Books")
        await ben.rest()
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await files(machine) == ["a.ecf", "atelier_2025.crp", "b.ecf"]
            assert machine.copy("a.ecf").read_bytes() == V2
            assert not machine.copy("c.pdf").exists()
        assert len(await events(anna, "member-returned")) == 1
        assert anna.opened().state.standing.left() == frozenset()


async def test_b_rem_6_undo_is_refused_while_a_file_belongs_to_another_mandate(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (_, ben):
        await ben.service.mandate_remove("Books")
        await ben.service.mandate_create("Mine", None)
        await ben.service.attach("Mine", [str(ben.desk / "a.ecf")], "invoicing", None, None)
        with pytest.raises(AttachedAlready, match="Mine"):
            await ben.service.mandate_restore("Books")
        assert await names(ben) == ["Mine"]
        await ben.service.detach("Mine", "a.ecf")
        await ben.service.mandate_restore("Books")
        assert await names(ben) == ["Books", "Mine"]


@pytest.mark.parametrize("purged", [False, True])
async def test_b_rem_6_it_may_be_subscribed_to_again_by_a_new_ticket(
    tmp_path: Path, purged: bool
) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben):
        await ben.service.mandate_remove("Books")
        async with linked(anna, ben):
            left = ben.device
            await anna.until(lambda: left in anna.opened().state.standing.left())
            await ben.until(lambda: not ben.node.removal.in_engine())
        if purged:
            await clock.advance(UNDO_SECONDS + 1)
            await ben.until(lambda: not ben.node.removal.hidden)
        ticket = await invited(anna)
        async with linked(anna, ben):
            path = str(ben.desk / "a.ecf")
            await ben.service.subscribe(ticket, None, path, "invoicing")
            await ben.until(lambda: not ben.opened().state.standing.left())
            await in_step(anna, ben)
        assert await names(ben) == ["Books"]
        assert ben.opened().replica.is_member(ben.device)
        for machine in (anna, ben):
            assert machine.opened().state.standing.left() == frozenset()
            assert await files(machine) == ["a.ecf", "atelier_2025.crp"]
            assert machine.copy("a.ecf").read_bytes() == V1
        members = (await anna.service.member_list("Books"))["members"]
        assert [each["left"] for each in members] == [False, False]


async def test_b_rem_6_with_the_seat_handed_over_the_accounting_counts_as_elsewhere(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        crp = ben.file("more.crp", CRP.replace(b"2025", b"2026"))
        await anna.service.seat_hand("Books", "Ben")
        await meet(anna, ben)
        await ben.service.attach("Books", [crp], "accounting", None, "atelier_2025.crp")
        await meet(anna, ben)
        said = await anna.service.removal_plan("Books")
        assert (said["case"], said["how"]) == ("accounting-elsewhere", "left")
        assert (await ben.service.removal_plan("Books"))["how"] == "closed"


# -- crashes --------------------------------------------------------------------------------------


async def remove(machine: Machine) -> None:
    await machine.service.mandate_remove("Books")


async def undo(machine: Machine) -> None:
    await machine.service.mandate_restore("Books")


@pytest.mark.parametrize("story", [remove, undo])
async def test_b_rem_6_a_power_cut_leaves_before_or_after(
    tmp_path: Path, story: Callable[[Machine], Awaitable[None]]
) -> None:
    for before in range(30):
        root = tmp_path / str(before)
        async with office(root) as (_, ben):
            if story is undo:
                await remove(ben)
        was_cut = False
        try:
            async with running(root / "ben", before) as ben:
                await story(ben)
        except* (PowerCut, NodeEnding):
            was_cut = True
        async with running(root / "ben") as ben, running(root / "anna") as anna:
            await ben.look()
            listed = await names(ben)
            removed = [each["name"] for each in (await ben.service.removed_list())["mandates"]]
            assert sorted(listed + removed) == ["Books"]
            (opened,) = [*ben.node.opened.values(), *ben.node.removal.hidden.values()]
            gone = ben.device in opened.state.standing.left()
            assert gone == (removed == ["Books"])
            mine = [file for file in opened.state.files.values() if file.device == ben.device]
            assert [file.present for file in mine] == [not gone]
            assert (ben.desk / "a.ecf").read_bytes() == V1
            if listed:
                assert ben.copy("a.ecf").read_bytes() == V1
                await meet(anna, ben)
            if not was_cut:
                assert bool(listed) == (story is undo)
                return
    raise AssertionError("the story never ended")


async def test_b_rem_5_a_power_cut_while_purging_is_made_up_for(tmp_path: Path) -> None:
    clock = FakeClock()
    for before in range(30):
        root = tmp_path / str(before)
        async with running(root) as anna:
            await founded(anna)
            await anna.service.mandate_remove("Books")
        clock.ms += (UNDO_SECONDS + 1) * 1000
        was_cut = False
        try:
            async with running(root, before, clock) as anna:
                await anna.until(lambda: not anna.node.removal.hidden)
                await anna.node.runner.flushed()
        except* (PowerCut, NodeEnding):
            was_cut = True
        async with running(root, None, clock) as anna:
            await anna.until(lambda: not anna.node.removal.hidden)
            assert not folder_of(root).exists()
            assert (anna.desk / "atelier_2025.crp").read_bytes() == CRP
        if not was_cut:
            return
    raise AssertionError("the story never ended")


async def test_b_rem_4_after_cancelling_with_the_accounting_gone_too(tmp_path: Path) -> None:
    """B-REM-4 and 6: with the accounting elsewhere nothing has to be cancelled first."""
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        assert (await ben.service.removal_plan("Books"))["blocking"] == []
        await cancelled(anna, ben)
        assert (await ben.service.mandate_remove("Books"))["how"] == "left"
