"""What p2psync sees in one file: counts, periods, sums, problems, and how it would be merged."""

import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from p2psync.core.records import Document, Problem, Record, Segment
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.checks import check
from p2psync.formats.inspection.records import Sums, numbered
from p2psync.formats.inspection.text import TextFacts, TextLook
from p2psync.limits import (
    FILE_HEAD_BYTES,
    FILE_PROBLEMS_MAX,
    INSPECTED_AT_ONCE_BYTES_MAX,
    RECORD_FILE_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SUMMED_CURRENCIES_MAX,
)

Blocks = Callable[[], Iterable[bytes]]
"""Reads the file anew, from its beginning."""
Evidence = Literal["content", "name", "told"]
"""``told``: a person said so."""
Month = tuple[int, int]
MORE_CURRENCIES = "…"
"""Stands for all currencies beyond ``SUMMED_CURRENCIES_MAX``."""

WHY_WHOLE_TEXTS = {
    "format": "files of this format are kept whole",
    "file-too-large": "the file is too large to be merged record by record",
    "segment-too-long": "a line or a group of the file is too long to be merged as one",
    "problems": "what is wrong with the file could make a merge of it wrong",
}


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which format a file has, and what says so.

    ``by_name`` is the format that the name alone stands for, where that is another one.
    """

    form: Format
    evidence: tuple[Evidence, ...]
    by_name: str | None = None


@dataclass(slots=True)
class Counts:
    """What the segments of a file hold.

    ``groups`` are segments of several records, ``bare`` those without any: headers, blank lines
    and what could not be read.
    """

    segments: int = 0
    records: int = 0
    groups: int = 0
    bare: int = 0
    largest_bytes: int = 0
    first: datetime.date | None = None
    last: datetime.date | None = None
    months: dict[tuple[Month | None, str], Sums] = field(default_factory=dict)
    currencies: set[str] = field(default_factory=set)

    def take(self, segment: Segment) -> None:
        """Counts one segment."""
        self.segments += 1
        self.largest_bytes = max(self.largest_bytes, len(segment.raw))
        count = segment.record_count
        self.records += count
        self.groups += count > 1
        self.bare += not count
        if count:
            for side in segment.sides:
                self._bucket(side.date, side.currency).add(side)

    def _bucket(self, date: datetime.date | None, currency: str) -> Sums:
        if currency not in self.currencies:
            if len(self.currencies) < SUMMED_CURRENCIES_MAX:
                self.currencies.add(currency)
            else:
                currency = MORE_CURRENCIES
        month: Month | None = None
        if date is not None:
            month = (date.year, date.month)
            if self.first is None or date < self.first:
                self.first = date
            if self.last is None or date > self.last:
                self.last = date
        return self.months.setdefault((month, currency), Sums())

    def totals(self) -> dict[str, Sums]:
        """Gives the sums of the whole file by currency, in their order."""
        return self._summed(lambda _: "")[""] if self.months else {}

    def years(self) -> dict[str, dict[str, Sums]]:
        """Gives the sums by year (empty: no date), and in it by currency."""
        return self._summed(lambda month: "" if month is None else f"{month[0]:04}")

    def by_month(self) -> dict[str, dict[str, Sums]]:
        """Gives the sums by month as ``2025-03`` (empty: no date), and in it by currency."""
        return self._summed(lambda month: "" if month is None else f"{month[0]:04}-{month[1]:02}")

    def _summed(self, name: Callable[[Month | None], str]) -> dict[str, dict[str, Sums]]:
        found: dict[str, dict[str, Sums]] = {}
        for (month, currency), sums in self.months.items():
            found.setdefault(name(month), {}).setdefault(currency, Sums()).include(sums)
        return {
            period: dict(sorted(found[period].items()))
            for period in sorted(found, key=lambda each: (not each, each))
        }


@dataclass(frozen=True, slots=True)
class Survey:
    """What p2psync sees in a file.

    ``document`` has no segments: it is what is said of the file as a whole. ``why_whole`` is a key
    of ``WHY_WHOLE_TEXTS``, ``None`` for a file that is merged record by record. ``problem_count``
    counts also those that are not listed. ``sample`` are the first records, each with its line.
    """

    recognised: Recognised
    text: TextFacts
    counts: Counts
    document: Document
    why_whole: str | None
    problems: tuple[Problem, ...]
    problem_count: int
    sample: tuple[tuple[int, Record], ...]


def recognise(name: str, head: bytes) -> Recognised:
    """Tells the format of a file by its name (without folder) and its first bytes."""
    head = head[:FILE_HEAD_BYTES]
    form = registry.find(name, head)
    if form is registry.by_name("opaque"):
        return Recognised(form, ())
    evidence: list[Evidence] = []
    if form.recognise("", head):
        evidence.append("content")
    if form.recognise(name, b""):
        evidence.append("name")
    named = registry.find(name, b"")
    other = named.name if named.name not in (form.name, "opaque") else None
    return Recognised(form, tuple(evidence), other)


def survey(recognised: Recognised, size_bytes: int, blocks: Blocks, listed: int) -> Survey:
    """Reads a file; in memory that does not grow with it once it is large.

    ``listed`` records are kept to be shown.
    """
    reading = _Reading(recognised.form, listed)
    at_once = INSPECTED_AT_ONCE_BYTES_MAX
    if recognised.form.merge == "whole":
        at_once = RECORD_FILE_BYTES_MAX if recognised.evidence else -1
    if size_bytes <= at_once:
        reading.at_once(blocks())
    if reading.document is None or _is_too_large(reading.document):
        reading.streamed(blocks())
    document = reading.document
    if document is None and not recognised.evidence:
        document = Document(recognised.form.name, (), mergeable=False)
    if document is None and size_bytes <= RECORD_FILE_BYTES_MAX:
        document = replace(recognised.form.parse(b"".join(blocks())), segments=())
    if document is None:
        document = _too_large(recognised.form, reading)
    problems = (*document.problems, *reading.checked)
    return Survey(
        recognised,
        reading.look.facts(recognised.form.name),
        reading.counts,
        document,
        _why_whole(recognised.form, document, reading.counts),
        problems,
        _count(problems),
        tuple(reading.sample),
    )


class _Reading:
    def __init__(self, form: Format, listed: int) -> None:
        self._form = form
        self._listed = listed
        self.look = TextLook()
        self.counts = Counts()
        self.sample: list[tuple[int, Record]] = []
        self.document: Document | None = None
        self.checked: tuple[Problem, ...] = ()
        self.problems: list[Problem] = []
        self._line = 1

    def at_once(self, blocks: Iterable[bytes]) -> None:
        """Reads a file as a node does that saves it."""
        document = self._form.parse(b"".join(self.look.through(blocks)))
        self.document = replace(document, segments=())
        if not _is_too_large(document):
            for segment in document.segments:
                self._take(segment)
            self.checked = check(document, ())

    def streamed(self, blocks: Iterable[bytes]) -> None:
        """Reads a file block by block; what is said of it as a whole is the stream's last word."""
        self.look = TextLook()
        through = self.look.through(blocks)
        segments = self._form.stream(through)
        while True:
            try:
                segment = next(segments)
            except StopIteration as end:
                if isinstance(end.value, Document):
                    self.document = end.value
                break
            self._take(segment)
            if segment.problem is not None and len(self.problems) <= FILE_PROBLEMS_MAX:
                self.problems.append(segment.problem)
        for _ in through:  # a format that keeps its files whole reads nothing
            pass

    def _take(self, segment: Segment) -> None:
        self.counts.take(segment)
        if len(self.sample) < self._listed:
            self.sample += numbered(segment, self._line)
            del self.sample[self._listed :]
            self._line += segment.raw.count(b"\n")


