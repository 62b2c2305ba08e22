"""Watches attached files and mandate folders and hints at what may be taken up.

Hints are only that: the node reads the file and decides. What the system tells is completed by
scans: at the start, every five minutes, after lost events, and often for folders that the system
cannot watch (network drives) or that are missing (a drive that was pulled out).
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, assert_never

import trio

from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.limits import FOLDER_NAMES_MAX
from p2psync.storage.file_state import FileStat, to_stat
from p2psync.storage.mounts import on_network
from p2psync.storage.notify import (
    FolderGone,
    News,
    Notifier,
    Overflow,
    Touched,
    best_notifier,
)
from p2psync.storage.stability import QUIET_NS, StabilityGate, Touch

RESCAN_S = 300.0
UNWATCHED_SCAN_S = 2.0


class AllNames:
    """The type of ``ALL``."""


ALL: Final = AllNames()
"""Every name in a folder, except our temporary files."""

Names = frozenset[str] | AllNames
_Key = tuple[Path, str]


@dataclass(frozen=True, slots=True, order=True)
class Hint:
    """Something may have happened to a file, or (without a name) to the folder itself.

    A folder hint comes when a folder is found missing and when it is there again.
    """

    directory: Path
    name: str | None


@dataclass(frozen=True, slots=True)
class _Scan:
    """What one folder holds; ``files`` is None when the folder is missing."""

    directory: Path
    files: dict[str, FileStat | None] | None


class Watcher:
    """Gives hints; an async iterator that never ends. ``run`` has to run beside."""

    def __init__(
        self,
        notifier: Notifier | None = None,
        *,
        gate: StabilityGate[_Key] | None = None,
        rescan_s: float = RESCAN_S,
        unwatched_scan_s: float = UNWATCHED_SCAN_S,
        unwatchable: Callable[[Path], bool] = on_network,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._notifier = best_notifier() if notifier is None else notifier
        self._gate: StabilityGate[_Key] = StabilityGate() if gate is None else gate
        self._rescan_s = rescan_s
        self._unwatched_scan_s = unwatched_scan_s
        self._unwatchable = unwatchable
        self._clock_ns = clock_ns
        self._targets: dict[Path, Names] = {}
        self._polled: dict[Path, bool] = {}
        self._unwatched: set[Path] = set()
        self._missing: set[Path] = set()
        self._to_scan: set[Path] = set()
        self._added: dict[Path, set[str]] = {}
        """New names in folders that are watched already: the others need no look."""
        self._hints: dict[Hint, None] = {}
        self._work = trio.Event()
        self._hinted = trio.Event()

    def set_targets(self, targets: Mapping[Path, Names]) -> None:
        """Watch these folders (absolute paths) and names, and no others, from now on.

        Each file that is new here is hinted at once; the others go on undisturbed.
        """
        for directory in self._targets.keys() - targets.keys():
            self._notifier.unwatch(directory)
            for known in (self._unwatched, self._missing, self._to_scan):
                known.discard(directory)
            self._added.pop(directory, None)
            self._polled.pop(directory, None)
        for directory, names in targets.items():
            before = self._targets.get(directory)
            if before == names:
                continue
            if (
                before is None
                or isinstance(before, AllNames)
                or isinstance(names, AllNames)
                or directory in self._unwatched
            ):
                self._to_scan.add(directory)
            else:
                self._added.setdefault(directory, set()).update(names - before)
        self._targets = dict(targets)
        for key in self._gate.known():
            if not self._wanted(*key):
                self._gate.forget(key)
        for hint in list(self._hints):
            if hint.directory not in targets or not (
                hint.name is None or self._wanted(hint.directory, hint.name)
            ):
                del self._hints[hint]
        self._work.set()

    def unwatched(self) -> frozenset[Path]:
        """The local folders of which the system tells nothing, for it watches no more."""
        return frozenset(
            each for each in self._unwatched - self._missing if not self._polled.get(each, True)
        )

    def rescan(self) -> None:
        """Compare every target with what was last seen, for example after the machine slept."""
        self._to_scan.update(self._targets)
        self._work.set()

    async def run(self) -> None:
        """Watch until cancelled; called once."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._notifier.run, self._on_news)
            nursery.start_soon(self._rescan_again_and_again)
            nursery.start_soon(self._scan_the_unwatched_again_and_again)
            while True:
                await self._wait_for_work()
                await self._scan()
                await self._look()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Hint:
        """Return the oldest hint; of equal ones that wait only one is given."""
        # Not after a hint was taken: a cancellation would lose it.
        await trio.lowlevel.checkpoint()
        while not self._hints:
            self._hinted = trio.Event()
            await self._hinted.wait()
        hint = next(iter(self._hints))
        del self._hints[hint]
        return hint

    # -- parts --------------------------------------------------------------------------------

    def _on_news(self, news: Sequence[News]) -> None:
        now = self._clock_ns()
        for item in news:
            match item:
                case Touched(directory, name, touch):
                    if self._wanted(directory, name):
                        self._on_touch((directory, name), touch, now)
                case FolderGone(directory):
                    if directory in self._targets:
                        self._unwatched.add(directory)
                        self._to_scan.add(directory)
                case Overflow():
                    self._to_scan.update(self._targets)
                case _:
                    assert_never(item)
        self._work.set()

    def _on_touch(self, key: _Key, touch: Touch, now_ns: int) -> None:
        if self._gate.touched(key, touch, now_ns):
            self._hint(*key)
            # For the next scan. It does not block: the system has just told of this very name, and
            # of what lies on other machines it tells nothing.
            found = _stat(*key)
            self._gate.took(key, found)
            self._forget_if_gone(key, found)

    async def _wait_for_work(self) -> None:
        if self._to_scan or self._added:
            return
        next_look = self._gate.next_look_ns()
        if next_look is None:
            await self._work.wait()
        else:
            # At most so long: the clock may be set back before it is looked at again.
            wait_ns = min(max(0, next_look - self._clock_ns()), QUIET_NS)
            with trio.move_on_after(wait_ns / 1e9):
                await self._work.wait()
        self._work = trio.Event()

    async def _scan(self) -> None:
        directories, self._to_scan = self._to_scan, set()
        added, self._added = self._added, {}
        if not directories and not added:
            return
        fresh = directories - self._polled.keys()
        if fresh:
            polled = await trio.to_thread.run_sync(_which, self._unwatchable, fresh)
            self._polled.update({directory: directory in polled for directory in fresh})
        known: dict[Path, set[str]] = {}
        for where, name in self._gate.known():
            known.setdefault(where, set()).add(name)
        asked = []
        # set_targets may have changed its mind while the thread ran.
        for directory in sorted(directories & self._targets.keys()):
            # Watching comes first: what happens between is then told, found, or both.
            if not self._polled.get(directory, False) and self._notifier.watch(directory):
                self._unwatched.discard(directory)
            else:
                self._unwatched.add(directory)
            names = self._targets[directory]
            if isinstance(names, AllNames):
                asked.append((directory, True, frozenset(known.get(directory, ()))))
            else:
                asked.append((directory, False, names))
        for directory in sorted(added.keys() & self._targets.keys() - directories):
            asked.append((directory, False, frozenset(added[directory])))
        for scan in await trio.to_thread.run_sync(_scan_all, asked):
            if scan.directory in self._targets:
                self._on_scan(scan)

    def _on_scan(self, scan: _Scan) -> None:
        if scan.files is None:
            # Not a word about its files: a missing folder is no deletion.
            self._unwatched.add(scan.directory)
            for key in self._gate.known():
                if key[0] == scan.directory:
                    self._gate.give_up(key)
            if scan.directory not in self._missing:
                self._missing.add(scan.directory)
                self._hint(scan.directory, None)
            return
        if scan.directory in self._missing:
            self._missing.discard(scan.directory)
            self._hint(scan.directory, None)
        now = self._clock_ns()
        for name, found in scan.files.items():
            if self._wanted(scan.directory, name):
                key = (scan.directory, name)
                self._gate.touched(key, Touch.SCANNED, now)
                self._on_look(key, found)

    async def _look(self) -> None:
        due = self._gate.due(self._clock_ns())
        if due:
            found = await trio.to_thread.run_sync(_stat_all, due)
            for key in due:
                self._on_look(key, found[key])

    def _on_look(self, key: _Key, found: FileStat | None) -> None:
        if self._gate.looked(key, found, self._clock_ns()):
            self._hint(*key)
            self._forget_if_gone(key, found)

    def _forget_if_gone(self, key: _Key, found: FileStat | None) -> None:
        """Where any name counts, programs come and go with names of their own."""
        if found is None and isinstance(self._targets.get(key[0]), AllNames):
            self._gate.forget(key)

    def _hint(self, directory: Path, name: str | None) -> None:
        self._hints[Hint(directory, name)] = None
        self._hinted.set()

    def _wanted(self, directory: Path, name: str) -> bool:
        names = self._targets.get(directory)
        if isinstance(names, AllNames):
            return not name.startswith(TEMPORARY_PREFIX)
        return names is not None and name in names

    async def _rescan_again_and_again(self) -> None:
        while True:
            await trio.sleep(self._rescan_s)
            # A drive may have become a network drive, or the other way round.
            self._polled.clear()
            self.rescan()

    async def _scan_the_unwatched_again_and_again(self) -> None:
        while True:
            await trio.sleep(self._unwatched_scan_s)
            if self._unwatched:
                self._to_scan.update(self._unwatched)
                self._work.set()


