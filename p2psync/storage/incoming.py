"""Content on its way to this machine, put together piece by piece.

``incoming/NAME`` has as many bytes as the content will have, each piece at its place. Nothing is
synced before the content is whole: after a crash the pieces are checked by their digests, and what
does not fit is fetched again. A content of one piece stays in memory while there is room for it.
All functions block, and may run in several threads at once.
"""

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from threading import RLock

from p2psync.limits import CHUNK_BYTES, INCOMING_MEMORY_BYTES_MAX, INCOMING_OPEN_MAX
from p2psync.storage.disk import DISK_CALLS, DiskCalls, disk_errors, open_directory, pwrite_all

_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class Incoming:
    """All contents of a home that are being put together, by name (hexadecimal digits)."""

    def __init__(self, root: Path, calls: DiskCalls = DISK_CALLS) -> None:
        """Open the folder; it exists."""
        self._path = os.fspath(root)
        self._calls = calls
        self._directory = open_directory(self._path)
        self._small: dict[str, bytes] = {}
        self._small_bytes = 0
        self._open: OrderedDict[str, int] = OrderedDict()
        self._lock = RLock()
        with disk_errors(self._path):
            self._files = set(os.listdir(self._directory))

    def close(self) -> None:
        """Close all files; idempotent."""
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])
            if self._directory >= 0:
                os.close(self._directory)
                self._directory = -1

    def put(self, name: str, size_bytes: int, offset: int, piece: bytes) -> None:
        """Put a piece of a content of ``size_bytes`` at its place; not durable.

        Raises ``DiskFull`` or another storage error.
        """
        assert offset + len(piece) <= size_bytes
        with self._lock:
            if size_bytes == len(piece) <= CHUNK_BYTES:
                room = INCOMING_MEMORY_BYTES_MAX - self._small_bytes
                if name not in self._small and len(piece) <= room:
                    self._small[name] = piece
                    self._small_bytes += len(piece)
                    return
            with disk_errors(self._path):
                descriptor = self._descriptor(name, size_bytes)
                pwrite_all(descriptor, piece, offset, self._calls)

    def in_memory(self, size_bytes: int) -> bool:
        """Whether contents of one piece each, of so many bytes together, stay in memory."""
        with self._lock:
            return self._small_bytes + size_bytes <= INCOMING_MEMORY_BYTES_MAX

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """Return what stands at a place, to be checked by the caller; short when nothing does."""
        with self._lock:
            small = self._small.get(name)
            if small is not None:
                return small[offset : offset + length]
            if name not in self._files:
                return b""
            with disk_errors(self._path):
                try:
                    return os.pread(self._descriptor(name, None), length, offset)
                except FileNotFoundError:
                    self._files.discard(name)  # somebody took it away
                    return b""

    def has(self, name: str) -> bool:
        """Whether any piece of a content may be here."""
        with self._lock:
            return name in self._small or name in self._files

    def release(self, name: str) -> str | None:
        """Make a content durable as far as its bytes go, and return the path to rename it from.

        ``None`` when it has no file. Call ``drop`` once it has its new name.
        """
        with self._lock:
            if name not in self._files:
                return None
            with disk_errors(self._path):
                self._calls.fsync(self._descriptor(name, None))
            return f"{self._path}/{name}"

    def drop(self, name: str) -> None:
        """Forget a content; nothing happens when it is not here."""
        with self._lock:
            small = self._small.pop(name, None)
            if small is not None:
                self._small_bytes -= len(small)
            descriptor = self._open.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)
            if name in self._files:
                self._files.discard(name)
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._directory)

    def names(self) -> list[str]:
        """The names of all contents here."""
        with self._lock:
            return sorted(self._files | self._small.keys())

    def _descriptor(self, name: str, size_bytes: int | None) -> int:
        """Open the file of a content (made when ``size_bytes`` is given); the last used stay."""
        descriptor = self._open.pop(name, None)
        if descriptor is None:
            if size_bytes is None:
                descriptor = os.open(name, _READ_FLAGS, dir_fd=self._directory)
            else:
                descriptor = os.open(name, _OPEN_FLAGS, 0o600, dir_fd=self._directory)
                self._files.add(name)
                try:
                    os.ftruncate(descriptor, size_bytes)
                except OSError:
                    os.close(descriptor)
                    raise
            if len(self._open) >= INCOMING_OPEN_MAX:
                os.close(self._open.popitem(last=False)[1])
        self._open[name] = descriptor
        return descriptor
