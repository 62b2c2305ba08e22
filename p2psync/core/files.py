"""One file of a mandate: its versions, its segments, and what of it was posted.

Versions form a graph: each save names those it replaces. A file with one head is simply that
version.
Several heads of a record file are merged record by record; several heads that must not be merged
leave one shown, the others as conflict copies (protocol.md, "Merge").
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from p2psync.core.crdt import Change, SegmentSet, position
from p2psync.core.ops import AddFile, Chunked, Lines, OpId, Save
from p2psync.core.records import Record, Segment, SegmentReader

StampedLines = tuple[bytes, int, Lines]
"""Segment changes with the entry that they stand in and its stamp."""
Pair = tuple[OpId, bytes]
"""An element and the 16-byte key of a content that it has or had."""


@dataclass(frozen=True, slots=True)
class Version:
    """One save of a file."""

    id: OpId
    parents: tuple[OpId, ...]
    parts: tuple[bytes, ...]
    device: bytes
    hlc: int
    stamp: int
    content: Chunked | None
    mergeable: bool
    size_bytes: int
    digest: bytes
    records: int
    added: int
    deleted: int

    @property
    def name(self) -> str:
        """How people and programs name the version: 16 hex digits."""
        return version_name(self.id)


def version_name(version: OpId) -> str:
    """16 hex digits of the entry's id; an entry saves a file once."""
    return version[0].hex()[:16]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a ``Post`` operation said, and by whom."""

    id: OpId
    device: bytes
    hlc: int
    stamp: int
    files: tuple[bytes, ...]
    added: int
    deleted: int

    @property
    def name(self) -> str:
        """How people and programs name the receipt: 16 hex digits."""
        return version_name(self.id)


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """A record that is to be posted, or whose posting is to be taken back."""

    change: str
    record: Record


@dataclass(frozen=True, slots=True)
class PendingItems:
    """What a receipt would name now: segments to add, and posted segments that are gone."""

    adds: tuple[Pair, ...]
    drops: tuple[Pair, ...]


@dataclass(slots=True)
class FileState:
    """The fold of all operations on one file."""

    id: bytes
    reader: SegmentReader
    added: tuple[int, OpId, bytes, AddFile] | None = None
    """Stamp, operation, device and content of the ``AddFile`` that counts; ``None`` before it."""
    versions: dict[OpId, Version] = field(default_factory=dict)
    heads: dict[OpId, Version] = field(default_factory=dict)
    segments: SegmentSet = field(init=False)
    doubles: dict[Pair, tuple[OpId, ...]] = field(default_factory=dict)
    """Segments that two receipts took without knowing of each other (B-POS-6)."""
    detached_by: dict[OpId, frozenset[OpId]] = field(default_factory=dict)
    _superseded: set[OpId] = field(default_factory=set)
    _postings: dict[Pair, dict[OpId, tuple[int, bool]]] = field(default_factory=dict)
    _taken: dict[Pair, Segment | None] = field(default_factory=dict)
    _unresolved: set[Pair] = field(default_factory=set)
    _early: list[tuple[Save, OpId, bytes, int, int, tuple[StampedLines, ...]]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        self.segments = SegmentSet(self.reader, "")

    # -- identity ---------------------------------------------------------------------------

    @property
    def info(self) -> AddFile:
        """The operation that attached the file; only for files that are ``present``."""
        assert self.added is not None
        return self.added[3]

    @property
    def device(self) -> bytes:
        """The device that attached the file."""
        assert self.added is not None
        return self.added[2]

    @property
    def present(self) -> bool:
        """Whether the file is attached now: a version that no detaching saw brings it back."""
        if self.added is None:
            return False
        if not self.detached_by or self.info.kind == "accounting":  # B-DET-1
            return True
        seen = frozenset().union(*self.detached_by.values())
        return any(head not in seen for head in self.heads)

    def attach(self, operation: AddFile, op: OpId, device: bytes, stamp: int) -> bool:
        """Take an ``AddFile``; of several for one id, the lowest operation counts."""
        if self.added is not None and self.added[1] <= op:
            return False
        self.added = (stamp, op, device, operation)
        self.segments.format = operation.format
        early, self._early = self._early, []
        for save in early:
            self.save(*save)
        return True

    # -- versions -----------------------------------------------------------------------------

    def save(
        self,
        operation: Save,
        op: OpId,
        device: bytes,
        hlc: int,
        stamp: int,
        lines: tuple[StampedLines, ...],
    ) -> None:
        """Take a version and the segment changes (with the entries they stand in) it consists
        of.
        """
        if self.added is None:
            self._early.append((operation, op, device, hlc, stamp, lines))
            return
        apply_lines(self.segments, lines)
        added, deleted = self.segments.delta()
        self._resolve()
        version = Version(
            op,
            operation.parents,
            operation.parts,
            device,
            hlc,
            stamp,
            operation.content,
            operation.mergeable,
            operation.size_bytes,
            operation.digest,
            self.segments.record_count(),
            added,
            deleted,
        )
        self.versions[op] = version
        for parent in operation.parents:
            self._superseded.add(parent)
            self.heads.pop(parent, None)
        if op not in self._superseded:
            self.heads[op] = version

    @property
    def merged(self) -> bool:
        """Whether several heads are shown as one file, merged record by record."""
        return len(self.heads) > 1 and all(
            head.content is None and head.mergeable for head in self.heads.values()
        )

    def current(self) -> Version | None:
        """The head that is shown; of several the last writer's, by (stamp, id)."""
        return max(self.heads.values(), key=lambda head: (head.stamp, head.id), default=None)

    def conflicts(self) -> tuple[Version, ...]:
        """Heads that are not shown and cannot be merged: kept beside the file."""
        if len(self.heads) < 2 or self.merged:
            return ()
        shown = self.current()
        return tuple(head for _, head in sorted(self.heads.items()) if head is not shown)

    def ancestors(self, versions: Iterable[OpId]) -> dict[OpId, Version]:
        """Versions and all that they stand on."""
        out: dict[OpId, Version] = {}
        stack = list(versions)
        while stack:
            version = self.versions.get(stack.pop())
            if version is not None and version.id not in out:
                out[version.id] = version
                stack.extend(version.parents)
        return out

    # -- posting ------------------------------------------------------------------------------

    def post(self, pairs: Iterable[Pair], receipt: OpId, stamp: int, *, adds: bool) -> set[OpId]:
        """Note what a receipt takes or gives back; return receipts that took the same (B-POS-6)."""
        rivals: set[OpId] = set()
        for pair in pairs:
            self._postings.setdefault(pair, {})[receipt] = (stamp, adds)
            rivals.update(self._settle(pair))
        return rivals - {receipt}

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
            segment = self.segments.segment_of(*pair)
            self._taken[pair] = segment
            if segment is None:
                self._unresolved.add(pair)
            self._count(segment, 1)
        elif not is_posted and pair in self._taken:
            self._unresolved.discard(pair)
            self._count(self._taken.pop(pair), -1)
        return self.doubles.get(pair, ())

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
            for record in segment.records:
                self.segments.balance.post(record.key, sign)

    def pending(self) -> tuple[int, int]:
        """Number of records to add and to delete in the accounting (B-POS-2)."""
        if not self._taken and not self.segments.balanced:
            return self.segments.record_count(), 0
        balance = self.segments.balance
        return balance.added, balance.deleted

    @property
    def posted(self) -> Counter[bytes]:
        """How often each record key is posted; not to be changed."""
        return self.segments.balance.posted

    def pending_items(self) -> PendingItems:
        """The segments that a receipt made now would name."""
        live = [
            (element.id, segment.key)
            for element, value in self.segments.shown()
            if (segment := value.segment).record_count
        ]
        alive = set(live)
        return PendingItems(
            tuple(pair for pair in dict.fromkeys(live) if pair not in self._taken),
            tuple(sorted(pair for pair in self._taken if pair not in alive)),
        )

    def pending_records(self) -> Iterator[PendingRecord]:
        """Yield each record to add, in file order, then each to delete."""
        missing = self.segments.records - self.posted
        for _, value in self.segments.shown():
            for record in value.segment.records:
                if missing[record.key] > 0:
                    missing[record.key] -= 1
                    yield PendingRecord("added", record)
        surplus = self.posted - self.segments.records
        for pair in sorted(self._taken):
            segment = self._taken[pair]
            for record in segment.records if segment else ():
                if surplus[record.key] > 0:
                    surplus[record.key] -= 1
                    yield PendingRecord("deleted", record)


def apply_lines(segments: SegmentSet, lines: Iterable[StampedLines]) -> None:
    """Number the segments of each entry's operations on this file, read them and apply them."""
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
        segments.apply(Change(adds, edits, operation.removes), stamp)


def replay(format_name: str, reader: SegmentReader, lines: Iterable[StampedLines]) -> SegmentSet:
    """Return the segments as some versions left them, from all their changes, in any order."""
    segments = SegmentSet(reader, format_name)
    apply_lines(segments, lines)
    return segments
