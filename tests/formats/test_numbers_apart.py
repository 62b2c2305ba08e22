"""Two programs that number their entries take one number while apart: nothing of it is lost.

A bank's reference is the same wherever it is imported; the number of a voucher is not.
"""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.choice import chosen
from tests.formats.files import EXAMPLES
from tests.formats.merging import Device

_DEFINITION = 'identity = ["voucher", "account"]\n' + (EXAMPLES / "kassenbuch.toml").read_text()
FORMS = {
    "fec": registry.by_name("fec"),
    "sie": registry.by_name("sie"),
    "ledger": registry.by_name("ledger"),
    "identified": chosen(_DEFINITION),
}
BASES = {
    "fec": "librairie_FEC_20251231.txt",
    "sie": "norrvik_2025.se",
    "ledger": "rivage_2025.journal",
    "identified": "kassenbuch_2025-01.txt",
}


def entry(kind: str, number: int, amount: int, text: str) -> bytes:
    """Gives an entry between the same two accounts; its paper is named by its journal alone."""
    match kind:
        case "fec":
            line = f"CA\tCaisse\t9{number}\t20250304\t%s\tx\t\t\tZ\t20250304\t{text}\t%s"
            sides = (("530000", f"{amount},00\t0,00"), ("707000", f"0,00\t{amount},00"))
            rest = "\t\t\t20260131\t\t\r\n"
            return "".join([line % side + rest for side in sides]).encode()
        case "sie":
            lines = f"#TRANS 1930 {{}} -{amount}.00\r\n#TRANS 5410 {{}} {amount}.00\r\n"
            return f'#VER A 9{number} 20250401 "{text}"\r\n{{\r\n{lines}}}\r\n'.encode()
        case "ledger":
            lines = f"    Expenses:A  CHF {amount}.00\n    Assets:Bank\n"
            return f"\n2025/04/01 (9{number}) {text}\n{lines}".encode()
        case _:
            start = f"31.01.2025;K-9{number};"
            ends = (f"1000;{text};S;{amount},00;;r\r\n", f"3400;{text};H;{amount},00;;r\r\n")
            return "".join([start + end for end in ends]).encode()


_BOOKED = st.dictionaries(
    st.integers(1, 2), st.tuples(st.integers(1, 2), st.sampled_from("ab")), max_size=2
)
"""By number, which one program never uses twice: amount and text."""


def _records(form: Format, data: bytes) -> Counter[bytes]:
    document = form.parse(data)
    return Counter(record.key for segment in document.segments for record in segment.records)


@pytest.mark.parametrize("kind", sorted(FORMS))
@settings(max_examples=30)
@given(left=_BOOKED, right=_BOOKED, later=_BOOKED)
@example({1: (1, "a")}, {1: (1, "b")}, {})
@example({1: (1, "a")}, {1: (1, "b")}, {1: (1, "a")})
def test_each_entry_of_both_counts_once_whatever_its_number(
    kind: str, left: dict[int, tuple[int, str]], right: dict[int, tuple[int, str]], later: object
) -> None:
    form = FORMS[kind]
    base = Path(EXAMPLES / BASES[kind]).read_bytes()
    one, other = Device(form, b"a" * 32), Device(form, b"b" * 32)
    one.save(base)
    other.learn(one)
    booked = [
        [entry(kind, number, *said) for number, said in sorted(each.items())]
        for each in (left, right)
    ]
    one.save(base + b"".join(booked[0]))
    other.save(base + b"".join(booked[1]))
    one.learn(other)
    other.learn(one)
    # The naive model: what either of them booked, and once what both booked alike.
    expected = _records(form, base + b"".join(sorted({*booked[0], *booked[1]})))
    assert _records(form, one.state.emit()) == expected == one.state.records
    assert other.state.emit() == one.state.emit()
    shared = left.keys() & right.keys()
    # Whoever looks is told of each number that stands for two entries.
    assert bool(one.state.conflicts) == any(left[each] != right[each] for each in shared)
    # One side corrects the file: takes the numbers of its own, or drops what the other one has.
    assert isinstance(later, dict)
    mended = base + b"".join([entry(kind, number, *said) for number, said in sorted(later.items())])
    one.save(mended)
    other.learn(one)
    assert other.state.emit() == mended
    assert not other.state.conflicts
    assert form.parse(mended).mergeable


_ENTRIES = {
    kind: {
        entry(kind, number, amount, text): number
        for number in (1, 2)
        for amount in (1, 2)
        for text in "ab"
    }
    for kind in FORMS
}
_STEP = st.tuples(
    st.sampled_from(["put", "put", "drop", "meet"]),
    st.booleans(),
    st.integers(1, 2),
    st.tuples(st.integers(1, 2), st.sampled_from("ab")),
)


class _Model:
    """What each number stands for: contents, each with the saves that put it there (an OR-set)."""

    def __init__(self) -> None:
        self.put: set[tuple[int, bytes, int]] = set()
        self.gone: set[tuple[int, bytes, int]] = set()

    def shown(self) -> set[bytes]:
        return {raw for _, raw, _ in self.put - self.gone}

    def save(self, number: int, raws: set[bytes], at: int) -> None:
        before = {each for each in self.put - self.gone if each[0] == number}
        self.gone |= {each for each in before if each[1] not in raws}
        self.put |= {(number, raw, at) for raw in raws - {each[1] for each in before}}

    def learn(self, other: "_Model") -> None:
        self.put |= other.put
        self.gone |= other.gone


@pytest.mark.parametrize("kind", sorted(FORMS))
@settings(max_examples=15)
@given(steps=st.lists(_STEP, max_size=10))
def test_saves_apart_are_those_of_a_set_of_numbered_contents(
    kind: str, steps: list[tuple[str, bool, int, tuple[int, str]]]
) -> None:
    """Edit, delete and book again under one number, on both sides, in any order."""
    form, entries = FORMS[kind], _ENTRIES[kind]
    base = Path(EXAMPLES / BASES[kind]).read_bytes()
    devices = Device(form, b"a" * 32), Device(form, b"b" * 32)
    models = _Model(), _Model()
    devices[0].save(base)
    devices[1].learn(devices[0])
    for at, (what, second, number, said) in enumerate([*steps, ("meet", False, 1, (1, "a"))]):
        device, model = devices[second], models[second]
        if what == "meet":
            for one, other in ((0, 1), (1, 0)):
                devices[one].learn(devices[other])
                models[one].learn(models[other])
        else:
            raws = [each.raw for each in form.parse(device.state.emit()).segments]
            put = [entry(kind, number, *said)] if what == "put" else []
            places = [at for at, raw in enumerate(raws) if entries.get(raw) == number]
            first = places[0] if places else len(raws)
            rest = [raw for raw in raws[first:] if entries.get(raw) != number]
            device.save(b"".join(raws[:first] + put + rest))
            model.save(number, set(put), at)
        for device, model in zip(devices, models, strict=True):
            expected = _records(form, base + b"".join(sorted(model.shown())))
            assert _records(form, device.state.emit()) == expected == device.state.records
    assert devices[0].state.emit() == devices[1].state.emit()
