"""Keeps a replica's fold in step on the disk, and finds again what is not in memory.

With each batch of entries goes what changed of the fold (``Derived``), so what is kept stands where
the entries stand. It is a cache: a sum over all of it and a version tell whether it can be
trusted, and anything else is folded anew from the entries (docs/decisions/0018).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from p2psync.core import codec, crypto, entry, kept
from p2psync.core.body import Body, StampedLines
from p2psync.core.entry import Entry
from p2psync.core.files import POSTED, FileState, Pair, Version, add_mark
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.ops import Lines, Operation, OpId, Post, Save, keyed
from p2psync.engine.effects import Derived
from p2psync.engine.ports import Archive, Kept, Touching
from p2psync.errors import StateDamaged

_CHECK = b"p2psync.kept"
_CHECK_BITS = 64
_VALUE_BYTES_MAX = 1 << 30

LOG = b"l"
"""Before a log's key: what a replica keeps of a log."""
FRONT = b"d"
"""What a replica keeps of the end of the causal graph."""


def check_of(name: bytes, value: bytes) -> int:
    """One thing's share of the sum over all that is kept."""
    size = len(name).to_bytes(4, "big")
    return int.from_bytes(crypto.digest(_CHECK, size, name, value, size=_CHECK_BITS // 8), "big")


@dataclass(slots=True)
class Keeper:
    """Knows what is kept, and makes of what changed what is to be kept next."""

    checks: dict[bytes, int] = field(default_factory=dict)
    """Each thing's share of the sum."""
    check: int = 0
    stamps: list[tuple[bytes, int]] = field(default_factory=list)
    """Entries that were folded since the last time."""

    def take(self, found: Kept) -> None:
        """Take up what was kept; raises ``StateDamaged`` when it is not what was written."""
        if found.version != kept.VERSION:
            raise StateDamaged(cause=f"version {found.version}")
        for name, value in found.things.items():
            self.checks[name] = check_of(name, value)
        self.check = sum(self.checks.values()) % (1 << _CHECK_BITS)
        if self.check != found.check:
            raise StateDamaged(cause="the sum is wrong")

    def changed(
        self, state: Mandate, more: Mapping[bytes, bytes], *, whole: bool = False
    ) -> Derived:
        """Return what changed since the last time, and ``more`` of the replica's own."""
        dirt = state.dirt
        names = kept.everything(state) if whole else list(dirt.things)
        values: dict[bytes, bytes | None] = {
            kept.name_of(kind, name): kept.value_of(state, kind, name) for kind, name in names
        }
        if whole:
            self.checks.clear()
            self.check = 0
        things = {**values, **more}
        derived = Derived(
            kept.VERSION,
            tuple(self.stamps),
            tuple(dirt.touches),
            tuple([(name, value) for name, value in things.items() if self._note(name, value)]),
            self.check,
            whole,
        )
        self.stamps.clear()
        dirt.touches.clear()
        dirt.things.clear()
        return derived

    def _note(self, name: bytes, value: bytes | None) -> bool:
        before = self.checks.pop(name, None)
        now = None if value is None else check_of(name, value)
        if now is not None:
            self.checks[name] = now
        self.check = (self.check + (now or 0) - (before or 0)) % (1 << _CHECK_BITS)
        return before != now


@dataclass(frozen=True, slots=True)
class LogRow:
    """What is kept of a log: whose it is, what it takes up, and its tips."""

    device: bytes
    entries: int
    size_bytes: int
    forked: bool
    tips: tuple[tuple[bytes, int, int | None], ...]
    """Id, seq and effective time, ``None`` for one that waits."""

    def dump(self) -> bytes:
        """As kept."""
        return codec.pack([self.device, self.entries, self.size_bytes, self.forked, self.tips])

    @classmethod
    def load(cls, value: bytes) -> "LogRow":
        """As it was kept."""
        return cls(*codec.unpack(value, _VALUE_BYTES_MAX))


@dataclass(frozen=True, slots=True)
class Front:
    """The entries that no other names, and the highest effective time."""

    heads: tuple[bytes, ...]
    last_stamp: int

    def dump(self) -> bytes:
        """As kept."""
        return codec.pack([self.heads, self.last_stamp])

    @classmethod
    def load(cls, value: bytes) -> "Front":
        """As it was kept."""
        return cls(*codec.unpack(value, _VALUE_BYTES_MAX))


@dataclass(slots=True)
class ArchivedPast:
    """Finds a file's body and versions in the archive; a ``Past``.

    ``open`` decrypts and reads an entry's payload; ``state`` is the fold as it is now.
    """

    archive: Archive
    open: Callable[[Entry], tuple[Operation, ...]]
    state: Callable[[], Mandate]

    def applied(self, entry_id: bytes) -> Applied:
        """Read one entry that was folded; raises ``StateDamaged`` when it is not there."""
        known = self.archive.where(entry_id)
        raw = self.archive.raws([entry_id]).get(entry_id)
        if known is None or known.stamp is None or raw is None:
            raise StateDamaged(cause="an entry is not there")
        item = entry.decode(raw)
        return Applied(
            item.id,
            item.log,
            item.seq,
            item.header.hlc,
            known.stamp,
            self.open(item),
            item.header.prev,
            item.header.epoch,
        )

    def body(self, file: FileState) -> Body:
        """See ``Past``."""
        name = "" if file.added is None else file.info.format
        body = Body.empty(file.reader, name)
        lines: list[StampedLines] = []
        posts: list[tuple[OpId, int, list[Pair], list[Pair]]] = []
        touches = mark = 0
        last = b""
        operations: tuple[Operation, ...] = ()
        for touching in self.archive.touching(file.id):
            if touching.entry != last:
                last = touching.entry
                operations = self.open(entry.decode(touching.raw))
                taken = False
            if touching.number == POSTED:
                posts += self._posts(file.id, touching, operations)
            elif taken:
                continue
            else:
                taken = True
                own = [
                    (touching.entry, touching.stamp, operation)
                    for operation in operations
                    if type(operation) is Lines and operation.file == file.id
                ]
                if not own:
                    continue
                lines += own
            touches += 1
            mark = add_mark(mark, touching.entry)
        if (touches, mark) != (file.touches, file.mark):
            self.archive.distrust()
            raise StateDamaged(cause="not all that changed a file was found")
        body.take_up(lines, file.records)
        for receipt, stamp, adds, drops in posts:
            body.post(adds, receipt, stamp, adds=True)
            body.post(drops, receipt, stamp, adds=False)
        return body

    def _posts(
        self, file: bytes, touching: Touching, operations: Sequence[Operation]
    ) -> Iterator[tuple[OpId, int, list[Pair], list[Pair]]]:
        unposted = self.state().unposted
        for index, operation in enumerate(operations):
            receipt = (touching.entry, index)
            if isinstance(operation, Post) and receipt not in unposted:
                adds, drops = (
                    [(element, key) for of, element, key in keyed(taken) if of == file]
                    for taken in (operation.adds, operation.drops)
                )
                yield receipt, touching.stamp, adds, drops

    def version(self, file: FileState, version: OpId) -> Version | None:
        """See ``Past``."""
        for touching in self.archive.versions(file.id, version[0]):
            if touching.number == version[1]:
                return self._version(touching)
        return None

    def versions(self, file: FileState) -> Iterator[Version]:
        """See ``Past``."""
        for touching in self.archive.versions(file.id):
            yield self._version(touching)

    def _version(self, touching: Touching) -> Version:
        item = entry.decode(touching.raw)
        save = self.open(item)[touching.number]
        assert isinstance(save, Save)
        return Version(
            (touching.entry, touching.number),
            save.parents,
            save.parts,
            self.state().logs[item.log],
            item.header.hlc,
            touching.stamp,
            save.content,
            save.mergeable,
            save.size_bytes,
            save.digest,
            touching.records,
            touching.added,
            touching.deleted,
        )
