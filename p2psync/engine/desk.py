"""What the engine's machines share during one step: the time, the deadlines, what is to be done."""

from collections.abc import Callable
from dataclasses import dataclass, field

from p2psync.engine import wire
from p2psync.engine.effects import Effect, SendFrame
from p2psync.engine.timers import TimerKey, Timers


@dataclass(slots=True)
class Desk:
    """``now`` is in monotonic seconds, ``wall_ms`` in milliseconds since 1970.

    ``entropy`` returns so many random bytes.
    """

    entropy: Callable[[int], bytes]
    now: float = 0.0
    wall_ms: int = 0
    timers: Timers = field(default_factory=Timers)
    out: list[Effect] = field(default_factory=list)

    def begin(self, now: float, wall_ms: int) -> None:
        """Start a step; time never goes back."""
        self.now = max(self.now, now)
        self.wall_ms = wall_ms

    def finish(self) -> list[Effect]:
        """Hand out what the step wants done."""
        out, self.out = self.out, []
        return out

    def send(self, link: int, message: wire.Message) -> None:
        """Have a message sent."""
        self.out.append(SendFrame(link, wire.encode(message)))

    def after(self, key: TimerKey, seconds: float) -> None:
        """Set a deadline from now on."""
        self.timers.set(key, self.now + seconds)

    def jitter(self, seconds: float, share: float) -> float:
        """Return the time, longer or shorter by at most that share of it."""
        unit = int.from_bytes(self.entropy(4), "big") / (1 << 32)
        return seconds * (1 - share + 2 * share * unit)
