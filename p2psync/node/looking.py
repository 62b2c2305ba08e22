"""Reads what is on the disk: whether a copy changed, and what it holds now.

These functions block and are called in threads. What a look found is a value; ``shelf`` decides
what follows from it.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from p2psync.core import crypto
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, Chunked
from p2psync.core.records import Document
from p2psync.errors import FileAbsent, FileTooLarge, FolderMissing, P2PSyncError
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.limits import (
    CHUNK_ADDRESSES_INLINE_MAX,
    CHUNK_BYTES,
    FILE_HEAD_BYTES,
    RECORD_FILE_BYTES_MAX,
    SEGMENT_BYTES_MAX,
)
from p2psync.node.copies import Copy
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder

Report = Callable[[int, int], None]
"""Told (bytes done, bytes in all) while something long goes on."""
Choose = Callable[[str, bytes], Format]
"""Gives the format of a file by its name without folder and its first 64 KiB."""
SMALL_CONTENT_BYTES = 4 * CHUNK_BYTES
"""Content up to this is read at once, and sealed as it is looked at."""
CONTENT_BYTES_MAX = (
    CHUNK_ADDRESSES_INLINE_MAX * (CHUNK_BYTES // CHUNK_REFERENCE_BYTES) * CHUNK_BYTES
)
"""What the lists that an entry has room for can name: 16 GiB."""
SEALED_AT_ONCE = 8
SEALS_WAITING = 4
"""Groups of pieces that wait to be sealed while more is read."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The file, or its folder, is not there; never taken for a deletion."""

    folder: bool


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The content is what it was. ``steady`` (here and below): any later change shows in
    ``stat``.
    """

    stat: FileStat
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Records:
    """The content of a record file, read."""

    stat: FileStat
    digest: bytes
    document: Document
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a content is made of: its references, and what peers and this node need of it now.

    ``recent`` are the sealed pieces of a small content; ``lists`` the chunks that list the
    references of a large one, to be stored: address and bytes.
    """

    content: Chunked
    recent: tuple[tuple[bytes, bytes], ...] = ()
    lists: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """The content of a file that is synchronised whole; a large one is not sealed yet."""

    stat: FileStat
    digest: bytes
    steady: bool = False
    sealed: Sealed | None = None


Look = Gone | Unchanged | Records | Whole


@dataclass(frozen=True, slots=True)
class First:
    """A file that is to be attached: its format, the beginning of it, and what it holds.

    ``found`` is ``None`` for a large file, which is read when it is sealed.
    """

    format: str
    head: bytes
    found: Records | Whole | None


def look_first(paths: Sequence[Path], secret: bytes, choose: Choose = registry.find) -> list[First]:
    """Read files that nothing is known of; raises ``FileAbsent`` and as ``look`` for any of them.

    ``secret`` is the mandate's, under which pieces are sealed; ``choose`` gives the format of each.
    """
    out: list[First] = []
    with _Folders() as folders:
        for path in paths:
            folder = folders.open(path.parent)
            found = folder.stat(path.name)
            if found is None:
                raise FileAbsent(path=os.fspath(path))
            if found.size_bytes <= SMALL_CONTENT_BYTES:
                data, stat = folder.read(path.name, SMALL_CONTENT_BYTES)
                head = data[:FILE_HEAD_BYTES]
                format_ = choose(path.name, head)
                digest = crypto.content_digest(data)
                folders.sync_soon(path.parent, path.name)
                out.append(First(format_.name, head, _found(data, stat, digest, format_, secret)))
                continue
            with folder.open_stable(path.name) as blocks:
                head = next(iter(blocks), b"")[:FILE_HEAD_BYTES]
            format_ = choose(path.name, head)
            found_large = _first_large(folder, path.name, format_, secret)
            if found_large is not None:
                folders.sync_soon(path.parent, path.name)
            out.append(First(format_.name, head, found_large))
        folders.synced()
    return out


def _first_large(folder: Folder, name: str, format_: Format, secret: bytes) -> Records | None:
    if format_.merge != "records":
        return None
    found = folder.stat(name)
    if found is None or found.size_bytes > RECORD_FILE_BYTES_MAX:
        return None
    data, stat = folder.read(name, RECORD_FILE_BYTES_MAX)
    look_ = _found(data, stat, crypto.content_digest(data), format_, secret)
    return look_ if isinstance(look_, Records) else None


def look(copy: Copy, format_name: str, secret: bytes) -> Look:
    """Read what is on the disk, as far as needed to know whether it changed.

    What is new is durable then. Raises ``FileBusy`` while it is being written,
    ``NotARegularFile``, storage errors.
    """
    (found,) = look_many([(copy, format_name)], secret)
    if isinstance(found, P2PSyncError):
        raise found
    return found


def look_many(copies: Sequence[tuple[Copy, str]], secret: bytes) -> list[Look | P2PSyncError]:
    """Do ``look`` for many copies, each with its format; return what each gives or raises."""
    out: list[Look | P2PSyncError] = []
    with _Folders() as folders:
        for copy, format_name in copies:
            try:
                out.append(_look(folders, copy, format_name, secret))
            except P2PSyncError as error:
                out.append(error)
        try:
            folders.synced()
        except P2PSyncError as error:
            return [error if isinstance(found, Records | Whole) else found for found in out]
    return out


