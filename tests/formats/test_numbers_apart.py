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
            end = "\t\t\t20260131\t\t\r\n"
            return "".join([line % side + end for side in sides]).encode()
        case "sie":
            lines = f"#TRANS 1930 {{}} -{amount}.00\r\n#TRANS 5410 {{}} {amount}.00\r\n"
            return f'#VER A 9{number} 20250401 "{text}"\r\n{{\r\n{lines}}}\r\n'.encode()
        case "ledger":
            lines = f"    Expenses:A  CHF {amount}.00\n    Assets:Bank\n"
            return f"\n2025/04/01 (9{number}) {text}\n{lines}".encode()
        case _:
            start = f"31.01.2025;K-9{number};"
            sides = (f"1000;{text};S;{amount},00;;r\r\n", f"3400;{text};H;{amount},00;;r\r\n")
            return "".join([start + side for side in sides]).encode()


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
