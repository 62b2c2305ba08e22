"""DATEV: the header, the year of its dates, postings and master data, dirty files."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import Document
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.opaque import OPAQUE
from tests.formats.files import EXAMPLES, SAMPLES, emit, without_line

EXAMPLE = (EXAMPLES / "EXTF_Buchungsstapel_2025-02.csv").read_bytes()
HEADER, COLUMNS, *LINES = EXAMPLE.splitlines(keepends=True)
FORM = registry.find("x.csv", EXAMPLE)
DATA = b'"EXTF";700;20;"Kontenbeschriftungen";2;20250223152500000;;"XY";"";"";1001;456;20250101;4'
ACCOUNTS = DATA + b';;;"Konten"\r\nKonto;Kontenbeschriftung;Sprach-ID\r\n'


def _file(*lines: bytes, header: bytes = HEADER) -> bytes:
    return b"".join([header, COLUMNS, *lines])


def _codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def test_the_example_is_five_postings_of_a_fiscal_year() -> None:
    assert FORM.name == "datev-postings:20250101"
    assert FORM is registry.by_name(FORM.name)
    document = FORM.parse(EXAMPLE)
    assert document.mergeable
    assert document.problems == ()
    assert document.period == (datetime.date(2025, 2, 1), datetime.date(2025, 2, 28))
    records = [record for segment in document.segments for record in segment.records]
    assert [str(record.date) for record in records] == [
        "2025-02-03",
        "2025-02-05",
        "2025-02-12",
        "2025-02-20",
        "2025-02-28",
    ]
    first, *_, foreign, last = records
    assert (first.fields["debit"], first.fields["credit"]) == ("10001", "8400")
    assert (last.fields["debit"], last.fields["credit"]) == ("70010", "1200")
    assert last.fields["text"] == "Zahlung; Büromaterial"
    assert foreign.amount == Decimal("239.23")
    assert foreign.fields["currency_amount"] == "250,00"
    assert foreign.fields["foreign_currency"] == "USD"
    assert foreign.fields["currency"] == "EUR"
    assert foreign.fields["vat_code"] == "94"
    assert foreign.fields["cost_centre"] == "200"


@pytest.mark.parametrize(
    ("year", "day", "date"),
    [
        ("20250101", "0302", "2025-02-03"),
        ("20250101", "302", "2025-02-03"),
        ("20240701", "0107", "2024-07-01"),
        ("20240701", "3006", "2025-06-30"),
        ("20230701", "2902", "2024-02-29"),
        ("20250101", "2902", None),
        ("20250101", "03022025", "2025-02-03"),
        ("20250101", "0013", None),
        ("20250101", "", None),
    ],
)
def test_a_day_is_of_the_fiscal_year_that_the_header_says(
    year: str, day: str, date: str | None
) -> None:
    header = HEADER.replace(b";20250101;", b";%b;" % year.encode())
    data = _file(LINES[0].replace(b";0302;", b";%b;" % day.encode()), header=header)
    form = registry.find("x", data)
    assert form.name == f"datev-postings:{year}"
    (record,) = form.parse(data).segments[2].records
    assert (None if record.date is None else str(record.date)) == date
    assert (date is None) == ("date" in _codes(form.parse(data)))


def test_without_a_fiscal_year_the_period_or_the_time_tells() -> None:
    period = HEADER.replace(b";20250101;", b";;")
    assert registry.find("x", period + COLUMNS).name == "datev-postings:20250101"
    created = period.replace(b";20250201;20250228;", b";;;").replace(b"20250303", b"20240303")
    assert registry.find("x", created).name == "datev-postings:20240101"
    nothing = created.replace(b";20240303101500000;", b";;")
    form = registry.find("x", nothing)
    assert form.name == "datev-postings"
    document = form.parse(nothing + COLUMNS + LINES[0])
    assert _codes(document) == ["no-year"]
    assert document.segments[2].records[0].date is None


@pytest.mark.parametrize(
    "name",
    [
        "datev-postings:",
        "datev-postings:2025",
        "datev-data:20250101",
        "datev-postings:20251301",
        "datev-postings:20250101:",
    ],
)
def test_other_names_are_no_format(name: str) -> None:
    assert registry.by_name(name) is OPAQUE


@pytest.mark.parametrize(
    ("data", "code", "mergeable"),
    [
        (_file(LINES[0], header=HEADER.replace(b";20250101;", b";20260101;")), "other-year", False),
        (ACCOUNTS + b'1000;"Kasse";"de-DE"\r\n', "other-category", False),
        (COLUMNS + LINES[0], "no-header", True),
        (_file(LINES[0], COLUMNS), "stray-columns", True),
        (_file(LINES[0].replace(b'"S"', b'""')), "side", True),
        (_file(LINES[0].replace(b"1190,00", b"x")), "amount", True),
        (_file(LINES[0].replace(b";8400;", b";;")), "missing-field", True),
        (_file(LINES[0], LINES[1].replace(b';"4711"', b"")), "field-count", False),
        (_file(LINES[0], b"1;2;3\r\n"), "field-count", False),
        (_file(LINES[0].replace(b'"Beratung', b'"Bera"tung')), "open-quote", False),
        (_file(LINES[0]).rstrip(b"\r\n"), "truncated-tail", False),
        (_file(LINES[0], b"\0\r\n"), "nul", False),
        (b"", "empty", False),
    ],
)
def test_what_is_wrong_is_said_and_damage_keeps_a_file_whole(
    data: bytes, code: str, mergeable: bool
) -> None:
    document = FORM.parse(data)
    assert code in _codes(document)
    assert document.mergeable is mergeable
    assert emit(document) == data


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + EXAMPLE.decode("cp1252").encode(),
        EXAMPLE.replace(b"\r\n", b"\r\r\n"),
        EXAMPLE.replace(b"\r\n", b"\n"),
        EXAMPLE + b"\r\n",
        _file(*[line.replace(b"\r\n", b";;\r\n") for line in LINES]),
        EXAMPLE.replace(b'"EXTF"', b"EXTF"),
        EXAMPLE.replace(b'"EXTF"', b'"DTVF"'),
    ],
)
def test_dirty_files_are_read(data: bytes) -> None:
    form = registry.find("x", data)
    assert form is FORM
    document = form.parse(data)
    assert document.mergeable
    assert document.problems == ()
    records = [record for segment in document.segments for record in segment.records]
    assert len(records) == 5
    assert records[1].fields["text"] == "Büromaterial"


def test_a_text_over_two_lines_is_one_posting() -> None:
    document = FORM.parse(_file(LINES[0].replace(b"Beratung ", b"Beratung\n"), LINES[1]))
    assert [segment.record_count for segment in document.segments] == [0, 0, 1, 1]


def test_a_reversal_counts_the_other_way_round() -> None:
    exact = LINES[0].rstrip(b"\r\n") + b";" * (117 - LINES[0].count(b";")) + b"1\r\n"
    (record,) = FORM.read_segment(exact).records
    assert record.amount == Decimal("-1190.00")


def test_header_and_columns_are_the_same_when_only_their_time_changes() -> None:
    later = HEADER.replace(b"20250303101500000", b"20250401101500000")
    assert later != HEADER
    assert FORM.read_segment(later).key == FORM.read_segment(HEADER).key
    assert FORM.read_segment(COLUMNS).records == ()


def test_master_data_are_records_by_their_content() -> None:
    data = ACCOUNTS + b'400;"Betriebsausstattung";"de-DE"\r\n1000;"Kasse";"de-DE"\r\n'
    form = registry.find("x.csv", data)
    assert form.name == "datev-data"
    document = form.parse(data)
    assert document.mergeable
    assert [segment.record_count for segment in document.segments] == [0, 0, 1, 1]
    record = document.segments[3].records[0]
    assert record.fields["account"] == "1000"
    assert record.fields["text"] == "Kasse"
    assert (record.date, record.amount) == (None, None)


def test_samples_at_hand_are_read() -> None:
    for path in sorted(SAMPLES.glob("datev/*.csv")):
        data = path.read_bytes()
        document = registry.find(path.name, data).parse(data)
        assert document.mergeable
        assert document.problems == ()
        assert sum(segment.record_count for segment in document.segments) == data.count(b"\n") - 2


# -- any bytes -------------------------------------------------------------------------------------

_piece = st.sampled_from([HEADER, COLUMNS, *LINES, ACCOUNTS, b"\r\n", b'"', b";", b"1,00;S\n"])
_bytes = st.lists(st.one_of(_piece, st.binary(max_size=6)), max_size=10).map(b"".join)


@pytest.mark.parametrize("form", [FORM, *map(registry.by_name, ("datev-postings", "datev-data"))],
                         ids=lambda form: form.name)  # fmt: skip
@given(data=_bytes, size=st.integers(1, 60))
def test_segments_read_alone_and_in_blocks_are_those_of_the_file(
    form: Format, data: bytes, size: int
) -> None:
    document = form.parse(data)
    assert emit(document) == data
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(form.stream(blocks)) == list(document.segments)
    for segment in document.segments:
        assert without_line(form.read_segment(segment.raw)) == without_line(segment)
