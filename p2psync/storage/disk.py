"""What all files of p2psync have in common: errors by name, whole writes, one seam to the disk."""

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from p2psync import limits
from p2psync.errors import (
    AccessDenied,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    FolderMissing,
    NotAFolder,
    NotARegularFile,
    StorageError,
)


def _libc_function(name: str, *arguments: type) -> Callable[..., int] | None:
    """Return a function of the C library that Python does not offer; None where there is none."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.argtypes = arguments
    return function


_SYNCFS = _libc_function("syncfs", ctypes.c_int)
_STATX = _libc_function(
    "statx", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p
)
_RENAMEAT2 = _libc_function(
    "renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
)


def sync_file_system(descriptor: int) -> bool:
    """Make all of a file system durable (syncfs(2)); False where the system cannot.

    One call for many small files is several times as fast as one fsync each. Raises ``OSError``.
    """
    if _SYNCFS is None:
        return False
    if _SYNCFS(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


SYNC_ALL_FROM = 4
"""From so many files or folders on, the whole file system is synced instead of each."""


@dataclass(frozen=True, slots=True)
class DiskCalls:
    """The calls that may fail or be cut off half-way; tests put failing and crashing ones here."""

    write: Callable[[int, memoryview], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    sync_file_system: Callable[[int], bool] = sync_file_system
    pwrite: Callable[[int, memoryview, int], int] = os.pwrite


DISK_CALLS = DiskCalls()


def disk_error(error: OSError, path: str) -> StorageError:
    """Return the storage error that says what an ``OSError`` means for ``path``."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return DiskFull(path=path)
        case errno.EROFS:
            return DiskReadOnly(path=path)
        case errno.EACCES | errno.EPERM:
            return AccessDenied(path=path)
        case errno.ENODEV | errno.ENXIO | errno.ENOTCONN | errno.ESTALE:
            return FolderMissing(path=path)
        case _:
            return DiskFailed(path=path, cause=error.strerror or str(error))


def check_room(path: str, size_bytes: int) -> None:
    """Raise ``DiskFull`` unless so much can be written and a reserve stays free.

    ``path`` is something on that disk. A few chunks can stand for a file of any size: what it
    takes is looked at before, not once the disk is full.
    """
    with disk_errors(path):
        found = os.statvfs(path)
    block = found.f_frsize
    reserve = min(limits.DISK_RESERVE_BYTES_MAX, found.f_blocks * block // 20)
    if size_bytes > limits.MIB and found.f_bavail * block - size_bytes < reserve:
        raise DiskFull(path=path)


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Turn every ``OSError`` of the block into the storage error that names ``path``."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def open_directory(path: str, *, parent: int | None = None) -> int:
    """Open a directory and return its descriptor; its last component is never followed.

    Raises ``FolderMissing``, ``NotAFolder`` for a link or a file, or another storage error.
    """
    try:
        return os.open(
            path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
        )
    except FileNotFoundError as error:
        raise FolderMissing(path=path) from error
    except NotADirectoryError as error:
        # Linux answers so for a link too, when both O_DIRECTORY and O_NOFOLLOW are given.
        raise NotAFolder(path=path, cause=_kind_at(path, parent)) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFolder(path=path, cause="a link") from error
        raise disk_error(error, path) from error


def refuse_kind(path: str, mode: int) -> NoReturn:
    """Raise ``NotARegularFile`` that names the kind of file that ``mode`` says."""
    raise NotARegularFile(path=path, cause=kind(mode))


def kind(mode: int) -> str:
    """Return what people call a file of this mode, with its article."""
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISREG(mode):
        return "a file"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a device"


def write_all(descriptor: int, data: bytes, calls: DiskCalls = DISK_CALLS) -> None:
    """Write every byte; raises ``OSError``."""
    view = memoryview(data)
    while view:
        written = calls.write(descriptor, view)
        view = view[written:]


def pwrite_all(descriptor: int, data: bytes, offset: int, calls: "DiskCalls | None" = None) -> None:
    """Write every byte at a place; raises ``OSError``."""
    pwrite = (calls or DISK_CALLS).pwrite
    view = memoryview(data)
    while view:
        written = pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def fsync_directory(descriptor: int, calls: DiskCalls = DISK_CALLS) -> None:
    """Make the names in a directory durable; raises ``OSError``."""
    try:
        calls.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot; there is nothing more to do there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def sync_names(folder: str) -> None:
    """Make the names in a folder at a path durable; raises storage errors.

    What lies in a folder whose own name a power cut takes back is lost, however well it was synced
    itself.
    """
    descriptor = open_directory(folder)
    try:
        with disk_errors(folder):
            fsync_directory(descriptor)
    finally:
        os.close(descriptor)


_STATX_BYTES = 256
_STATX_BIRTH = 0x800
_STATX_BIRTH_AT = 80
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100


def birth_ns(path: str) -> int | None:
    """Return when a file was made, in nanoseconds since 1970; ``None`` where nobody knows.

    Links are not followed. By statx(2), for Python does not tell on Linux.
    """
    if _STATX is None:
        try:
            seconds = getattr(os.lstat(path), "st_birthtime", None)
        except OSError:
            return None
        return None if seconds is None else int(seconds * 1e9)
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    if _STATX(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BIRTH, answer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", answer, 0)
    seconds_at, rest = struct.unpack_from("=qI", answer, _STATX_BIRTH_AT)
    return int(seconds_at) * 1_000_000_000 + int(rest) if mask & _STATX_BIRTH else None


def _kind_at(path: str, parent: int | None) -> str:
    try:
        mode = os.stat(path, dir_fd=parent, follow_symlinks=False).st_mode
    except OSError:
        return "no folder any more"
    return kind(mode)


# -- renames that check in the same step (renameat2(2)) ---------------------------------------

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def rename_new(descriptor: int, source: str, target: str) -> bool:
    """Rename within a directory unless the target exists; False when the system cannot.

    Raises ``FileExistsError`` and other ``OSError``s.
    """
    return _renameat2(descriptor, source, target, _RENAME_NOREPLACE)


def exchange(descriptor: int, one: str, other: str) -> bool:
    """Swap two names of a directory in one step; False when the system cannot."""
    return _renameat2(descriptor, one, other, _RENAME_EXCHANGE)


def _renameat2(descriptor: int, source: str, target: str, flags: int) -> bool:
    if _RENAMEAT2 is None:
        return False
    if _RENAMEAT2(descriptor, os.fsencode(source), descriptor, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), source, None, target)
