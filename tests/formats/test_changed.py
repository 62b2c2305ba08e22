"""Which of the records that went and came are one record, edited (B-POS-5)."""

from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.records import Record
from p2psync.formats.changed import edited

NAMES = ("voucher", "date", "debit", "credit", "text", "amount")


def record(*values: str) -> Record:
    fields = dict(zip(NAMES, values, strict=True))
    return Record(b"k" * 16, b"m" * 16, "", None, None, fields)


def test_the_likeliest_pair_goes_first() -> None:
    old = record("R-1", "01.01.2025", "1100", "3400", "Poterie", "10.00")
    other = record("R-1", "09.01.2025", "1100", "3400", "Autre", "12.00")
    new = record("R-1", "01.01.2025", "1100", "3400", "Poterie", "11.00")
    assert edited([other, old], [new]) == [(1, 0)]
    assert edited([other], [new]) == [(0, 0)]


def test_what_has_nothing_in_common_is_no_edit() -> None:
    one = record("R-1", "01.01.2025", "1100", "3400", "Poterie", "10.00")
    two = record("R-2", "02.01.2025", "1020", "1100", "Café", "10.00")
    blank = record("", "", "", "", "", "")
    assert edited([one], [two]) == []
    assert edited([blank], [blank]) == []


_RECORDS = st.lists(st.tuples(*[st.sampled_from(["", "a", "b"])] * len(NAMES)), max_size=8)


@given(_RECORDS, _RECORDS)
def test_each_record_is_in_one_pair_at_most(
    gone: list[tuple[str, ...]], came: list[tuple[str, ...]]
) -> None:
    pairs = edited([record(*each) for each in gone], [record(*each) for each in came])
    assert len({old for old, _ in pairs}) == len({new for _, new in pairs}) == len(pairs)
    assert all(old < len(gone) and new < len(came) for old, new in pairs)
