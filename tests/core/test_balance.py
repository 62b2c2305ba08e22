"""The differences of two multisets, kept in step (B-POS-2), and an order free of what is gone."""

from hypothesis import given
from hypothesis import strategies as st

from p2psync.core.crdt import Balance, Change, SegmentSet, pending, position
from tests.core.lines import read

KEYS = [bytes([number]) * 16 for number in range(4)]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS), st.booleans())))
def test_the_balance_is_the_difference_of_the_multisets(
    steps: list[tuple[bool, bytes, bool]],
) -> None:
    balance = Balance()
    for is_post, key, up in steps:
        side = balance.posted if is_post else balance.current
        if not up and not side[key]:
            continue
        (balance.post if is_post else balance.count)(key, 1 if up else -1)
        assert (balance.added, balance.deleted) == pending(balance.current, balance.posted)
        assert balance.records == balance.current.total()
        assert 0 not in {*balance.current.values(), *balance.posted.values()}


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
