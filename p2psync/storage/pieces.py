"""Reads pieces of files wherever they may be; whoever asks checks them by their digests."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OpenFiles:
    """Files that are opened when they are first read; a context manager that closes them.

    Links, folders and devices are never read; what cannot be read has no pieces.
    """

    def __init__(self) -> None:
        self._descriptors: dict[Path, int | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for descriptor in self._descriptors.values():
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors.clear()

    def piece(self, path: Path, offset: int, length: int) -> bytes:
        """Return what stands at a place in a file; short or empty when there is less."""
        if path not in self._descriptors:
            self._descriptors[path] = _open(path)
        descriptor = self._descriptors[path]
        if descriptor is None:
            return b""
        with suppress(OSError):
            return os.pread(descriptor, length, offset)
        return b""

    def first(self, paths: Sequence[Path]) -> Path | None:
        """Return the first of these that is a regular file that can be read."""
        for path in paths:
            self.piece(path, 0, 0)
            if self._descriptors[path] is not None:
                return path
        return None


def _open(path: Path) -> int | None:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
