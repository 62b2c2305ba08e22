"""B-NET-5: the table of faults, what is wrong with the machine, the order and the report."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2psync.engine.effects import Tick
from p2psync.errors import DiskFull, DiskReadOnly, NodeFault
from p2psync.i18n import places
from p2psync.network.identity import peer_id_text
from p2psync.node import doctor as doctor_module
from p2psync.node import node as node_module
from p2psync.node import saving as saving_module
from p2psync.node.anonymous import report
from p2psync.node.diagnosis import (
    AlertFacts,
    Snapshot,
    judge,
)
from p2psync.node.doctor import Doctor
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.fault_types import SUBJECTS
from p2psync.node.faults import ALERTS, FAULTS, found
from p2psync.node.runner import wall_ms
from p2psync.storage.notify import NoNotifier
from p2psync.storage.watcher import Watcher
from tests.fakes.circuits import FakeCircuits
from tests.node import doctor_table
from tests.node.doctor_rig import checked, codes, examined, finding, until_found
from tests.node.rig import (
    PATIENCE_SECONDS,
    V1,
    V2,
    founded,
    in_step,
    linked,
    running,
)
from tests.rules.offices import office

DAY_MS = 24 * 3600 * 1000
RELAY = "/dns4/relay.example/tcp/4001/p2p/" + peer_id_text(b"\x07" * 32)

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
    monkeypatch.setattr(node_module, "RECOVER_SECONDS", 1000.0)
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
        doctor = Doctor(machine.node, overview, alerts, probe=probe, patience_seconds=0.5)
        found = checked(await doctor.examine(None))
        comes_back.set()
        assert ("disk-silent", str(machine.desk)) in [
            (each["code"], each["where"]) for each in found
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


# -- what is told, and in which order ---------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(ALERTS))
def test_an_open_alert_is_told_in_its_own_words(kind: str) -> None:
    alert = AlertFacts(kind, "2026-01-01T00:00:00+00:00", "{file} it is", {"file": "a"}, file="a")
    [found] = judge(Snapshot(wall_ms=1, alerts=[alert]))
    assert (found.code, found.text, found.where) == (kind, "a it is", "a")
    assert found.since == alert.at and found.hint


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


async def test_doctor_names_node_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of p2psync's own, until it has read everything anew."""
    monkeypatch.setattr(node_module, "RECOVER_SECONDS", 1000.0)
    async with running(tmp_path) as machine:
        await founded(machine)

        def broken(*_: object) -> None:
            raise RuntimeError("half a step")

        monkeypatch.setattr(machine.node.engine, "step", broken)
        with pytest.raises(NodeFault):
            await machine.node.runner.feed(Tick()).wait()
        assert "report this" in (await finding(machine, "node-fault"))["hint"]
