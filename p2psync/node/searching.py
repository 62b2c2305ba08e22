"""Searches the disk for files that are not where they were (B-MIG-1).

A file is known again by its identity (the same inode), by what it holds (the same content, or most
of its records) and by its name in another folder. Where two of the three agree it is offered.

The functions block and are called in threads. Each search is bounded: folders, names, bytes read.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from p2psync.core.crdt import Value
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import P2PSyncError
from p2psync.formats import registry
from p2psync.limits import (
    FILE_HEAD_BYTES,
    RECORD_FILE_BYTES_MAX,
    SEARCHED_BYTES_MAX,
    SEARCHED_FOLDERS_MAX,
    SEARCHED_NAMES_MAX,
)
from p2psync.node.paths import is_utf8
from p2psync.storage.disk import birth_ns
from p2psync.storage.file_state import FileStat, to_stat
from p2psync.storage.folder import Folder
from p2psync.storage.mounts import on_network

Signal = Literal["identity", "content", "records", "name"]
SIGNALS: tuple[Signal, ...] = ("identity", "content", "records", "name")
_READ_BYTES_MAX = 16 << 20
"""What is read at once to compare records; larger files are compared by their digest only."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is not where it was, and what it is known by.

    ``seen`` is what it was like last, ``contents`` the size and the digest of what it held last and
    of what it is to hold, ``values`` the lines of a record file.
    """

    file: bytes
    directory: Path
    name: str
    format: str
    seen: FileStat | None
    contents: tuple[tuple[int, bytes], ...]
    values: Sequence[Value] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the one that is missing, and what speaks for it.

    ``attached``: it stands where another attached file is to be.
    """

    path: Path
    signals: tuple[Signal, ...]
    attached: bool = False

    @property
    def agreeing(self) -> int:
        """How many independent signals agree; content and records are one."""
        return len({"content" if each == "records" else each for each in self.signals})


