"""B-ATT-1 to B-ATT-6: attached files, looked at from both sides."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.errors import (
    AttachedAlready,
    FileAbsent,
    FileKindUnknown,
    FileNotAttached,
    FollowsOtherKind,
    FollowsSeveral,
    PeriodInvalid,
)
from p2psync.node.suggestions import next_year
from tests.node.rig import CRP, V1, V2, Machine, founded, in_step, invited, linked, running

CRP_2026 = CRP.replace(b".2025", b".2026")


async def told(machine: Machine, kind: str) -> list[str]:
    """The texts of the events of a type, oldest first."""
    await machine.node.notices.kept()
    found = await machine.service.messages(None, None, 1000, [kind], None)
    return [event["text"] for event in reversed(found["messages"])]


async def joined(anna: Machine, ben: Machine) -> None:
    await founded(anna)
    await ben.service.subscribe(await invited(anna), None, None, None)
    await in_step(anna, ben)


async def names(machine: Machine) -> list[str]:
    return [file["name"] for file in (await machine.service.mandate_show("Books"))["files"]]


async def test_b_att_1_one_or_many_files_reach_every_device_with_each_save(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        many = [ben.file(f"n{number}.txt", b"%d" % number) for number in range(5)]
        said = await ben.service.attach("Books", many, "other", None, None)
        assert [file["name"] for file in said["files"]] == [f"n{n}.txt" for n in range(5)]
        sales = ben.file("a.ecf", V1)
        await ben.service.attach("Books", [sales], "invoicing", None, None)
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("n3.txt").read_bytes() == b"3"
            assert machine.copy("a.ecf").read_bytes() == V1
            assert len(await told(machine, "file-attached")) == 7
        ben.file("a.ecf", V2)
        await ben.look()
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == V2
            assert "8" in (await told(machine, "records-waiting"))[-1]
            assert await machine.pending() == (8, 0)


async def test_b_att_1_a_refused_file_keeps_the_others_out(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        fine = anna.file("fine.txt", b"fine")
        refusals: list[tuple[type[Exception], dict[str, Any]]] = [
            (FileAbsent, {"files": [fine, str(anna.desk / "no.txt")]}),
            (AttachedAlready, {"files": [fine, fine]}),
            (FileKindUnknown, {"kind": "memo"}),
            (PeriodInvalid, {"period": "2025"}),
            (FileNotAttached, {"follows": "nothing.txt"}),
        ]
        for error, wrong in refusals:
            asked: dict[str, Any] = {
                "files": [fine],
                "kind": "other",
                "period": None,
                "follows": None,
                **wrong,
            }
            with pytest.raises(error):
                await anna.service.attach("Books", **asked)
        assert await names(anna) == ["atelier_2025.crp"]
        assert not (anna.opened().folder / "fine.txt").exists()


async def test_b_att_1_a_promise_to_be_saved_comes_with_the_file(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        sales = [ben.file("a.ecf", V1), ben.file("b.ecf", V2)]
        await ben.service.attach("Books", sales, "invoicing", None, None, expect_seconds=7 * 86400)
        await in_step(anna, ben)
        for machine in (anna, ben):
            for name in ("a.ecf", "b.ecf"):
                assert (await machine.shown(name))["expect_seconds"] == 7 * 86400
            assert (await machine.shown("atelier_2025.crp"))["expect_seconds"] is None


async def test_b_att_2_everything_is_shown_on_both_sides(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await ben.service.identity_set("Ben")
        async with linked(anna, ben):
            await joined(anna, ben)
            broken = V1 + b"half a line\r\n"
            sales = ben.file("a.ecf", broken)
            await ben.service.attach("Books", [sales], "invoicing", None, None)
            await in_step(anna, ben)
            shown = [await machine.shown("a.ecf") for machine in (anna, ben)]
            for each in shown:
                assert (each["kind"], each["device"], each["state"]) == ("invoicing", "Ben", "ok")
                assert each["folder"] == str(ben.desk)
                assert each["period"] == "2025-01-01..2025-12-31"
                assert each["pending"] == {"added": 7, "deleted": 0}
                assert each["changed"] and each["synced"] >= each["changed"]
                assert each["problems"][0]["line"] > 0
            (books,) = (await anna.service.mandate_list())["mandates"]
            assert books["seat"]
        await anna.service.mandate_create("Local", None)
        path = anna.file("note.txt", b"x")
        await anna.service.attach("Local", [path], "other", None, None)
        (note,) = (await anna.service.mandate_show("Local"))["files"]
        assert (note["synced"], note["follows"], note["program"]) == (None, None, None)
        ben_file = ben.desk / "a.ecf"
        ben_file.rename(ben.desk / "away.ecf")
        await ben.look()
        assert (await ben.shown("a.ecf"))["state"] == "missing"


async def test_b_att_3_a_new_period_follows_the_old_one_on_both_sides(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        year = anna.file("atelier_2026.crp", CRP_2026)
        await anna.service.attach("Books", [year], "accounting", None, "atelier_2025.crp")
        wages = [ben.file(f"wages_{n}.ecs", b"%d" % n) for n in (2025, 2026)]
        await ben.service.attach("Books", wages[:1], "payroll", None, None)
        await ben.service.attach("Books", wages[1:], "payroll", None, "wages_2025.ecs")
        await in_step(anna, ben)
        for machine in (anna, ben):
            for old, new in (
                ("atelier_2025.crp", "atelier_2026.crp"),
                ("wages_2025.ecs", "wages_2026.ecs"),
            ):
                assert (await machine.shown(new))["follows"] == old
                assert (await machine.shown(old))["followed_by"] == [new]


async def test_b_att_3_a_file_follows_one_of_its_own_kind(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        one, two = anna.file("a.ecf", V1), anna.file("b.ecf", V2)
        with pytest.raises(FollowsOtherKind):
            await anna.service.attach("Books", [one], "invoicing", None, "atelier_2025.crp")
        with pytest.raises(FollowsSeveral):
            await anna.service.attach("Books", [one, two], "invoicing", None, "atelier_2025.crp")
        assert await names(anna) == ["atelier_2025.crp"]


async def test_b_att_3_a_new_year_that_appears_is_suggested_once_and_not_attached(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        sales = anna.file("sales_2025.ecf", V1)
        await anna.service.attach("Books", [sales], "invoicing", None, None)
        watched = anna.node.targets()[anna.desk]
        assert {"sales_2026.ecf", "atelier_2026.crp"} <= watched
        anna.file("sales_2026.ecf", b"something else altogether")
        anna.file("atelier_2026.crp", CRP)  # of the same year: no next one
        later = anna.file("sales_2026.ecf", V2)
        for _ in range(2):
            anna.node.hint(anna.desk, "atelier_2026.crp")
            anna.node.hint(anna.desk, "sales_2026.ecf")
            await anna.until(lambda: bool(anna.node.suggestions.of(anna.opened())))
        assert await names(anna) == ["atelier_2025.crp", "sales_2025.ecf"]
        (text,) = await told(anna, "file-suggested")
        (suggested,) = (await anna.service.mandate_show("Books"))["suggestions"]
        assert (suggested["file"], suggested["follows"]) == (later, "sales_2025.ecf")
        assert suggested["command"] in text
        program, verb, mandate, path, _, kind, _, follows = shlex.split(suggested["command"])
        assert (program, verb) == ("p2psync", "attach")
        await anna.service.attach(mandate, [path], kind, None, follows)
        assert (await anna.service.mandate_show("Books"))["suggestions"] == []
        assert "sales_2026.ecf" in await names(anna)
        assert "sales_2027.ecf" in anna.node.targets()[anna.desk]


async def test_b_att_3_a_suggestion_goes_with_its_file_and_outlasts_no_dismissal(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        anna.file("atelier_2026.crp", CRP_2026)

        async def looked() -> int:
            anna.node.targets()
            done = anna.node.pulse
            anna.node.hint(anna.desk, "atelier_2026.crp")
            await done.wait()
            return len((await anna.service.suggestion_list("Books"))["suggestions"])

        assert await looked() == 1
        (anna.desk / "atelier_2026.crp").unlink()
        assert await looked() == 0
        anna.file("atelier_2026.crp", CRP_2026)
        assert await looked() == 1
        await anna.service.suggestion_dismiss("Books", "atelier_2026.crp")
        assert await looked() == 0
        assert len(await told(anna, "file-suggested")) == 1
        assert any(key.startswith("suggestions:") for key in await anna.store.settings())
    async with running(tmp_path) as anna:
        anna.node.targets()
        done = anna.node.pulse
        anna.node.hint(anna.desk, None)
        await done.wait()
        assert (await anna.service.suggestion_list("Books"))["suggestions"] == []


@pytest.mark.parametrize(
    ("name", "ends", "later"),
    [
        ("sales_2025.ecf", None, "sales_2026.ecf"),
        ("2025 sales.ecf", None, "2026 sales.ecf"),
        ("books 2024-2025.crp", None, "books 2025-2026.crp"),
        ("books25.crp", 2025, "books26.crp"),
        ("books99.crp", 1999, "books00.crp"),
        ("books25.crp", None, None),
        ("books25.crp", 2024, None),
        ("sales.ecf", 2025, None),
        ("sales120255.ecf", None, None),
        ("order 4711.ecf", 2025, None),
    ],
)
def test_b_att_3_the_next_year_of_a_name(name: str, ends: int | None, later: str | None) -> None:
    assert next_year(name, ends) == later


@given(st.text(max_size=40), st.none() | st.integers(1, 9998))
def test_b_att_3_any_name_has_one_next_year_at_most(name: str, ends: int | None) -> None:
    later = next_year(name, ends)
    if later is not None:
        assert later != name
        assert re.sub(r"[0-9]", "", later) == re.sub(r"[0-9]", "", name)


async def test_b_att_4_a_file_is_never_in_two_mandates(tmp_path: Path) -> None:
    async with running(tmp_path) as anna:
        await founded(anna)
        await anna.service.mandate_create("Other", None)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        other_name = anna.desk / "hard.ecf"
        other_name.hardlink_to(path)
        for mandate in ("Books", "Other"):
            for taken in (path, str(other_name)):
                with pytest.raises(AttachedAlready):
                    await anna.service.attach(mandate, [taken], "invoicing", None, None)
        # Detached, it is free.
        books = next(each for each in anna.node.opened.values() if each.name == "Books")
        file = books.file_named("a.ecf")
        assert file is not None
        detach = ops.Detach(file.id, tuple(file.heads))
        await anna.node.author(books, [detach]).wait()
        await anna.service.attach("Other", [path], "invoicing", None, None)
        assert await anna.pending("Other") == (7, 0)


async def test_b_att_5_what_is_understood_is_counted_and_anything_else_syncs_whole(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        files = [ben.file("a.ecf", V1), ben.file("b.dat", b"\0one")]
        await ben.service.attach("Books", files, "invoicing", None, None)
        ben.file("b.dat", b"\0two")
        await ben.look()
        await in_step(anna, ben)
        for machine in (anna, ben):
            counted, whole = await machine.shown("a.ecf"), await machine.shown("b.dat")
            assert (counted["records"], counted["problems"]) == (7, [])
            assert (counted["merge"], whole["merge"], whole["records"]) == ("records", "whole", 0)
            assert [each["code"] for each in whole["problems"]] == ["unknown-format"]
            assert machine.copy("b.dat").read_bytes() == b"\0two"
            versions = (await machine.service.history("Books", "b.dat", None))["versions"]
            assert len(versions) == 2
            out = machine.root / "old.dat"
            await machine.service.restore("Books", "b.dat", versions[1]["version"], str(out))
            assert out.read_bytes() == b"\0one"


async def test_b_att_6_a_changed_copy_changes_the_file_for_everyone(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await joined(anna, ben)
        sales = ben.file("a.ecf", V1)
        await ben.service.attach("Books", [sales], "invoicing", None, None)
        await in_step(anna, ben)
        anna.copy("a.ecf").write_bytes(V2)
        await anna.look()
        await in_step(anna, ben)
        assert (ben.desk / "a.ecf").read_bytes() == ben.copy("a.ecf").read_bytes() == V2
        assert await anna.pending() == await ben.pending() == (8, 0)


async def test_b_att_6_a_reader_changes_nothing(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await founded(anna)
        await ben.service.subscribe(await invited(anna, "reader"), None, None, None)
        sales = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [sales], "invoicing", None, None)
        await in_step(anna, ben)
        ben.copy("a.ecf").write_bytes(V2)
        await ben.look()
        assert "change-not-allowed" in await ben.alerts()
        assert (anna.desk / "a.ecf").read_bytes() == V1
        assert await anna.pending() == (7, 0)
