"""What the operating system tells of changes in folders: inotify, or what watchfiles wraps.

Where there is inotify it is used directly. ``watchfiles`` looks whether something happened every
``step`` milliseconds, which at 1 ms costs 3 % of a core while nothing happens (inotify: none), and
must be restarted to change the folders. Only other systems pay for that.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio
from watchfiles import Change, awatch

from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.storage.stability import Touch


@dataclass(frozen=True, slots=True)
class Touched:
    """Something happened to a name in a folder."""

    directory: Path
    name: str
    touch: Touch


@dataclass(frozen=True, slots=True)
class FolderGone:
    """A folder went away and is no longer watched."""

    directory: Path


@dataclass(frozen=True, slots=True)
class Overflow:
    """Any number of changes may have been missed, in every folder."""


News = Touched | FolderGone | Overflow
Tell = Callable[[Sequence[News]], None]


class Notifier(Protocol):
    """Watches folders, not what is below them."""

    def watch(self, directory: Path) -> bool:
        """Watch the folder that is now at a path; False when it is missing or cannot be watched.

        May be called again at any time, and must be when the path may lead elsewhere by now.
        Changes after the call are told; what happened before is for a scan to find.
        """

    def unwatch(self, directory: Path) -> None:
        """Watch a folder no longer; nothing happens when it was not watched."""

    async def run(self, tell: Tell) -> None:
        """Tell of changes until cancelled; called once."""


def best_notifier() -> Notifier:
    """Return the notifier that suits this machine."""
    if sys.platform == "linux":
        try:
            return InotifyNotifier()
        except OSError:
            # The user's inotify instances are used up: scans at short intervals have to do.
            return NoNotifier()
    return LibraryNotifier()


class NoNotifier:
    """Watches nothing, so that every folder is scanned again and again."""

    def watch(self, directory: Path) -> bool:
        """Return False."""
        return False

    def unwatch(self, directory: Path) -> None:
        """Do nothing."""

    async def run(self, tell: Tell) -> None:
        """Tell nothing."""
        await trio.sleep_forever()


# -- inotify(7) -------------------------------------------------------------------------------

_IN_MODIFY = 0x2
_IN_CLOSE_WRITE = 0x8
_IN_MOVED_FROM = 0x40
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_DELETE = 0x200
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_UNMOUNT = 0x2000
_IN_Q_OVERFLOW = 0x4000
_IN_IGNORED = 0x8000
_IN_ONLYDIR = 0x1000000
_IN_EXCL_UNLINK = 0x4000000

_WHOLE = _IN_CLOSE_WRITE | _IN_MOVED_TO
_WRITTEN = _IN_MODIFY | _IN_CREATE
_GONE = _IN_MOVED_FROM | _IN_DELETE
_FOLDER_GONE = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT | _IN_IGNORED
_MASK = _WHOLE | _WRITTEN | _GONE | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR | _IN_EXCL_UNLINK
_HEAD = struct.Struct("iIII")
"""Watch, mask, cookie, length of the name with its padding."""
_READ_BYTES = 64 * 1024
_TEMPORARY = TEMPORARY_PREFIX.encode()


@dataclass(frozen=True, slots=True)
class InotifyEvent:
    """One event as the kernel gives it; ``watch`` is -1 for an overflow."""

    watch: int
    mask: int
    name: str


def parse_inotify(data: bytes) -> Iterator[InotifyEvent]:
    """Yield the events in what one read of an inotify descriptor gave."""
    offset = 0
    while offset < len(data):
        watch, mask, _cookie, length = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        name = data[offset : offset + length].rstrip(b"\0")
        offset += length
        if not name.startswith(_TEMPORARY):  # our own, of which nobody wants to know
            yield InotifyEvent(watch, mask, os.fsdecode(name))


class InotifyNotifier:
    """Linux's own notifications: no cost while nothing happens, any number of folders.

    Raises ``OSError`` when the user's instances are used up.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._watch_of: dict[Path, int] = {}
        # Two paths may lead to one folder, which has one watch.
        self._directories_of: dict[int, set[Path]] = {}

    def watch(self, directory: Path) -> bool:
        """See ``Notifier``; False too when the user's watches are used up."""
        watch: int = self._libc.inotify_add_watch(
            self._descriptor, os.fsencode(directory), ctypes.c_uint32(_MASK)
        )
        if self._watch_of.get(directory) != watch:
            self.unwatch(directory)
        if watch < 0:
            return False
        self._watch_of[directory] = watch
        self._directories_of.setdefault(watch, set()).add(directory)
        return True

    def unwatch(self, directory: Path) -> None:
        """See ``Notifier``."""
        watch = self._watch_of.pop(directory, None)
        if watch is None:
            return
        directories = self._directories_of[watch]
        directories.discard(directory)
        if not directories:
            del self._directories_of[watch]
            self._libc.inotify_rm_watch(self._descriptor, watch)

    async def run(self, tell: Tell) -> None:
        """See ``Notifier``; closes the descriptor at the end."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._descriptor)
                try:
                    data = os.read(self._descriptor, _READ_BYTES)
                except BlockingIOError:
                    continue
                news = [item for event in parse_inotify(data) for item in self._news(event)]
                if news:
                    tell(news)
        finally:
            os.close(self._descriptor)
            # A number that another file may get must not be used again.
            self._descriptor = -1

    def _news(self, event: InotifyEvent) -> list[News]:
        if event.mask & _IN_Q_OVERFLOW:
            return [Overflow()]
        known = self._directories_of.get(event.watch, ())
        directories = sorted(known) if len(known) > 1 else list(known)
        if event.mask & _FOLDER_GONE:
            for directory in directories:
                self.unwatch(directory)
            return [FolderGone(directory) for directory in directories]
        if event.mask & _WHOLE:
            touch = Touch.WHOLE
        elif event.mask & _GONE:
            touch = Touch.GONE
        else:
            touch = Touch.WRITTEN
        return [Touched(directory, event.name, touch) for directory in directories]


# -- everything else --------------------------------------------------------------------------

_STEP_MS = 50
"""Costs 0.14 % of a core; a change is seen within two steps."""
_TIMEOUT_MS = 500
"""The library does not say when it watches; after its first timeout it surely does."""


class LibraryNotifier:
    """watchfiles: FSEvents, ReadDirectoryChangesW, or inotify with a thread that looks."""

    def __init__(self, step_ms: int = _STEP_MS, timeout_ms: int = _TIMEOUT_MS) -> None:
        self._step_ms = step_ms
        self._timeout_ms = timeout_ms
        self._directories: frozenset[Path] = frozenset()
        # Some systems tell of the real path of a folder that was given by another.
        self._by_told_path: dict[Path, Path] = {}
        self._changed = trio.Event()

    def watch(self, directory: Path) -> bool:
        """See ``Notifier``."""
        if not directory.is_dir():
            self.unwatch(directory)
            return False
        if directory not in self._directories:
            self._directories |= {directory}
            self._by_told_path[directory] = directory
            self._by_told_path[Path(os.path.realpath(directory))] = directory
            self._changed.set()
        return True

    def unwatch(self, directory: Path) -> None:
        """See ``Notifier``."""
        if directory in self._directories:
            self._directories -= {directory}
            self._by_told_path = {
                told: own for told, own in self._by_told_path.items() if own != directory
            }
            self._changed.set()

    async def run(self, tell: Tell) -> None:
        """See ``Notifier``; each change of the folders restarts the library, then scans all."""
        while True:
            self._changed = changed = trio.Event()
            directories = self._directories
            if not directories:
                await changed.wait()
                continue
            try:
                await self._run_with(directories, changed, tell)
            except (FileNotFoundError, NotADirectoryError):
                gone = [directory for directory in directories if not directory.is_dir()]
                for directory in gone:
                    self.unwatch(directory)
                tell([FolderGone(directory) for directory in gone])

    async def _run_with(
        self, directories: frozenset[Path], changed: trio.Event, tell: Tell
    ) -> None:
        async with trio.open_nursery() as nursery:
            # The library waits in a thread that only its event ends, also when we are cancelled.
            nursery.start_soon(_set_at_the_end, changed)
            started = False
            async for changes in awatch(
                *directories,
                watch_filter=None,
                step=self._step_ms,
                debounce=self._step_ms,
                rust_timeout=self._timeout_ms,
                yield_on_timeout=True,
                stop_event=changed,
                recursive=False,
                ignore_permission_denied=True,
            ):
                if not started:
                    started = True
                    tell([Overflow()])
                news = [item for change, path in changes for item in self._news(change, Path(path))]
                if news:
                    tell(news)
            nursery.cancel_scope.cancel()

    def _news(self, change: Change, path: Path) -> list[News]:
        itself = self._by_told_path.get(path)
        if itself is not None:
            if change is not Change.deleted:
                return []
            self.unwatch(itself)
            return [FolderGone(itself)]
        directory = self._by_told_path.get(path.parent)
        if directory is None:
            return []
        touch = Touch.GONE if change is Change.deleted else Touch.CHANGED
        return [Touched(directory, path.name, touch)]


async def _set_at_the_end(event: trio.Event) -> None:
    try:
        await trio.sleep_forever()
    finally:
        event.set()
