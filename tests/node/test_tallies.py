"""What waits is noted with its sums by period: the first question after a start reads little."""

from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync.core.balance import Sums
from p2psync.node import tallies
from tests.formats.files import posting
from tests.node.rig import CRP, PATIENCE_SECONDS, Machine, founded, running

HEAD = b"#FSC\t9.5.0\tECF\r\n"
DAYS = 28


def lines(year: int, changed: str = "10.00") -> bytes:
    """One posting a day, with numbers of their own."""
    return b"".join(
        posting(
            date=f"{day:02}.03.{year}",
            voucher=f"R-{year}{day}",
            idno=f"{year}{day:02}",
            amount=changed if day == 1 else "10.00",
        )
        for day in range(1, DAYS + 1)
    )


async def waiting(machine: Machine) -> Any:
    return await machine.service.pending("Books")


async def test_the_first_question_after_a_start_reads_no_sums_by_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = tallies._sums

    def counted(noted: object) -> Sums:
        read.append(1)
        return real(noted)

    monkeypatch.setattr(tallies, "_sums", counted)
    async with running(tmp_path) as machine:
        await founded(machine, "Books")
        sales = machine.file("sales.ecf", HEAD + lines(2025) + lines(2031))
        await machine.service.attach("Books", [sales], "invoicing", None, None)
        machine.file("sales.ecf", HEAD + lines(2025, "12.00") + lines(2031))
        await machine.look()
        before = await waiting(machine)
        assert [(row["period"], row["added"]) for row in before["files"]] == [
            ("2025-01-01..2025-12-31", DAYS),
            (None, DAYS),
        ]
        await machine.service.posting.waiting.tallies.note()
    async with running(tmp_path) as machine:
        read.clear()
        assert await waiting(machine) == before
        assert len(read) == 2, "one for each period"
        assert not any(file.loaded for file in machine.opened().state.files.values())


async def test_other_accounting_years_than_were_noted_count_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await machine.service.mandate_create("Books", None)
        sales = machine.file("sales.ecf", HEAD + lines(2025) + lines(2031))
        await machine.service.attach("Books", [sales], "invoicing", None, None)
        assert [row["period"] for row in (await waiting(machine))["files"]] == [None]
        await machine.service.posting.waiting.tallies.note()
    async with running(tmp_path) as machine:
        await machine.service.attach(
            "Books", [machine.file("a.crp", CRP)], "accounting", None, None
        )
        by_year = await waiting(machine)
        assert [(row["period"], row["added"]) for row in by_year["files"]] == [
            ("2025-01-01..2025-12-31", DAYS),
            (None, DAYS),
        ]
        await machine.service.posting.waiting.tallies.note()
    async with running(tmp_path) as machine:
        assert await waiting(machine) == by_year


async def test_nothing_is_noted_of_files_without_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as machine:
        noted: list[bytes] = []
        real = machine.store.put_note

        async def counted(mandate: bytes, file: bytes, mark: bytes, value: object) -> None:
            noted.append(file)
            await real(mandate, file, mark, value)

        monkeypatch.setattr(machine.store, "put_note", counted)
        await machine.service.mandate_create("Books", None)
        paths = [machine.file(f"{number}.bin", bytes([number])) for number in range(20)]
        await machine.service.attach("Books", paths, "other", None, None)
        machine.file("3.bin", b"another content")
        await machine.look()
        known = machine.service.posting.waiting.tallies
        await known.note()
        assert not noted
        sales = machine.file("sales.ecf", HEAD + lines(2025))
        await machine.service.attach("Books", [sales], "invoicing", None, None)
        with trio.fail_after(PATIENCE_SECONDS):
            while not known.waiting:
                await trio.sleep(0.005)
        await known.note()
        assert noted
