"""What people save of one file while apart: the same file for all, with all that each added."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.body import apply_lines
from p2psync.core.crdt import SegmentSet
from p2psync.core.diff import diff
from p2psync.core.ops import Lines
from p2psync.formats import registry
from p2psync.formats.base import Format
from tests.formats.files import EXAMPLES

_FILE = b"f" * 16
_NAMES = (
    "norrvik_2025.se",
    "rivage_2021_type3.v11",
    "rivage_2025.beancount",
    "rivage_2025.journal",
)
BASES = {
    registry.find(name, b"").name: (EXAMPLES / name).read_bytes().replace(b"\r\n", b"\n")
    for name in _NAMES
}


def piece(name: str, number: int) -> bytes:
    """Gives a block that no other number gives."""
    match name:
        case "sie":
            lines = b"#TRANS 1510 {} %d\n#TRANS 3010 {} -%d\n" % (number, number)
            return b"#VER C %d 20250401 x\n{\n%b}\n" % (number, lines)
        case "bvr-v11":
            line = b"002010001234%027d%010d0000  0000210401210401210402%023d\n"
            total = b"999010001234%b%012d%012d210402%b%b\n"
            rest = (b"9" * 27, number, 1, b"0" * 9, b" " * 22)
            return line % (number, number, 0) + total % rest
        case "beancount":
            return b'\n2025-04-01 * "x"\n  Assets:A  %d CHF\n  Assets:B\n' % number
        case _:
            return b"\n2025/04/01 x\n  Assets:A  %d CHF\n  Assets:B\n" % number


Known = dict[bytes, tuple[bytes, int, Lines]]


class Author:
    """Somebody who saves a file and learns what others saved."""

    def __init__(self, form: Format, letter: int) -> None:
        self.form = form
        self.log = bytes([letter]) * 32
        self.known: Known = {}
        self.state = SegmentSet(registry.read_segment, form.name)

    def save(self, data: bytes) -> None:
        document = self.form.parse(data)
        assert document.mergeable
        for operation in diff(_FILE, list(self.state.shown()), document.segments, self.log):
            stamp = 1 + max([each for _, each, _ in self.known.values()], default=0)
            entry = self.log[:24] + stamp.to_bytes(8, "big")
            self.known[entry] = entry, stamp, operation
            apply_lines(self.state, [self.known[entry]])
        assert self.state.emit() == data

    def learn(self, known: Known) -> None:
        fresh = {entry: change for entry, change in known.items() if entry not in self.known}
        apply_lines(self.state, list(fresh.values()))
        self.known |= fresh


_EDITS = st.lists(
    st.tuples(st.sampled_from(["add", "drop", "swap"]), st.integers(0, 40), st.integers(0, 40)),
    min_size=1,
    max_size=4,
)


def _edited(form: Format, data: bytes, edits: Sequence[tuple[str, int, int]], start: int) -> bytes:
    raws = [segment.raw for segment in form.parse(data).segments]
    for number, (what, one, other) in enumerate(edits, start):
        one, other = one % (len(raws) + 1), other % (len(raws) + 1)
        match what:
            case "add":
                raws.insert(one, piece(form.name, number))
            case "drop":
                raws[one : one + 1] = []
            case _ if one < len(raws) and other < len(raws):
                raws[one], raws[other] = raws[other], raws[one]
    return b"".join(raws)


@pytest.mark.parametrize("name", sorted(BASES))
@settings(max_examples=40)
@given(saves=st.tuples(_EDITS, _EDITS, _EDITS))
def test_merging_commutes_is_associative_and_idempotent_and_loses_nothing(
    name: str, saves: tuple[Sequence[tuple[str, int, int]], ...]
) -> None:
    form = registry.by_name(name)
    first = Author(form, 65)
    first.save(BASES[name])
    authors = []
    for place, edits in enumerate(saves):
        author = Author(form, 66 + place)
        author.learn(first.known)
        author.save(_edited(form, BASES[name], edits, 100 * (place + 1)) or BASES[name])
        authors.append(author)

    merged = set()
    for order in (authors, authors[::-1], [authors[1], authors[2], authors[0]]):
        reader = Author(form, 90)
        for author in order:
            reader.learn(author.known)
            reader.learn(author.known)
        merged.add(reader.state.emit())
    together = Author(form, 91)
    for author in authors[1:]:
        together.learn(author.known)
    authors[0].learn(together.known)
    merged.add(authors[0].state.emit())
    (data,) = merged

    document = form.parse(data)
    assert document.mergeable or not data
    held = Counter(record.key for each in document.segments for record in each.records)
    assert held == authors[0].state.records
    for place, edits in enumerate(saves):
        for number, (what, _, _) in enumerate(edits, 100 * (place + 1)):
            if what == "add":
                added = form.read_segment(piece(name, number)).records
                kept = _edited(form, BASES[name], edits, 100 * (place + 1))
                if piece(name, number) in kept:
                    assert all(held[record.key] == 1 for record in added)
