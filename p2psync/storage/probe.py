"""Finds out whether a disk that refused to be written takes something again."""

import os
from contextlib import suppress
from pathlib import Path

from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import DiskFull
from p2psync.limits import DISK_FREE_AGAIN_BYTES, DISK_PROBE_BYTES
from p2psync.storage.disk import disk_errors, write_all

_PROBE = f"{TEMPORARY_PREFIX}probe"


def try_writing(path: str) -> None:
    """Write a little where ``path`` lies and take it away; raises what the disk has against it.

    ``path`` is a file or folder, and need not be there. A full disk counts as written again once
    some space is free: with a few bytes the next file would fill it up, again and again.
    """
    folder = _folder_of(Path(path))
    with disk_errors(path):
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if free < min(DISK_FREE_AGAIN_BYTES, found.f_blocks * found.f_frsize // 100):
            raise DiskFull(path=path)
        probe = folder / _PROBE
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(probe, flags, 0o600)
        try:
            write_all(descriptor, bytes(DISK_PROBE_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            with suppress(OSError):
                os.unlink(probe)


def _folder_of(path: Path) -> Path:
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
