"""What a report is made of, whatever it is written as."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings; ``right`` are the numbers of columns that hold numbers."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    widths: Sequence[int] = ()
    """How wide the columns are to each other; equal when none are given."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report: what it says, in this order."""

    heading: str
    facts: Sequence[tuple[str, str]] = ()
    texts: Sequence[str] = ()
    points: Sequence[str] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report in the reader's language; ``foot`` stands under each page."""

    title: str
    language: str
    verdict: str
    foot: str
    sections: Sequence[Section] = field(default_factory=tuple)
