"""When a file is whole (protocol.md, "Files", rule 5); no clock, no disk."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.storage.file_state import FileStat
from p2psync.storage.stability import LOOK_AGAIN_NS, QUIET_NS, StabilityGate, Touch

T0 = 1_000_000_000_000
OLD = FileStat(size_bytes=10, mtime_ns=T0 - 10**12, ctime_ns=T0 - 10**12, inode=1, device=1)


def gate_that_took(found: FileStat | None) -> StabilityGate[str]:
    gate: StabilityGate[str] = StabilityGate()
    gate.took("f", found)
    return gate


def written(found: FileStat, now_ns: int) -> FileStat:
    return replace(found, mtime_ns=now_ns, ctime_ns=now_ns, size_bytes=found.size_bytes + 1)


@pytest.mark.parametrize("touch", [Touch.WHOLE, Touch.GONE])
def test_what_the_system_calls_whole_is_taken_at_once(touch: Touch) -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.WRITTEN, T0)
    assert gate.touched("f", touch, T0 + 1)
    assert gate.next_look_ns() is None


@pytest.mark.parametrize("touch", [Touch.CHANGED, Touch.SCANNED])
def test_an_atomic_replacement_is_taken_at_the_first_look(touch: Touch) -> None:
    gate = gate_that_took(OLD)
    assert not gate.touched("f", touch, T0)
    assert gate.due(T0) == ["f"]
    assert gate.looked("f", replace(written(OLD, T0), inode=2), T0)
    assert gate.next_look_ns() is None


def test_an_empty_new_file_is_not_taken_for_an_atomic_replacement() -> None:
    """Removed and created again: the content is still to come."""
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.CHANGED, T0)
    assert not gate.looked("f", replace(written(OLD, T0), inode=2, size_bytes=0), T0)


@pytest.mark.parametrize("touch", [Touch.WRITTEN, Touch.CHANGED, Touch.SCANNED])
def test_a_file_written_in_place_is_taken_when_quiet(touch: Touch) -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", touch, T0)
    now = T0
    found = written(OLD, now)
    while not gate.looked("f", found, now):
        look = gate.next_look_ns()
        assert look is not None
        assert now < look <= now + LOOK_AGAIN_NS
        now = look
        if now < T0 + 3 * LOOK_AGAIN_NS:
            found = written(found, now)
            quiet_since = now
    assert quiet_since + QUIET_NS <= now <= quiet_since + QUIET_NS + LOOK_AGAIN_NS
    assert gate.next_look_ns() is None


def test_each_event_starts_the_wait_again() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.WRITTEN, T0)
    found = written(OLD, T0)
    assert not gate.looked("f", found, T0)
    gate.touched("f", Touch.WRITTEN, T0 + QUIET_NS - 1)
    assert not gate.looked("f", found, T0 + QUIET_NS), "the same times may hide the last write"
    assert gate.looked("f", found, T0 + 2 * QUIET_NS)


def test_a_scan_that_shows_nothing_new_is_silent() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.SCANNED, T0)
    assert not gate.looked("f", OLD, T0)
    assert gate.next_look_ns() is None


def test_an_event_is_never_silent_even_if_nothing_seems_changed() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.CHANGED, T0)
    assert not gate.looked("f", OLD, T0)
    assert gate.looked("f", OLD, T0 + QUIET_NS)


def test_a_first_scan_takes_old_files_at_once_and_waits_for_fresh_ones() -> None:
    gate: StabilityGate[str] = StabilityGate()
    for name in ("old", "fresh", "missing"):
        gate.touched(name, Touch.SCANNED, T0)
    assert gate.looked("old", OLD, T0)
    assert gate.looked("missing", None, T0)
    assert not gate.looked("fresh", written(OLD, T0), T0)
    assert gate.looked("fresh", written(OLD, T0), T0 + QUIET_NS)
    gate.touched("missing", Touch.SCANNED, T0)
    assert not gate.looked("missing", None, T0), "still missing is nothing new"


def test_a_file_that_vanishes_while_it_is_written_is_told() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.WRITTEN, T0)
    assert gate.looked("f", None, T0)


def test_a_clock_set_back_does_not_hold_a_file_for_long() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.WRITTEN, T0)
    found = written(OLD, T0)
    back = T0 - 3600 * 10**9
    assert not gate.looked("f", found, back)
    assert gate.looked("f", found, back + QUIET_NS)


def test_forgetting_and_giving_up() -> None:
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.WRITTEN, T0)
    gate.give_up("f")
    assert gate.next_look_ns() is None
    assert gate.known() == {"f"}
    assert not gate.looked("f", OLD, T0)
    gate.forget("f")
    assert gate.known() == set()


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([Touch.WRITTEN, Touch.CHANGED, Touch.SCANNED]),
        st.integers(0, 2 * QUIET_NS),
        st.booleans(),
    ),
    min_size=1,
    max_size=10,
)


@given(EVENTS)
def test_no_change_is_lost_and_none_is_taken_before_it_is_quiet(
    events: list[tuple[Touch, int, bool]],
) -> None:
    """In place writes at any times: the last state is taken, quiet, and then there is peace."""
    gate = gate_that_took(OLD)
    now, found, taken, changed = T0, OLD, OLD, T0
    for touch, pause, writes in events:
        end = now + pause
        while (look := gate.next_look_ns()) is not None and look <= end:
            now = max(now, look)
            if gate.looked("f", found, now):
                assert now - changed >= QUIET_NS
                taken = found
        now = end
        if writes:
            found, changed = written(found, now), now
        gate.touched("f", touch, now)
    while (look := gate.next_look_ns()) is not None:
        now = max(now, look)
        if gate.looked("f", found, now):
            taken = found
    assert taken == found


def test_a_clock_set_back_between_two_looks_keeps_nobody_waiting() -> None:
    """A year back while a program writes: the file is looked at as if nothing had happened."""
    gate = gate_that_took(OLD)
    gate.touched("f", Touch.CHANGED, T0)
    found = written(OLD, T0)
    assert not gate.looked("f", found, T0)
    back = T0 - 365 * 24 * 3600 * 10**9
    assert gate.due(back) == ["f"]
    assert not gate.looked("f", found, back)
    assert gate.due(back) == []
    assert gate.due(back + LOOK_AGAIN_NS) == ["f"]
    assert not gate.looked("f", found, back + LOOK_AGAIN_NS)
    assert gate.looked("f", found, back + QUIET_NS)