def _look(folders: "_Folders", copy: Copy, format_name: str, secret: bytes) -> Look:
    format_ = registry.by_name(format_name)
    try:
        folder = folders.open(copy.directory)
        found = folder.stat(copy.name)
        if found is None:
            return Gone(folder=False)
        if copy.digest and found == copy.stat:
            return Unchanged(found, steady=True)
        records = format_.merge == "records"
        if found.size_bytes <= (RECORD_FILE_BYTES_MAX if records else SMALL_CONTENT_BYTES):
            now_ns = time.time_ns()
            data, stat = folder.read(copy.name, RECORD_FILE_BYTES_MAX)
            digest = crypto.content_digest(data)
            if digest == copy.digest:
                return Unchanged(stat, stat.settled(now_ns))
            folders.sync_soon(copy.directory, copy.name)
            return _found(data, stat, digest, format_, secret)
        now_ns = time.time_ns()
        with folder.open_stable(copy.name) as blocks:
            stat = blocks.stat
            state = crypto.content_hasher()
            for block in blocks:
                state.update(block)
        digest, steady = state.digest(), stat.settled(now_ns)
        same = digest == copy.digest
        return Unchanged(stat, steady) if same else Whole(stat, digest, steady)
    except FileAbsent:
        return Gone(folder=False)
    except FolderMissing:
        return Gone(folder=True)


def _found(
    data: bytes, stat: FileStat, digest: bytes, format_: Format, secret: bytes
) -> Records | Whole:
    """What a content that was read is to its format."""
    steady = stat.settled(time.time_ns())
    if format_.merge == "records":
        document = format_.parse(data)
        if all(len(segment.raw) <= SEGMENT_BYTES_MAX for segment in document.segments):
            return Records(stat, digest, document, steady)
    if len(data) > SMALL_CONTENT_BYTES:
        return Whole(stat, digest, steady)
    references = bytearray()
    recent: list[tuple[bytes, bytes]] = []
    for start in range(0, len(data), CHUNK_BYTES):
        reference, sealed = _seal(secret, data[start : start + CHUNK_BYTES])
        references += reference
        recent.append((reference[:32], sealed))
    return Whole(stat, digest, steady, Sealed(Chunked(False, bytes(references)), tuple(recent)))


def _seal(secret: bytes, piece: bytes) -> tuple[bytes, bytes]:
    """Seal a piece; return its reference (64 bytes) and the sealed bytes."""
    sealed, digest = crypto.seal_chunk(secret, piece)
    return crypto.chunk_address(sealed) + digest, sealed


def _references(secret: bytes, pieces: Sequence[bytes]) -> bytes:
    return b"".join(_seal(secret, piece)[0] for piece in pieces)


def seal_large(copy: Copy, secret: bytes, report: Report) -> tuple[Sealed, bytes, FileStat]:
    """Work out what a large content is made of; return that, its digest and the file's state.

    It is read once, in blocks, while other threads seal what was read, so memory does not grow
    with the file. Nothing of it is stored but the lists. Raises ``FileBusy`` if it changes
    meanwhile, ``FileTooLarge`` when its lists of references would not fit into an entry.
    """
    state = crypto.content_hasher()
    under_way: deque[Future[bytes]] = deque()
    references = bytearray()
    group: list[bytes] = []
    done = 0
    folder = Folder.open(copy.directory)
    with folder, folder.open_stable(copy.name) as blocks, ThreadPoolExecutor(3, "seal") as pool:
        stat = blocks.stat
        if stat.size_bytes > CONTENT_BYTES_MAX:
            raise FileTooLarge(
                path=str(copy.path), size_bytes=stat.size_bytes, limit_bytes=CONTENT_BYTES_MAX
            )
        synced = pool.submit(folder.sync, [copy.name])
        for block in blocks:
            group.append(block)
            if len(group) == SEALED_AT_ONCE:
                under_way.append(pool.submit(_references, secret, group))
                group = []
                if len(under_way) > SEALS_WAITING:
                    references += under_way.popleft().result()
                report(done, stat.size_bytes)
            state.update(block)
            done += len(block)
        under_way.append(pool.submit(_references, secret, group))
        for each in under_way:
            references += each.result()
        synced.result()
    lists: list[tuple[bytes, bytes]] = []
    content = Chunked(False, bytes(references))
    if len(references) > CHUNK_ADDRESSES_INLINE_MAX * CHUNK_REFERENCE_BYTES:
        listed = bytearray()
        for start in range(0, len(references), CHUNK_BYTES):
            reference, sealed = _seal(secret, bytes(references[start : start + CHUNK_BYTES]))
            listed += reference
            lists.append((reference[:32], sealed))
        content = Chunked(True, bytes(listed))
    return Sealed(content, (), tuple(lists)), state.digest(), stat


class _Folders:
    """Folders that are opened once each; a context manager that closes them."""

    def __init__(self) -> None:
        self._open: dict[Path, Folder] = {}
        self._to_sync: dict[Path, list[str]] = {}
        self._under_way: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for wait in self._under_way:
            with suppress(P2PSyncError):
                wait()
        for folder in self._open.values():
            folder.close()

    def sync_soon(self, directory: Path, name: str) -> None:
        """Begin to make a file durable that was read; of several, the others wait for ``synced``,
        which does them in one go.
        """
        if self._under_way:
            self._to_sync.setdefault(directory, []).append(name)
        else:
            self._under_way.append(self.open(directory).begin_sync([name]))

    def synced(self) -> None:
        """Return when all are durable; see ``Folder.sync``."""
        for directory, names in self._to_sync.items():
            self._under_way.append(self.open(directory).begin_sync(names))
        for wait in self._under_way:
            wait()

    def open(self, path: Path) -> Folder:
        folder = self._open.get(path)
        if folder is None:
            folder = self._open[path] = Folder.open(path)
        return folder
