"""A disk that can lose power at any write.

Each write is atomic. A crash is armed to strike at a later write, before or after it took effect;
whoever wrote learns nothing more. ``NORMAL`` is what must not be: a disk that says *done* before it
is (SQLite in WAL with ``synchronous=NORMAL``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from p2psync.engine.effects import CloseLog, KeepLogKey, Persist
from tests.engine.machine import Disk, Holding


class Crash(Exception):
    """The machine lost power in the middle of a write."""


@dataclass
class SimDisk(Disk):
    """What survives, and when it strikes."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    crash_after_writes: int | None = None
    crash_before_write: bool = False
    writes: int = 0
    _unsynced: list[bytes] = field(default_factory=list)

    def _write(self, act: Callable[[], None]) -> None:
        self.writes += 1
        if self.crash_after_writes is not None:
            self.crash_after_writes -= 1
            if self.crash_after_writes < 0:
                if not self.crash_before_write:
                    act()
                self.power_cut()
                raise Crash
        act()

    def power_cut(self) -> None:
        """Lose what is not on the platter yet."""
        self.crash_after_writes = None
        for entry in self._unsynced:
            self.entries.pop(entry, None)
        self._unsynced.clear()

    def hold(self, mandate: bytes, holding: Holding) -> None:
        self._write(lambda: Disk.hold(self, mandate, holding))

    def persist(self, effect: Persist) -> None:
        def act() -> None:
            Disk.persist(self, effect)
            if self.synchronous == "NORMAL":
                self._unsynced.extend(stored.id for stored in effect.entries)
                if self.writes % 8 == 0:
                    self._unsynced.clear()

        self._write(act)

    def keep_log_key(self, effect: KeepLogKey) -> None:
        self._write(lambda: Disk.keep_log_key(self, effect))

    def close_log(self, effect: CloseLog) -> None:
        self._write(lambda: Disk.close_log(self, effect))

    def store_chunk(self, address: bytes, data: bytes) -> None:
        self._write(lambda: Disk.store_chunk(self, address, data))
