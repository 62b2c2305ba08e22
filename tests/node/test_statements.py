"""Bank files on two nodes with real files: what is imported on both sides counts once."""

import csv
import re
from pathlib import Path

import pytest

from tests.node.rig import EXAMPLES, Machine, founded, in_step, invited, linked, running

CAMT = (EXAMPLES / "rivage_2025-03_camt053.xml").read_bytes()
OFX = (EXAMPLES / "rivage_2025-03.ofx").read_bytes()
PAIN = (EXAMPLES / "rivage_2025-03_pain001.xml").read_bytes()
CAMT_NEW = re.search(rb"\n      <Ntry>\n        <Amt Ccy=\"CHF\">12.50.*?</Ntry>", CAMT, re.DOTALL)
OFX_NEW = re.search(rb"\r\n<STMTTRN>\r\n<TRNTYPE>FEE.*?</STMTTRN>", OFX, re.DOTALL)


class _Statement:
    """A statement without its last transaction, and with others in its place."""

    def __init__(
        self, name: str, data: bytes, last: bytes, reference: bytes, amount: bytes
    ) -> None:
        self.name = name
        self.last = last
        self.reference = reference
        self.amount = amount
        self.before, self.after = data.split(last)

    def of(self, *entries: bytes) -> bytes:
        return self.before + b"".join(entries) + self.after

    def entry(self, reference: bytes, amount: bytes | None = None) -> bytes:
        """The last transaction under another reference, perhaps with another amount."""
        made = self.last.replace(self.reference, reference)
        return made if amount is None else made.replace(self.amount, amount)


assert CAMT_NEW is not None
assert OFX_NEW is not None
STATEMENTS = [
    (_Statement("bank.xml", CAMT, CAMT_NEW[0], b"ZB250328-090", b"12.50"), 4),
    (_Statement("bank.ofx", OFX, OFX_NEW[0], b"ZB250328-090", b"12.50"), 3),
]
each_statement = pytest.mark.parametrize(
    ("statement", "count"), STATEMENTS, ids=[each.name for each, _ in STATEMENTS]
)


async def _joined(anna: Machine, ben: Machine, name: str, data: bytes) -> None:
    """Anna has the accounting, Ben the bank's file."""
    await founded(anna)
    ticket = await invited(anna)
    await ben.service.subscribe(ticket, None, ben.file(name, data), "other")
    await in_step(anna, ben)


