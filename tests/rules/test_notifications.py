"""B-NOT: what people are told, on both sides, and when it is over."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from p2psync.core import ops
from p2psync.engine.effects import Warn
from p2psync.errors import AlertUnknown, EventTypeUnknown, FileNotAttached
from p2psync.node import news
from p2psync.node.event_types import EVENT_TYPES
from p2psync.node.silence import AWAKE_SECONDS
from p2psync.storage import events as events_module
from tests.fakes.clock import FakeClock
from tests.node.rig import V1, V2, Machine, founded, in_step, invited, linked, running

DAY = 24 * 3600.0
LINES = V1.splitlines(keepends=True)


async def told(machine: Machine, kind: str) -> list[dict[str, Any]]:
    """All events of a type, oldest first."""
    with trio.fail_after(20):
        found = await machine.service.messages(None, None, 1000, [kind], None)
    return list(reversed(found["messages"]))


async def only(machine: Machine, kind: str) -> dict[str, Any]:
    (event,) = await told(machine, kind)
    return event


async def late(machine: Machine, key: str, count: int = 1) -> None:
    """Return when so many alerts with a key hold: a timer of the node raised them."""
    mandates = machine.node.opened
    with trio.fail_after(20):
        while sum(machine.node.notices.holds(key, each) for each in mandates) < count:
            await trio.sleep(0.002)


async def joined(anna: Machine, ben: Machine) -> None:
    """Anna has the accounting, Ben the invoicing."""
    await founded(anna)
    ticket = await invited(anna)
    await anna.service.identity_set("Anna")
    await ben.service.identity_set("Ben")
    await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
    await in_step(anna, ben)


# -- B-NOT-1: the events --------------------------------------------------------------------------


def test_b_not_1_every_event_of_the_rule_has_its_type() -> None:
    rule = {
        "records waiting": ("records-waiting", "message"),
        "a file not linked correctly": ("link-broken", "alert"),
        "link restored": ("link-restored", "message"),
        "someone joined": ("member-joined", "message"),
        "someone left": ("member-left", "message"),
        "someone was removed": ("member-removed", "alert"),
        "this device was removed": ("removed-by-others", "alert"),
        "mandate shared": ("mandate-shared", "message"),
        "mandate closed": ("mandate-closed", "alert"),
        "nobody signed in": ("identity-locked", "alert"),
        "cannot sync": ("cannot-sync", "alert"),
        "a source is silent": ("source-silent", "alert"),
        "double posting": ("double-posting", "alert"),
        "contested seat": ("seat-contested", "alert"),
        "forked device": ("forked-log", "alert"),
        "cloned device": ("machine-restored", "alert"),
        "suspicious mass deletion held back": ("save-held-back", "alert"),
    }
    for event, (kind, severity) in rule.items():
        assert EVENT_TYPES[kind].severity == severity, event


async def test_b_not_1_both_sides_hear_who_did_what_to_which_file(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        shared = await only(anna, "mandate-shared")
        assert (shared["device"], shared["mandate_name"]) == (anna.device.hex(), "Books")
        new = await only(anna, "member-joined")
        assert (new["device"], new["severity"]) == (ben.device.hex(), "message")
        for machine in (anna, ben):
            waiting = (await told(machine, "records-waiting"))[-1]
            assert waiting["mandate"] == machine.opened().id.hex()
            assert waiting["mandate_name"] == "Books"
            assert (waiting["file"], waiting["action"]) == ("a.ecf", "post")
            assert (waiting["device"], waiting["device_name"]) == (ben.device.hex(), "Ben")
            assert waiting["data"]["added"] == 7
        made = await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        for machine in (anna, ben):
            posted = await only(machine, "posted")
            assert (posted["device_name"], posted["data"]["receipt"]) == (
                "Anna",
                made["receipt"],
            )


async def test_b_not_1_all_hear_that_someone_was_removed_and_that_one_too(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben)
            await anna.service.member_remove("Books", "Ben")
            await ben.until(lambda: ben.node.notices.holds("removed-by-others", ben.opened().id))
        gone = await only(anna, "member-removed")
        assert (gone["device_name"], gone["action"], gone["open"]) == ("Ben", "check-devices", True)
        said = await only(ben, "removed-by-others")
        assert (said["device_name"], said["action"]) == ("Anna", "ask-senior")
        await anna.service.member_readmit("Books", "Ben")
        async with linked(anna, ben):
            await in_step(anna, ben)
        assert (await only(anna, "member-removed"))["closed_by"] == "cause"
        assert (await only(ben, "removed-by-others"))["closed_by"] == "cause"
        assert (await only(ben, "member-readmitted"))["device_name"] == "Ben"


async def test_b_not_1_a_broken_link_is_told_and_settled(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        os.rename(path, tmp_path / "elsewhere.ecf")
        await anna.look()
        broken = await only(anna, "link-broken")
        assert (broken["action"], broken["file"], broken["open"]) == ("restore-link", "a.ecf", True)
        (tmp_path / "elsewhere.ecf").rename(path)
        await anna.look()
        broken = await only(anna, "link-broken")
        assert (broken["open"], broken["closed_by"]) == (False, "cause")
        assert (await only(anna, "link-restored"))["file"] == "a.ecf"


async def test_b_not_1_a_mass_deletion_is_held_back_until_it_is_confirmed(tmp_path: Path) -> None:
    many = V1 + b"".join(line for line in V2.splitlines(keepends=True)[1:] * 6)
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", many)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        anna.file("a.ecf", b"".join(LINES[:2]))
        await anna.look()
        held = await only(anna, "save-held-back")
        assert (held["action"], held["file"], held["open"]) == ("confirm", "a.ecf", True)
        await anna.service.confirm("Books", "a.ecf")
        held = await only(anna, "save-held-back")
        assert held["closed_by"] == "cause"


async def test_b_not_1_nobody_signed_in_is_told_until_somebody_is(tmp_path: Path) -> None:
    root = tmp_path / "anna"
    async with running(root) as anna:
        await founded(anna)
        await anna.service.identity_lock("correct horse battery staple")
        assert await anna.alerts() == ["identity-locked"]
    async with running(root) as anna:
        assert await anna.alerts() == ["identity-locked"]
        assert (await only(anna, "identity-locked"))["action"] == "sign-in"
        await anna.service.identity_unlock("correct horse battery staple")
        assert await anna.alerts() == []
    async with running(root) as anna:  # a key with a passphrase is locked at each start
        assert await anna.alerts() == ["identity-locked"]


async def test_b_not_1_a_source_that_is_late_is_told_to_every_member(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path / "ben", clock=clock) as ben:
        async with running(tmp_path / "anna", clock=clock) as anna, linked(anna, ben):
            await joined(anna, ben)
            said = await anna.service.expect("Books", "a.ecf", 7 * 24 * 3600)
            assert said == {"file": "a.ecf", "expect_seconds": 604800}
            await in_step(anna, ben)
            await clock.advance(6.9 * DAY)
            assert await told(anna, "source-silent") == await told(ben, "source-silent") == []
            await clock.advance(0.2 * DAY)
            for machine in (anna, ben):
                await late(machine, silent(machine, "a.ecf"))
                alert = await only(machine, "source-silent")
                assert (alert["file"], alert["device_name"]) == ("a.ecf", "Ben")
                assert alert["action"] == "ask-source"
                assert alert["data"] == {"promised_seconds": 604800}
                assert "every 7d" in alert["text"]
        async with running(tmp_path / "anna", clock=clock) as anna:
            assert await anna.alerts() == ["source-silent"]
            assert len(await told(anna, "source-silent")) == 1
            async with linked(anna, ben):
                ben.file("a.ecf", V2)
                # What is saved now bears this machine's time, which the fake clock is ahead of.
                clock.ms -= round(7.1 * DAY * 1000)
                await ben.look()
                await in_step(anna, ben)
                for machine in (anna, ben):
                    assert "source-silent" not in await machine.alerts()
                    assert (await only(machine, "source-silent"))["closed_by"] == "cause"


def silent(machine: Machine, name: str) -> str:
    """The key of the alert about a file, which one of the mandates has."""
    files = [each.file_named(name) for each in machine.node.opened.values()]
    (file,) = [file for file in files if file is not None]
    return f"source-silent:{file.id.hex()}"


async def test_b_not_1_a_promise_taken_back_or_a_detached_file_is_late_no_more(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with running(tmp_path / "anna", clock=clock) as anna:
        await founded(anna)
        path = anna.file("note.txt", b"some text")
        await anna.service.attach("Books", [path], "other", None, None)
        with pytest.raises(FileNotAttached):
            await anna.service.expect("Books", "nothing.ecf", 60)
        await anna.service.expect("Books", "note.txt", 3600)
        await clock.advance(2 * 3600)
        await anna.until(
            lambda: bool(anna.node.notices.unkept()) or anna.node.notices._told != set()
        )
        assert await anna.alerts() == ["source-silent"]
        await anna.service.expect("Books", "note.txt", 0)
        assert await anna.alerts() == []
        await anna.service.expect("Books", "note.txt", 3600)
        assert await anna.alerts() == ["source-silent"]
        opened = anna.opened()
        file = opened.file_named("note.txt")
        assert file is not None
        await anna.node.author(opened, [ops.Detach(file.id, tuple(file.heads))]).wait()
        await anna.node.runner.flushed()
        assert await anna.alerts() == []


async def test_b_not_1_one_timer_waits_for_all_files_of_all_mandates(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path / "anna", clock=clock) as anna:
        for number in range(3):
            await anna.service.mandate_create(f"Books {number}", None)
            path = anna.file(f"{number}.txt", b"text")
            await anna.service.attach(f"Books {number}", [path], "other", None, None)
            await anna.service.expect(f"Books {number}", f"{number}.txt", 600 * (number + 1))
        await trio.testing.wait_all_tasks_blocked()
        (seconds,) = clock.sleeps
        assert 500 < seconds < 601
        await clock.advance(601)
        await late(anna, silent(anna, "0.txt"))
        assert await anna.alerts() == ["source-silent"]


async def test_b_not_1_a_mandate_that_meets_nobody_for_a_day_is_told(tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        running(tmp_path / "ben", clock=clock) as ben,
        running(tmp_path / "anna", clock=clock) as anna,
    ):
        async with linked(anna, ben):
            await joined(anna, ben)
            await clock.advance(3 * DAY)  # together all the time
            assert "cannot-sync" not in await anna.alerts()
        await anna.until(lambda: not anna.node.engine.meets_anybody(anna.opened().id))
        assert (await anna.service.mandate_list())["mandates"][0]["state"] == "offline"
        await clock.advance(0.9 * DAY)
        assert "cannot-sync" not in await anna.alerts()
        await clock.advance(0.2 * DAY)
        await late(anna, "cannot-sync")
        apart = await only(anna, "cannot-sync")
        assert (apart["mandate_name"], apart["action"]) == ("Books", "connect")
        async with linked(anna, ben):
            await anna.until(lambda: anna.node.engine.meets_anybody(anna.opened().id))
            await anna.node.runner.flushed()
            assert "cannot-sync" not in await anna.alerts()
            assert (await only(anna, "cannot-sync"))["closed_by"] == "cause"


async def test_b_not_1_who_was_asleep_first_gets_time_to_meet_somebody(tmp_path: Path) -> None:
    clock = FakeClock()
    root = tmp_path / "anna"
    async with running(tmp_path / "ben", clock=clock) as ben, running(root, clock=clock) as anna:
        async with linked(anna, ben):
            await joined(anna, ben)
        await anna.until(lambda: not anna.node.engine.meets_anybody(anna.opened().id))
        await clock.advance(5 * DAY, asleep=True)
        await clock.advance(3600)  # the timer wakes and sees that the machine slept
        assert "cannot-sync" not in await anna.alerts()
        await clock.advance(AWAKE_SECONDS + 1)
        await late(anna, "cannot-sync")


async def test_b_not_1_a_local_mandate_and_a_lonely_one_miss_nobody(tmp_path: Path) -> None:
    clock = FakeClock()
    async with running(tmp_path / "anna", clock=clock) as anna:
        await founded(anna)
        await clock.advance(40 * DAY)
        await anna.service.mandate_share("Books")
        await clock.advance(40 * DAY)
        await trio.testing.wait_all_tasks_blocked()
        assert await anna.alerts() == []


async def test_b_not_1_forked_and_cloned_devices_are_told_with_their_device(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await joined(anna, ben)
        mandate = anna.opened().id
        for code in ("forked-log", "content-invalid", "peer-complains", "something-new"):
            news.warn(anna.node.notices, anna.opened(), Warn(mandate, code, ben.device, "x"))
        kinds = ["forked-log", "content-invalid", "peer-complains", "peer-mistake"]
        assert await anna.alerts() == kinds
        for kind in kinds:
            alert = await only(anna, kind)
            assert (alert["device"], alert["device_name"]) == (ben.device.hex(), "Ben")


# -- B-NOT-2: messages pass, alerts stay ----------------------------------------------------------


async def test_b_not_2_an_alert_stays_until_a_person_closes_it(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        os.rename(path, tmp_path / "a.ecf")
        await anna.look()
    async with running(tmp_path / "anna") as anna:
        await anna.look()
        (alert,) = (await anna.service.alerts("Books"))["alerts"]
        assert alert["type"] == "link-broken"
        assert await anna.service.close_alert(alert["id"]) == {"id": alert["id"], "closed": True}
        with pytest.raises(AlertUnknown):
            await anna.service.close_alert(alert["id"])
        assert await anna.alerts() == []
    async with running(tmp_path / "anna") as anna:
        await anna.look()  # the file is still away: who closed the alert is not told again
        assert await anna.alerts() == []
        (tmp_path / "a.ecf").rename(path)
        await anna.look()
        os.rename(path, tmp_path / "a.ecf")
        await anna.look()  # away anew
        assert await anna.alerts() == ["link-broken"]
        closed = (await told(anna, "link-broken"))[0]
        assert closed["closed_by"] == "person"
        assert closed["closed_at"] is not None
        assert await anna.service.close_alerts(None) == {"closed": 1}
        assert await anna.alerts() == []


async def test_b_not_2_the_history_is_read_page_by_page(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        for number in range(7):
            anna.node.notices.message("posted", "number {number}", number=str(number))
        anna.node.notices.alert_text("no-room", "no room", key="no-room")
        seen: list[str] = []
        before = None
        while True:
            page = await anna.service.messages(None, before, 3, ["posted"], None)
            seen += [event["text"] for event in page["messages"]]
            if not page["more"]:
                break
            before = page["messages"][-1]["id"]
        assert seen == [f"number {number}" for number in range(6, -1, -1)]
        alerts = await anna.service.messages(None, None, 10, [], "alert")
        assert [event["type"] for event in alerts["messages"]] == ["no-room"]
        assert (await anna.service.messages("Books", None, 10, ["posted"], None))["messages"] == []
        with pytest.raises(EventTypeUnknown):
            await anna.service.messages(None, None, 10, ["possted"], None)


# -- B-NOT-3: who hears of them -------------------------------------------------------------------


async def take(stream: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    found = []
    with trio.fail_after(20):
        async for event in stream:
            found.append(event)
            if len(found) == count:
                break
    return found


async def test_b_not_3_a_program_resumes_after_the_last_id_it_saw(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        for number in range(5):
            anna.node.notices.message("posted", "number {number}", number=str(number))
        await anna.node.notices.kept()
        async with aclosing(cast(Any, anna.service.events(None, 2))) as stream:
            assert [event["id"] for event in await take(stream, 3)] == [3, 4, 5]


async def test_b_not_3_a_program_is_told_of_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was forgotten, and a database that is older than the program, are told."""
    monkeypatch.setattr(events_module, "EVENTS_KEPT_MAX", 100)
    async with running(tmp_path / "anna") as anna:
        for number in range(256):
            anna.node.notices.message("posted", "number {number}", number=str(number))
        await anna.node.notices.kept()
        async with aclosing(cast(Any, anna.service.events(None, 2))) as stream:
            gap, first, *_ = await take(stream, 3)
        assert gap == {"type": "gap", "mandate": None, "since": 2, "first": 157}
        assert first["id"] == 157
        for since, begins in ((0, 157), (156, 157), (200, 201)):
            async with aclosing(cast(Any, anna.service.events(None, since))) as stream:
                assert (await take(stream, 1))[0]["id"] == begins
        async with aclosing(cast(Any, anna.service.events(None, 999))) as stream:
            (gap,) = await take(stream, 1)
            assert (gap["type"], gap["since"], gap["first"]) == ("gap", 999, 257)


async def test_b_not_3_who_listens_hears_that_an_alert_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        notices = anna.node.notices
        async with aclosing(cast(Any, anna.service.events(None, 0))) as stream:
            notices.alert_text("no-room", "no room", key="no-room")
            (alert,) = await take(stream, 1)
            notices.settle("no-room", key="no-room")

            async def close() -> None:
                await trio.testing.wait_all_tasks_blocked()
                await notices.kept()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(close)
                (closed,) = await take(stream, 1)
            assert closed == {
                "type": "alert-closed",
                "alert": alert["id"],
                "mandate": None,
                "by": "cause",
            }


# -- B-NOT-4: one cause, one action ---------------------------------------------------------------


def test_b_not_4_every_alert_has_one_action() -> None:
    assert [
        name for name, each in EVENT_TYPES.items() if each.severity == "alert" and not each.action
    ] == []


async def test_b_not_4_an_event_says_its_cause_in_one_text(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        shown = await anna.service.messages(None, None, 100, [], None)
        for event in shown["messages"]:
            assert event["text"] == event["template"].format_map(event["params"])
            assert event["text"]
        assert json.dumps(shown)
