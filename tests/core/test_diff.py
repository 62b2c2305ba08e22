"""What a save says: the new bytes exactly, what stayed the same, and a bounded size."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.core.crdt import Change, SegmentSet
from p2psync.core.diff import diff
from p2psync.core.ops import OpId
from p2psync.limits import ENTRY_BYTES_MAX, ENTRY_REFERENCES_MAX
from tests.core.lines import FILE, Author, merged, read, segments

_line = st.builds(
    lambda money, text, number: f"{money} | {text} # {number}\n".encode(),
    st.integers(0, 4),
    st.sampled_from("xyz"),
    st.integers(0, 3),
) | st.sampled_from([b"header\n", b"footer # 1\n", b"footer # 2\n"])
documents = st.lists(_line, max_size=10).map(b"".join)


def _identities(state: SegmentSet) -> list[tuple[OpId, bytes]]:
    return [(element.id, value.segment.key) for element, value in state.shown()]


@settings(deadline=None)
@given(st.lists(documents, min_size=1, max_size=5))
def test_each_save_gives_exactly_its_bytes(saves: list[bytes]) -> None:
    author = Author(b"a" * 32)
    for data in saves:
        author.save(data)
        assert author.state.emit() == data
    assert merged(author.known).emit() == saves[-1]
    assert diff(FILE, list(author.state.shown()), segments(saves[-1]), author.log) == []


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.one_of(documents, st.integers(0, 2))), max_size=10),
    documents,
)
def test_a_save_after_merges_gives_exactly_its_bytes(
    script: list[tuple[int, bytes | int]], last: bytes
) -> None:
    """Also where others left two contents of one line, or contents that are not shown."""
    authors = [Author(bytes([65 + place]) * 32) for place in range(3)]
    for place, action in script:
        author = authors[place]
        if isinstance(action, int):
            author.learn(authors[action])
        else:
            author.save(action)
            assert author.state.emit() == action
    for other in authors:
        authors[0].learn(other)
    authors[0].save(last)
    assert authors[0].state.emit() == last


def test_a_deleted_line_takes_its_older_contents_along() -> None:
    """Two edited the text at once: one text is shown. Who deletes the line deletes both."""
    one, other = Author(b"a" * 32), Author(b"b" * 32)
    one.save(b"10 | rent\n")
    other.learn(one)
    one.save(b"10 | rent May\n")
    other.save(b"10 | rent 5\n")
    one.learn(other)
    assert len(one.lines()) == 1
    one.save(b"")
    assert one.state.emit() == b""
    assert one.state.record_count() == 0


@settings(deadline=None)
@given(documents, st.lists(_line, min_size=2, max_size=3), st.integers(0, 9), documents)
def test_a_line_with_several_contents_is_saved_exactly(
    data: bytes, contents: list[bytes], at: int, last: bytes
) -> None:
    """Other programs may edit the money of one element at once; then it shows several lines."""
    author = Author(b"a" * 32)
    author.save(b"0 | first\n" + data)
    element = list(author.state.shown())[at % len(author.lines())][0]
    old = tuple(value.id for value in element.values)
    for number, raw in enumerate(contents):
        edit = ((bytes([number]) * 32, 0), element.id, raw)
        author.state.apply(Change(edits=[edit], removes=old), 50 + number)
    lines = author.lines()
    for new in (
        [line.replace(b"#", b"# 8") for line in lines],
        lines[: at % len(lines)] + lines[at % len(lines) + 1 :],
        [b"new\n", *lines, b"new\n"],
        last.splitlines(keepends=True),
    ):
        author.save(b"".join(new))
        assert author.lines() == new


@settings(deadline=None)
@given(documents, st.integers(1, 9))
def test_a_renumbered_file_keeps_all_its_elements(data: bytes, shift: int) -> None:
    """B-POS-2: the same postings under other numbers are no change."""
    author = Author(b"a" * 32)
    author.save(data)
    before, records = _identities(author.state), Counter(author.state.records)
    renumbered = b"".join(
        line.split(b"#")[0] + (b"# %d\n" % shift if b"#" in line else b"")
        for line in data.splitlines(keepends=True)
    )
    author.save(renumbered)
    assert _identities(author.state) == before
    assert author.state.records == records
    assert author.state.emit() == renumbered


@settings(deadline=None)
@given(st.lists(_line, max_size=10, unique_by=lambda raw: read("", raw).key), st.data())
def test_lines_that_stay_keep_their_identity(distinct: list[bytes], draw: st.DataObject) -> None:
    """What is deleted and what is inserted elsewhere touches no other line."""
    author = Author(b"a" * 32)
    author.save(b"".join(distinct))
    before = _identities(author.state)
    lines = list(enumerate(distinct))
    kept = [pair for pair in lines if draw.draw(st.booleans())]
    new: list[bytes] = []
    for number, (_, line) in enumerate(kept):
        if draw.draw(st.booleans()):
            new.append(f"new {number} | line\n".encode())
        new.append(line)
    author.save(b"".join(new))
    after = {element for element, _ in _identities(author.state)}
    survivors = Counter(key for _, key in before) & Counter(read("", line).key for _, line in kept)
    assert len(after & {element for element, _ in before}) == survivors.total()


def test_an_edited_text_keeps_its_element() -> None:
    author = Author(b"a" * 32)
    author.save(b"1 | a\n2 | b\n3 | c\n")
    before = [element for element, _ in _identities(author.state)]
    author.save(b"1 | a\n2 | corrected\n3 | c\n")
    assert [element for element, _ in _identities(author.state)] == before


def test_changed_money_is_another_posting() -> None:
    author = Author(b"a" * 32)
    author.save(b"1 | a\n2 | b\n3 | c\n")
    before = [element for element, _ in _identities(author.state)]
    author.save(b"1 | a\n9 | b\n3 | c\n")
    after = [element for element, _ in _identities(author.state)]
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] != before[1]


@settings(deadline=None)
@given(documents, documents, documents)
def test_two_saves_at_once_lose_nothing(base: bytes, left: bytes, right: bytes) -> None:
    """Every record that one of them has more often than the base is there as often, or more."""
    one, other = Author(b"a" * 32), Author(b"b" * 32)
    one.save(base)
    other.learn(one)
    one.save(left)
    other.save(right)
    one.learn(other)
    other.learn(one)
    assert one.state.emit() == other.state.emit()
    assert one.state.records == other.state.records
    counts = [Counter(r.key for s in segments(d) for r in s.records) for d in (base, left, right)]
    texts = {r.key: r.text for d in (left, right) for s in segments(d) for r in s.records}
    shown = Counter(read("", line).money_key for line in one.lines() if read("", line).records)
    for mine, theirs in ((counts[1], counts[2]), (counts[2], counts[1])):
        for key, more in (mine - counts[0]).items():
            if theirs[key] >= counts[0][key]:
                money = read("", f"{texts[key]}\n".encode()).money_key
                assert shown[money] >= more


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 1 << 32))
def test_a_large_save_is_cut_into_entries_of_a_bounded_size(seed: int) -> None:
    chance = random.Random(seed)
    first = [b"%d | first # %d\n" % (chance.randrange(999), place) for place in range(8_000)]
    second = [line for line in first if chance.random() < 0.6]
    for _ in range(150):
        at = chance.randrange(len(second))
        second[at:at] = [b"%d | %s\n" % (chance.randrange(999), b"x" * chance.randrange(4000))]
    author = Author(b"a" * 32)
    for lines in (first, second, []):
        made = author.save(b"".join(lines))
        assert author.lines() == lines
        for _, _, operation in made:
            assert len(ops.encode([operation])) < ENTRY_BYTES_MAX - 4096
            assert len(operation.removes) <= ENTRY_REFERENCES_MAX


@pytest.mark.parametrize("place", ["front", "back", "middle"])
def test_thousands_of_saves_at_one_place(place: str) -> None:
    """Positions grow; when they would grow too long the file is numbered anew."""
    author = Author(b"a" * 32)
    lines = [b"0 | first\n", b"0 | last\n"]
    author.save(b"".join(lines))
    for number in range(1, 1500):
        at = {"front": 0, "back": len(lines), "middle": 1}[place]
        lines.insert(at, b"%d | line\n" % number)
        if place != "back" and len(lines) > 40:
            del lines[20]
        if place == "back" and len(lines) > 40:
            del lines[1]
        author.save(b"".join(lines))
        assert author.lines() == lines
