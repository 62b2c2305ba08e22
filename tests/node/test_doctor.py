"""B-NET-5: doctor names the cause, the thing and the next step, of faults that are played here."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2psync.api.doctor import told
from p2psync.core import ops
from p2psync.engine import wire
from p2psync.engine.handshake import Handshake
from p2psync.engine.ports import DiscoverableMandate
from p2psync.errors import DiskFull, DiskReadOnly, FileBusy
from p2psync.i18n import places
from p2psync.network.address import parse_address
from p2psync.network.circuits import Circuits
from p2psync.network.connection import Connection
from p2psync.network.discovery import Announcer, LanDiscovery
from p2psync.network.ground_config import ProxyNews
from p2psync.network.identity import peer_id_text
from p2psync.network.proxy import Trouble
from p2psync.node import doctor as doctor_module
from p2psync.node import saving as saving_module
from p2psync.node.anonymous import report
from p2psync.node.diagnosis import (
    AlertFacts,
    FileFacts,
    MandateFacts,
    MemberFacts,
    Snapshot,
    judge,
)
from p2psync.node.doctor import Doctor
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.faults import ALERTS, FAULTS, SUBJECTS, found
from p2psync.node.online import Online
from p2psync.node.proxies import FILE as PROXY_FILE
from p2psync.node.runner import wall_ms
from p2psync.storage.notify import NoNotifier
from p2psync.storage.watcher import Watcher
from tests.fakes.circuits import FakeCircuits
from tests.node import doctor_table
from tests.node.rig import (
    PATIENCE_SECONDS,
    V1,
    V2,
    Machine,
    founded,
    in_step,
    invited,
    linked,
    running,
)
from tests.rules.offices import office

DAY_MS = 24 * 3600 * 1000
RELAY = "/dns4/relay.example/tcp/4001/p2p/" + peer_id_text(b"\x07" * 32)
PROXY = "http://office@proxy.example.ch:8080"


async def examined(machine: Machine, mandate: str | None = None) -> list[dict[str, Any]]:
    """What doctor finds, as people read it; every finding has a cause and a next step."""
    await machine.node.notices.kept()
    said = await machine.service.doctor(mandate)
    return checked(said)


def checked(said: dict[str, Any]) -> list[dict[str, Any]]:
    findings = [told(each, "en") for each in said["findings"]]
    for each in findings:
        assert each["text"] and each["hint"] and "{" not in each["text"] + each["hint"]
        assert each["code"] in FAULTS
        state = {check["about"]: check["state"] for check in said["checks"]}[each["about"]]
        assert state in (each["severity"], "fault")
    return findings


async def finding(machine: Machine, code: str) -> dict[str, Any]:
    """The one finding with a code."""
    found = await examined(machine)
    [one] = [each for each in found if each["code"] == code] or [{"none of": found}]
    assert "code" in one, found
    return one


async def until_found(machine: Machine, code: str) -> dict[str, Any]:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            found = [each for each in await examined(machine) if each["code"] == code]
            if found:
                return found[0]
            await trio.sleep(0.01)


# -- the table --------------------------------------------------------------------------------


def test_the_page_lists_what_doctor_can_find() -> None:
    """Run ``python -m tests.node.doctor_table`` after a fault or a test came or went."""
    assert doctor_table.written() == doctor_table.rows()


def test_every_test_plays_a_fault_of_the_table() -> None:
    assert set(doctor_table.played()) <= set(FAULTS)
    assert len(doctor_table.played()) >= 20


def test_every_alert_is_told_or_its_cause_is_looked_for() -> None:
    """An alert that doctor does not tell is raised by what it sees itself."""
    seen = {
        *("cannot-sync", "cannot-write", "conflict", "disk-failed", "file-unreadable"),
        *("identity-locked", "link-broken", "mandate-closed", "newer-version", "other-protocol"),
        *("program-refused", "proxy-refused", "relay-away", "removed-by-others"),
        *("save-held-back", "seat-contested", "ticket-refused"),
    }
    alerts = {name for name, each in EVENT_TYPES.items() if each.severity == "alert"}
    assert alerts == seen | set(ALERTS)


def test_every_fault_has_words_and_a_next_step() -> None:
    for code, fault in FAULTS.items():
        assert fault.template and fault.hint_template, code
        assert fault.subject in SUBJECTS


# -- this machine -----------------------------------------------------------------------------


async def test_nothing_is_wrong_with_a_node_that_is_well(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await in_step(anna, ben)
        said = await anna.service.doctor(None)
        assert said["findings"] == []
        assert {each["state"] for each in said["checks"]} == {"ok"}
        assert {"disk", "clock", "relay", "member", "file"} <= {
            each["about"] for each in said["checks"]
        }


async def test_doctor_names_identity_locked(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        await machine.service.mandate_share("Books")
        await machine.service.identity_lock("a long passphrase")
        found = await finding(machine, "identity-locked")
        assert "unlock" in found["hint"] and found["since"]


async def test_doctor_names_clock_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        monkeypatch.setattr(doctor_module, "wall_ms", lambda: wall_ms() - 2 * DAY_MS)
        found = await finding(machine, "clock-set-back")
        assert (found["about"], found["severity"]) == ("clock", "fault")


async def test_doctor_names_clock_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(tmp_path) as (anna, ben):
        with monkeypatch.context() as patched:
            ahead = wall_ms() + 2 * DAY_MS
            patched.setattr(saving_module, "wall_ms", lambda: ahead)
            ben.file("a.ecf", V2)
            await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            found = await finding(anna, "clock-wrong")
            assert (found["where"], found["mandate"]) == ("Ben", "Books")
            assert "Ben" in found["text"] and found["since"]


async def test_doctor_names_disk_full(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        machine.store.full = True
        with pytest.raises(DiskFull):
            await machine.service.mandate_rename("Books", "More")
        found = await finding(machine, "disk-full")
        assert found["about"] == "disk" and "free some space" in found["hint"]


async def test_doctor_names_disk_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)

        def refuse(_: object) -> None:
            raise DiskReadOnly(path="home.db")

        monkeypatch.setattr(machine.store, "commit", refuse)
        with pytest.raises(DiskReadOnly):
            await machine.service.mandate_rename("Books", "More")
        assert "read-only" in (await finding(machine, "disk-read-only"))["text"]


async def test_doctor_names_disk_silent(tmp_path: Path) -> None:
    """A network drive that is away does not answer for minutes; doctor does not wait for it."""
    async with running(tmp_path) as machine:
        await founded(machine)
        comes_back = threading.Event()

        def probe(path: Path) -> None:
            if path == machine.desk:
                comes_back.wait(PATIENCE_SECONDS)

        overview, alerts = machine.service._mandates.overview, machine.service.alerts
        doctor = Doctor(machine.node, overview, alerts, probe=probe, patience_seconds=0.1)
        found = checked(await doctor.examine(None))
        comes_back.set()
        assert [(each["code"], each["where"]) for each in found] == [
            ("disk-silent", str(machine.desk))
        ]


async def test_doctor_names_access_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        access = os.access  # who tests may be allowed everything
        monkeypatch.setattr(
            os,
            "access",
            lambda path, mode: str(path) != str(machine.desk) and access(path, mode),
        )
        found = await finding(machine, "access-denied")
        assert (found["about"], found["where"]) == ("folder", str(machine.desk))
        assert found["mandate"] == "Books"


async def test_doctor_names_folder_missing(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        shutil.rmtree(machine.desk)
        await machine.look()
        found = await finding(machine, "folder-missing")
        assert (found["about"], found["where"]) == ("file", "atelier_2025.crp")
        assert str(machine.desk) in found["text"] and "connect the drive" in found["hint"]


async def test_doctor_names_watcher_limit(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        watcher = Watcher(NoNotifier())  # as when the user's inotify instances are used up
        watcher.set_targets({machine.desk: frozenset(["atelier_2025.crp"])})
        machine.node.unwatched = watcher.unwatched
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            found = await until_found(machine, "watcher-limit")
            nursery.cancel_scope.cancel()
        assert (found["where"], found["severity"]) == (str(machine.desk), "note")
        assert "max_user_watches" in found["hint"]


# -- the network ------------------------------------------------------------------------------


async def test_doctor_names_network_off(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        machine.node.online = Online(machine.node, nursery, (), 0, lan=False)
        assert await examined(machine) == []  # a local mandate needs no network
        await machine.service.mandate_share("Books")
        assert (await finding(machine, "network-off"))["severity"] == "fault"


async def test_doctor_names_lan_off(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        online = Online(machine.node, nursery, ("/ip4/127.0.0.1/tcp/0",), 0, lan=False)
        machine.node.online = online
        await online.start()
        found = await finding(machine, "lan-off")
        assert "--no-lan" in found["text"]
        await online.stop()


async def test_doctor_names_lan_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "LAN_SECONDS", 0.1)

    def no_multicast(*_: object) -> Announcer:
        raise OSError("no multicast here")

    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        online = Online(machine.node, nursery, ("/ip4/127.0.0.1/tcp/0",), 0, lan=False)
        machine.node.online = online
        await online.start()
        discovery = LanDiscovery(
            machine.device, machine.node.addresses, lambda _: None, responder=no_multicast
        )
        discovery.update([DiscoverableMandate(b"k" * 32, ())])
        await nursery.start(discovery.run)
        machine.node.discovery = discovery
        found = await finding(machine, "lan-silent")
        assert "5353" in found["hint"]
        nursery.cancel_scope.cancel()


def test_doctor_names_not_callable() -> None:
    known = Snapshot(wall_ms=1, is_online=True, reach="private", port="4001")
    [found] = judge(known)
    assert (found.code, found.severity) == ("not-callable", "note")
    assert "TCP port 4001" in found.hint
    assert judge(replace(known, is_shared=False)) == []
    assert judge(replace(known, reach="public")) == []


async def test_doctor_names_relay_refused__for_a_wrong_token(tmp_path: Path) -> None:
    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        await machine.service.relay_add(f"{RELAY}/p2psync-token/2wrong")
        circuits = FakeCircuits(machine.node.relays.on_states, ("2right",))
        nursery.start_soon(machine.node.relays.run, circuits)
        found = await until_found(machine, "relay-refused")
        assert "relay.example" in found["where"] and "not known" in found["text"]
        assert "valid token" in found["hint"] and found["since"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("trouble", "cause"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "not known"),
    ],
    ids=["down", "unknown-host"],
)
async def test_doctor_names_relay_unreachable(tmp_path: Path, trouble: OSError, cause: str) -> None:
    async def connect(*_: object) -> Connection:
        raise trouble

    async with running(tmp_path) as machine, trio.open_nursery() as nursery:
        await founded(machine)
        await machine.service.mandate_share("Books")
        await machine.service.relay_add(RELAY)
        circuits = Circuits(connect, machine.node.relays.on_states)
        nursery.start_soon(machine.node.relays.run, circuits)
        found = await until_found(machine, "relay-unreachable")
        assert "relay.example" in found["where"] and cause in found["text"]
        assert found["since"]
        nursery.cancel_scope.cancel()


async def proxied(machine: Machine, trouble: Trouble, cause: str) -> None:
    """Have a proxy answer so to a call to a relay."""
    await founded(machine)
    await machine.service.mandate_share("Books")
    machine.node.proxy.load(machine.root / "home" / PROXY_FILE, PROXY, {})
    proxy = machine.node.proxy.current()
    assert proxy is not None
    relay = parse_address("/ip4/203.0.113.1/tcp/443/tls/ws")
    machine.node.proxy.on_news(ProxyNews(proxy, relay, trouble, cause))


async def test_doctor_names_proxy_refuses_relay(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "refused", "it answers 403")
        found = await finding(machine, "proxy-refuses-relay")
        assert "403" in found["text"] and "443" in found["hint"]


async def test_doctor_names_proxy_password_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "password-refused", "it asks for NTLM")
        found = await finding(machine, "proxy-password-refused")
        assert "NTLM" in found["text"]
        assert "proxy.example.ch" in found["where"]


async def test_doctor_names_proxy_unreachable(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await proxied(machine, "unreachable", "connection refused")
        assert (await finding(machine, "proxy-unreachable"))["since"]


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


async def test_doctor_names_program_trial(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Books", [path], "invoicing", None, None)
        await machine.service.program_register("Books", "a.ecf", "Billing", "16.2", "trial")
        await machine.service.policy_set("Books", ["trial"], {})
        await machine.rest()
        found = await finding(machine, "program-trial")
        assert found["where"] == "a.ecf" and "Billing 16.2" in found["text"]


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


# -- what is told, and in which order ---------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(ALERTS))
def test_an_open_alert_is_told_in_its_own_words(kind: str) -> None:
    alert = AlertFacts(kind, "2026-01-01T00:00:00+00:00", "{file} it is", {"file": "a"}, file="a")
    [found] = judge(Snapshot(wall_ms=1, alerts=[alert]))
    assert (found.code, found.text, found.where) == (kind, "a it is", "a")
    assert found.since == alert.at and found.hint


def codes(findings: Sequence[dict[str, Any]]) -> list[str]:
    return [each["code"] for each in findings]


async def test_one_mandate_is_looked_at_alone_and_causes_come_first(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine, "One")
        await machine.service.mandate_create("Two", None)
        path = machine.file("a.ecf", V1)
        await machine.service.attach("Two", [path], "invoicing", None, None)
        await machine.rest()
        (machine.desk / "a.ecf").unlink()
        await machine.look()
        assert codes(await examined(machine, "One")) == []
        assert codes(await examined(machine, "Two")) == ["file-absent"]
        machine.store.full = True
        with pytest.raises(DiskFull):
            await machine.service.mandate_rename("Two", "More")
        assert codes(await examined(machine)) == ["disk-full", "file-absent"]


async def test_the_report_names_nobody_and_nothing(tmp_path: Path) -> None:
    """What is sent to a helper holds no name, path, address or secret, and tells things apart."""
    async with office(tmp_path) as (anna, ben), trio.open_nursery() as nursery:
        path = ben.file("Müller AG salaries.ecf", V1)
        await ben.service.attach("Books", [path], "payroll", None, None)
        await ben.service.relay_add(RELAY + "/p2psync-token/2secret")
        circuits = FakeCircuits(ben.node.relays.on_states, ("2right",))
        nursery.start_soon(ben.node.relays.run, circuits)
        shutil.rmtree(ben.desk)
        await ben.look()
        await until_found(ben, "relay-refused")
        said = await ben.service.doctor(None)
        report = said["report"]
        text = str(report)
        for secret in ("Müller", "salaries", "a.ecf", "Anna", "Ben", "Books", "relay.example"):
            assert secret not in text
        for secret in (str(tmp_path), str(ben.desk), "2secret", ben.device.hex(), "desk"):
            assert secret not in text
        assert [each["code"] for each in report["findings"]] == codes(said["findings"])
        missing = [each for each in report["findings"] if each["code"] == "folder-missing"]
        assert len({each["where"] for each in missing}) == len(missing) == 2
        assert len({each["text"] for each in missing}) == 1  # one folder, two files
        assert anna.device.hex() not in text
        nursery.cancel_scope.cancel()


NAMES = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x4FFF), min_size=2)


@given(st.sampled_from(sorted(FAULTS)), NAMES, NAMES, st.data())
def test_no_report_holds_what_fills_a_text(
    code: str, where: str, mandate: str, data: st.DataObject
) -> None:
    """Whatever a fault is told with: only numbers and what the system says stay as they are."""
    fault = FAULTS[code]
    params = {
        name: data.draw(NAMES)
        for name in places(fault.template) | places(fault.hint_template) | {"cause", "version"}
    }
    one = found(code, where, params, mandate=mandate)
    told_of = report([one], [], {}, ["Permission denied"])
    text = json.dumps(told_of, ensure_ascii=False)
    for name in (where, mandate, *params.values()):
        assert name not in text
    (again,) = report(
        [replace(one, params={"cause": "Permission denied", "line": "7"})],
        [],
        {},
        ["permission denied"],
    )["findings"]
    assert "Permission denied" in again["text"] or "{cause}" not in fault.template
