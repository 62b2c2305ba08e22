"""One folder with shared files: read what is stable, replace only what was expected.

All work goes by the folder's descriptor and a single name in it, so that nothing that happens to
the path leads elsewhere. Links, folders and devices are neither read nor written, hard-linked
files not written. All functions block: call them in a thread.
"""

import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import (
    FileAbsent,
    FileBusy,
    FileTooLarge,
    FolderMissing,
    NotARegularFile,
    P2PSyncError,
    StorageError,
    TargetChanged,
)
from p2psync.storage.disk import (
    DISK_CALLS,
    SYNC_ALL_FROM,
    DiskCalls,
    disk_error,
    disk_errors,
    exchange,
    fsync_directory,
    open_directory,
    refuse_kind,
    rename_new,
    write_all,
)
from p2psync.storage.file_state import (
    ANYTHING,
    CLOCK_TICK_NS,
    Anything,
    Expected,
    FileStat,
    to_stat,
)
from p2psync.storage.reading import StableReader, blocks_digest, read_whole

DIGESTED_AT_ONCE_BYTES_MAX = 1 << 20
_SYNCS = ThreadPoolExecutor(2, "sync")
"""Waits for the disk, so that others can work meanwhile."""
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TEMPORARY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Replacement:
    """Content that is to have a name in a folder; see ``Folder.replace``.

    ``moved`` is the path of a durable file with that content, to be moved here where that can be
    done. ``keep`` is given the path of what was replaced, and may move it away.
    """

    name: str
    content: Iterable[bytes]
    expected: Expected
    moved: str | None = None
    keep: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class _Temporary:
    """A content in the folder that has no name yet: whether it is durable, and what the target was
    when it was looked at (``None`` where a change since could be hidden)."""

    synced: bool
    target: FileStat | None


