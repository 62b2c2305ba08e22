"""Copies of files on this machine: the attached file itself, and the one in the mandate folder.

These functions look at the disk and write to it; they block and are called in threads. What a
look found is a value; ``shelf`` decides what follows from it.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from p2psync.core import crypto
from p2psync.core.crdt import Element, Value
from p2psync.core.ops import CHUNK_REFERENCE_BYTES, Chunked, OpId
from p2psync.core.records import Document
from p2psync.errors import FileAbsent, FolderMissing, P2PSyncError
from p2psync.formats import registry
from p2psync.limits import (
    CHUNK_ADDRESSES_INLINE_MAX,
    CHUNK_BYTES,
    FILE_HEAD_BYTES,
    RECORD_FILE_BYTES_MAX,
    SEGMENT_BYTES_MAX,
)
from p2psync.storage.chunks import ChunkStore
from p2psync.storage.disk import check_room as check_disk_room
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder

Role = Literal["attached", "folder"]
Report = Callable[[int, int], None]
"""Told (bytes done, bytes in all) while something long goes on."""


@dataclass(slots=True)
class Copy:
    """One file on this disk that stands for one file of a mandate.

    ``heads`` are the versions that the content with ``digest`` (32 bytes) was taken up as or
    written from; without a digest nothing of ours stands there yet. ``writing`` is noted before a
    merged content is written, so that after a crash it is recognised as ours, not taken for a
    save. ``held`` is the digest of a save that waits for a person's word. ``stat`` is kept only
    when any later change must show in it.
    """

    mandate: bytes
    file: bytes
    role: Role
    directory: Path
    name: str
    heads: tuple[OpId, ...] = ()
    digest: bytes = b""
    writing: tuple[tuple[OpId, ...], bytes] | None = None
    held: bytes = b""
    stat: FileStat | None = None
    missing: bool = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory / self.name


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
class Whole:
    """The content of a file that is synchronised whole: only its digest so far."""

    stat: FileStat
    digest: bytes
    steady: bool = False


Look = Gone | Unchanged | Records | Whole


def head_of(path: Path) -> tuple[bytes, int]:
    """Return a file's first ``FILE_HEAD_BYTES`` bytes and its size; raises as ``Folder.read``."""
    with Folder.open(path.parent) as folder, folder.open_stable(path.name) as blocks:
        head = next(iter(blocks), b"")
        return head[:FILE_HEAD_BYTES], blocks.stat.size_bytes


def look(copy: Copy, format_name: str) -> Look:
    """Read what is on the disk, as far as needed to know whether it changed.

    Raises ``FileBusy`` while it is being written, ``NotARegularFile``, storage errors.
    """
    format_ = registry.by_name(format_name)
    now_ns = time.time_ns()
    try:
        with Folder.open(copy.directory) as folder:
            found = folder.stat(copy.name)
            if found is None:
                return Gone(folder=False)
            if copy.digest and found == copy.stat:
                return Unchanged(found, steady=True)
            if format_.merge == "records" and found.size_bytes <= RECORD_FILE_BYTES_MAX:
                data, stat = folder.read(copy.name, RECORD_FILE_BYTES_MAX)
                steady = stat.settled(now_ns)
                digest = crypto.content_digest(data)
                if digest == copy.digest:
                    return Unchanged(stat, steady)
                document = format_.parse(data)
                if all(len(segment.raw) <= SEGMENT_BYTES_MAX for segment in document.segments):
                    return Records(stat, digest, document, steady)
                return Whole(stat, digest, steady)
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


def seal_content(
    copy: Copy, chunks: ChunkStore, secret: bytes, report: Report
) -> tuple[Chunked, bytes, FileStat]:
    """Seal a file's content into the chunk store; return its references, digest and state.

    Reads it in blocks, so memory does not grow with the file. Raises ``FileBusy`` if it changes
    meanwhile.
    """
    references = bytearray()
    state = crypto.content_hasher()
    waiting: list[tuple[bytes, bytes]] = []
    done = 0

    def put(plain: bytes) -> None:
        sealed, plain_digest = crypto.seal_chunk(secret, plain)
        address = crypto.chunk_address(sealed)
        references.extend(address + plain_digest)
        waiting.append((address, sealed))
        if len(waiting) >= 16:
            chunks.put_many(waiting)
            waiting.clear()

    with Folder.open(copy.directory) as folder, folder.open_stable(copy.name) as blocks:
        stat = blocks.stat
        for block in blocks:
            state.update(block)
            put(block)
            done += len(block)
            report(done, stat.size_bytes)
    indirect = len(references) > CHUNK_ADDRESSES_INLINE_MAX * CHUNK_REFERENCE_BYTES
    if indirect:
        direct = bytes(references)
        references.clear()
        for start in range(0, len(direct), CHUNK_BYTES):
            put(direct[start : start + CHUNK_BYTES])
    chunks.put_many(waiting)
    return Chunked(indirect, bytes(references)), state.digest(), stat


