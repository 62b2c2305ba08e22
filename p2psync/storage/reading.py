"""Reading a file in blocks such that the blocks are of one state of it."""

import os
from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from p2psync.errors import FileBusy
from p2psync.limits import CHUNK_BYTES
from p2psync.storage.disk import disk_errors
from p2psync.storage.file_state import FileStat, to_stat


def blocks_digest(blocks: Iterable[bytes]) -> bytes:
    """BLAKE3 of content given in pieces, 32 bytes; the same as ``core.crypto.content_digest``."""
    state = blake3()
    for block in blocks:
        state.update(block)
    return state.digest()


class StableReader:
    """The blocks of one open file; the last step raises ``FileBusy`` if it changed meanwhile."""

    def __init__(
        self, path: str, descriptor: int, first: FileStat, look: Callable[[], FileStat | None]
    ) -> None:
        self.path = path
        self.stat = first
        self._descriptor = descriptor
        self._look = look

    def __iter__(self) -> Iterator[bytes]:
        """Yield blocks of ``CHUNK_BYTES`` (the last may be shorter), from the beginning."""
        offset = 0
        while True:
            with disk_errors(self.path):
                block = read_block(self._descriptor, offset)
            offset += len(block)
            if offset > self.stat.size_bytes:
                raise FileBusy(path=self.path)
            if block:
                yield block
            if len(block) < CHUNK_BYTES:
                break
        with disk_errors(self.path):
            last = to_stat(os.fstat(self._descriptor))
        if last != self.stat or self._look() != self.stat:
            raise FileBusy(path=self.path)


def read_block(descriptor: int, offset: int) -> bytes:
    """Read ``CHUNK_BYTES`` at an offset, or less only at the end of the file."""
    block = os.pread(descriptor, CHUNK_BYTES, offset)
    if not block or len(block) == CHUNK_BYTES:
        return block
    pieces = [block]
    size = len(block)
    while size < CHUNK_BYTES:
        piece = os.pread(descriptor, CHUNK_BYTES - size, offset + size)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def read_whole(descriptor: int, size_bytes: int) -> bytes:
    """Read the file and one byte more than expected, so that growth shows."""
    pieces = []
    offset = 0
    while offset <= size_bytes:
        piece = os.pread(descriptor, min(size_bytes + 1 - offset, 1 << 24), offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)
