"""FEC: what is a record, what is one entry, what is wrong; dirty files as they come."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2psync.core.diff import diff
from p2psync.core.records import Document, Segment
from p2psync.formats.checks import check
from p2psync.formats.fec import FecFormat
from p2psync.formats.fec_entry import read_entries
from p2psync.formats.fec_line import PlainEntry, PlainLine, _read_record, join, read_line
from p2psync.formats.lines import join_balanced, split_lines
from p2psync.formats.registry import find
from p2psync.limits import LINE_BYTES_MAX, SEGMENT_RECORDS_MAX
from tests.formats.files import EXAMPLES, SAMPLES, emit, without_line

FEC = FecFormat()
EXAMPLE = (EXAMPLES / "librairie_FEC_20251231.txt").read_bytes()
NAMES = EXAMPLE.partition(b"\r\n")[0].decode().split("\t")


def header(end: str = "\r\n", delimiter: str = "\t", **renamed: str) -> bytes:
    return (delimiter.join(renamed.get(name, name) for name in NAMES) + end).encode()


def line(
    account: str = "411000",
    debit: str = "0,00",
    credit: str = "0,00",
    number: str = "7",
    journal: str = "VE",
    date: str = "20250305",
    text: str = "Facture 7",
    piece: str = "FA-7",
    valid: str = "20260131",
    end: str = "\r\n",
    delimiter: str = "\t",
) -> bytes:
    fields = [journal, "Ventes", number, date, account, "Compte", "", "", piece, date, text]
    return (delimiter.join([*fields, debit, credit, "", "", valid, "", ""]) + end).encode()


def sale(amount: str = "10,00", number: str = "7", text: str = "Facture 7") -> bytes:
    """One entry of two lines."""
    return line("411000", debit=amount, number=number, text=text) + line(
        "707000", credit=amount, number=number, text=text
    )


def _codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def _counts(document: Document) -> list[int]:
    return [segment.record_count for segment in document.segments]


def test_the_example_is_six_entries_of_sixteen_lines() -> None:
    document = FEC.parse(EXAMPLE)
    assert find("x.txt", EXAMPLE).name == "fec"
    assert _counts(document) == [0, 2, 3, 3, 2, 3, 3]
    assert document.mergeable
    assert document.problems == ()
    first = document.segments[1].records[0]
    assert first.text == "512000/... AN2025 Report à nouveau"
    assert first.date == datetime.date(2025, 1, 1)
    assert first.amount == Decimal("8250.00")
    assert first.fields["debit"] == "512000"
    assert first.fields["credit"] == "..."
    assert first.fields["journal"] == "AN"
    assert first.fields["group"] == "1"
    assert document.segments[1].records[1].fields["credit"] == "101000"
    assert document.segments[2].records[0].fields["counterparty"] == "École des Dunes"


@pytest.mark.parametrize(
    ("data", "counts"),
    [
        (header() + sale(), [0, 2]),
        (header(delimiter="|") + sale().replace(b"\t", b"|"), [0, 2]),
        (b"\xef\xbb\xbf" + header() + sale(), [0, 2]),
        (header("\r\r\n") + sale().replace(b"\r", b"\r\r"), [0, 2]),
        (header("\n") + sale().replace(b"\r", b""), [0, 2]),
        (header("\t\t\r\n") + sale().replace(b"\r", b"\t\r"), [0, 2]),
        (header() + sale().replace(b"\r", b"\t\t\t\r"), [0, 2]),
        (header("\tDateRglt\tModeRglt\r\n") + sale().replace(b"\r", b"\tx\ty\r"), [0, 2]),
        (header(Debit="Montant", Credit="Sens") + line(debit="5,00", credit="D")
         + line("707", debit="5,00", credit="C"), [0, 2]),
        (header(Debit="Montant", Credit="Sens") + line(debit="5,00", credit="+1")
         + line("707", debit="5,00", credit="-1"), [0, 2]),
        (b'"' + header().replace(b"\t", b'"\t"').replace(b"\r", b'"\r')
         + b"".join(b'"' + each.replace(b"\t", b'"\t"').replace(b"\r", b'"\r')
                    for each in split_lines(sale())), [0, 2]),
        (header() + sale(number="0") + sale(number="0"), [0, 2, 2]),
        (header() + sale(number="") + b"\r\n" + sale(number=""), [0, 2, 0, 2]),
        (header() + sale("10.00"), [0, 2]),
        (header() + sale("1 000,5"), [0, 2]),
        (header() + sale("-10,00"), [0, 2]),
        (header() + line(debit="120,00") + line("4457", credit="20,00")
         + line("707", credit="100,00"), [0, 3]),
        (header() + sale().replace(b"Facture", "Né à l'œuvre".encode("iso-8859-15")), [0, 2]),
    ],
)  # fmt: skip
def test_files_as_they_come_are_read_and_merged(data: bytes, counts: list[int]) -> None:
    document = FEC.parse(data)
    assert FEC.recognise("any", data)
    assert _counts(document) == counts
    assert set(_codes(document)) <= {"missing-field"}
    assert document.mergeable
    for record in document.segments[1].records:
        assert record.date == datetime.date(2025, 3, 5)
        assert record.amount


def test_texts_in_other_encodings_are_decoded() -> None:
    for encoding, text in (("utf-8", "œ€"), ("iso-8859-15", "œ€é"), ("cp1252", "œ€é")):
        raw = line(debit="1,00", text="?").replace(b"?", text.encode(encoding))
        assert read_line(raw).segment.records[0].fields["text"] == text


@pytest.mark.parametrize(
    ("data", "code", "mergeable"),
    [
        (header() + line(debit="1,00"), "unbalanced-group", True),
        (header() + sale().replace(b"20250305", b"20250231", 1), "date", True),
        (header() + sale().replace(b"\t10,00", b"\tten"), "amount", True),
        (header() + line(debit="1,00", credit="1,00"), "two-sided", True),
        (header() + sale().replace(b"20260131", b""), "missing-field", True),
        (sale(), "no-header", True),
        (header() + sale().replace(b"\tFacture", b"\t\tFacture", 1), "field-count", False),
        (header() + sale().replace(b"\tFA-7", b"", 1), "field-count", False),
        (header() + sale() + b"\x1a\r\n", "field-count", False),
        (header() + sale().rstrip(b"\r\n"), "truncated-tail", False),
        (header() + sale() + b"\0\r\n", "nul", False),
        (header() + sale()[:60] + b"\r\n", "field-count", False),
        (header().replace(b"\tEcritureLet", b"") + sale(), "missing-column", False),
        (header(Debit="Credit", Credit="Debit") + sale(), "column-order", False),
        (b"", "empty", False),
        (header() + sale(text="x" * (LINE_BYTES_MAX + 1)), "line-too-long", False),
    ],
)
def test_what_is_wrong_is_said_and_damage_keeps_a_file_whole(
    data: bytes, code: str, mergeable: bool
) -> None:
    document = FEC.parse(data)
    assert code in _codes(document)
    assert document.mergeable is mergeable
    assert emit(document) == data


def test_problems_tell_the_line_in_the_file() -> None:
    document = FEC.parse(header() + sale() + sale() + line(date="today", debit="1,00"))
    assert [(problem.code, problem.line) for problem in document.problems] == [("date", 6)]


def test_columns_in_another_order_are_no_fec() -> None:
    assert not FEC.recognise("x", header(Debit="Credit", Credit="Debit"))
    assert not FEC.recognise("x", b"JournalCode;x\r\n")
    assert FEC.recognise("x", header().replace(b"\tIdevise", b""))


def test_lettering_and_validation_change_no_record() -> None:
    before = FEC.parse(header() + line(debit="1,00")).segments[1]
    later = line(debit="1,00", valid="20260401").replace(b"\t\t\t2026", b"\tAA\t20260101\t2026")
    after = FEC.parse(header() + later).segments[1]
    assert before.raw != after.raw
    assert before.key == after.key


def test_an_entry_keeps_its_identity_when_its_amount_changes() -> None:
    def entry(data: bytes) -> Segment:
        return FEC.read_segment(data)

    assert entry(sale("10,00")).identity == entry(sale("12,00", text="x")).identity is not None
    assert entry(sale(number="8")).identity != entry(sale()).identity
    assert entry(sale(number="0")).identity is None
    assert entry(sale(number="")).identity is None
    debited, credited = entry(line(debit="1,00")), entry(line(credit="1,00"))
    assert debited.identity != credited.identity


@pytest.mark.parametrize(
    ("number", "piece", "same"), [("0", "-", False), ("0", "FA-7", True), ("7", "FA-7", False)]
)
def test_without_a_piece_or_with_a_number_the_text_tells_entries_apart(
    number: str, piece: str, same: bool
) -> None:
    one, other = (
        FEC.read_segment(line(debit="1,00", number=number, piece=piece, text=text)).money_key
        for text in ("a", "b")
    )
    assert (one == other) is same


# -- what is read at a glance ----------------------------------------------------------------------

_field = st.sampled_from(["", "x", "é", " ", '"', '"x"', "\0", "|", "0", "-"])
_amount = st.sampled_from(["", "0", "0,00", "10,00", "10.00", "-3,50", "1 000,00", "x", "1", "D"])
_line = st.builds(
    line,
    account=st.sampled_from(["411", "707", "", " "]),
    debit=_amount,
    credit=_amount,
    number=st.sampled_from(["7", "8", "0", ""]),
    journal=st.sampled_from(["VE", "BQ", ""]),
    date=st.sampled_from(["20250305", "20250229", "20240229", "20251131", "20251231", "x", ""]),
    text=_field,
    piece=_field,
    valid=st.sampled_from(["20260131", ""]),
    end=st.sampled_from(["\r\n", "\n", "", "\r\r\n", "\t\r\n", "\tx\r\n"]),
    delimiter=st.sampled_from(["\t", "|"]),
)
_file = st.lists(
    st.one_of(_line, _line, st.just(sale()), st.just(header()), st.just(b"\r\n")), max_size=12
).map(b"".join)


@settings(max_examples=500)
@given(_line)
@example(line(debit="1,00"))
def test_a_plain_line_is_what_its_fields_say(raw: bytes) -> None:
    segment, group, delta = read_line(raw)
    if type(segment) is not PlainLine:
        return
    read, read_group, read_delta = _read_record(raw)
    assert (group, delta) == (read_group, read_delta)
    assert segment.record_count == len(read.records) == 1
    assert (segment.dates, segment.amounts) == (read.dates, read.amounts)
    for name in ("identity", "raw", "key", "money_key", "records", "problem"):
        assert getattr(segment, name) == getattr(read, name)
    assert read.problem is not None
    assert read.problem.code == "unbalanced-group"


@given(_file, st.integers(1, 50))
def test_segments_read_alone_and_in_blocks_are_those_of_the_file(data: bytes, size: int) -> None:
    document = FEC.parse(data)
    assert emit(document) == data
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(FEC.stream(blocks)) == list(document.segments)
    for segment in document.segments:
        alone = FEC.read_segment(segment.raw)
        assert without_line(alone) == without_line(segment)
        assert alone.identity == segment.identity
        assert segment.record_count == len(segment.records)
        assert segment.dates == tuple(r.date for r in segment.records if r.date is not None)
        assert segment.amounts == tuple((r.date, r.amount) for r in segment.records)


@settings(max_examples=400)
@given(_file)
def test_entries_are_what_the_rule_for_all_formats_says(data: bytes) -> None:
    raws = split_lines(data)
    assert list(read_entries(raws)) == list(join_balanced(map(read_line, raws), join))


@pytest.mark.parametrize("count", [SEGMENT_RECORDS_MAX, SEGMENT_RECORDS_MAX + 1, 2500])
def test_entries_that_are_too_long_are_cut_as_the_rule_says(count: int) -> None:
    for size in (9, 200):
        raws = [line(debit="1,00", text="x" * size)] * (count - 1)
        raws += [line(credit=f"{count - 1},00"), line(debit="1,00"), line(credit="1,00")]
        assert list(read_entries(raws)) == list(join_balanced(map(read_line, raws), join))


@given(_file)
def test_no_line_with_a_date_and_an_amount_is_lost(data: bytes) -> None:
    expected = sum(len(_read_record(raw).segment.records) for raw in split_lines(data))
    assert sum(_counts(FEC.parse(data))) == expected


def test_usual_entries_are_not_read_until_they_are_needed() -> None:
    assert {type(segment) for segment in FEC.parse(EXAMPLE).segments[1:]} == {PlainEntry}


def test_entries_that_come_anew_are_named_without_being_read() -> None:
    segments = FEC.parse(EXAMPLE).segments
    assert diff(b"f" * 16, [], segments, b"t" * 8)
    for segment in segments[1:]:
        with pytest.raises(AttributeError):
            Segment.__dict__["key"].__get__(segment)


@given(_file)
def test_rows_and_identities_are_those_of_the_records(data: bytes) -> None:
    for segment in FEC.parse(data).segments:
        rows, identity = segment.rows, segment.identity
        read = list(join_balanced(map(_read_record, split_lines(segment.raw)), join))
        assert [identity] == [each.identity for each in read] or len(read) > 1
        assert rows == tuple((each.date, each.fields) for each in segment.records)


def test_a_piece_that_is_entered_twice_is_told_but_not_one_in_parts() -> None:
    def said(data: bytes) -> list[str]:
        return [problem.code for problem in check(FEC.parse(header() + data), ())]

    assert said(sale(number="7") + sale(number="8")) == ["duplicate-voucher"]
    assert said(sale("10,00") + sale("20,00")) == []
    assert said((sale() + sale()).replace(b"FA-7", b"-")) == []


def test_samples_at_hand_are_read() -> None:
    for path in sorted(SAMPLES.glob("fec/*")):
        data = path.read_bytes()
        document = find(path.name, data).parse(data)
        assert document.format == "fec"
        assert document.mergeable
        assert document.problems == ()
        assert sum(_counts(document)) == data.count(b"\n") - 1