def _is_too_large(document: Document) -> bool:
    return any(problem.code == "file-too-large" for problem in document.problems)


def _too_large(form: Format, reading: _Reading) -> Document:
    problem = Problem("file-too-large", "the file is too large to be read line by line")
    problems = [problem, *reading.problems]
    return Document(form.name, (), False, tuple(problems[:FILE_PROBLEMS_MAX]))


def _why_whole(form: Format, document: Document, counts: Counts) -> str | None:
    if form.merge == "whole" or not (document.mergeable or document.problems):
        return "format"
    if _is_too_large(document):
        return "file-too-large"
    if counts.largest_bytes > SEGMENT_BYTES_MAX:
        return "segment-too-long"
    return None if document.mergeable else "problems"


def _count(problems: Iterable[Problem]) -> int:
    total = 0
    for problem in problems:
        total += int(problem.params["count"]) if problem.code == "more-problems" else 1
    return total


def segments_of(form: Format, size_bytes: int, blocks: Blocks) -> Callable[[], Iterable[Segment]]:
    """Gives how to read a file's segments, again and again: from memory while it is small."""
    if size_bytes <= INSPECTED_AT_ONCE_BYTES_MAX:
        document = form.parse(b"".join(blocks()))
        if not _is_too_large(document):
            return lambda: document.segments
    return lambda: form.stream(blocks())


def listed(problems: Iterable[Problem], most: int) -> Iterator[Problem]:
    """Yields the first problems that say something of their own."""
    for problem in problems:
        if most <= 0:
            return
        if problem.code != "more-problems":
            most -= 1
            yield problem
