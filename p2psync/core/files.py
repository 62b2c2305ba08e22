"""One file of a mandate: its versions, its segments, and what of it was posted.

Versions form a graph: each save names those it replaces. A file with one head is simply that
version.
Several heads of a record file are merged record by record; several heads that must not be merged
leave one shown, the others as conflict copies (protocol.md, "Merge").

What is small is always here. What grows with the file's records or its history, its ``body`` and
its older versions, is fetched from the entries when somebody asks for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from p2psync.core.body import (
    Body,
    Pair,
    PendingItems,
    PendingRecord,
    StampedLines,
    apply_lines,
    replay,
)
from p2psync.core.crdt import SegmentSet
from p2psync.core.holding import Holds
from p2psync.core.ops import AddFile, Chunked, OpId, Place, Register, Save
from p2psync.core.records import SegmentReader

__all__ = [
    "Body",
    "FileState",
    "Pair",
    "Past",
    "PendingItems",
    "PendingRecord",
    "Receipt",
    "StampedLines",
    "Touch",
    "Version",
    "apply_lines",
    "replay",
    "version_name",
]


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
class Touch:
    """An entry that changed a file: by a version (with what it counted), by segment changes
    that a version took up, or by a receipt."""

    file: bytes
    entry: bytes
    index: int
    """The operation of the version, or one of the two below."""
    records: int = 0
    added: int = 0
    deleted: int = 0


TAKEN = -1
"""The index of a touch by segment changes that a version of another entry took up."""
POSTED = -2
"""The index of a touch by receipts."""


def add_mark(mark: int, entry: bytes) -> int:
    """Sum up entries, whatever their order: 56 bits."""
    return (mark + int.from_bytes(entry[:7], "big")) % (1 << 56)


class Past(Protocol):
    """Where the entries of a file are found again."""

    def body(self, file: "FileState") -> Body:
        """Fold what touched a file; raises ``StateDamaged`` when that is not what did."""

    def version(self, file: "FileState", version: OpId) -> Version | None:
        """Return one version of a file."""

    def versions(self, file: "FileState") -> Iterator[Version]:
        """Yield all versions of a file, in the order in which they were folded."""


@dataclass(slots=True, eq=False, repr=False)
class Versions(Mapping[OpId, Version]):
    """The versions of a file; those that are not in memory are looked up."""

    file: "FileState"
    known: dict[OpId, Version] = field(default_factory=dict)
    past: Past | None = None
    """Where the others are; ``None`` when all are known."""

    def __getitem__(self, version: OpId) -> Version:
        found = self.known.get(version)
        if found is None and self.past is not None:
            found = self.past.version(self.file, version)
        if found is None:
            raise KeyError(version)
        return found

    def __iter__(self) -> Iterator[OpId]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[OpId, Version]:
        if self.past is None:
            return self.known
        every = {version.id: version for version in self.past.versions(self.file)}
        return every | self.known

    def let_go(self, past: Past, heads: Iterable[OpId]) -> None:
        """Keep the heads only; the others are in the past."""
        self.past = past
        self.known = {head: self.known[head] for head in heads}


@dataclass(slots=True, eq=False, repr=False)
class FileState:
    """The fold of all operations on one file."""

    id: bytes
    reader: SegmentReader
    added: tuple[int, OpId, bytes, AddFile] | None = None
    """Stamp, operation, device and content of the ``AddFile`` that counts; ``None`` before it."""
    versions: Versions = field(init=False)
    heads: dict[OpId, Version] = field(default_factory=dict)
    detached_by: dict[OpId, frozenset[OpId]] = field(default_factory=dict)
    """The versions that each detaching saw."""
    by_writers: set[OpId] = field(default_factory=set)
    """Those of the detachings whose author may not post."""
    reattached: set[OpId] = field(default_factory=set)
    """Detachings that were undone, known or not."""
    placed: tuple[int, OpId, bytes, Place] | None = None
    """Stamp, operation, device and content of the last ``Place``."""
    expected: tuple[int, OpId, int] | None = None
    """Stamp, operation and seconds of the last ``Expect``."""
    holds: Holds = field(default_factory=dict)
    """The saves that devices hold back (B-HIS-3), or held back last."""
    program: tuple[int, OpId, Register] | None = None
    """Stamp, operation and content of the last ``Register``."""
    contested: frozenset[OpId] = frozenset()
    """Receipts that took what another one took, too (B-POS-6)."""
    records: int = 0
    """How many records the file holds."""
    touches: int = 0
    """How many entries touched the body, by changes or by receipts."""
    mark: int = 0
    """The sum of the first bytes of their ids: tells whether all are found again."""
    last_touch: bytes = b""
    """The entry with which the last of them took effect."""
    early: list[tuple[Save, OpId, bytes, int, int, tuple[StampedLines, ...]]] = field(
        default_factory=list
    )
    """Versions that came before the file was attached."""
    missing: set[OpId] = field(default_factory=set)
    """Versions that others replaced and that did not come yet."""
    pending_counts: tuple[int, int] = (0, 0)
    posted_by: bytes = b""
    """The entry of the last receipt that touched the file."""
    past: Past | None = None
    _info: AddFile | None = None
    used: bool = False
    """Whether the body was asked for since somebody last cleared this."""
    _body: Body | None = None

    def __post_init__(self) -> None:
        self.versions = Versions(self)

    # -- identity ---------------------------------------------------------------------------

    @property
    def info(self) -> AddFile:
        """The operation that attached the file, with the name and the folder that it has now; only
        for files that were ``added``.
        """
        assert self.added is not None
        if self._info is None:
            self._info = self.added[3]
            if self.placed is not None:
                place = self.placed[3]
                self._info = replace(self._info, name=place.name, folder=place.folder)
        return self._info

    @property
    def device(self) -> bytes:
        """The device that has the file: the one that attached it, or placed it last."""
        assert self.added is not None
        return self.added[2] if self.placed is None else self.placed[2]

    @property
    def present(self) -> bool:
        """Whether the file is attached now: a version that no detaching saw brings it back, and so
        does undoing the detachings.
        """
        if self.added is None:
            return False
        if not self.detached_by:  # nearly always, and it is asked for each of many
            return True
        detached_by = self.detached_by.keys() - self.reattached
        if self.added[3].kind == "accounting":
            detached_by -= self.by_writers
        if not detached_by:
            return True
        seen = frozenset().union(*(self.detached_by[op] for op in detached_by))
        return any(head not in seen for head in self.heads)

    @property
    def expected_seconds(self) -> int:
        """How often the file promises to be saved; 0 when it promises nothing."""
        return 0 if self.expected is None else self.expected[2]

    def detach(self, versions: frozenset[OpId], op: OpId, *, may_post: bool) -> bool:
        """Take a detaching that saw some versions; tell whether it counts as far as is known.

        An accounting only goes with the accounting that leaves (B-DET-1): of it, those of who may
        not post do not count. All are noted, for the file may turn out to be one later.
        """
        self.detached_by[op] = versions
        if not may_post:
            self.by_writers.add(op)
        return may_post or self.added is None or self.added[3].kind != "accounting"

    def place(self, operation: Place, at: tuple[int, OpId], device: bytes) -> bool:
        """Take a ``Place`` with its stamp and author; tell whether it is the last one."""
        if self.placed is not None and self.placed[:2] > at:
            return False
        self.placed = (*at, device, operation)
        self._info = None
        return True

    def attach(
        self, operation: AddFile, op: OpId, device: bytes, stamp: int
    ) -> tuple[bool, list[Touch]]:
        """Take an ``AddFile``; of several for one id, the lowest operation counts.

        Return whether it is this one, and what else it brought to effect.
        """
        if self.added is not None and self.added[1] <= op:
            return False, []
        self.added = (stamp, op, device, operation)
        self._info = None
        if self._body is not None:
            self._body.segments.format = operation.format
        early, self.early = self.early, []
        touches: list[Touch] = []
        for save in early:
            touches += self.save(*save)
        if touches:
            self.last_touch = op[0]
        return True, touches

    # -- body ---------------------------------------------------------------------------------

    @property
    def body(self) -> Body:
        """The records; folded from the entries when they are not in memory."""
        self.used = True
        if self._body is None:
            if self.past is not None and self.touches:
                self._body = self.past.body(self)
            else:
                name = "" if self.added is None else self.added[3].format
                self._body = Body.empty(self.reader, name)
        return self._body

    @property
    def loaded(self) -> bool:
        """Whether the body is in memory."""
        return self._body is not None

    def let_go(self, past: Past) -> None:
        """Forget what can be fetched again."""
        self.past = past
        self._body = None
        self.versions.let_go(past, self.heads)

    def _count_touch(self, entry: bytes, cause: bytes) -> None:
        self.touches += 1
        self.mark = add_mark(self.mark, entry)
        self.last_touch = cause

    @property
    def segments(self) -> SegmentSet:
        """The segments of a record file."""
        return self.body.segments

    @property
    def doubles(self) -> dict[Pair, tuple[OpId, ...]]:
        """Segments that two receipts took without knowing of each other (B-POS-6)."""
        return self.body.doubles

    # -- versions -----------------------------------------------------------------------------

    def save(
        self,
        operation: Save,
        op: OpId,
        device: bytes,
        hlc: int,
        stamp: int,
        lines: tuple[StampedLines, ...],
    ) -> Sequence[Touch]:
        """Take a version and the segment changes (with the entries they stand in) it consists
        of; return what entries took effect.
        """
        if self.added is None:
            self.early.append((operation, op, device, hlc, stamp, lines))
            return []
        added = deleted = 0
        if lines:
            body = self.body
            body.change(lines)
            added, deleted = body.segments.delta()
            self.records = body.segments.record_count()
            self.pending_counts = body.pending()
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
            self.records,
            added,
            deleted,
        )
        self.versions.known[op] = version
        for parent in operation.parents:
            if self.heads.pop(parent, None) is None and parent not in self.versions:
                self.missing.add(parent)
        if op in self.missing:
            self.missing.discard(op)
        else:
            self.heads[op] = version
        touches = [Touch(self.id, *op, self.records, added, deleted)]
        for entry in dict.fromkeys([entry for entry, _, _ in lines]):
            self._count_touch(entry, op[0])
            if entry != op[0]:
                touches.append(Touch(self.id, entry, TAKEN))
        return touches

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

    def post(
        self, adds: Iterable[Pair], drops: Iterable[Pair], receipt: OpId, stamp: int
    ) -> tuple[set[OpId], Sequence[Touch]]:
        """Note what a receipt takes and gives back; return receipts that took the same
        (B-POS-6)."""
        body = self.body
        rivals = body.post(adds, receipt, stamp, adds=True)
        rivals |= body.post(drops, receipt, stamp, adds=False)
        self.contested = body.contested()
        self.pending_counts = body.pending()
        touch = Touch(self.id, receipt[0], POSTED)
        if self.posted_by == touch.entry:
            return rivals, ()  # the entry holds another receipt
        self.posted_by = touch.entry
        self._count_touch(touch.entry, touch.entry)
        return rivals, (touch,)

    def unpost(self, receipt: OpId) -> None:
        """Forget what a retracted receipt said (B-POS-5)."""
        body = self.body
        body.unpost(receipt)
        self.contested = body.contested()
        self.pending_counts = body.pending()

    def pending(self) -> tuple[int, int]:
        """Number of records to add and to delete in the accounting (B-POS-2)."""
        return self.pending_counts

    @property
    def posted(self) -> Counter[bytes]:
        """How often each record key is posted; not to be changed."""
        return self.body.posted

    def pending_items(self) -> PendingItems:
        """The segments that a receipt made now would name."""
        return self.body.pending_items()

    def pending_records(self) -> Iterator[PendingRecord]:
        """Yield each record to add, in file order, then each to delete."""
        return self.body.pending_records()
