"""What a save changed: the old segments of a record file against the new ones.

Elements are matched by segment key, the k-th occurrence with the k-th, and stay where they are as
long as their order does (the longest increasing subsequence). What has no match is removed or
added, or, between the same neighbours and with nothing but its text changed, edited.

Segments with an identity are matched by that alone: with other content they are edited, and added
elsewhere they are the same element still (``crdt.named``). Of several with one identity in one file
one is that element, the others stand alone.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core.crdt import (
    RUN_SEGMENTS_MAX,
    Element,
    Value,
    alone,
    between,
    identity_of,
    position,
)
from p2psync.core.ops import Edits, Lines, OpId, Run
from p2psync.core.records import Segment
from p2psync.limits import ENTRY_PAYLOAD_TARGET_BYTES, POSITION_BASE_BYTES_MAX

Shown = tuple[Element, Value]
_OVERHEAD_BYTES = 40


@dataclass(frozen=True, slots=True)
class _Plan:
    adds: list[tuple[bytes | None, bytes | None, list[Segment]]]
    edits: list[tuple[OpId, bytes]]
    removes: list[OpId]
    held: set[bytes] = field(default_factory=set)
    """Identities whose element stays: another segment with one of them stands alone."""


def diff(file: bytes, old: Sequence[Shown], new: Sequence[Segment], tie: bytes) -> list[Lines]:
    """Return operations that turn ``old`` into ``new``, each small enough for one entry.

    ``old`` is what the file was written from, in order; ``tie`` is the author's log. Empty when
    nothing changed.
    """
    plan = _plan(old, new)
    try:
        return list(_operations(file, plan, tie))
    except ValueError:  # no room between two positions: number the whole file anew
        rewrite = _Plan(
            [(None, None, list(new))],
            [],
            [value_id for element, value in old for value_id in element.behind(value)],
        )
        return list(_operations(file, rewrite, tie))


def _plan(old: Sequence[Shown], new: Sequence[Segment]) -> _Plan:
    start, end = _common(old, new)
    old_middle = old[start : len(old) - end]
    new_middle = new[start : len(new) - end]
    plan = _Plan([], [], [])
    if _has_identities(old_middle, new_middle):
        start = end = 0
        old_middle, new_middle = old, new
        kept = _matches_of_identities(old, new, plan.held)
    else:
        kept = _matches(old_middle, new_middle)

    bound_left = old[start - 1][0].position if start else None
    bound_right = old[len(old) - end][0].position if end else None
    old_at = new_at = 0
    left = bound_left
    for old_index, new_index in [*kept, (len(old_middle), len(new_middle))]:
        last = old_index == len(old_middle)
        right = bound_right if last else old_middle[old_index][0].position
        gone = old_middle[old_at:old_index]
        come = new_middle[new_at:new_index]
        left = _gap(plan, gone, come, left, right)
        if not last:
            element, value = old_middle[old_index]
            if value.raw != new_middle[new_index].raw:
                plan.edits.append((element.id, new_middle[new_index].raw))
                plan.removes.extend(element.behind(value))
            left = element.position
        old_at, new_at = old_index + 1, new_index + 1
    return plan


def _common(old: Sequence[Shown], new: Sequence[Segment]) -> tuple[int, int]:
    """How many segments are the very same at the start and at the end."""
    most = min(len(old), len(new))
    start = 0
    while start < most and old[start][1].raw == new[start].raw:
        start += 1
    end = 0
    while end < most - start and old[-1 - end][1].raw == new[-1 - end].raw:
        end += 1
    return start, end


def _matches(old: Sequence[Shown], new: Sequence[Segment]) -> list[tuple[int, int]]:
    """Pairs (old index, new index) of equal keys, ascending in both.

    One of several contents that an element shows has a pair only when it is the very same: an edit
    would change its place among the others.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    exact: dict[bytes, list[int]] = defaultdict(list)
    for index in range(len(old) - 1, -1, -1):
        element, value = old[index]
        if len(element.shown()) == 1:
            places[value.segment.key].append(index)
        else:
            exact[value.raw].append(index)
    pairs: list[tuple[int, int]] = []
    for index, segment in enumerate(new):
        candidates = exact.get(segment.raw) or places.get(segment.key)
        if candidates:
            pairs.append((candidates.pop(), index))
    return _increasing(pairs)


def _has_identities(old: Sequence[Shown], new: Sequence[Segment]) -> bool:
    return any(segment.identity is not None for segment in new) or any(
        identity_of(element.id) is not None for element, _ in old
    )


