"""Posting files of the Crésus family."""

import datetime
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.core.records import Document, Record
from p2psync.formats.registry import by_name
from tests.formats.files import (
    EXAMPLES,
    HEADER,
    POSTINGS,
    SAMPLES,
    V1,
    V2,
    emit,
    keys,
    posting,
    without_line,
)

ECF = by_name("cresus-ecf")
FAMILIES = [
    (folder, stem)
    for folder, stem in ((EXAMPLES, "atelier_2025"), (SAMPLES / "cresus-synthetic", "demo_2025"))
    if folder.is_dir()
]


def _records(data: bytes) -> list[Record]:
    return [record for segment in ECF.parse(data).segments for record in segment.records]


def _codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


# -- the files at hand -------------------------------------------------------------------------


@pytest.mark.parametrize(("folder", "stem"), FAMILIES, ids=[stem for _, stem in FAMILIES])
def test_two_versions_differ_by_two_added_one_deleted_one_changed(folder: Path, stem: str) -> None:
    """B-POS-2: the counts are differences of multisets; a renumbered file is no change."""
    v1, v2, same = (
        ECF.parse((folder / f"{stem}_{version}.ecf").read_bytes())
        for version in ("v1", "v2", "v2_renumbered")
    )
    payroll = by_name("cresus-ecs").parse((folder / f"{stem}.ecs").read_bytes())
    assert [keys(each).total() for each in (v1, v2, same, payroll)] == [7, 8, 8, 3]
    assert [sum(1 for s in each.segments if s.records) for each in (v1, v2)] == [5, 6]
    assert all(each.mergeable and not each.problems for each in (v1, v2, same, payroll))
    assert (keys(v2) - keys(v1)).total() == 2 + 1
    assert (keys(v1) - keys(v2)).total() == 1 + 1
    assert keys(same) == keys(v2)
    assert [s.key for s in same.segments] == [s.key for s in v2.segments]
    assert [s.raw for s in same.segments] != [s.raw for s in v2.segments]


@pytest.mark.parametrize("data", POSTINGS.values(), ids=POSTINGS)
def test_the_exchange_files_name_is_in_its_header(data: bytes) -> None:
    assert ECF.parse(data).embedded_id in ("4711", "4712")


def test_a_record_says_what_its_line_says() -> None:
    record = _records(V1)[3]
    assert record.date == datetime.date(2025, 3, 18)
    assert record.amount == Decimal("1180.40")
    assert record.text == "1100/3400 R-2003 Fromagerie Clairval"
    assert json.loads(json.dumps(dict(record.fields))) == {
        "date": "18.03.2025",
        "debit": "1100",
        "credit": "3400",
        "voucher": "R-2003",
        "text": "Fromagerie Clairval",
        "amount": "1'180.40",
        "currency_amount": "",
        "rate": "0",
        "group": "",
        "vat_code": "",
        "cost_centre": "",
        "id": "4",
    }
    assert hash(record) == hash(_records(V1)[3])
    with pytest.raises(KeyError):
        record.fields["net"]


def test_texts_are_decoded_and_carry_no_control_character() -> None:
    (record,) = _records(posting(text="L\u2019\u0152uvre \x1b[2J\x07 caf\u00e9\u00a0"))
    assert record.text == "1100/3400 R-1 L\u2019\u0152uvre  [2J  caf\u00e9"
    (record,) = _records(posting(text="?").replace(b"?", b"\x81\x9d"))
    assert record.fields["text"] == "\ufffd\ufffd"
    (record,) = _records(posting(text="x" * 5_000))
    assert len(record.text) == limits.RECORD_TEXT_CHARS_MAX


# -- identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(21))
def test_eight_fields_are_the_identity_of_a_record(index: int) -> None:
    line = posting(vat="TVR").split(b"\t")
    other = list(line)
    other[index] = b"06.03.2025" if index == 0 else b"7" + line[index]
    (one,), (two,) = _records(b"\t".join(line)), _records(b"\t".join(other))
    assert (one.key != two.key) == (index in (0, 1, 2, 3, 4, 5, 14, 15))
    assert (one.money_key != two.money_key) == (index in (0, 1, 2, 3, 5, 14, 15))


def test_fields_do_not_run_into_each_other() -> None:
    assert _records(posting(debit="11", credit="1"))[0].key != (
        _records(posting(debit="1", credit="11"))[0].key
    )


def test_a_header_with_another_time_is_the_same_element() -> None:
    one, two = ECF.parse(V1).segments[:2], ECF.parse(V2).segments[:2]
    assert [s.key for s in one] == [s.key for s in two]
    assert one[1].raw != two[1].raw
    lot = ECF.read_segment(b"#ECC\t1; 2; 24.03.2025 10:15:00; 4711\r\n")
    assert lot.key != one[1].key
    assert ECF.read_segment(b"#END\r\n").key != one[0].key


