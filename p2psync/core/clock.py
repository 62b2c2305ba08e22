"""The hybrid logical clock: 48 bits of milliseconds, 16 bits that count within one.

Source: Kulkarni et al., "Logical Physical Clocks", 2014. Time here orders display and last-writer
ties only; causal order never depends on it, and nothing is rejected by wall clock.
"""

from p2psync.limits import CLOCK_AHEAD_MS_MAX

COUNTER_BITS = 16
HLC_MAX = (1 << 63) - 1


def tick(last: int, now_ms: int) -> int:
    """Return a time later than ``last`` and not before ``now_ms`` (milliseconds since 1970)."""
    return min(max(last + 1, max(now_ms, 0) << COUNTER_BITS), HLC_MAX)


def milliseconds(hlc: int) -> int:
    """Return the wall-clock part, milliseconds since 1970."""
    return hlc >> COUNTER_BITS


def was_shown(hlc: int) -> bool:
    """Tell whether a clock showed this time; else it only comes after an earlier one (``tick``)."""
    return not hlc & ((1 << COUNTER_BITS) - 1)


def effective(hlc: int, past: int | None) -> int:
    """Clamp a claimed time by the past it depends on (docs/spec/entry.md, "Time").

    ``past`` is the greatest effective time of prev and deps, ``None`` for an entry that depends
    on nothing. A clock that runs ahead gains at most seven days, one that runs behind still comes
    after its past; the result does not depend on who computes it, or when.
    """
    if past is None:
        return hlc
    ahead = past + (CLOCK_AHEAD_MS_MAX << COUNTER_BITS)
    return min(max(min(hlc, ahead), past + 1), HLC_MAX)
