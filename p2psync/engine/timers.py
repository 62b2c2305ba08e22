"""Deadlines by name: what is due now, and when something will be.

Cancelled and moved deadlines stay in the heap until their time; equal times come in the order in
which they were set.
"""

from dataclasses import dataclass, field
from heapq import heappop, heappush

TimerKey = tuple[str | int | bytes, ...]


@dataclass(slots=True)
class Timers:
    """A heap of (time in seconds, sequence, key)."""

    _heap: list[tuple[float, int, TimerKey]] = field(default_factory=list)
    _set: dict[TimerKey, tuple[float, int]] = field(default_factory=dict)
    _sequence: int = 0

    def set(self, key: TimerKey, when: float) -> None:
        """Set or move a deadline."""
        self._sequence += 1
        self._set[key] = (when, self._sequence)
        heappush(self._heap, (when, self._sequence, key))

    def cancel(self, key: TimerKey) -> None:
        """Forget a deadline, if it is set."""
        self._set.pop(key, None)

    def when(self, key: TimerKey) -> float | None:
        """When a deadline is; ``None`` when it is not set."""
        found = self._set.get(key)
        return None if found is None else found[0]

    def __contains__(self, key: object) -> bool:
        return key in self._set

    def due(self, now: float) -> TimerKey | None:
        """Take the next deadline that has passed."""
        while (when := self.next()) is not None and when <= now:
            _, _, key = heappop(self._heap)
            del self._set[key]
            return key
        return None

    def next(self) -> float | None:
        """When the next deadline is; ``None`` when there is none."""
        while self._heap:
            when, sequence, key = self._heap[0]
            if self._set.get(key) == (when, sequence):
                return when
            heappop(self._heap)
        return None
