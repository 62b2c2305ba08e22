"""Connections to SQLite: durable, private, checked after a crash, with errors that help.

Sources: sqlite.org/wal.html, sqlite.org/pragma.html, sqlite.org/rescode.html.
"""

import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from p2psync.errors import (
    AccessDenied,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseForeign,
    DatabaseNewer,
    DiskFailed,
    DiskFull,
    DiskReadOnly,
    StorageError,
    SystemTooOld,
)
from p2psync.limits import (
    DATABASE_BUSY_SECONDS_MAX,
    DATABASE_CHECK_SECONDS_MAX,
    KIB,
    WAL_BYTES_MAX,
)
from p2psync.storage import schema
from p2psync.storage.disk import disk_error, disk_errors, fsync_directory, open_directory, write_all

PAGE_BYTES = 4 * KIB
CACHE_BYTES = 8 * 1024 * KIB
_SQLITE_NEEDED = (3, 37, 0)
_PROBE_BYTES = 64 * KIB
_CHECK_STEPS = 10_000
T = TypeVar("T")
Row = Any
"""A row as sqlite3 gives it: a tuple whose types the query decides."""


def prepare_file(path: Path) -> None:
    """See that the database's file exists, durably by name, and is the user's alone (0600).

    SQLite gives its ``-wal`` and ``-shm`` the same mode. Raises storage errors; a link is refused.
    """
    with disk_errors(str(path)):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_mode & 0o077:
                    os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
            return
        os.close(descriptor)
        directory = open_directory(str(path.parent))
        try:
            fsync_directory(directory)
        finally:
            os.close(directory)


def was_cut_off(path: Path) -> bool:
    """Tell whether the last process did not close the database: its log is still there."""
    try:
        return os.stat(f"{path}-wal").st_size > 0
    except OSError:
        return False


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection set up as p2psync needs it; ``sqlite_errors`` belongs around it."""
    if sqlite3.sqlite_version_info < _SQLITE_NEEDED:
        needed = ".".join(map(str, _SQLITE_NEEDED))
        raise SystemTooOld(version=sqlite3.sqlite_version, needed=needed)
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=DATABASE_BUSY_SECONDS_MAX,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for pragma in (
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            # NORMAL would let a power cut take back what peers already have (protocol.md).
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            f"wal_autocheckpoint = {WAL_BYTES_MAX // PAGE_BYTES}",
            f"journal_size_limit = {WAL_BYTES_MAX}",
            f"cache_size = -{CACHE_BYTES // KIB}",
            "foreign_keys = ON",
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "secure_delete = FAST",
            "temp_store = MEMORY",
            f"query_only = {'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def open_writer(path: Path) -> sqlite3.Connection:
    """Open p2psync's database for writing: made, checked and brought up to date as need be.

    Raises ``DatabaseDamaged``, ``DatabaseForeign``, ``DatabaseNewer`` (nothing is changed then) and
    other storage errors.
    """
    prepare_file(path)
    cut_off = was_cut_off(path)
    with sqlite_errors(path):
        _recognise(path)
        connection = connect(path)
        try:
            if cut_off:
                check(connection, path)
            schema.migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def check_unused(path: Path) -> None:
    """Look through a database that no node has open, and change nothing.

    Raises ``DatabaseDamaged``, ``DatabaseForeign``, ``DatabaseNewer``, ``DatabaseBusy`` and other
    storage errors. A large one is looked at for ``DATABASE_CHECK_SECONDS_MAX``.
    """
    with sqlite_errors(path):
        _recognise(path, "ro")
        uri = f"file:{quote(str(path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0)) as connection:
            check(connection, path)


def _recognise(path: Path, mode: str = "rw") -> None:
    """Look whose database it is before anything in it is touched, journal mode included."""
    uri = f"file:{quote(str(path))}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=DATABASE_BUSY_SECONDS_MAX)) as connection:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = schema.version_of(connection)
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != schema.APPLICATION_ID and (application or version or tables):
        raise DatabaseForeign(path=path)
    if version > schema.VERSION:
        raise DatabaseNewer(path=path, version=version, known=schema.VERSION)


def check(connection: sqlite3.Connection, path: Path) -> bool:
    """Look through the whole database for damage; False when time was up before the end.

    Raises ``DatabaseDamaged``.
    """
    deadline = time.monotonic() + DATABASE_CHECK_SECONDS_MAX
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECK_STEPS)
    try:
        found: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return False
        raise
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise DatabaseDamaged(path=path, cause=found.splitlines()[-1])
    return True


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite says of the disk into storage errors; our own mistakes pass as they are."""
    try:
        yield
    except sqlite3.Error as error:
        translated = storage_error(error, path)
        if translated is None:
            raise
        raise translated from error


def storage_error(error: sqlite3.Error, path: Path) -> StorageError | None:
    """Return the storage error that an SQLite error means; ``None`` for a programming mistake."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return DiskFull(path=path)
        case sqlite3.SQLITE_READONLY:
            return DiskReadOnly(path=path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DatabaseDamaged(path=path, cause=str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return DatabaseBusy(path=path)
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return AccessDenied(path=path)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN:
            # SQLite does not say why the system refused: quota, read-only after an error, gone.
            return _probe(path) or DiskFailed(path=path, cause=error.sqlite_errorname)
        case _:
            return None


def _probe(path: Path) -> StorageError | None:
    """Write a little beside the database to learn what the system has against it."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".probe-", dir=path.parent)
    except OSError as error:
        return disk_error(error, str(path))
    try:
        write_all(descriptor, bytes(_PROBE_BYTES))
        os.fsync(descriptor)
    except OSError as error:
        return disk_error(error, str(path))
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(name)
    return None


class Reader:
    """A connection that only reads, for any thread; what was committed before a call is seen.

    Nothing is read in steps over several calls: an open read would keep the log from being cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with sqlite_errors(path):
            self._connection = connect(path, read_only=True)

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Return all rows of a query."""
        with self._lock, sqlite_errors(self._path):
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: object) -> Row | None:
        """Return the first row of a query."""
        found = self.rows(sql, *parameters)
        return found[0] if found else None

    def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a function makes of the connection; it leaves no query open."""
        with self._lock, sqlite_errors(self._path):
            return function(self._connection)

    def close(self) -> None:
        """Close the connection; idempotent."""
        with self._lock:
            self._connection.close()
