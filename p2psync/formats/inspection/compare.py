"""How two versions of a file differ, as an accountant reads it: what came, went and changed.

Segments are matched in three steps, the k-th occurrence with the k-th: the very same bytes, then
the same content (renumbered), then the same identity (changed). The records of what is left are
held against each other, and those that are one record edited are paired (``changed.edited``).
"""

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from p2psync.core.records import Record, Segment, side_of
from p2psync.formats.changed import edited
from p2psync.formats.inspection.records import Sums, numbered
from p2psync.limits import INSPECTED_CHANGES_MAX, INSPECTED_SEGMENTS_MAX

Segments = Callable[[], Iterable[Segment]]
"""Reads a file's segments anew, from its beginning."""
Kind = Literal["added", "deleted", "changed"]
_NONE = -1
_HASH_MASK = (1 << 64) - 1
_NUMBERING = ("id", "group")
"""Fields that programs number anew: shown as changed only when nothing else is."""


class TooManySegments(ValueError):
    """A file has more than ``INSPECTED_SEGMENTS_MAX`` lines and groups."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A segment and the line that it begins in; ``place`` is its place among all."""

    segment: Segment
    line: int
    place: int


@dataclass(frozen=True, slots=True)
class Change:
    """One record that came, went or changed; ``old`` and ``new`` with their lines."""

    kind: Kind
    old: tuple[int, Record] | None
    new: tuple[int, Record] | None

    def differences(self) -> list[tuple[str, str, str]]:
        """Gives the fields of a changed record that differ: name, old, new."""
        if self.old is None or self.new is None:
            return []
        before, after = self.old[1].fields, self.new[1].fields
        names = list(dict.fromkeys((*before, *after)))
        found = [
            (name, before.get(name, ""), after.get(name, ""))
            for name in names
            if before.get(name, "") != after.get(name, "")
        ]
        return [each for each in found if each[0] not in _NUMBERING] or found


@dataclass(frozen=True, slots=True)
class Hunk:
    """What stands at one place of the two files and differs; either side may be empty."""

    old: tuple[Placed, ...]
    new: tuple[Placed, ...]


@dataclass(slots=True)
class Comparison:
    """What differs. Numbers and sums are always complete; lists hold what is to be shown.

    ``renumbered`` counts segments with the same content in other bytes, ``moved`` those at another
    place among the others. ``bare`` counts segments without records that came and went (headers).
    ``paired`` is false when there was so much that nobody looked for edited records.
    """

    unchanged: int = 0
    renumbered: int = 0
    moved: int = 0
    added: int = 0
    deleted: int = 0
    changed: int = 0
    bare: tuple[int, int] = (0, 0)
    paired: bool = True
    sums: dict[str, dict[str, Sums]] = field(default_factory=dict)
    """By currency, then ``added``, ``deleted``, ``before`` and ``after`` (of what changed)."""
    changes: list[Change] = field(default_factory=list)
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def same_records(self) -> bool:
        """Whether both hold the same records."""
        return not (self.added or self.deleted or self.changed)

    def _sum(self, what: str, record: Record) -> None:
        side = side_of(record)
        self.sums.setdefault(side.currency, {}).setdefault(what, Sums()).add(side)

    def say(self, change: Change) -> None:
        """Counts and lists one change."""
        self.changes.append(change)
        match change.kind:
            case "added" if change.new is not None:
                self.added += 1
                self._sum("added", change.new[1])
            case "deleted" if change.old is not None:
                self.deleted += 1
                self._sum("deleted", change.old[1])
            case _:
                assert change.old is not None and change.new is not None
                self.changed += 1
                self._sum("before", change.old[1])
                self._sum("after", change.new[1])

    def only_count(self, kind: Literal["added", "deleted"], segment: Segment) -> None:
        """Counts a segment's records as one kind of change, without listing them."""
        for record in segment.records:
            self._sum(kind, record)
        if kind == "added":
            self.added += segment.record_count
        else:
            self.deleted += segment.record_count


def compare(old: Segments, new: Segments) -> Comparison:
    """Compares two files of one format; reads each several times, holds no more than the rest.

    Raises ``TooManySegments``.
    """
    matching = _Matching(old, new)
    out = Comparison(
        unchanged=matching.same, renumbered=matching.renumbered, moved=matching.moved()
    )
    gone, gone_bare = _left(old, matching.old_to_new, out, "deleted", matching.few)
    came, came_bare = _left(new, matching.new_to_old, out, "added", matching.few)
    out.bare = (came_bare, gone_bare)
    out.paired = matching.few
    if matching.few:
        _pair(out, gone, came, matching)
    return out


