"""Formats made of blocks of lines (a voucher, a transaction, a delivery): each block is a segment.

A format says how blocks are cut and how one is read on its own; the rest is the same for all.
"""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Merge, bounded, whole_segment
from p2psync.formats.lines import damage, line_problems
from p2psync.formats.values import digest
from p2psync.limits import RECORD_FILE_BYTES_MAX, RECORD_FILE_LINES_MAX

Split = Callable[[Iterable[bytes]], Iterator[bytes]]
"""Cuts the joined blocks of a file into the raw bytes of its segments, in bounded memory.

The bytes of one segment, cut again, are that one segment.
"""
MANY = "..."
"""Stands for the accounts on the other side of a line that names one account alone."""
TOO_LONG_PROBLEM = "line-too-long"
_UNMERGEABLE = frozenset(
    (
        "empty",
        "nul",
        "utf-16",
        "truncated-tail",
        "file-too-large",
        "duplicate-id",
        TOO_LONG_PROBLEM,
    )
)


class NamedFields(Mapping[str, str]):
    """Fields of a record; the names are shared by all records of a format."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: tuple[str, ...]) -> None:
        self._names = names
        self._values = values

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Facts:
    """What all segments together tell of a file."""

    counts: tuple[tuple[str, int], ...] = ()
    period: tuple[datetime.date, datetime.date] | None = None
    embedded_id: str | None = None


@dataclass(frozen=True, slots=True)
class BlockFormat:
    """A ``Format`` made of blocks.

    ``read`` reads one block alone; the line in its problem counts from the start of the block.
    ``unmergeable`` are further problem codes that keep a file from being merged.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    recognises: Callable[[str, bytes], bool]
    split: Split
    read: Callable[[bytes], Segment]
    facts: Callable[[Sequence[Segment]], Facts]
    unmergeable: frozenset[str] = frozenset()
    find_damage: Callable[[bytes], list[Problem]] = damage
    merge: Merge = "records"
    identifies: bool = True

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by what the head holds, and by the suffix."""
        return self.recognises(name, head)

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        if _too_large(data):
            segment = self.read_segment(data)
            assert segment.problem is not None
            return Document(self.name, (segment,), False, (segment.problem,))
        segments = tuple([self.read(raw) for raw in self.split((data,))])
        facts = self.facts(segments)
        problems = [*self.find_damage(data), *_repeated(segments), *line_problems(segments)]
        codes = {problem.code for problem in problems}
        return Document(
            self.name,
            segments,
            codes.isdisjoint(_UNMERGEABLE | self.unmergeable),
            bounded(problems),
            facts.period,
            facts.embedded_id,
            facts.counts,
        )

    def read_segment(self, raw: bytes) -> Segment:
        """Reads one block; what is no one block keeps its records, with a problem."""
        if _too_large(raw):
            template = "the file is too large to be read line by line"
            return whole_segment(raw, Problem("file-too-large", template))
        raws = list(self.split((raw,)))
        if len(raws) == 1:
            return self.read(raw)
        problem = Problem("not-one-segment", "these lines are not one posting or one group")
        if not raws:
            return whole_segment(raw, problem)
        parts = [self.read(each) for each in raws]
        return Segment(
            raw,
            digest(b"p2psync-blocks", b"".join([part.key for part in parts])),
            digest(b"p2psync-blocks-m", b"".join([part.money_key for part in parts])),
            tuple([record for part in parts for record in part.records]),
            problem,
        )

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Holds one block, and what may still belong to it."""
        return map(self.read, self.split(blocks))


def _too_large(data: bytes) -> bool:
    return len(data) > RECORD_FILE_BYTES_MAX or data.count(b"\n") >= RECORD_FILE_LINES_MAX


def _repeated(segments: Iterable[Segment]) -> list[Problem]:
    """Finds identifiers that are there twice (docs/decisions/0022)."""
    seen: dict[bytes, int] = {}
    found: list[Problem] = []
    line = 1
    for segment in segments:
        if segment.identity is not None:
            raw = segment.raw
            start = line + raw[: len(raw) - len(raw.lstrip())].count(b"\n")
            first = seen.setdefault(segment.identity, start)
            if first != start:
                fields = segment.records[0].fields if segment.records else {}
                params = {"voucher": fields.get("voucher", ""), "first": str(first)}
                template = (
                    "its number or identifier ({voucher}) is that of line {first}; until one of "
                    "the two has another, two versions of the file are kept beside each other "
                    "and not merged"
                )
                found.append(Problem("duplicate-id", template, start, params))
        line += segment.raw.count(b"\n")
    return found


def content_digest(person: bytes, parts: Iterable[bytes]) -> bytes:
    """Gives the 16-byte digest of a list of parts, none of which holds a line end."""
    return digest(person, b"\n".join(parts))


def place_segment(raw: bytes, place: Iterable[bytes], problem: Problem | None = None) -> Segment:
    """Gives a segment without records that is identified by what it is for, not what it says."""
    key = content_digest(b"p2psync-place", place)
    return Segment(raw, key, key, (), problem)


def too_long(raw: bytes, limit: int) -> Problem:
    """Gives the problem of a line that is not read."""
    return Problem(
        TOO_LONG_PROBLEM,
        "the line has {found} bytes; at most {limit} are read",
        1,
        {"found": str(len(raw)), "limit": str(limit)},
    )


def decode(raw: bytes, otherwise: str) -> str:
    """Decodes UTF-8, and what is none by another codec."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(otherwise, "replace")


def read_day(year: str, month: str, day: str) -> datetime.date | None:
    """Gives a date of ASCII digits; else ``None``."""
    digits = year + month + day
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 8):
        return None
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None


def plain(amount: Decimal | None) -> str:
    """Gives decimal digits; nothing for nothing."""
    return "" if amount is None else f"{amount:f}"


def sides(account: str, amount: Decimal | None) -> tuple[str, str, Decimal | None]:
    """Gives debit, credit and amount of a line whose amount counts up for a debit."""
    if amount is not None and amount < 0:
        return MANY, account, -amount
    return account, MANY, amount


def count_records(segments: Iterable[Segment]) -> int:
    """Counts the records of some segments."""
    return sum([segment.record_count for segment in segments])
