"""What came of each record of a file: who added, changed, deleted, posted it, when, from where.

It is read from the entries that touch the file, in one go, in a thread; the fold itself remembers
none of it. A record is told of with the line or group of lines (segment) that it stands in.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from p2psync.core.body import numbered
from p2psync.core.crdt import element_of
from p2psync.core.files import POSTED, version_name
from p2psync.core.mandate import Applied
from p2psync.core.ops import Lines, OpId, Post, Save, keyed
from p2psync.core.records import Segment
from p2psync.engine.ports import Touching

Read = Callable[[bytes], Segment]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to a segment.

    ``what`` is ``added``, ``changed``, ``deleted``, ``posted``, ``retracted`` (the receipt was
    taken back) or ``cancelled`` (the posting of what is gone was taken back by a receipt). ``name``
    is that of the version or receipt; ``before`` is the content that it had.
    """

    what: str
    stamp: int
    entry: bytes
    name: str = ""
    before: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tale:
    """A segment: its content, or the last that it had, and what was done to it, oldest first.

    ``line`` is the line of the file in which it begins, from 1; ``None`` when it is gone.
    """

    raw: bytes
    line: int | None
    steps: tuple[Step, ...]
    posted: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which segments: those with a record that ``fits``, or the one that a line is part of."""

    fits: Callable[[Segment], bool] | None = None
    line: int | None = None


@dataclass(slots=True)
class _Value:
    """One content that a segment had or has: by which entry it came, by which ones it went."""

    raw: bytes
    entry: int
    gone: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Element:
    place: tuple[int, bytes] = (-1, b"")
    values: dict[OpId, _Value] = field(default_factory=dict)

    @property
    def living(self) -> list[_Value]:
        return [value for value in self.values.values() if not value.gone]


@dataclass(slots=True)
class Tales:
    """All that was done to one file."""

    read: Read
    identifies: bool
    unposted: Mapping[OpId, tuple[int, bytes]]
    """Receipts that were taken back, and the time and the entry that did it."""
    entries: list[tuple[bytes, int]] = field(default_factory=list)
    """Id and effective time."""
    versions: dict[bytes, str] = field(default_factory=dict)
    """The version that took an entry's changes up."""
    _elements: dict[OpId, _Element] = field(default_factory=dict)
    _home: dict[OpId, OpId] = field(default_factory=dict)
    """The element of each value that is not named like it."""
    _removed: dict[OpId, list[int]] = field(default_factory=dict)
    _posts: dict[OpId, list[tuple[bytes, OpId, int, bool]]] = field(default_factory=dict)
    """By element: key, receipt, time, whether it takes."""

    def take(
        self, file: bytes, touching: Iterable[Touching], open_: Callable[[Touching], Applied]
    ) -> None:
        """Read all that touched a file."""
        done: dict[bytes, Applied] = {}
        for touch in touching:
            applied = done.get(touch.entry)
            if applied is None:
                done = {touch.entry: open_(touch)}
                applied = done[touch.entry]
                self._take_lines(file, applied)
            if touch.number == POSTED:
                self._take_posts(file, applied)
        for value_id, gone in self._removed.items():
            home = self._elements.get(self._home.get(value_id, value_id))
            value = None if home is None else home.values.get(value_id)
            if value is not None:
                value.gone += gone

    def _take_lines(self, file: bytes, applied: Applied) -> None:
        lines = [each for each in applied.operations if type(each) is Lines and each.file == file]
        for index, operation in enumerate(applied.operations):
            if isinstance(operation, Save) and operation.file == file:
                name = version_name((applied.id, index))
                for part in (*operation.parts, applied.id):
                    self.versions[part] = name
        if not lines:
            return
        number = len(self.entries)
        self.entries.append((applied.id, applied.stamp))
        for change, _ in numbered([(applied.id, applied.stamp, each) for each in lines]):
            for value_id, place, raw in change.adds:
                element_id = element_of(self.read, self.identifies, value_id, place, raw)
                if element_id != value_id:
                    self._home[value_id] = element_id
                element = self._elements.get(element_id)
                if element is None:
                    element = self._elements[element_id] = _Element()
                element.place = max(element.place, (applied.stamp, place))
                element.values[value_id] = _Value(raw, number)
            for value_id, element_id, raw in change.edits:
                self._home[value_id] = element_id
                element = self._elements.setdefault(element_id, _Element())
                element.values[value_id] = _Value(raw, number)
            for value_id in change.removes:
                self._removed.setdefault(value_id, []).append(number)

    def _take_posts(self, file: bytes, applied: Applied) -> None:
        for index, operation in enumerate(applied.operations):
            if not isinstance(operation, Post):
                continue
            receipt = (applied.id, index)
            for taken, takes in ((operation.adds, True), (operation.drops, False)):
                for of, element, key in keyed(taken):
                    if of == file:
                        said = (key, receipt, applied.stamp, takes)
                        self._posts.setdefault(element, []).append(said)

    # -- telling ------------------------------------------------------------------------------

    def tell(self, wanted: Wanted, after: int, limit: int) -> tuple[list[Tale], int | None]:
        """The tales of some segments: those that stand in the file in its order, then those that
        are gone, the last first. Returns at most ``limit`` after the first ``after``, and from
        where to go on, ``None`` at the end.
        """
        chosen = islice(self._chosen(wanted), after, after + limit + 1)
        found = list(chosen)
        more = after + limit if len(found) > limit else None
        return [self._tale(*each) for each in found[:limit]], more

    def _chosen(self, wanted: Wanted) -> Iterator[tuple[OpId, _Element, int | None]]:
        here: list[tuple[bytes, OpId, _Element]] = []
        gone: list[tuple[int, OpId, _Element]] = []
        for element_id, element in self._elements.items():
            if element.living:
                here.append((element.place[1], element_id, element))
            elif wanted.line is None:
                last = max(
                    self.entries[each][1]
                    for value in element.values.values()
                    for each in value.gone
                )
                gone.append((last, element_id, element))
        here.sort(key=lambda each: each[:2])
        line = 1
        for _, element_id, element in here:
            raws = [value.raw for value in element.living]
            lines = sum(_lines(raw) for raw in raws)
            if wanted.line is None:
                if self._fits(wanted, raws):
                    yield element_id, element, line
            elif line <= wanted.line < line + lines:
                yield element_id, element, line
                return
            line += lines
        gone.sort(key=lambda each: each[:2], reverse=True)
        for _, element_id, element in gone:
            if self._fits(wanted, [value.raw for value in element.values.values()]):
                yield element_id, element, None

    def _fits(self, wanted: Wanted, raws: Sequence[bytes]) -> bool:
        for raw in raws:
            segment = self.read(raw)
            if segment.record_count and (wanted.fits is None or wanted.fits(segment)):
                return True
        return False

    def _tale(self, element_id: OpId, element: _Element, line: int | None) -> Tale:
        values = sorted(
            element.values.items(), key=lambda each: (self.entries[each[1].entry][1], each[0])
        )
        steps: list[Step] = []
        by_entry = {value.entry for _, value in values}
        before: bytes | None = None
        for place, (_, value) in enumerate(values):
            what = "changed" if place else "added"
            steps.append(self._step(what, value.entry, before))
            before = value.raw
        for _, value in values:
            # What went in the entry that brought another content was changed, not deleted.
            for number in value.gone:
                if number not in by_entry:
                    by_entry.add(number)
                    steps.append(self._step("deleted", number, value.raw))
        keys = {self.read(value.raw).key for _, value in values}
        posted = False
        for key, receipt, stamp, takes in sorted(
            self._posts.get(element_id, ()), key=lambda each: each[2]
        ):
            if key not in keys:
                continue
            name = version_name(receipt)
            steps.append(Step("posted" if takes else "cancelled", stamp, receipt[0], name))
            back = self.unposted.get(receipt)
            if back is None:
                posted = takes
            else:
                steps.append(Step("retracted", back[0], back[1], name))
        steps.sort(key=lambda step: step.stamp)
        living = element.living
        raw = (living or [value for _, value in values])[-1].raw
        return Tale(raw, line, tuple(steps), posted)

    def _step(self, what: str, number: int, before: bytes | None) -> Step:
        entry, stamp = self.entries[number]
        return Step(what, stamp, entry, self.versions.get(entry, ""), before)


def _lines(raw: bytes) -> int:
    return raw.count(b"\n") or raw.count(b"\r") or 1