def split_references(references: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (address, plaintext digest), 32 bytes each."""
    for start in range(0, len(references), CHUNK_REFERENCE_BYTES):
        reference = references[start : start + CHUNK_REFERENCE_BYTES]
        yield reference[:32], reference[32:]


def open_content(content: Chunked, chunks: ChunkStore, secret: bytes) -> Iterator[bytes]:
    """Yield the plaintext of a chunked content, piece by piece; raises ``ChunkMissing``."""
    references = content.references
    if content.indirect:
        references = b"".join(open_references(references, chunks, secret))
    yield from open_references(references, chunks, secret)


def open_references(references: bytes, chunks: ChunkStore, secret: bytes) -> Iterator[bytes]:
    """Yield the plaintext of each chunk that the references name."""
    for address, plain_digest in split_references(references):
        yield crypto.open_chunk(secret, plain_digest, chunks.get(address))


def check_room(copy: Copy, size_bytes: int) -> None:
    """Raise ``DiskFull`` unless the disk of a copy has room for content of that size."""
    folder = copy.directory if copy.role == "attached" else copy.directory.parent
    check_disk_room(os.fspath(folder), size_bytes)


def write(copy: Copy, content: Iterable[bytes]) -> FileStat:
    """Put content where the copy is, if nobody changed it since; raises ``TargetChanged``.

    A folder copy's directory is made when it is missing (the mandate folder is ours).
    """
    with _folder_of(copy) as folder:
        expected = copy.digest or None
        if copy.stat is not None and expected is not None and folder.stat(copy.name) == copy.stat:
            return folder.replace(copy.name, content, copy.stat)
        if expected is not None and folder.stat(copy.name) is None:
            return folder.replace(copy.name, content, None)
        return folder.replace(copy.name, content, expected)


def write_new(copy: Copy, content: Iterable[bytes]) -> FileStat:
    """Put content where nothing is; raises ``TargetChanged`` when something is there."""
    with _folder_of(copy) as folder:
        return folder.replace(copy.name, content, None)


def remove(copy: Copy) -> None:
    """Take away what we wrote; raises ``TargetChanged`` when somebody changed it."""
    with _folder_of(copy) as folder:
        folder.remove(copy.name, copy.digest)


def remove_quietly(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Take away files that still have the digest with which we wrote them; leave the others."""
    for name, digest in files:
        with suppress(P2PSyncError), Folder.open(folder) as opened:
            opened.remove(name, digest)


def remove_folder(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Take away a mandate folder with what we wrote into it; anything else in it stays."""
    remove_quietly(folder, files)
    with suppress(OSError):
        folder.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that a crash left in a mandate folder; only while nobody writes
    there.
    """
    with suppress(P2PSyncError), Folder.open(folder) as opened:
        opened.remove_leftovers()


def _folder_of(copy: Copy) -> Folder:
    """Open where a copy is to be written; a mandate folder is never reached through a link."""
    if copy.role == "folder":
        return Folder.open_within(copy.directory.parent, copy.directory.name, create=True)
    return Folder.open(copy.directory)


def frozen(shown: Iterable[tuple[Element, Value]]) -> list[tuple[Element, Value]]:
    """Return what a file consists of in a form that another thread may read at leisure."""
    return [
        (Element(element.id, element.position, element.values), value) for element, value in shown
    ]


def is_suspicious(before: Sequence[int], after: Sequence[int]) -> bool:
    """Tell whether a save is held back until a person confirms it.

    ``before`` and ``after`` are (bytes, records): an emptied file, one shrunk by more than 90 %
    (protocol.md, "Files" 5), or one that lost more than half of its records and more than 20
    (B-HIS-3).
    """
    bytes_before, records_before = before
    bytes_after, records_after = after
    if bytes_before and bytes_after * 10 < bytes_before:
        return True
    lost = records_before - records_after
    return lost > 20 and lost * 2 > records_before
