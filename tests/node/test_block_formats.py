"""Files of other programs between two nodes: what is added on both sides while apart is in both."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from p2psync.formats import registry
from tests.node.rig import EXAMPLES, Machine, founded, in_step, invited, linked, running


@dataclass(frozen=True)
class Case:
    """An example file, with three pieces that people add at its end."""

    name: str
    added: tuple[bytes, bytes, bytes]
    records: int
    """Records in each of the pieces."""
    expressible: bool = True
    """Whether beancount can say its records: those of a bank name no account."""

    @property
    def data(self) -> bytes:
        return (EXAMPLES / self.name).read_bytes()


def _voucher(number: int, text: str) -> bytes:
    return (
        f'#VER A {number} 20250401 "{text}"\r\n{{\r\n'
        f"   #TRANS 1510 {{}} {number}.00\r\n   #TRANS 3010 {{}} -{number}.00\r\n}}\r\n"
    ).encode("cp437")


def _delivery(number: int) -> bytes:
    payment = b"002010001234%027d%010d0000  0000210401210401210402%023d" % (number, 500, 0)
    total = b"999010001234%b%012d%012d210402%b%b" % (b"9" * 27, 500, 1, b"0" * 9, b" " * 22)
    return payment + b"\r\n" + total + b"\r\n"


def _directive(day: int, text: str) -> bytes:
    postings = f"  Expenses:Rent   {day}.00 CHF\n  Assets:Bank:Current\n"
    return f'\n2025-04-{day:02d} * "{text}"\n{postings}'.encode()


def _transaction(day: int, text: str) -> bytes:
    postings = f"    Expenses:Rent    {day}.00 CHF\n    Assets:Bank\n"
    return f"\n2025/04/{day:02d} {text}\n{postings}".encode()


CASES = [
    Case("norrvik_2025.se", (_voucher(3, "Låda"), _voucher(4, "Anna"), _voucher(5, "Ben")), 2),
    Case("rivage_2021_type3.v11", (_delivery(1), _delivery(2), _delivery(3)), 1, False),
    Case(
        "rivage_2025.beancount",
        (_directive(1, "Vélo"), _directive(2, "Anna"), _directive(3, "Ben")),
        2,
    ),
    Case(
        "rivage_2025.journal",
        (_transaction(1, "Vélo"), _transaction(2, "Anna"), _transaction(3, "Ben")),
        2,
    ),
]


def _records(name: str, data: bytes) -> Counter[bytes]:
    document = registry.find(name, data).parse(data)
    assert document.mergeable
    return Counter(record.key for segment in document.segments for record in segment.records)


async def _handed_over(machine: Machine, kind: str) -> bytes:
    """Posts into a file of a kind, and takes the post back."""
    path = machine.desk / f"out.{kind}"
    made = await machine.service.post("Books", [], str(path), kind)
    await machine.service.unpost("Books", made["receipt"])
    return path.read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.partition(".")[2])
async def test_what_both_add_while_apart_is_in_both_and_is_posted(
    case: Case, tmp_path: Path
) -> None:
    """B-POS-1."""
    first, annas, bens = case.added
    base = case.data
    count = sum(_records(case.name, base).values())
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await founded(anna)
            ticket = await invited(anna)
            path = ben.file(case.name, base)
            await ben.service.subscribe(ticket, None, path, "invoicing")
            await in_step(anna, ben)
            assert anna.copy(case.name).read_bytes() == base
            assert await anna.pending() == await ben.pending() == (count, 0)
            ben.file(case.name, base + first)
            await ben.look()
            await in_step(anna, ben)
            assert anna.copy(case.name).read_bytes() == base + first
            assert await anna.pending() == (count + case.records, 0)
        anna.copy(case.name).write_bytes(base + first + annas)
        await anna.look()
        ben.file(case.name, base + first + bens)
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        merged = anna.copy(case.name).read_bytes()
        assert merged == (ben.desk / case.name).read_bytes()
        assert merged in (base + first + annas + bens, base + first + bens + annas)
        assert _records(case.name, merged) == _records(case.name, base + first + annas + bens)
        everything = count + 3 * case.records
        assert await anna.pending() == await ben.pending() == (everything, 0)
        assert await anna.alerts() == await ben.alerts() == []

        rows = list(csv.DictReader(io.StringIO((await _handed_over(anna, "csv")).decode())))
        assert len(rows) == everything
        assert all(row["date"] and row["amount"] for row in rows)
        said = (await _handed_over(anna, "beancount")).decode()
        comments = sum(line.startswith("; ") for line in said.splitlines())
        assert comments == (0 if case.expressible else everything)
        assert "Unbalanced" not in said
        raw = await _handed_over(anna, "raw")
        assert _records(case.name, raw) == _records(case.name, merged)
        await anna.service.post("Books", [], None)
        assert await anna.pending() == (0, 0)
        ben.file(case.name, merged.replace(annas, b""))
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        assert await anna.pending() == (0, case.records)


async def test_one_number_taken_by_two_people_apart_is_told_until_one_has_another(
    tmp_path: Path,
) -> None:
    name = "norrvik_2025.se"
    base = (EXAMPLES / name).read_bytes()
    annas, bens = _voucher(9, "Kaffe"), _voucher(9, "Papper")
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await founded(anna)
            ticket = await invited(anna)
            await ben.service.subscribe(ticket, None, ben.file(name, base), "invoicing")
            await in_step(anna, ben)
            count, _ = await anna.pending()
        anna.copy(name).write_bytes(base + annas)
        await anna.look()
        ben.file(name, base + bens)
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert await machine.pending() == (count + 4, 0)
                twofold, repeated = (await machine.shown(name))["problems"][:2]
                assert (twofold["code"], repeated["code"]) == ("two-contents", "duplicate-id")
                assert twofold["params"]["count"] == "1"
                assert repeated["params"] == {"voucher": "A 9", "first": "51"}
            merged = ben.desk / name
            settled = merged.read_bytes().replace(
                b'#VER A 9 20250401 "Kaffe"', b'#VER A 10 20250401 "Kaffe"'
            )
            ben.file(name, settled)
            await ben.look()
            await in_step(anna, ben)
            assert anna.copy(name).read_bytes() == settled
            for machine in (anna, ben):
                assert await machine.pending() == (count + 4, 0)
                codes = [each["code"] for each in (await machine.shown(name))["problems"]]
                assert not {"two-contents", "duplicate-id"}.intersection(codes)
