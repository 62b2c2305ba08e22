"""Crésus posting files: ``.ecf`` from invoicing, ``.ecs`` from payroll.

A file is split at LF, each line keeps its terminator. Lines of one group (same group number and
voucher) that follow each other are one segment as soon as they balance: the *shortest* balanced
run is taken. So the segments of a merged file are the segments that were merged, whatever stands
beside them, even when two sides gave their groups the same number. Lines that never balance
each stand alone, as records with a problem (B-POS-8).
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice

from p2psync.core.records import Document, Problem, Record, Segment
from p2psync.formats.base import (
    Format,
    Merge,
    bounded,
    has_suffix,
    lines_of,
    whole_segment,
)
from p2psync.formats.cresus_header import kind_of
from p2psync.formats.cresus_line import (
    FIELD_COUNT_PROBLEM,
    LINES_KEPT,
    TOO_LONG_PROBLEM,
    UNBALANCED_PROBLEM,
    ZERO,
    plain_line,
    plain_line_again,
    read_line,
)
from p2psync.formats.values import clean, decode_cp1252, digest
from p2psync.limits import (
    FILE_PROBLEMS_MAX,
    NAME_BYTES_MAX,
    RECORD_FILE_BYTES_MAX,
    RECORD_FILE_LINES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_RECORDS_MAX,
)

_KINDS = (b"ECF", b"ECS", b"ECC")
_UNMERGEABLE = frozenset(
    (FIELD_COUNT_PROBLEM, TOO_LONG_PROBLEM, "empty", "nul", "utf-16", "truncated-tail")
)


@dataclass(frozen=True, slots=True)
class PostingFormat:
    """Reads one of the two kinds; they differ in their header and suffix only."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    kind: bytes
    merge: Merge = "records"

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the kind in the first line, and by the suffix where the line names none known."""
        kind = kind_of(head)
        if kind in _KINDS:
            return kind == self.kind
        return has_suffix(name, self.suffixes)

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        line_count = data.count(b"\n") + 1
        if len(data) > RECORD_FILE_BYTES_MAX or line_count > RECORD_FILE_LINES_MAX:
            problem = Problem("file-too-large", "the file is too large to be read line by line")
            return Document(self.name, (self.read_segment(data),), False, (problem,))
        raws = split_lines(data)
        reading = _read(raws)
        problems = _file_problems(data, raws)
        if reading.repeated_ids:
            problems.append(_repeated_ids(reading.repeated_ids))
        codes = reading.codes.union(problem.code for problem in problems)
        segments = tuple(reading.segments)
        problems += [segment.problem for segment in segments if segment.problem is not None]
        return Document(
            self.name,
            segments,
            codes.isdisjoint(_UNMERGEABLE),
            bounded(problems),
            None,
            _embedded_id(raws),
        )

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one segment's lines; what is no one segment keeps its records, with a problem."""
        plain = plain_line(raw)
        if plain is not None:
            return plain
        if len(raw) > SEGMENT_BYTES_MAX:
            return read_line(raw, 1).segment
        segments = _read(split_lines(raw)).segments
        if len(segments) == 1:
            return segments[0]
        problem = Problem("not-one-segment", "these lines are not one posting or one group")
        if not segments:
            return whole_segment(raw, problem)
        return replace(_join(segments), problem=problem)

    def stream(self, blocks: Iterable[bytes]) -> Generator[Segment, None, Document]:
        """Holds one line, or the lines that may still become one group.

        Repeated idnos, which stop no merge, are not looked for: that would take up memory for each.
        """
        whole = _WholeFile()
        run: _Run | None = None
        for raw in lines_of(blocks):
            segment, group, delta, _ = read_line(raw, whole.number)
            whole.saw(raw, segment.problem)
            if run is not None and group != run.group:
                yield from map(whole.gave, run.end())
                run = None
            if group is None:
                yield whole.gave(segment)
                continue
            run = run or _Run(group)
            yield from map(whole.gave, run.add(segment, delta))
        if run is not None:
            yield from map(whole.gave, run.end())
        return whole.document(self.name)


FORMATS: tuple[Format, ...] = (
    PostingFormat("cresus-ecf", "Crésus invoicing postings", (".ecf",), b"ECF"),
    PostingFormat("cresus-ecs", "Crésus payroll postings", (".ecs",), b"ECS"),
)


