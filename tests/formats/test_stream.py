"""Reading a file block by block gives what reading it at once gives, in bounded memory."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import Document, Segment, side_of
from p2psync.formats import registry
from p2psync.formats.base import Format, lines_of
from p2psync.limits import (
    MIB,
    SEGMENT_BYTES_MAX,
    SEGMENT_RECORDS_MAX,
    STREAMED_LINE_BYTES_MAX,
)
from tests.formats.files import EVERY_FILE, HEADER, POSTINGS, posting
from tests.formats.test_every_format import mutated

FORMATS = registry.all_formats()
RECORD_FORMATS = [form for form in FORMATS if form.merge == "records"]
ECF = registry.by_name("cresus-ecf")
_LARGE_BYTES = 5_000
_FILES = [data for path in EVERY_FILE if len(data := path.read_bytes()) < _LARGE_BYTES]
"""The others are read once, as they are."""
_CUTS = st.lists(st.integers(0, 4000), max_size=12)


def _blocks(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _agrees(form: Format, data: bytes, blocks: list[bytes]) -> None:
    document = form.parse(data)
    streamed, said = _streamed(form, blocks)
    if form.merge == "whole":
        assert streamed == []
    elif document.mergeable:
        assert streamed == list(document.segments)
    if said is not None:
        assert said.segments == ()
        assert said.mergeable == document.mergeable
        assert said.embedded_id == document.embedded_id
        assert said.period == document.period
        assert said.counts == document.counts
        assert _codes(said) == _codes(document) - {"duplicate-id"}


def _streamed(form: Format, blocks: list[bytes]) -> tuple[list[Segment], Document | None]:
    segments = form.stream(blocks)
    out: list[Segment] = []
    while True:
        try:
            out.append(next(segments))
        except StopIteration as end:
            return out, end.value


def _codes(document: Document) -> set[str]:
    """Which problems it has; repeated numbers take memory to find, so a stream need not."""
    return {problem.code for problem in document.problems}


_GROUP_LINES = st.lists(
    st.builds(
        posting,
        amount=st.sampled_from(["10.00", "5.00", "5", "0", "-10.00", "x"]),
        debit=st.sampled_from(["1100", "..."]),
        credit=st.sampled_from(["3400", "..."]),
        group=st.sampled_from(["", "7", "8"]),
        text=st.sampled_from(["a", "b"]),
    ),
    max_size=30,
).map(lambda lines: HEADER + b"".join(lines))


@given(data=_GROUP_LINES, cuts=_CUTS)
def test_groups_are_the_same_wherever_the_blocks_end(data: bytes, cuts: list[int]) -> None:
    assert list(ECF.stream(_blocks(data, cuts))) == list(ECF.parse(data).segments)
    _agrees(ECF, data, _blocks(data, cuts))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.sampled_from(_FILES), cuts=_CUTS)
def test_any_cut_into_blocks_gives_the_segments_of_parse(
    form: Format, data: bytes, cuts: list[int]
) -> None:
    _agrees(form, data, _blocks(data, cuts))


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.binary(max_size=400), cuts=_CUTS)
def test_any_bytes_can_be_streamed(form: Format, data: bytes, cuts: list[int]) -> None:
    _agrees(form, data, _blocks(data, cuts))


@pytest.mark.parametrize("path", EVERY_FILE, ids=lambda path: path.name)
def test_each_file_at_hand_is_streamed_by_its_format(path: Path) -> None:
    data = path.read_bytes()
    form = registry.find(path.name, data)
    _agrees(form, data, [data[start : start + 1000] for start in range(0, len(data), 1000)])
    for segment in form.parse(data).segments:
        assert segment.sides == tuple(side_of(record) for record in segment.records)


@pytest.mark.parametrize("name", sorted(POSTINGS))
def test_an_example_comes_out_byte_by_byte(name: str) -> None:
    data = POSTINGS[name]
    form = registry.find(name, data)
    blocks = [data[index : index + 1] for index in range(len(data))]
    assert list(form.stream(blocks)) == list(form.parse(data).segments)


@pytest.mark.parametrize("count", [SEGMENT_RECORDS_MAX - 1, SEGMENT_RECORDS_MAX])
@pytest.mark.parametrize("text_bytes", [10, 150])
def test_a_group_at_the_limits_is_cut_as_parse_cuts_it(count: int, text_bytes: int) -> None:
    text = "t" * text_bytes
    half = posting(debit="...", amount="1.00", group="4", text=text)
    total = posting(credit="...", amount=f"{count}.00", group="4", text=text)
    data = HEADER + half * count + total + half + posting(credit="...", amount="1.00", group="4")
    document = ECF.parse(data)
    fits = count < SEGMENT_RECORDS_MAX and len(half) * count + len(total) <= SEGMENT_BYTES_MAX
    assert (len(document.segments[2].records) == count + 1) == fits
    assert list(ECF.stream([data])) == list(document.segments)


def test_lines_keep_their_ends_and_very_long_ones_come_in_pieces() -> None:
    limit = STREAMED_LINE_BYTES_MAX
    assert list(lines_of([])) == list(lines_of([b"", b""])) == []
    assert list(lines_of([b"a\nb", b"c\n", b"\nd"])) == [b"a\n", b"bc\n", b"\n", b"d"]
    block = bytes(limit // 4 + 1)
    pieces = [len(line) for line in lines_of([b"a\n", *[block] * 9, b"\nb"])]
    assert pieces == [2, limit, limit, 9 * len(block) - 2 * limit + 1, 1]


def _many(lines: int) -> Iterator[bytes]:
    block = b"".join(posting(text=f"Facture {number}") for number in range(1000))
    yield HEADER
    for _ in range(lines // 1000):
        yield block


def _last(segments: Iterator[Segment]) -> int:
    return sum(segment.record_count for segment in segments)


def test_a_file_is_never_held_as_a_whole() -> None:
    tracemalloc.start()
    try:
        assert _last(ECF.stream(_many(60_000))) == 60_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MIB


def test_one_endless_group_is_not_held_either() -> None:
    half = posting(debit="...", group="9", amount="1.00")
    tracemalloc.start()
    try:
        assert _last(ECF.stream([half] * 6_000)) == 6_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


@pytest.mark.parametrize("form", RECORD_FORMATS, ids=lambda form: form.name)
@given(data=st.one_of(st.sampled_from(_FILES), _GROUP_LINES, mutated()))
def test_what_is_added_up_is_what_the_records_say(form: Format, data: bytes) -> None:
    """A format may read it in a quicker way."""
    for segment in form.parse(data).segments:
        assert segment.sides == tuple(side_of(record) for record in segment.records)
