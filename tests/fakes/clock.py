"""A clock that stands still until a test moves it."""

import trio
import trio.testing

from p2psync.node.runner import wall_ms
from p2psync.node.timing import Clock


class FakeClock(Clock):
    """Begins at this machine's time, as what nodes write does."""

    def __init__(self) -> None:
        self.ms = wall_ms()
        self.seconds = 0.0
        self._sleepers: dict[trio.Event, float] = {}

    def now_ms(self) -> int:
        return self.ms

    def awake_seconds(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken = trio.Event()
        self._sleepers[woken] = self.seconds + seconds
        try:
            await woken.wait()
        finally:
            del self._sleepers[woken]

    @property
    def sleeps(self) -> list[float]:
        """How long each sleeper still sleeps."""
        return sorted(until - self.seconds for until in self._sleepers.values())

    async def advance(self, seconds: float, *, asleep: bool = False) -> None:
        """Let time pass, for all who sleep by now; ``asleep``: the machine slept, no timer ran."""
        await trio.testing.wait_all_tasks_blocked()
        self.ms += round(seconds * 1000)
        if not asleep:
            self.seconds += seconds
        for woken, until in list(self._sleepers.items()):
            if until <= self.seconds:
                woken.set()
        await trio.testing.wait_all_tasks_blocked()
