"""What the rest of p2psync knows of an exchange file's content, whatever its format."""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One posting line.

    ``key`` (16 bytes) is a digest of every field that the format compares: two records with one
    key are two identical postings. ``money_key`` (16 bytes) leaves out nothing but the text for
    people: of two edits of one posting that differ in text alone the last writer wins, two that
    differ in anything else are both kept.
    """

    key: bytes
    money_key: bytes
    text: str
    date: datetime.date | None
    amount: Decimal | None
    fields: Mapping[str, str] = field(default_factory=dict)


_NO_ACCOUNT = frozenset(("", "...", "…"))
"""What stands in place of an account: nothing, or that the other lines of a group have it."""


def is_account(text: str) -> bool:
    """Say whether a record's ``debit`` or ``credit`` names an account."""
    return text not in _NO_ACCOUNT


class Side(NamedTuple):
    """What of a record is added up, and on which sides: debit, credit, both, or none (a bank's)."""

    date: datetime.date | None
    amount: Decimal | None
    debit: bool
    credit: bool
    currency: str

    @property
    def once(self) -> Decimal | None:
        """Its amount in a sum that counts a balanced entry once: a credit alone adds nothing."""
        return None if self.credit and not self.debit else self.amount


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a reader could not make sense of; never a reason to drop bytes (B-POS-8).

    ``code`` is stable for programs; ``template`` with ``params`` is the text for people.
    ``line`` counts from 1; 0 means the file as a whole.
    """

    code: str
    template: str
    line: int = 0
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The problem in English."""
        return self.template.format_map(dict(self.params))


@dataclass(frozen=True, slots=True)
class Segment:
    """The smallest piece of a file that is merged as one: a line, or a balanced group of lines.

    ``key`` (16 bytes) identifies the content for matching an old file against a new one; it does
    not change when a file is only renumbered. ``records`` is empty for headers and for lines
    that could not be read. ``money_key`` (16 bytes) is ``key`` without what is only text.
    ``identity`` (16 bytes) stands for an identifier that the program guarantees to be stable in
    this file (an OFX FITID): segments with one identity are one element, whatever else changed
    (docs/decisions/0022).
    """

    raw: bytes
    key: bytes
    money_key: bytes
    records: tuple[Record, ...] = ()
    problem: Problem | None = None
    identity: bytes | None = None

    @property
    def record_count(self) -> int:
        """How many records it holds; never dearer than ``records``."""
        return len(self.records)

    @property
    def dates(self) -> tuple[datetime.date, ...]:
        """The dates of its records; never dearer than ``records``."""
        return tuple([record.date for record in self.records if record.date is not None])

    @property
    def amounts(self) -> tuple[tuple[datetime.date | None, Decimal | None], ...]:
        """The date and the amount of each of its records; never dearer than ``records``."""
        return tuple([(record.date, record.amount) for record in self.records])

    @property
    def rows(self) -> tuple[tuple[datetime.date | None, Mapping[str, str]], ...]:
        """The date and the fields of each of its records; never dearer than ``records``."""
        return tuple([(record.date, record.fields) for record in self.records])

    @property
    def sides(self) -> tuple[Side, ...]:
        """What of each of its records is added up; never dearer than ``records``."""
        return tuple([side_of(record) for record in self.records])


def side_of(record: Record) -> Side:
    """Give what of a record is added up."""
    fields = record.fields
    debit, credit = is_account(fields.get("debit", "")), is_account(fields.get("credit", ""))
    return Side(record.date, record.amount, debit, credit, fields.get("currency", ""))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. ``b"".join(s.raw for s in segments)`` gives back the very bytes.

    ``counts`` is what the format counts by its own words (``("Ntry", 7)``), in its order, where
    that is more than segments and records.
    """

    format: str
    segments: tuple[Segment, ...]
    mergeable: bool
    problems: tuple[Problem, ...] = ()
    period: tuple[datetime.date, datetime.date] | None = None
    embedded_id: str | None = None
    counts: tuple[tuple[str, int], ...] = ()


class SegmentReader(Protocol):
    """Reads one segment of a record file on its own; pure, total, never raises.

    It may have a method ``identifies(format_name) -> bool``, see ``identifies``.
    """

    def __call__(self, format_name: str, raw: bytes) -> Segment:
        """Return the segment that these bytes are in a file of that format."""
        ...


def identifies(reader: SegmentReader, format_name: str) -> bool:
    """Tell whether segments of a format can have an ``identity``; of any, when a reader has no
    say. Where they cannot, nobody has to read a segment to know what element it is.
    """
    says: Callable[[str], bool] | None = getattr(reader, "identifies", None)
    return says is None or says(format_name)
