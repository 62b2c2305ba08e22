"""Receipts of many lines: each fits into an entry, whatever its elements are named by."""

import secrets
from pathlib import Path
from typing import cast

import pytest

from p2psync.core import ops
from p2psync.core.body import Pair
from p2psync.core.files import FileState
from p2psync.formats import registry
from p2psync.limits import ENTRY_BYTES_MAX, RECEIPT_SEGMENTS_MAX
from p2psync.node.posting import _receipts
from tests.formats.files import EXAMPLES
from tests.node.rig import Machine, founded, running

FEC_HEAD = (EXAMPLES / "librairie_FEC_20251231.txt").read_bytes().splitlines(keepends=True)[0]
ENTRIES = 4_000


def pairs(entries: int, each: int) -> list[Pair]:
    return [
        ((secret, number * 2), secrets.token_bytes(16))
        for secret in [secrets.token_bytes(32) for _ in range(entries)]
        for number in range(each)
    ]


@pytest.mark.parametrize(
    ("entries", "each"), [(12_000, 1), (20, 1_500), (6_000, 2), (1, 1), (0, 0)]
)
def test_receipts_fit_into_entries_and_name_everything_once(entries: int, each: int) -> None:
    file = FileState(b"f" * 16, registry.read_segment)
    named = pairs(entries, each)
    half = len(named) // 2
    made = _receipts(
        [(file, pair) for pair in named[:half]], [(file, pair) for pair in named[half:]], 5, 7
    )
    sizes = [len(ops.encode([receipt])) for receipt in made]
    assert all(size < ENTRY_BYTES_MAX * 15 // 16 for size in sizes)
    taken = [each for receipt in made for each in (*receipt.adds, *receipt.drops)]
    assert sorted(element for each in taken for element in each.elements) == sorted(
        element for element, _ in named
    )
    assert [(each.added, each.deleted) for each in made] == [(5, 7), *[(0, 0)] * 99][: len(made)]
    if each > 1_000:
        assert len(made) == len(named) // RECEIPT_SEGMENTS_MAX


def fec_entry(number: int) -> bytes:
    head = b"VE\tVentes\t%d\t20250105\t" % (number + 1)
    tail = b"\t\t20250105\t\t\r\n"
    piece = b"\t\t\tF%d\t20250105\tFacture\t" % number
    return b"%b411\tClients%b10,00\t0,00\t%b%b707\tVentes%b0,00\t10,00\t%b" % (
        *(head, piece, tail),
        *(head, piece, tail),
    )


async def posted(machine: Machine) -> int:
    (receipts,) = [(await machine.service.receipts("Books"))["receipts"]]
    return len(cast(list[object], receipts))


async def test_thousands_of_entries_with_identifiers_are_posted(tmp_path: Path) -> None:
    """B-POS-3."""
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        data = FEC_HEAD + b"".join(map(fec_entry, range(ENTRIES)))
        await anna.service.attach("Books", [anna.file("fec.txt", data)], "invoicing", None, None)
        assert await anna.pending() == (2 * ENTRIES, 0)
        await anna.service.post("Books", [], None)
        assert await anna.pending() == (0, 0)
        assert await posted(anna) == 2