# -- groups --------------------------------------------------------------------------------------

HALF = {"group": "1", "voucher": "B-1"}
DEBIT_60 = posting(credit="...", amount="60.00", **HALF)
DEBIT_40 = posting(credit="...", amount="40", **HALF)
CREDIT_100 = posting(debit="...", amount="100.00", **HALF)


def _sizes(data: bytes) -> list[int]:
    return [len(segment.records) for segment in ECF.parse(data).segments if segment.records]


def test_a_balanced_group_is_one_segment() -> None:
    document = ECF.parse(HEADER + DEBIT_60 + DEBIT_40 + CREDIT_100)
    assert [len(segment.records) for segment in document.segments[2:]] == [3]
    assert all(segment.problem is None for segment in document.segments)
    assert document.mergeable


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [
        ([DEBIT_60, CREDIT_100], [1, 1]),
        ([DEBIT_60, DEBIT_40, posting(), CREDIT_100], [1, 1, 1, 1]),
        ([DEBIT_60, CREDIT_100, DEBIT_40], [3]),
        ([DEBIT_60, DEBIT_60, DEBIT_40, CREDIT_100], [1, 3]),
        ([DEBIT_60, DEBIT_40, CREDIT_100, CREDIT_100], [3, 1]),
        ([DEBIT_60, DEBIT_40, CREDIT_100] * 2, [3, 3]),
        ([posting(**HALF), DEBIT_60, DEBIT_40, CREDIT_100], [1, 3]),
        ([DEBIT_60, DEBIT_40, posting(**HALF), CREDIT_100], [4]),
        ([DEBIT_60.replace(b"B-1", b"B-2"), DEBIT_40, CREDIT_100], [1, 1, 1]),
        ([DEBIT_60, posting(credit="...", amount="x", **HALF), CREDIT_100], [1, 1, 1]),
        ([posting(credit="...", debit="...", **HALF)], [1]),
        ([posting(credit="...")], [1]),
        ([posting(credit="\u2026", **HALF), posting(debit="...", **HALF)], [2]),
        (
            [
                posting(credit="...", amount="-5.00", **HALF),
                posting(debit="...", amount="-5", **HALF),
            ],
            [2],
        ),
    ],
)
def test_lines_that_do_not_balance_stand_alone_and_count(
    lines: list[bytes], sizes: list[int]
) -> None:
    """B-POS-8: an unbalanced block is a problem, its records are still there."""
    document = ECF.parse(HEADER + b"".join(lines))
    assert _sizes(b"".join(lines)) == sizes
    assert sum(sizes) == len(lines)
    alone = [s for s in document.segments if len(s.records) == 1 and b"...\t" in s.raw]
    assert all(s.problem is not None for s in alone)
    assert document.mergeable


def test_a_group_too_large_to_merge_as_one_stands_line_by_line() -> None:
    count = limits.SEGMENT_RECORDS_MAX
    half = posting(credit="...", amount="1", **HALF)
    whole = posting(debit="...", amount=str(count - 1), **HALF)
    assert _sizes(half * (count - 1) + whole) == [count]
    whole = posting(debit="...", amount=str(count), **HALF)
    assert _sizes(half * count + whole) == [1] * (count + 1)
    wide = posting(credit="...", amount="1", text="x" * 60_000, **HALF)
    whole = posting(debit="...", amount="3", **HALF)
    assert _sizes(wide * 3 + whole) == [1] * 4


_WHOLE_SEGMENTS = [
    segment.raw
    for data in (V1, V2, HEADER + DEBIT_60 + DEBIT_40 + CREDIT_100 + posting(**HALF))
    for segment in ECF.parse(data).segments
]


@given(st.lists(st.sampled_from(_WHOLE_SEGMENTS), max_size=20))
def test_merged_segments_read_back_as_those_segments(raws: list[bytes]) -> None:
    """A merge puts sound segments side by side in any order; reading must not regroup them."""
    document = ECF.parse(b"".join(raws))
    assert [segment.raw for segment in document.segments] == raws


@given(
    st.lists(
        st.builds(
            posting,
            amount=st.sampled_from(["1", "2", "3", "0", "x", "-1"]),
            debit=st.sampled_from(["...", "1100"]),
            credit=st.sampled_from(["...", "3400"]),
            group=st.sampled_from(["", "1", "2"]),
            date=st.sampled_from(["05.03.2025", "?"]),
        ),
        max_size=16,
    )
)
def test_groups_read_alone_as_in_the_file(lines: list[bytes]) -> None:
    document = ECF.parse(b"".join(lines))
    assert emit(document) == b"".join(lines)
    for segment in document.segments:
        assert without_line(ECF.read_segment(segment.raw)) == without_line(segment)


