"""What a post writes: CSV that any reader takes apart, beancount that keeps to its grammar."""

import csv
import io
import re
from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2psync.core.records import Segment
from p2psync.formats import registry
from p2psync.formats.exports import (
    CSV_COLUMNS,
    CURRENCY,
    KINDS,
    UNBALANCED,
    Item,
    account_name,
    currency_name,
    write,
)
from tests.formats.files import V1

READER = registry.by_name("cresus-ecf")
_CELL = st.text(
    st.characters(exclude_characters="\t\n\r", codec="cp1252"), max_size=12
) | st.sampled_from(['a "quoted" text', "one, two; three", "=1+1", "\\", "’", "..."])
_AMOUNT = st.sampled_from(["12.50", "-3", "1'000.05", "0.00", "123456789012345678.12345678", "x"])
_DATE = st.sampled_from(["01.02.2025", "31.12.0999", "29.02.2024", "soon", "01.01.3000"])
_ACCOUNT = st.sampled_from(["1020", "2000", "2850", "3400", "9100", "...", "", "10.20", "a b", "ä"])


def line(*cells: str) -> bytes:
    fields = [*cells, *[""] * 14, "0"][:21]
    return "\t".join(fields).encode("cp1252") + b"\r\n"


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    raw = b"".join(
        line(
            draw(_DATE),
            draw(_ACCOUNT),
            draw(_ACCOUNT),
            draw(_CELL),
            draw(_CELL),
            draw(_AMOUNT),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    return READER.read_segment(raw)


_ITEMS = st.lists(st.builds(Item, segments(), _CELL, st.just("2025-01-01..2025-12-31")), max_size=5)


def records(items: list[Item]) -> int:
    return sum(len(item.segment.records) for item in items)


@settings(max_examples=30)
@given(_ITEMS, _ITEMS)
def test_csv_is_read_back_by_any_reader(added: list[Item], deleted: list[Item]) -> None:
    made = write("csv", added, deleted, "CHF")
    assert (made.deleted is None) == (not deleted)
    for items, data, change in ((added, made.added, "added"), (deleted, made.deleted, "deleted")):
        if data is None:
            continue
        assert not re.search(rb"(?<!\r)\n", data)  # RFC 4180: lines end in CR LF
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))
        assert rows[0] == list(CSV_COLUMNS)
        assert len(rows) == 1 + records(items)
        every = [(item, record) for item in items for record in item.segment.records]
        for row, (item, record) in zip(rows[1:], every, strict=True):
            cells = dict(zip(CSV_COLUMNS, row, strict=True))
            assert (cells["change"], cells["file"]) == (change, item.file)
            for name in ("debit", "credit", "voucher", "text", "vat_code", "cost_centre"):
                assert cells[name] == record.fields[name]
            assert cells["amount"] == ("" if record.amount is None else f"{record.amount:f}")


_STRING = r'"(?:[^"\\\n]|\\["\\])*"'
_HEAD = re.compile(rf"([12]\d{{3}}-\d\d-\d\d) \* {_STRING}")
_METADATA = re.compile(rf"(?:  |    )[a-z][a-zA-Z0-9_-]+: {_STRING}")
_POSTING = re.compile(
    r"  ((?:Assets|Liabilities|Equity|Income|Expenses)(?::[A-Z0-9][A-Za-z0-9-]*)+)"
    r"  (-?[0-9]+(?:\.[0-9]+)?) (CHF)"
)


@settings(max_examples=30)
@given(_ITEMS, _ITEMS)
def test_beancount_keeps_to_its_grammar_and_balances(
    added: list[Item], deleted: list[Item]
) -> None:
    made = write("beancount", added, deleted, "CHF")
    assert made.deleted is None
    balance = Decimal(0)
    comments = 0
    for text in made.added.decode("utf-8").splitlines():
        if text == "" or text.startswith("; "):
            comments += text.startswith("; ")
        elif posting := _POSTING.fullmatch(text):
            balance += Decimal(posting[2])
        elif not _METADATA.fullmatch(text):
            assert _HEAD.fullmatch(text), text
            assert abs(balance) < Decimal("0.00000001")
    assert abs(balance) < Decimal("0.00000001")
    assert comments == made.unexpressed


