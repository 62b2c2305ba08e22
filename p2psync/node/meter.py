"""How fast a link is, for people: what crossed it lately, and how far its peer is."""

import math
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
LATELY_SECONDS = 10.0
"""What crossed so long ago counts a third of what crosses now."""


@dataclass(slots=True)
class Meter:
    """Bytes a second lately, falling off by itself; costs next to nothing a frame.

    Times are in seconds of one clock that never goes back.
    """

    _rate: float = 0.0
    _at: float = 0.0

    def add(self, count: int, now: float) -> None:
        """Count bytes that cross now."""
        self._rate = self.rate(now) + count / LATELY_SECONDS
        self._at = now

    def rate(self, now: float) -> float:
        """Bytes a second, as of now."""
        return self._rate * math.exp(min(self._at - now, 0.0) / LATELY_SECONDS)


@dataclass(frozen=True, slots=True)
class Pace:
    """A device's round trip in seconds, if known, and bytes a second to it and from it lately."""

    rtt_seconds: float | None
    up: float
    down: float

    def view(self) -> Json:
        """As the API shows it."""
        rtt = self.rtt_seconds
        return {
            "rtt_ms": None if rtt is None else round(rtt * 1000, 1),
            "up_bytes_per_second": round(self.up),
            "down_bytes_per_second": round(self.down),
        }
