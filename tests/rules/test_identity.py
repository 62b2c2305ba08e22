"""B-ID: devices instead of accounts; who they are; a lost one; a copied one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from p2psync.core import entry
from p2psync.errors import (
    CryptoError,
    DeviceIsThis,
    DeviceNotJunior,
    DeviceNotRemoved,
    IdentityLocked,
    RemovedByOthers,
)
from tests.node.rig import V1, V2, Machine, founded, in_step, invited, linked, running
from tests.rules.offices import events, state

LINES = V1.splitlines(keepends=True)
MORE = LINES[2].replace(b"2340.00", b"77.00")


@asynccontextmanager
async def three(
    tmp_path: Path, role: str = "writer"
) -> AsyncIterator[tuple[Machine, Machine, Machine]]:
    """Anna has the accounting, Ben the invoicing file ``a.ecf``, Carl a file of his own; apart."""
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        running(tmp_path / "carl") as carl,
    ):
        for machine, name in ((anna, "Anna"), (ben, "Ben"), (carl, "Carl")):
            await machine.service.identity_set(name)
        await founded(anna)
        for machine, file, kind in ((ben, "a.ecf", "writer"), (carl, "c.ecf", role)):
            ticket = await invited(anna, kind)
            async with linked(anna, machine):
                await machine.service.subscribe(ticket, None, machine.file(file, V1), "invoicing")
                await in_step(anna, machine)
        async with linked(anna, ben):
            await in_step(anna, ben)
        yield anna, ben, carl


async def members(machine: Machine) -> list[str]:
    listed = (await machine.service.member_list("Books"))["members"]
    return sorted(each["name"] for each in listed)


async def removed(machine: Machine) -> list[dict[str, Any]]:
    return list((await machine.service.member_list("Books"))["removed"])


# -- B-ID-1, B-ID-2 -------------------------------------------------------------------------------


async def test_b_id_1_without_an_account_and_locked_only_local_work_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.service.identity_lock("correct horse battery staple")
        anna.file("a.ecf", V2)
        await anna.look()
        assert (await anna.pending())[0] > 0
        assert await anna.alerts() == ["identity-locked"]
        with pytest.raises(IdentityLocked):
            await anna.service.mandate_share("Books")
        await anna.service.identity_unlock("correct horse battery staple")
        await anna.service.mandate_share("Books")
        await anna.service.identity_lock("correct horse battery staple")
        assert (await state(anna))["state"] == "locked"
        with pytest.raises(IdentityLocked):
            await anna.service.invite("Books", "writer", 3600, 1, None, True)
        await anna.service.identity_unlock("correct horse battery staple")
        assert (await state(anna))["state"] == "ok"


async def test_b_id_2_subscribers_are_listed_with_a_phrase_to_compare(tmp_path: Path) -> None:
    async with three(tmp_path) as (anna, ben, _):
        seen_by = {}
        for machine in (anna, ben):
            listed = (await machine.service.member_list("Books"))["members"]
            seen_by[machine.device] = {each["name"]: each for each in listed}
        for name in ("Anna", "Ben", "Carl"):
            at_anna, at_ben = seen_by[anna.device][name], seen_by[ben.device][name]
            assert at_anna["phrase"] == at_ben["phrase"]
            assert len(at_anna["phrase"].split()) == 5
            assert at_anna["machine"]
            assert at_anna["role"] in ("owner", "writer")
        assert seen_by[anna.device]["Ben"]["last_seen"]


# -- B-ID-3: a lost machine is removed ------------------------------------------------------------


async def test_b_id_3_a_removed_device_is_served_nothing_and_counts_no_more(tmp_path: Path) -> None:
    """What it did before counts, what it does later does not; all are told, and it, too."""
    async with three(tmp_path) as (anna, ben, carl):
        before = (await anna.pending())[0]
        said = await anna.service.member_remove("Books", "Carl")
        assert (said["name"], said["role"], said["files"]) == ("Carl", "writer", ["c.ecf"])
        assert said["remaining"] == 2
        async with linked(anna, ben):
            await in_step(anna, ben)
        for machine in (anna, ben):
            assert await members(machine) == ["Anna", "Ben"]
            (gone,) = await removed(machine)
            assert (gone["name"], gone["by"], gone["quarantined"]) == ("Carl", "Anna", 0)
            (alert,) = await events(machine, "member-removed")
            assert (alert["severity"], alert["device"]) == ("alert", carl.device.hex())
            assert (await machine.pending())[0] == before
        carl.file("c.ecf", V2)
        await carl.look()
        async with linked(anna, carl):
            await carl.until(lambda: carl.opened().row.state.startswith("dismissed"))
            await carl.rest()
        assert (await anna.pending())[0] == before
        shown = await state(carl)
        assert (shown["state"], shown["action"]) == ("removed-by-others", "ask-senior")
        assert "Anna removed this device" in shown["cause"]["text"]
        assert "removed-by-others" in await carl.alerts()
        assert (carl.desk / "c.ecf").read_bytes() == V2, "its files are untouched"
        with pytest.raises(RemovedByOthers):
            await carl.service.invite("Books", "writer", 3600, 1, None, True)


async def test_b_id_3_the_state_outlasts_a_restart(tmp_path: Path) -> None:
    async with three(tmp_path) as (anna, ben, carl):
        await anna.service.member_remove("Books", "Carl")
        async with linked(anna, carl):
            await carl.until(lambda: carl.opened().row.state.startswith("dismissed"))
            await carl.rest()
        async with linked(anna, ben):
            await in_step(anna, ben)
    async with running(tmp_path / "carl") as carl:
        assert (await state(carl))["state"] == "removed-by-others"
        assert "removed-by-others" in await carl.alerts()
    async with running(tmp_path / "ben") as ben, running(tmp_path / "anna") as anna:
        ben.file("a.ecf", V2)
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        assert (await anna.shown("a.ecf"))["pending"] == (await ben.shown("a.ecf"))["pending"]
        assert await members(ben) == ["Anna", "Ben"]


async def test_b_id_3_the_keys_are_renewed_for_those_who_stay(tmp_path: Path) -> None:
    """What is written later, postings and contents, opens with no key that was there before."""
    async with three(tmp_path) as (anna, ben, carl):
        old = carl.opened().replica
        await anna.service.member_remove("Books", "Carl")
        async with linked(anna, ben):
            await in_step(anna, ben)
            ben.file("notes.txt", b"secret")
            notes = str(ben.desk / "notes.txt")
            await ben.service.attach("Books", [notes], "other", None, None)
            await in_step(anna, ben)
            assert anna.copy("notes.txt").read_bytes() == b"secret"
        mandate = anna.opened().id
        later = [entry.decode(raw) for raw in await anna.store.entries(mandate)]
        new = [each for each in later if each.header.epoch == entry.epoch_id(_key(anna))]
        assert new
        for each in new:
            for key in old.secrets.epoch_keys:
                with pytest.raises(CryptoError):
                    entry.open_payload(each, key)
        assert anna.opened().replica.chunk_secret not in old.chunk_secrets
        assert _key(anna) == _key(ben)


def _key(machine: Machine) -> bytes:
    return machine.opened().replica.epoch_key


async def test_b_id_3_who_is_let_in_again_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    async with three(tmp_path) as (anna, ben, carl):
        await anna.service.member_remove("Books", "Carl")
        async with linked(anna, carl):
            await carl.until(lambda: carl.opened().row.state.startswith("dismissed"))
        carl.file("c.ecf", V2)
        await carl.look()
        with pytest.raises(DeviceNotRemoved):
            await anna.service.member_readmit("Books", "Ben")
        await anna.service.member_readmit("Books", "Carl")
        async with linked(anna, carl):
            await in_step(anna, carl)
        async with linked(anna, ben):
            await in_step(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("c.ecf").read_bytes() == V2
            assert await members(machine) == ["Anna", "Ben", "Carl"]
            assert not await removed(machine)
            assert "member-removed" not in await machine.alerts()
            assert len(await events(machine, "member-readmitted")) == 1
        assert (await state(carl))["state"] != "removed-by-others"
        assert "removed-by-others" not in await carl.alerts()
        carl.file("c.ecf", V2 + MORE)
        await carl.look()
        async with linked(anna, carl):
            await in_step(anna, carl)
        assert anna.copy("c.ecf").read_bytes() == V2 + MORE


async def test_b_id_3_what_came_by_another_member_is_quarantined_and_shown(tmp_path: Path) -> None:
    """Ben had taken Carl's last save before he heard that Carl was removed."""
    async with three(tmp_path) as (anna, ben, carl):
        await anna.service.member_remove("Books", "Carl")
        carl.file("c.ecf", V2)
        carl.file("new.ecf", V1)
        await carl.look()
        await carl.service.attach("Books", [str(carl.desk / "new.ecf")], "invoicing", None, None)
        async with linked(ben, carl):
            await in_step(ben, carl)
        assert ben.copy("c.ecf").read_bytes() == V2
        assert ben.copy("new.ecf").exists()
        async with linked(anna, ben):
            await ben.until(lambda: carl.device not in _members(ben))
            await in_step(anna, ben)
        for machine in (anna, ben):
            await machine.rest()
            await machine.look()
            assert machine.copy("c.ecf").read_bytes() == V1
            assert not machine.copy("new.ecf").exists()
            (gone,) = await removed(machine)
            assert gone["quarantined"] > 0
        await anna.service.member_readmit("Books", carl.device.hex()[:12])
        async with linked(anna, ben):
            await in_step(anna, ben)
        for machine in (anna, ben):
            await machine.look()
            assert machine.copy("c.ecf").read_bytes() == V2


