"""What a test may do to a node's process from outside: end it at its n-th touch of the disk, and
set its clock.

A process that hosts a node calls ``install`` before it imports p2psync: from then on it counts
what it is about to do and what it has just done to the disk, in a page of memory that it shares
with the test. When the count comes to where the test wants it, the process sends itself SIGKILL.
Only the wall clock is set; the clock that never jumps, by which timers run, is the system's.
"""

import ctypes
import mmap
import os
import signal
import sqlite3
import struct
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from tests.kills import faults

_COUNT, _KILL_AT, _CLOCK_NS = 0, 8, 16
_PAGE_BYTES = 4096
_CALLS = ("write", "pwrite", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "mkdir")
_PR_SET_PDEATHSIG = 1


class Meter:
    """The shared page: the test's side and the node's."""

    def __init__(self, path: Path) -> None:
        """Open or make the page."""
        with path.open("ab") as file:
            file.truncate(_PAGE_BYTES)
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _PAGE_BYTES)

    def _get(self, place: int) -> int:
        value: int = struct.unpack_from("<q", self._page, place)[0]
        return value

    def _set(self, place: int, value: int) -> None:
        struct.pack_into("<q", self._page, place, value)

    @property
    def count(self) -> int:
        """How often the disk was touched, by all processes that had this home."""
        return self._get(_COUNT)

    def kill_after(self, touches: int) -> None:
        """Let the process end itself after so many touches more; 0 for never."""
        self._set(_KILL_AT, self.count + touches if touches else 0)

    @property
    def clock_ns(self) -> int:
        """How far the wall clock is set ahead of the system's."""
        return self._get(_CLOCK_NS)

    def set_clock(self, ahead_seconds: float) -> None:
        """Set the wall clock ahead, or behind."""
        self._set(_CLOCK_NS, int(ahead_seconds * 1e9))

    def touch(self) -> None:
        """Count, and die when it is time."""
        count = self.count + 1
        self._set(_COUNT, count)
        if 0 < self._get(_KILL_AT) <= count:
            os.kill(os.getpid(), signal.SIGKILL)


_meter: Meter | None = None


def hold(meter: Meter) -> None:
    """Let this page decide over the process from now on; its parent's end ends it too."""
    global _meter
    _meter = meter
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _touch() -> None:
    if _meter is not None:
        _meter.touch()


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def counted(*arguments: Any, **named: Any) -> Any:
        _touch()
        try:
            return call(*arguments, **named)
        finally:
            _touch()

    return counted


class _Connection(sqlite3.Connection):
    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith(("SELECT", "PRAGMA")):
            return super().execute(sql, *parameters)
        _touch()
        faults.of_database(self, sql)
        try:
            return super().execute(sql, *parameters)
        finally:
            _touch()


def install() -> None:
    """Count this process's touches of the disk, and let its wall clock be set; once, at first."""
    for name in _CALLS:
        setattr(os, name, _counted(getattr(os, name)))
    connect = sqlite3.connect

    def counting(*arguments: Any, **named: Any) -> sqlite3.Connection:
        return connect(*arguments, factory=_Connection, **named)

    real_ns = time.time_ns

    def time_ns() -> int:
        return real_ns() + (0 if _meter is None else _meter.clock_ns)

    patched: Any = sqlite3
    patched.connect = counting
    clock: Any = time
    clock.time_ns = time_ns
    clock.time = lambda: time_ns() / 1e9
