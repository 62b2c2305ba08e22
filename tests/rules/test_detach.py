"""B-DET: files leave a mandate, and come back. Two real nodes; both sides are looked at."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2psync.errors import (
    AccountingNotDetachable,
    AttachedAlready,
    DetachBlocked,
    DetachedSeveral,
    FileDetachedAlready,
    NodeEnding,
    NoDetachedFile,
    NotAllowed,
)
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
from tests.rules.offices import cancelled, events, files, meet, office

BIG = bytes(range(256)) * 4000
HEADER = b"".join(V1.splitlines(keepends=True)[:2])


async def detached(anna: Machine, ben: Machine) -> None:
    """Ben's file is cancelled and detached, and Anna knows."""
    await anna.service.post("Books", [], None)
    await meet(anna, ben)
    await cancelled(anna, ben)
    await ben.service.detach("Books", "a.ecf")
    await meet(anna, ben)


async def test_b_det_1_an_accounting_is_not_detached(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        for machine in (anna, ben):
            with pytest.raises(AccountingNotDetachable, match="Books") as caught:
                await machine.service.detach("Books", "atelier_2025.crp")
            assert "p2psync mandate remove Books" in caught.value.hint
            assert await files(machine) == ["a.ecf", "atelier_2025.crp"]


async def test_b_det_1_payroll_and_other_files_are(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        for name, kind in (("a.ecs", "payroll"), ("a.pdf", "other")):
            await anna.service.attach("Books", [anna.file(name, BIG)], kind, None, None)
            await anna.service.detach("Books", name)
        assert await files(anna) == ["atelier_2025.crp"]


async def test_b_det_2_refused_with_a_list_while_records_are_pending(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        for machine in (anna, ben):
            with pytest.raises(DetachBlocked) as caught:
                await machine.service.detach("Books", "a.ecf")
            text = caught.value.text
            assert "detached from Books: 7 records wait to be posted: 2025-" in text
            assert "; 2025-" in text and "2340.00" in text and "are posted" not in text
            assert "unpost" in caught.value.hint
            assert "a.ecf" in await files(machine)
            assert machine.copy("a.ecf").exists()


async def test_b_det_2_refused_while_records_are_posted_until_they_are_cancelled(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        with pytest.raises(DetachBlocked, match=r"Books: 7 records are posted: 2025[^…]*$"):
            await ben.service.detach("Books", "a.ecf")
        # Deleted by the source, not by the accounting yet: to be taken back, and still posted.
        ben.file("a.ecf", HEADER)
        await ben.look()
        await ben.service.confirm("Books", "a.ecf")
        with pytest.raises(
            DetachBlocked, match=r"7 records are posted: 2025.*; 7 wait to be posted: 2025"
        ):
            await ben.service.detach("Books", "a.ecf")
        await cancelled(anna, ben)
        await ben.service.detach("Books", "a.ecf")
        await meet(anna, ben)
        assert await files(anna) == await files(ben) == ["atelier_2025.crp"]


async def test_b_det_2_a_long_list_is_cut(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        body = b"".join(V1.splitlines(keepends=True)[2:])
        await anna.service.attach(
            "Books", [anna.file("a.ecf", HEADER + body * 30)], "invoicing", None, None
        )
        await anna.service.mandate_share("Books")
        with pytest.raises(DetachBlocked, match=r"210 records wait to be posted: .*; …$") as caught:
            await anna.service.detach("Books", "a.ecf")
        assert caught.value.text.count(";") == 20


async def test_b_det_2_from_a_local_mandate_it_is_allowed(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.service.post("Books", [], None)
        anna.file("a.ecf", V2)
        await anna.look()
        await anna.service.detach("Books", "a.ecf")
        await anna.rest()
        assert await files(anna) == ["atelier_2025.crp"]
        assert await anna.alerts() == []


async def test_b_det_2_only_who_may_write_detaches(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.pdf", BIG)], "other", None, None)
        ticket = await invited(anna, "reader")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
            with pytest.raises(NotAllowed, match="detach files"):
                await ben.service.detach("Books", "a.pdf")
            assert "a.pdf" in await files(ben)


async def test_b_det_3_the_file_stays_its_copies_go_and_history_keeps_them(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await detached(anna, ben)
        own = ben.desk / "a.ecf"
        assert own.read_bytes() == HEADER
        for machine in (anna, ben):
            assert not machine.copy("a.ecf").exists()
            shown = await machine.service.mandate_show("Books")
            assert [each["name"] for each in shown["detached"]] == ["a.ecf"]
            versions = (await machine.service.history("Books", "a.ecf", None))["versions"]
            assert [version["records"] for version in versions] == [0, 7]
            assert not any(version["current"] for version in versions)
            again = machine.desk / "again"
            await machine.service.restore("Books", "a.ecf", versions[1]["version"], str(again))
            assert again.read_bytes() == V1
            with pytest.raises(FileDetachedAlready):
                await machine.service.restore("Books", "a.ecf", versions[1]["version"], None)
            (event,) = await events(machine, "file-detached")
            assert event["params"]["who"] == "Ben" and event["file"] == "a.ecf"
            assert (await machine.service.receipts("Books"))["receipts"][-1]["files"] == ["a.ecf"]
        # It is nobody's concern any more.
        assert str(own) not in {
            str(place / name) for place, found in ben.node.targets().items() for name in found
        }
        ben.file("a.ecf", V2)
        await ben.look()
        assert own.read_bytes() == V2
        assert len((await ben.service.history("Books", "a.ecf", None))["versions"]) == 2


async def test_b_det_3_a_file_that_is_synchronised_whole_is_kept_on_both_sides(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await ben.service.attach("Books", [ben.file("plan.pdf", BIG)], "other", None, None)
        await meet(anna, ben)
        assert anna.copy("plan.pdf").read_bytes() == BIG
        await anna.service.detach("Books", "plan.pdf")
        await meet(anna, ben)
        for machine in (anna, ben):
            assert not machine.copy("plan.pdf").exists()
            (version,) = (await machine.service.history("Books", "plan.pdf", None))["versions"]
            again = machine.desk / "again"
            await machine.service.restore("Books", "plan.pdf", version["version"], str(again))
            assert again.read_bytes() == BIG
        assert (ben.desk / "plan.pdf").read_bytes() == BIG


async def test_b_det_3_who_comes_later_need_not_have_what_is_detached(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.pdf", BIG)], "other", None, None)
        await anna.service.detach("Books", "a.pdf")
        await anna.rest()
        ticket = await invited(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
            assert await files(ben) == ["atelier_2025.crp"]
            # Both have it once it is attached again.
            await anna.service.reattach("Books", "a.pdf")
            await in_step(anna, ben)
            assert ben.copy("a.pdf").read_bytes() == BIG


async def test_b_det_3_who_was_off_line_takes_its_copies_away_too(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        await cancelled(anna, ben)
        await ben.service.detach("Books", "a.ecf")
        assert anna.copy("a.ecf").exists()
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.look()
        await meet(anna, ben)
        assert not anna.copy("a.ecf").exists()
        assert [each["params"]["who"] for each in await events(anna, "file-detached")] == ["Ben"]


async def test_b_det_3_undo_watches_again_and_takes_up_what_was_saved_meanwhile(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await detached(anna, ben)
        ben.file("a.ecf", V2)
        await ben.look()
        await ben.service.reattach("Books", str(ben.desk / "a.ecf"))
        await meet(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == V2
            assert await machine.pending() == (8, 0)
            (event,) = await events(machine, "file-reattached")
            assert event["params"]["who"] == "Ben"
        assert ben.desk in ben.node.targets()
        with pytest.raises(NoDetachedFile):
            await ben.service.reattach("Books", "a.ecf")


async def test_b_det_3_what_was_posted_stays_posted_when_it_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.service.post("Books", [], None)
        await anna.service.detach("Books", "a.ecf")
        await anna.service.reattach("Books", "a.ecf")
        await anna.rest()
        assert await anna.pending() == (0, 0)
        assert anna.copy("a.ecf").read_bytes() == V1


async def test_b_det_3_the_same_path_may_go_to_another_mandate_or_come_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_create("Other", None)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await anna.service.detach("Books", "a.ecf")
        await anna.service.attach("Other", [path], "invoicing", None, None)
        with pytest.raises(AttachedAlready, match="Other"):
            await anna.service.reattach("Books", "a.ecf")
        assert await files(anna) == ["atelier_2025.crp"]
        await anna.service.detach("Other", path)
        # Attached anew it is another file: nothing of it is posted.
        await anna.service.attach("Books", [path], "invoicing", None, None)
        anna.file("a.ecf", V2)
        await anna.look()
        assert (await anna.shown("a.ecf"))["records"] == 8
        folder = anna.node.opened[bytes.fromhex((await books(anna))["id"])].folder
        assert (folder / "a.ecf").read_bytes() == V2
        await anna.service.detach("Books", "a.ecf")
        with pytest.raises(DetachedSeveral) as caught:
            await anna.service.reattach("Books", "a.ecf")
        chosen = caught.value.params["ids"].split(", ")[0]
        assert (await anna.service.reattach("Books", chosen))["file"] == "a.ecf"


async def test_b_det_3_undone_elsewhere_while_the_file_belongs_to_another_mandate(
    tmp_path: Path,
) -> None:
    """B-ATT-4: the file on the disk stays with the other mandate, and its person is told."""
    async with office(tmp_path) as (anna, ben):
        await detached(anna, ben)
        books = ben.opened()
        ben.file("a.ecf", V1)
        await ben.service.mandate_create("Mine", None)
        await ben.service.attach("Mine", [str(ben.desk / "a.ecf")], "invoicing", None, None)
        await anna.service.reattach("Books", "a.ecf")
        async with linked(anna, ben):
            await ben.until(lambda: len(books.state.present_files()) == 2)
            await ben.rest()
        assert (ben.desk / "a.ecf").read_bytes() == V1, "it is not written for Books"
        assert (books.folder / "a.ecf").read_bytes() == HEADER
        assert await ben.alerts() == ["link-broken"]
        ben.file("a.ecf", V2)
        await ben.look()
        assert (await ben.shown("a.ecf", "Mine"))["records"] == 8
        assert (await ben.shown("a.ecf", "Books"))["records"] == 0
    async with running(tmp_path / "ben") as ben:
        await ben.look()
        assert (await ben.shown("a.ecf", "Books"))["records"] == 0


async def books(machine: Machine) -> dict[str, str]:
    return await machine.service.mandate_show("Books")


async def test_b_det_3_a_save_at_the_same_time_brings_it_back_with_an_alert(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        await cancelled(anna, ben)
        await anna.service.detach("Books", "a.ecf")
        await anna.rest()
        assert not anna.copy("a.ecf").exists()
        ben.file("a.ecf", V2)
        await ben.look()
        await meet(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == V2
            assert await machine.alerts() == ["file-returned"]
            assert (await events(machine, "file-returned"))[0]["action"] == "detach"
            assert await machine.pending() == (8, 0)


async def test_b_det_3_a_receipt_at_the_same_time_is_told(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        await cancelled(anna, ben)
        ben.file("a.ecf", V1)
        await ben.look()
        await meet(anna, ben)
        # Apart: Anna posts, Ben deletes the postings and detaches.
        await anna.service.post("Books", [], None)
        ben.file("a.ecf", HEADER)
        await ben.look()
        await ben.service.confirm("Books", "a.ecf")
        await ben.service.detach("Books", "a.ecf")
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await machine.alerts() == ["detached-posted"]
        receipt = (await anna.service.receipts("Books"))["receipts"][0]["receipt"]
        await anna.service.unpost("Books", receipt)
        await meet(anna, ben)
        for machine in (anna, ben):
            assert await machine.alerts() == []
            assert await files(machine) == ["atelier_2025.crp"]


async def test_b_det_3_a_copy_that_somebody_changed_is_not_taken_away(tmp_path: Path) -> None:
    """B-DET-3: a reader's own change is neither taken up nor lost."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.pdf", BIG)], "other", None, None)
        ticket = await invited(anna, "reader")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
            ben.copy("a.pdf").write_bytes(b"notes")
            await ben.look()
            await anna.service.detach("Books", "a.pdf")
            await in_step(anna, ben)
        assert ben.copy("a.pdf").read_bytes() == b"notes"
        assert len(await events(ben, "copy-left")) == 1
        assert await ben.alerts() == []


Story = Callable[[Machine], Awaitable[None]]


async def detach(machine: Machine) -> None:
    await machine.service.detach("Books", "a.pdf")
    await machine.rest()


async def reattach(machine: Machine) -> None:
    await machine.service.reattach("Books", "a.pdf")
    await machine.rest()


@pytest.mark.parametrize("story", [detach, reattach])
async def test_b_det_3_a_power_cut_leaves_before_or_after(tmp_path: Path, story: Story) -> None:
    for before in range(40):
        root = tmp_path / str(before)
        async with running(root) as anna:
            await founded(anna)
            await anna.service.attach("Books", [anna.file("a.pdf", BIG)], "other", None, None)
            if story is reattach:
                await detach(anna)
        was_cut = False
        try:
            async with running(root, before) as anna:
                await story(anna)
        except* (PowerCut, NodeEnding):
            was_cut = True
        async with running(root) as anna:
            await anna.look()
            present = "a.pdf" in await files(anna)
            assert anna.copy("a.pdf").exists() == present
            assert (anna.desk / "a.pdf").read_bytes() == BIG
            (version,) = (await anna.service.history("Books", "a.pdf", None))["versions"]
            again = anna.desk / "again"
            await anna.service.restore("Books", "a.pdf", version["version"], str(again))
            assert again.read_bytes() == BIG
            if not was_cut:
                assert present == (story is reattach)
                return
    raise AssertionError("the story never ended")


async def test_b_det_3_a_new_accounting_year_stays_with_the_mandate(tmp_path: Path) -> None:
    """B-DET-1: no period of the accounting can be taken out either."""
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("next.crp", CRP.replace(b"2025", b"2026"))
        await anna.service.attach("Books", [path], "accounting", None, "atelier_2025.crp")
        with pytest.raises(AccountingNotDetachable):
            await anna.service.detach("Books", "next.crp")


async def test_b_det_1_a_file_that_the_policy_refuses_can_be_detached(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await anna.service.policy_set("Books", ["trial"], {})
        await anna.service.program_register("Books", "a.ecf", "Billing", "1", "trial")
        anna.file("a.ecf", V2)
        await anna.look()
        assert "program-refused" in await anna.alerts()
        await anna.service.detach("Books", "a.ecf")
        await anna.rest()
        assert await files(anna) == ["atelier_2025.crp"]
        assert (anna.desk / "a.ecf").read_bytes() == V2
        assert await anna.alerts() == []