@settings(max_examples=30)
@given(_ITEMS)
def test_what_is_added_and_deleted_at_once_leaves_nothing(items: list[Item]) -> None:
    made = write("beancount", items, items, "CHF")
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for text in made.added.decode("utf-8").splitlines():
        if posting := _POSTING.fullmatch(text):
            sums[posting[1]] += Decimal(posting[2])
    assert all(abs(each) < Decimal("0.00000001") for each in sums.values())


@settings(max_examples=30)
@given(_ITEMS)
def test_raw_is_the_very_lines(items: list[Item]) -> None:
    made = write("raw", items, [], "CHF")
    assert made.added == b"".join(item.segment.raw for item in items)


@given(st.text(max_size=8), st.text(max_size=8))
@example("10.20", "10-20")
@example("X1", "1")
def test_no_two_accounts_share_a_name(one: str, other: str) -> None:
    name = account_name(one)
    assert _POSTING.fullmatch(f"  {name}  1 CHF") or one == ""
    assert (name == account_name(other)) == (one == other)


def test_a_group_is_one_transaction_and_half_a_group_is_balanced_for_all_to_see() -> None:
    lines = V1.splitlines(keepends=True)
    document = READER.parse(b"".join([*lines[:2], *lines[-3:]]))
    items = [Item(segment, "a.ecf") for segment in document.segments if segment.records]
    text = write("beancount", items, [], "CHF").added.decode("utf-8")
    assert text.count(" * ") == 1
    assert UNBALANCED not in text
    half = READER.read_segment(lines[-1])
    assert f"  {UNBALANCED}  " in write("beancount", [Item(half)], [], "CHF").added.decode("utf-8")


@pytest.mark.parametrize("currency", ["CHF", "EUR", "US.D", "A1"])
def test_currencies_that_beancount_takes(currency: str) -> None:
    assert CURRENCY.fullmatch(currency)


@pytest.mark.parametrize("currency", ["", "chf", "C", "CH F", "1CHF", 'C"F', "CHF\n"])
def test_currencies_that_it_does_not_take(currency: str) -> None:
    assert not CURRENCY.fullmatch(currency)


@pytest.mark.parametrize(
    ("account", "name"),
    [
        ("Assets:Bank", "Assets:Bank"),
        ("Income:Sales-2", "Income:Sales-2"),
        ("Expenses:Book Store:été", "Expenses:Book-000020Store:X-0000E9t-0000E9"),
        ("Assets:bank", "Assets:Xbank"),
        ("Assets", "Equity:Other:XAssets"),
        ("(Budget:Rent)", "Equity:Other:X-000028Budget-00003ARent-000029"),
    ],
)
def test_an_account_with_a_name_keeps_it(account: str, name: str) -> None:
    assert account_name(account) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [("", "CHF"), ("SEK", "SEK"), ("$", "USD"), ("€", "EUR"), ("kr", "X00006B000072")],
)
def test_a_currency_of_a_record_goes_before_that_of_the_post(said: str, name: str) -> None:
    assert currency_name(said, "CHF") == name
    assert CURRENCY.fullmatch(name)


@given(st.text(min_size=1, max_size=30))
def test_any_currency_becomes_one_that_beancount_takes(said: str) -> None:
    assert CURRENCY.fullmatch(currency_name(said, "CHF"))


def test_each_currency_of_a_transaction_balances_for_itself() -> None:
    raw = b"2025-01-01 x\n  Assets:A  10 EUR\n  Assets:B  -11 CHF\n  Assets:C  4 X @ 1 CHF\n"
    segment = registry.by_name("ledger").read_segment(raw)
    assert write("beancount", [Item(segment, "a.j")], [], "SEK").added.decode() == (
        '2025-01-01 * "x"\n  change: "added"\n  source: "a.j"\n'
        "  Assets:A  10 EUR\n  Assets:B  -11 CHF\n  Assets:C  4 CHF\n"
        '    currency-amount: "4 X"\n    rate: "1"\n'
        "  Equity:Unbalanced  -10 EUR\n  Equity:Unbalanced  7 CHF\n"
    )


def test_the_kinds_are_those_that_are_documented() -> None:
    assert KINDS == ("raw", "csv", "beancount")
