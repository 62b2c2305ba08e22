"""SIE 4: vouchers, tags, and what programs write beside the book."""

import datetime
from decimal import Decimal

import pytest

from p2psync.core.records import Document, Segment
from p2psync.formats import registry
from p2psync.limits import SEGMENT_RECORDS_MAX
from tests.formats.files import EXAMPLES, SAMPLES, emit

SIE = registry.by_name("sie")
EXAMPLE = (EXAMPLES / "norrvik_2025.se").read_bytes()
HEAD = b"#FLAGGA 0\n#PROGRAM x 1\n#FORMAT PC8\n#GEN 20250101\n#SIETYP 4\n"


def voucher(number: str = "1", text: str = "x", amount: str = "5", more: str = "") -> bytes:
    lines = f"#TRANS 1930 {{}} {amount}\n#TRANS 3010 {{}} -{amount}\n{more}"
    return f'#VER A {number} 20250301 "{text}" 20250401\n{{\n{lines}}}\n'.encode("cp437")


def codes(document: Document) -> list[str]:
    return [problem.code for problem in document.problems]


def only(data: bytes) -> Segment:
    (segment,) = SIE.parse(data).segments
    return segment


def test_the_example_is_counted() -> None:
    document = SIE.parse(EXAMPLE)
    assert document.counts == (("VER", 4), ("TRANS", 10))
    assert document.period == (datetime.date(2025, 1, 1), datetime.date(2025, 12, 31))
    assert document.embedded_id == "559999-0001 2025-01-01"
    assert document.mergeable
    assert document.problems == ()


def test_the_sample_is_counted_and_its_unbalanced_voucher_is_told() -> None:
    for path in sorted(SAMPLES.glob("sie/*.se")):
        document = SIE.parse(path.read_bytes())
        assert document.counts[0] == ("VER", 2)
        assert codes(document) == ["unbalanced-group"]
        assert document.mergeable


def test_a_voucher_is_one_segment_and_its_lines_are_one_sided() -> None:
    raw = (
        '#VER "B" "12" 20250301 "Köp \\"A\\"" 20250302 "eva"\r\n{\r\n'
        '\t#TRANS 1930 {} -10.50 "" "Låda" 2\r\n  #TRANS 4010 {1 "V 1" 6 P} 10.50 20250228\r\n'
        '  #RTRANS 1 {} 7\r\n  #BTRANS 1 {} 8 20250101 "old"\r\n}\r\n'
    ).encode("cp437")
    segment = only(raw)
    one, other = segment.records
    assert (one.date, one.amount) == (datetime.date(2025, 3, 1), Decimal("10.50"))
    assert (one.fields["debit"], one.fields["credit"]) == ("...", "1930")
    assert (one.fields["text"], one.fields["quantity"]) == ("Låda", "2")
    assert (other.date, other.amount) == (datetime.date(2025, 2, 28), Decimal("10.50"))
    assert (other.fields["debit"], other.fields["credit"]) == ("4010", "...")
    assert (other.fields["text"], other.fields["cost_centre"]) == ('Köp "A"', "1 V 1 6 P")
    assert other.fields["voucher"] == "B 12"
    assert other.fields["journal"] == "B"
    assert segment.problem is None
    assert segment.identity is not None


def test_text_is_read_in_code_page_437_and_in_utf8() -> None:
    for encoding in ("cp437", "utf-8"):
        raw = voucher(text="Åsa Öberg").decode("cp437").encode(encoding)
        assert only(raw).records[0].fields["text"] == "Åsa Öberg"


def test_series_and_number_identify_a_voucher_whatever_it_says() -> None:
    assert only(voucher("7", "a", "5")).identity == only(voucher("7", "b", "6")).identity
    assert only(voucher("7")).identity != only(voucher("8")).identity
    assert only(voucher('""')).identity is None
    assert only(voucher("0")).identity is None


def test_quotes_spaces_and_the_registration_date_are_no_part_of_a_voucher() -> None:
    plain = b"#VER A 1 20250301 x 20250401\n{\n#TRANS 1930 {} 5\n}\n"
    other = b'\n  #ver "A" 1   "20250301" "x" 20250507 eva\r\n{\r\n  #TRANS 1930 { } 5 \r\n}\r\n'
    assert only(plain).key == only(other).key
    assert only(plain).records[0].key == only(other).records[0].key