def _members(machine: Machine) -> set[bytes]:
    return set(machine.opened().state.membership.members)


async def test_b_id_3_only_a_senior_may_and_the_refusal_names_who(tmp_path: Path) -> None:
    async with three(tmp_path, "owner") as (anna, ben, carl):
        for machine, whom in ((ben, "Carl"), (carl, "Ben"), (carl, "Anna")):
            async with linked(anna, machine):
                await in_step(anna, machine)
            with pytest.raises(DeviceNotJunior) as refused:
                await machine.service.member_remove("Books", whom)
            assert refused.value.params["may"] == ("-" if whom == "Anna" else "Anna")
        with pytest.raises(DeviceIsThis):
            await anna.service.member_remove("Books", "Anna")
        plan = await anna.service.member_removal("Books", "Carl")
        assert (plan["role"], plan["seat"], plan["files"]) == ("owner", False, ["c.ecf"])
        assert await members(anna) == ["Anna", "Ben", "Carl"]


async def test_b_id_3_its_tickets_let_nobody_in(tmp_path: Path) -> None:
    async with three(tmp_path, "accounting") as (anna, _, carl):
        async with linked(anna, carl):
            made = await carl.service.invite("Books", "writer", 3600, 5, None, True)
            await in_step(anna, carl)
        assert (await anna.service.member_removal("Books", "Carl"))["tickets"] == 1
        await anna.service.member_remove("Books", "Carl")
        listed = (await anna.service.invite_list("Books"))["invitations"]
        (its,) = [each for each in listed if each["id"] == made["invitation"]]
        assert its["state"] == "revoked"


