"""The clock that what waits for hours or days goes by; a test has its own."""

import trio

from p2psync.node.runner import wall_ms


class Clock:
    """This machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return wall_ms()

    def awake_seconds(self) -> float:
        """Seconds that this process could work; a machine that sleeps may not count them."""
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await trio.sleep(seconds)