def split_lines(data: bytes) -> list[bytes]:
    """Splits after each LF; joined, the lines are ``data`` again."""
    lines = data.split(b"\n")
    tail = lines.pop()
    raws = [line + b"\n" for line in lines]
    if tail:
        raws.append(tail)
    return raws


@dataclass(slots=True)
class _Reading:
    """What the lines hold; ``codes`` are those of all line problems, also inside groups."""

    segments: list[Segment] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    repeated_ids: list[int] = field(default_factory=list)


def _read(raws: list[bytes]) -> _Reading:
    """Reads line by line and joins the shortest balanced runs of each group."""
    reading = _Reading()
    segments = reading.segments
    ids: set[bytes] = set()
    run: _Run | None = None
    again = plain_line_again if len(raws) <= LINES_KEPT // 2 else _no_line
    for number, raw in enumerate(raws, 1):
        line = again(raw) or read_line(raw, number)
        segment, group, delta, idno = line
        if segment.problem is not None:
            reading.codes.add(segment.problem.code)
        if idno:
            if idno in ids:
                reading.repeated_ids.append(number)
            ids.add(idno)
        if run is not None and group != run.group:
            segments += run.end()
            run = None
        if group is None:
            segments.append(segment)
        else:
            run = run or _Run(group)
            segments += run.add(segment, delta)
    if run is not None:
        segments += run.end()
    return reading


def _no_line(_raw: bytes) -> None:
    return None


class _Run:
    """Cuts lines of one group that follow each other; holds what may still become one segment."""

    def __init__(self, group: tuple[bytes, bytes]) -> None:
        self.group = group
        self._lines: deque[tuple[Segment, Decimal]] = deque()
        """Each with the sum of all lines before it."""
        self._first = 0
        self._bytes = 0
        self._sum = ZERO
        self._ends: dict[int, int] = {}
        """Where the shortest balanced run ends that starts at that line."""
        self._open: dict[Decimal, int] = {}
        """The last line before which the sum was that, with no end yet."""

    def add(self, segment: Segment, delta: Decimal) -> Iterator[Segment]:
        """Takes the next line; yields the segments that no further line can change."""
        self._open[self._sum] = self._first + len(self._lines)
        self._lines.append((segment, self._sum))
        self._bytes += len(segment.raw)
        self._sum += delta
        start = self._open.pop(self._sum, None)
        if start is not None:
            self._ends[start] = self._first + len(self._lines)
        return self._cut(at_end=False)

    def end(self) -> Iterator[Segment]:
        """Yields the rest."""
        return self._cut(at_end=True)

    def _cut(self, *, at_end: bool) -> Iterator[Segment]:
        while self._lines:
            count = self._ends.get(self._first, self._first) - self._first
            if not count and not (
                at_end
                or len(self._lines) >= SEGMENT_RECORDS_MAX
                or self._bytes >= SEGMENT_BYTES_MAX
            ):
                return
            if count > 1 and self._fits(count):
                yield _join([self._take() for _ in range(count)])
            else:
                yield self._take()

    def _fits(self, count: int) -> bool:
        if count > SEGMENT_RECORDS_MAX:
            return False
        sizes = (len(segment.raw) for segment, _ in islice(self._lines, count))
        return self._bytes <= SEGMENT_BYTES_MAX or sum(sizes) <= SEGMENT_BYTES_MAX

    def _take(self) -> Segment:
        segment, before = self._lines.popleft()
        if self._open.get(before) == self._first:
            del self._open[before]
        self._ends.pop(self._first, None)
        self._first += 1
        self._bytes -= len(segment.raw)
        return segment


def _join(parts: list[Segment]) -> Segment:
    """Makes one segment of several; balanced together, their halves are no problem any more."""
    records: list[Record] = [record for part in parts for record in part.records]
    problems = (part.problem for part in parts)
    return Segment(
        b"".join(part.raw for part in parts),
        digest(b"p2psync-group", b"".join(part.key for part in parts)),
        digest(b"p2psync-group-mo", b"".join(part.money_key for part in parts)),
        tuple(records),
        next((p for p in problems if p is not None and p.code != UNBALANCED_PROBLEM), None),
    )


