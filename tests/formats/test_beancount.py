"""beancount: directives, amounts, and what is left out."""

import datetime
from decimal import Decimal

import pytest

from p2psync.core.records import Document, Segment
from p2psync.formats import registry
from tests.formats.files import EXAMPLES, SAMPLES, emit

BEANCOUNT = registry.by_name("beancount")
EXAMPLE = (EXAMPLES / "rivage_2025.beancount").read_bytes()
HEAD = '2025-01-02 * "Payee" "Text" #tag ^link-1\n'


def codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def only(text: str) -> Segment:
    (segment,) = BEANCOUNT.parse(text.encode()).segments
    return segment


def said(*lines: str) -> list[tuple[str, Decimal | None, str]]:
    """Gives side, amount and currency of each posting."""
    records = only(HEAD + "".join(f"  {line}\n" for line in lines)).records
    return [
        (
            "credit" if each.fields["debit"] == "..." else "debit",
            each.amount,
            each.fields["currency"],
        )
        for each in records
    ]


def test_the_example_is_counted() -> None:
    document = BEANCOUNT.parse(EXAMPLE)
    assert document.counts == (("directives", 23), ("transactions", 6))
    assert sum(segment.record_count for segment in document.segments) == 13
    assert document.problems == ()
    assert document.mergeable


def test_the_sample_is_counted() -> None:
    for path in sorted(SAMPLES.glob("beancount/*.beancount")):
        document = BEANCOUNT.parse(path.read_bytes())
        assert document.counts == (("directives", 773), ("transactions", 357))
        assert document.problems == ()
        assert document.mergeable


def test_what_stands_in_a_transaction() -> None:
    segment = only(
        '2025-01-02 txn "Café, ""Lac"\n  id: "x-1"\n  ^link-2 #y\n  place: "Nyon; centre"\n'
        "  ! Assets:Bank:Été   -1,000.50 CHF ; paid\n    note: 1\n  ; more\n  Expenses:Food\n"
    )
    one, other = segment.records
    assert one.date == datetime.date(2025, 1, 2)
    assert (one.fields["account"], one.fields["amount"]) == ("Assets:Bank:Été", "1000.50")
    assert (one.fields["counterparty"], one.fields["text"]) == ("Café,", "Café, Lac")
    assert (one.fields["voucher"], one.fields["reference"]) == ("link-2", "x-1")
    assert (other.amount, other.fields["debit"]) == (Decimal("1000.50"), "Expenses:Food")
    assert segment.problem is None


@pytest.mark.parametrize(
    ("amount", "expected", "currency"),
    [
        ("12.50 CHF", "12.50", "CHF"),
        ("-12.50CHF", "-12.50", "CHF"),
        ("1,234,567.89 CHF", "1234567.89", "CHF"),
        ("(3 + 4) * -2 / 7 CHF", "-2", "CHF"),
        ("- (1 - 3) CHF", "2", "CHF"),
        ("10 X @ 2.50 EUR", "25.00", "EUR"),
        ("-10 X @@ 25 EUR", "-25", "EUR"),
        ("10 X {2.50 EUR}", "25.00", "EUR"),
        ("10 X {2.50 EUR, 2025-01-01} @ 3 EUR", "25.00", "EUR"),
        ('10 X {2025-01-01, 2.50 EUR, "lot;1"}', "25.00", "EUR"),
        ("-10 X {{25.00 EUR}}", "-25.00", "EUR"),
        ("10 X {2 # 5 EUR}", "25", "EUR"),
        ("10 X {1,000.00 EUR}", "10000.00", "EUR"),
    ],
)
def test_amounts(amount: str, expected: str, currency: str) -> None:
    value = Decimal(expected)
    found = said(f"Assets:A  {amount}", "Equity:B")
    sides = ("debit", "credit") if value > 0 else ("credit", "debit")
    assert found == [(sides[0], abs(value), currency), (sides[1], abs(value), currency)]