def offered(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the one candidate that two independent signals agree on; ``None`` for none or more."""
    found = [each for each in candidates if each.agreeing >= 2 and not each.attached]
    return found[0] if len(found) == 1 else None


@dataclass(slots=True)
class Budget:
    """What one search may still look at."""

    folders: int = SEARCHED_FOLDERS_MAX
    names: int = SEARCHED_NAMES_MAX
    bytes: int = SEARCHED_BYTES_MAX


@dataclass(slots=True)
class _Entry:
    """A file that a search came across; what it holds is read at most once."""

    path: Path
    stat: FileStat
    digest: bytes | None = None
    keys: Counter[bytes] | None = None
    format: str = ""


@dataclass(slots=True)
class _Sieve:
    """By what the wanted files are found among many names."""

    inodes: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    names: dict[str, list[int]] = field(default_factory=dict)
    sizes: dict[int, list[int]] = field(default_factory=dict)
    suffixes: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, wanted: Sequence[Wanted]) -> "_Sieve":
        sieve = cls()
        for number, each in enumerate(wanted):
            if each.seen is not None:
                place = (each.seen.device, each.seen.inode)
                sieve.inodes.setdefault(place, []).append(number)
            sieve.names.setdefault(each.name, []).append(number)
            for size_bytes, _ in each.contents:
                sieve.sizes.setdefault(size_bytes, []).append(number)
            if each.values:
                sieve.suffixes.setdefault(os.path.splitext(each.name)[1], []).append(number)
        return sieve

    def caught(self, entry: _Entry) -> set[int]:
        """The wanted files that an entry may be."""
        return {
            *self.inodes.get((entry.stat.device, entry.stat.inode), ()),
            *self.names.get(entry.path.name, ()),
            *self.sizes.get(entry.stat.size_bytes, ()),
            *self.suffixes.get(entry.path.suffix, ()),
        }


def search(
    wanted: Sequence[Wanted],
    others: Iterable[Path],
    attached: Iterable[Path],
    excluded: Path,
    budget: Budget | None = None,
) -> dict[bytes, list[Candidate]]:
    """Look for missing files; return what may be each, best first, by file.

    In their own folders, in ``others`` (folders of other attached files), in the folders above and
    one level below; never in ``excluded``, the mandate folders. ``attached`` are the places of
    attached files: what is there is named only when it is a missing one by its identity.
    """
    taken = set(attached)
    budget = budget or Budget()
    sieve = _Sieve.of(wanted)
    keys = [_Keys(each) for each in wanted]
    out: dict[bytes, list[Candidate]] = {each.file: [] for each in wanted}
    for folder in _folders(wanted, others, excluded, budget.folders):
        for entry in _entries(folder, budget):
            for number in sieve.caught(entry):
                each = wanted[number]
                is_attached = entry.path in taken
                if entry.path == each.directory / each.name:
                    continue
                signals = _signals(each, keys[number], entry, budget)
                if not signals or (is_attached and "identity" not in signals):
                    continue
                out[each.file].append(Candidate(entry.path, signals, is_attached))
    for found in out.values():
        found.sort(key=lambda each: (-each.agreeing, each.signals, os.fspath(each.path)))
    return out


def agreeing(wanted: Wanted, path: Path) -> tuple[Signal, ...]:
    """Return what speaks for a file's being a missing one; nothing when it is not there."""
    try:
        entry = _Entry(path, to_stat(os.lstat(path)))
    except OSError:
        return ()
    return _signals(wanted, _Keys(wanted), entry, Budget())


def there(path: Path) -> FileStat | None:
    """What is at a place, of any kind; ``None`` when nothing is."""
    try:
        return to_stat(os.lstat(path))
    except OSError:
        return None


# -- where ------------------------------------------------------------------------------------


def _folders(
    wanted: Sequence[Wanted], others: Iterable[Path], excluded: Path, limit: int
) -> Iterator[Path]:
    """Where to look, the likeliest places first, each once."""
    own = list(dict.fromkeys(each.directory for each in wanted))
    above = list(dict.fromkeys(folder.parent for folder in own))
    seen: set[Path] = set()
    near = [*own, *dict.fromkeys(others), *above]
    for folder in near:
        if folder not in seen and not _inside(folder, excluded):
            seen.add(folder)
            yield folder
            if len(seen) >= limit:
                return
    for folder in own:
        for renamed in _renamed(folder):
            if renamed not in seen and not _inside(renamed, excluded):
                seen.add(renamed)
                yield renamed
                if len(seen) >= limit:
                    return
    for folder in (*own, *above):
        for below in _below(folder):
            if below in seen or _inside(below, excluded) or on_network(below):
                continue
            seen.add(below)
            yield below
            if len(seen) >= limit:
                return


def _renamed(folder: Path) -> list[Path]:
    """What a missing folder may be called if it, or one above it, was renamed."""
    rest: list[str] = []
    above = folder
    while not above.is_dir():
        if above == above.parent:
            return []
        rest.insert(0, above.name)
        above = above.parent
    if not rest:
        return []
    places = (below.joinpath(*rest[1:]) for below in _below(above) if not on_network(below))
    return [place for place in places if place.is_dir()]


def _inside(folder: Path, excluded: Path) -> bool:
    return folder == excluded or excluded in folder.parents


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if len(found) >= SEARCHED_FOLDERS_MAX:
                break
            if entry.name.startswith(".") or not is_utf8(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                found.append(Path(entry.path))
    return sorted(found)


def _entries(folder: Path, budget: Budget) -> Iterator[_Entry]:
    """The plain files of a folder, but for hidden ones: what programs keep for themselves."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            budget.names -= 1
            if budget.names < 0:
                return
            # A name that is not UTF-8 cannot be attached, on no system but this one.
            if entry.name.startswith((".", TEMPORARY_PREFIX)) or not is_utf8(entry.name):
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield _Entry(Path(entry.path), to_stat(found))


# -- what speaks for it -----------------------------------------------------------------------


class _Keys:
    """How often each record stood in a wanted file; counted when it is first needed."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._keys: Counter[bytes] | None = None

    def get(self) -> Counter[bytes]:
        if self._keys is None:
            self._keys = Counter(
                record.key for value in self._wanted.values for record in value.segment.records
            )
        return self._keys


def _signals(wanted: Wanted, keys: _Keys, entry: _Entry, budget: Budget) -> tuple[Signal, ...]:
    found: set[Signal] = set()
    seen = wanted.seen
    if seen is not None and _same_file(seen, entry):
        found.add("identity")
        if seen.same_file(entry.stat) and any(
            size_bytes == seen.size_bytes for size_bytes, _ in wanted.contents[:1]
        ):
            found.add("content")  # untouched since it was read
    if "content" not in found and _same_content(wanted, entry, budget):
        found.add("content")
    if "content" not in found and wanted.values and _same_records(wanted, keys, entry, budget):
        found.add("records")
    if entry.path.name == wanted.name:
        found.add("name")
    return tuple(each for each in SIGNALS if each in found)


def _same_file(seen: FileStat, entry: _Entry) -> bool:
    """Whether it is the very file: not another one that got the inode when that was free.

    A file with the inode that was made before ours was last seen was there at the same time: and
    at one time an inode is one file.
    """
    if (seen.device, seen.inode) != (entry.stat.device, entry.stat.inode):
        return False
    made_ns = birth_ns(os.fspath(entry.path))
    return made_ns is None or made_ns <= seen.ctime_ns


def _same_content(wanted: Wanted, entry: _Entry, budget: Budget) -> bool:
    digests = {digest for size, digest in wanted.contents if size == entry.stat.size_bytes}
    if not digests or not entry.stat.size_bytes:
        return False
    if entry.digest is None:
        if not _may_read(entry, budget):
            return False
        entry.digest = b""
        with suppress(P2PSyncError), Folder.open(entry.path.parent) as folder:
            entry.digest = folder.digest(entry.path.name)
    return entry.digest in digests


def _same_records(wanted: Wanted, keys: _Keys, entry: _Entry, budget: Budget) -> bool:
    """Whether most records of the two files are the same."""
    limit = min(RECORD_FILE_BYTES_MAX, _READ_BYTES_MAX)
    if entry.stat.size_bytes > limit:
        return False
    if entry.keys is None:
        if not _may_read(entry, budget):
            return False
        entry.keys = Counter()
        with suppress(P2PSyncError), Folder.open(entry.path.parent) as folder:
            data, _ = folder.read(entry.path.name, limit)
            format_ = registry.find_again(wanted.format, entry.path.name, data[:FILE_HEAD_BYTES])
            entry.format = format_.name
            if format_.name == wanted.format:
                entry.keys = Counter(
                    record.key
                    for segment in format_.parse(data).segments
                    for record in segment.records
                )
    if entry.format != wanted.format:
        return False
    shared = (entry.keys & keys.get()).total()
    return shared * 2 > max(entry.keys.total(), keys.get().total())


def _may_read(entry: _Entry, budget: Budget) -> bool:
    if entry.stat.size_bytes > budget.bytes:
        return False
    budget.bytes -= entry.stat.size_bytes
    return True
