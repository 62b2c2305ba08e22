"""B-HIS-1: who changed what, past states, and versions brought back. Two real nodes, both sides."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync.core.clock import milliseconds
from p2psync.errors import (
    ArrivalUnknown,
    FileNotThen,
    RecordFilterInvalid,
    TimeInvalid,
    VersionElsewhere,
)
from tests.node.rig import V1, Machine, in_step, linked
from tests.rules.offices import meet, office

LINES = V1.splitlines(keepends=True)
LATE = LINES[2].replace(b"R-2001", b"R-9001")


async def saved(machine: Machine, lines: Sequence[bytes], name: str = "a.ecf") -> str:
    """Save a file and have it taken up; returns the time after it, exactly."""
    machine.file(name, b"".join(lines))
    await machine.look()
    return await moment(machine)


async def moment(machine: Machine) -> str:
    """A time after all that was written, and before all that comes."""
    stamp = max(
        (
            version.stamp
            for file in machine.opened().state.files.values()
            for version in file.versions.values()
        ),
        default=0,
    )
    stamps = [stamp, *(each.stamp for each in machine.opened().state.receipts.values())]
    at_ms = milliseconds(max(stamps))
    await machine.node.runner.flushed()
    while True:  # what comes next gets another millisecond
        at = datetime.datetime.now(datetime.UTC)
        if at.timestamp() * 1000 > at_ms + 1:
            break
        await trio.sleep(0.001)
    await trio.sleep(0.004)
    return at.isoformat(timespec="milliseconds")


async def tales(machine: Machine, **wanted: Any) -> list[dict[str, Any]]:
    found = await machine.service.record_history("Books", "a.ecf", **wanted)
    return list(found["records"])


def steps(tale: dict[str, Any]) -> list[tuple[str, str]]:
    return [(step["what"], step["by"]) for step in tale["steps"]]


async def test_b_his_1_of_each_record_is_told_who_did_what_and_when(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await saved(ben, [*LINES, LATE])
        await meet(anna, ben)
        first = await anna.service.post("Books", [], None)
        await meet(anna, ben)
        # Anna corrects a text in her copy, Ben deletes a line in his: merged record by record.
        anna.copy("a.ecf").write_bytes(
            b"".join([*LINES, LATE.rstrip(b"\r\n")[:-1] + b"!" + b"\r\n"])
        )
        await anna.look()
        gone = LINES[2]
        await saved(ben, [*LINES[:2], *LINES[3:], LATE])
        await meet(anna, ben)
        await anna.service.unpost("Books", first["receipt"])
        await meet(anna, ben)
        for machine in (anna, ben):
            every = await tales(machine)
            assert [tale["present"] for tale in every].count(False) == 1
            (deleted,) = [tale for tale in every if not tale["present"]]
            assert steps(deleted) == [
                ("added", "Ben"),
                ("posted", "Anna"),
                ("deleted", "Ben"),
                ("retracted", "Anna"),
            ]
            assert deleted["line"] is None
            lines = machine.copy("a.ecf").read_bytes().splitlines(keepends=True)
            assert gone not in lines
            for tale in every:
                if tale["present"]:
                    found = (await tales(machine, line=tale["line"]))[0]
                    assert found["records"] == tale["records"]
            names = {each["version"] for each in (await versions(machine))}
            for tale in every:
                for step in tale["steps"]:
                    assert step["at"] and step["machine"]
                    assert step.get("receipt") == first["receipt"] or step["version"] in names
        assert await tales(anna) == await tales(ben)


async def versions(machine: Machine, name: str = "a.ecf") -> list[dict[str, Any]]:
    return list((await machine.service.history("Books", name, None))["versions"])


async def test_b_his_1_records_are_found_by_text_voucher_and_line_a_page_at_a_time(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, _):
        every = await tales(anna)
        by_voucher = await tales(anna, voucher="R-2001")
        assert by_voucher and all(
            any(record["voucher"] == "R-2001" for record in tale["records"]) for tale in by_voucher
        )
        assert by_voucher == await tales(anna, text="r-2001")
        assert await tales(anna, voucher="nothing") == []
        assert await tales(anna, line=10_000) == []
        paged: list[dict[str, Any]] = []
        after = 0
        while True:
            found = await anna.service.record_history("Books", "a.ecf", after=after, limit=2)
            paged += found["records"]
            if found["next"] is None:
                break
            after = found["next"]
        assert paged == every
        with pytest.raises(RecordFilterInvalid):
            await tales(anna, voucher="R-2001", line=3)
        with pytest.raises(RecordFilterInvalid):
            await tales(anna, line=0)


async def test_b_his_1_files_kept_whole_have_their_versions_with_records_counted(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (_, ben):
        whole = await ben.service.record_history("Books", "atelier_2025.crp")
        assert whole["whole"] and whole["records"] == []
        (version,) = whole["versions"]
        assert version["content"] == "here"
        await ben.service.attach("Books", [ben.file("notes.txt", b"one")], "other", None, None)
        (version,) = await versions(ben, "notes.txt")
        assert (version["records"], version["added"], version["content"]) == (None, None, "here")


async def test_b_his_1_any_past_state_is_shown_alike_on_both_sides(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        first = await moment(ben)
        second = await saved(ben, [*LINES, LATE])
        await meet(anna, ben)
        await anna.service.post("Books", [], None)
        third = await moment(anna)
        await ben.service.attach("Books", [ben.file("b.ecf", V1)], "payroll", None, None)
        await saved(ben, LINES[:3])
        await meet(anna, ben)
        for machine in (anna, ben):
            for at, records, posted, receipts in (
                (first, 7, 0, 0),
                (second, 8, 0, 0),
                (third, 8, 8, 1),
            ):
                said = await machine.service.history("Books", None, at)
                assert (said["at"], said["by"]) == (at, "clocks")
                state = said["state"]
                files = {file["name"]: file for file in state["files"]}
                assert set(files) == {"a.ecf", "atelier_2025.crp"}
                file = files["a.ecf"]
                assert (file["records"], file["posted"]) == (records, posted)
                assert file["pending"]["added"] == records - posted
                assert len(state["receipts"]) == receipts
                assert {each["name"] for each in state["members"]} == {"Anna", "Ben"}
                assert state["seat"]["name"] == "Anna"
                assert all(each["at"] <= at for each in said["versions"])
            now = await machine.service.history("Books", None, "2999-12-31")
            assert len(now["state"]["files"]) == 3
            long_ago = await machine.service.history("Books", None, "1999-12-31T12:00+01:00")
            assert long_ago["at"] == "1999-12-31T12:00:00.000+01:00"
            assert long_ago["state"]["files"] == long_ago["state"]["members"] == []
            with pytest.raises(TimeInvalid):
                await machine.service.history("Books", None, "yesterday")


async def test_b_his_1_what_this_device_knew_is_not_what_was_written(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        at = await saved(ben, [*LINES, LATE])  # Anna is off line
        await meet(anna, ben)
        for machine, known in ((ben, 8), (anna, 7)):
            by_clocks = await machine.service.history("Books", "a.ecf", at)
            by_arrival = await machine.service.history("Books", "a.ecf", at, known=True)
            assert by_arrival["by"] == "arrival"
            assert by_clocks["state"]["files"][0]["records"] == 8
            assert by_arrival["state"]["files"][0]["records"] == known
        out = tmp_path / "known.ecf"
        await anna.service.restore("Books", "a.ecf", None, str(out), at=at, known=True)
        assert out.read_bytes() == V1
        with pytest.raises(ArrivalUnknown):
            await anna.service.history("Books", None, "2001-01-01", known=True)


async def test_b_his_1_a_file_is_written_and_brought_back_as_it_was_at_a_time(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await saved(ben, [*LINES, LATE])
        anna.copy("a.ecf").write_bytes(b"".join([*LINES, LATE.replace(b"R-9001", b"R-9002")]))
        await anna.look()
        await meet(anna, ben)
        merged = ben.copy("a.ecf").read_bytes()
        between = await moment(ben)
        await saved(ben, LINES[:4])
        await meet(anna, ben)
        for machine in (anna, ben):
            out = machine.root / "then.ecf"
            said = await machine.service.restore("Books", "a.ecf", None, str(out), at=between)
            assert said["at"] == between
            assert out.read_bytes() == merged
            with pytest.raises(FileNotThen):
                await machine.service.restore("Books", "a.ecf", None, str(out), at="2001-01-01")
        await anna.service.restore("Books", "a.ecf", None, None, at=between)
        await meet(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == merged
            assert await machine.pending() == (9, 0)
        assert (ben.desk / "a.ecf").read_bytes() == merged


async def test_b_his_1_a_version_of_a_record_file_comes_back_with_its_postings(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        (first,) = await versions(ben)
        await saved(ben, LINES[:5])
        await meet(anna, ben)
        assert await anna.pending() == (0, 4)
        await anna.service.restore("Books", "a.ecf", first["version"], None)
        await meet(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("a.ecf").read_bytes() == V1
            assert await machine.pending() == (0, 0)
            assert (await machine.shown("a.ecf"))["records"] == 7


async def test_b_his_1_whole_and_detached_files_and_content_that_is_elsewhere(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        path = ben.file("notes.txt", b"first")
        await ben.service.attach("Books", [path], "other", None, None)
        await saved(ben, [b"second"], "notes.txt")  # Anna never saw the first
        await meet(anna, ben)
        newest, oldest = await versions(anna, "notes.txt")
        assert (newest["content"], oldest["content"]) == ("here", "elsewhere")
        with pytest.raises(VersionElsewhere) as refused:
            await anna.service.restore("Books", "notes.txt", oldest["version"], None)
        assert "Ben" in refused.value.text
        assert [each["content"] for each in await versions(ben, "notes.txt")] == ["here", "here"]
        async with linked(anna, ben):  # then it is fetched
            await anna.until(lambda: anna.node.engine.meets_anybody(anna.opened().id))
            said = await anna.service.restore("Books", "notes.txt", oldest["version"], None)
            assert "Ben" in said["fetched_from"]
            await in_step(anna, ben)
        for machine in (anna, ben):
            assert machine.copy("notes.txt").read_bytes() == b"first"
        assert [each["content"] for each in await versions(anna, "notes.txt")] == ["here"] * 3
        await ben.service.detach("Books", "notes.txt")
        await meet(anna, ben)
        for machine in (anna, ben):
            out = machine.root / "out.txt"
            await machine.service.restore("Books", "notes.txt", newest["version"], str(out))
            assert out.read_bytes() == b"second"
