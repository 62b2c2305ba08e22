"""DATEV files (EXTF): batches of postings, and master data.

The first line is the header: what the file holds, its fiscal year, who wrote it and when. The
second names the columns. A posting has day and month alone, so a file is read as
``datev-postings:YYYYMMDD``, the first day of the fiscal year that its header says when it is
attached. A file whose header says another one later is never merged into it.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Format, Merge, bounded
from p2psync.formats.datev_line import (
    QUOTE,
    fields_of,
    is_columns,
    is_header,
    read_data,
    read_posting,
)
from p2psync.formats.lines import (
    damage,
    join_parts,
    line_problems,
    lines_of,
    only,
    split_lines,
    too_large,
    uneven,
)
from p2psync.limits import SEGMENT_BYTES_MAX

_CATEGORY, _CREATED, _YEAR, _PERIOD_FROM, _PERIOD_TO = 2, 5, 12, 14, 15
_POSTINGS = b"21"
_DAY = re.compile(r"[12][0-9]{7}")
_MERGED_CODES = frozenset(
    (
        "date",
        "amount",
        "side",
        "missing-field",
        "unreadable-line",
        "no-year",
        "no-header",
        "stray-columns",
    )
)
"""What is wrong with the content alone; any other problem shows that the file is damaged."""


@dataclass(frozen=True, slots=True)
class DatevFormat:
    """Reads batches of postings of one fiscal year, or master data.

    ``year`` is the first day of the fiscal year; without it the records have no date.
    """

    name: str
    title: str
    postings: bool
    year: datetime.date | None = None
    suffixes: tuple[str, ...] = (".csv",)
    merge: Merge = "records"

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the header."""
        fields = _header(head)
        if not fields or (fields[_CATEGORY].strip() == _POSTINGS) is not self.postings:
            return False
        return self.year is None or _year(fields) == self.year

    def variant(self, parameter: str) -> Format | None:
        """Gives the reader for the fiscal year that begins on that day, ``YYYYMMDD``."""
        year = _day(parameter)
        if not self.postings or year is None:
            return None
        return replace(self, name=f"{self.name}:{parameter}", year=year)

    def fitted(self, head: bytes) -> Format:
        """Gives the reader for the fiscal year that the header says."""
        year = _year(_header(head))
        return (year is not None and self.variant(f"{year:%Y%m%d}")) or self

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        problem = too_large(data)
        if problem is not None:
            return Document(self.name, (self.read_segment(data),), False, (problem,))
        raws = split_lines(data, QUOTE)
        segments = tuple(map(self._read_line, raws))
        header = _header(data)
        problems = damage(data) + self._header_problems(header, raws)
        problems += _stray_columns(segments) + line_problems(segments)
        mergeable = all(problem.code in _MERGED_CODES for problem in problems)
        return Document(self.name, segments, mergeable, bounded(problems), _period(header))

    def _read_line(self, raw: bytes) -> Segment:
        return read_posting(raw, self.year) if self.postings else read_data(raw)

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one line; what is no one line keeps its records, with a problem."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return self._read_line(raw)
        return only([self._read_line(each) for each in split_lines(raw, QUOTE)], raw, join_parts)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Holds one line."""
        return map(self._read_line, lines_of(blocks, QUOTE))

    def _header_problems(self, header: Sequence[bytes], raws: Sequence[bytes]) -> list[Problem]:
        if not raws:
            return []
        if not header:
            template = "the file does not start with the header of a DATEV file"
            return [Problem("no-header", template, 1)]
        problems: list[Problem] = []
        year = _year(header)
        if self.year is not None and year != self.year:
            template = (
                "the header is of the fiscal year from {found}, the file was attached as {year}"
            )
            params = {"found": "?" if year is None else str(year), "year": str(self.year)}
            problems.append(Problem("other-year", template, 1, params))
        if (header[_CATEGORY].strip() == _POSTINGS) is not self.postings:
            template = "the file holds data of another category than when it was attached"
            problems.append(Problem("other-category", template, 1))
        rows = raws[1:]
        if rows:
            found = uneven(len(fields_of(rows[0])), rows, fields_of)
            starts = _starts(rows)
            problems += [replace(each, line=1 + starts[each.line - 1]) for each in found]
        return problems


def _stray_columns(segments: Sequence[Segment]) -> list[Problem]:
    """Finds lines that start as names of columns do, but stand where records are."""
    template = "the line is taken for names of columns, which stand in line 2"
    starts = _starts([segment.raw for segment in segments])
    return [
        Problem("stray-columns", template, line)
        for place, (segment, line) in enumerate(zip(segments, starts, strict=False))
        if place > 1 and is_columns(segment)
    ]


def _starts(raws: Sequence[bytes]) -> list[int]:
    """Gives the line of the file where each of ``raws`` begins."""
    return list(accumulate((raw.count(b"\n") for raw in raws), initial=1))


def _header(head: bytes) -> list[bytes]:
    """Gives the fields of the header, at least as many as are read here; none without one."""
    first = head[:4096].partition(b"\n")[0]
    if not is_header(first):
        return []
    fields = fields_of(first)
    return fields + [b""] * (_PERIOD_TO + 1 - len(fields))


def _year(header: Sequence[bytes]) -> datetime.date | None:
    """Gives the day on which the fiscal year begins: as said, or that of the period or the time."""
    if not header:
        return None
    texts = [header[place].decode("latin-1").strip() for place in (_YEAR, _PERIOD_FROM, _CREATED)]
    said, period, created = (_day(text[:8]) for text in texts)
    other = period or created
    return said or (other and other.replace(month=1, day=1))


def _period(header: Sequence[bytes]) -> tuple[datetime.date, datetime.date] | None:
    if not header:
        return None
    texts = [header[place].decode("latin-1").strip() for place in (_PERIOD_FROM, _PERIOD_TO)]
    first, last = map(_day, texts)
    return (first, last) if first and last and first <= last else None


def _day(text: str) -> datetime.date | None:
    if not _DAY.fullmatch(text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


FORMATS: tuple[Format, ...] = (
    DatevFormat("datev-postings", "DATEV batch of postings", postings=True),
    DatevFormat("datev-data", "DATEV master data", postings=False),
)
