"""Opens what a crash left with the product's own code, and says what is wrong with it.

Before the nodes meet: each machine opens, its key is the one it had, it holds every entry that a
frame promised to the peer and every one that was there when a step was done, files and chunks are
whole. Then the step that was broken off is done once more, and all must be as if nothing had
happened: same versions, same counts, same files, no alert, no log with two entries at one place.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto, entry
from p2psync.core.frontier import HEAD_BYTES
from p2psync.core.names import TEMPORARY_PREFIX
from p2psync.errors import ChunkMissing
from tests.crash.disk import Tree
from tests.crash.story import NAMES, Json, World, joined, take
from tests.crash.trace import Mark, Operation
from tests.node.rig import Machine

PARKED = ".parked"
UNREADABLE = {ChunkMissing.code}
CHUNK = re.compile("home/chunks/[0-9a-f]{2}/[0-9a-f]{64}")


class Violation(Exception):
    """A promise that a crash broke."""


@dataclass(slots=True)
class Expected:
    """What the marks up to a moment promise."""

    step: int = -1
    keys: dict[str, str] = field(default_factory=dict)
    ticket: str = ""
    held: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in NAMES})
    tips: dict[str, set[tuple[str, int, str]]] = field(
        default_factory=lambda: {name: set() for name in NAMES}
    )
    summaries: dict[int, Json] = field(default_factory=dict)

    def take(self, value: Json) -> None:
        """Take one more mark."""
        match value:
            case {"begun": int(step)}:
                self.step = step
            case {"device": str(name), "key": str(key)}:
                self.keys[name] = key
            case {"ticket": str(ticket)}:
                self.ticket = ticket
            case {"sent": str(name), "ids": ids, "tips": tips}:
                self.held[name].update(ids)
                self.tips[name].update((log, seq, head) for log, seq, head in tips)
            case {"done": _, "held": held}:
                for name, ids in held.items():
                    self.held[name].update(ids)
            case _:
                raise AssertionError(value)


def summaries(operations: Sequence[Operation]) -> dict[int, Json]:
    """What was seen when each step was done."""
    return {
        each.what.value["done"]: each.what.value["summary"]
        for each in operations
        if isinstance(each.what, Mark) and "done" in each.what.value
    }


def lay_out(root: Path, trees: Mapping[str, Tree]) -> None:
    """Put machines' disks in place. A home keeps its inode: a copy would be told as one."""
    for name, tree in trees.items():
        machine, parked = root / name, root / f"{PARKED}-{name}"
        home = machine / "home"
        if home.exists() and not parked.exists():  # else it is one that a crash had made new
            home.rename(parked)
        shutil.rmtree(machine)
        machine.mkdir()
        for path, (mode, data) in tree.items():
            place = machine / path
            if data is None:
                if place == home and parked.exists():
                    _emptied(parked).rename(home)
                else:
                    place.mkdir()
                place.chmod(mode)
            else:
                descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)


def _emptied(folder: Path) -> Path:
    for inner in folder.iterdir():
        if inner.is_dir():
            shutil.rmtree(inner)
        else:
            inner.unlink()
    return folder


def check(
    root: Path,
    trees: Mapping[str, Tree],
    expected: Expected,
    golden: Mapping[int, Json],
    whole: Mapping[str, set[bytes]],
) -> None:
    """Raise ``Violation`` unless all promises hold; ``whole``: what files ever held, by path."""
    for name, tree in trees.items():
        _check_files(name, tree, whole)
    lay_out(root, trees)
    try:
        trio.run(_check, root, expected, golden)
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"it does not go on: {_deepest(error)!r}") from error


def _deepest(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _check_files(name: str, tree: Tree, whole: Mapping[str, set[bytes]]) -> None:
    """Files that programs see are the old or the new ones, never torn; nor are chunks."""
    for path, (_, data) in tree.items():
        if data is None:
            continue
        if CHUNK.fullmatch(path) and crypto.chunk_address(data).hex() != os.path.basename(path):
            raise Violation(f"the chunk {name}/{path} is torn")
        if not path.startswith(("desk/", "home/mandates/")):
            continue
        if os.path.basename(path).startswith((TEMPORARY_PREFIX, ".")):
            continue
        if data not in whole.get(f"{name}/{path}", ()):
            raise Violation(f"{name}/{path} is torn: {len(data)} bytes")


async def _check(root: Path, expected: Expected, golden: Mapping[int, Json]) -> None:
    step = max(expected.step, 0)

    async def opened(world: World) -> None:
        for name, machine in world.machines.items():
            known = expected.keys.get(name)
            if known is not None and machine.device.hex() != known:
                raise Violation(f"{name} has another key")
            _check_held(name, _raws(machine), expected)

    async with joined(root, lambda value: None, expected.ticket, opened) as world:
        _compare(await take(world, step), golden[step])
        _check_logs({name: _raws(machine) for name, machine in world.machines.items()}, expected)


def _raws(machine: Machine) -> list[entry.Entry]:
    database = machine.store._database
    return [entry.decode(raw) for row in database.mandates() for raw in database.raws(row.id)]


def _check_held(name: str, entries: Sequence[entry.Entry], expected: Expected) -> None:
    there = {each.id.hex() for each in entries}
    lost = expected.held[name] - there
    if lost:
        raise Violation(f"{name} lost {len(lost)} entries that it had told of")
    tips = {(each.log.hex(), each.seq, each.id[:HEAD_BYTES].hex()) for each in entries}
    if expected.tips[name] - tips:
        raise Violation(f"{name} lost entries that it had said to hold")


def _check_logs(held: Mapping[str, Sequence[entry.Entry]], expected: Expected) -> None:
    places: dict[tuple[bytes, int], bytes] = {}
    for entries in held.values():
        for each in entries:
            if places.setdefault((each.log, each.seq), each.id) != each.id:
                raise Violation(f"a log forked at {each.seq}")
    for name, entries in held.items():
        _check_held(name, entries, expected)


def _compare(seen: Json, wanted: Json) -> None:
    differences = list(_differences("", seen, wanted))
    if differences:
        raise Violation("; ".join(differences))


def _differences(path: str, seen: Any, wanted: Any) -> list[str]:
    if isinstance(seen, dict) and isinstance(wanted, dict):
        return [
            difference
            for key in sorted({*seen, *wanted})
            for difference in _differences(f"{path}/{key}", seen.get(key), wanted.get(key))
        ]
    if path.endswith("/versions") and isinstance(seen, list):
        # A crash may leave a content here that otherwise would be elsewhere only.
        readable = Counter(each for each in wanted if each not in UNREADABLE)
        if len(seen) == len(wanted) and readable <= Counter(seen):
            return []
    return [] if seen == wanted else [f"{path} is {seen!r}, not {wanted!r}"]