@pytest.mark.parametrize(("number", "same"), [("0", True), ("1", False)])
def test_vouchers_of_one_number_are_told_apart_by_their_texts_too(number: str, same: bool) -> None:
    before, text, amount = voucher(number), voucher(number, "y"), voucher(number, amount="6")
    assert only(before).key != only(text).key
    assert (only(before).money_key == only(text).money_key) is same
    assert only(before).money_key != only(amount).money_key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b"#GEN 20250101\n", b'#GEN 20250102 "eva"\n', True),
        (b"#PROGRAM x 1\n", b"#PROGRAM x 2\n", True),
        (b"#UB 0 1930 5\n", b"#UB 0 1930 6\n", True),
        (b"#UB 0 1930 5\n", b"#UB 0 1931 5\n", False),
        (b"#UB 0 1930 5\n", b"#IB 0 1930 5\n", False),
        (b'#KONTO 1930 "Bank"\n', b'#KONTO 1930 "Konto"\n', True),
        (b"#PSALDO 0 202501 1930 {} 5\n", b"#PSALDO 0 202502 1930 {} 5\n", False),
        (b"#PSALDO 0 202501 1930 {} 5\n", b"#PSALDO 0 202501 1930 {} 6\n", True),
        (b"#FOO a 1\n", b"#FOO a 2\n", False),
        (b"#FOO a 1\n", b"  #FOO   a 1\r\n", True),
    ],
)
def test_a_tag_is_identified_by_what_it_speaks_of(one: bytes, other: bytes, same: bool) -> None:
    assert (only(one).key == only(other).key) == same
    assert only(one).records == ()


def test_unknown_tags_and_their_braces_are_kept() -> None:
    data = HEAD + b"#NEW a\n{\n#TRANS 1 {} 2\n}\n" + voucher() + b"words\n"
    document = SIE.parse(data)
    assert emit(document) == data
    assert document.counts == (("VER", 1), ("TRANS", 2))
    assert codes(document) == ["unreadable-line", "unreadable-line"]
    assert document.mergeable


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"#VER A 1 20250301\n", "open-voucher"),
        (b"#VER A 1 20250301\n{\n#TRANS 1 {} 0\n", "open-voucher"),
        (b"#VER A 1 20250301\n{\n#TRANS 1 {} 0\n#VER A 2 20250301\n{\n}\n", "open-voucher"),
        (b"#TRANS 1 {} 0\n", "open-voucher"),
        (b"{\n", "open-voucher"),
        (b"\n{ x\n#TRANS 1 {} 0\n", "open-voucher"),
        (b"#KSUMMA 12345\n", "checksum"),
        (b"#KONTO 1 x", "truncated-tail"),
        (b"#KONTO 1 \0\n", "nul"),
        (b"#KONTO 1 " + b"x" * 70_000 + b"\n", "line-too-long"),
        (b"#VER A 1 20250301\n{\n" + b"#TRANS 1 {} 0\n" * 1_001 + b"}\n", "voucher-too-large"),
        (b"#VER A 1 20250301\n{\n" + b"#TRANS 1 {} 0\n" * 20_000 + b"}\n", "open-voucher"),
        (voucher("7") + voucher("7", amount="6"), "duplicate-id"),
        (b"", "empty"),
    ],
)
def test_what_shows_damage_is_kept_whole(data: bytes, code: str) -> None:
    assert SEGMENT_RECORDS_MAX == 1_000
    document = SIE.parse(data)
    assert code in codes(document)
    assert not document.mergeable
    assert emit(document) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"#VER A 1 2025x\n{\n}\n", "date"),
        (b"#VER A 1 20250301\n{\n#TRANS 1 {} many\n}\n", "amount"),
        (b"#VER A 1 20250301\n{\n#TRANS 1 {} 1\n}\n", "unbalanced-group"),
        (b"#KSUMMA\n", ""),
        (b"#KONTO 1 x\n\x1a\n", ""),
    ],
)
def test_what_is_wrong_with_the_content_alone_is_merged(data: bytes, code: str) -> None:
    document = SIE.parse(data)
    assert codes(document) == ([code] if code else [])
    assert document.mergeable


def test_a_brace_may_stand_on_the_line_of_the_voucher_and_a_mark_before_the_file() -> None:
    data = b"\xef\xbb\xbf#FLAGGA 0\n#VER A 1 20250301 {\n#TRANS 1 {} 1\n#TRANS 2 {} -1\n}\n"
    document = SIE.parse(data)
    assert document.counts == (("VER", 1), ("TRANS", 2))
    assert document.problems == ()
    assert [segment.raw[:4] for segment in document.segments] == [b"\xef\xbb\xbf", b"#FLA", b"#VER"]


def test_a_file_is_known_by_its_tags_and_else_by_its_suffix() -> None:
    assert SIE.recognise("x.txt", HEAD)
    assert SIE.recognise("X.SI", b"#VER A 1 20250101\n{\n}\n")
    assert not SIE.recognise("x.txt", b"#GEN 1\n")
    assert not SIE.recognise("x.se", b"\xff\xfe#\0")