def test_bytes_that_are_no_one_segment_keep_their_records() -> None:
    segment = ECF.read_segment(posting() + posting(text="other"))
    assert len(segment.records) == 2
    assert segment.problem is not None
    assert segment.problem.code == "not-one-segment"
    assert ECF.read_segment(b"").problem is not None


# -- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "count", "mergeable"),
    [
        (posting(date="31.02.2025"), "date", 1, True),
        (posting(amount="ten"), "amount", 1, True),
        (posting(amount=""), "amount", 1, True),
        (posting(amount="1e5"), "amount", 1, True),
        (posting(amount="NaN"), "amount", 1, True),
        (posting(date="", amount=""), "unreadable-line", 0, True),
        (b"05.03.2025\t1100\t3400\tR\ttext\t5.00\r\n", "field-count", 1, False),
        (b"05.03.2025\t1100\t3400\tR\ttext\r\n", "field-count", 0, False),
        (b"hello\r\n", "field-count", 0, False),
        (posting(end="\tmore\r\n"), "field-count", 1, False),
        (posting(text="x" * 66_000), "line-too-long", 0, False),
        (posting(text="a\0b"), "nul", 1, False),
        (posting(end=""), "truncated-tail", 1, False),
        (posting(end="\n"), "line-end", 1, True),
        (posting()[:-9], "truncated-tail", 1, False),
        (posting() + posting(text="other"), "duplicate-id", 2, True),
    ],
)
def test_a_problem_is_named_and_nothing_is_dropped(
    line: bytes, code: str, count: int, mergeable: bool
) -> None:
    """B-POS-8, and rule 5 of the readers: what looks damaged is never merged."""
    good = posting(text="before", idno="77")
    document = ECF.parse(HEADER + good + line)
    assert code in _codes(document)
    assert keys(document).total() == count + 1
    assert document.mergeable == mergeable
    assert {p.line for p in document.problems} <= {4, 5}
    assert emit(document) == HEADER + good + line


def test_a_repeated_number_is_told_once_with_the_first_line() -> None:
    """B-POS-8."""
    lines = [posting(text=text) for text in ("one", "two", "three", "four")]
    (twice,) = ECF.parse(HEADER + b"".join(lines[:2])).problems
    assert (twice.line, twice.text) == (4, "its number (idno) is that of an earlier line")
    (often,) = ECF.parse(HEADER + b"".join(lines)).problems
    assert (often.line, often.text) == (4, f"{twice.text}; further lines like that: 2")


@pytest.mark.parametrize(
    ("data", "code", "mergeable"),
    [
        (b"", "empty", False),
        (posting(), "no-header", True),
        (b"\xff\xfe" + HEADER, "utf-16", False),
        (b"\xfe\xff" + HEADER, "utf-16", False),
        (HEADER.replace(b"\r\n", b"\n"), "line-end", True),
        (HEADER.replace(b"\r\n", b"\r"), "truncated-tail", False),
        (b"\n" * limits.RECORD_FILE_LINES_MAX, "file-too-large", False),
    ],
)
def test_a_problem_of_the_whole_file_is_named(data: bytes, code: str, mergeable: bool) -> None:
    document = ECF.parse(data)
    assert code in _codes(document)
    assert document.mergeable == mergeable
    assert emit(document) == data


def test_a_damaged_line_inside_a_group_keeps_the_file_from_being_merged() -> None:
    short = DEBIT_40.replace(b"\t0\r\n", b"\r\n")
    document = ECF.parse(
        HEADER + posting(date="?", credit="...", amount="60", **HALF) + short + CREDIT_100
    )
    assert [len(s.records) for s in document.segments[2:]] == [3]
    assert not document.mergeable


def test_a_byte_order_mark_of_utf_8_hides_no_header() -> None:
    document = ECF.parse(b"\xef\xbb\xbf" + V1)
    assert document.problems == ()
    assert document.segments[0].key == ECF.parse(V1).segments[0].key


def test_the_problems_of_a_file_are_bounded() -> None:
    document = ECF.parse(HEADER + b"hello\r\n" * 5_000)
    assert len(document.problems) == limits.FILE_PROBLEMS_MAX + 1
    assert document.problems[-1].text == "4000 more problems are not listed"


def test_identical_lines_are_two_postings() -> None:
    """B-POS-2."""
    assert keys(ECF.parse(posting() * 2)) == Counter({_records(posting())[0].key: 2})


@pytest.mark.parametrize("header", [b"#ECC\r\n", b"#ECC\t1; 1\r\n", b"#ECC\t1; 1; x; \r\n", b""])
def test_a_header_without_uid_gives_no_embedded_id(header: bytes) -> None:
    assert ECF.parse(header).embedded_id is None
