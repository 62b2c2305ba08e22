"""Files that are too large to be merged record by record: whole, told plainly, counted."""

from pathlib import Path

import pytest
import trio

from tests.formats.files import HEADER, posting
from tests.node.rig import (
    PATIENCE_SECONDS,
    Machine,
    digest,
    founded,
    in_step,
    invited,
    linked,
    running,
)

LINES_MAX = 1_500
LINES = [
    posting(text=f"Facture {number} de mars, payable à trente jours") for number in range(2_000)
]
LARGE = HEADER + b"".join(LINES)
SMALL = HEADER + b"".join(LINES[:1_000])


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psync.formats.cresus_postings.RECORD_FILE_LINES_MAX", LINES_MAX)


async def told(machine: Machine, text: str) -> None:
    """Return when the file's problem says so."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            shown = await machine.shown("a.ecf")
            (problem,) = [each for each in shown["problems"] if each["code"] == "not-readable"]
            if text in problem["text"]:
                return
            await trio.sleep(0.01)


async def test_a_large_record_file_is_whole_on_both_sides_and_says_how_much_it_holds(
    tmp_path: Path,
) -> None:
    """B-POS-8: what is not counted is said."""
    async with (
        running(tmp_path / "anna") as anna,
        running(tmp_path / "ben") as ben,
        linked(anna, ben),
    ):
        await founded(anna)
        ticket = await invited(anna)
        await ben.service.subscribe(ticket, None, ben.file("a.ecf", LARGE), "invoicing")
        await in_step(anna, ben)
        assert digest(anna.copy("a.ecf")) == digest(ben.desk / "a.ecf")
        for machine in (anna, ben):
            await told(machine, "2000 records")
            assert (await machine.shown("a.ecf"))["period"] == "2025-03-05..2025-03-05"
            assert await machine.pending() == (0, 0)


async def test_a_file_that_becomes_small_enough_is_counted_again(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", LARGE)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await told(anna, "2000 records")
        anna.file("a.ecf", SMALL)
        await anna.look()
        assert await anna.pending() == (1_000, 0)
        assert not [
            each
            for each in (await anna.shown("a.ecf"))["problems"]
            if each["code"] == "not-readable"
        ]


async def test_a_file_that_grows_too_large_stays_whole_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        path = anna.file("a.ecf", SMALL)
        await anna.service.attach("Books", [path], "invoicing", None, None)
        await anna.rest()
        assert await anna.pending() == (1_000, 0)
        anna.file("a.ecf", LARGE)
        await anna.look()
        await told(anna, "2000 records")
        await told(anna, "the 1000 records of the last version that could be read")
        assert await anna.pending() == (1_000, 0)
        anna.file("a.ecf", SMALL + posting(text="neu"))
        await anna.look()
        assert await anna.pending() == (1_001, 0)
        assert anna.copy("a.ecf").read_bytes() == SMALL + posting(text="neu")
