"""Formats made of blocks: any bytes, any cut into blocks, any mixture of two files' segments."""

import tracemalloc
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import Document, Segment
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.blocks import BlockFormat, NamedFields
from p2psync.limits import (
    MIB,
    RECORD_FILE_LINES_MAX,
    RECORD_TEXT_CHARS_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_RECORDS_MAX,
)
from tests.formats.files import EVERY_FILE, emit

FORMATS = [form for form in registry.all_formats() if isinstance(form, BlockFormat)]
FILES = {
    form.name: [
        data
        for path in EVERY_FILE
        if registry.find(path.name, data := path.read_bytes()[:65536]).name == form.name
    ]
    for form in FORMATS
}
WORDS = {
    "sie": [b"#VER", b'#VER A 9 20250101 "x"\n', b"{\n", b"}\n", b"#TRANS 1510 {} 1 ", b'"', b"\\"],
    "bvr-v11": [b"0", b"9", b" ", b"CHF", b"0" * 100, b"\x1a", b"\n", b"\r\r\n", b"999"],
    "beancount": [
        b'2025-01-01 * "x"\n',
        b"  Assets:A  1 CHF\n",
        b"  Assets:B\n",
        b"; c\n",
        b'"',
        b'  k: "',
        b"{",
        b"@",
        b"* Part\n",
        b"\\",
    ],
    "ledger": [
        b"2025/01/01 (7) x\n",
        b"  Assets:A  $1\n",
        b"  Assets:B\n",
        b"; c\n",
        b"comment\n",
        b"end comment\n",
        b"= x\n",
        b"  ; UUID: 7\n",
        b"@",
    ],
}
_OTHERS = [
    b"\n",
    b"\r\n",
    b"\r",
    b" ",
    b"  ",
    b"\t",
    b"\n\n",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff",
    b"-",
]
ALL = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@st.composite
def contents(draw: st.DrawFn, name: str) -> bytes:
    """Draws a file with some places cut, doubled or overwritten, or one of words alone."""
    pieces = st.one_of(
        st.sampled_from(WORDS[name]), st.sampled_from(_OTHERS), st.binary(max_size=6)
    )
    if draw(st.booleans()):
        return b"".join(draw(st.lists(pieces, max_size=25)))
    data = draw(st.sampled_from(FILES[name]))
    place = draw(st.integers(0, max(0, len(data) - 3000)))
    data = data[place : place + 3000]
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 150)))
        piece = draw(st.one_of(pieces, st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


def said(segments: Sequence[Segment]) -> list[tuple[bytes, tuple[object, ...]]]:
    """Gives what segments say, but blank lines, which go with what follows them."""
    return [(each.key, each.records) for each in segments if each.raw.strip()]


def _blocks(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@ALL
@given(drawn=st.data())
def test_any_bytes_are_kept_and_every_segment_reads_alone(
    form: Format, drawn: st.DataObject
) -> None:
    data = drawn.draw(contents(form.name))
    document = form.parse(data)
    assert emit(document) == data
    cuts = drawn.draw(st.lists(st.integers(0, 4000), max_size=12))
    assert list(form.stream(_blocks(data, cuts))) == list(document.segments)
    for segment in document.segments:
        assert form.read_segment(segment.raw) == segment
        assert len(segment.raw) <= SEGMENT_BYTES_MAX or not document.mergeable
        assert segment.record_count <= SEGMENT_RECORDS_MAX or not document.mergeable
        for record in segment.records:
            assert record.text.isprintable()
            assert len(record.text) <= RECORD_TEXT_CHARS_MAX
            assert record.amount is None or record.amount.is_finite()
            assert all(value.isprintable() for value in record.fields.values())
    for problem in document.problems:
        assert problem.text
        assert 0 <= problem.line <= data.count(b"\n") + 1


def _mergeable(form: Format, drawn: st.DataObject) -> Document:
    document = form.parse(drawn.draw(contents(form.name)))
    return document if document.mergeable else form.parse(min(FILES[form.name], key=len))


@ALL
@given(drawn=st.data())
def test_the_segments_of_a_merged_file_are_those_that_were_merged(
    form: Format, drawn: st.DataObject
) -> None:
    segments = [*_mergeable(form, drawn).segments, *_mergeable(form, drawn).segments]
    some = drawn.draw(st.lists(st.sampled_from(segments), max_size=12)) if segments else []
    data = b"".join(segment.raw for segment in some)
    merged = form.parse(data)
    assert said(merged.segments) == said(some)
    names = [segment.identity for segment in some if segment.identity is not None]
    ended = data.endswith(b"\n") or (bool(data) and form.name == "bvr-v11")
    assert merged.mergeable == (ended and len(set(names)) == len(names))


@ALL
@given(drawn=st.data())
def test_no_record_is_lost_between_a_file_and_its_pieces(
    form: Format, drawn: st.DataObject
) -> None:
    document = form.parse(drawn.draw(contents(form.name)))
    whole = form.read_segment(emit(document))
    keys = Counter(record.key for each in document.segments for record in each.records)
    assert Counter(record.key for record in whole.records) == keys


@ALL
def test_every_example_is_recognised_whatever_it_is_called(form: Format) -> None:
    assert FILES[form.name]
    for data in FILES[form.name]:
        assert registry.find("export.txt", data).name == form.name
        for suffix in form.suffixes:
            assert registry.find(f"A{suffix.upper()}", data).name == form.name


@ALL
def test_a_file_of_too_many_lines_is_kept_whole(form: Format) -> None:
    document = form.parse(b"\n" * RECORD_FILE_LINES_MAX)
    assert [problem.code for problem in document.problems] == ["file-too-large"]
    assert len(document.segments) == 1
    assert not document.mergeable


@ALL
@pytest.mark.parametrize(
    "data",
    [
        b'"' * 60_000,
        b"{" * 60_000,
        b"\\" * 60_000,
        b" " * 60_000 + b"x",
        b";" * 60_000,
        b"(" * 60_000,
        b"-" * 60_000,
        b'\\"' * 30_000,
        b'{"' * 30_000,
        b"1 " * 30_000,
        b"A:" * 30_000,
        b"UUID: " * 10_000,
    ],
    ids=lambda data: repr(data[:6]),
)
def test_long_lines_of_odd_characters_are_read(form: Format, data: bytes) -> None:
    for start in (
        b"",
        b'2025-01-01 * "',
        b'2025-01-01 * "x"\n  Assets:A  ',
        b"2025-01-01 ",
        b"  Assets:A  1 ",
        b"#VER ",
        b"#TRANS 1 ",
        b"1" * 99,
    ):
        document = form.parse(start + data + b"\n")
        assert emit(document) == start + data + b"\n"
        form.recognise("x", start + data)


@ALL
def test_the_same_content_with_other_line_ends_is_no_change(form: Format) -> None:
    for data in FILES[form.name]:
        if b"\n" not in data:
            continue
        one = form.parse(data.replace(b"\r\n", b"\n"))
        for end in (b"\r\n", b"\r\r\n"):
            other = form.parse(data.replace(b"\r\n", b"\n").replace(b"\n", end))
            assert said(one.segments) == said(other.segments)
            assert one.mergeable == other.mergeable


@ALL
def test_neither_a_file_nor_a_block_without_an_end_is_held_as_a_whole(form: BlockFormat) -> None:
    example = min(FILES[form.name], key=len)
    payment = example[:100]
    files: list[list[bytes]] = [[example] * (3 * MIB // 2 // len(example))]
    for start in (b"#VER A 1 20250101\n{\n", b"comment\n", b'2025-01-01 * "x\n', payment):
        files.append([start, *[b"  ; " + b"x" * 90 + b"\n"] * (3 * MIB // 2 // 95)])
    tracemalloc.start()
    try:
        for blocks in files:
            assert sum(len(raw) for raw in form.split(blocks)) == sum(map(len, blocks))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_named_fields_are_a_mapping() -> None:
    fields = NamedFields(("a", "b"), ("1", ""))
    assert dict(fields) == {"a": "1", "b": ""} == fields
    assert fields.get("c", "-") == "-"
    assert len(fields) == 2
    assert hash(fields) == hash(NamedFields(("a", "b"), ("1", "")))
    assert repr(fields) == "{'a': '1', 'b': ''}"
