"""Bundle files: written under their name when whole, read record by record (B-NET-4).

All functions block: call them in a thread.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from p2psync.core.bundle import (
    HEAD_BYTES_MAX,
    LENGTH_BYTES,
    MAGIC,
    Head,
    Manifest,
    Opener,
    load_head,
    open_head,
    open_record,
    read_prefix,
)
from p2psync.errors import BundleForeign, BundleInvalid, FileAbsent, NotOverwritten
from p2psync.storage.disk import check_room, disk_errors, refuse_kind
from p2psync.storage.folder import Folder

Candidate = tuple[bytes, Sequence[bytes]]
"""A mandate's id and the keys (32 bytes each) of its epochs."""
_BUFFER_BYTES = 1 << 18
_READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def write(place: Path, blocks: Iterable[bytes], needed_bytes: int) -> int:
    """Write a bundle; nothing has its name before all of it is durable. Returns its size in bytes.

    Raises ``NotOverwritten`` for a name that is taken, and storage errors.
    """
    with Folder.open(place.parent) as folder:
        if folder.stat(place.name) is not None:
            raise NotOverwritten(path=str(place))
        check_room(str(place.parent), needed_bytes)
        return folder.replace(place.name, blocks, None).size_bytes


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a record is: its number, and where its length stands in the file."""

    number: int
    offset: int


class BundleFile:
    """A bundle that is open for reading; a context manager that closes it."""

    def __init__(self, path: Path, file: BinaryIO, head: bytes, mandate: bytes, key: bytes) -> None:
        self.path = path
        self.mandate = mandate
        self.size_bytes = os.fstat(file.fileno()).st_size
        self._file = file
        self._head = head
        self._key = key

    @classmethod
    def open(cls, path: Path, candidates: Iterable[Candidate]) -> Self:
        """Open a bundle of one of some mandates.

        Raises ``BundleInvalid`` for what does not begin as one, ``BundleForeign`` when none of the
        keys opens it, ``NotARegularFile`` and storage errors.
        """
        with disk_errors(str(path)):
            try:
                descriptor = os.open(path, _READ_FLAGS)
            except FileNotFoundError:
                raise FileAbsent(path=str(path)) from None
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                os.close(descriptor)
                refuse_kind(str(path), mode)
            file = os.fdopen(descriptor, "rb", buffering=_BUFFER_BYTES)
        try:
            with disk_errors(str(path)):
                head_bytes, head = _read_head(file)
            for mandate, keys in candidates:
                key = open_head(head, mandate, keys)
                if key is not None:
                    return cls(path, file, head_bytes, mandate, key)
            raise BundleForeign(path=str(path))
        except BaseException:
            file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def check(self, look: Callable[[Spot, bytes], None]) -> Manifest:
        """Read the whole file, and have ``look`` look at each frame; return the manifest.

        Raises ``BundleInvalid`` when a byte of it is not as its writer sealed it, when it ends too
        early or goes on after its end; also what ``look`` raises.
        """
        opener = Opener(self._key, self._head)
        with disk_errors(str(self.path)):
            self._file.seek(len(self._head))
            number, offset = 0, len(self._head)
            while True:
                prefix, sealed, last = self._record(offset)
                if last:
                    manifest = opener.finish(prefix, sealed)
                    break
                look(Spot(number, offset), opener.open(prefix, sealed))
                number, offset = number + 1, offset + len(prefix) + len(sealed)
            if self._file.read(1):
                raise BundleInvalid(cause="it goes on after its end")
        if manifest.mandate != self.mandate:
            raise BundleInvalid(cause="its manifest is of another mandate")
        return manifest

    def frames(self) -> Iterator[bytes]:
        """Yield the frames from the first to the last; raises as ``check`` does."""
        number, offset = 0, len(self._head)
        while True:
            with disk_errors(str(self.path)):
                self._file.seek(offset)
                prefix, sealed, last = self._record(offset)
            if last:
                return
            yield open_record(self._key, number, prefix, sealed)
            number, offset = number + 1, offset + len(prefix) + len(sealed)

    def frame(self, spot: Spot) -> bytes:
        """Return the frame at a place that ``check`` told of; raises as it does."""
        with disk_errors(str(self.path)):
            self._file.seek(spot.offset)
            prefix, sealed, _ = self._record(spot.offset)
        return open_record(self._key, spot.number, prefix, sealed)

    def _record(self, offset: int) -> tuple[bytes, bytes, bool]:
        prefix = self._file.read(LENGTH_BYTES)
        if len(prefix) < LENGTH_BYTES:
            raise BundleInvalid(cause=f"it is cut off at byte {offset + len(prefix)}")
        length, last = read_prefix(prefix)
        sealed = self._file.read(length)
        if len(sealed) < length:
            raise BundleInvalid(
                cause=f"it is cut off at byte {offset + LENGTH_BYTES + len(sealed)}"
            )
        return prefix, sealed, last


def _read_head(file: BinaryIO) -> tuple[bytes, Head]:
    start = file.read(len(MAGIC) + LENGTH_BYTES)
    if not start.startswith(MAGIC):
        cause = "it does not begin as one"
        if start.startswith(MAGIC[:15]):
            cause = f"its version is {start[15:20].decode('ascii', 'replace').split(chr(10))[0]}"
        raise BundleInvalid(cause=cause)
    length = int.from_bytes(start[len(MAGIC) :], "big")
    body = file.read(length) if length <= HEAD_BYTES_MAX else b""
    if len(start) < len(MAGIC) + LENGTH_BYTES or len(body) < length:
        raise BundleInvalid(cause="its head is cut off, or too long")
    return start + body, load_head(body)