@each_statement
async def test_b_pos_5_a_changed_and_an_added_transaction_arrive(
    tmp_path: Path, statement: _Statement, count: int
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _joined(anna, ben, statement.name, statement.of(statement.last))
            assert await anna.pending() == (count + 1, 0)
            await anna.service.post("Books", [], None)
            await in_step(anna, ben)
            changed = statement.of(
                statement.entry(b"NEW-1"), statement.entry(statement.reference, b"13.75")
            )
            ben.file(statement.name, changed)
            await ben.look()
            await in_step(anna, ben)
            assert anna.copy(statement.name).read_bytes() == changed
            assert await anna.pending() == await ben.pending() == (2, 1)
            (row,) = (await anna.service.pending("Books"))["files"]
            assert row["changed"] == 1
            assert row["groups"] == {"added": 2, "deleted": 1}
            assert [
                (each["change"], each["amount"]) for each in row["records"] if each.get("changed")
            ] == [("deleted", "-12.50"), ("added", "-13.75")]
            out = anna.desk / "bank.csv"
            await anna.service.post("Books", [], str(out), format="csv")
            assert await anna.pending() == (0, 0)
        with out.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [(each["date"], each["amount"]) for each in rows] == [
            ("2025-03-28", "-12.50"),
            ("2025-03-28", "-13.75"),
        ]
        assert "Frais de tenue de compte" in rows[0]["text"]


@each_statement
async def test_what_either_side_adds_while_apart_is_there_once(
    tmp_path: Path, statement: _Statement, count: int
) -> None:
    """Both import the same transaction, and each one that the other has not."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _joined(anna, ben, statement.name, statement.of())
        both, hers, his = statement.last, statement.entry(b"HERS"), statement.entry(b"HIS")
        anna.copy(statement.name).write_bytes(statement.of(both, hers))
        ben.file(statement.name, statement.of(his, both))
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
        merged = anna.copy(statement.name).read_bytes()
        assert merged == (ben.desk / statement.name).read_bytes()
        assert merged.startswith(statement.before) and merged.endswith(statement.after)
        assert [merged.count(each) for each in (both, hers, his)] == [1, 1, 1]
        assert await anna.pending() == await ben.pending() == (count + 3, 0)
        assert (await anna.shown(statement.name))["state"] == "ok"


@each_statement
async def test_two_amounts_of_one_transaction_stand_there_until_somebody_settles_it(
    tmp_path: Path, statement: _Statement, count: int
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _joined(anna, ben, statement.name, statement.of(statement.last))
            await anna.service.post("Books", [], None)
            await in_step(anna, ben)
        hers = statement.entry(statement.reference, b"14.00")
        his = statement.entry(statement.reference, b"15.00")
        anna.copy(statement.name).write_bytes(statement.of(hers))
        ben.file(statement.name, statement.of(his))
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            merged = anna.copy(statement.name).read_bytes()
            assert sorted(merged.count(each) for each in (hers, his)) == [1, 1]
            assert await anna.pending() == await ben.pending() == (2, 1)
            for machine in (anna, ben):
                problems = (await machine.shown(statement.name))["problems"]
                codes = ["duplicate-reference", "two-contents"]
                assert sorted(each["code"] for each in problems if each["code"] in codes) == codes
            ben.file(statement.name, statement.of(his))
            await ben.look()
            await in_step(anna, ben)
            codes = [each["code"] for each in (await anna.shown(statement.name))["problems"]]
            assert not {"duplicate-reference", "two-contents"}.intersection(codes)
        assert anna.copy(statement.name).read_bytes() == statement.of(his)
        assert await anna.pending() == await ben.pending() == (1, 1)


@each_statement
async def test_b_pos_6_a_statement_imported_and_posted_twice_counts_once(
    tmp_path: Path, statement: _Statement, count: int
) -> None:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _joined(anna, ben, statement.name, statement.of())
        for machine in (anna, ben):
            machine.copy(statement.name).write_bytes(statement.of(statement.last))
            await machine.look()
        await anna.service.post("Books", [], None)
        assert await anna.pending() == (0, 0)
        async with linked(anna, ben):
            await in_step(anna, ben)
        assert await anna.pending() == await ben.pending() == (0, 0)
        assert anna.copy(statement.name).read_bytes() == statement.of(statement.last)


async def test_a_statement_with_one_reference_twice_is_counted_and_says_so(tmp_path: Path) -> None:
    statement, count = STATEMENTS[1]
    twice = statement.of(statement.last, statement.entry(statement.reference, b"99.00"))
    async with running(tmp_path) as machine:
        await founded(machine)
        path = machine.file(statement.name, twice)
        await machine.service.attach("Books", [path], "other", None, None)
        assert await machine.pending() == (count + 2, 0)
        problems = (await machine.shown(statement.name))["problems"]
        assert [each["code"] for each in problems] == ["duplicate-reference"]
        machine.file(statement.name, statement.of(statement.last))
        await machine.look()
        assert await machine.pending() == (count + 1, 0)
        assert (await machine.shown(statement.name))["problems"] == []


async def test_two_versions_of_a_payment_order_stand_beside_each_other(tmp_path: Path) -> None:
    """An order is one whole with its control sum: it is counted by transaction, never merged."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        async with linked(anna, ben):
            await _joined(anna, ben, "order.xml", PAIN)
            assert await anna.pending() == (2, 0)
        hers = PAIN.replace(b"3230.00", b"3000.00").replace(b"7350.40", b"7120.40")
        his = PAIN.replace(b"4120.40", b"4000.00").replace(b"7350.40", b"7230.00")
        anna.copy("order.xml").write_bytes(hers)
        ben.file("order.xml", his)
        await anna.look()
        await ben.look()
        async with linked(anna, ben):
            await in_step(anna, ben)
            for machine in (anna, ben):
                assert (await machine.shown("order.xml"))["state"] == "conflict"
                found = {path.read_bytes() for path in machine.opened().folder.glob("order*.xml")}
                assert found == {hers, his}
            versions = (await anna.service.history("Books", "order.xml", None))["versions"]
            await anna.service.restore("Books", "order.xml", versions[0]["version"], None)
            await in_step(anna, ben)
            assert (await ben.shown("order.xml"))["state"] == "ok"
            assert await anna.pending() == await ben.pending() == (2, 0)
