"""ledger and hledger journals: transactions, amounts, and what is no transaction."""

import datetime
from decimal import Decimal

import pytest

from p2psync.core.records import Document, Segment
from p2psync.formats import registry
from p2psync.formats.ledger_amount import read_posting_amount, read_quantity
from tests.formats.files import EXAMPLES, SAMPLES, emit

LEDGER = registry.by_name("ledger")
EXAMPLE = (EXAMPLES / "rivage_2025.journal").read_bytes()


def codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def only(text: str) -> Segment:
    (segment,) = LEDGER.parse(text.encode()).segments
    return segment


def test_the_example_is_counted() -> None:
    document = LEDGER.parse(EXAMPLE)
    assert document.counts == (("transactions", 5),)
    assert sum(segment.record_count for segment in document.segments) == 11
    assert document.problems == ()
    assert document.mergeable


def test_the_samples_are_counted() -> None:
    counts = {"sample.dat": 7, "drewr3.dat": 11}
    for path in sorted(SAMPLES.glob("ledger/*.dat")):
        data = path.read_bytes()
        assert registry.find(path.name, data).name == "ledger"
        document = LEDGER.parse(data)
        assert document.counts == (("transactions", counts[path.name]),)
        assert document.mergeable


def test_what_stands_in_a_transaction() -> None:
    segment = only(
        "2025/01/02=2025/01/05 * (A-1) Café du Lac | Lunch  ; UUID: abc-1, tag:\n"
        "    ; note\n    ! Expenses:Été in Nyon\tCHF 12.50  ; one\n    Assets:Cash\n"
    )
    one, other = segment.records
    assert one.date == datetime.date(2025, 1, 2)
    assert (one.fields["account"], one.fields["amount"]) == ("Expenses:Été in Nyon", "12.50")
    assert (one.fields["counterparty"], one.fields["text"]) == ("Café du Lac", "Café du Lac Lunch")
    assert (one.fields["voucher"], one.fields["reference"]) == ("A-1", "abc-1")
    assert (other.amount, other.fields["credit"]) == (Decimal("12.50"), "Assets:Cash")
    assert segment.problem is None


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("$1,000.00", "1000.00", "$"),
        ("-$5", "-5", "$"),
        ("$-5", "-5", "$"),
        ("$ -5", "-5", "$"),
        ("500.00€", "500.00", "€"),
        ("1.000,50 CHF", "1000.50", "CHF"),
        ("1,50 EUR", "1.50", "EUR"),
        ("0,500 kg", "0.500", "kg"),
        ("10,000,000 EUR", "10000000", "EUR"),
        ("1'000.50 CHF", "1000.50", "CHF"),
        ("1 000.50 CHF", "1000.50", "CHF"),
        ('3 "green apples"', "3", "green apples"),
        ("5.", "5", ""),
    ],
)
def test_quantities(text: str, amount: str, currency: str) -> None:
    assert read_quantity(text) == (Decimal(amount), currency)


@pytest.mark.parametrize(
    "text", ["", "1,000", "CHF 1 EUR", "-$-5", "x", "1 2 3x", "1" * 500, "--1"]
)
def test_what_is_no_quantity_or_could_be_two(text: str) -> None:
    assert read_quantity(text) is None


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("10 X @ $2.50", "25.00", "$"),
        ("-10 X @@ $25", "-25", "$"),
        ("10 X (@) $2.50", "25.00", "$"),
        ("10 X {$2.50} [2025/01/01] (lot)", "25.00", "$"),
        ("10 X {{$25}}", "25", "$"),
        ("10 X {=$2.50} @ $3", "30", "$"),
        ("10 X = 30 X", "10", "X"),
        ("10 X {$2.50} == 30 X", "25.00", "$"),
    ],
)
def test_what_a_posting_counts_for(text: str, amount: str, currency: str) -> None:
    found = read_posting_amount(text)
    assert found is not None
    assert found.weight == (Decimal(amount), currency)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("A:B  $1", "A:C", "A:D"), "open-amount"),
        (("A:B  $1", "A:C  2 X", "A:D"), "open-amount"),
        (("A:B  = $500", "A:C"), "open-amount"),
        (("A:B  1,000 CHF", "A:C"), "amount"),
        (("A:B  (3 * $4)", "A:C"), "amount"),
        (("A:B  $1", "(Budget)  $-9", "A:C"), ""),
        (("A:B  1 CHF", "A:C  -1 CHF", "A:D"), ""),
    ],
)
def test_what_cannot_be_worked_out_is_told(lines: tuple[str, ...], code: str) -> None:
    text = "2025/01/02 x\n" + "".join(f"    {line}\n" for line in lines)
    document = LEDGER.parse(text.encode())
    assert codes(document)[:1] == ([code] if code else [])
    assert document.mergeable