class _WholeFile:
    """Finds what is wrong with a file that goes by line by line."""

    def __init__(self) -> None:
        self.number = 1
        """Of the line that comes next."""
        self._bytes = 0
        self._last = b""
        self._head = b""
        self._embedded_id: str | None = None
        self._codes: set[str] = set()
        self._nul = self._line_end = 0
        self._problems: list[Problem] = []
        self._more = 0

    def saw(self, raw: bytes, problem: Problem | None) -> None:
        """Takes one line, with what is wrong with it alone."""
        if not self._bytes:
            self._head = raw
        if not self._nul and b"\0" in raw:
            self._nul = self.number
        if not self._line_end and raw[-1:] == b"\n" and raw[-2:-1] != b"\r":
            self._line_end = self.number
        if self._embedded_id is None:
            self._embedded_id = _embedded_id([raw])
        if problem is not None:
            self._codes.add(problem.code)
        self._bytes += len(raw)
        self._last = raw[-1:]
        self.number += self._last == b"\n"

    def gave(self, segment: Segment) -> Segment:
        """Notes the problem of a segment."""
        if segment.problem is not None:
            if len(self._problems) <= FILE_PROBLEMS_MAX:
                self._problems.append(segment.problem)
            else:
                self._more += 1
        return segment

    def document(self, name: str) -> Document:
        """Says what ``parse`` says of the file as a whole; without its segments."""
        if self._bytes > RECORD_FILE_BYTES_MAX or self.number > RECORD_FILE_LINES_MAX:
            problem = Problem("file-too-large", "the file is too large to be read line by line")
            self._problems.insert(0, problem)
            return Document(name, (), False, self._listed(), None, self._embedded_id)
        problems = _file_problems_of(
            self._head,
            nul_line=self._nul,
            tail_line=0 if self._last == b"\n" else self.number,
            end_line=self._line_end,
        )
        codes = self._codes.union(problem.code for problem in problems)
        self._problems = problems + self._problems
        mergeable = codes.isdisjoint(_UNMERGEABLE)
        return Document(name, (), mergeable, self._listed(), None, self._embedded_id)

    def _listed(self) -> tuple[Problem, ...]:
        return bounded(self._problems, self._more)


def _file_problems(data: bytes, raws: list[bytes]) -> list[Problem]:
    nul_line = end_line = 0
    if b"\0" in data:
        nul_line = data.count(b"\n", 0, data.index(b"\0")) + 1
    if data.count(b"\n") != data.count(b"\r\n"):
        end_line = next(n for n, raw in enumerate(raws, 1) if raw[-2:-1] != b"\r")
    tail_line = 0 if data.endswith(b"\n") else len(raws)
    return _file_problems_of(data, nul_line=nul_line, tail_line=tail_line, end_line=end_line)


def _file_problems_of(
    head: bytes, *, nul_line: int, tail_line: int, end_line: int
) -> list[Problem]:
    """Says what is wrong with a file as a whole; a line of 0 means that there is none."""
    if not head:
        return [Problem("empty", "the file is empty")]
    problems: list[Problem] = []
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        problems.append(Problem("utf-16", "the file is UTF-16, not Windows-1252"))
    if kind_of(head) is None:
        problems.append(Problem("no-header", "the file does not start with its #FSC line", 1))
    if nul_line:
        problems.append(Problem("nul", "the file holds a NUL byte", nul_line))
    if tail_line:
        problems.append(Problem("truncated-tail", "the last line has no end", tail_line))
    if end_line:
        problems.append(Problem("line-end", "the line does not end in CR LF", end_line))
    return problems


def _repeated_ids(lines: list[int]) -> Problem:
    """Tells of idnos used twice, which stops no merge: the program renumbers them at will.

    Two devices that add a posting while apart both take the next number, so a sound merge of
    their files holds it twice.
    """
    more = len(lines) - 1
    if not more:
        return Problem("duplicate-id", "its number (idno) is that of an earlier line", lines[0])
    template = "its number (idno) is that of an earlier line; further lines like that: {count}"
    return Problem("duplicate-id", template, lines[0], {"count": str(more)})


def _embedded_id(raws: list[bytes]) -> str | None:
    """Gives the uid of the first ``#ECC⇥1; lot; time; uid`` line."""
    for raw in raws:
        if raw.startswith(b"#ECC"):
            parts = raw[: 4 * NAME_BYTES_MAX].split(b";")
            return (clean(decode_cp1252(parts[3]))[:NAME_BYTES_MAX] or None) if parts[3:] else None
    return None
