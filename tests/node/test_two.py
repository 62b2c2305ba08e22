"""Two nodes with real files, joined by links in memory: what people on both sides see."""

from pathlib import Path

import pytest

from p2psync.errors import OutputExists, TicketError, TicketForeign, TicketRevoked, TicketUsedUp
from tests.node.rig import V1, V2, Machine, founded, in_step, invited, linked, running

LINES = V1.splitlines(keepends=True)


async def joined(anna: Machine, ben: Machine) -> None:
    """Anna has the accounting, Ben the invoicing."""
    await founded(anna)
    ticket = await invited(anna)
    await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
    await in_step(anna, ben)


async def test_the_source_sees_what_became_of_its_postings(tmp_path: Path) -> None:
    """B-POS-4: generated, delivered, posted."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben)
            assert (await ben.shown("a.ecf"))["delivered"] is True
        ben.file("a.ecf", V2)
        await ben.look()
        assert (await ben.shown("a.ecf"))["delivered"] is False
        async with linked(anna, ben):
            await in_step(anna, ben)
            assert (await ben.shown("a.ecf"))["delivered"] is True
            await anna.service.post("Books", [], None)
            await in_step(anna, ben)
        (receipt,) = (await ben.service.receipts("Books"))["receipts"]
        assert (receipt["added"], receipt["state"]) == (8, "posted")
        assert await ben.pending() == (0, 0)


async def test_people_without_a_name_are_shown_by_their_machine(tmp_path: Path) -> None:
    """B-MAN-2: anonymous in a local mandate; a shared one tells machines apart."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        (member,) = (await anna.service.mandate_show("Books"))["members"]
        assert member["name"] == "Anonymous"
        anna.node.identity.machine = ben.node.identity.machine = "vm"
        ticket = await invited(anna)
        await ben.service.identity_set("Ben")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        members = (await anna.service.mandate_show("Books"))["members"]
        assert [member["name"] for member in members] == [members[0]["machine"], "Ben"]


async def test_both_sides_of_a_record_file_are_merged(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben)
        anna.copy("a.ecf").write_bytes(V1 + LINES[2].replace(b"2340.00", b"1.00"))
        ben.file("a.ecf", b"".join([*LINES[:3], *LINES[4:]]))
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        expected = [*LINES[:3], *LINES[4:], LINES[2].replace(b"2340.00", b"1.00")]
        assert anna.copy("a.ecf").read_bytes() == b"".join(expected)
        assert (ben.desk / "a.ecf").read_bytes() == b"".join(expected)
        assert await anna.pending() == await ben.pending() == (7, 0)


async def test_both_sides_of_any_other_file_are_kept_until_one_is_chosen(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben)
            path = ben.file("note.txt", b"at first")
            await ben.service.attach("Books", [path], "other", None, None)
            await in_step(anna, ben)
        anna.copy("note.txt").write_bytes(b"by anna")
        ben.file("note.txt", b"by ben")
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                shown = await machine.shown("note.txt")
                assert shown["state"] == "conflict"
                assert [problem["code"] for problem in shown["problems"]] == ["conflict"]
                texts = {p.read_bytes() for p in machine.opened().folder.glob("note*.txt")}
                assert texts == {b"by anna", b"by ben"}
                assert await machine.alerts() == ["conflict"]
            versions = (await anna.service.history("Books", "note.txt", None))["versions"]
            first = versions[-1]["version"]
            await anna.service.restore("Books", "note.txt", first, None)
            await in_step(anna, ben)
        for machine in (anna, ben):
            assert (await machine.shown("note.txt"))["state"] == "ok"
            assert [p.read_bytes() for p in machine.opened().folder.glob("note*.txt")] == [
                b"at first"
            ]
            assert await machine.alerts() == []


