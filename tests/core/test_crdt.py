"""The merge of segments: the order of arrival never matters, and nothing disappears unseen."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.crdt import RUN_SEGMENTS_MAX, Change, SegmentSet, between, pending, position
from p2psync.core.ops import OpId
from p2psync.core.records import Segment
from tests.core.lines import Author, merged, read

ONE, TWO = b"\x01one" * 8, b"\xfftwo" * 8


# -- positions ----------------------------------------------------------------------------------


def _between(left: bytes | None, right: bytes | None, tie: bytes = ONE) -> bytes:
    base = between(left, right, tie)
    first, last = position(base, 0), position(base, RUN_SEGMENTS_MAX - 1)
    assert left is None or left < first
    assert right is None or last < right
    assert not first.endswith(b"\0")
    return base


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 16), st.booleans(), st.integers(1, 300)), max_size=80)
)
def test_there_is_always_room_between_two_positions(script: list[tuple[int, bool, int]]) -> None:
    places: list[bytes] = []
    for at, mine, count in script:
        index = at % (len(places) + 1)
        left = places[index - 1] if index else None
        right = places[index] if index < len(places) else None
        base = _between(left, right, ONE if mine else TWO)
        places[index:index] = [position(base, number) for number in (0, count)]
    assert places == sorted(set(places))


@pytest.mark.parametrize("side", ["before", "after", "alternate"])
def test_thousands_of_insertions_at_one_place_stay_short(side: str) -> None:
    left, right = position(_between(None, None), 0), position(_between(None, None), 9)
    longest = 0
    for number in range(3000):
        place = position(_between(left, right), 0)
        longest = max(longest, len(place))
        if side == "before" or (side == "alternate" and number % 2):
            right = place
        else:
            left = place
    assert longest <= 1024


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
def test_positions_that_others_invent_are_survived(one: bytes, other: bytes) -> None:
    left, right = sorted((position(one, 0), position(other, 5)))
    _between(None, left)
    _between(right, None)
    if left == right:
        with pytest.raises(ValueError):
            between(left, right, ONE)
    else:
        try:
            _between(left, right)
        except ValueError:
            assert right.startswith(left)


@given(st.integers(0, RUN_SEGMENTS_MAX - 2))
def test_a_run_ascends(counter: int) -> None:
    assert position(b"base", counter) < position(b"base", counter + 1)


@settings(deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.sampled_from([b"", b"1 | a\n", b"1 | a\n2 | b\n"])
)
def test_runs_of_two_authors_do_not_mix(mine: int, theirs: int, base: bytes) -> None:
    one, other = Author(ONE), Author(TWO)
    one.save(base)
    other.learn(one)
    start = base.splitlines(keepends=True)[:1]
    rest = base.splitlines(keepends=True)[1:]
    ours = [b"1 | one %d\n" % number for number in range(mine)]
    yours = [b"1 | two %d\n" % number for number in range(theirs)]
    one.save(b"".join([*start, *ours, *rest]))
    other.save(b"".join([*start, *yours, *rest]))
    one.learn(other)
    assert one.lines() in ([*start, *ours, *yours, *rest], [*start, *yours, *ours, *rest])


# -- merging ------------------------------------------------------------------------------------


def _seen(state: SegmentSet) -> tuple[object, ...]:
    values = {
        element.id: [value.id for value in element.values]
        for element in state.elements.values()
        if element.values
    }
    return state.emit(), dict(state.records), state.conflicts, values, dict(state.archive)


_line = st.builds(
    lambda money, text, number: f"{money} | {text} # {number}\n".encode(),
    st.integers(0, 3),
    st.sampled_from("xy"),
    st.integers(0, 2),
) | st.just(b"header\n")
_documents = st.lists(_line, max_size=6).map(b"".join)
_scripts = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(_documents, st.integers(0, 2))), max_size=10
)


@settings(deadline=None)
@given(_scripts, st.randoms(use_true_random=False))
def test_any_order_of_the_same_saves_gives_the_same_file(
    script: list[tuple[int, bytes | int]], chance: random.Random
) -> None:
    authors = [Author(bytes([65 + place]) * 32) for place in range(3)]
    for place, action in script:
        if isinstance(action, int):
            authors[place].learn(authors[action])
        else:
            authors[place].save(action)
    everything = Author(b"z" * 32)
    for author in authors:
        everything.learn(author)
    expected = _seen(everything.state)
    shuffled = list(everything.known)
    for _ in range(4):
        chance.shuffle(shuffled)
        assert _seen(merged(shuffled)) == expected


_ids = st.tuples(st.sampled_from([b"a" * 32, b"b" * 32, b"c" * 32]), st.integers(0, 6))


@st.composite
def _operations(draw: st.DrawFn) -> list[tuple[int, Change]]:
    """Changes that need not make sense: edits and removals of what may come later, or never."""
    out: list[tuple[int, Change]] = []
    used: set[OpId] = set()
    for entry in (b"a" * 32, b"b" * 32, b"c" * 32):
        number = 0
        for _ in range(draw(st.integers(0, 3))):
            adds, edits = [], []
            for _ in range(draw(st.integers(0, 2))):
                place = position(draw(st.sampled_from([b"k", b"l", b"m"])), number)
                adds.append(((entry, number), place, draw(_line)))
                number += 1
            for _ in range(draw(st.integers(0, 2))):
                edits.append(((entry, number), draw(_ids), draw(_line)))
                number += 1
            used.update(value[0] for value in [*adds, *edits])
            removes = tuple(draw(st.sets(_ids, max_size=3)))
            out.append((draw(st.integers(0, 5)), Change(adds, edits, removes)))
    return out


def _naive(operations: list[tuple[int, Change]]) -> tuple[bytes, Counter[bytes]]:
    """The definition: what was added, minus what was removed, at the places of the elements."""
    removed = {value for _, change in operations for value in change.removes}
    alive: dict[OpId, list[tuple[int, OpId, Segment]]] = {}
    places = {value: place for _, change in operations for value, place, _ in change.adds}
    for stamp, change in operations:
        for value, _, raw in change.adds:
            if value not in removed:
                alive.setdefault(value, []).append((stamp, value, read("", raw)))
        for value, element, raw in change.edits:
            if value not in removed and element in places:
                alive.setdefault(element, []).append((stamp, value, read("", raw)))
    out, records = b"", Counter[bytes]()
    for _, element in sorted((place, element) for element, place in places.items()):
        winners: dict[bytes, tuple[int, OpId, Segment]] = {}
        for item in sorted(alive.get(element, []), key=lambda item: item[:2]):
            segment = item[2]
            winners[segment.money_key if segment.records else b""] = item
        if len(winners) > 1:
            winners.pop(b"", None)
        for item in sorted(winners.values(), key=lambda item: item[:2]):
            out += item[2].raw
            records.update(record.key for record in item[2].records)
    return out, records


def test_what_came_before_its_element_is_not_forgotten_with_another_that_was_removed() -> None:
    """An edit and a removal come first, then the elements of both in one operation."""
    one, two, late = (b"a" * 32, 0), (b"a" * 32, 1), (b"c" * 32, 0)
    adds = Change([(one, position(b"k", 0), b"1 | a\n"), (two, position(b"k", 1), b"2 | b\n")])
    early = Change((), [(late, two, b"2 | c\n")], [one])
    for operations in ([adds, early], [early, adds]):
        state = SegmentSet(read, "lines")
        for change in operations:
            state.apply(change, 0)
        assert state.emit() == b"2 | c\n"


@settings(deadline=None)
@given(_operations(), st.randoms(use_true_random=False))
def test_the_merge_is_what_its_definition_says(
    operations: list[tuple[int, Change]], chance: random.Random
) -> None:
    out, records = _naive(operations)
    for _ in range(3):
        chance.shuffle(operations)
        state = SegmentSet(read, "lines")
        for stamp, change in operations:
            state.apply(change, stamp)
        assert state.emit() == out
        assert state.records == records
        assert state.record_count() == records.total()
        assert state.conflicts == sum(len(e.shown()) > 1 for e in state.elements.values())


def _pair(base: bytes) -> tuple[Author, Author]:
    one, other = Author(ONE), Author(TWO)
    one.save(base)
    other.learn(one)
    return one, other


def test_an_edit_wins_over_a_removal() -> None:
    one, other = _pair(b"1 | a\n2 | b\n")
    one.save(b"1 | a\n")
    other.save(b"1 | a\n2 | corrected\n")
    one.learn(other)
    assert one.state.emit() == b"1 | a\n2 | corrected\n"


def test_of_two_texts_the_last_is_shown() -> None:
    one, other = _pair(b"1 | a\n")
    other.stamp = 100
    one.save(b"1 | mine\n")
    other.save(b"1 | yours\n")
    one.learn(other)
    assert one.state.emit() == b"1 | yours\n"
    assert one.state.conflicts == 0


def test_of_two_amounts_both_are_kept() -> None:
    one, other = _pair(b"1 | a\n")
    one.save(b"2 | a\n")
    other.save(b"3 | a\n")
    one.learn(other)
    assert sorted(one.lines()) == [b"2 | a\n", b"3 | a\n"]


def test_two_amounts_in_one_element_are_a_conflict_that_an_edit_settles() -> None:
    state = SegmentSet(read, "lines")
    base = (b"a" * 32, 0)
    state.apply(Change(adds=[(base, b"k", b"1 | a\n")]), 1)
    left, right = (b"b" * 32, 0), (b"c" * 32, 0)
    state.apply(Change(edits=[(left, base, b"2 | a\n")], removes=(base,)), 2)
    state.apply(Change(edits=[(right, base, b"3 | a\n")], removes=(base,)), 2)
    assert state.emit() == b"2 | a\n3 | a\n"
    assert state.conflicts == 1
    settled = (b"d" * 32, 0)
    state.apply(Change(edits=[(settled, base, b"3 | a\n")], removes=(left, right)), 3)
    assert state.emit() == b"3 | a\n"
    assert state.conflicts == 0


def test_content_that_is_gone_can_still_be_named() -> None:
    """A receipt names content that was edited since (B-POS-5)."""
    one, _ = _pair(b"1 | a\n")
    element = next(iter(one.state.elements))
    old = read("", b"1 | a\n")
    one.save(b"1 | b\n")
    assert one.state.segment_of(element, old.key) == old
    assert one.state.segment_of(element, read("", b"1 | b\n").key) is not None
    assert one.state.segment_of(element, b"?" * 16) is None


def test_two_identical_lines_are_two_postings() -> None:
    """B-POS-2."""
    one, _ = _pair(b"1 | a\n1 | a\n")
    assert one.state.record_count() == 2
    assert pending(one.state.records, Counter({read("", b"1 | a").key: 1})) == (1, 0)
    assert pending(Counter(), one.state.records) == (0, 2)
