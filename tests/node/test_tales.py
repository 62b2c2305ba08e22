"""What came of each record, in random histories, agrees with the fold of the same entries."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.files import POSTED, TAKEN, FileState
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.ops import Post, keyed
from p2psync.engine.ports import Touching
from p2psync.node.tales import Tale, Tales, Wanted
from tests.core.lines import FILE, read
from tests.core.office import ANNA, BEN, MANDATE, Office, actions, play

WHOLE = 1 << 30


def touching(entries: Sequence[Applied], state: Mandate) -> Iterator[Touching]:
    """What touched the file, as the archive tells it."""
    file = state.files[FILE]
    counted = {version[0]: version for version in file.versions}
    taken = {part for version in file.versions.values() for part in version.parts}
    for entry in entries:
        version = counted.get(entry.id)
        if version is not None:
            yield Touching(entry.id, version[1], 0, 0, 0, b"", entry.stamp)
        elif entry.id in taken:
            yield Touching(entry.id, TAKEN, 0, 0, 0, b"", entry.stamp)
        posts = [
            each
            for index, each in enumerate(entry.operations)
            if isinstance(each, Post) and (entry.id, index) in state.receipts
        ]
        if any(of == FILE for each in posts for of, _, _ in keyed((*each.adds, *each.drops))):
            yield Touching(entry.id, POSTED, 0, 0, 0, b"", entry.stamp)


def told(office: Office) -> tuple[FileState, list[Tale], Tales] | None:
    """The file after all that happened, and what is told of it."""
    state = Mandate.fold(MANDATE, read, office.entries)
    file = state.files.get(FILE)
    if file is None or file.added is None:
        return None
    known = {entry.id: entry for entry in office.entries}
    unposted = {receipt: (known[by[0]].stamp, by[0]) for receipt, by in state.retracted.items()}
    # An entry counts when its author was a member: as in the fold, or it is not told of.
    tales = Tales(lambda raw: read(file.info.format, raw), False, unposted)
    tales.take(
        FILE, touching(office.entries, state), lambda each: _counted(known[each.entry], state)
    )
    found, more = tales.tell(Wanted(), 0, WHOLE)
    assert more is None
    return file, found, tales


def _counted(entry: Applied, state: Mandate) -> Applied:
    """Receipts of who may not post do not count."""
    operations: list[Any] = [
        each
        for index, each in enumerate(entry.operations)
        if not isinstance(each, Post) or (entry.id, index) in state.receipts
    ]
    return replace(entry, operations=tuple(operations))


@given(st.lists(actions, max_size=40))
def test_what_is_told_is_what_the_fold_says(script: list[Any]) -> None:
    found = told(play([(ANNA, ("join", None)), (BEN, ("join", None)), *script]))
    if found is None:
        return
    file, tales, _ = found
    here = [tale for tale in tales if tale.line is not None]
    shown = Counter(value.raw for _, value in file.segments.shown() if value.segment.record_count)
    told_here = Counter(tale.raw for tale in here)
    # Of an element that two people changed at once, one tale tells; both contents may be shown.
    assert set(told_here) <= set(shown)
    assert len(here) == len(
        {element.id for element, value in file.segments.shown() if value.segment.record_count}
    )
    for tale in tales:
        assert tale.steps[0].what in ("added", "posted", "retracted")
        assert any(step.what == "added" for step in tale.steps)
        assert [step.stamp for step in tale.steps] == sorted(step.stamp for step in tale.steps)
        if tale.line is None:
            assert any(step.what == "deleted" for step in tale.steps)


@given(st.lists(actions, max_size=30), st.integers(1, 5))
def test_pages_tell_what_the_whole_tells(script: list[Any], limit: int) -> None:
    found = told(play([(ANNA, ("join", None)), (BEN, ("join", None)), *script]))
    if found is None:
        return
    _, every, tales = found
    paged: list[Tale] = []
    after: int | None = 0
    while after is not None:
        page, after = tales.tell(Wanted(), after, limit)
        paged += page
    assert paged == every
