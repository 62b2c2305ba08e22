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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from p2psync.core.balance import Balance, Measure
from p2psync.core.ops import OpId
from p2psync.core.records import Segment, SegmentReader, identifies

Read = Callable[[bytes], Segment]
"""Reads the bytes of one segment."""

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
    if counter < _DIGITS:
        return base + _LAST_DIGITS[counter]
    digits = bytearray()
    for _ in range(_COUNTER_DIGITS):
        counter, digit = divmod(counter, _DIGITS)
        digits.append(digit + 1)
    digits.reverse()
    return base + bytes(digits)


_NAMED = b"p2psync identity"
"""No entry's id starts so."""
_ALONE = b"\0"


def named(identity: bytes) -> OpId:
    """The element of all segments with an identity (16 bytes), whoever added them."""
    return _NAMED + identity, 0


def identity_of(element: OpId) -> bytes | None:
    """The identity that an element is named by; ``None`` for an element of one added segment."""
    return element[0][len(_NAMED) :] if element[0].startswith(_NAMED) else None


def alone(base: bytes) -> bytes:
    """Mark a base: its segments are elements of their own, whatever their identity.

    So a file that has one identity twice is still what its author saved.
    """
    return base + _ALONE


def element_of(read: Read, identified: bool, value_id: OpId, position: bytes, raw: bytes) -> OpId:
    """The element that an added segment makes, or belongs to where it has an identity."""
    if not identified or _is_alone(position):
        return value_id
    identity = read(raw).identity
    return value_id if identity is None else named(identity)


def _is_alone(position: bytes) -> bool:
    """Other bases end in the tie, which has no zeros."""
    return position[-_COUNTER_DIGITS - 1 : -_COUNTER_DIGITS] == _ALONE


_LAST_DIGITS = tuple([bytes([1] * (_COUNTER_DIGITS - 1) + [digit + 1]) for digit in range(_DIGITS)])
RUN_SEGMENTS_MAX = _DIGITS**_COUNTER_DIGITS


class Value:
    """One content of an element: the operation's stamp decides between values of equal money.

    Only the bytes are kept; ``segment`` is what the file's format reads in them. There are as many
    as records, so they are small.
    """

    __slots__ = ("_read", "id", "raw", "stamp")

    def __init__(self, id: OpId, stamp: int, raw: bytes, read: Read) -> None:
        self.id = id
        self.stamp = stamp
        self.raw = raw
        self._read = read

    @property
    def segment(self) -> Segment:
        """What the bytes say."""
        return self._read(self.raw)


class Element(Value):
    """A place in the file and the values that live there; none when it was removed.

    Nearly always it has one value, the one that made it: then it is that value itself.
    """

    __slots__ = ("_values", "position")

    def __init__(self, id: OpId, position: bytes, values: tuple[Value, ...] = ()) -> None:
        self.id = id
        self.position = position
        self._values: tuple[Value, ...] | None = values

    @classmethod
    def single(cls, id: OpId, position: bytes, stamp: int, raw: bytes, read: Read) -> "Element":
        """An element with the value that made it."""
        made = cls.__new__(cls)
        made.id = id
        made.position = position
        made.stamp = stamp
        made.raw = raw
        made._read = read
        made._values = None
        return made

    @property
    def values(self) -> tuple[Value, ...]:
        """The values, by id."""
        return (self,) if self._values is None else self._values

    @values.setter
    def values(self, values: tuple[Value, ...]) -> None:
        self._values = values

    @property
    def alive(self) -> bool:
        """Whether it has a value."""
        return self._values is None or bool(self._values)

    def shown(self) -> tuple[Value, ...]:
        """The values that are part of the file: one for each different money.

        Values that differ only in text, numbering or header content are settled by the last
        writer, (stamp, id). Values that differ in money are all kept, never counted as one.
        """
        if self._values is None:
            return (self,)
        if len(self._values) <= 1:
            return self._values
        winners: dict[bytes, Value] = {}
        for value in self._values:
            money = _money(value)
            best = winners.get(money)
            if best is None or (value.stamp, value.id) > (best.stamp, best.id):
                winners[money] = value
        if len(winners) > 1:
            winners.pop(b"", None)
        return tuple(sorted(winners.values(), key=lambda value: (value.stamp, value.id)))

    def behind(self, value: Value) -> tuple[OpId, ...]:
        """The values that go when a shown one goes: itself, and what it keeps from being shown."""
        values = self.values
        if len(values) == 1:
            return (values[0].id,)
        money = _money(value)
        return tuple([other.id for other in values if _money(other) in (money, b"")])


