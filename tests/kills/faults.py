"""Disks that fail: below a place of the test's choice every write ends with an error of its choice.

It is done in the node's own process, at the calls of the system that Python makes, and for SQLite
where a transaction is to become durable. Reading works: that is what a full disk, one that was
mounted read-only after an error, and most of those that begin to die still do.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_SQLITE = {
    errno.ENOSPC: (sqlite3.SQLITE_FULL, "database or disk is full"),
    errno.EROFS: (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
    errno.EIO: (sqlite3.SQLITE_IOERR_WRITE, "disk I/O error"),
}


class Faults:
    """What fails now, said by the test in a file that the node's process reads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], dict[str, int]] = ((-1, 0, 0), {})

    def set(self, number: int, *places: Path) -> None:
        """Let all writes at and below some places fail with this ``errno``."""
        self._put({str(place): number for place in places})

    def clear(self) -> None:
        """Let everything work again."""
        self._put({})

    def _put(self, found: dict[str, int]) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(found))
        beside.replace(self._path)

    def at(self, path: str) -> int:
        """The ``errno`` with which writing a path fails; 0 when it works."""
        try:
            # An inode is given out again soon: it alone does not tell one file from the next.
            state = os.stat(self._path)
            found = (state.st_ino, state.st_ctime_ns, state.st_size)
            if found != self._read[0]:
                self._read = (found, json.loads(self._path.read_text()))
        except FileNotFoundError:
            return 0
        for place, number in self._read[1].items():
            if path == place or path.startswith((f"{place}/", f"{place}-")):
                return number
        return 0


_faults: Faults | None = None


def hold(faults: Faults) -> None:
    """Let these faults be this process's."""
    global _faults
    _faults = faults


def _check(path: str, *, harmless: Sequence[int] = ()) -> None:
    number = 0 if _faults is None else _faults.at(path)
    if number and number not in harmless:
        raise OSError(number, os.strerror(number), path)


def _of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def _join(path: Any, directory: int | None) -> str:
    name = os.fsdecode(path)
    return name if directory is None or name.startswith("/") else f"{_of(directory)}/{name}"


def _on_descriptor(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def checked(descriptor: int, *rest: Any, **named: Any) -> Any:
        if _faults is not None:
            _check(_of(descriptor))
        return call(descriptor, *rest, **named)

    return checked


def _on_path(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def checked(path: Any, *rest: Any, **named: Any) -> Any:
        if _faults is not None:
            harmless = (errno.ENOSPC,) if call.__name__ in ("unlink", "remove", "rmdir") else ()
            _check(_join(path, named.get("dir_fd")), harmless=harmless)
        return call(path, *rest, **named)

    return checked


def _on_two(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def checked(source: Any, target: Any, *rest: Any, **named: Any) -> Any:
        if _faults is not None:
            _check(_join(target, named.get("dst_dir_fd")))
        return call(source, target, *rest, **named)

    return checked


def _opening(call: Callable[..., int]) -> Callable[..., int]:
    @wraps(call)
    def checked(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if _faults is not None and flags & _WRITING:
            _check(_join(path, named.get("dir_fd")))
        return call(path, flags, *rest, **named)

    return checked


def of_database(connection: sqlite3.Connection, sql: str) -> None:
    """Raise what SQLite says when a transaction cannot be made durable."""
    if _faults is None or sql != "COMMIT":
        return
    path = next(row[2] for row in sqlite3.Connection.execute(connection, "PRAGMA database_list"))
    number = _faults.at(path)
    if number:
        code, text = _SQLITE[number]
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        error.sqlite_errorname = "SQLITE_IOERR_WRITE"
        raise error


def install() -> None:
    """Put the checks before the calls; once, before p2psync is imported."""
    for name in ("write", "pwrite", "fsync", "fdatasync", "ftruncate"):
        setattr(os, name, _on_descriptor(getattr(os, name)))
    for name in ("mkdir", "unlink", "remove", "rmdir", "truncate"):
        setattr(os, name, _on_path(getattr(os, name)))
    for name in ("rename", "replace", "link"):
        setattr(os, name, _on_two(getattr(os, name)))
    patched: Any = os
    patched.open = _opening(os.open)
