"""Tries the moments of a recorded story as crashes and power cuts."""

import hashlib
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.crash import story
from tests.crash.check import Expected, Violation, check, summaries
from tests.crash.disk import EXTREMES, Disk, Survival, Tree, drawn
from tests.crash.trace import Mark, Naming, Operation, Recording, Sync, record

DRAWS_A_CUT = 6


@dataclass(frozen=True, slots=True)
class Point:
    """A moment: after so many operations; ``survival`` of a machine whose power went, if any."""

    at: int
    survival: Survival | None = None

    @property
    def name(self) -> str:
        return "crash" if self.survival is None else f"cut, {self.survival.name}"


@dataclass(slots=True)
class Report:
    """What was tried, and what was found. ``same``: states that had been opened before."""

    crashes: int = 0
    cuts: int = 0
    states: int = 0
    same: int = 0
    violations: list[story.Json] = field(default_factory=list)
    seconds: float = 0.0


class Explorer:
    """One recording, one machine whose power goes."""

    def __init__(self, recording: Recording, victim: str, seed: int) -> None:
        self.recording = recording
        self.victim = victim
        self._seed = seed
        self.golden = summaries(recording.operations)
        self.synced: dict[int, str] = {}
        """What each sync was of, by its place: a path, with ``/*`` for a machine's disk."""
        self.whole: dict[str, set[bytes]] = {}
        """What each name led to after a rename: files that were complete when they got it."""
        self._read()

    def _read(self) -> None:
        disk = Disk(self.recording)
        places: dict[int, tuple[int, str]] = {}

        def path(inode: int) -> str:
            folder, name = places.get(inode, (0, ""))
            return f"{path(folder)}/{name}" if folder else name

        for number, node in self.recording.before.items():
            places.update({inner: (number, name) for name, inner in (node.names or {}).items()})
        for at, operation in enumerate(self.recording.operations):
            disk.play(operation)
            match operation.what:
                case Sync(inode=inode, disk=whole):
                    self.synced[at] = path(inode) + "/*" * whole
                case Naming(changes=changes):
                    for folder, name, leads_to in changes:
                        if leads_to is None:
                            continue
                        known = leads_to in places
                        places[leads_to] = (folder, name)
                        if known and (content := disk.content(leads_to)) is not None:
                            self.whole.setdefault(path(leads_to), set()).add(content)

    def points(self, operations: Sequence[Operation]) -> Iterator[Point]:
        """All of them, by their moment: each operation as a crash, each sync as a power cut."""
        machines = self.recording.machines
        mine = (0, (self.recording.before[0].names or {})[self.victim])
        for at, operation in enumerate(operations):
            match operation.what:
                case Sync(inode=inode):
                    if machines.get(inode) in mine:
                        yield from self._cuts(at)
                case Mark():
                    pass
                case _:
                    yield Point(at + 1)
        yield from self._cuts(len(operations))

    def cuts_at_rest(self, operations: Sequence[Operation]) -> Iterator[Point]:
        """Power cuts after a step was done, and before the next began."""
        for at, operation in enumerate(operations):
            if isinstance(operation.what, Mark) and "done" in operation.what.value:
                yield from self._cuts(at + 1)

    def _cuts(self, at: int) -> Iterator[Point]:
        for survival in EXTREMES:
            yield Point(at, survival)
        for number in range(DRAWS_A_CUT):
            yield Point(at, drawn(self._seed + at * DRAWS_A_CUT + number))

    def explore(
        self, points: Sequence[Point], operations: Sequence[Operation], *, stop: bool = False
    ) -> Report:
        """Open the state of each point (in order of time); ``stop`` at the first that is wrong."""
        report = Report()
        began = time.monotonic()
        disk = Disk(self.recording)
        tops = self.recording.before[0].names or {}
        expected = Expected()
        tried: set[bytes] = set()
        for point in points:
            while disk.at < point.at:
                operation = operations[disk.at]
                disk.play(operation)
                if isinstance(operation.what, Mark):
                    expected.take(operation.what.value)
            trees = {name: disk.running(tops[name]) for name in story.NAMES}
            if point.survival is None:
                report.crashes += 1
            else:
                report.cuts += 1
                trees[self.victim] = disk.after_cut(tops[self.victim], point.survival)
            state = _digest(trees, expected)
            if state in tried:
                report.same += 1
                continue
            tried.add(state)
            report.states += 1
            try:
                check(self.recording.root, trees, expected, self.golden, self.whole)
            except Violation as violation:
                report.violations.append(
                    {
                        "at": point.at,
                        "kind": point.name,
                        "victim": self.victim,
                        "step": story.STEPS[max(expected.step, 0)].__name__,
                        "what": str(violation),
                    }
                )
                if stop:
                    break
        report.seconds = round(time.monotonic() - began, 1)
        return report


def _digest(trees: Mapping[str, Tree], expected: Expected) -> bytes:
    state = hashlib.blake2b(repr(expected.step).encode())
    state.update(repr([len(each) for each in expected.held.values()]).encode())
    for name, tree in trees.items():
        for path, (_, data) in tree.items():
            summed = 0 if data is None else zlib.crc32(data) + len(data)
            state.update(f"{name}/{path} {summed}\n".encode())
    return state.digest()


def sampled(points: Sequence[Point], many: int, seed: int) -> list[Point]:
    """So many of the points, drawn evenly from crashes and cuts, in order of time."""
    random = Random(seed)
    crashes = [point for point in points if point.survival is None]
    cuts = [point for point in points if point.survival is not None]
    chosen = random.sample(crashes, min(len(crashes), many // 3))
    chosen += random.sample(cuts, min(len(cuts), many - len(chosen)))
    return sorted(chosen, key=lambda point: point.at)


def recorded(root: Path, *options: str) -> Recording:
    """Play the story in a new folder, and record it."""
    shutil.rmtree(root, ignore_errors=True)
    for name in story.NAMES:
        (root / name / "desk").mkdir(parents=True)
    recording = record(root, [sys.executable, "-m", "tests.crash.story", str(root), *options])
    recording.check_complete()
    return recording