class _Matching:
    """Which old segment each new one is: ``_NONE`` for those that are to be read."""

    def __init__(self, old: Segments, new: Segments) -> None:
        old_hashes, new_hashes = _hashes(old()), _hashes(new())
        self.old_to_new = array("q", [_NONE]) * len(old_hashes)
        self.new_to_old = array("q", [_NONE]) * len(new_hashes)
        self.changed: list[tuple[int, int]] = []
        """Pairs (old, new) of one identity whose content differs; none of the two is matched."""
        self.same = self._by_bytes(old_hashes, new_hashes)
        self.renumbered = self._by_content(old, new)
        left = self.old_to_new.count(_NONE) + self.new_to_old.count(_NONE)
        self.few = left <= INSPECTED_CHANGES_MAX

    def _match(self, old: int, new: int) -> None:
        self.old_to_new[old] = new
        self.new_to_old[new] = old

    def _by_bytes(self, old: "array[int]", new: "array[int]") -> int:
        most = min(len(old), len(new))
        start = end = 0
        while start < most and old[start] == new[start]:
            self._match(start, start)
            start += 1
        while end < most - start and old[-1 - end] == new[-1 - end]:
            end += 1
            self._match(len(old) - end, len(new) - end)
        places: dict[int, int | deque[int]] = {}
        for index in range(start, len(old) - end):
            _put(places, old[index], index)
        matched = start + end
        for index in range(start, len(new) - end):
            found = _take(places, new[index])
            if found is not None:
                self._match(found, index)
                matched += 1
        return matched

    def _by_content(self, old: Segments, new: Segments) -> int:
        tokens: dict[bytes, deque[tuple[int, bytes]]] = defaultdict(deque)
        for index, segment in enumerate(old()):
            if self.old_to_new[index] == _NONE:
                tokens[segment.identity or segment.key].append((index, segment.key))
        matched = 0
        for index, segment in enumerate(new()):
            if self.new_to_old[index] != _NONE:
                continue
            candidates = tokens.get(segment.identity or segment.key)
            if not candidates:
                continue
            place, key = candidates.popleft()
            if key == segment.key:
                self._match(place, index)
                matched += 1
            else:
                self.changed.append((place, index))
        return matched

    def moved(self) -> int:
        """Counts the matched segments that stand elsewhere among the others (Fredman 1975)."""
        tails: list[int] = []
        matched = 0
        for place in self.new_to_old:
            if place == _NONE:
                continue
            matched += 1
            if not tails or place > tails[-1]:
                tails.append(place)
            else:
                tails[bisect_left(tails, place)] = place
        return matched - len(tails)


def _hashes(segments: Iterable[Segment]) -> "array[int]":
    found = array("Q")
    for segment in segments:
        found.append(hash(segment.raw) & _HASH_MASK)
        if len(found) > INSPECTED_SEGMENTS_MAX:
            raise TooManySegments
    return found


def _put(places: dict[int, int | deque[int]], name: int, place: int) -> None:
    """Notes one more place of a name; nearly all have but one."""
    known = places.get(name)
    if known is None:
        places[name] = place
    elif isinstance(known, int):
        places[name] = deque((known, place))
    else:
        known.append(place)


def _take(places: dict[int, int | deque[int]], name: int) -> int | None:
    known = places.get(name)
    if isinstance(known, deque):
        return known.popleft() if known else None
    if known is not None:
        del places[name]
    return known


def _left(
    segments: Segments,
    matched: "array[int]",
    out: Comparison,
    kind: Literal["added", "deleted"],
    keep: bool,
) -> tuple[list[Placed], int]:
    """Gives what has no match, and how much of that has no records; or only counts it."""
    found: list[Placed] = []
    bare = 0
    line = 1
    for index, segment in enumerate(segments()):
        if matched[index] == _NONE:
            bare += not segment.record_count
            if keep:
                found.append(Placed(segment, line, index))
            else:
                out.only_count(kind, segment)
        line += segment.raw.count(b"\n")
    return found, bare


_Rank = tuple[int, int, int]
"""Orders what differs by its place in the old file; what came stands behind what it follows."""


