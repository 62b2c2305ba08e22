"""What is wrong with a home or a folder, found without changing anything (B-NET-5).

The functions look at the disk; they block for as long as it takes to answer.
"""

import fcntl
import os
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from p2psync.errors import (
    AccessDenied,
    AlreadyRunning,
    DiskFull,
    DiskReadOnly,
    FolderMissing,
    HomeExposed,
    HomeUnsuitable,
    NotAFolder,
    P2PSyncError,
    StorageError,
)
from p2psync.limits import DISK_FREE_AGAIN_BYTES
from p2psync.storage.disk import disk_error
from p2psync.storage.home import Home
from p2psync.storage.keys import load_device_key
from p2psync.storage.mounts import Mount, cloud_part, current_mounts, network_type
from p2psync.storage.sqlite import check_unused

_PID_BYTES_MAX = 20


def folder_trouble(path: Path, *, written: bool = True) -> StorageError | None:
    """Return what keeps a folder from being read, and if it is ``written`` from being written.

    ``FolderMissing``, ``NotAFolder``, ``AccessDenied``, ``DiskReadOnly``, ``DiskFull``, or another
    storage error.
    """
    place = os.fspath(path)
    try:
        mode = os.stat(place).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return FolderMissing(path=path)
    except OSError as error:
        return disk_error(error, place)
    if not stat.S_ISDIR(mode):
        return NotAFolder(path=path, cause="a file")
    if not os.access(place, os.R_OK | os.X_OK):
        return AccessDenied(path=path)
    if not written:
        return None
    try:
        found = os.statvfs(place)
    except OSError as error:
        return disk_error(error, place)
    if found.f_flag & os.ST_RDONLY:
        return DiskReadOnly(path=path)
    if not os.access(place, os.W_OK):
        return AccessDenied(path=path)
    free = found.f_bavail * found.f_frsize
    if free < min(DISK_FREE_AGAIN_BYTES, found.f_blocks * found.f_frsize // 100):
        return DiskFull(path=path)
    return None


def home_troubles(root: Path, mounts: Iterable[Mount] | None = None) -> list[P2PSyncError]:
    """Return all that keeps a node from starting in a home that is there.

    ``mounts`` are this machine's unless given. The database is looked at only while no node has it
    open: then the one trouble is ``AlreadyRunning``, beside those of the folder.
    """
    real = Path(os.path.realpath(root))
    troubles: list[P2PSyncError] = []
    network = network_type(real, current_mounts() if mounts is None else mounts)
    if network is not None:
        troubles.append(HomeUnsuitable(home=root, cause=f"network drive ({network})"))
    cloud = cloud_part(root) or cloud_part(real)
    if cloud is not None:
        troubles.append(HomeUnsuitable(home=root, cause=f"cloud-synchronised folder ({cloud})"))
    trouble = folder_trouble(real)
    if trouble is not None:
        troubles.append(trouble)
        if not isinstance(trouble, DiskFull | DiskReadOnly):
            return troubles
    if stat.S_IMODE(os.stat(real).st_mode) & 0o002:
        troubles.append(HomeExposed(home=real))
    home = Home(real)
    holder = _holder(home)
    if holder is not None:
        return [*troubles, AlreadyRunning(home=real, pid=holder)]
    return [*troubles, *_contents(home)]


def _contents(home: Home) -> list[P2PSyncError]:
    """What is wrong with the key and the database, of a home that no node has open."""
    troubles: list[P2PSyncError] = []
    if not home.database.exists():
        return troubles  # no node ever came so far there
    try:
        load_device_key(home.device_key)
    except P2PSyncError as error:
        troubles.append(error)
    try:
        check_unused(home.database)
    except P2PSyncError as error:
        troubles.append(error)
    return troubles


def _holder(home: Home) -> str | None:
    """The process that has the home, as far as it says; ``None`` when nobody has."""
    try:
        descriptor = os.open(home.lock_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with closing(os.fdopen(descriptor, "rb")) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(_PID_BYTES_MAX).decode("ascii", "replace").strip() or "?"
        except OSError:
            return None
    return None