class Folder:
    """An open folder; a context manager.

    ``stat``, ``read`` and the others take a name as the folder has it, never a path; a name with a
    separator is a mistake of the caller (``ValueError``).
    """

    def __init__(self, path: Path, descriptor: int, calls: DiskCalls = DISK_CALLS) -> None:
        self.path = path
        self._descriptor = descriptor
        self._calls = calls
        found = os.fstat(descriptor)
        self.identity = (found.st_dev, found.st_ino)
        """Device and inode: another folder (an empty mount point) at the same path has others."""

    @classmethod
    def open(cls, path: Path, calls: DiskCalls = DISK_CALLS) -> Self:
        """Open the folder at an absolute path; its parents may be links, itself not.

        Raises ``FolderMissing``, ``NotAFolder`` or another storage error. Leftovers of a crash are
        the caller's to remove (``remove_leftovers``), once no other process writes here.
        """
        return cls(path, open_directory(os.fspath(path)), calls)

    @classmethod
    def open_within(
        cls, root: Path, *parts: str, create: bool = False, calls: DiskCalls = DISK_CALLS
    ) -> Self:
        """Open a folder below ``root``, one component after the other, following no link.

        With ``create``, missing components are made (0700). Raises as ``open``.
        """
        descriptor = open_directory(os.fspath(root))
        path = root
        try:
            for part in parts:
                _check_component(part)
                path = path / part
                if create:
                    with disk_errors(os.fspath(path)), suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                        fsync_directory(descriptor, calls)
                inner = _open_inner(path, part, descriptor)
                os.close(descriptor)
                descriptor = inner
            return cls(path, descriptor, calls)
        except BaseException:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Close the folder; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def path_of(self, name: str) -> str:
        """Return the path of a name, for people."""
        return os.fspath(self.path / name)

    # -- looking ------------------------------------------------------------------------------

    def stat(self, name: str) -> FileStat | None:
        """Return the state of a regular file; None when nothing has this name.

        Raises ``NotARegularFile`` for anything else, ``FolderMissing`` when it is the folder that
        is gone, so that None is never the fault of a drive that was pulled out.
        """
        found = self._lstat(name)
        if found is None:
            return None
        if not stat.S_ISREG(found.st_mode):
            refuse_kind(self.path_of(name), found.st_mode)
        return to_stat(found)

    def names(self, limit: int) -> list[str]:
        """Return at most ``limit`` names in the folder, without our temporary files."""
        with disk_errors(os.fspath(self.path)), os.scandir(self._descriptor) as entries:
            found: list[str] = []
            for entry in entries:
                if len(found) >= limit:
                    break
                if not entry.name.startswith(TEMPORARY_PREFIX):
                    found.append(entry.name)
            return found

    # -- reading ------------------------------------------------------------------------------

    def read(self, name: str, limit_bytes: int) -> tuple[bytes, FileStat]:
        """Return the whole content and the state that it was read in.

        Raises ``FileAbsent``, ``FileBusy`` when it changed while it was read, ``FileTooLarge``,
        ``NotARegularFile``. A file changed within the last tick is read twice, because its times
        could hide a change.
        """
        with self._opened(name) as (descriptor, first):
            path = self.path_of(name)
            if first.size_bytes > limit_bytes:
                raise FileTooLarge(path=path, size_bytes=first.size_bytes, limit_bytes=limit_bytes)
            settled = first.settled(time.time_ns())
            with disk_errors(path):
                data = read_whole(descriptor, first.size_bytes)
                if not settled and read_whole(descriptor, first.size_bytes) != data:
                    raise FileBusy(path=path)
                last = to_stat(os.fstat(descriptor))
        if len(data) != first.size_bytes or last != first or self.stat(name) != first:
            raise FileBusy(path=path)
        return data, first

    @contextmanager
    def open_stable(self, name: str) -> Iterator[StableReader]:
        """Open a file of any size to be read in blocks; see ``StableReader``.

        Waits until the file's last change is a tick old (at most 20 ms), so that any change while
        reading shows in its times. Raises as ``read``.
        """
        with self._opened(name) as (descriptor, first):
            now = time.time_ns()
            if not first.settled(now):
                time.sleep(CLOCK_TICK_NS / 1e9)
                with disk_errors(self.path_of(name)):
                    if to_stat(os.fstat(descriptor)) != first:
                        raise FileBusy(path=self.path_of(name))
            yield StableReader(self.path_of(name), descriptor, first, lambda: self.stat(name))

    def digest(self, name: str) -> bytes:
        """Return the digest of a file's content (32 bytes); raises as ``open_stable``.

        A small file is read twice rather than waited for.
        """
        found = self.stat(name)
        if found is not None and found.size_bytes <= DIGESTED_AT_ONCE_BYTES_MAX:
            return blocks_digest([self.read(name, DIGESTED_AT_ONCE_BYTES_MAX)[0]])
        with self.open_stable(name) as blocks:
            return blocks_digest(blocks)

    # -- writing ------------------------------------------------------------------------------

    def replace(self, name: str, content: Iterable[bytes], expected: Expected) -> FileStat:
        """Put durable content under a name if the target still is what was expected.

        Returns the new state. The content goes to a temporary file in the folder (0600, or the
        mode of the target), is synced, and takes the name in one step; a reader sees the old or
        the new file, whole. Raises ``TargetChanged`` with nothing changed (the target's new
        content is to become a version first), ``NotARegularFile`` for a link, a hard-linked file,
        a folder or a device, ``DiskFull`` and other storage errors. Where the system can
        (renameat2), the check covers the instant of the exchange too.
        """
        (result,) = self.replace_many([Replacement(name, content, expected)])
        if isinstance(result, P2PSyncError):
            raise result
        return result

    def replace_many(
        self, wanted: Sequence["Replacement"], ready: Callable[[], None] = lambda: None
    ) -> list[FileStat | P2PSyncError]:
        """Do ``replace`` for many files with few syncs; return the new state of each, or its error.

        An error of one keeps none of the others from being replaced. What a content raises while
        it is read is its error. ``ready`` is waited for once the contents are durable and before
        any takes its name; what it raises is the error of all.
        """
        results: list[FileStat | P2PSyncError | None] = [None] * len(wanted)
        written: list[tuple[int, str, _Temporary]] = []
        try:
            for number, each in enumerate(wanted):
                temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
                try:
                    written.append((number, temporary, self._write_temporary(temporary, each)))
                except P2PSyncError as error:
                    results[number] = error
            with disk_errors(os.fspath(self.path)):
                self._sync([temporary for _, temporary, made in written if not made.synced])
            ready()
            if written:
                self._check_present()
            named = False
            for number, temporary, made in written:
                try:
                    results[number] = self._put(temporary, wanted[number], made.target)
                    named = True
                except P2PSyncError as error:
                    results[number] = error
            if named:
                with disk_errors(os.fspath(self.path)):
                    fsync_directory(self._descriptor, self._calls)
        except P2PSyncError as error:
            # Nothing is sure of any of them.
            return [each if isinstance(each, P2PSyncError) else error for each in results]
        finally:
            for number, temporary, _ in written:
                moved = wanted[number].moved
                with suppress(OSError):
                    if moved is not None and not os.path.lexists(moved):
                        os.rename(temporary, moved, src_dir_fd=self._descriptor)
                    os.unlink(temporary, dir_fd=self._descriptor)
        return [each for each in results if each is not None]

    def remove(self, name: str, expected: Expected = ANYTHING) -> None:
        """Remove a file durably; nothing happens when it is already gone.

        Raises ``TargetChanged`` when it is not what was expected, ``NotARegularFile``.
        """
        _check_component(name)
        if self.stat(name) is None:
            return
        self._expect(name, expected)
        with disk_errors(self.path_of(name)):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descriptor)
            fsync_directory(self._descriptor, self._calls)

    def rename(self, name: str, new_name: str, expected: Expected = ANYTHING) -> FileStat:
        """Give a file another name durably; returns its new state.

        Raises ``FileAbsent``, ``TargetChanged`` when the new name is taken or the file is not what
        was expected, ``NotARegularFile``.
        """
        _check_component(new_name)
        if self._expect(name, expected) is None:
            raise FileAbsent(path=self.path_of(name))
        if self._lstat(new_name) is not None:
            raise TargetChanged(path=self.path_of(new_name))
        with disk_errors(self.path_of(new_name)):
            try:
                if not rename_new(self._descriptor, name, new_name):
                    os.rename(
                        name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor
                    )
            except FileExistsError as error:
                raise TargetChanged(path=self.path_of(new_name)) from error
            result = to_stat(os.stat(new_name, dir_fd=self._descriptor, follow_symlinks=False))
            fsync_directory(self._descriptor, self._calls)
        return result

    def remove_leftovers(self, keep: Callable[[str, bytes], None] | None = None) -> int:
        """Remove temporary files that a crash left; returns how many there were.

        Only regular files with our prefix. ``keep`` is given the path and the digest of each and
        may move it away: it can be what a new file took the place of. Call it before the first
        ``replace``, while this process alone writes here.
        """
        with disk_errors(os.fspath(self.path)), os.scandir(self._descriptor) as entries:
            names = [
                entry.name
                for entry in entries
                if entry.name.startswith(TEMPORARY_PREFIX) and entry.is_file(follow_symlinks=False)
            ]
        for name in names:
            if keep is not None:
                with suppress(P2PSyncError):
                    keep(self.path_of(name), self.digest(name))
            with disk_errors(self.path_of(name)), suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._descriptor)
        return len(names)

    # -- parts --------------------------------------------------------------------------------

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, FileStat]]:
        path = self.path_of(name)
        if self.stat(name) is None:
            raise FileAbsent(path=path)
        try:
            # Not blocking: a pipe put there just now must not hold us for ever.
            descriptor = os.open(name, _READ_FLAGS, dir_fd=self._descriptor)
        except FileNotFoundError as error:
            raise FileBusy(path=path) from error
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                refuse_kind(path, found.st_mode)
            yield descriptor, to_stat(found)
        finally:
            os.close(descriptor)

    def _lstat(self, name: str) -> os.stat_result | None:
        _check_component(name)
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            self._check_present()
            return None
        except OSError as error:
            raise disk_error(error, self.path_of(name)) from error

    def _check_present(self) -> None:
        """Raise ``FolderMissing`` unless the path still leads to this very folder."""
        path = os.fspath(self.path)
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FolderMissing(path=path) from error
        except OSError as error:
            raise disk_error(error, path) from error
        if (found.st_dev, found.st_ino) != self.identity:
            raise FolderMissing(path=path)

    def _expect(self, name: str, expected: Expected) -> os.stat_result | None:
        path = self.path_of(name)
        found = self._lstat(name)
        if found is not None:
            if not stat.S_ISREG(found.st_mode):
                refuse_kind(path, found.st_mode)
            if found.st_nlink > 1:
                raise NotARegularFile(path=path, cause="a file with a second name (hard link)")
        match expected:
            case Anything():
                return found
            case None:
                unchanged = found is None
            case FileStat():
                unchanged = found is not None and to_stat(found) == expected
            case bytes():
                unchanged = found is not None and self._has_digest(name, expected)
        if not unchanged:
            raise TargetChanged(path=path)
        return found

    def _has_digest(self, name: str, expected: bytes) -> bool:
        try:
            return self.digest(name) == expected
        except (FileBusy, FileAbsent):
            return False

    def _write_temporary(self, temporary: str, wanted: "Replacement") -> "_Temporary":
        """Bring the content into the folder."""
        _check_component(wanted.name)
        # Before anything is written: a full disk must not be filled to learn that it was in vain.
        now_ns = time.time_ns()
        target = self._expect(wanted.name, wanted.expected)
        # A digest need not be read again where any change must show.
        sure = None if target is None or not to_stat(target).settled(now_ns) else to_stat(target)
        mode = 0o600 if target is None else stat.S_IMODE(target.st_mode) & 0o777
        with disk_errors(self.path_of(wanted.name)):
            if wanted.moved is not None:
                with suppress(OSError):
                    os.rename(wanted.moved, temporary, dst_dir_fd=self._descriptor)
                    os.chmod(temporary, mode, dir_fd=self._descriptor)
                    return _Temporary(True, sure)
            try:
                descriptor = os.open(temporary, _TEMPORARY_FLAGS, 0o600, dir_fd=self._descriptor)
                try:
                    for block in wanted.content:
                        write_all(descriptor, block, self._calls)
                    os.fchmod(descriptor, mode)
                finally:
                    os.close(descriptor)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
                raise
        return _Temporary(False, sure)

    def sync(self, names: Sequence[str]) -> None:
        """Make files durable that somebody else wrote, with their names; raises storage errors.

        Few programs sync what they save, and a save that others know of must outlast a power cut.
        """
        self.begin_sync(names)()

    def begin_sync(self, names: Sequence[str]) -> Callable[[], None]:
        """Begin to do ``sync`` in other threads; what is returned waits for the end and raises.

        It has to be called before the folder is closed. The file and its name go to the disk at the
        same time, where a file system with a journal writes both with one wait.
        """
        under_way = [
            _SYNCS.submit(self._sync, tuple(names)),
            _SYNCS.submit(fsync_directory, self._descriptor, self._calls),
        ]

        def wait() -> None:
            wait_for_all(under_way)
            with disk_errors(os.fspath(self.path)):
                for each in under_way:
                    each.result()

        return wait

    def _sync(self, names: Sequence[str]) -> None:
        if len(names) >= SYNC_ALL_FROM and self._calls.sync_file_system(self._descriptor):
            return
        for name in names:
            try:
                descriptor = os.open(name, _READ_FLAGS, dir_fd=self._descriptor)
            except FileNotFoundError:
                continue  # it was somebody else's, and is not there any more
            try:
                self._calls.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _put(self, temporary: str, wanted: "Replacement", sure: FileStat | None) -> FileStat:
        target = None
        if wanted.expected is not None:  # else taking the name tells whether it is free
            target = self._expect(wanted.name, wanted.expected if sure is None else sure)
        with disk_errors(self.path_of(wanted.name)):
            self._take_name(temporary, wanted.name, target)
            if target is not None:
                if wanted.keep is not None:
                    # What cannot be kept is no reason to leave the file half-way.
                    with suppress(P2PSyncError):
                        wanted.keep(self.path_of(temporary))
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self._descriptor)
            found = os.stat(wanted.name, dir_fd=self._descriptor, follow_symlinks=False)
        return to_stat(found)

    def _take_name(self, temporary: str, name: str, target: os.stat_result | None) -> None:
        """Give a temporary file its name; what was replaced then has the temporary one."""
        if target is None:
            self._take_free_name(temporary, name)
            return
        try:
            if not exchange(self._descriptor, temporary, name):
                os.replace(
                    temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor
                )
                return
        except FileNotFoundError as error:
            raise TargetChanged(path=self.path_of(name)) from error
        # The temporary name now holds what was replaced: it must be what was looked at.
        replaced = os.stat(temporary, dir_fd=self._descriptor, follow_symlinks=False)
        if not to_stat(replaced).same_file(to_stat(target)):
            exchange(self._descriptor, temporary, name)
            raise TargetChanged(path=self.path_of(name))

    def _take_free_name(self, temporary: str, name: str) -> None:
        try:
            if not rename_new(self._descriptor, temporary, name):
                if self._lstat(name) is not None:
                    raise TargetChanged(path=self.path_of(name))
                os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except FileExistsError as error:
            raise TargetChanged(path=self.path_of(name)) from error


def _check_component(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"not a single name: {name!r}")


def _open_inner(path: Path, part: str, parent: int) -> int:
    try:
        return open_directory(part, parent=parent)
    except StorageError as error:
        # The error names the component; people need the whole path.
        raise type(error)(**{**error.params, "path": os.fspath(path)}) from error