def test_a_tag_identifies_a_transaction_or_its_code_on_its_date() -> None:
    def identity(head: str, amount: str = "1") -> bytes | None:
        return only(f"{head}\n    A:B  ${amount}\n    A:C\n").identity

    assert identity("2025/01/02 (7) x") == identity("2025-01-02 * (7) y", "2") is not None
    assert identity("2025/01/02 (7) x") != identity("2025/01/03 (7) x")
    assert identity("2025/01/02 x ; UUID: 9") == identity("2025/05/05 y  ; k: v, uuid: 9")
    assert identity("2025/01/02 x") is None
    assert identity("2025/01/02 (0) x") is None
    assert identity("2025/01/02 (ATM) x") is None
    assert identity("2025/01/02 UUID: 9") is None


def test_alignment_is_no_part_of_a_transaction_and_a_payee_is_no_money() -> None:
    one = only("2025/01/02 x\n    A:B  $1\n    A:C\n")
    wide = only("\n2025/01/02   x\r\n\tA:B         $1\r\n\tA:C\r\n")
    text = only("2025/01/02 y\n    A:B  $1\n    A:C\n")
    money = only("2025/01/02 x\n    A:B  $2\n    A:C\n")
    assert one.key == wide.key
    assert one.key != text.key
    assert one.money_key == text.money_key != money.money_key


def test_rules_directives_and_blocks_have_no_records() -> None:
    document = LEDGER.parse(
        b"Y 2025\n= /x/\n    A:B  1\n\n~ monthly\n    A:B  $1\n    A:C\n\ncomment\n\n"
        b"2025/01/01 x\n    A:B  $1\n    A:C\nend comment\ntest foo\n2025/01/01 x\nend test\n"
        b"account A:B\n    note x\n"
    )
    assert [segment.record_count for segment in document.segments] == [0] * 6
    assert document.problems == ()
    assert document.mergeable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"comment\n2025/01/01 x\n", "open-block"),
        (b"    A:B  $1\n", "stray-line"),
        (b"2025/01/01 x", "truncated-tail"),
        (b"2025/01/01 x\n" + b"  A:B  $1\n" * 1_001, "transaction-too-large"),
        (b"; \0\n", "nul"),
        (b"2025/01/01 (7) x\n2025/01/01 (7) y\n", "duplicate-id"),
    ],
)
def test_what_shows_damage_is_kept_whole(data: bytes, code: str) -> None:
    document = LEDGER.parse(data)
    assert code in codes(document)
    assert not document.mergeable
    assert emit(document) == data


@pytest.mark.parametrize(
    ("line", "code"),
    [(b"01/02 x\n", "date"), (b"2025/02/30 x\n", "date"), (b"2025 x\n", "unreadable-line")],
)
def test_other_problems_merge(line: bytes, code: str) -> None:
    document = LEDGER.parse(line + b"    A:B  $1\n    A:C\n")
    assert codes(document) == [code]
    assert document.mergeable


@pytest.mark.parametrize(
    ("name", "head", "known"),
    [
        ("x.dat", b"2025/01/01 x\n  A:B  $1\n  A:C\n", True),
        ("x.dat", b"2025-01-01 12:00:00,1 ERROR x\n\tat com.foo(Bar.java:12)\n", False),
        ("x.dat", b"2025/01/01 x\n", False),
        ("x.dat", b"\0\1", False),
        ("x.journal", b"", True),
        ("X.HLEDGER", b"account A:B\n", True),
        ("x.journal", b"LPKSHHRH\0", False),
    ],
)
def test_a_file_is_known_by_a_transaction_and_else_by_its_suffix(
    name: str, head: bytes, known: bool
) -> None:
    assert LEDGER.recognise(name, head) == known
