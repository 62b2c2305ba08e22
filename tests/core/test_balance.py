"""What waits to be posted, kept in step (B-POS-1, B-POS-2), and an order free of what is gone."""

import datetime
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal, localcontext

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.balance import Balance, Measure, Sums, day_of, total
from p2psync.core.body import Body
from p2psync.core.crdt import Change, SegmentSet, measured, pending, position
from p2psync.core.crypto import digest
from p2psync.core.ops import OpId
from p2psync.core.records import Record, Segment
from tests.core.lines import read

DAYS = (None, datetime.date(2025, 3, 1), datetime.date(2026, 1, 1))
AMOUNTS = (None, Decimal("0.05"), Decimal("-12.5"), Decimal("99999999999999999999.99999999"))
SIDES: tuple[dict[str, str], ...] = (
    {},
    {"debit": "1000", "credit": "3000"},
    {"debit": "1000", "credit": "...", "currency": "CHF"},
    {"debit": "", "credit": "3000", "currency": "CHF"},
    {"currency": "EUR"},
)
ELEMENTS: list[OpId] = [(b"e" * 32, number) for number in range(3)]


def _record(number: int) -> Record:
    key = bytes([number]) * 16
    day, amount, fields = DAYS[number % 3], AMOUNTS[number // 3 % 4], SIDES[number % 5]
    return Record(key, key, f"r{number}", day, amount, fields)


def _segment(numbers: Iterable[int]) -> Segment:
    records = tuple(_record(number) for number in numbers)
    key = digest(b"segment", b"".join(record.key for record in records), size=16)
    return Segment(b"raw", key, key, records)


SEGMENTS = [_segment(numbers) for numbers in ((0,), (4,), (7,), (10,), (4, 7), (1, 2, 1), ())]


def _naive(held: Counter[int], posted: Counter[int]) -> dict[int, Sums]:
    """The same by counting all of it anew."""
    by_key = {record.key: record for each in SEGMENTS for record in each.records}
    groups = {each.key: each for each in SEGMENTS if each.records}
    days: dict[int, Sums] = {}
    sides = [
        (
            Counter(r.key for n in side.elements() for r in SEGMENTS[n].records),
            Counter(SEGMENTS[n].key for n in side.elements() if SEGMENTS[n].records),
        )
        for side in (held, posted)
    ]
    for adds, (here, there) in ((True, sides), (False, sides[::-1])):
        for key, count in (here[0] - there[0]).items():
            cell = days.setdefault(day_of(by_key[key].date), Sums())
            record = by_key[key]
            currency = record.fields.get("currency", "")
            once = not (record.fields.get("credit") == "3000" and not record.fields["debit"])
            amount = (record.amount or Decimal(0)) * count if once else Decimal(0)
            if adds:
                cell.added += count
                cell.added_amounts[currency] = cell.added_amounts.get(currency, 0) + amount
            else:
                cell.deleted += count
                cell.deleted_amounts[currency] = cell.deleted_amounts.get(currency, 0) + amount
        for key, count in (here[1] - there[1]).items():
            cell = days.setdefault(day_of(groups[key].records[0].date), Sums())
            if adds:
                cell.added_groups += count
            else:
                cell.deleted_groups += count
    for cell in days.values():
        for amounts in (cell.added_amounts, cell.deleted_amounts):
            for currency in [each for each, amount in amounts.items() if not amount]:
                del amounts[currency]
    return days


_STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(range(len(SEGMENTS))),
        st.sampled_from(ELEMENTS),
        st.booleans(),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(_STEPS)
def test_b_pos_2_the_balance_is_the_difference_of_the_multisets(
    steps: list[tuple[bool, int, OpId, bool]],
) -> None:
    balance = Balance()
    places: Counter[tuple[int, OpId]] = Counter()
    posted: Counter[int] = Counter()
    for is_post, number, element, up in steps:
        segment = SEGMENTS[number]
        if is_post:
            if not up and not posted[number]:
                continue
            posted[number] += 1 if up else -1
            balance.post(segment, 1 if up else -1)
        else:
            if not up and not places[number, element]:
                continue
            places[number, element] += 1 if up else -1
            balance.hold(element, segment, 1 if up else -1)
        held: Counter[int] = Counter()
        for (each, _), count in places.items():
            held[each] += count
        with localcontext() as exact:
            exact.prec = 100
            assert balance.days == _naive(held, posted)
        assert (balance.added, balance.deleted) == pending(balance.current, balance.posted)
        assert balance.records == balance.current.total()
        assert 0 not in {*balance.surplus.values(), *balance.posted.values()}
        wanted = {key for key, surplus in balance.surplus.items() if surplus > 0}
        homes = {
            where
            for (each, where), count in places.items()
            if count and any(record.key in wanted for record in SEGMENTS[each].records)
        }
        assert set(balance.elements()) == homes


@given(st.lists(st.sampled_from(range(len(SEGMENTS))), max_size=40))
def test_of_a_file_never_posted_the_sums_are_those_of_a_balance(numbers: list[int]) -> None:
    measure, balance = Measure(), Balance()
    for place, number in enumerate(numbers):
        measure.hold(SEGMENTS[number], 1)
        balance.hold((b"e" * 32, place), SEGMENTS[number], 1)
        assert measure.days == balance.days
    assert total(measure.days).added == len([r for n in numbers for r in SEGMENTS[n].records])
    for number in numbers:
        measure.hold(SEGMENTS[number], -1)
    assert measure.days == {}


def _lines(entry: bytes, first: int, count: int) -> Change:
    adds = [
        ((entry, n), position(b"base!", n), b"%03d | x\n" % n) for n in range(first, first + count)
    ]
    return Change(adds=adds)


def test_sums_of_a_file_that_changed_meanwhile_are_not_taken() -> None:
    segments = SegmentSet(read, "lines")
    segments.apply(_lines(b"e" * 32, 0, 5), 1)
    revision, raws = segments.revision, segments.raws()
    segments.apply(_lines(b"f" * 32, 5, 1), 2)
    assert not segments.take_measure(revision, measured(raws, segments.read))
    assert not segments.is_measured
    assert segments.take_measure(segments.revision, measured(segments.raws(), segments.read))
    segments.apply(Change(removes=[(b"e" * 32, 0)]), 3)
    assert total(segments.measure.days).added == 5


def test_few_that_wait_in_a_large_file_come_in_its_order() -> None:
    body = Body.empty(read, "lines")
    body.segments.apply(_lines(b"e" * 32, 0, 100), 1)
    items = body.pending_items()
    some = {7, 50, 93}
    body.post([pair for pair in items.adds if pair[0][1] not in some], (b"r" * 32, 0), 1, adds=True)
    waiting = list(body.pending_records())
    assert [item.record.text for item in waiting] == ["007 | x", "050 | x", "093 | x"]
    body.segments.apply(Change(removes=[(b"e" * 32, 3), (b"e" * 32, 50)]), 2)
    waiting = list(body.pending_records())
    assert [(item.change, item.record.text) for item in waiting] == [
        ("added", "007 | x"),
        ("added", "093 | x"),
        ("deleted", "003 | x"),
    ]
    assert total(body.days).deleted_groups == 1


def test_what_was_removed_leaves_no_trace_in_the_order_and_can_come_back() -> None:
    segments = SegmentSet(read, "lines")
    entry, later = b"e" * 32, b"l" * 32
    adds = [((entry, n), position(b"base!", n), b"%03d | x\n" % n) for n in range(400)]
    segments.apply(Change(adds=adds), 1)
    segments.apply(Change(removes=[(entry, n) for n in range(390)]), 2)
    assert segments.emit() == b"".join(raw for _, _, raw in adds[390:])
    assert len(list(segments.shown())) == 10
    # An edit that did not see the removal brings its element back, in its old place.
    segments.apply(Change(edits=[((later, 0), (entry, 7), b"007 | edited\n")]), 3)
    assert segments.emit().startswith(b"007 | edited\n390 | x\n")
    assert segments.record_count() == 11


def test_b_pos_1_a_balanced_entry_counts_once_and_currencies_are_summed_apart() -> None:
    fields = (
        ({"debit": "1020", "credit": "...", "currency": "CHF"}, 100),
        ({"debit": "...", "credit": "3000", "currency": "CHF"}, 90),
        ({"debit": "...", "credit": "2200", "currency": "CHF"}, 10),
        ({"debit": "1021", "credit": "3000", "currency": "EUR"}, 7),
        ({"currency": "USD"}, -3),
    )
    records = tuple(
        Record(bytes([place]) * 16, b"", "", None, Decimal(amount), each)
        for place, (each, amount) in enumerate(fields)
    )
    segment = Segment(b"raw", bytes(16), bytes(16), records)
    measure, balance = Measure(), Balance()
    measure.hold(segment, 1)
    balance.hold(ELEMENTS[0], segment, 1)
    for days in (measure.days, balance.days):
        assert total(days).amounts == {"CHF": 100, "EUR": 7, "USD": -3}
        assert total(days).added == 5
    balance.post(segment, 1)
    assert total(balance.days).amounts == {}