@dataclass(frozen=True, slots=True)
class _Found:
    rank: _Rank
    place: int
    line: int
    record: Record


def _pair(
    out: Comparison, gone: Sequence[Placed], came: Sequence[Placed], matching: _Matching
) -> None:
    """Pairs what is one element or one record edited, and says what is left, in order."""
    anchors = _anchors(matching.new_to_old, came)
    partners = {new: old for old, new in matching.changed}
    changes: list[tuple[_Rank, Change]] = []

    def found(placed: Iterable[Placed], *, new: bool) -> list[_Found]:
        return [
            _Found(
                (anchors[each.place], 1, each.place) if new else (each.place, 0, 0),
                each.place,
                line,
                record,
            )
            for each in placed
            for line, record in numbered(each.segment, each.line)
        ]

    def settle(old: list[_Found], new: list[_Found], pairs: list[tuple[int, int]]) -> None:
        for before, after in pairs:
            one, other = old[before], new[after]
            partners.setdefault(other.place, one.place)
            change = Change("changed", (one.line, one.record), (other.line, other.record))
            changes.append((one.rank, change))
        for index in sorted(set(range(len(old))) - {before for before, _ in pairs}):
            each = old[index]
            changes.append((each.rank, Change("deleted", (each.line, each.record), None)))
        for index in sorted(set(range(len(new))) - {after for _, after in pairs}):
            each = new[index]
            changes.append((each.rank, Change("added", None, (each.line, each.record))))

    by_place = {each.place: each for each in gone}, {each.place: each for each in came}
    for old_place, new_place in matching.changed:
        old, new = _without_same(
            found([by_place[0].pop(old_place)], new=False),
            found([by_place[1].pop(new_place)], new=True),
        )
        pairs = _edited(old, new)
        rest = (
            [index for index in range(len(side)) if index not in taken]
            for side, taken in (
                (old, {before for before, _ in pairs}),
                (new, {after for _, after in pairs}),
            )
        )
        settle(old, new, pairs + list(zip(*rest, strict=False)))
    old, new = _without_same(
        found(by_place[0].values(), new=False), found(by_place[1].values(), new=True)
    )
    settle(old, new, _edited(old, new))
    for _, change in sorted(changes, key=lambda each: each[0]):
        out.say(change)
    out.hunks = list(_hunks(gone, came, anchors, partners))


def _edited(old: Sequence[_Found], new: Sequence[_Found]) -> list[tuple[int, int]]:
    return edited([each.record for each in old], [each.record for each in new])


def _without_same(
    old: Sequence[_Found], new: Sequence[_Found]
) -> tuple[list[_Found], list[_Found]]:
    """Leaves out records that both hold: they were only grouped in another way."""
    both = Counter(each.record.key for each in old) & Counter(each.record.key for each in new)
    if not both:
        return list(old), list(new)
    sides = []
    for side in (old, new):
        left = Counter(both)
        kept = []
        for each in side:
            if left[each.record.key]:
                left[each.record.key] -= 1
            else:
                kept.append(each)
        sides.append(kept)
    return sides[0], sides[1]


def _anchors(new_to_old: "array[int]", came: Sequence[Placed]) -> dict[int, int]:
    """Gives, for the place of each that came, the old place of the matched one before it."""
    wanted = {each.place for each in came}
    anchors: dict[int, int] = {}
    last = _NONE
    for place, old in enumerate(new_to_old):
        if old != _NONE:
            last = old
        elif place in wanted:
            anchors[place] = last
    return anchors


def _hunks(
    gone: Sequence[Placed],
    came: Sequence[Placed],
    anchors: dict[int, int],
    partners: dict[int, int],
) -> Iterator[Hunk]:
    """Puts what went and what came at one place together, in the order of the old file."""
    items: list[tuple[_Rank, Placed]] = [((each.place, 0, 0), each) for each in gone]
    for each in came:
        partner = partners.get(each.place)
        rank = (anchors[each.place], 2, each.place)
        items.append((rank if partner is None else (partner, 1, each.place), each))
    items.sort(key=lambda item: item[0])
    for _, group in groupby(items, key=lambda item: item[0][0]):
        members = list(group)
        yield Hunk(
            tuple(each for rank, each in members if rank[1] == 0),
            tuple(each for rank, each in members if rank[1] > 0),
        )