def test_units_at_a_price_are_told_beside_the_amount() -> None:
    fields = only(HEAD + "  Assets:A  10 X @ 2.50 EUR\n").records[0].fields
    assert (fields["currency_amount"], fields["rate"]) == ("10 X", "2.50")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (("Assets:A  1 CHF", "Assets:B", "Assets:C"), "open-amount"),
        (("Assets:A  1 CHF", "Assets:B  2 EUR", "Assets:C"), "open-amount"),
        (("Assets:A  10 X {}", "Assets:C"), "open-amount"),
        (("Assets:A  10 X @", "Assets:C"), "open-amount"),
        (("Assets:A  5", "Assets:C  1 CHF", "Assets:D"), "open-amount"),
        (("Assets:A  1/0 CHF",), "amount"),
        (("Assets:A  1 CHF and more",), "amount"),
        (("Assets:A  1,00 CHF",), "amount"),
        (("what is this",), "unreadable-line"),
        (("Assets:A  1 CHF", "Assets:B  -1 CHF", "Assets:C"), ""),
    ],
)
def test_what_cannot_be_worked_out_is_told(lines: tuple[str, ...], code: str) -> None:
    document = BEANCOUNT.parse((HEAD + "".join(f"  {line}\n" for line in lines)).encode())
    assert codes(document) == ([code] if code else [])
    assert document.mergeable


def test_an_id_identifies_a_directive_whatever_it_says() -> None:
    with_id = HEAD + '  id: "7"\n  Assets:A  1 CHF\n'
    other = '2025-02-02 * "x"\n  id: "7"\n  Assets:B  2 CHF\n'
    assert only(with_id).identity == only(other).identity is not None
    assert only(HEAD + "  Assets:A  1 CHF\n    id: 7\n").identity is None
    assert only(HEAD + '  id: "0"\n').identity is None
    assert only('2025-01-01 open Assets:A\n  id: "9"\n').identity is not None


def test_alignment_is_no_part_of_a_transaction_and_a_text_is_no_money() -> None:
    one = only(HEAD + "  Assets:A  1 CHF\n  Assets:B\n")
    wide = only("\n\n" + HEAD + "\tAssets:A          1   CHF\r\n\tAssets:B\r\n")
    text = only(HEAD.replace("Text", "Words") + "  Assets:A  1 CHF\n  Assets:B\n")
    money = only(HEAD + "  Assets:A  2 CHF\n  Assets:B\n")
    assert one.key == wide.key
    assert one.records[0].key == wide.records[0].key
    assert one.key != text.key
    assert one.money_key == text.money_key != money.money_key


def test_blank_lines_go_with_what_follows_and_comments_stand_alone() -> None:
    data = b'; one\n\n2025-01-01 open Assets:A\n\n; two\n2025-01-02 * "x"\n  Assets:A  0 CHF\n\n'
    raws = [segment.raw for segment in BEANCOUNT.parse(data).segments]
    assert raws == [
        b"; one\n",
        b"\n2025-01-01 open Assets:A\n",
        b"\n; two\n",
        b'2025-01-02 * "x"\n  Assets:A  0 CHF\n',
        b"\n",
    ]


def test_a_text_may_go_over_lines_but_not_over_a_date() -> None:
    long = '2025-01-02 note Assets:A "one\n; two\n\nthree"\n'
    assert only(long).raw == long.encode()
    document = BEANCOUNT.parse(('2025-01-02 * "x\n' + HEAD + "  Assets:A  1 CHF\n").encode())
    assert codes(document) == ["open-block"]
    assert document.counts == (("directives", 2), ("transactions", 2))
    assert not document.mergeable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"  Assets:A  1 CHF\n", "stray-line"),
        (b'2025-01-01 * "x"\n  k: "y\nz\n', "open-block"),
        (HEAD.encode() + b"  Assets:A  1 CHF\n" * 1_001, "transaction-too-large"),
        (HEAD.encode() + b"  Assets:A  1 CHF\n" * 20_000, "stray-line"),
        (HEAD.encode().strip(), "truncated-tail"),
        (b"\xff\xfe2\x000\x00", "utf-16"),
    ],
)
def test_what_shows_damage_is_kept_whole(data: bytes, code: str) -> None:
    document = BEANCOUNT.parse(data)
    assert code in codes(document)
    assert not document.mergeable
    assert emit(document) == data


def test_other_problems_merge() -> None:
    document = BEANCOUNT.parse(b'2025-13-01 * "x"\n2025-01-01 what Assets:A\nwords\n')
    assert codes(document) == ["date", "unknown-directive"]
    assert document.mergeable


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b'2025-01-01 * "x"\n', True),
        (b"2025-01-01 open Assets:Bank CHF\n", True),
        (b'x\noption "title" "x"\n', True),
        (b"2025-01-01 open House\n", False),
        (b"2025/01/01 * Payee\n", False),
        (b"2025-01-01 12:00 note Foo:bar\n", False),
        (b'include "x"\n', False),
        (b'2025-01-01 * "x"\n\0', False),
    ],
)
def test_a_file_is_known_by_a_directive(head: bytes, known: bool) -> None:
    assert BEANCOUNT.recognise("x.txt", head) == known
