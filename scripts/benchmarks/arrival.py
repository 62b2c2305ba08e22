"""Waits until files are in a folder, told by inotify: without asking again and again."""

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Self

from scripts.benchmarks.context import BenchmarkFailed

_CLOSE_WRITE, _MOVED_TO, _CREATE, _OVERFLOW = 0x8, 0x80, 0x100, 0x4000
_HEAD = struct.Struct("iIII")
_LOOK_SECONDS = 0.25
"""How often the folder is looked at although nothing was told, should something be missed."""


class Arrivals:
    """What appears in one folder from the moment that this is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = _CLOSE_WRITE | _MOVED_TO | _CREATE
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {folder}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def until(self, condition: Callable[[], bool], seconds_max: float, what: str) -> None:
        """Returns as soon as a condition on the folder holds."""
        end = time.monotonic() + seconds_max
        while not condition():
            self._wait(end, what)

    def all_of(self, names: Collection[str], size: int, seconds_max: float) -> None:
        """Returns when every named file is there with this many bytes."""
        end = time.monotonic() + seconds_max
        missing = set(names)
        told = missing & set(os.listdir(self._folder))
        while True:
            missing -= {name for name in told & missing if self._is_whole(name, size)}
            if not missing:
                return
            told = self._wait(end, f"{len(missing)} of {len(names)} files") or missing

    def _is_whole(self, name: str, size: int) -> bool:
        try:
            return (self._folder / name).stat().st_size == size
        except FileNotFoundError:
            return False

    def _wait(self, end: float, what: str) -> set[str]:
        """Waits for events; an empty set means that anything may have changed."""
        if time.monotonic() > end:
            raise BenchmarkFailed(f"did not arrive in time: {what}")
        found, _, _ = select.select([self._fd], [], [], _LOOK_SECONDS)
        if not found:
            return set()
        data, place, names = os.read(self._fd, 1 << 20), 0, set()
        while place < len(data):
            _, mask, _, length = _HEAD.unpack_from(data, place)
            if mask & _OVERFLOW:
                return set()
            place += _HEAD.size
            names.add(os.fsdecode(data[place : place + length].rstrip(b"\0")))
            place += length
        return names
