"""Decides when a file that something happened to is whole and may be taken; no I/O, no clock."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from p2psync.storage.file_state import FileStat

QUIET_NS = 200_000_000
"""A file written in place is taken after so long without a change."""
LOOK_AGAIN_NS = 20_000_000
"""How often it is looked at meanwhile."""

Key = TypeVar("Key", bound=Hashable)


class Touch(Enum):
    """What is known of how a file was touched."""

    WHOLE = "renamed into place, or closed after writing"
    GONE = "removed, or renamed away"
    WRITTEN = "created or written, and perhaps still open"
    CHANGED = "something happened; the system does not say what"
    SCANNED = "nothing is known to have happened; compare with what was last taken"


@dataclass(slots=True)
class _Waiting:
    touch: Touch
    since_ns: int
    look_ns: int
    seen: FileStat | None = None


class StabilityGate(Generic[Key]):
    """Tells which files to look at, and after each look whether to take the file.

    ``now_ns`` is wall-clock time, as in the times of files; it may jump.
    """

    def __init__(self, quiet_ns: int = QUIET_NS, look_again_ns: int = LOOK_AGAIN_NS) -> None:
        self._quiet_ns = quiet_ns
        self._look_again_ns = look_again_ns
        self._taken: dict[Key, FileStat | None] = {}
        self._waiting: dict[Key, _Waiting] = {}

    def touched(self, key: Key, touch: Touch, now_ns: int) -> bool:
        """Take note of a touch; return whether the file is to be taken at once."""
        if touch in (Touch.WHOLE, Touch.GONE):
            self._waiting.pop(key, None)
            return True
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = _Waiting(touch, now_ns, now_ns)
        elif touch is not Touch.SCANNED:
            waiting.since_ns = now_ns
            if waiting.touch in (Touch.SCANNED, touch):
                waiting.touch = touch
            else:
                waiting.touch = Touch.WRITTEN
        return False

    def due(self, now_ns: int) -> list[Key]:
        """Return the files to look at now."""
        # Nothing is planned so far ahead: the clock was set back meanwhile.
        latest_ns = now_ns + self._quiet_ns + self._look_again_ns
        return [
            key
            for key, waiting in self._waiting.items()
            if waiting.look_ns <= now_ns or waiting.look_ns > latest_ns
        ]

    def next_look_ns(self) -> int | None:
        """Return when the next file is due; None when none is waiting."""
        return min((waiting.look_ns for waiting in self._waiting.values()), default=None)

    def looked(self, key: Key, found: FileStat | None, now_ns: int) -> bool:
        """Take note of what a look showed (None: no file); return whether to take it now."""
        waiting = self._waiting.get(key)
        if waiting is None:
            return False
        if waiting.touch is Touch.SCANNED and key in self._taken and self._taken[key] == found:
            del self._waiting[key]
            return False
        if found is None or self._whole(key, waiting, found, now_ns):
            del self._waiting[key]
            self._taken[key] = found
            return True
        if waiting.seen != found:
            if waiting.seen is not None:
                waiting.since_ns = now_ns
            waiting.seen = found
        # A clock set back must not make the file wait for as long.
        waiting.since_ns = min(waiting.since_ns, now_ns)
        waiting.look_ns = min(now_ns + self._look_again_ns, waiting.since_ns + self._quiet_ns)
        return False

    def took(self, key: Key, found: FileStat | None) -> None:
        """Remember the state of a file that was taken without a look."""
        if key not in self._waiting:
            self._taken[key] = found

    def known(self) -> set[Key]:
        """Return the files that something is known of."""
        return self._taken.keys() | self._waiting.keys()

    def give_up(self, key: Key) -> None:
        """Wait for a file no longer; what was last taken stays known."""
        self._waiting.pop(key, None)

    def forget(self, key: Key) -> None:
        """Know nothing of a file any more."""
        self._taken.pop(key, None)
        self._waiting.pop(key, None)

    def _whole(self, key: Key, waiting: _Waiting, found: FileStat, now_ns: int) -> bool:
        if waiting.seen == found and waiting.since_ns + self._quiet_ns <= now_ns:
            return True
        if waiting.touch is Touch.WRITTEN or waiting.seen is not None:
            return False
        taken = self._taken.get(key)
        if taken is not None and (taken.inode, taken.device) != (found.inode, found.device):
            # Another file under the same name: a program wrote it elsewhere and renamed it.
            return found.size_bytes > 0
        changed_ns = max(found.mtime_ns, found.ctime_ns)
        return waiting.touch is Touch.SCANNED and changed_ns + self._quiet_ns <= now_ns
