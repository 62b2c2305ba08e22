"""Segments with a stable identifier: one element whatever changes, and never counted twice."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.body import Body, PendingRecord, apply_lines
from p2psync.core.crdt import Change, SegmentSet, alone, named, position
from p2psync.core.diff import diff
from p2psync.core.ops import OpId
from p2psync.core.records import Segment, identifies
from tests.core.lines import FILE, Author, merged, read, segments

_named = st.builds(
    lambda name, money, text, number: f"@{name} {money} | {text} # {number}\n".encode(),
    st.sampled_from("abc"),
    st.integers(0, 2),
    st.sampled_from("xy"),
    st.integers(0, 1),
)
_plain = st.builds(
    lambda money, text: f"{money} | {text}\n".encode(), st.integers(0, 2), st.sampled_from("xy")
)
_line = _named | _plain | st.sampled_from([b"header\n", b"@h head # 1\n", b"@h head # 2\n"])
_any = st.lists(_line, max_size=7).map(b"".join)
_unique = st.lists(_named, max_size=4, unique_by=lambda raw: raw.split()[0]).map(b"".join)


def _scripts(documents: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[int, object]]]:
    return st.lists(
        st.tuples(st.integers(0, 2), st.one_of(documents, st.integers(0, 2))), max_size=12
    )


def _played(script: list[tuple[int, object]]) -> list[Author]:
    authors = [Author(bytes([65 + place]) * 32) for place in range(3)]
    for place, action in script:
        if isinstance(action, int):
            authors[place].learn(authors[action])
        else:
            assert isinstance(action, bytes)
            authors[place].save(action)
            assert authors[place].state.emit() == action
    return authors


def _name(raw: bytes) -> bytes:
    return raw.split()[0] if raw.startswith(b"@") else b""


# -- one save after the other -------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(_any, min_size=1, max_size=6))
def test_each_save_gives_exactly_its_bytes(saves: list[bytes]) -> None:
    """Also where lines move, and where one identifier stands there twice."""
    author = Author(b"a" * 32)
    for data in saves:
        author.save(data)
        assert author.state.emit() == data
    assert merged(author.known).emit() == saves[-1]
    assert diff(FILE, list(author.state.shown()), segments(saves[-1]), author.log) == []


@settings(deadline=None)
@given(_unique, _unique)
def test_an_identifier_is_one_element_wherever_it_stands(before: bytes, after: bytes) -> None:
    author = Author(b"a" * 32)
    for data in (before, after):
        author.save(data)
        for element, value in author.state.shown():
            assert value.segment.identity is not None
            assert element.id == named(value.segment.identity)


def test_another_amount_in_its_place_is_an_edit_without_a_new_place() -> None:
    author = Author(b"a" * 32)
    author.save(b"@a 1 | x\n@b 2 | y\n@c 3 | z\n")
    ((_, _, operation),) = author.save(b"@a 1 | x\n@b 9 | y\n@c 3 | z\n")
    assert not operation.adds
    assert operation.edits.elements == (named(segments(b"@b")[0].identity or b""),)


def test_one_that_stood_alone_becomes_the_element_when_the_other_goes() -> None:
    author, other = Author(b"a" * 32), Author(b"b" * 32)
    author.save(b"@a 1 | x\n0 | -\n@a 2 | y\n")
    author.save(b"0 | -\n@a 2 | y\n")
    other.save(b"@a 2 | y\n")
    author.learn(other)
    assert [_name(line) for line in author.lines()].count(b"@a") == 1


# -- apart ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(_scripts(_any), st.randoms(use_true_random=False))
def test_any_order_of_the_same_saves_gives_the_same_file(
    script: list[tuple[int, object]], chance: random.Random
) -> None:
    authors = _played(script)
    everything = Author(b"z" * 32)
    for author in authors:
        everything.learn(author)
    expected = _seen(everything.state)
    shuffled = list(everything.known)
    for _ in range(4):
        chance.shuffle(shuffled)
        assert _seen(merged(shuffled)) == expected


def _seen(state: SegmentSet) -> tuple[object, ...]:
    places = [
        (element.id, element.position, [each.id for each in element.values])
        for element in sorted(state.elements.values(), key=lambda each: each.id)
    ]
    return state.emit(), dict(state.records), state.conflicts, places, dict(state.archive)


@settings(deadline=None)
@given(_scripts(_any), _any)
def test_a_save_after_merges_gives_exactly_its_bytes(
    script: list[tuple[int, object]], last: bytes
) -> None:
    authors = _played(script)
    for other in authors:
        authors[0].learn(other)
    authors[0].save(last)
    assert authors[0].state.emit() == last


@settings(deadline=None)
@given(_scripts(_unique))
def test_nothing_is_counted_twice(script: list[tuple[int, object]]) -> None:
    """Of one identifier everything that is shown says different money."""
    authors = _played(script)
    for other in authors:
        authors[0].learn(other)
    shown = [(_name(raw), read("", raw).money_key) for raw in authors[0].lines()]
    assert len(shown) == len(set(shown))
    assert authors[0].state.record_count() == len(shown)


@settings(deadline=None)
@given(_unique, _unique, _unique)
def test_two_saves_at_once_lose_nothing(base: bytes, left: bytes, right: bytes) -> None:
    one, other = Author(b"a" * 32), Author(b"b" * 32)
    one.save(base)
    other.learn(one)
    one.save(left)
    other.save(right)
    one.learn(other)
    other.learn(one)
    assert one.state.emit() == other.state.emit()
    shown = {read("", raw).money_key for raw in one.lines()}
    kept = {read("", raw).money_key for raw in base.splitlines(keepends=True)}
    for side in (left, right):
        wanted = {read("", raw).money_key for raw in side.splitlines(keepends=True)}
        assert wanted - kept <= shown


def _apart(left: bytes, right: bytes, base: bytes = b"") -> Author:
    one, other = Author(b"a" * 32), Author(b"b" * 32)
    one.save(base)
    other.learn(one)
    one.save(left)
    other.save(right)
    one.learn(other)
    other.learn(one)
    assert one.state.emit() == other.state.emit()
    return one


def test_one_statement_imported_on_both_sides_is_there_once() -> None:
    statement = b"@a 1 | x\n@b 2 | y\n"
    assert _apart(b"head\n" + statement, b"head\n" + statement, b"head\n").lines() == [
        b"head\n",
        b"@a 1 | x\n",
        b"@b 2 | y\n",
    ]


def test_two_statements_that_overlap_are_there_with_what_each_has() -> None:
    one = _apart(b"@a 1 | x\n@b 2 | y\n", b"@b 2 | y\n@c 3 | z\n")
    assert sorted(one.lines()) == [b"@a 1 | x\n", b"@b 2 | y\n", b"@c 3 | z\n"]
    assert one.state.record_count() == 3


def test_two_amounts_of_one_identifier_both_stand_there_until_somebody_settles_it() -> None:
    one = _apart(b"@a 1 | x\n", b"@a 2 | x\n")
    assert sorted(one.lines()) == [b"@a 1 | x\n", b"@a 2 | x\n"]
    assert one.state.conflicts == 1
    one.save(one.state.emit() + b"0 | more\n")
    assert one.state.conflicts == 1
    one.save(b"@a 2 | x\n0 | more\n")
    assert one.state.conflicts == 0


def test_of_two_texts_of_one_identifier_the_last_is_shown() -> None:
    one = _apart(b"@a 1 | x\n", b"@a 1 | y\n")
    assert len(one.lines()) == 1
    assert one.state.conflicts == 0


def test_who_deletes_it_deletes_what_both_added() -> None:
    one = _apart(b"@a 1 | x\n", b"@a 1 | x\n")
    one.save(b"")
    assert one.state.emit() == b""


_ids = st.tuples(st.sampled_from([b"a" * 32, b"b" * 32, b"c" * 32]), st.integers(0, 6))
_targets = _ids | st.sampled_from(
    [named(read("", b"@%c" % name).identity or b"") for name in b"ab"]
)


@st.composite
def _operations(draw: st.DrawFn) -> list[tuple[int, Change]]:
    """Changes that need not make sense: edits and removals of what may come later, or never."""
    out: list[tuple[int, Change]] = []
    for entry in (b"a" * 32, b"b" * 32, b"c" * 32):
        number = 0
        for _ in range(draw(st.integers(0, 3))):
            adds, edits = [], []
            for _ in range(draw(st.integers(0, 3))):
                base = draw(st.sampled_from([b"k", b"l", alone(b"m")]))
                adds.append(((entry, number), position(base, number), draw(_line)))
                number += 1
            for _ in range(draw(st.integers(0, 2))):
                edits.append(((entry, number), draw(_targets), draw(_line)))
                number += 1
            removes = tuple(draw(st.sets(_ids, max_size=3)))
            out.append((draw(st.integers(0, 5)), Change(adds, edits, removes)))
    return out


def _naive(operations: list[tuple[int, Change]]) -> tuple[bytes, Counter[bytes]]:
    """The definition: values of one identity share an element, where the last of them was put."""
    removed = {value for _, change in operations for value in change.removes}
    alive: dict[OpId, list[tuple[int, OpId, Segment]]] = {}
    places: dict[OpId, tuple[int, OpId, bytes]] = {}
    for stamp, change in operations:
        for value, place, raw in change.adds:
            segment = read("", raw)
            own = segment.identity is None or place[-4:-3] == b"\0"
            element = value if own else named(segment.identity or b"")
            places[element] = max(places.get(element, (-1, value, b"")), (stamp, value, place))
            if value not in removed:
                alive.setdefault(element, []).append((stamp, value, segment))
    for stamp, change in operations:
        for value, element, raw in change.edits:
            if value not in removed and element in places:
                alive.setdefault(element, []).append((stamp, value, read("", raw)))
    out, records = b"", Counter[bytes]()
    for _, element in sorted((place, element) for element, (_, _, place) in places.items()):
        winners: dict[bytes, tuple[int, OpId, Segment]] = {}
        for item in sorted(alive.get(element, []), key=lambda item: item[:2]):
            winners[item[2].money_key if item[2].records else b""] = item
        if len(winners) > 1:
            winners.pop(b"", None)
        for item in sorted(winners.values(), key=lambda item: item[:2]):
            out += item[2].raw
            records.update(record.key for record in item[2].records)
    return out, records


@settings(deadline=None, max_examples=300)
@given(_operations(), st.randoms(use_true_random=False))
def test_the_merge_is_what_its_definition_says(
    operations: list[tuple[int, Change]], chance: random.Random
) -> None:
    out, records = _naive(operations)
    for counted in (True, False, True):
        chance.shuffle(operations)
        state = SegmentSet(read, "lines")
        if counted:
            for stamp, change in operations:
                state.apply(change, stamp)
        else:
            state.take_up(((change, stamp) for stamp, change in operations), records.total())
        assert state.emit() == out
        assert state.records == records
        assert state.record_count() == records.total()
        assert state.conflicts == sum(len(e.shown()) > 1 for e in state.elements.values())


# -- posting -------------------------------------------------------------------------------------


class _Posted:
    """A file that is saved and posted on several devices."""

    def __init__(self) -> None:
        self.author = Author(b"a" * 32)
        self.body = Body.empty(read, "lines")
        self.receipts = 0

    def save(self, data: bytes, author: Author | None = None) -> None:
        for stamp, entry, operation in (author or self.author).save(data):
            self.body.change([(entry, stamp, operation)])
        if author is not None:
            self.author.learn(author)

    def post(self) -> None:
        items = self.body.pending_items()
        self.receipts += 1
        receipt = (b"r" * 32, self.receipts)
        self.body.post(items.adds, receipt, self.receipts, adds=True)
        self.body.post(items.drops, receipt, self.receipts, adds=False)

    def waiting(self) -> list[tuple[str, str]]:
        return [_said(each) for each in self.body.pending_records()]


def _said(waiting: PendingRecord) -> tuple[str, str]:
    return waiting.change, waiting.record.text


def test_b_pos_5_a_posted_record_with_another_amount_is_taken_back_and_added() -> None:
    file = _Posted()
    file.save(b"@a 1 | x\n@b 2 | y\n")
    file.post()
    file.save(b"@b 2 | y\n@a 3 | x\n")
    assert file.waiting() == [("added", "@a 3 | x"), ("deleted", "@a 1 | x")]
    assert {each.identity for each in file.body.pending_records()} == {read("", b"@a").identity}
    items = file.body.pending_items()
    assert [element for element, _ in items.adds] == [element for element, _ in items.drops]
    file.post()
    assert (file.body.pending(), file.waiting()) == ((0, 0), [])
    file.save(b"@b 2 | y\n")
    assert file.waiting() == [("deleted", "@a 3 | x")]


def test_b_pos_6_posted_on_both_sides_it_counts_once() -> None:
    """Both import one statement and post it, before they hear of each other."""
    one, other = Author(b"a" * 32), Author(b"b" * 32)
    sides = [(author.save(b"@a 1 | x\n"), author) for author in (one, other)]
    body = Body.empty(read, "lines")
    receipts = []
    for place, (changes, author) in enumerate(sides):
        pairs = [(element.id, value.segment.key) for element, value in author.state.shown()]
        receipts.append((b"r" * 32, place))
        body.post(pairs, receipts[-1], place, adds=True)
        apply_lines(body.segments, [(entry, stamp, made) for stamp, entry, made in changes])
        body.change([])
    assert body.pending() == (0, 0)
    assert body.contested() == frozenset(receipts)


@settings(deadline=None)
@given(st.lists(st.one_of(_any, st.none()), max_size=10))
def test_b_pos_2_what_waits_is_the_difference_of_what_is_there_and_posted(
    steps: list[bytes | None],
) -> None:
    file = _Posted()
    accounting: Counter[str] = Counter()
    for step in steps:
        if step is None:
            for change, text in file.waiting():
                accounting[text] += 1 if change == "added" else -1
            file.post()
        else:
            file.save(step)
        there = Counter(r.text for s in segments(file.author.state.emit()) for r in s.records)
        waiting = Counter({"added": 0, "deleted": 0})
        waiting.update(change for change, _ in file.waiting())
        assert waiting == {
            "added": (there - accounting).total(),
            "deleted": (accounting - there).total(),
        }
        assert file.body.pending() == (waiting["added"], waiting["deleted"])


# -- formats without identities -----------------------------------------------------------------


def test_where_no_segment_can_have_an_identity_none_is_read_to_find_one() -> None:
    class Reader:
        def __init__(self) -> None:
            self.asked = 0

        def __call__(self, format_name: str, raw: bytes) -> Segment:
            self.asked += 1
            return read(format_name, raw)

        def identifies(self, format_name: str) -> bool:
            return format_name == "named"

    for name, most in (("lines", 0), ("named", 1)):
        reader = Reader()
        state = SegmentSet(reader, name)
        added = ((b"e" * 32, 0), position(b"k", 0), b"1 | x\n")
        state.take_up([(Change([added]), 1)], 1)
        assert reader.asked == most
    assert identifies(read, "any")
