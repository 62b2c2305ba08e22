"""Delimited text: records as a definition says, groups, what is wrong."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import Document, Record
from p2psync.formats import registry
from p2psync.formats.choice import chosen
from p2psync.formats.delimited import DelimitedFormat
from tests.formats.files import EXAMPLES, emit, without_line

CASH = (EXAMPLES / "kassenbuch_2025-01.txt").read_bytes()
CASH_FORM = chosen((EXAMPLES / "kassenbuch.toml").read_text("utf-8"))
POSTINGS = 'columns = ["date", "debit", "credit", "voucher", "text", "amount"]\n'


def _form(columns: str, rest: str = "", delimiter: str = ";") -> DelimitedFormat:
    form = chosen(f'name = "x"\ndelimiter = "{delimiter}"\n{columns}{rest}')
    assert isinstance(form, DelimitedFormat)
    return form


def _records(document: Document) -> list[Record]:
    return [record for segment in document.segments for record in segment.records]


def _codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def test_the_example_is_three_movements() -> None:
    document = CASH_FORM.parse(CASH)
    assert document.mergeable
    assert document.problems == ()
    assert [segment.record_count for segment in document.segments] == [0, 0, 3, 2, 2, 0]
    first, second, *_ = _records(document)
    assert first.date == datetime.date(2025, 1, 6)
    assert first.amount == Decimal("43.20")
    assert (first.fields["debit"], first.fields["credit"]) == ("1000", "...")
    assert (second.fields["debit"], second.fields["credit"]) == ("...", "3400")
    assert _records(document)[3].fields["text"] == 'Porto "Einschreiben"; Büro'


@pytest.mark.parametrize(
    ("columns", "line", "debit", "credit", "amount"),
    [
        ('["date", "debit", "credit", "amount"]', "2025-01-02;10;20;3.5", "10", "20", "3.5"),
        ('["date", "debit", "credit", "amount"]', "2025-01-02;10;20;-3", "10", "20", "-3"),
        ('["date", "account", "amount"]', "2025-01-02;10;3", "10", "...", "3"),
        ('["date", "account", "amount"]', "2025-01-02;10;-3", "10", "...", "-3"),
        ('["date", "account", "debit_amount", "credit_amount"]', "2025-01-02;10;3;",
         "10", "...", "3"),
        ('["date", "account", "debit_amount", "credit_amount"]', "2025-01-02;10;0.00;3",
         "...", "10", "3"),
        ('["date", "account", "contra_account", "debit_amount", "credit_amount"]',
         "2025-01-02;10;20;;3", "20", "10", "3"),
        ('["date", "account", "side", "amount"]', "2025-01-02;10;H;3", "...", "10", "3"),
        ('["date", "account", "contra_account", "side", "amount"]', "2025-01-02;10;20;S;3",
         "10", "20", "3"),
        ('["date", "amount"]', "2025-01-02;-3", "", "", "-3"),
        ('["date", "debit_amount", "credit_amount"]', "2025-01-02;3;", "", "", "-3"),
        ('["date", "debit_amount", "credit_amount"]', "2025-01-02;;3", "", "", "3"),
        ('["date", "side", "amount"]', "2025-01-02;S;3", "", "", "-3"),
    ],
)  # fmt: skip
def test_accounts_and_amounts_as_the_columns_say(
    columns: str, line: str, debit: str, credit: str, amount: str
) -> None:
    side = '[side]\ndebit = ["S"]\ncredit = ["H"]\n' if '"side"' in columns else ""
    form = _form(f"columns = {columns}\n", side)
    document = form.parse(f"{line}\n".encode())
    (record,) = _records(document)
    assert document.problems == ()
    assert record.date == datetime.date(2025, 1, 2)
    assert record.amount == Decimal(amount)
    assert (record.fields["debit"], record.fields["credit"]) == (debit, credit)
    assert record.fields["amount"] == amount


@pytest.mark.parametrize(
    ("decimal", "text", "amount"),
    [
        (".", "1'234.50", "1234.50"),
        (".", "1,234.50", "1234.50"),
        (".", "1234.5-", "-1234.5"),
        (",", "1.234,50", "1234.50"),
        (",", "1 234,5", "1234.5"),
        (",", "1.234.567", "1234567"),
        (",", "0,125", "0.125"),
        (".", "x", None),
        (",", "", None),
    ],
)
def test_amounts_as_the_decimal_mark_says(decimal: str, text: str, amount: str | None) -> None:
    form = _form('columns = ["date", "amount"]\n', f'decimal = "{decimal}"\n')
    (record,) = _records(form.parse(f"2025-01-02;{text}\n".encode()))
    assert record.amount == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize(
    ("date_format", "text", "date"),
    [
        ("DD.MM.YYYY", "03.02.2025", "2025-02-03"),
        ("DD.MM.YYYY", "3.2.2025", "2025-02-03"),
        ("D.M.YY", "3.2.25", "2025-02-03"),
        ("D.M.YY", "3.2.99", "1999-02-03"),
        ("YYYYMMDD", "20250203", "2025-02-03"),
        ("YYYYMMDD", "2025023", None),
        ("MM/DD/YYYY", "02/03/2025", "2025-02-03"),
        ("YYYY-MM-DD", "2025-02-30", None),
        ("YYYY-MM-DD", "2025-02-03 12:00", None),
        ("YYYY-MM-DD", "２０２５-02-03", None),
    ],
)
def test_dates_as_the_format_says(date_format: str, text: str, date: str | None) -> None:
    form = _form('columns = ["date", "amount"]\n', f'date_format = "{date_format}"\n')
    document = form.parse(f"{text};1\n".encode())
    (record,) = _records(document)
    assert (None if record.date is None else str(record.date)) == date
    assert _codes(document) == ([] if date else ["date"])


@pytest.mark.parametrize(
    ("data", "code", "mergeable"),
    [
        (b"2025-01-02;10;20;V;t;x\n", "amount", True),
        (b"x;10;20;V;t;1\n", "date", True),
        (b"x;10;20;V;t;x\n", "unreadable-line", True),
        (b"x;10\n", "field-count", False),
        (b"2025-01-02;10;20;V;t\n", "field-count", False),
        (b"2025-01-02;10;20;V;t;1;more\n", "field-count", False),
        (b'2025-01-02;10;20;V;"t;1\n', "open-quote", False),
        (b"2025-01-02;10;20;V;t;1", "truncated-tail", False),
        (b"2025-01-02;10;20;V;t\0;1\n", "nul", False),
        (b"", "empty", False),
        ("2025-01-02;10;20;V;t;1\n".encode("utf-16"), "utf-16", False),
    ],
)
def test_what_is_wrong_is_said_and_damage_keeps_a_file_whole(
    data: bytes, code: str, mergeable: bool
) -> None:
    document = _form(POSTINGS).parse(data)
    assert code in _codes(document)
    assert document.mergeable is mergeable


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b"\xef\xbb\xbf2025-01-02;10;20;V;t;1\n", ""),
        (b"2025-01-02;10;20;V;t;1\r\r\n", ""),
        (b"2025-01-02;10;20;V;t;1;;;\n", ""),
        (b"2025-01-02;10;20;V;t;1;more\n", "more_columns = true\n"),
        (b"Title\nDate;Debit\n2025-01-02;10;20;V;t;1\n", "header_lines = 2\n"),
        (b"2025-01-02;10;20;V;t;1\nTotal;1\n\n;;;\n", 'skip = ["Total"]\n'),
        (b'2025-01-02;10;20;V;"a\n;b";1\n', ""),
        (b"2025-01-02;10;20;V;'a;b';1\n", 'quote = "\'"\n'),
        (b'2025-01-02;10;20;V;12" pipe;1\n', 'quote = ""\n'),
    ],
)
def test_dirty_files_are_read(data: bytes, rest: str) -> None:
    document = _form(POSTINGS, rest).parse(data)
    (record,) = _records(document)
    assert document.mergeable
    assert document.problems == ()
    assert record.amount == 1


def test_lines_without_columns_at_the_end_are_read_where_that_is_said() -> None:
    form = _form('columns = ["date", "amount", "text", "vat_code"]\n', "columns_min = 2\n")
    document = form.parse(b"2025-01-02;1\n2025-01-02;1;a\n2025-01-02\n")
    assert _codes(document) == ["field-count"]
    assert len(_records(document)) == 3


def test_a_title_with_a_time_is_the_same_line_when_the_time_changes() -> None:
    lines = [CASH.splitlines(keepends=True)[0]]
    lines.append(lines[0].replace(b"03.02.2025 09:12", b"04.02.2025 10:00"))
    one, other = map(CASH_FORM.read_segment, lines)
    assert one.raw != other.raw
    assert one.key == other.key


def test_what_is_compared_and_what_is_text_are_as_defined() -> None:
    form = _form(POSTINGS, 'key = ["date", "amount", "text"]\ntext = ["text"]\n')
    one, other, third = (
        form.read_segment(line)
        for line in (
            b"2025-01-02;10;20;V;a;1\n",
            b"2025-01-02;11;21;W;a;1\n",
            b"2025-01-02;10;20;V;b;1\n",
        )
    )
    assert one.key == other.key != third.key
    assert one.money_key == third.money_key
    assert one.identity is None


def test_a_column_of_identifiers_is_the_identity() -> None:
    form = _form('columns = ["reference", "date", "amount"]\n', 'identity = ["reference"]\n')
    one, other, none = (
        form.read_segment(line)
        for line in (b"7;2025-01-02;1\n", b"7;2025-01-03;2\n", b";2025-01-03;2\n")
    )
    assert registry.read_segment.identifies(form.name)
    assert not registry.read_segment.identifies(_form(POSTINGS).name)
    assert one.identity == other.identity is not None
    assert none.identity is None


def test_half_a_group_is_told() -> None:
    data = CASH.replace(b'"12,60"', b'"12,70"', 1)
    document = CASH_FORM.parse(data)
    assert _codes(document) == ["unbalanced-group"] * 2
    assert document.problems[0].line == 6
    assert document.mergeable


def test_a_file_is_recognised_again_by_what_the_definition_reads_in_it() -> None:
    assert CASH_FORM.recognise("any", CASH)
    assert not CASH_FORM.recognise("any", b"")
    assert not CASH_FORM.recognise("any", b"Some;other\nfile;1\n")
    assert not CASH_FORM.recognise("any", b"06.01.2025;K;1;t;S;1\n" * 2)
    assert registry.find_again(CASH_FORM.name, "a.ecf", CASH) is CASH_FORM
    assert registry.find_again(CASH_FORM.name, "a.ecf", b"").name == "cresus-ecf"
    assert registry.find("kassenbuch.txt", CASH).name == "opaque"


# -- any bytes -------------------------------------------------------------------------------------

_FORMS = [
    CASH_FORM,
    _form(POSTINGS),
    _form(POSTINGS, 'quote = ""\nidentity = ["voucher"]\ngroup = ["voucher"]\nmany = "*"\n', "tab"),
    _form('columns = ["date", "account", "debit_amount", "credit_amount"]\n',
          'encoding = "cp850"\nquote = "\'"\nmore_columns = true\nskip = ["\'x"]\n', "|"),
]  # fmt: skip
_field = st.sampled_from(
    "2025-01-02 06.01.2025 x K-1 S H * ... 1 -1 1.50 1,50 0 '' ' \" \"a;b\" \n Total é".split(" ")
)
_line = st.tuples(
    st.lists(_field, max_size=9), st.sampled_from(";|\t"), st.sampled_from(["\r\n", "\n", ""])
).map(lambda parts: (parts[1].join(parts[0]) + parts[2]).encode())
_file = st.lists(
    st.one_of(_line, st.binary(max_size=8), st.sampled_from(CASH.splitlines(keepends=True))),
    max_size=10,
).map(b"".join)


@pytest.mark.parametrize("form", _FORMS, ids=range(len(_FORMS)))
@given(data=_file, size=st.integers(1, 60))
def test_segments_read_alone_and_in_blocks_are_those_of_the_file(
    form: DelimitedFormat, data: bytes, size: int
) -> None:
    document = form.parse(data)
    assert emit(document) == data
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    assert list(form.stream(blocks)) == list(document.segments)
    assert form.recognise("x", data) in (True, False)
    for segment in document.segments:
        alone = form.read_segment(segment.raw)
        assert without_line(alone) == without_line(segment)
        assert alone.identity == segment.identity
        for record in segment.records:
            assert record.fields["date"] is not None
