"""The home of one node: where everything of it lies, and that one process alone uses it."""

import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from p2psync.errors import AccessDenied, AlreadyRunning, HomeExposed, HomeUnsuitable
from p2psync.storage.disk import disk_errors, open_directory, refuse_kind, sync_names
from p2psync.storage.mounts import Mount, cloud_part, current_mounts, network_type

_PID_BYTES_MAX = 20


class Home:
    """The paths of a home and its lock; a context manager that releases the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock: int | None = None

    @classmethod
    def open(
        cls, root: Path, mounts: Iterable[Mount] | None = None, *, for_relay: bool = False
    ) -> Self:
        """Return the home at an absolute path, made (0700) where it is missing.

        That of a relay has a key and a lock, and no folders for content.

        ``mounts`` are this machine's unless given. Raises ``HomeUnsuitable`` on a network or
        cloud-synchronised folder, before anything is made there; ``HomeExposed`` when other users
        may write into it; ``NotAFolder`` or another storage error.
        """
        real = Path(os.path.realpath(root))
        network = network_type(real, current_mounts() if mounts is None else mounts)
        if network is not None:
            raise HomeUnsuitable(home=root, cause=f"network drive ({network})")
        # The path as given counts too: a link named after the service leads into its folder.
        cloud = cloud_part(root) or cloud_part(real)
        if cloud is not None:
            raise HomeUnsuitable(home=root, cause=f"cloud-synchronised folder ({cloud})")
        home = cls(real)
        _make_private(real)
        inners = (home.mandates, home.chunks, home.incoming, home.versions)
        for inner in () if for_relay else inners:
            _make_private(inner)
        for folder in (real, real.parent):
            _sync_names(folder)
        return home

    @property
    def device_key(self) -> Path:
        """The device key file (``storage.keys``)."""
        return self.root / "device.key"

    @property
    def database(self) -> Path:
        """The SQLite database; it has companions that end in ``-wal`` and ``-shm``."""
        return self.root / "p2psync.db"

    @property
    def chunks(self) -> Path:
        """The folder of sealed chunks (``storage.chunks``)."""
        return self.root / "chunks"

    @property
    def incoming(self) -> Path:
        """The folder of content on its way (``storage.incoming``)."""
        return self.root / "incoming"

    @property
    def versions(self) -> Path:
        """The folder of old versions (``storage.kept``)."""
        return self.root / "versions"

    @property
    def mandates(self) -> Path:
        """The folder of the mandate folders, unless a mandate has its own place."""
        return self.root / "mandates"

    @property
    def log(self) -> Path:
        """The log of a node in the background."""
        return self.root / "node.log"

    @property
    def lock_file(self) -> Path:
        """Locked by the running node; holds its process id."""
        return self.root / "lock"

    def lock(self) -> None:
        """Take the home for this process until ``unlock`` or its end, whatever its end.

        Raises ``AlreadyRunning`` that names the process which has it.
        """
        assert self._lock is None, "already taken by this very object"
        path = os.fspath(self.lock_file)
        with disk_errors(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                refuse_kind(path, mode)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.pread(descriptor, _PID_BYTES_MAX, 0).decode("ascii", "replace").strip()
                raise AlreadyRunning(home=self.root, pid=pid or "?") from error
            with disk_errors(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def unlock(self) -> None:
        """Give the home free; idempotent. The lock file stays: removing it would race."""
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unlock()


def _make_private(path: Path) -> None:
    """Make a folder of our own (0700) with its parents; one that is there keeps its mode."""
    with disk_errors(os.fspath(path)):
        made = [each for each in path.parents if not each.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    for each in made:
        _sync_names(each.parent)
    descriptor = open_directory(os.fspath(path))
    try:
        mode = os.fstat(descriptor).st_mode
    finally:
        os.close(descriptor)
    if stat.S_IMODE(mode) & 0o002:
        raise HomeExposed(home=path)


def _sync_names(folder: Path) -> None:
    """Make names durable. At every start, because the last one may have been broken off before it
    came to this.
    """
    # A folder that may not be read was there before us.
    with suppress(AccessDenied):
        sync_names(os.fspath(folder))
