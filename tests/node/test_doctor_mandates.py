"""B-NET-5: doctor names what is wrong with mandates, members and files."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from p2psync.core import ops
from p2psync.engine import wire
from p2psync.engine.handshake import Handshake
from p2psync.engine.replica import Replica
from p2psync.errors import DiskFull, FileBusy, FileTooLarge
from p2psync.node import doctor as doctor_module
from p2psync.node import node as node_module
from p2psync.node.diagnosis import (
    FileFacts,
    MandateFacts,
    MemberFacts,
    Snapshot,
    judge,
)
from p2psync.node.runner import wall_ms
from tests.fakes.clock import FakeClock
from tests.node.doctor_rig import examined, finding, until_found
from tests.node.rig import (
    PATIENCE_SECONDS,
    V1,
    V2,
    founded,
    in_step,
    invited,
    linked,
    running,
)
from tests.rules.offices import office

DAY_MS = 24 * 3600 * 1000

# -- mandates and members ---------------------------------------------------------------------


async def test_doctor_names_mandate_offline(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.until(lambda: not anna.node.engine.meets_anybody(ben.opened().id))
        found = await finding(anna, "mandate-offline")
        assert found["mandate"] == "Books" and "other machine is on" in found["hint"]


async def test_doctor_names_member_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path) as (anna, _):
        await anna.rest()
        with trio.fail_after(PATIENCE_SECONDS):
            while not await anna.store.last_seen(anna.opened().id):
                await trio.sleep(0.01)
        monkeypatch.setattr(doctor_module, "wall_ms", lambda: wall_ms() + 8 * DAY_MS)
        found = await finding(anna, "member-away")
        assert (found["where"], found["mandate"]) == ("Ben", "Books")
        assert "8 days" in found["text"] and found["since"]


async def test_doctor_names_mandate_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2psync.node.tickets.ADMISSION_SECONDS", 0)
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await ben.service.subscribe(await invited(anna), None, None, None)
        found = await finding(ben, "mandate-waiting")
        assert "owner or accounting" in found["hint"]


async def test_doctor_names_ticket_revoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psync.node.tickets.ADMISSION_SECONDS", 0)
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        (invitation,) = (await anna.service.invite_list("Books"))["invitations"]
        await anna.service.invite_revoke("Books", invitation["id"])
        await ben.service.subscribe(ticket, None, None, None)
        async with linked(anna, ben):
            await ben.until(lambda: bool(ben.opened().refused))
            found = await until_found(ben, "ticket-revoked")
        assert "new ticket" in found["hint"]


async def test_doctor_names_removed_by_others(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await anna.service.member_remove("Books", "Ben")
        await ben.until(lambda: ben.opened().expelled or bool(ben.opened().row.state))
        found = await until_found(ben, "removed-by-others")
        assert "Anna" in found["text"] and "readmit" in found["hint"]


async def test_doctor_names_mandate_closed(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        await machine.service.mandate_close("Books")
        found = await finding(machine, "mandate-closed")
        assert (found["severity"], found["where"]) == ("note", "Books")


async def test_doctor_names_seat_contested(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.mandate_create("Books", None)
        ticket = await invited(anna, "accounting")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        for machine, name in ((anna, "anna.crp"), (ben, "ben.crp")):
            path = machine.file(name, b"an accounting")
            await machine.service.attach("Books", [path], "accounting", None, None)
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                found = await finding(machine, "seat-contested")
                assert "settle" in found["hint"] and found["since"]


async def test_doctor_names_other_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path) as (anna, ben):
        greet = Handshake.greet

        def other(handshake: Handshake, software: str) -> wire.Hello:
            hello = greet(handshake, software)
            is_ben = handshake.me == ben.device
            return replace(hello, version=wire.VERSION + 1) if is_ben else hello

        monkeypatch.setattr(Handshake, "greet", other)
        async with linked(anna, ben):
            await anna.until(lambda: ben.device in anna.node.incompatible)
        found = await finding(anna, "other-protocol")
        assert (found["where"], found["about"]) == ("Ben", "member")
        assert "up to date" in found["hint"]


async def test_doctor_names_newer_version(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        promotes = ops.SetRole(anna.device, "reader")  # an operation for later
        await ben.node.author(ben.opened(), [promotes]).wait()
        await in_step(anna, ben)
        assert (await finding(anna, "newer-version"))["severity"] == "note"


# -- files ------------------------------------------------------------------------------------


async def test_doctor_names_file_absent(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        (machine.desk / "atelier_2025.crp").unlink()
        await machine.look()
        await machine.until(lambda: not machine.node.missing.searching(machine.opened()))
        found = await finding(machine, "file-absent")
        assert (found["where"], found["about"]) == ("atelier_2025.crp", "file")
        assert "relink" in found["hint"] and found["since"]


async def test_doctor_names_not_a_regular_file(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.desk / "atelier_2025.crp"
        path.rename(machine.desk / "elsewhere.crp")
        path.mkdir()
        await machine.look()
        found = await finding(machine, "not-a-regular-file")
        assert str(path) in found["text"]


async def test_doctor_names_file_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.rest()

        async def busy(*_: object) -> None:
            raise FileBusy(path=path)  # its program writes all the time

        monkeypatch.setattr(machine.node.shelf, "_take", busy)
        machine.file("a.ecf", V2)
        machine.node.look_at_all()
        found = await until_found(machine, "file-busy")
        assert (found["where"], found["severity"]) == ("a.ecf", "note")
        monkeypatch.undo()
        await machine.rest()


async def test_doctor_names_file_in_the_way(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        (anna.opened().folder / "b.ecf").write_bytes(b"of somebody's own")
        await ben.service.attach("Books", [ben.file("b.ecf", V1)], "invoicing", None, None)
        async with linked(anna, ben):
            found = await until_found(anna, "file-in-the-way")
            assert found["where"] == "b.ecf" and "move it away" in found["hint"]


async def test_doctor_names_file_held_back(tmp_path: Path) -> None:
    async with office(tmp_path) as (_, ben):
        ben.file("a.ecf", b"".join(V1.splitlines(keepends=True)[:2]))
        await ben.look()
        found = await finding(ben, "file-held-back")
        assert found["where"] == "a.ecf" and "confirm" in found["hint"]


async def test_doctor_names_conflict(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        async with linked(anna, ben):
            path = ben.file("note.txt", b"at first")
            await ben.service.attach("Books", [path], "other", None, None)
            await in_step(anna, ben)
        anna.copy("note.txt").write_bytes(b"by anna")
        ben.file("note.txt", b"by ben")
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            found = await finding(anna, "conflict")
            assert found["where"] == "note.txt" and found["since"]


async def test_doctor_names_lines_unreadable(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1 + b"not\xff a line of it\r\n")
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.rest()
        found = await finding(machine, "lines-unreadable")
        assert (found["where"], found["severity"]) == ("a.ecf", "note")


async def test_doctor_names_format_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("invoices.bin", b"\x00\x01 no exchange file")
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.rest()
        found = await finding(machine, "format-refused")
        assert found["where"] == "invoices.bin" and "no exchange file" in found["text"]


def test_doctor_names_content_on_its_way() -> None:
    """It is told only while nobody is there who may have it."""
    file = FileFacts("plan.pdf", incoming=(3, 10))
    mandate = MandateFacts("id", "Books", "ok", files=[file])
    [found] = judge(Snapshot(wall_ms=1, mandates=[mandate]))
    assert (found.code, found.where, found.mandate) == ("content-on-its-way", "plan.pdf", "Books")
    assert "3 of 10" in found.text
    there = replace(mandate, members=[MemberFacts("Ben", is_online=True)])
    assert judge(Snapshot(wall_ms=1, mandates=[there])) == []


async def refused(
    tmp_path: Path, code: str, licence: str, refuse: list[str], minimums: dict[str, str]
) -> None:
    """Have a policy refuse a program, and see that doctor says so."""
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.service.program_register("Books", "a.ecf", "Billing", "16.2", licence)
        await machine.service.policy_set("Books", refuse, minimums)
        await machine.rest()
        found = [each for each in await examined(machine) if each["code"] == code]
        assert "a.ecf" in [each["where"] for each in found]
        assert {each["about"] for each in found} == {"file"}


async def test_doctor_names_program_trial(tmp_path: Path) -> None:
    await refused(tmp_path, "program-trial", "trial", ["trial"], {})


async def test_doctor_names_program_no_updates(tmp_path: Path) -> None:
    await refused(tmp_path, "program-no-updates", "no-updates", ["no-updates"], {})


async def test_doctor_names_program_too_old(tmp_path: Path) -> None:
    await refused(tmp_path, "program-too-old", "valid", [], {"Billing": "17"})


async def test_doctor_names_program_unknown(tmp_path: Path) -> None:
    await refused(tmp_path, "program-unknown", "unknown", ["unknown"], {})


async def test_doctor_names_source_silent(tmp_path: Path) -> None:
    clock = FakeClock()
    async with office(tmp_path, clock=clock) as (anna, ben), linked(anna, ben):
        await anna.service.expect("Books", "a.ecf", 7 * DAY_MS // 1000)
        await in_step(anna, ben)
        await clock.advance(7.1 * DAY_MS / 1000)
        found = await until_found(anna, "source-silent")
        assert (found["where"], found["mandate"]) == ("a.ecf", "Books")
        assert "ask why it is late" in found["hint"]


async def test_doctor_names_deletion_held(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        ben.file("a.ecf", b"".join(V1.splitlines(keepends=True)[:2]))
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            found = await until_found(anna, "deletion-held")
            assert found["where"] == "a.ecf" and found["hint"] == "confirm the save"


async def test_doctor_names_mandate_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "RECOVER_SECONDS", 0.05)
    async with running(tmp_path) as machine:
        await founded(machine)
        real = machine.node.store.load

        async def load(replica: Replica) -> None:
            replica.load([b"damaged"])
            await real(replica)

        machine.node.store.load = load  # type: ignore[method-assign] # a damaged disk
        machine.node.runner._break(DiskFull(path="x"))
        found = await until_found(machine, "mandate-unreadable")
        assert "backup" in found["hint"] and found["severity"] == "fault"


async def test_doctor_names_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is met by a file alone and has no row of its own is told in the error's words."""
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.rest()

        async def fails(*_: object) -> None:
            raise FileTooLarge(path=path, size_bytes=9, limit_bytes=8)

        monkeypatch.setattr(machine.node.shelf, "_take", fails)
        machine.file("a.ecf", V2)
        machine.node.look_at_all()
        found = await until_found(machine, "cannot-read")
        assert found["where"] == "a.ecf" and "too large" in found["text"] and found["since"]
