"""How much of a mandate's logs each device may fill: bounds what the holder of a mere key can do.

The holder of a ticket has the mandate's key, also when the ticket is worth nothing any more, so its
entries are well-formed. What is beyond a quota is not kept, and asked for again when there is room.
An entry that a member's entry depends on is always kept: quotas never part honest devices.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from p2psync.limits import (
    BRANCHES_PER_LOG_MAX,
    LOGS_DECLINED_MAX,
    LOGS_PER_DEVICE_MAX,
    STRANGER_LOG_ENTRIES_MAX,
    STRANGER_LOGS_MAX,
    STRANGERS_BYTES_MAX,
)


@dataclass(slots=True)
class _Log:
    device: bytes
    entries: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Quota:
    """What each log takes up. ``is_member`` tells whether a device (32 bytes) is one now,
    ``was_member`` whether it was one and was removed."""

    is_member: Callable[[bytes], bool]
    was_member: Callable[[bytes], bool] = lambda device: False
    declined: dict[bytes, None] = field(default_factory=dict)
    """Logs of which something was not kept, and that are not asked for."""
    reopened: list[bytes] = field(default_factory=list)
    """Logs that were declined and may be asked for again."""
    _logs: dict[bytes, _Log] = field(default_factory=dict)
    _by_device: dict[bytes, int] = field(default_factory=dict)
    _strangers: int = 0
    """Logs of strangers when the batch began, and since."""
    _strangers_bytes: int = 0
    _removed_bytes: int = 0
    """What came of devices after they were removed, as far as this was there to see."""

    def begin(self) -> None:
        """Start a batch: count what strangers take up now."""
        strangers = [each for each in self._logs.values() if self._is_stranger(each.device)]
        self._strangers = len(strangers)
        self._strangers_bytes = sum(each.size_bytes for each in strangers)

    def _is_stranger(self, device: bytes) -> bool:
        return not self.is_member(device) and not self.was_member(device)

    def assign(self, log: bytes, device: bytes) -> None:
        """Note whose log it is, which only its first entry tells, once that could be opened."""
        known = self._logs.get(log)
        if known is not None and known.device != device:
            self._by_device[known.device] -= 1
            self._by_device[device] = self._by_device.get(device, 0) + 1
            known.device = device

    def device(self, log: bytes) -> bytes | None:
        """Whose log it is; ``None`` for one of which nothing is kept."""
        known = self._logs.get(log)
        return None if known is None else known.device

    def taken(self, log: bytes) -> tuple[bytes, int, int]:
        """Whose log it is, and how many entries and bytes of it are kept."""
        known = self._logs.get(log, _Log(b""))
        return known.device, known.entries, known.size_bytes

    def restore(self, log: bytes, device: bytes, entries: int, size_bytes: int) -> None:
        """Take up what ``taken`` said."""
        self._logs[log] = _Log(device, entries, size_bytes)
        self._by_device[device] = self._by_device.get(device, 0) + 1

    def has_room(self, log: bytes, device: bytes, size_bytes: int, *, branches: int) -> bool:
        """Tell whether one more entry of a log may be kept; ``branches`` it would have then."""
        if branches > BRANCHES_PER_LOG_MAX:
            return False
        known = self._logs.get(log)
        if known is None and self._by_device.get(device, 0) >= LOGS_PER_DEVICE_MAX:
            return False
        if self.is_member(device):
            return True
        if self.was_member(device):
            return self._removed_bytes + size_bytes <= STRANGERS_BYTES_MAX
        if known is None and self._strangers >= STRANGER_LOGS_MAX:
            return False
        if known is not None and known.entries >= STRANGER_LOG_ENTRIES_MAX:
            return False
        return self._strangers_bytes + size_bytes <= STRANGERS_BYTES_MAX

    def decline(self, log: bytes) -> None:
        """Note that something of a log was not kept."""
        if len(self.declined) < LOGS_DECLINED_MAX:
            self.declined[log] = None

    def reopen(self) -> None:
        """Let all that was declined be asked for again: there may be room, or need, now."""
        self.reopened += self.declined
        self.declined.clear()

    def take(self, log: bytes, device: bytes, size_bytes: int) -> None:
        """Count an entry that is kept."""
        known = self._logs.get(log)
        if known is None:
            known = self._logs[log] = _Log(device)
            self._by_device[device] = self._by_device.get(device, 0) + 1
            self._strangers += self._is_stranger(device)
        if self.was_member(device):
            self._removed_bytes += size_bytes
        elif not self.is_member(device):
            self._strangers_bytes += size_bytes
        known.entries += 1
        known.size_bytes += size_bytes
