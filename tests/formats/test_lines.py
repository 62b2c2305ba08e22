"""Cutting files into lines, and joining lines that balance."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.records import Segment
from p2psync.formats.base import whole_segment
from p2psync.formats.lines import Line, join_balanced, lines_of, split_lines
from p2psync.limits import SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX

_text = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b'"', b"bc"]), max_size=40).map(b"".join)


def _blocks(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    blocks = []
    for size in sizes:
        blocks.append(data[:size])
        data = data[size:]
    return [*blocks, data]


@given(_text, st.lists(st.integers(0, 9), max_size=12), st.sampled_from([b"", b'"']))
def test_lines_are_the_same_in_one_go_and_in_blocks(
    data: bytes, sizes: list[int], quote: bytes
) -> None:
    lines = split_lines(data, quote)
    assert b"".join(lines) == data
    assert all(lines)
    assert list(lines_of(_blocks(data, sizes), quote)) == lines
    assert [again for line in lines for again in split_lines(line, quote)] == lines


def test_a_line_end_inside_quotes_ends_no_line() -> None:
    data = b'a;"b\nc";d\ne\n"f""g\n"\nh"'
    assert split_lines(data, b'"') == [b'a;"b\nc";d\n', b"e\n", b'"f""g\n"\n', b'h"']


def test_a_quote_that_is_never_closed_takes_no_other_line_along() -> None:
    lines = [b'a;"b\n'] + [b"c;d\n"] * (SEGMENT_BYTES_MAX // 2)
    assert split_lines(b"".join(lines), b'"') == lines
    assert list(lines_of([b"".join(lines)], b'"')) == lines
    assert split_lines(b'x;"y\nz\n', b'"') == [b'x;"y\n', b"z\n"]


# -- lines that balance ----------------------------------------------------------------------------

_steps = st.lists(st.tuples(st.sampled_from("ab-"), st.integers(-2, 2)), max_size=40)


def _join(parts: Sequence[Segment]) -> Segment:
    return whole_segment(b"".join(part.raw for part in parts))


def _lines(steps: Sequence[tuple[str, int]], filler: int = 0) -> list[Line]:
    return [
        Line(
            whole_segment(b"%b%d%b\n" % (group.encode(), delta, b"." * filler)),
            None if group == "-" else group,
            delta,
        )
        for group, delta in steps
    ]


def _plainly(lines: Sequence[Line]) -> list[bytes]:
    """Says the rule in the shortest way: at each line, the shortest balanced run from it on."""
    out = []
    at = 0
    while at < len(lines):
        total = lines[at].delta
        end = at + 1
        while total and end < len(lines) and lines[end].group == lines[at].group:
            total += lines[end].delta
            end += 1
        raw = b"".join(line.segment.raw for line in lines[at:end])
        if (
            total
            or lines[at].group is None
            or end - at > SEGMENT_RECORDS_MAX
            or len(raw) > SEGMENT_BYTES_MAX
        ):
            raw, end = lines[at].segment.raw, at + 1
        out.append(raw)
        at = end
    return out


def _joined(lines: Sequence[Line]) -> list[bytes]:
    return [segment.raw for segment in join_balanced(lines, _join)]


@given(_steps)
def test_the_shortest_balanced_runs_are_joined(steps: list[tuple[str, int]]) -> None:
    lines = _lines(steps)
    assert _joined(lines) == _plainly(lines)


@settings(max_examples=20)
@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    st.sampled_from([(1, 0), (60, 0), (60, 120), (1, 4000)]),
)
def test_runs_that_are_too_long_are_cut_as_the_rule_says(
    deltas: list[int], size: tuple[int, int]
) -> None:
    times, filler = size
    steps = [("a", delta) for delta in deltas] + [("a", 1)] * 30
    lines = _lines(steps * times, filler)
    assert _joined(lines) == _plainly(lines)


@given(_steps, _steps)
def test_what_was_joined_stays_joined_between_complete_groups(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    """Segments that balance are found again in a file that two people's segments make up."""
    whole = [segment for steps in (one, other) for segment in _groups(_lines(steps))]
    lines = [line for group in whole for line in group]
    assert _joined(lines) == [b"".join(line.segment.raw for line in group) for group in whole]


def _groups(lines: Sequence[Line]) -> list[list[Line]]:
    """The segments of these lines that stand for themselves or balance."""
    by_raw = []
    at = 0
    for raw in _joined(lines):
        count = raw.count(b"\n")
        group = list(lines[at : at + count])
        at += count
        if count > 1 or group[0].group is None or not group[0].delta:
            by_raw.append(group)
    return by_raw