def _money(value: Value) -> bytes:
    segment = value.segment
    return segment.money_key if segment.record_count else b""


_place = attrgetter("position", "id")


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation adds, edits and removes: ids, places or elements, and raw bytes."""

    adds: Sequence[tuple[OpId, bytes, bytes]] = ()
    edits: Sequence[tuple[OpId, OpId, bytes]] = ()
    removes: Sequence[OpId] = ()


@dataclass(slots=True)
class SegmentSet:
    """The segments of one record file."""

    reader: SegmentReader
    format: str
    elements: dict[OpId, Element] = field(default_factory=dict)
    archive: dict[tuple[OpId, bytes], bytes] = field(default_factory=dict)
    """Bytes that an element no longer has, by (element, segment key)."""
    conflicts: int = 0
    """Elements of which two contents are shown."""
    _records: int = 0
    _counting: bool = True
    _gained: list[bytes] = field(default_factory=list)
    _lost: list[bytes] = field(default_factory=list)
    """What came into the file and went out of it since somebody last asked."""
    _moved: tuple[int, int] = (0, 0)
    """How many records that was."""
    _balance: Balance | None = None
    """Kept in step once something was posted."""
    _measure: Measure | None = None
    """Kept in step once somebody needed it, as long as nothing is posted."""
    _revision: int = 0
    """Rises with every change."""
    memo: dict[bytes, Segment] | None = None
    """What was read lately, while somebody reads the same segments again and again."""
    _edited: dict[OpId, OpId] = field(default_factory=dict)
    """The element of each value that is not its element's first."""
    _removed: set[OpId] = field(default_factory=set)
    _homeless: dict[OpId, list[Value]] = field(default_factory=dict)
    _placed: dict[OpId, tuple[int, OpId]] = field(default_factory=dict)
    """Stamp and value of what put each named element where it stands: the last that did so."""
    _order: list[Element] = field(default_factory=list)
    """The elements that have values, by position; some that lost theirs, too, for a while."""
    _fresh: list[Element] = field(default_factory=list)
    """Elements that are still to be put in order."""
    _empty: int = 0
    """How many elements in ``_order`` have no values."""

    @property
    def balance(self) -> Balance:
        """How often each record stands in the file and is posted; reads the file when first asked
        for."""
        if self._balance is None:
            self.take_balance(self._revision, weighed(self.contents(), self.read))
        assert self._balance is not None
        return self._balance

    @property
    def balanced(self) -> bool:
        """Whether ``balance`` was ever asked for."""
        return self._balance is not None

    @property
    def measure(self) -> Measure:
        """The sums of all that the file holds; reads the file when first asked for."""
        if self._measure is None:
            self.take_measure(self._revision, measured(self.raws(), self.read))
        assert self._measure is not None
        return self._measure

    @property
    def is_measured(self) -> bool:
        """Whether ``balance`` or ``measure`` is at hand."""
        return self._balance is not None or self._measure is not None

    def raws(self) -> list[bytes]:
        """The bytes of all that is shown, in order."""
        return [value.raw for element in self._sort() for value in element.shown()]

    def contents(self) -> list[tuple[OpId, bytes]]:
        """The same, each with its element."""
        return [(element.id, value.raw) for element in self._sort() for value in element.shown()]

    def take_balance(self, revision: int, balance: Balance) -> bool:
        """Keep what the ``contents`` of a revision weigh; false when that has passed."""
        if revision != self._revision:
            return False
        if self._balance is None:
            self._balance, self._measure = balance, None
        return True

    @property
    def revision(self) -> int:
        """Rises with every change."""
        return self._revision

    def take_measure(self, revision: int, measure: Measure) -> bool:
        """Keep the sums of the ``raws`` of a revision; false when that has passed."""
        if revision != self._revision:
            return False
        if self._balance is None:
            self._measure = measure
        return True

    @property
    def records(self) -> Counter[bytes]:
        """How often each record key stands in the file now."""
        return self.balance.current

    def read(self, raw: bytes) -> Segment:
        """Read one segment by the file's format."""
        memo = self.memo  # somebody else may end it at any moment: a thread may read, too
        if memo is None:
            return self.reader(self.format, raw)
        found = memo.get(raw)
        if found is None:
            found = memo[raw] = self.reader(self.format, raw)
        return found

    # -- applying -------------------------------------------------------------------------------

    def apply(self, change: Change, stamp: int) -> None:
        """Apply one operation's change; in any order, each once."""
        self._revision += 1
        # Of what is named by its content each segment is read several times.
        self.memo = {} if identifies(self.reader, self.format) else None
        self._add(change.adds, stamp)
        for value_id, element_id, raw in change.edits:
            value = Value(value_id, stamp, raw, self.read)
            home = self.elements.get(element_id)
            if home is None:
                self._homeless.setdefault(element_id, []).append(value)
            else:
                self._put(home, [value], ())
        for value_id in change.removes:
            self._remove(value_id)
        self.memo = None

    def _add(self, adds: Sequence[tuple[OpId, bytes, bytes]], stamp: int) -> None:
        if self.memo is not None:
            adds = self._add_named(adds, stamp)
        read, elements, fresh = self.read, self.elements, self._fresh
        # Of now: what is taken from the set here must not hide what waits besides.
        strange = bool(self._removed or self._homeless)
        for value_id, place, raw in adds:
            if strange and (value_id in self._removed or value_id in self._homeless):
                element = elements[value_id] = Element(value_id, place)
                value = Value(value_id, stamp, raw, read)
                self._empty += 1
                fresh.append(element)
                self._put(element, [value, *self._homeless.pop(value_id, [])], ())
            else:  # the usual case: nobody said anything of it before
                element = elements[value_id] = Element.single(value_id, place, stamp, raw, read)
                fresh.append(element)
                self._gain(value_id, raw)

    def _add_named(
        self, adds: Sequence[tuple[OpId, bytes, bytes]], stamp: int
    ) -> Sequence[tuple[OpId, bytes, bytes]]:
        """Add the segments that have an identity; return the others."""
        others: list[tuple[OpId, bytes, bytes]] = []
        moved: dict[OpId, bytes] = {}
        for add in adds:
            value_id, place, raw = add
            identity = None if _is_alone(place) else self.read(raw).identity
            if identity is None:
                others.append(add)
                continue
            element_id = named(identity)
            value = Value(value_id, stamp, raw, self.read)
            element = self.elements.get(element_id)
            if element is None:
                element = self.elements[element_id] = Element(element_id, place)
                self._placed[element_id] = stamp, value_id
                self._empty += 1
                self._fresh.append(element)
                self._put(element, [value, *self._homeless.pop(element_id, [])], ())
                continue
            if self._placed[element_id] < (stamp, value_id):
                self._placed[element_id] = stamp, value_id
                moved[element_id] = place
            self._put(element, [value], ())
        self._move(moved)
        return others

    def _move(self, moved: dict[OpId, bytes]) -> None:
        """Put elements where they stand now."""
        if moved:
            self._order = [each for each in self._sort() if each.alive and each.id not in moved]
            self._empty = 0
            for element_id, place in moved.items():
                element = self.elements[element_id]
                element.position = place
                if element.alive:
                    self._fresh.append(element)

    def _remove(self, value_id: OpId) -> None:
        owner = self._edited.pop(value_id, None)
        if owner is not None:
            self._put(self.elements[owner], (), (value_id,))
            return
        element = self.elements.get(value_id)
        if element is None or all(value.id != value_id for value in element.values):
            self._removed.add(value_id)
        else:
            self._put(element, (), (value_id,))

    def _gain(self, element_id: OpId, raw: bytes) -> None:
        if not self._counting:
            return
        segment = self.read(raw)
        count = segment.record_count
        self._records += count
        self._moved = self._moved[0] + count, self._moved[1]
        self._gained.append(raw)
        self._weigh(element_id, segment, 1)

    def _lose(self, element_id: OpId, raw: bytes) -> None:
        if not self._counting:
            return
        segment = self.read(raw)
        count = segment.record_count
        self._records -= count
        self._moved = self._moved[0], self._moved[1] + count
        self._lost.append(raw)
        self._weigh(element_id, segment, -1)

    def _weigh(self, element_id: OpId, segment: Segment, change: int) -> None:
        if self._balance is not None:
            self._balance.hold(element_id, segment, change)
        elif self._measure is not None:
            self._measure.hold(segment, change)

    def take_up(self, changes: Iterable[tuple[Change, int]], records: int) -> None:
        """Apply changes (with their stamps) that were counted before: they gave so many records."""
        self._counting = False
        for change, stamp in changes:
            self.apply(change, stamp)
        self._counting = True
        self._records = records

    def delta(self) -> tuple[int, int]:
        """Return how many records (added, deleted) there were since this was last asked."""
        gained, lost, counts = self._gained, self._lost, self._moved
        self._gained, self._lost, self._moved = [], [], (0, 0)
        if not gained or not lost:
            return counts
        keys = [
            Counter(record.key for raw in side for record in self.read(raw).records)
            for side in (gained, lost)
        ]
        return pending(keys[0], keys[1])

    def _put(self, element: Element, new: Iterable[Value], gone: Sequence[OpId]) -> None:
        before = element.shown()
        values = [value for value in element.values if value.id not in gone]
        for value in new:
            if value.id in self._removed:
                self._removed.discard(value.id)
                self._keep(element.id, value.raw)
            else:
                if value.id != element.id:
                    self._edited[value.id] = element.id
                values.append(value)
        for value in element.values:
            if value.id in gone:
                self._keep(element.id, value.raw)
        self._note_empty(element, bool(values))
        element.values = tuple(sorted(values, key=lambda value: value.id))
        after = element.shown()
        if before == after:
            return
        self.conflicts += (len(after) > 1) - (len(before) > 1)
        for value in before:
            self._lose(element.id, value.raw)
        for value in after:
            self._gain(element.id, value.raw)

    def _keep(self, element_id: OpId, raw: bytes) -> None:
        place = (element_id, self.read(raw).key)
        known = self.archive.get(place)
        if known is None or raw < known:  # whatever the order of arrival
            self.archive[place] = raw

    # -- order ----------------------------------------------------------------------------------

    def _note_empty(self, element: Element, has_values: bool) -> None:
        """Keep the order free of what is gone for good, without moving it at every removal."""
        if element.alive and not has_values:
            self._empty += 1
            if self._empty > 64 and self._empty * 2 > len(self._order) + len(self._fresh):
                kept = [each for each in self._sort() if each.alive and each is not element]
                self._order = kept
                self._empty = 0
        elif has_values and not element.alive:
            order = self._sort()
            index = bisect_left(order, _place(element), key=_place)
            if index < len(order) and order[index] is element:
                self._empty -= 1
            else:
                order.insert(index, element)

    def _sort(self) -> list[Element]:
        """Put what is new in its place; what stands at the end, or is little, costs little."""
        fresh, order = self._fresh, self._order
        if fresh:
            fresh.sort(key=_place)
            if not order or _place(order[-1]) < _place(fresh[0]):
                order.extend(fresh)
            elif len(fresh) * 16 < len(order):
                for element in fresh:
                    insort(order, element, key=_place)
            else:
                order.extend(fresh)
                order.sort(key=_place)
            fresh.clear()
        return order

    # -- reading --------------------------------------------------------------------------------

    def disputed(self) -> Element | None:
        """The first of the elements of which two contents are shown."""
        if not self.conflicts:
            return None
        return next((each for each in self._sort() if len(each.shown()) > 1), None)

    def shown(self) -> Iterator[tuple[Element, Value]]:
        """Yield what the file consists of, in order."""
        for element in self._sort():
            for value in element.shown():
                yield element, value

    def emit(self) -> bytes:
        """Return the file's bytes."""
        return b"".join(self.raws())

    def segment_of(self, element_id: OpId, key: bytes) -> Segment | None:
        """Return the content that an element has, or had, under a key."""
        element = self.elements.get(element_id)
        if element is not None:
            for value in element.values:
                segment = value.segment
                if segment.key == key:
                    return segment
        raw = self.archive.get((element_id, key))
        return None if raw is None else self.read(raw)

    def record_count(self) -> int:
        """How many records the file holds."""
        return self._records


def measured(raws: Iterable[bytes], read: Read) -> Measure:
    """Sum up a file of these segments; pure, so a thread may do it."""
    measure = Measure()
    for raw in raws:
        measure.hold(read(raw), 1)
    return measure


def weighed(contents: Iterable[tuple[OpId, bytes]], read: Read) -> Balance:
    """Weigh a file of these segments, nothing of it posted; pure, so a thread may do it."""
    balance = Balance()
    for element, raw in contents:
        balance.hold(element, read(raw), 1)
    return balance


def pending(current: Counter[bytes], posted: Counter[bytes]) -> tuple[int, int]:
    """Return (added, deleted) as multiset differences of record keys (B-POS-2)."""
    return (current - posted).total(), (posted - current).total()