async def test_b_id_3_the_seat_goes_back(tmp_path: Path) -> None:
    async with three(tmp_path, "accounting") as (anna, ben, carl):
        await anna.service.seat_hand("Books", "Carl")
        await anna.service.member_remove("Books", "Carl")
        async with linked(anna, ben):
            await in_step(anna, ben)
        for machine in (anna, ben):
            assert (await machine.service.seat_show("Books"))["seat"]["name"] == "Anna"
        made = await anna.service.post("Books", [], None)
        assert made["added"] > 0
        assert carl.device not in _members(anna)


async def test_b_id_3_a_removal_that_is_cut_short_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """The removal and the key for those who stay stand in one entry."""
    async with three(tmp_path) as (anna, _, carl):
        await anna.service.member_remove("Books", "Carl")
        mandate, key = anna.opened().id, _key(anna)
        count = len(await anna.store.entries(mandate))
    async with running(tmp_path / "anna") as anna:
        assert _key(anna) == key
        assert len(await anna.store.entries(mandate)) == count
        assert carl.device not in _members(anna)
        assert carl.device not in next(iter(anna.opened().state.rotations.values())).recipients


# -- B-ID-4 ---------------------------------------------------------------------------------------


async def test_b_id_4_a_machine_that_was_restored_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.attach("Books", [anna.file("a.ecf", V1)], "invoicing", None, None)
        await anna.store.put_setting("fingerprint", "of another machine")
    async with running(tmp_path / "anna") as anna:
        assert "machine-restored" in await anna.alerts()
        anna.file("a.ecf", V2)
        await anna.look()
        assert anna.copy("a.ecf").read_bytes() == V2
        logs = {each.log for each in map(entry.decode, await anna.store.entries(anna.opened().id))}
        assert len(logs) == 2
