"""FEC, the French file of accounting entries (LPF, article A47 A-1): one file a fiscal year.

A file is split at LF. Lines of one entry (JournalCode and EcritureNum) that follow each other are
one segment as soon as they balance; see ``lines``.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Format, Merge, bounded
from p2psync.formats.fec_entry import read_entries
from p2psync.formats.fec_line import (
    COLUMNS,
    NAMES,
    field_count_of,
    fields_of,
    header_names,
    is_header,
    join,
    read_line,
)
from p2psync.formats.lines import (
    damage,
    line_problems,
    lines_of,
    only,
    split_lines,
    too_large,
    uneven,
)
from p2psync.limits import SEGMENT_BYTES_MAX

_MERGED_CODES = frozenset(
    (
        "date",
        "amount",
        "two-sided",
        "missing-field",
        "unreadable-line",
        "unbalanced-group",
        "no-header",
    )
)
"""What is wrong with the content alone; any other problem shows that the file is damaged."""


@dataclass(frozen=True, slots=True)
class FecFormat:
    """Goes by the names in the first line, whatever the file is called."""

    name: str = "fec"
    title: str = "FEC, French accounting entries"
    suffixes: tuple[str, ...] = (".txt", ".csv")
    merge: Merge = "records"
    identifies: bool = True

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the names of the columns in the first line."""
        first = head.partition(b"\n")[0]
        return is_header(first) and _in_order(header_names(first))

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        problem = too_large(data)
        if problem is not None:
            return Document(self.name, (self.read_segment(data),), False, (problem,))
        raws = split_lines(data)
        segments = tuple(read_entries(raws))
        problems = damage(data) + _header_problems(raws) + line_problems(segments)
        mergeable = all(problem.code in _MERGED_CODES for problem in problems)
        return Document(self.name, segments, mergeable, bounded(problems))

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one segment's lines; what is no one segment keeps its records, with a problem."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return read_line(raw).segment
        segments = list(read_entries(split_lines(raw)))
        return only(segments, raw, join)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Holds the lines of one entry."""
        return read_entries(lines_of(blocks))


def _in_order(names: Sequence[bytes]) -> bool:
    """Says whether the columns stand where they are looked for, but for those that lack."""
    return list(names[: len(COLUMNS)]) == list(COLUMNS) or list(names) == [
        name for name in COLUMNS if name in names
    ]


def _header_problems(raws: Sequence[bytes]) -> list[Problem]:
    """Finds what is wrong with the names of the columns, and lines that have more than they say."""
    if not raws or not is_header(raws[0]):
        template = "the file does not start with the names of its columns"
        return [Problem("no-header", template, 1)] if raws else []
    names = header_names(raws[0])
    problems = [
        Problem("missing-column", "the column {column} is missing", 1, {"column": column})
        for name, column in zip(COLUMNS, NAMES, strict=True)
        if name not in names
    ]
    if not _in_order(names):
        problems.append(Problem("column-order", "the columns are not in the order of the law", 1))
    return problems + uneven(len(fields_of(raws[0])), raws, fields_of, field_count_of)


FORMATS: tuple[Format, ...] = (FecFormat(),)
