"""What may be on the disk when a machine stops: the state of the system played forward, and what
of it is durable.

A file or folder that was synced holds at least what it held when that sync began. Of the rest
anything may be there: each sector of a file in any of its later states, the size and each name in a
folder in theirs, all apart from each other. A rename is one step where both names are in one
folder; between two folders the new name may be there before the old one is gone, never the reverse.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

from tests.crash.trace import (
    Mark,
    Mode,
    Naming,
    Node,
    Operation,
    Recording,
    Resize,
    Sync,
    Write,
)

Path = str
Tree = dict[Path, tuple[int, bytes | None]]
"""Each path with its mode and content; ``None`` for a folder."""
Resized = Write | Resize


@dataclass(frozen=True, slots=True)
class Survival:
    """What of the unsynced is kept. Each function gets how many states came after the durable one,
    and returns which of them the disk has: 0 for the durable one.
    """

    name: str
    sector: Callable[[int], int]
    size: Callable[[int], int]
    kept: Callable[[int, int], bool]
    """Asked for each unsynced naming of a folder: (its place, how many there are)."""
    sector_bytes: int = 4096


def _last(count: int) -> int:
    return count


def _none(count: int) -> int:
    return 0


EVERYTHING = Survival("all", _last, _last, lambda place, count: True)
NOTHING = Survival("none", _none, _none, lambda place, count: False)
NAMES_ALONE = Survival("names without data", _none, _last, lambda place, count: True)
DATA_ALONE = Survival("data without names", _last, _none, lambda place, count: False)
LATER_FIRST = Survival(
    "the later before the earlier",
    lambda count: count if count > 1 else 0,
    _last,
    lambda place, count: place >= count // 2,
    512,
)
EARLIER_ALONE = Survival(
    "the earlier alone",
    lambda count: count // 2,
    lambda count: count // 2,
    lambda place, count: place < count // 2,
)
EXTREMES = (NOTHING, NAMES_ALONE, DATA_ALONE, LATER_FIRST, EARLIER_ALONE)


def drawn(seed: int) -> Survival:
    """Anything, by a seed: torn at 512 or 4,096 bytes."""
    random = Random(seed)
    likely = random.choice((0.1, 0.5, 0.9))

    def some(count: int) -> int:
        return random.randint(1, count) if random.random() < likely else 0

    return Survival(
        f"drawn {seed}",
        some,
        some,
        lambda place, count: random.random() < likely,
        random.choice((512, 4096)),
    )


@dataclass(slots=True)
class _File:
    mode: int
    durable: bytearray
    running: bytearray
    pending: list[tuple[int, Resized]] = field(default_factory=list)


@dataclass(slots=True)
class _Folder:
    mode: int
    durable: dict[str, int]
    running: dict[str, int]
    pending: list[tuple[int, Naming]] = field(default_factory=list)


class Disk:
    """A recording played forward; states of its parts at any moment."""

    def __init__(self, recording: Recording) -> None:
        self._files: dict[int, _File] = {}
        self._folders: dict[int, _Folder] = {}
        self._new = recording.after
        self._machines = recording.machines
        self.at = 0
        """How many operations were played."""
        for number, node in recording.before.items():
            self._make(number, node, node.content, node.names or {})

    def _make(
        self, number: int, node: Node, content: bytes | bytearray, names: dict[str, int]
    ) -> None:
        if node.names is None:
            self._files[number] = _File(node.mode, bytearray(content), bytearray(content))
        else:
            self._folders[number] = _Folder(node.mode, {**names}, {**names})

    def play(self, operation: Operation) -> None:
        """Take one more operation."""
        number, what = self.at, operation.what
        self.at += 1
        match what:
            case Write(inode=inode) | Resize(inode=inode):
                file = self._files[inode]
                _apply(file.running, what)
                file.pending.append((number, what))
            case Mode(inode=inode, mode=mode):
                (self._files.get(inode) or self._folders[inode]).mode = mode
            case Naming(changes=changes):
                for folder, name, leads_to in changes:
                    if leads_to is not None and not self._known(leads_to):
                        # Whatever it came to be in the end: it begins empty.
                        self._make(leads_to, self._new[leads_to], b"", {})
                    _name(self._folders[folder].running, name, leads_to)
                for folder in {folder for folder, _, _ in changes}:
                    self._folders[folder].pending.append((number, what))
            case Sync(inode=inode, disk=False):
                self._synced(inode, operation.began)
            case Sync(inode=machine):
                for inode in [*self._files, *self._folders]:
                    if machine in (0, self._machines[inode]):
                        self._synced(inode, operation.began)
            case Mark():
                pass

    def _known(self, inode: int) -> bool:
        return inode in self._files or inode in self._folders

    def _synced(self, inode: int, began: int) -> None:
        if file := self._files.get(inode):
            for number, what in file.pending:
                if number < began:
                    _apply(file.durable, what)
            file.pending = [each for each in file.pending if each[0] >= began]
        elif folder := self._folders.get(inode):
            for number, naming in folder.pending:
                if number < began:
                    _rename(folder.durable, inode, naming)
            folder.pending = [each for each in folder.pending if each[0] >= began]

    def content(self, inode: int) -> bytes | None:
        """What a file holds while the system runs; ``None`` for a folder."""
        file = self._files.get(inode)
        return None if file is None else bytes(file.running)

    # -- states -------------------------------------------------------------------------------

    def running(self, folder: int) -> Tree:
        """What a folder holds while the system runs, and after a mere process has died."""
        return dict(self._walk(folder, "", lambda number: self._folders[number].running, _running))

    def after_cut(self, folder: int, survival: Survival) -> Tree:
        """What a folder holds when the power went."""
        kept: dict[int, bool] = {}
        names = {number: self._names(number, survival, kept) for number in sorted(self._folders)}
        return dict(
            self._walk(folder, "", names.__getitem__, lambda file: _content(file, survival))
        )

    def unsynced(self, folder: int) -> int:
        """How many operations below a folder would not survive for sure."""
        inside = {folder}
        found = 0
        waiting = [folder]
        while waiting:
            at = self._folders[waiting.pop()]
            found += len(at.pending)
            for inner in {*at.running.values(), *at.durable.values()} - inside:
                inside.add(inner)
                if inner in self._folders:
                    waiting.append(inner)
                else:
                    found += len(self._files[inner].pending)
        return found

    def _names(self, number: int, survival: Survival, kept: dict[int, bool]) -> dict[str, int]:
        folder = self._folders[number]
        names = {**folder.durable}
        count = len(folder.pending)
        for place, (operation, naming) in enumerate(folder.pending):
            if operation not in kept:
                kept[operation] = survival.kept(place, count)
            mine = [change for change in naming.changes if change[0] == number]
            adds = any(inode is not None for _, _, inode in mine)
            two = len({each for each, _, _ in naming.changes}) > 1
            if kept[operation] or (two and adds and self._gone(operation, naming)):
                _rename(names, number, naming)
        return names

    def _gone(self, operation: int, naming: Naming) -> bool:
        """Whether the old name of a rename between two folders is gone for good."""
        return any(
            inode is None and all(each[0] != operation for each in self._folders[folder].pending)
            for folder, _, inode in naming.changes
        )

    def _walk(
        self,
        number: int,
        prefix: str,
        names: Callable[[int], dict[str, int]],
        content: Callable[[_File], bytes],
    ) -> Iterator[tuple[Path, tuple[int, bytes | None]]]:
        for name, inner in sorted(names(number).items()):
            path = prefix + name
            if inner in self._folders:
                yield path, (self._folders[inner].mode, None)
                yield from self._walk(inner, path + "/", names, content)
            else:
                file = self._files[inner]
                yield path, (file.mode, content(file))


def _running(file: _File) -> bytes:
    return bytes(file.running)


def _apply(content: bytearray, what: Resized) -> None:
    match what:
        case Write(offset=offset, data=data):
            content.extend(bytes(max(0, offset + len(data) - len(content))))
            content[offset : offset + len(data)] = data
        case Resize(size=size):
            del content[size:]
            content.extend(bytes(size - len(content)))


def _name(names: dict[str, int], name: str, inode: int | None) -> None:
    if inode is None:
        names.pop(name, None)
    else:
        names[name] = inode


def _rename(names: dict[str, int], folder: int, naming: Naming) -> None:
    for where, name, inode in naming.changes:
        if where == folder:
            _name(names, name, inode)


def _content(file: _File, survival: Survival) -> bytes:
    """A file after a cut: per sector, any state from the durable one to the last."""
    if not file.pending:
        return bytes(file.durable)
    step = survival.sector_bytes
    states = list(_sizes(len(file.durable), [what for _, what in file.pending]))
    size = states[survival.size(len(states) - 1)]
    touched: dict[int, list[Resized]] = {}
    for (_, what), (before, after) in zip(file.pending, pairwise(states), strict=True):
        first, last = (
            (what.offset, what.offset + len(what.data))
            if isinstance(what, Write)
            else (min(before, after), max(before, after))
        )
        for sector in range(first // step, -(-last // step)):
            touched.setdefault(sector, []).append(what)
    out = bytearray(file.durable[:size].ljust(size, b"\0"))
    for sector, every in sorted(touched.items()):
        start = sector * step
        if start < size:
            part = _sector(file.durable, start, step, every[: survival.sector(len(every))])
            out[start : start + step] = part[: size - start]
    return bytes(out)


def _sizes(size: int, pending: Sequence[Resized]) -> Iterator[int]:
    yield size
    for what in pending:
        size = max(size, what.offset + len(what.data)) if isinstance(what, Write) else what.size
        yield size


def _sector(durable: bytearray, start: int, step: int, kept: Sequence[Resized]) -> bytes:
    part = bytearray(durable[start : start + step].ljust(step, b"\0"))
    for what in kept:
        if isinstance(what, Write):
            first, last = max(what.offset, start), min(what.offset + len(what.data), start + step)
            part[first - start : last - start] = what.data[first - what.offset : last - what.offset]
        else:
            cut = max(0, what.size - start)
            part[cut:] = bytes(max(0, step - cut))
    return bytes(part)