async def test_a_reader_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(await invited(anna, "reader"), None, None, None)
            path = anna.file("a.ecf", V1)
            await anna.service.attach("Books", [path], "invoicing", None, None)
            await in_step(anna, ben)
            ben.copy("a.ecf").write_bytes(V2)
            await ben.look()
            await in_step(anna, ben)
            assert await anna.pending() == await ben.pending() == (7, 0)
            assert ben.copy("a.ecf").read_bytes() == V2
            assert await ben.alerts() == ["change-not-allowed"]
            ben.copy("a.ecf").unlink()
            await ben.look()
            assert ben.copy("a.ecf").read_bytes() == V1
            assert await ben.alerts() == []


async def test_a_ticket_is_redeemed_once_and_a_refusal_leaves_nothing(tmp_path: Path) -> None:
    """B-TIC-3."""
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        running(tmp_path / "carl") as carl,
    ):
        await founded(anna)
        ticket = await invited(anna)
        async with linked(anna, ben), linked(anna, carl):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
            with pytest.raises(TicketUsedUp):
                await carl.service.subscribe(ticket, None, None, None)
            assert (await carl.service.mandate_list())["mandates"] == []
            assert await carl.alerts() == []
            assert list(carl.node.mandates_folder.iterdir()) == []
            revoked = await invited(anna)
            (*_, invitation) = (await anna.service.invite_list("Books"))["invitations"]
            await anna.service.invite_revoke("Books", invitation["id"])
            with pytest.raises((TicketRevoked, TicketForeign)):
                await carl.service.subscribe(revoked, None, None, None)
            again = await invited(anna)
            await carl.service.subscribe(again, None, None, None)
            await in_step(anna, ben, carl)
        assert len(anna.opened().state.membership.members) == 3


async def test_a_ticket_refused_behind_ones_back_can_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2psync.node.tickets.ADMISSION_SECONDS", 0)
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        (invitation,) = (await anna.service.invite_list("Books"))["invitations"]
        await anna.service.invite_revoke("Books", invitation["id"])
        answer = await ben.service.subscribe(ticket, None, None, None)
        assert (answer["state"], answer["name"]) == ("waiting", "Books")
        async with linked(anna, ben):
            await ben.until(lambda: bool(ben.opened().refused))
        (listed,) = (await ben.service.mandate_list())["mandates"]
        assert (listed["state"], listed["action"]) == ("refused", "new-ticket")
        assert await ben.alerts() == ["ticket-refused"]
        async with linked(anna, ben):
            await ben.service.subscribe(await invited(anna), None, None, None)
            await in_step(anna, ben)
        (listed,) = (await ben.service.mandate_list())["mandates"]
        assert listed["state"] in ("ok", "offline")
        assert await ben.alerts() == []


async def test_a_ticket_of_another_mandate_is_foreign(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        with pytest.raises(TicketError):
            await anna.service.subscribe("no ticket at all", None, None, None)
        assert (await anna.service.mandate_list())["mandates"] == []


async def test_an_output_is_never_overwritten(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        machine.file("out", b"mine")
        out = machine.desk / "out"
        with pytest.raises(OutputExists):
            await machine.service.post("Books", [], str(out))
        assert await machine.pending() == (7, 0)
        assert out.read_bytes() == b"mine"
        machine.file("out2.deleted", b"of another day")
        with pytest.raises(OutputExists):
            await machine.service.post("Books", [], str(machine.desk / "out2"))
        assert not (machine.desk / "out2").exists()
        await machine.service.post("Books", [], str(machine.desk / "out3"))
        machine.file("a.ecf", b"".join(LINES[:-1]))
        await machine.look()
        await machine.service.post("Books", [], str(machine.desk / "out4"))
        assert (machine.desk / "out3").read_bytes() == b"".join(LINES[2:])
        assert await machine.pending() == (0, 0)


async def test_a_receipt_taken_back_makes_its_records_wait_again(tmp_path: Path) -> None:
    """B-POS-5."""
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        made = await machine.service.post("Books", [], None)
        await machine.service.unpost("Books", made["receipt"])
        assert await machine.pending() == (7, 0)
        (receipt,) = (await machine.service.receipts("Books"))["receipts"]
        assert receipt["state"] == "retracted"
