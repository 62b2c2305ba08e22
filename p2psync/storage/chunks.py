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
from threading import Lock

from p2psync.core.crypto import chunk_address
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import ChunkDamaged, ChunkMissing
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
        self._usage_lock = Lock()
        self._usage_bytes: int | None = None
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
        written: list[tuple[str, str, int]] = []
        folders = set()
        try:
            with disk_errors(self._path):
                for address, data in chunks:
                    name = _name(address)
                    # Also of a chunk that is there: another thread may not have synced it yet.
                    folders.add(name[:2])
                    if self._size(name) != len(data):
                        written.append((self._write(data), name, len(data)))
                self._publish(written)
                self._sync_folders(sorted(folders))
        except BaseException:
            for temporary, _, _ in written:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
            raise

    def get(self, address: bytes) -> bytes:
        """Return the chunk at an address.

        Raises ``ChunkMissing``; ``ChunkDamaged`` when it is not what its address says: ``delete``
        it then, and fetch it again.
        """
        with disk_errors(self._path):
            try:
                descriptor = os.open(_name(address), _READ_FLAGS, dir_fd=self._descriptor)
            except FileNotFoundError as error:
                raise ChunkMissing(address=address.hex()) from error
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                data = file.readall()
        if self._address_of(data) != address:
            raise ChunkDamaged(address=address.hex())
        return data

    def has(self, address: bytes) -> bool:
        """Whether a chunk is there; its content is not checked."""
        with disk_errors(self._path):
            return self._size(_name(address)) is not None

    def missing(self, addresses: Sequence[bytes]) -> list[bytes]:
        """Return the addresses whose chunks are not there, in their order."""
        return [address for address in addresses if not self.has(address)]

    def delete(self, address: bytes) -> None:
        """Remove a chunk; nothing happens when it is gone.

        Not synced: a chunk that comes back after a crash does no harm.
        """
        name = _name(address)
        with disk_errors(self._path):
            size = self._size(name)
            if size is None:
                return
            try:
                os.unlink(name, dir_fd=self._descriptor)
            except FileNotFoundError:
                return
        self._add_usage(-size)

    def addresses(self) -> list[bytes]:
        """Return the addresses of all chunks, for finding those that nothing refers to."""
        with disk_errors(self._path):
            return [address for address, _size in self._walk()]

    def usage_bytes(self) -> int:
        """Return the size of all chunks; the first call looks at each file.

        What other threads store during that first call may count twice until the next start.
        """
        with self._usage_lock:
            if self._usage_bytes is None:
                with disk_errors(self._path):
                    self._usage_bytes = sum(size for _address, size in self._walk())
            return self._usage_bytes

    def free_bytes(self) -> int:
        """Return what is free on the disk for this user."""
        with disk_errors(self._path):
            found = os.fstatvfs(self._descriptor)
        return found.f_bavail * found.f_frsize

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

    def _publish(self, written: list[tuple[str, str, int]]) -> None:
        """Sync, then rename; takes what it has done off the list."""
        self._sync_files([temporary for temporary, _, _ in written])
        while written:
            temporary, name, size = written[-1]
            before = self._size(name) or 0
            os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            written.pop()
            self._add_usage(size - before)

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

    def _add_usage(self, size: int) -> None:
        with self._usage_lock:
            if self._usage_bytes is not None:
                self._usage_bytes += size

    def _walk(self) -> Iterable[tuple[bytes, int]]:
        for number in range(256):
            folder = f"{number:02x}"
            with os.scandir(self._root / folder) as entries:
                for entry in entries:
                    with suppress(ValueError, FileNotFoundError):
                        address = bytes.fromhex(entry.name)
                        if len(address) == ADDRESS_BYTES and address[0] == number:
                            yield address, entry.stat(follow_symlinks=False).st_size

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
