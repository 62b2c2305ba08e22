"""BVR/ESR v11: deliveries of payments, each closed by the bank's own total."""

import datetime
from decimal import Decimal

import pytest

from p2psync.core.records import Document
from p2psync.formats import registry
from tests.formats.files import EXAMPLES, SAMPLES, emit

V11 = registry.by_name("bvr-v11")
TYPE_3 = (EXAMPLES / "rivage_2021_type3.v11").read_bytes()
TYPE_4 = (EXAMPLES / "rivage_2021_type4.v11").read_bytes()


def codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def payment(cents: int = 500, code: bytes = b"002", day: bytes = b"210402") -> bytes:
    return b"%b010001234%027d%010d0000  0000210401210401%b%023d" % (code, 7, cents, day, 0)


def total(cents: int = 500, count: int = 1) -> bytes:
    return b"999010001234%b%012d%012d210402%b%b" % (b"9" * 27, cents, count, b"0" * 9, b" " * 22)


def test_the_examples_are_counted() -> None:
    one, other = V11.parse(TYPE_3), V11.parse(TYPE_4)
    assert one.counts == (("records", 7), ("payments", 5), ("totals", 2))
    assert other.counts == (("records", 3), ("payments", 2), ("totals", 1))
    assert one.problems == other.problems == ()
    assert one.mergeable
    assert other.mergeable
    assert [segment.record_count for segment in one.segments] == [3, 2]


@pytest.mark.parametrize(("part", "count"), [("erstes", 2), ("typ3_*_zweites", 14)])
def test_the_samples_are_counted(part: str, count: int) -> None:
    for path in sorted(SAMPLES.glob(f"v11/*{part}.v11")):
        document = V11.parse(path.read_bytes())
        assert document.counts[0] == ("records", count)
        assert codes(document) == (["total"] if count == 14 else [])
        assert document.mergeable


def test_the_fields_of_both_types() -> None:
    record = V11.parse(TYPE_3).segments[1].records[1]
    assert (record.amount, record.date) == (Decimal("-89.50"), datetime.date(2021, 3, 11))
    assert record.fields["reference"] == "210000000003139471430009020"
    assert (record.fields["account"], record.fields["journal"]) == ("010001234", "005")
    record = V11.parse(TYPE_4).segments[0].records[0]
    assert (record.amount, record.date) == (Decimal("230.00"), datetime.date(2021, 3, 17))
    assert (record.fields["currency"], record.fields["journal"]) == ("CHF", "011011")


def test_line_ends_are_no_part_of_a_delivery() -> None:
    lines = TYPE_3.split(b"\r\n")
    keys = [segment.key for segment in V11.parse(TYPE_3).segments]
    for end in (b"", b"\n", b"\r\r\n"):
        document = V11.parse(end.join(lines))
        assert [segment.key for segment in document.segments] == keys
        assert document.mergeable
    # The last line end may be missing: the length tells where a record ends.
    assert V11.parse(TYPE_3.removesuffix(b"\r\n")).mergeable


def test_a_reversal_of_type_4_is_taken_off() -> None:
    raw = TYPE_4[:200].replace(b"011011", b"012011", 1) + TYPE_4[400:]
    assert V11.parse(raw).segments[0].records[0].amount == Decimal("-230.00")


@pytest.mark.parametrize("wrong", [total(501), total(500, 2), total(0, 0)])
def test_a_total_that_disagrees_is_told(wrong: bytes) -> None:
    document = V11.parse(payment() + b"\n" + wrong + b"\n")
    assert codes(document) == ["total"]
    assert document.problems[0].line == 2
    assert document.mergeable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (payment(), "no-total"),
        (payment() + b"\n" + payment()[:50] + b"\n" + total(), "broken-record"),
        (payment().replace(b"002", b"0x2", 1) + total(), "broken-record"),
        (payment() + total() + b"\x1a", "broken-record"),
        (payment(1) * 1_001 + total(1_001, 1_001), "no-total"),
        (b"", "empty"),
    ],
)
def test_what_shows_damage_is_kept_whole(data: bytes, code: str) -> None:
    document = V11.parse(data)
    assert code in codes(document)
    assert not document.mergeable
    assert emit(document) == data


def test_a_date_that_is_none_and_a_total_of_nothing() -> None:
    document = V11.parse(payment(day=b"000000") + total() + total(0, 0))
    assert document.segments[0].records[0].date == datetime.date(2021, 4, 1)
    assert document.problems == ()
    bad = payment().replace(b"210401210401210402", b"999999999999999999") + total()
    assert codes(V11.parse(bad)) == ["date"]


def test_a_file_is_known_by_its_first_record_and_else_by_its_suffix() -> None:
    assert V11.recognise("x.txt", TYPE_3)
    assert V11.recognise("x.txt", TYPE_4)
    assert V11.recognise("X.V11", b"")
    assert not V11.recognise("x.txt", b"0" * 200)
    assert not V11.recognise("x.txt", b"")
