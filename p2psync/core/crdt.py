"""The merge of a record file: a sequence of segments, each an observed-remove set of values.

An *element* is a place in the file that lives as long as its content is only edited; a *value* is
one content of it, made by one operation. Adding a value never undoes another's; a removal names the
values that it saw, so a concurrent edit wins over a removal and two concurrent edits both stay
(Shapiro et al., "A comprehensive study of Convergent and Commutative Replicated Data Types",
2011, section 3.3.5). Applying the same changes in any order gives the same state.

Positions are byte strings in lexicographic order. A run of new segments gets one base between its
neighbours and a counter, so that what two authors insert at one place stays together.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core.ops import OpId
from p2psync.core.records import Segment, SegmentReader

_TOP_BYTES = 4
_TOP_FIRST = 0x40000000
_TOP_STEP = 16
_DIGITS = 255
_COUNTER_DIGITS = 3
_STEP_MAX = 8
_TIE_BYTES = 4


def between(left: bytes | None, right: bytes | None, tie: bytes) -> bytes:
    """Return a base that sorts after the position ``left`` and before ``right``.

    ``None`` is the start or the end of the file. ``tie`` (at least 4 bytes of the author's log)
    keeps apart what two authors insert at the same place. Everything that starts with the base
    sorts like it. Raises ``ValueError`` unless ``left < right``.
    """
    if left is not None and right is not None and left >= right:
        raise ValueError("positions out of order")
    tail = bytes(byte or 1 for byte in tie[:_TIE_BYTES])
    top_left = None if left is None else int.from_bytes(left[:_TOP_BYTES], "big")
    top_right = None if right is None else int.from_bytes(right[:_TOP_BYTES], "big")
    if top_right is None:
        top = _TOP_FIRST if top_left is None else top_left + _TOP_STEP
        if top < 1 << 32:
            return top.to_bytes(_TOP_BYTES, "big") + tail
    elif top_left is None and top_right > _TOP_STEP:
        return (top_right - _TOP_STEP).to_bytes(_TOP_BYTES, "big") + tail
    return _fraction(left or b"", right) + tail


def _fraction(left: bytes, right: bytes | None) -> bytes:
    """A string strictly between two others that is no prefix of ``right``; never ends in zero."""
    out = bytearray()
    index = 0
    while True:
        low = left[index] if index < len(left) else 0
        if right is None:
            high = 256
        elif index < len(right):
            high = right[index]
        else:
            raise ValueError("no room between these positions")
        gap = high - low
        if gap > 1:
            out.append(low + max(1, min(gap // 2, _STEP_MAX)))
            return bytes(out)
        out.append(low)
        if gap == 1:
            right = None
        index += 1


def position(base: bytes, counter: int) -> bytes:
    """The position of the ``counter``-th segment of a run; ends in a byte that is not zero."""
    digits = bytearray()
    for _ in range(_COUNTER_DIGITS):
        counter, digit = divmod(counter, _DIGITS)
        digits.append(digit + 1)
    digits.reverse()
    return base + bytes(digits)


RUN_SEGMENTS_MAX = _DIGITS**_COUNTER_DIGITS


@dataclass(frozen=True, slots=True)
class Value:
    """One content of an element: the operation's stamp decides between values of equal money."""

    id: OpId
    stamp: int
    segment: Segment


@dataclass(slots=True)
class Element:
    """A place in the file and the values that live there; none when it was removed."""

    id: OpId
    position: bytes
    values: tuple[Value, ...] = ()

    def shown(self) -> tuple[Value, ...]:
        """The values that are part of the file: one for each different money.

        Values that differ only in text, numbering or header content are settled by the last
        writer, (stamp, id). Values that differ in money are all kept, never counted as one.
        """
        if len(self.values) <= 1:
            return self.values
        winners: dict[bytes, Value] = {}
        for value in self.values:
            money = _money(value)
            best = winners.get(money)
            if best is None or (value.stamp, value.id) > (best.stamp, best.id):
                winners[money] = value
        if len(winners) > 1:
            winners.pop(b"", None)
        return tuple(sorted(winners.values(), key=lambda value: (value.stamp, value.id)))

    def behind(self, value: Value) -> tuple[OpId, ...]:
        """The values that go when a shown one goes: itself, and what it keeps from being shown."""
        money = _money(value)
        return tuple([other.id for other in self.values if _money(other) in (money, b"")])


def _money(value: Value) -> bytes:
    return value.segment.money_key if value.segment.records else b""


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation adds, edits and removes; already read by the file's format."""

    adds: Sequence[tuple[OpId, bytes, Segment]] = ()
    edits: Sequence[tuple[OpId, OpId, Segment]] = ()
    removes: Sequence[OpId] = ()


@dataclass(slots=True)
class Balance:
    """How often each record key stands in a file and how often it is posted.

    The differences of the two multisets, what is to be added and to be deleted in the accounting
    (B-POS-2), are kept in step with every single change: reading them costs nothing.
    """

    current: Counter[bytes] = field(default_factory=Counter)
    posted: Counter[bytes] = field(default_factory=Counter)
    records: int = 0
    added: int = 0
    deleted: int = 0

    def count(self, key: bytes, change: int) -> None:
        """The file holds a record once more, or once less."""
        self.records += change
        self._move(self.current, key, change, self.current[key] - self.posted[key])

    def post(self, key: bytes, change: int) -> None:
        """A record is posted once more, or once less."""
        surplus = self.current[key] - self.posted[key]
        self._move(self.posted, key, change, surplus)

    def _move(self, side: Counter[bytes], key: bytes, change: int, surplus: int) -> None:
        side[key] += change
        if not side[key]:
            del side[key]
        after = surplus + (change if side is self.current else -change)
        self.added += max(after, 0) - max(surplus, 0)
        self.deleted += max(-after, 0) - max(-surplus, 0)


@dataclass(slots=True)
class SegmentSet:
    """The segments of one record file."""

    reader: SegmentReader
    format: str
    balance: Balance = field(default_factory=Balance)
    elements: dict[OpId, Element] = field(default_factory=dict)
    archive: dict[tuple[OpId, bytes], Segment] = field(default_factory=dict)
    """Content that an element no longer has, by (element, segment key)."""
    conflicts: int = 0
    """Elements of which two contents are shown."""
    delta: Counter[bytes] = field(default_factory=Counter)
    """How ``records`` changed since somebody last cleared this."""
    _owner: dict[OpId, OpId] = field(default_factory=dict)
    _removed: set[OpId] = field(default_factory=set)
    _homeless: dict[OpId, list[Value]] = field(default_factory=dict)
    _order: list[tuple[bytes, OpId]] = field(default_factory=list)
    """Positions of the elements that have values; of some that lost theirs, too, for a while."""
    _sorted: bool = True
    _empty: int = 0
    """How many elements in ``_order`` have no values."""

    @property
    def records(self) -> Counter[bytes]:
        """How often each record key stands in the file now; not to be changed."""
        return self.balance.current

    def read(self, raw: bytes) -> Segment:
        """Read one segment by the file's format."""
        return self.reader(self.format, raw)

    def apply(self, change: Change, stamp: int) -> None:
        """Apply one operation's change; in any order, each once."""
        many = len(change.adds) > 8
        for value_id, place, segment in change.adds:
            value = Value(value_id, stamp, segment)
            if many:
                self._order.append((place, value_id))
                self._sorted = False
            else:
                insort(self._sort(), (place, value_id))
            if value_id in self._removed or value_id in self._homeless:
                element = self.elements[value_id] = Element(value_id, place)
                self._empty += 1
                self._put(element, [value, *self._homeless.pop(value_id, [])], ())
            else:  # the usual case: nobody said anything of it before
                self.elements[value_id] = Element(value_id, place, (value,))
                self._owner[value_id] = value_id
                for record in segment.records:
                    self.balance.count(record.key, 1)
                    self.delta[record.key] += 1
        for value_id, element_id, segment in change.edits:
            value = Value(value_id, stamp, segment)
            home = self.elements.get(element_id)
            if home is None:
                self._homeless.setdefault(element_id, []).append(value)
            else:
                self._put(home, [value], ())
        for value_id in change.removes:
            owner = self._owner.pop(value_id, None)
            if owner is None:
                self._removed.add(value_id)
            else:
                self._put(self.elements[owner], (), (value_id,))

    def _put(self, element: Element, new: Iterable[Value], gone: Sequence[OpId]) -> None:
        before = element.shown()
        values = [value for value in element.values if value.id not in gone]
        for value in new:
            if value.id in self._removed:
                self._removed.discard(value.id)
                self._keep(element.id, value.segment)
            else:
                self._owner[value.id] = element.id
                values.append(value)
        for value in element.values:
            if value.id in gone:
                self._keep(element.id, value.segment)
        self._note_empty(element, bool(values))
        element.values = tuple(sorted(values, key=lambda value: value.id))
        after = element.shown()
        if before == after:
            return
        self.conflicts += (len(after) > 1) - (len(before) > 1)
        for value in before:
            for record in value.segment.records:
                self.balance.count(record.key, -1)
                self.delta[record.key] -= 1
        for value in after:
            for record in value.segment.records:
                self.balance.count(record.key, 1)
                self.delta[record.key] += 1

    def _note_empty(self, element: Element, has_values: bool) -> None:
        """Keep the order free of what is gone for good, without moving it at every removal."""
        if element.values and not has_values:
            self._empty += 1
            if self._empty > 64 and self._empty * 2 > len(self._order):
                self._order = [place for place in self._order if self.elements[place[1]].values]
                self._order = [place for place in self._order if place[1] != element.id]
                self._empty = 0
        elif has_values and not element.values:
            place = (element.position, element.id)
            order = self._sort()
            index = bisect_left(order, place)
            if index < len(order) and order[index] == place:
                self._empty -= 1
            else:
                order.insert(index, place)

    def _keep(self, element_id: OpId, segment: Segment) -> None:
        known = self.archive.get((element_id, segment.key))
        if known is None or segment.raw < known.raw:  # whatever the order of arrival
            self.archive[(element_id, segment.key)] = segment

    def _sort(self) -> list[tuple[bytes, OpId]]:
        if not self._sorted:
            self._order.sort()
            self._sorted = True
        return self._order

    def shown(self) -> Iterator[tuple[Element, Value]]:
        """Yield what the file consists of, in order."""
        for _, element_id in self._sort():
            element = self.elements[element_id]
            if element.values:
                for value in element.shown():
                    yield element, value

    def emit(self) -> bytes:
        """Return the file's bytes."""
        return b"".join(value.segment.raw for _, value in self.shown())

    def segment_of(self, element_id: OpId, key: bytes) -> Segment | None:
        """Return the content that an element has, or had, under a key."""
        element = self.elements.get(element_id)
        if element is not None:
            for value in element.values:
                if value.segment.key == key:
                    return value.segment
        return self.archive.get((element_id, key))

    def record_count(self) -> int:
        """How many records the file holds."""
        return self.balance.records


def pending(current: Counter[bytes], posted: Counter[bytes]) -> tuple[int, int]:
    """Return (added, deleted) as multiset differences of record keys (B-POS-2)."""
    return (current - posted).total(), (posted - current).total()
