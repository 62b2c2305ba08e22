"""The hybrid clock, and how the past clamps what an entry claims."""

from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import clock
from p2psync.limits import CLOCK_AHEAD_MS_MAX

_times = st.integers(0, clock.HLC_MAX)
AHEAD = CLOCK_AHEAD_MS_MAX << clock.COUNTER_BITS


@given(st.integers(0, clock.HLC_MAX - 1), st.integers(-(1 << 60), (1 << 47) - 1))
def test_a_tick_is_later_than_the_last_and_not_before_now(last: int, now_ms: int) -> None:
    time = clock.tick(last, now_ms)
    assert last < time <= clock.HLC_MAX
    assert clock.milliseconds(time) >= now_ms


@given(st.integers(0, 1 << 46))
def test_ticks_within_a_millisecond_are_counted(now_ms: int) -> None:
    first = clock.tick(0, now_ms)
    assert clock.tick(first, now_ms) == first + 1
    assert clock.milliseconds(first + 1) == now_ms


def test_the_clock_stops_at_its_end_rather_than_overflow() -> None:
    assert clock.tick(clock.HLC_MAX, 1 << 80) == clock.HLC_MAX


@given(_times, st.integers(0, clock.HLC_MAX - 1))
def test_time_gains_at_most_seven_days_on_the_past_and_never_goes_back(hlc: int, past: int) -> None:
    effective = clock.effective(hlc, past)
    assert past < effective <= min(past + AHEAD, clock.HLC_MAX)
    if past < hlc <= past + AHEAD:
        assert effective == hlc


def test_a_time_at_the_very_end_does_not_overflow() -> None:
    """Such a time fits into the 63 bits that codec and database have."""
    assert clock.effective(0, clock.HLC_MAX) == clock.HLC_MAX


@given(_times)
def test_what_depends_on_nothing_is_believed(hlc: int) -> None:
    assert clock.effective(hlc, None) == hlc


@given(_times, _times, _times)
def test_a_later_past_never_makes_an_entry_earlier(hlc: int, one: int, other: int) -> None:
    early, late = sorted((one, other))
    assert clock.effective(hlc, early) <= clock.effective(hlc, late)
