"""Copies of files on this machine: the attached file itself, and the one in the mandate folder.

The functions write to the disk; they block and are called in threads.
"""

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from p2psync.core.crdt import Element, Value
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.core.ops import OpId
from p2psync.errors import FolderMissing, P2PSyncError, TargetChanged
from p2psync.storage.disk import check_room as check_disk_room
from p2psync.storage.file_state import Expected, FileStat, to_stat
from p2psync.storage.folder import Folder, Replacement

Role = Literal["attached", "folder"]


@dataclass(slots=True)
class Copy:
    """One file on this disk that stands for one file of a mandate.

    ``heads`` are the versions that the content with ``digest`` (32 bytes) was taken up as or
    written from; without a digest nothing of ours stands there yet. ``writing`` is noted before a
    merged content is written, so that after a crash it is recognised as ours, not taken for a
    save. ``held`` is the digest of a save that waits for a person's word. ``stat`` is kept only
    when any later change must show in it; ``seen`` is what the file was like when it was last
    looked at, by which it is known again under another name. ``astray``: another attached file
    stands where this one was.
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
    seen: FileStat | None = None
    astray: bool = False

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory / self.name


class Copies(dict[tuple[bytes, Role], Copy]):
    """The copies of a mandate's files on this machine, by file and role, and by where they are."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[tuple[str, str], list[Copy]] | None = None

    def __setitem__(self, key: tuple[bytes, Role], copy: Copy) -> None:
        super().__setitem__(key, copy)
        self._places = None

    def __delitem__(self, key: tuple[bytes, Role]) -> None:
        super().__delitem__(key)
        self._places = None

    def pop(self, key: tuple[bytes, Role], *default: None) -> Copy | None:  # type: ignore[override] # narrower on purpose
        """Take a copy out."""
        self._places = None
        return super().pop(key, *default)

    def at(self, directory: str, name: str) -> Sequence[Copy]:
        """The copies that a path stands for."""
        if self._places is None:
            self._places = {}
            for copy in self.values():
                place = (os.fspath(copy.directory), copy.name)
                self._places.setdefault(place, []).append(copy)
        return self._places.get((directory, name), ())


@dataclass(slots=True)
class Write:
    """Content that is to stand where a copy is; ``content`` is read in a thread.

    ``moved`` tells, in that thread, the path of a durable file with that content, which may be
    moved. ``keep`` is given the path of what was replaced.
    """

    copy: Copy
    content: Callable[[], Iterable[bytes]]
    size_bytes: int
    moved: Callable[[], str | None] | None = None
    keep: Callable[[str], None] | None = None


def as_written(copy: Copy) -> bool:
    """Whether a copy in the mandate folder surely is as we wrote it; on this machine's own disk.

    That is so of nearly all that the watcher tells of: what we wrote ourselves.
    """
    if copy.role != "folder" or not copy.digest or copy.stat is None or copy.seen != copy.stat:
        return False
    if copy.missing or copy.held:
        return False
    try:
        return to_stat(os.lstat(copy.path)) == copy.stat
    except OSError:
        return False


def check_room(copy: Copy, size_bytes: int) -> None:
    """Raise ``DiskFull`` unless the disk of a copy has room for content of that size."""
    folder = copy.directory if copy.role == "attached" else copy.directory.parent
    check_disk_room(os.fspath(folder), size_bytes)


def write_many(
    writes: Sequence[Write], ready: Callable[[], None] = lambda: None
) -> list[FileStat | P2PSyncError]:
    """Put contents where copies are, unless somebody changed them since; few syncs for all.

    Returns what each file is like now, or its error (``TargetChanged``, storage errors, what the
    content raises). A folder copy's directory is made when it is missing (it is ours). ``ready`` is
    waited for before any of them takes its name; what it raises keeps all from it.
    """
    results: dict[int, FileStat | P2PSyncError] = {}
    by_folder: dict[tuple[Path, Role], list[int]] = {}
    for number, each in enumerate(writes):
        by_folder.setdefault((each.copy.directory, each.copy.role), []).append(number)
    for numbers in by_folder.values():
        try:
            with _folder_of(writes[numbers[0]].copy) as folder:
                wanted: list[Replacement] = []
                able: list[int] = []
                for number in numbers:
                    try:
                        wanted.append(_replacement(folder, writes[number]))
                        able.append(number)
                    except P2PSyncError as error:
                        results[number] = error
                results.update(zip(able, folder.replace_many(wanted, ready), strict=True))
        except P2PSyncError as error:
            for number in numbers:
                results.setdefault(number, error)
    return [results[number] for number in range(len(writes))]


def _replacement(folder: Folder, write: Write) -> Replacement:
    copy = write.copy
    check_room(copy, write.size_bytes)
    expected: Expected = copy.digest or None
    if expected is not None:
        found = folder.stat(copy.name)
        if found is None:
            if copy.role == "attached":
                # It was moved, perhaps: another one in its place would stand beside it.
                raise TargetChanged(path=str(copy.path))
            expected = None
        elif copy.stat is not None and found == copy.stat:
            expected = copy.stat
    moved = None if write.moved is None else write.moved()
    return Replacement(copy.name, write.content(), expected, moved, write.keep)


def write_new(copy: Copy, content: Iterable[bytes]) -> FileStat:
    """Put content where nothing is; raises ``TargetChanged`` when something is there."""
    with _folder_of(copy) as folder:
        return folder.replace(copy.name, content, None)


def remove(copy: Copy) -> None:
    """Take away what we wrote; raises ``TargetChanged`` when somebody changed it."""
    with _folder_of(copy) as folder:
        folder.remove(copy.name, copy.digest)


def put_away(copy: Copy, keep: Callable[[str], None] | None) -> None:
    """Take away what we wrote; ``keep`` is given its path and moves it to where it is kept.

    Nothing happens when it is gone. Raises ``TargetChanged`` when somebody changed it. A crash
    in between leaves a temporary file, which ``remove_leftovers`` finds.
    """
    try:
        folder = Folder.open_within(copy.directory.parent, copy.directory.name)
    except FolderMissing:
        return
    with folder:
        if folder.stat(copy.name) is None:
            return
        if keep is None:
            folder.remove(copy.name, copy.digest)
            return
        temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        folder.rename(copy.name, temporary, copy.digest)
        try:
            keep(folder.path_of(temporary))
        except BaseException:
            folder.rename(temporary, copy.name)
            raise


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


def remove_leftovers(folder: Path, keep: Callable[[str, bytes], None]) -> None:
    """Remove temporary files that a crash left in a mandate folder; only while nobody writes
    there. ``keep`` is given the path and the digest of each, and may move it away.
    """
    with suppress(P2PSyncError), Folder.open(folder) as opened:
        opened.remove_leftovers(keep)


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
