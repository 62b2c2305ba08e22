"""FEC, DATEV and delimited files on two nodes: attached, merged, posted, moved on to a new year."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from p2psync.errors import DefinitionInvalid, FormatUnknown, OfferedAndFiles
from tests.node.rig import EXAMPLES, Machine, founded, in_step, invited, linked, running

FEC = (EXAMPLES / "librairie_FEC_20251231.txt").read_bytes()
DATEV = (EXAMPLES / "EXTF_Buchungsstapel_2025-02.csv").read_bytes()
CASH = (EXAMPLES / "kassenbuch_2025-01.txt").read_bytes()
CASH_TOML = (EXAMPLES / "kassenbuch.toml").read_text("utf-8")


@dataclass(frozen=True)
class Case:
    """A file, and what two people add to it: their records follow the lines that are given."""

    name: str
    data: bytes
    records: int
    one: bytes
    other: bytes
    after: tuple[int, int]
    title: str
    amounts: tuple[str, str]
    format: str | None = None


def _fec(number: str, amount: str, text: str) -> bytes:
    start = f"VE\tVentes\t{number}\t20250304\t"
    end = f"\t\t\tF-{number}\t20250304\t{text}\t"
    lines = [
        f"{start}411000\tClients{end}{amount}\t0,00\t\t\t20260131\t\t\r\n",
        f"{start}707000\tVentes{end}0,00\t{amount}\t\t\t20260131\t\t\r\n",
    ]
    return "".join(lines).encode()


def _datev(amount: str, day: str, text: str) -> bytes:
    line = DATEV.splitlines(keepends=True)[2]
    line = line.replace(b"1190,00", amount.encode()).replace(b"0302", day.encode())
    return line.replace(b"Beratung Januar", text.encode())


def _cash(voucher: str, amount: str) -> bytes:
    lines = [
        f"31.01.2025;{voucher};1000;Verkauf;S;{amount};;rolf\r\n",
        f"31.01.2025;{voucher};3400;Verkauf;H;{amount};;rolf\r\n",
    ]
    return "".join(lines).encode()


CASES = [
    Case(
        "books.txt",
        FEC,
        16,
        _fec("7", "10,00", "une"),
        _fec("8", "20,00", "autre"),
        (8, 17),
        "FEC, French accounting entries",
        ("10.00", "20.00"),
    ),
    Case(
        "batch.csv",
        DATEV,
        5,
        _datev("10,00", "1002", "eins"),
        _datev("20,00", "1102", "zwei"),
        (3, 7),
        "DATEV batch of postings",
        ("10.00", "20.00"),
    ),
    Case(
        "cash.txt",
        CASH,
        7,
        _cash("K-1", "10,00"),
        _cash("K-2", "20,00"),
        (2, 9),
        "Delimited text (Kasse 3000)",
        ("10.00", "20.00"),
        CASH_TOML,
    ),
]


def _with(data: bytes, added: bytes, place: int) -> bytes:
    lines = data.splitlines(keepends=True)
    return b"".join([*lines[:place], added, *lines[place:]])


async def _attached(anna: Machine, ben: Machine, case: Case) -> None:
    await founded(anna)
    await ben.service.subscribe(await invited(anna), None, None, None)
    await in_step(anna, ben)
    path = ben.file(case.name, case.data)
    await ben.service.attach("Books", [path], "invoicing", None, None, format=case.format)
    await in_step(anna, ben)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_record_that_is_added_reaches_the_other(tmp_path: Path, case: Case) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _attached(anna, ben, case)
            assert anna.copy(case.name).read_bytes() == case.data
            assert await anna.pending() == (case.records, 0)
            shown = await anna.shown(case.name)
            assert shown["merge"] == "records"
            assert shown["format_title"]["text"] == case.title
            codes = {problem["code"] for problem in shown["problems"]}
            assert codes <= {"unknown-account", "unknown-vat-code"}  # of the accounting's settings
            ben.file(case.name, _with(case.data, case.one, case.after[0]))
            await ben.look()
            await in_step(anna, ben)
        assert anna.copy(case.name).read_bytes() == _with(case.data, case.one, case.after[0])
        assert await anna.pending() == (case.records + case.one.count(b"\r\n"), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_what_two_people_add_while_apart_is_merged_and_posted(
    tmp_path: Path, case: Case
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _attached(anna, ben, case)
            await anna.service.post("Books", [], None)
            await in_step(anna, ben)
        anna.copy(case.name).write_bytes(_with(case.data, case.one, case.after[0]))
        ben.file(case.name, _with(case.data, case.other, case.after[1]))
        await anna.look()
        await ben.look()
        both = _with(_with(case.data, case.other, case.after[1]), case.one, case.after[0])
        async with linked(anna, ben):
            await in_step(anna, ben)
            assert anna.copy(case.name).read_bytes() == both
            assert (ben.desk / case.name).read_bytes() == both
            assert await anna.alerts() == await ben.alerts() == []
            added = case.one.count(b"\r\n") + case.other.count(b"\r\n")
            assert await anna.pending() == (added, 0)
            found = await anna.service.pending("Books")
            (row,) = [row for row in found["files"] if row["added"]]
            assert row["period"] == "2025-01-01..2025-12-31"
            out = anna.desk / "out.csv"
            said = await anna.service.post("Books", [], str(out), "csv")
            assert said["added"] == added
            for amount in case.amounts:
                assert f",{amount}," in out.read_text("utf-8")
            assert await anna.pending() == (0, 0)


async def test_beancount_gets_each_format_s_postings(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        for case in CASES:
            path = anna.file(case.name, case.data)
            await anna.service.attach("Books", [path], "invoicing", None, None, format=case.format)
        out = anna.desk / "out.beancount"
        said = await anna.service.post("Books", [], str(out), "beancount", "EUR")
        assert said["added"] == 28
        assert "unexpressed" not in said or said["unexpressed"] == 0
        text = out.read_text("utf-8")
        for part in ("Assets:1000  43.20 EUR", "Expenses:8400  -1190.00 EUR", "Expenses:512000"):
            assert part in text
        assert "Unbalanced" not in text


async def test_the_next_year_of_a_definition_s_file_needs_no_definition(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        first = anna.file("cash_2025.txt", CASH)
        await anna.service.attach("Books", [first], "invoicing", None, None, format=CASH_TOML)
        before = (await anna.shown("cash_2025.txt"))["format"]
        second = anna.file("cash_2026.txt", CASH.replace(b".2025;", b".2026;"))
        await anna.service.attach("Books", [second], "invoicing", None, "cash_2025.txt")
        assert (await anna.shown("cash_2026.txt"))["format"] == before
        assert before.startswith("delimited:")


async def test_a_batch_of_another_year_is_never_merged_into_the_file(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("batch.csv", DATEV)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        assert (await anna.shown("batch.csv"))["format"] == "datev-postings:20250101"
        anna.file("batch.csv", DATEV.replace(b";20250101;", b";20260101;"))
        await anna.look()
        shown = await anna.shown("batch.csv")
        assert "other-year" in [problem["code"] for problem in shown["problems"]]


async def test_a_format_can_be_named_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        service = anna.service
        path = anna.file("books.txt", FEC)
        for text, error in (
            ("fech", FormatUnknown),
            ("delimited", FormatUnknown),
            ('name = "x"', DefinitionInvalid),
        ):
            with pytest.raises(error):
                await service.attach("Books", [path], "invoicing", None, None, format=text)
        with pytest.raises(OfferedAndFiles):
            await service.attach("Books", [], None, None, None, offered=True, format="fec")
        await service.attach("Books", [path], "invoicing", None, None, format="opaque")
        shown = await anna.shown("books.txt")
        assert (shown["format"], shown["merge"]) == ("opaque", "whole")