# -- in a thread ------------------------------------------------------------------------------


def _which(unwatchable: Callable[[Path], bool], directories: Iterable[Path]) -> set[Path]:
    return {directory for directory in directories if unwatchable(directory)}


def _scan_all(asked: Iterable[tuple[Path, bool, frozenset[str]]]) -> list[_Scan]:
    return [_scan_one(directory, listed, names) for directory, listed, names in asked]


def _scan_one(directory: Path, listed: bool, names: frozenset[str]) -> _Scan:
    before = _identity(directory)
    if before is None:
        return _Scan(directory, None)
    wanted = set(names)
    if listed:
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if len(wanted) >= FOLDER_NAMES_MAX:
                        break
                    wanted.add(entry.name)
        except OSError:
            return _Scan(directory, None)
    files = {name: _stat(directory, name) for name in wanted}
    # The folder may have gone away, or been replaced, while its files were looked at.
    if _identity(directory) != before:
        return _Scan(directory, None)
    return _Scan(directory, files)


def _stat_all(keys: Iterable[_Key]) -> dict[_Key, FileStat | None]:
    return {key: _stat(*key) for key in keys}


def _stat(directory: Path, name: str) -> FileStat | None:
    try:
        return to_stat(os.lstat(f"{directory}/{name}"))
    except OSError:
        return None


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(directory)
    except OSError:
        return None
    return found.st_dev, found.st_ino
