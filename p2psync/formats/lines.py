"""Files made of lines: cutting them, in one go or block by block, and joining lines that balance.

A line keeps its terminator, so the lines of a file, joined, are the file again. Lines of one group
that follow each other are one segment as soon as they balance: the *shortest* balanced run is
taken. So the segments of a merged file are the segments that were merged, whatever stands beside
them. Lines that never balance each stand alone.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from p2psync.core.records import Problem, Segment
from p2psync.formats import base
from p2psync.formats.values import digest
from p2psync.limits import (
    LINE_BYTES_MAX,
    RECORD_FILE_BYTES_MAX,
    RECORD_FILE_LINES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_RECORDS_MAX,
)

UNBALANCED_PROBLEM = "unbalanced-group"
Delta = int | Decimal
Join = Callable[[Sequence[Segment]], Segment]
"""Makes one segment of the segments of several lines."""


class Line(NamedTuple):
    """A line read on its own.

    ``group`` is equal for lines that belong together, ``None`` for a line that stands alone;
    ``delta`` is what it adds to its group, whose lines are complete when these sum up to zero.
    """

    segment: Segment
    group: Hashable
    delta: Delta


def split_lines(data: bytes, quote: bytes = b"") -> list[bytes]:
    """Splits after each LF, but for one inside quotes; joined, the lines are ``data`` again."""
    lines = data.split(b"\n")
    tail = lines.pop()
    raws = [line + b"\n" for line in lines]
    if tail:
        raws.append(tail)
    return list(_outside_quotes(raws, quote)) if quote and quote in data else raws


def lines_of(blocks: Iterable[bytes], quote: bytes = b"") -> Iterator[bytes]:
    """Does ``split_lines`` for a file that comes in blocks, and holds one block or line at a time.

    A line of more than ``STREAMED_LINE_BYTES_MAX`` comes in pieces.
    """
    raws = base.lines_of(blocks)
    return _outside_quotes(raws, quote) if quote else raws


def _outside_quotes(raws: Iterable[bytes], quote: bytes) -> Iterator[bytes]:
    """Puts lines together while a quote is open; one that stays open for too long is none."""
    parts: list[bytes] = []
    size = 0
    for raw in raws:
        if not parts:
            if raw.count(quote) & 1:
                parts, size = [raw], len(raw)
            else:
                yield raw
            continue
        parts.append(raw)
        size += len(raw)
        if raw.count(quote) & 1:
            yield b"".join(parts)
            parts = []
        elif size > SEGMENT_BYTES_MAX:
            yield from parts
            parts = []
    yield from parts


def join_balanced(lines: Iterable[Line], join: Join) -> Iterator[Segment]:
    """Yields the segments of lines, in order; linear, and holds a bounded number of them."""
    run: list[Line] = []
    total: Delta = 0
    size = 0
    lines_full, size_full = SEGMENT_RECORDS_MAX, SEGMENT_BYTES_MAX
    for line in lines:
        segment, group, delta = line
        if run and group != run[0].group:
            yield from _cut(run, join, ended=True)
            run.clear()
        if group is None:
            yield segment
            continue
        if not run:
            if not delta:
                yield segment
                continue
            total = size = 0
            lines_full, size_full = SEGMENT_RECORDS_MAX, SEGMENT_BYTES_MAX
        run.append(line)
        total += delta
        size += len(segment.raw)
        if not total and len(run) <= SEGMENT_RECORDS_MAX and size <= SEGMENT_BYTES_MAX:
            yield join([each[0] for each in run])
            run.clear()
        elif len(run) > lines_full or size > size_full:
            yield from _cut(run, join, ended=False)
            total = sum((each.delta for each in run), 0)
            size = sum(len(each.segment.raw) for each in run)
            # The next cut has as much to do as there is new by then.
            lines_full, size_full = len(run) + SEGMENT_RECORDS_MAX, size + SEGMENT_BYTES_MAX
    yield from _cut(run, join, ended=True)


def _cut(run: list[Line], join: Join, *, ended: bool) -> Iterator[Segment]:
    """Takes segments off the front of a run, as far as what may still follow cannot change them."""
    count = len(run)
    sums: list[Delta] = [0]
    sizes = [0]
    for line in run:
        sums.append(sums[-1] + line.delta)
        sizes.append(sizes[-1] + len(line.segment.raw))
    ends = [0] * count
    next_with_sum: dict[Delta, int] = {}
    for place in range(count, 0, -1):
        next_with_sum[sums[place]] = place
        ends[place - 1] = next_with_sum.get(sums[place - 1], 0)
    place = 0
    while place < count:
        end = ends[place]
        if end >= place + 2 and _fits(end - place, sizes[end] - sizes[place]):
            yield join([line.segment for line in run[place:end]])
            place = end
        elif ended or end or not _fits(count - place, sizes[count] - sizes[place]):
            yield run[place].segment
            place += 1
        else:
            break
    del run[:place]


def _fits(lines: int, size: int) -> bool:
    return lines <= SEGMENT_RECORDS_MAX and size <= SEGMENT_BYTES_MAX


def line_problems(segments: Iterable[Segment]) -> list[Problem]:
    """Gives the segments' problems, which count lines from the start of theirs, by the file's."""
    problems: list[Problem] = []
    before = 0
    for segment in segments:
        problem = segment.problem
        if problem is not None:
            problems.append(replace(problem, line=before + (problem.line or 1)))
        before += segment.raw.count(b"\n")
    return problems


def record_lines(raw: bytes, records: int, line: int) -> tuple[int, int]:
    """Gives the line of a segment's first record, and how many lines on each next one stands.

    ``line`` is where the segment begins. Records that are not one a line have the line of all.
    """
    text = raw.lstrip(b"\r\n")
    first = line + raw.count(b"\n", 0, len(raw) - len(text))
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    return first, int(lines == records)


def damage(data: bytes) -> list[Problem]:
    """Finds what shows that a file of lines is damaged, or no text of bytes: never merged then."""
    if not data:
        return [Problem("empty", "the file is empty")]
    problems: list[Problem] = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        problems.append(Problem("utf-16", "the file is UTF-16, which is not read"))
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        problems.append(Problem("nul", "the file holds a NUL byte", line))
    if not data.endswith(b"\n"):
        line = data.count(b"\n") + 1
        problems.append(Problem("truncated-tail", "the last line has no end", line))
    return problems


def too_large(data: bytes) -> Problem | None:
    """Says so when a file is not to be read line by line."""
    if len(data) <= RECORD_FILE_BYTES_MAX and data.count(b"\n") < RECORD_FILE_LINES_MAX:
        return None
    return Problem("file-too-large", "the file is too large to be read line by line")


def only(segments: Sequence[Segment], raw: bytes, join: Join) -> Segment:
    """Gives the one segment; what is no one segment keeps its records, with a problem."""
    if len(segments) == 1:
        return segments[0]
    problem = Problem("not-one-segment", "these lines are not one posting or one group")
    if not segments:
        return base.whole_segment(raw, problem)
    joined = join(segments)
    return Segment(raw, joined.key, joined.money_key, joined.records, problem)


def uneven(
    header: int,
    raws: Sequence[bytes],
    fields_of: Callable[[bytes], Sequence[bytes]],
    count_of: Callable[[bytes], int] | None = None,
) -> list[Problem]:
    """Finds lines that have more or fewer fields than the ``header``, unless all have as many.

    Some programs end each line, but not the header, with separators, or leave out what is empty.
    ``raws`` are all lines of the file; those without fields are blank or have one field.
    ``count_of`` is a quicker way to count them.
    """
    if count_of is None:
        counts = [len(fields_of(raw)) for raw in raws]
    else:
        counts = list(map(count_of, raws))
    others = {count for count in counts if count > 1} - {header}
    if not others:
        return []
    if len(others) == 1 and header not in counts[1:]:
        surplus = (field for raw in raws[1:] for field in fields_of(raw)[header:])
        if not any(field.strip() for field in surplus):
            return []
    numbered = enumerate(counts, 1)
    return [field_count(at, count, header) for at, count in numbered if count not in (1, header)]


def field_count(number: int, found: int, expected: int) -> Problem:
    """Says that a line has too many or too few fields."""
    params = {"found": str(found), "expected": str(expected)}
    template = "the line has {found} fields instead of {expected}"
    return Problem("field-count", template, number, params)


def line_too_long(raw: bytes) -> Segment:
    """Gives the segment of a line that is not read."""
    params = {"found": str(len(raw)), "limit": str(LINE_BYTES_MAX)}
    template = "the line has {found} bytes; at most {limit} are read"
    return base.whole_segment(raw, Problem("line-too-long", template, 1, params))


def join_parts(parts: Sequence[Segment]) -> Segment:
    """Makes one segment of several; balanced together, their halves are no problem any more."""
    problems = [part.problem for part in parts]
    return Segment(
        b"".join([part.raw for part in parts]),
        digest(b"p2psync-group", b"".join([part.key for part in parts])),
        digest(b"p2psync-group-mo", b"".join([part.money_key for part in parts])),
        tuple([record for part in parts for record in part.records]),
        next((p for p in problems if p is not None and p.code != UNBALANCED_PROBLEM), None),
        joined_identity([part.identity for part in parts]),
    )


def joined_identity(identities: Sequence[bytes | None]) -> bytes | None:
    """Gives the identity of a segment of several lines, where each has one."""
    found = [identity for identity in identities if identity is not None]
    if len(found) < len(identities):
        return None
    return found[0] if len(found) == 1 else digest(b"p2psync-group-id", b"".join(found))
