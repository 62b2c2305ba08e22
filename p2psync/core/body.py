"""The part of a file's fold that grows with its records: segments, and what was posted of them.

It is not kept anywhere: whoever needs it has it folded from the entries that touch the file
(docs/decisions/0018).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter

from p2psync.core.balance import Balance, Sums
from p2psync.core.crdt import Change, SegmentSet, Value, position
from p2psync.core.ops import Lines, OpId
from p2psync.core.records import Record, Segment, SegmentReader

StampedLines = tuple[bytes, int, Lines]
"""Segment changes with the entry that they stand in and its stamp."""
Pair = tuple[OpId, bytes]
"""An element and the 16-byte key of a content that it has or had."""


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """A record that is to be posted, or whose posting is to be taken back."""

    change: str
    record: Record
    identity: bytes | None = None
    """That of its segment: what is to be deleted and what is to be added under one is an edit."""


@dataclass(frozen=True, slots=True)
class PendingItems:
    """What a receipt would name now: segments to add, and posted segments that are gone."""

    adds: tuple[Pair, ...]
    drops: tuple[Pair, ...]


@dataclass(slots=True)
class Body:
    """Segments and postings of one file."""

    segments: SegmentSet
    doubles: dict[Pair, tuple[OpId, ...]] = field(default_factory=dict)
    """Segments that two receipts took without knowing of each other (B-POS-6)."""
    _postings: dict[Pair, dict[OpId, tuple[int, bool]]] = field(default_factory=dict)
    _taken: dict[Pair, Segment | None] = field(default_factory=dict)
    _unresolved: set[Pair] = field(default_factory=set)

    @classmethod
    def empty(cls, reader: SegmentReader, format_name: str) -> "Body":
        """The body of a file that nothing was said of."""
        return cls(SegmentSet(reader, format_name))

    def change(self, lines: Iterable[StampedLines]) -> None:
        """Apply segment changes."""
        apply_lines(self.segments, lines)
        self._resolve()

    def take_up(self, lines: Iterable[StampedLines], records: int) -> None:
        """Apply segment changes that were counted before: they gave so many records."""
        self.segments.take_up(numbered(lines), records)

    # -- posting ------------------------------------------------------------------------------

    def post(self, pairs: Iterable[Pair], receipt: OpId, stamp: int, *, adds: bool) -> set[OpId]:
        """Note what a receipt takes or gives back; return receipts that took the same (B-POS-6)."""
        rivals: set[OpId] = set()
        remembered = self.remember()
        for pair in pairs:
            said = self._postings.get(pair)
            if said is None and adds:  # nearly always: nobody said anything of it
                self._postings[pair] = {receipt: (stamp, True)}
                self._take(pair)
                continue
            self._postings.setdefault(pair, {})[receipt] = (stamp, adds)
            rivals.update(self._settle(pair))
        if not remembered:
            self.forget()
        return rivals - {receipt}

    def remember(self) -> bool:
        """Read each segment once while it is named, weighed and kept as posted; until ``forget``.

        Tells whether it was so before.
        """
        remembered = self.segments.memo is not None
        if not remembered:
            self.segments.memo = {}
        return remembered

    def forget(self) -> None:
        """Let go of what was read."""
        self.segments.memo = None

    def unpost(self, receipt: OpId) -> None:
        """Forget what a retracted receipt said (B-POS-5)."""
        for pair, said in self._postings.items():
            if said.pop(receipt, None) is not None:
                self._settle(pair)

    def _settle(self, pair: Pair) -> tuple[OpId, ...]:
        """Decide whether a segment is posted: by the last that a receipt said of it."""
        said = sorted(
            (stamp, receipt, adds) for receipt, (stamp, adds) in self._postings[pair].items()
        )
        is_posted = bool(said) and said[-1][2]
        rivals: list[OpId] = []
        for earlier, later in pairwise(said):
            if earlier[2] and later[2]:
                rivals += [earlier[1], later[1]]
        if rivals:
            self.doubles[pair] = tuple(dict.fromkeys(rivals))
        else:
            self.doubles.pop(pair, None)
        if is_posted and pair not in self._taken:
            self._take(pair)
        elif not is_posted and pair in self._taken:
            self._unresolved.discard(pair)
            self._count(self._taken.pop(pair), -1)
        return self.doubles.get(pair, ())

    def _take(self, pair: Pair) -> None:
        segment = self._taken[pair] = self.segments.segment_of(*pair)
        if segment is None:
            self._unresolved.add(pair)
        self._count(segment, 1)

    def _resolve(self) -> None:
        """Find the content of what was posted before its segments were known."""
        for pair in list(self._unresolved):
            found = self.segments.segment_of(*pair)
            if found is not None:
                self._unresolved.discard(pair)
                self._taken[pair] = found
                self._count(found, 1)

    def _count(self, segment: Segment | None, sign: int) -> None:
        if segment is not None:
            self.segments.balance.post(segment, sign)

    def pending(self) -> tuple[int, int]:
        """Number of records to add and to delete in the accounting (B-POS-2)."""
        if not self._taken and not self.segments.balanced:
            return self.segments.record_count(), 0
        balance = self.segments.balance
        return balance.added, balance.deleted

    def contested(self) -> frozenset[OpId]:
        """The receipts that took something that another one took, too."""
        return frozenset(receipt for rivals in self.doubles.values() for receipt in rivals)

    @property
    def posted(self) -> Counter[bytes]:
        """How often each record key is posted; not to be changed."""
        return self.segments.balance.posted

    def pending_items(self) -> PendingItems:
        """The segments that a receipt made now would name."""
        remembered = self.remember()
        live = [
            (element.id, segment.key)
            for element, value in self.segments.shown()
            if (segment := value.segment).record_count
        ]
        if not remembered:
            self.forget()
        alive = set(live)
        return PendingItems(
            tuple(pair for pair in dict.fromkeys(live) if pair not in self._taken),
            tuple(sorted(pair for pair in self._taken if pair not in alive)),
        )

    @property
    def is_measured(self) -> bool:
        """Whether ``days`` costs nothing."""
        return self.segments.is_measured

    @property
    def days(self) -> Mapping[int, Sums]:
        """What waits to be posted, by day (B-POS-1); not to be changed."""
        if not self._taken and not self.segments.balanced:
            return self.segments.measure.days
        return self.segments.balance.days

    def pending_records(self) -> Iterator[PendingRecord]:
        """Yield each record to add, in file order, then each to delete.

        Costs little for the first of them, and little for all where few wait in a large file.
        """
        if not self._taken and not self.segments.balanced:
            for _, value in self.segments.shown():
                segment = value.segment
                for record in segment.records:
                    yield PendingRecord("added", record, segment.identity)
            return
        balance = self.segments.balance
        left = balance.added
        used: Counter[bytes] = Counter()
        for value in self._holding(balance) if left else ():
            segment = value.segment
            for record in segment.records:
                if balance.surplus.get(record.key, 0) > used[record.key]:
                    used[record.key] += 1
                    left -= 1
                    yield PendingRecord("added", record, segment.identity)
            if not left:
                break
        if not balance.deleted:
            return
        gone = [
            (pair, record, segment.identity)
            for pair, segment in self._taken.items()
            if segment is not None
            for record in segment.records
            if balance.surplus.get(record.key, 0) < 0
        ]
        used.clear()
        for _, record, identity in sorted(gone, key=itemgetter(0)):
            if -balance.surplus.get(record.key, 0) > used[record.key]:
                used[record.key] += 1
                yield PendingRecord("deleted", record, identity)

    def _holding(self, balance: Balance) -> Iterator[Value]:
        """Yield, in file order, all that may hold a record to add."""
        segments = self.segments
        if balance.added * 8 > balance.records:
            for _, value in segments.shown():
                yield value
            return
        elements = [segments.elements[each] for each in dict.fromkeys(balance.elements())]
        for element in sorted(elements, key=lambda each: (each.position, each.id)):
            yield from element.shown()


def apply_lines(segments: SegmentSet, lines: Iterable[StampedLines]) -> None:
    """Apply the operations of entries on this file."""
    for change, stamp in numbered(lines):
        segments.apply(change, stamp)


def numbered(lines: Iterable[StampedLines]) -> Iterator[tuple[Change, int]]:
    """Number the segments of each entry's operations on this file."""
    numbers: dict[bytes, int] = {}
    for entry, stamp, operation in lines:
        number = numbers.get(entry, 0)
        adds = []
        for run in operation.adds:
            base = run.base
            for place, raw in enumerate(run.raws):
                adds.append(((entry, number), position(base, place), raw))
                number += 1
        edits = []
        for element, raw in zip(operation.edits.elements, operation.edits.raws, strict=True):
            edits.append(((entry, number), element, raw))
            number += 1
        numbers[entry] = number
        yield Change(adds, edits, operation.removes), stamp


def replay(format_name: str, reader: SegmentReader, lines: Iterable[StampedLines]) -> SegmentSet:
    """Return the segments as some versions left them, from all their changes, in any order."""
    segments = SegmentSet(reader, format_name)
    apply_lines(segments, lines)
    return segments
