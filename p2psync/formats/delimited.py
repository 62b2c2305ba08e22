"""Delimited text that a user defines: see ``definition``.

A file is cut into lines, but not inside quotes. Lines with a date or an amount are records; with
columns to group by, lines that follow each other and balance are one segment (see ``lines``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Format, Merge, bounded, whole_document, whole_segment
from p2psync.formats.definition import FAMILY, Definition, read_name
from p2psync.formats.delimited_line import LineReader
from p2psync.formats.lines import (
    damage,
    field_count,
    join_balanced,
    join_parts,
    line_problems,
    lines_of,
    only,
    split_lines,
    too_large,
)
from p2psync.limits import SEGMENT_BYTES_MAX

_MERGED_CODES = frozenset(
    ("date", "amount", "side", "two-sided", "unreadable-line", "unbalanced-group")
)
"""What is wrong with the content alone; any other problem shows that the file is damaged."""
_LINES_LOOKED_AT = 100
TITLE_TEXTS = {"definition": "Delimited text ({name})"}


@dataclass(frozen=True, slots=True)
class DelimitedFormat:
    """Reads the files of one definition."""

    definition: Definition
    merge: Merge = "records"
    _reader: LineReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_reader", LineReader(self.definition))

    @property
    def name(self) -> str:
        """The definition itself, in its canonical form."""
        return self.definition.format_name

    @property
    def title(self) -> str:
        """Says what the user calls it."""
        return self.title_template.format_map(self.title_params)

    @property
    def title_template(self) -> str:
        """The title without the user's words, so that it can be translated."""
        return TITLE_TEXTS["definition"]

    @property
    def title_params(self) -> Mapping[str, str]:
        """What fills the template."""
        return {"name": self.definition.name}

    @property
    def suffixes(self) -> tuple[str, ...]:
        """As defined."""
        return self.definition.suffixes

    @property
    def identifies(self) -> bool:
        """Whether a column holds stable identifiers."""
        return bool(self.definition.identity)

    def recognise(self, name: str, head: bytes) -> bool:
        """Says whether the first lines hold records, and each that does has all its fields."""
        lines = islice(split_lines(head, self._reader.quote), _LINES_LOOKED_AT)
        segments = [self._reader.read_line(raw).segment for raw in lines]
        records = [segment for segment in segments if segment.records]
        wrong = [each.problem for each in records[:-1] if each.problem is not None]
        return bool(records) and all(problem.code in _MERGED_CODES for problem in wrong)

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        problem = too_large(data)
        if problem is not None:
            return Document(self.name, (self.read_segment(data),), False, (problem,))
        raws = split_lines(data, self._reader.quote)
        segments = tuple(join_balanced(map(self._reader.read_line, raws), join_parts))
        problems = damage(data) + self._unread(segments) + line_problems(segments)
        mergeable = all(problem.code in _MERGED_CODES for problem in problems)
        return Document(self.name, segments, mergeable, bounded(problems))

    def _unread(self, segments: Sequence[Segment]) -> list[Problem]:
        """Finds lines below the header that are no records, and were not said to be none."""
        problems: list[Problem] = []
        expected = len(self.definition.columns)
        line = 1
        for segment in segments:
            raw = segment.raw
            is_other = not segment.records and segment.problem is None
            if is_other and line > self.definition.header_lines and not self._skipped(raw):
                count = len(self._reader.fields_of(raw))
                template = "the line has neither a date nor an amount"
                problem = Problem("unreadable-line", template, line)
                problems.append(
                    problem if count == expected else field_count(line, count, expected)
                )
            line += raw.count(b"\n")
        return problems

    def header_records(self, head: bytes) -> list[int]:
        """Gives the numbers of the header's lines that are read as records all the same."""
        lines = split_lines(head, self._reader.quote)[: self.definition.header_lines]
        numbered = enumerate(map(self._reader.read_line, lines), 1)
        return [number for number, line in numbered if line.segment.records]

    def _skipped(self, raw: bytes) -> bool:
        return self._reader.is_skipped(raw)

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one segment's lines; what is no one segment keeps its records, with a problem."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return self._reader.read_line(raw).segment
        lines = map(self._reader.read_line, split_lines(raw, self._reader.quote))
        return only(list(join_balanced(lines, join_parts)), raw, join_parts)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Holds one line, or the lines that may still become one group."""
        lines = map(self._reader.read_line, lines_of(blocks, self._reader.quote))
        return join_balanced(lines, join_parts)


@dataclass(frozen=True, slots=True)
class DelimitedFamily:
    """Stands for all of them: without a definition a file is kept whole."""

    name: str = FAMILY
    title: str = "Delimited text"
    suffixes: tuple[str, ...] = ()
    merge: Merge = "whole"

    def recognise(self, name: str, head: bytes) -> bool:
        """Takes nothing: somebody has to say what the columns are."""
        return False

    def variant(self, parameter: str) -> Format | None:
        """Gives the reader of a definition in its canonical form."""
        definition = read_name(parameter)
        return None if definition is None else DelimitedFormat(definition)

    def fitted(self, head: bytes) -> Format:
        """Gives itself."""
        return self

    def parse(self, data: bytes) -> Document:
        """Gives one segment without records."""
        return whole_document(self.name, data)

    def read_segment(self, raw: bytes) -> Segment:
        """Gives the segment of a whole file."""
        return whole_segment(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields nothing."""
        return iter(())


FORMATS: tuple[Format, ...] = (DelimitedFamily(),)
