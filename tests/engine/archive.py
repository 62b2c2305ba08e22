"""What a disk keeps of a fold, in memory: the twin of the tables in ``storage/fold.py``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from p2psync.core.files import Touch
from p2psync.core.frontier import Known
from p2psync.engine.effects import Derived, StoredEntry
from p2psync.engine.ports import Kept, Touching


@dataclass
class Fold:
    """One mandate's fold as it is kept."""

    version: int = 0
    check: int = 0
    entries: int = 0
    """How many entries there were when it was last written."""
    things: dict[bytes, bytes] = field(default_factory=dict)
    stamps: dict[bytes, int] = field(default_factory=dict)
    touches: dict[tuple[bytes, bytes, int], Touch] = field(default_factory=dict)

    def take(self, derived: Derived, entries: int) -> None:
        """Keep what changed."""
        if derived.whole:
            self.things.clear()
            self.touches.clear()
        self.version, self.check, self.entries = derived.version, derived.check, entries
        self.stamps |= dict(derived.stamps)
        for touch in derived.touches:
            key = (touch.file, touch.entry, touch.index)
            assert key not in self.touches, "an entry touches a file once"
            self.touches[key] = touch
        for name, value in derived.things:
            if value is None:
                self.things.pop(name, None)
            else:
                self.things[name] = value


@dataclass
class MemoryArchive:
    """The archive of one mandate."""

    entries: Mapping[bytes, StoredEntry]
    mandate: bytes
    fold: Fold
    distrusted: bool = False

    def mine(self) -> list[StoredEntry]:
        """The mandate's entries, in order of arrival."""
        return [stored for stored in self.entries.values() if stored.mandate == self.mandate]

    def kept(self) -> Kept | None:
        """What can be restored."""
        fold = self.fold
        if not fold.things or fold.entries != len(self.mine()):
            return None
        return Kept(fold.version, fold.check, dict(fold.things))

    def _known(self, stored: StoredEntry) -> Known:
        stamp = self.fold.stamps.get(stored.id)
        return Known(stored.id, stored.log, stored.seq, stored.prev, stamp)

    def at(self, log: bytes, seq: int) -> Sequence[Known]:
        return [
            self._known(stored) for stored in self.mine() if (stored.log, stored.seq) == (log, seq)
        ]

    def where(self, entry_id: bytes) -> Known | None:
        stored = self.entries.get(entry_id)
        return None if stored is None else self._known(stored)

    def chain(self, log: bytes, first: int, beyond: int) -> Sequence[bytes]:
        ids = {stored.seq: stored.id for stored in self.mine() if stored.log == log}
        return [ids[seq] for seq in range(first, beyond)]

    def branches(self, log: bytes) -> Sequence[Known]:
        return [self._known(stored) for stored in self.mine() if stored.log == log]

    def raws(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        return {each: self.entries[each].raw for each in ids if each in self.entries}

    def touching(self, file: bytes) -> Iterator[Touching]:
        places = {stored.id: place for place, stored in enumerate(self.mine())}
        found = [touch for touch in self.fold.touches.values() if touch.file == file]
        for touch in sorted(found, key=lambda each: (places[each.entry], each.index)):
            yield Touching(
                touch.entry,
                touch.index,
                touch.records,
                touch.added,
                touch.deleted,
                self.entries[touch.entry].raw,
                self.fold.stamps[touch.entry],
            )

    def versions(self, file: bytes, entry: bytes | None = None) -> Iterator[Touching]:
        for touching in self.touching(file):
            if touching.number >= 0 and entry in (None, touching.entry):
                yield touching

    def waiting(self) -> Sequence[bytes]:
        return [stored.raw for stored in self.mine() if stored.id not in self.fold.stamps]

    def distrust(self) -> None:
        self.distrusted = True
