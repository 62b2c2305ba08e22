"""What people save of a file of lines while apart: the same file for all, nothing added is lost."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.choice import chosen
from tests.formats.files import EXAMPLES
from tests.formats.test_block_merge import Author

_NAMES = {
    "fec": "librairie_FEC_20251231.txt",
    "datev": "EXTF_Buchungsstapel_2025-02.csv",
    "delimited": "kassenbuch_2025-01.txt",
    "identified": "kassenbuch_2025-01.txt",
}
BASES = {kind: (EXAMPLES / name).read_bytes() for kind, name in _NAMES.items()}
_DEFINITION = (EXAMPLES / "kassenbuch.toml").read_text("utf-8")
FORMS = {
    "fec": registry.by_name("fec"),
    "datev": registry.by_name("datev-postings:20250101"),
    "delimited": chosen(_DEFINITION),
    "identified": chosen('identity = ["voucher", "account"]\n' + _DEFINITION),
}


def piece(kind: str, number: int, cents: int) -> bytes:
    """Gives an entry of that number and amount."""
    amount = f"{cents // 100},{cents % 100:02}"
    match kind:
        case "fec":
            start = f"VE\tVentes\t{number}\t20250304\t"
            end = f"\tCompte\t\t\tF-{number}\t20250304\tx\t"
            lines = [
                f"{start}411000{end}{amount}\t0,00\t\t\t20260131\t\t\r\n",
                f"{start}707000{end}0,00\t{amount}\t\t\t20260131\t\t\r\n",
            ]
        case "datev":
            line = BASES[kind].splitlines(keepends=True)[2].decode("cp1252")
            lines = [line.replace("1190,00", amount).replace("RE-2025-11", f"R-{number}")]
        case _:
            start = f"31.01.2025;K-{number};"
            lines = [f"{start}1000;x;S;{amount};;rolf\r\n", f"{start}3400;x;H;{amount};;rolf\r\n"]
    return "".join(lines).encode("cp1252")


Save = list[tuple[str, int, int, int]]
_EDIT = st.tuples(
    st.sampled_from(["add", "add", "drop", "swap"]),
    st.integers(0, 12),
    st.integers(1, 4),
    st.integers(1, 3),
)
_SAVE: st.SearchStrategy[Save] = st.lists(_EDIT, min_size=1, max_size=4)


def _edited(form: Format, kind: str, edits: Save) -> tuple[bytes, Counter[bytes]]:
    """The file after some edits, and the records that they added and left."""
    raws = [segment.raw for segment in form.parse(BASES[kind]).segments]
    first = next(place for place, raw in enumerate(raws) if form.read_segment(raw).record_count)
    added: list[bytes] = []
    for what, at, number, cents in edits:
        place = first + at % (len(raws) - first)
        match what:
            case "add":
                added.append(piece(kind, number, cents))
                raws.insert(place, added[-1])
            case "drop" if len(raws) > first + 1:
                gone = raws.pop(place)
                if gone in added:
                    added.remove(gone)
            case "swap":
                raws[first], raws[place] = raws[place], raws[first]
    keys = Counter(record.key for raw in added for record in form.read_segment(raw).records)
    return b"".join(raws), keys


@pytest.mark.parametrize("kind", sorted(FORMS))
@settings(max_examples=60)
@given(saves=st.tuples(_SAVE, _SAVE, _SAVE))
@example(saves=([("add", 3, 1, 1)], [("add", 3, 1, 2)], [("add", 3, 1, 3)]))
@example(saves=([("add", 3, 1, 1), ("add", 3, 1, 2)], [("add", 5, 1, 1)], [("swap", 3, 1, 1)]))
def test_merging_commutes_is_associative_and_idempotent_and_loses_nothing(
    kind: str, saves: tuple[Save, Save, Save]
) -> None:
    form = FORMS[kind]
    first = Author(form, 65)
    first.save(BASES[kind])
    authors, additions = [], []
    for place, edits in enumerate(saves):
        author = Author(form, 66 + place)
        author.learn(first.known)
        data, added = _edited(form, kind, edits)
        author.save(data)
        authors.append(author)
        additions.append(added)

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
    assert document.mergeable
    held = Counter(record.key for each in document.segments for record in each.records)
    assert held == authors[0].state.records
    for added in additions:
        # The very same entry, with its number, that two people add is one where numbers identify.
        assert not added - held
