"""Sealed chunks on disk, each in a file of its own, named by its address.

``chunks/ab/ab…`` (64 hexadecimal digits): 256 folders by the first byte. What is there under its
name is whole and durable, so a transfer goes on after a crash (docs/spec/storage.md, "Chunks").
All functions block, and may run in several threads at once; one process at a time has the store.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from p2psync.core.crypto import chunk_address
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import ChunkMissing
from p2psync.storage.disk import (
    DISK_CALLS,
    SYNC_ALL_FROM,
    DiskCalls,
    check_room,
    disk_errors,
    fsync_directory,
    open_directory,
    write_all,
)

ADDRESS_BYTES = 32

_TEMPORARY_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class ChunkStore:
    """The chunks of all mandates of a home."""

    def __init__(
        self,
        root: Path,
        address_of: Callable[[bytes], bytes] = chunk_address,
        calls: DiskCalls = DISK_CALLS,
    ) -> None:
        """Open the store in an existing folder; remove what a crash left half-written."""
        self._root = root
        self._path = os.fspath(root)
        self._address_of = address_of
        self._calls = calls
        self._descriptor = open_directory(self._path)
        try:
            with disk_errors(self._path):
                self._remove_leftovers()
                self._make_folders()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the store; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put(self, address: bytes, data: bytes) -> None:
        """Store one chunk durably; nothing happens when it is there. See ``put_many``."""
        self.put_many([(address, data)])

    def put_many(self, chunks: Iterable[tuple[bytes, bytes]]) -> None:
        """Store chunks durably; all are when this returns.

        The caller has checked that each address (32 bytes) is that of its data. All are written
        before the first is synced, and named only when all are. Raises ``DiskFull`` or another
        storage error; what was stored before it stays.
        """
        written: list[tuple[str, str]] = []
        folders = set()
        try:
            with disk_errors(self._path):
                for address, data in chunks:
                    name = _name(address)
                    # Also of a chunk that is there: another thread may not have synced it yet.
                    folders.add(name[:2])
                    if self._size(name) != len(data):
                        written.append((self._write(data), name))
                self._publish(written)
                self._sync_folders(sorted(folders))
        except BaseException:
            for temporary, _ in written:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def get(self, address: bytes) -> bytes:
        """Return the chunk at an address.

        Raises ``ChunkMissing``, also for one that is not what its address says: it is taken away,
        so that it is fetched again.
        """
        with disk_errors(self._path):
            try:
                descriptor = os.open(_name(address), _READ_FLAGS, dir_fd=self._descriptor)
            except FileNotFoundError as error:
                raise ChunkMissing(address=address.hex()) from error
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                data = file.readall()
            if self._address_of(data) != address:
                with suppress(FileNotFoundError):
                    os.unlink(_name(address), dir_fd=self._descriptor)
                raise ChunkMissing(address=address.hex())
        return data

    def has(self, address: bytes) -> bool:
        """Whether a chunk is there; its content is not checked."""
        with disk_errors(self._path):
            return self._size(_name(address)) is not None

    def check_room(self, size_bytes: int) -> None:
        """Raise ``DiskFull`` unless so much can be stored and a reserve stays free."""
        check_room(self._path, size_bytes)

    # -- parts --------------------------------------------------------------------------------

    def _write(self, data: bytes) -> str:
        temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(temporary, _TEMPORARY_FLAGS, 0o600, dir_fd=self._descriptor)
        try:
            write_all(descriptor, data, self._calls)
        except BaseException:
            os.unlink(temporary, dir_fd=self._descriptor)
            raise
        finally:
            os.close(descriptor)
        return temporary

    def _publish(self, written: list[tuple[str, str]]) -> None:
        """Sync, then rename; takes what it has done off the list."""
        self._sync_files([temporary for temporary, _ in written])
        while written:
            temporary, name = written[-1]
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            written.pop()

    def _sync_files(self, names: Sequence[str]) -> None:
        if self._sync_all(len(names)):
            return
        for name in names:
            descriptor = os.open(name, _READ_FLAGS, dir_fd=self._descriptor)
            try:
                self._calls.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _sync_folders(self, names: Sequence[str]) -> None:
        if self._sync_all(len(names)):
            return
        for name in names:
            descriptor = open_directory(name, parent=self._descriptor)
            try:
                fsync_directory(descriptor, self._calls)
            finally:
                os.close(descriptor)

    def _sync_all(self, count: int) -> bool:
        return count >= SYNC_ALL_FROM and self._calls.sync_file_system(self._descriptor)

    def _size(self, name: str) -> int | None:
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None

    def _make_folders(self) -> None:
        made = False
        for number in range(256):
            with suppress(FileExistsError):
                os.mkdir(f"{number:02x}", 0o700, dir_fd=self._descriptor)
                made = True
        if made:
            fsync_directory(self._descriptor, self._calls)

    def _remove_leftovers(self) -> None:
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                if entry.name.startswith(TEMPORARY_PREFIX) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=self._descriptor)


def _name(address: bytes) -> str:
    assert len(address) == ADDRESS_BYTES
    digits = address.hex()
    return f"{digits[:2]}/{digits}"