def _matches_of_identities(
    old: Sequence[Shown], new: Sequence[Segment], held: set[bytes]
) -> list[tuple[int, int]]:
    """Do ``_matches`` where segments have identities; collect those whose element stays.

    One that stands alone is matched only while another one is the element of its identity.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    exact: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    standing: set[bytes | None] = set()
    """Identities of those that stand alone: of others nobody has to read the key."""
    for index in range(len(old) - 1, -1, -1):
        element, value = old[index]
        name = identity_of(element.id)
        if len(element.shown()) > 1:
            exact[name or b"", value.raw].append(index)
        elif name is None:
            segment = value.segment
            places[segment.key + (segment.identity or b"")].append(index)
            standing.add(segment.identity)
        else:
            places[name].append(index)
    pairs: list[tuple[int, int]] = []
    for index, segment in enumerate(new):
        name = segment.identity
        candidates = (
            exact.get((name or b"", segment.raw))
            or places.get(name or segment.key)
            or (places.get(segment.key + name) if name and name in standing else None)
        )
        if candidates:
            pairs.append((candidates.pop(), index))
    kept = _increasing(pairs)
    for old_index, _ in kept:
        name = identity_of(old[old_index][0].id)
        if name is not None:
            held.add(name)
    return [
        (old_index, new_index)
        for old_index, new_index in kept
        if (name := new[new_index].identity) is None or name in held
    ]


def _increasing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest subsequence whose first items rise too (Fredman 1975)."""
    tails: list[int] = []
    tail_at: list[int] = []
    before: list[int] = []
    for index, (old_index, _) in enumerate(pairs):
        place = bisect_left(tails, old_index)
        before.append(tail_at[place - 1] if place else -1)
        if place == len(tails):
            tails.append(old_index)
            tail_at.append(index)
        else:
            tails[place] = old_index
            tail_at[place] = index
    out: list[tuple[int, int]] = []
    index = tail_at[-1] if tail_at else -1
    while index >= 0:
        out.append(pairs[index])
        index = before[index]
    out.reverse()
    return out


def _gap(
    plan: _Plan,
    gone: Sequence[Shown],
    come: Sequence[Segment],
    left: bytes | None,
    right: bytes | None,
) -> bytes | None:
    """Plan what stands between two kept neighbours; return the position on its left end."""
    editable: dict[bytes, list[int]] = defaultdict(list)
    for index in range(len(gone) - 1, -1, -1):
        element, value = gone[index]
        segment = value.segment
        if segment.record_count and segment.identity is None and len(element.shown()) == 1:
            editable[segment.money_key].append(index)
    run: list[Segment] = []
    edited_up_to = -1
    taken: set[int] = set()
    for segment in come:
        editing = segment.record_count and segment.identity is None
        candidates = editable.get(segment.money_key, []) if editing else []
        while candidates and candidates[-1] <= edited_up_to:
            candidates.pop()
        if candidates:
            place = candidates.pop()
            element, value = gone[place]
            if run:
                plan.adds.append((left, element.position, run))
                run = []
            plan.edits.append((element.id, segment.raw))
            plan.removes.extend(element.behind(value))
            taken.add(place)
            edited_up_to = place
            left = element.position
        else:
            run.append(segment)
    if run:
        plan.adds.append((left, right, run))
    for index, (element, value) in enumerate(gone):
        if index not in taken:
            plan.removes.extend(element.behind(value))
    return left


def _operations(file: bytes, plan: _Plan, tie: bytes) -> Iterator[Lines]:
    """Cut a plan into operations of a bounded size."""
    adds: list[Run] = []
    edits: list[tuple[OpId, bytes]] = []
    removes: list[OpId] = []
    size = 0

    def flush() -> Lines:
        nonlocal adds, edits, removes, size
        edits.sort()
        operation = Lines(
            file,
            tuple(adds),
            Edits(tuple(element for element, _ in edits), tuple(raw for _, raw in edits)),
            tuple(sorted(removes)),
        )
        adds, edits, removes, size = [], [], [], 0
        return operation

    held = set(plan.held)
    for left, right, segments in plan.adds:
        at = left
        pending: list[bytes] = []
        base, stands_alone = between(at, right, tie), False
        for segment in segments:
            raw, identity = segment.raw, segment.identity
            is_alone = identity in held
            if identity is not None:
                held.add(identity)
            full = size + len(raw) > ENTRY_PAYLOAD_TARGET_BYTES
            if full or is_alone != stands_alone or len(pending) >= RUN_SEGMENTS_MAX:
                if pending:
                    at = position(base, len(pending) - 1)
                    adds.append(Run(base, tuple(pending)))
                    pending = []
                base, stands_alone = between(at, right, tie), is_alone
                if is_alone:
                    base = alone(base)
                if full and size:
                    yield flush()
            if len(base) > POSITION_BASE_BYTES_MAX:
                raise ValueError("positions too long")
            pending.append(raw)
            size += len(raw) + 5
        adds.append(Run(base, tuple(pending)))
        size += len(base)
    for element, raw in plan.edits:
        if size + len(raw) + _OVERHEAD_BYTES > ENTRY_PAYLOAD_TARGET_BYTES and size:
            yield flush()
        edits.append((element, raw))
        size += len(raw) + _OVERHEAD_BYTES
    for value in dict.fromkeys(plan.removes):
        if size + _OVERHEAD_BYTES > ENTRY_PAYLOAD_TARGET_BYTES:
            yield flush()
        removes.append(value)
        size += _OVERHEAD_BYTES
    if adds or edits or removes:
        yield flush()
