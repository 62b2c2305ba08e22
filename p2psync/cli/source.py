"""A file that a command reads itself: opened once, read in blocks as often as needed."""

import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from p2psync import errors
from p2psync.cli.output import safe
from p2psync.cli.settings import current
from p2psync.i18n import _
from p2psync.limits import FILE_HEAD_BYTES, MIB

_BLOCK_BYTES = MIB
_PROGRESS_FROM_BYTES = 8 * MIB
_DRAWN_SECONDS = 0.1


class Source:
    """A plain file; a context manager. Raises ``InputUnreadable`` when it is none or cannot be
    read, ``FileBusy`` when it changes between two blocks.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.on_block: Callable[[int], None] = _nothing
        """Called with the size of each block that was read."""
        try:
            # What is no plain file, such as a pipe that nobody writes to, must not block.
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
        except OSError as error:
            raise errors.InputUnreadable(path=path, cause=error.strerror or error) from None
        try:
            self._first = os.fstat(self._descriptor)
            self._check_plain()
            self.size_bytes = self._first.st_size
            self.head = self._read(0, FILE_HEAD_BYTES)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def blocks(self) -> Iterator[bytes]:
        """Yield the whole file in blocks, from its beginning."""
        offset = 0
        while block := self._read(offset, _BLOCK_BYTES):
            offset += len(block)
            self._check_unchanged()
            self.on_block(len(block))
            yield block
        self._check_unchanged()

    def _read(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise errors.InputUnreadable(path=self.path, cause=error.strerror or error) from None

    def _check_plain(self) -> None:
        mode = self._first.st_mode
        if stat.S_ISREG(mode):
            return
        cause = _("it is a folder") if stat.S_ISDIR(mode) else _("it is no plain file")
        raise errors.InputUnreadable(path=self.path, cause=cause)

    def _check_unchanged(self) -> None:
        now = os.fstat(self._descriptor)
        if (now.st_size, now.st_mtime_ns) != (self._first.st_size, self._first.st_mtime_ns):
            raise errors.FileBusy(path=self.path)


_BINARY = getattr(os, "O_BINARY", 0)


def _nothing(_size_bytes: int) -> None:
    return


@contextmanager
def shown_reading(*sources: Source, times: int = 1) -> Iterator[None]:
    """Show at a terminal how far the files are read, each so many times, if that takes a while."""
    total = sum(source.size_bytes for source in sources) * times
    if total < _PROGRESS_FROM_BYTES or current().json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (TextColumn("{task.description}", markup=False), BarColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(safe(sources[-1].name), total=total)
        done = drawn = 0.0

        def read(size_bytes: int) -> None:
            nonlocal done, drawn
            done += size_bytes
            if time.monotonic() - drawn > _DRAWN_SECONDS:
                drawn = time.monotonic()
                progress.update(task, completed=done)

        for source in sources:
            source.on_block = read
        try:
            yield
        finally:
            for source in sources:
                source.on_block = _nothing
