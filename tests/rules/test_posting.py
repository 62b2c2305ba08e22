"""B-POS: what waits, posting, receipts, the seat. Two real nodes; both sides are looked at."""

import csv
import datetime
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from p2psync.errors import (
    CurrencyInvalid,
    DeviceAmbiguous,
    DeviceUnknown,
    OutputExists,
    OutputFormatUnknown,
    OutputNeeded,
    SeatElsewhere,
    SeatEmpty,
    SeatHeirMayNot,
    SeatNotYours,
    SeatUnclaimed,
)
from p2psync.node.detaching import detachment
from p2psync.storage.events import EVERYTHING
from tests.node.rig import (
    CRP,
    V1,
    V2,
    V2_RENUMBERED,
    Machine,
    founded,
    in_step,
    invited,
    linked,
    running,
)

LINES = V1.splitlines(keepends=True)
YEAR = "2025-01-01..2025-12-31"


@asynccontextmanager
async def office(tmp_path: Path, role: str = "writer") -> AsyncIterator[tuple[Machine, Machine]]:
    """Anna has the accounting, Ben the invoicing file ``a.ecf``; they are not linked."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.identity_set("Anna")
        await ben.service.identity_set("Ben")
        await founded(anna)
        ticket = await invited(anna, role)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, ben.file("a.ecf", V1), "invoicing")
            await in_step(anna, ben)
        yield anna, ben


async def save(machine: Machine, *lines: bytes, name: str = "a.ecf") -> None:
    machine.file(name, b"".join(lines))
    await machine.look()


async def events(machine: Machine, kind: str) -> list[dict[str, Any]]:
    """The events of a type, oldest first, once all that follows from the last change is told."""
    await machine.until(lambda: not machine.service.posting.waiting.telling)
    await machine.node.notices.kept()
    found = await machine.store.events_since(0, EVERYTHING, 1_000)
    return [event for event in found.events if event["type"] == kind]


async def test_b_pos_1_the_accounting_hears_of_each_save_how_much_it_is_who_and_when(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        late = LINES[2].replace(b"05.03.2025", b"05.03.2031").replace(b"R-2001", b"R-9")
        await save(ben, *LINES, late)
        for machine in (anna, ben):
            assert len(await events(machine, "records-waiting")) == (1 if machine is anna else 2)
        async with linked(anna, ben):  # away while it was saved: told when it is there again
            await in_step(anna, ben)
            told = (await events(anna, "records-waiting"))[-1]
            assert (told["file"], told["device_name"]) == ("a.ecf", "Ben")
            assert told["data"]["added"] == 8
            assert [each["period"] for each in told["data"]["periods"]] == [YEAR, None]
            assert told["data"]["periods"][1]["amount"] == "2340.00"
            assert "8 added and 0 deleted" in told["text"]
            assert f"({YEAR}: +7 -0 = 7405.81; ?: +1 -0 = 2340.00)" in told["text"]
            one_period = (await events(ben, "records-waiting"))[0]["text"]
            assert "7405.81 in all; saved by" in one_period
            assert "Ben" in told["text"]
            assert await anna.service.pending("Books") == await ben.service.pending("Books")
        found = await anna.service.pending("Books")
        inside, outside = sorted(found["files"], key=lambda row: row["period"] is None)
        assert (inside["name"], inside["period"], inside["added"]) == ("a.ecf", YEAR, 7)
        assert inside["groups"] == {"added": 5, "deleted": 0}  # one group of three lines
        assert (inside["amount"], inside["amount_deleted"]) == ("7405.81", "0.00")
        assert inside["saved_by"] == "Ben"
        assert datetime.datetime.fromisoformat(inside["saved"]).tzinfo is not None
        assert (outside["period"], outside["added"], outside["amount"]) == (None, 1, "2340.00")
        assert [problem["code"] for problem in outside["problems"]] == ["no-period"]
        assert found["amount"] == "9745.81"


async def test_b_pos_1_a_balanced_entry_counts_once_and_currencies_are_summed_apart(
    tmp_path: Path,
) -> None:
    entries = (
        b'2025-03-01 * "Sale"\n  Assets:Bank  100.00 CHF\n  Income:Sales  -90.00 CHF\n'
        b"  Liabilities:VAT  -10.00 CHF\n\n"
        b'2025-03-02 * "Sale"\n  Assets:Bank  20.00 EUR\n  Income:Sales  -20.00 EUR\n'
    )
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        path = ben.file("books.beancount", entries)
        await ben.service.attach("Books", [path], "invoicing", None, None)
        await in_step(anna, ben)
        found = await anna.service.pending("Books", ["books.beancount"])
        assert (found["added"], found["amount"]) == (5, None)
        assert found["amounts"] == {
            "CHF": {"amount": "100.00", "added": "100.00", "deleted": "0.00"},
            "EUR": {"amount": "20.00", "added": "20.00", "deleted": "0.00"},
        }
        (row,) = found["files"]
        assert (row["amount"], row["amount_added"], row["amounts"]) == (
            None,
            None,
            found["amounts"],
        )
        told = (await events(anna, "records-waiting"))[-1]
        assert "100.00 CHF, 20.00 EUR in all; saved by" in told["text"]
        assert told["data"]["amounts"] == {"CHF": "100.00", "EUR": "20.00"}


async def test_b_pos_1_numbers_are_complete_however_few_records_are_listed(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        async with linked(anna, ben):
            path = ben.file("b.ecf", V2)
            await ben.service.attach("Books", [path], "invoicing", None, None)
            await in_step(anna, ben)
        whole = await anna.service.pending("Books")
        assert (whole["added"], whole["left_out"]) == (15, 0)
        for records in (0, 3, 9):
            some = await anna.service.pending("Books", [], records)
            assert sum(len(row["records"]) for row in some["files"]) == records
            assert some["left_out"] == 15 - records
            assert {**some, "files": [], "left_out": 0} == {**whole, "files": []}
            for short, full in zip(some["files"], whole["files"], strict=True):
                assert short["records"] == full["records"][: len(short["records"])]
                assert (short["added"], short["amount"]) == (full["added"], full["amount"])
        one = await anna.service.pending("Books", ["b.ecf"])
        assert [row["name"] for row in one["files"]] == ["b.ecf"]
        assert one["added"] == 8


async def test_b_pos_1_what_waits_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        async with linked(anna, ben):
            await anna.service.post("Books", [], None)
            await save(ben, *LINES[:3], LINES[3].replace(b"615.75", b"600.00"), *LINES[4:8])
            await in_step(anna, ben)
        before = await anna.service.pending("Books")
        assert (before["added"], before["deleted"], before["changed"]) == (1, 2, 1)
        await anna.service.posting.waiting.tallies.note()
    async with running(tmp_path / "anna") as anna:
        (file,) = [f for f in anna.opened().state.present_files() if f.info.kind == "invoicing"]
        assert await anna.service.pending("Books") == before
        assert not file.loaded, "what was noted is enough"
        assert (await anna.service.pending("Books", [], 2))["left_out"] == 1
    async with running(tmp_path / "ben") as ben:  # nothing noted: read from the file
        assert await ben.service.pending("Books") == before


async def test_b_pos_2_pending_is_a_difference_of_multisets(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await anna.service.post("Books", [], None)
        await save(ben, *LINES, LINES[3])  # one more, identical: two postings
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (1, 0)
        await save(ben, *LINES[:3], *LINES[4:])  # both gone: one of them was posted
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (0, 1)
        await save(ben, V2)
        await in_step(anna, ben)
        counts = await anna.pending()
        await save(ben, V2_RENUMBERED)  # the same postings under other numbers
        await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == counts


async def test_b_pos_3_post_hands_over_chosen_sources_and_names_what_it_took(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        path = ben.file("b.ecf", V2)
        await ben.service.attach("Books", [path], "invoicing", None, None)
        await in_step(anna, ben)
        out = anna.desk / "out.txt"
        said = await anna.service.post("Books", ["a.ecf"], str(out))
        await in_step(anna, ben)
        assert (said["added"], out.read_bytes()) == (7, b"".join(LINES[2:]))
        for machine in (anna, ben):
            (receipt,) = (await machine.service.receipts("Books"))["receipts"]
            assert (receipt["receipt"], receipt["files"]) == (said["receipt"], ["a.ecf"])
            assert await machine.pending() == (8, 0)
        with pytest.raises(OutputExists):
            await anna.service.post("Books", [], str(out))
        assert await anna.pending() == (8, 0)
        await save(ben, *LINES[:2], *LINES[3:])
        await in_step(anna, ben)
        again = anna.desk / "again.txt"
        assert "output_deleted" not in said
        said = await anna.service.post("Books", ["a.ecf"], str(again))
        assert said["output_deleted"] == str(anna.desk / "again.txt.deleted")
        assert again.read_bytes() == b""
        assert (anna.desk / "again.txt.deleted").read_bytes() == LINES[2]


async def test_b_pos_3_as_csv_and_as_beancount(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        out = anna.desk / "out.csv"
        said = await anna.service.post("Books", [], str(out), "csv")
        rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"), newline="")))
        assert (len(rows), said["format"]) == (7, "csv")
        assert rows[0]["text"] == "Poterie du Vallon, série émaillée"
        assert (rows[0]["date"], rows[0]["amount"]) == ("2025-03-05", "2340.00")
        assert {row["period"] for row in rows} == {YEAR}
        assert out.read_bytes().count(b"\r\n") == out.read_bytes().count(b"\n") == 8
        await save(ben, *LINES[:2], LINES[2].replace(b"2340.00", b"2300.00"), *LINES[3:])
        await in_step(anna, ben)
        books = anna.desk / "out.beancount"
        await anna.service.post("Books", [], str(books), "beancount", "EUR")
        text = books.read_text("utf-8")
        assert "  Assets:1100  2300.00 EUR\n  Income:3400  -2300.00 EUR\n" in text
        assert "  Assets:1100  -2340.00 EUR\n  Income:3400  2340.00 EUR\n" in text
        assert not (anna.desk / "out.beancount.deleted").exists()
        for arguments, error in (
            ((str(out), "xml"), OutputFormatUnknown),
            ((None, "csv"), OutputNeeded),
            ((str(out), "beancount", "francs"), CurrencyInvalid),
        ):
            with pytest.raises(error):
                await anna.service.post("Books", [], *arguments)


async def test_b_pos_4_the_source_sees_generated_delivered_posted(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await save(ben, V2)
        (waits,) = (await ben.service.receipts("Books"))["waiting"]
        assert (waits["file"], waits["state"], waits["by"]) == ("a.ecf", "generated", "Ben")
        assert (await ben.shown("a.ecf"))["posting"]["state"] == "generated"
        async with linked(anna, ben):
            await in_step(anna, ben)
        (waits,) = (await ben.service.receipts("Books"))["waiting"]
        assert waits["state"] == "delivered"
        assert datetime.datetime.fromisoformat(waits["delivered"]).tzinfo is not None
        await ben.node.delivery.keep()
        said = await anna.service.post("Books", [], None)
    async with running(tmp_path / "ben") as ben, running(tmp_path / "anna") as anna:
        posting = (await ben.shown("a.ecf"))["posting"]  # known after a restart, too
        assert (posting["state"], posting["delivered"]["at"]) == ("delivered", waits["delivered"])
        async with linked(anna, ben):
            await in_step(anna, ben)
        answer = await ben.service.receipts("Books")
        assert answer["waiting"] == []
        posting = (await ben.shown("a.ecf"))["posting"]
        assert (posting["state"], posting["posted"]["by"]) == ("posted", "Anna")
        assert posting["posted"]["receipt"] == said["receipt"]
        assert posting["posted"]["at"] == answer["receipts"][0]["at"]
        (told,) = await events(ben, "posted")
        assert (told["device_name"], told["data"]["receipt"]) == ("Anna", said["receipt"])


async def test_b_pos_5_unpost_takes_a_receipt_back(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        said = await anna.service.post("Books", [], None)
        await in_step(anna, ben)
        assert await ben.pending() == (0, 0)
        taken = await anna.service.unpost("Books", said["receipt"][:8])
        assert taken == {"receipt": said["receipt"], "state": "retracted"}
        await in_step(anna, ben)
        for machine in (anna, ben):
            assert await machine.pending() == (7, 0)
            (receipt,) = (await machine.service.receipts("Books"))["receipts"]
            assert receipt["state"] == "retracted"
            (told,) = await events(machine, "unposted")
            assert (told["device_name"], told["data"]["added"]) == ("Anna", 7)


async def test_b_pos_5_a_record_edited_after_it_was_posted_shows_as_changed(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        await anna.service.post("Books", [], None)
        edited = LINES[3].replace(b"615.75", b"600.00")
        new = LINES[3].replace(b"R-2002", b"R-2099").replace(b"615.75", b"5.00")
        await save(ben, *LINES[:3], edited, *LINES[4:5], new, *LINES[5:])
        await in_step(anna, ben)
        for machine in (anna, ben):
            found = await machine.service.pending("Books")
            assert (found["added"], found["deleted"], found["changed"]) == (2, 1, 1)
            (row,) = found["files"]
            assert (row["amount"], row["amount_added"], row["amount_deleted"]) == (
                "-10.75",
                "605.00",
                "615.75",
            )
            shown = [(r["change"], r.get("changed"), r["amount"]) for r in row["records"]]
            assert shown == [
                ("deleted", True, "615.75"),
                ("added", True, "600.00"),
                ("added", None, "5.00"),
            ]


async def test_b_pos_6_two_who_posted_the_same_apart_see_one_alert_and_count_once(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        seat = await anna.service.seat_hand("Books", "Ben")
        assert seat["seat"]["name"] == "Ben"
        async with linked(anna, ben):
            await in_step(anna, ben)
        theirs = await ben.service.post("Books", [], None)
        # Anna did not hear of it; an owner, she takes the seat back and posts the same.
        await anna.service.seat_hand("Books", "Anna")
        ours = await anna.service.post("Books", [], None)
        async with linked(anna, ben):
            await in_step(anna, ben)
            alerts = []
            for machine in (anna, ben):
                assert await machine.alerts() == ["double-posting"]
                (alert,) = (await machine.service.alerts(None))["alerts"]
                alerts.append((alert["text"], alert["data"], alert["file"], alert["action"]))
                assert await machine.pending() == (0, 0)
                receipts = (await machine.service.receipts("Books"))["receipts"]
                assert {receipt["state"] for receipt in receipts} == {"contested"}
            assert alerts[0] == alerts[1]
            assert alerts[0][1]["receipts"] == sorted([ours["receipt"], theirs["receipt"]])
            await anna.service.unpost("Books", theirs["receipt"])
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert await machine.alerts() == []
                assert await machine.pending() == (0, 0)
                states = {
                    receipt["receipt"]: receipt["state"]
                    for receipt in (await machine.service.receipts("Books"))["receipts"]
                }
                assert states == {ours["receipt"]: "posted", theirs["receipt"]: "retracted"}


async def test_b_pos_7_only_who_has_the_seat_posts_and_it_can_be_handed_over(
    tmp_path: Path,
) -> None:
    async with office(tmp_path, "accounting") as (anna, ben):
        with pytest.raises(SeatElsewhere) as told:
            await ben.service.post("Books", [], None)
        assert "Anna" in told.value.text
        with pytest.raises(SeatNotYours) as not_his:
            await ben.service.seat_hand("Books", "Ben")
        assert "Anna" in not_his.value.text
        for name, error in (("Nobody", DeviceUnknown), ("", DeviceUnknown)):
            with pytest.raises(error):
                await anna.service.seat_hand("Books", name)
        shown = await anna.service.seat_show("Books")
        assert (shown["this_device"], shown["may_hand"]) == (True, True)
        assert [heir["name"] for heir in shown["heirs"]] == ["Ben"]
        assert await anna.service.seat_show("Books") == shown, "refusals change nothing"
        await anna.service.seat_hand("Books", ben.device.hex()[:8])
        with pytest.raises(SeatElsewhere):
            await anna.service.post("Books", [], None)
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert (await machine.service.seat_show("Books"))["seat"]["name"] == "Ben"
                (told_all,) = await events(machine, "seat-handed")
                assert "Anna" in told_all["text"]
                assert told_all["data"] == {"holder": ben.device.hex()}
            assert (await ben.service.post("Books", [], None))["added"] == 7
            await in_step(anna, ben)
            assert await anna.pending() == (0, 0)


async def test_b_pos_7_nobody_posts_before_there_is_an_accounting(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await anna.service.mandate_create("Books", None)
        path = anna.file("a.ecf", V1)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        assert await anna.pending() == (7, 0)
        with pytest.raises(SeatEmpty):
            await anna.service.post("Books", [], None)
        with pytest.raises(SeatUnclaimed):
            await anna.service.seat_hand("Books", anna.device.hex())
        assert (await anna.service.seat_show("Books"))["seat"] is None


async def test_b_pos_7_who_may_not_post_cannot_get_the_seat(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        with pytest.raises(SeatHeirMayNot) as refused:
            await anna.service.seat_hand("Books", "Ben")
        assert "writer" in refused.value.text
        await ben.service.identity_set("Anna")
        async with linked(anna, ben):
            await in_step(anna, ben)
        with pytest.raises(DeviceAmbiguous):
            await anna.service.seat_hand("Books", "Anna")


async def test_b_pos_7_a_contested_seat_is_settled_by_handing_it_to_who_shall_have_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await anna.service.identity_set("Anna")
        await ben.service.identity_set("Ben")
        await anna.service.mandate_create("Books", None)
        ticket = await invited(anna, "accounting")
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        for machine in (anna, ben):
            path = machine.file("year.crp", CRP)
            await machine.service.attach("Books", [path], "accounting", None, None)
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                shown = await machine.service.seat_show("Books")
                assert shown["seat"]["name"] == "Anna"
                assert [each["name"] for each in shown["contested"]] == ["Ben"]
                assert "seat-contested" in await machine.alerts()
            settled = await anna.service.seat_hand("Books", anna.device.hex())
            assert (settled["seat"]["name"], settled["contested"]) == ("Anna", [])
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert (await machine.service.seat_show("Books"))["contested"] == []
                assert "seat-contested" not in await machine.alerts()
                assert len(await events(machine, "seat-handed")) == 1


async def test_b_pos_7_posting_a_file_that_was_detached_meanwhile_is_told_and_loses_nothing(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        # As Ben's machine does when he leaves: B-REM-6 asks for no cancelling.
        file = next(f for f in ben.opened().state.present_files() if f.device == ben.device)
        await ben.node.author(ben.opened(), [detachment(file)]).wait()
        said = await anna.service.post("Books", [], None)
        assert said["added"] == 7
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                (receipt,) = (await machine.service.receipts("Books"))["receipts"]
                assert (receipt["receipt"], receipt["state"]) == (said["receipt"], "posted")
                assert receipt["files"] == ["a.ecf"]
                assert await machine.alerts() == ["detached-posted"]
            await anna.service.unpost("Books", said["receipt"])
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert await machine.alerts() == []


async def test_b_pos_8_records_with_problems_are_listed_and_block_nothing(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        bad = [
            LINES[2].replace(b"05.03.2025", b"05.03.2031").replace(b"R-2001", b"X-1"),
            LINES[2].replace(b"\t3400\t", b"\t3999\t").replace(b"R-2001", b"X-2"),
            LINES[6].replace(b"69.66", b"70.00").replace(b"B-77", b"X-3"),
            LINES[2].replace(b"2340.00", b"2341.00"),
            LINES[2].replace(b"05.03.2025", b"soon").replace(b"2340.00", b"much"),
        ]
        await save(ben, *LINES, *bad)
        await in_step(anna, ben)
        for machine in (anna, ben):
            problems = (await machine.shown("a.ecf"))["problems"]
            assert {problem["code"] for problem in problems} == {
                "no-period",
                "unknown-account",
                "unbalanced-group",
                "duplicate-voucher",
                "duplicate-id",
                "unreadable-line",
            }
            lines = {problem["code"]: problem["line"] for problem in problems}
            assert lines["no-period"] == len(LINES) + 1
            assert lines["duplicate-voucher"] == len(LINES) + 4
            assert await machine.pending() == (11, 0)
        out = anna.desk / "out.txt"
        assert (await anna.service.post("Books", [], str(out)))["added"] == 11
        assert out.read_bytes() == b"".join([*LINES[2:], *bad[:4]])
        await in_step(anna, ben)
        assert await ben.pending() == (0, 0)
        assert (ben.desk / "a.ecf").read_bytes() == b"".join([*LINES, *bad])


async def test_b_pos_8_a_file_with_another_number_of_fields_is_told_and_counted(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben), linked(anna, ben):
        drifted = LINES[2].replace(b"R-2001", b"X-1").replace(b"\r\n", b"\textra\r\n")
        await save(ben, *LINES, drifted)
        await in_step(anna, ben)
        for machine in (anna, ben):
            codes = [problem["code"] for problem in (await machine.shown("a.ecf"))["problems"]]
            assert "field-count" in codes
            assert await machine.pending() == (8, 0)
