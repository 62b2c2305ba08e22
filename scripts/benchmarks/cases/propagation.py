"""How long it takes until a save of 20 KB on A is on the disk of B, both idle before."""

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from scripts.benchmarks import syncs
from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.content import opaque_saves, prepared, record_saves, save
from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal, spread_of
from scripts.benchmarks.pairs import Pair, ours
from scripts.benchmarks.peers.rsync import rsync
from scripts.benchmarks.peers.rsync import version as rsync_version
from scripts.benchmarks.peers.syncthing import minimum_delay_seconds, syncthing
from scripts.benchmarks.peers.syncthing import version as syncthing_version
from scripts.benchmarks.processes import cpu_seconds

NAME = "propagation"
TITLE = "a 20 KB file saved on A → on the disk of B, both idle before"
LIMITS = ("20 KB: write, fsync, rename, fsync of the folder", "loopback, one byte there and back")
MEDIAN_GOAL, HIGH_GOAL = Goal("≤", 8), Goal("≤", 20)
ARRIVAL_SECONDS_MAX = 60.0
_REST_SECONDS = 0.25
"""Between two saves: nothing of the one before is still under way."""
_COUNTED_SAVES = 10


def run(context: Context) -> Iterator[Figure]:
    """Measures our opaque files and files of records, and opaque files of the peers."""
    saves, slow = context.sizes.saves, context.sizes.slow_saves
    yield from _measured(context, ours(context, "invoicing"), saves, records=True)
    yield from _measured(context, ours(context), saves)
    if context.peers and syncthing_version():
        yield from _measured(context, syncthing(context, asked=False), slow)
        least = minimum_delay_seconds()
        yield from _measured(context, syncthing(context, least, asked=False), slow)
        yield from _measured(context, syncthing(context), slow)
    if context.peers and rsync_version():
        yield from _measured(context, rsync(context), slow * 4)


def _measured(
    context: Context, opener: AbstractContextManager[Pair], saves: int, records: bool = False
) -> Iterator[Figure]:
    size = context.sizes.file_bytes
    kind, suffix, contents = (
        ("records", ".ecf", record_saves(size))
        if records
        else ("opaque", ".bin", opaque_saves(size, seed=1))
    )
    with opener as pair:
        source = save(pair.source / f"sales{suffix}", next(contents))
        pair.take_up([source])
        used = sum(map(cpu_seconds, pair.pids()))
        samples = milliseconds(pair, source, contents, saves)
        used = sum(map(cpu_seconds, pair.pids())) - used
        tell(f"{NAME}, {kind}: {pair.subject}: {statistics.median(samples):.1f} ms")
        for figure in spread_of(
            *(NAME, pair.subject, samples, "ms"),
            median_goal=MEDIAN_GOAL if pair.subject == OURS else None,
            high_goal=HIGH_GOAL if pair.subject == OURS else None,
        ):
            yield replace(figure, measure=f"{kind}, {figure.measure}")
        if pair.subject == OURS:
            milliseconds_each = used / (saves + 1) * 1000
            yield Figure(
                NAME, OURS, f"{kind}, processor time for one save, both", milliseconds_each, "ms"
            )
            if syncs.installed():
                yield from _waits(context, pair, source, contents, kind)


def _waits(
    context: Context, pair: Pair, source: Path, contents: Iterator[bytes], kind: str
) -> Iterator[Figure]:
    """Counts the waits for the disk of a few more saves."""
    saves = min(_COUNTED_SAVES, context.sizes.saves)
    with (
        context.fresh("syncs") as folder,
        syncs.counted(context.processes, pair.pids(), folder) as counts,
    ):
        milliseconds(pair, source, contents, saves)
        time.sleep(_REST_SECONDS)
    for side, count in zip("AB", counts.by_process, strict=True):
        each = count / (saves + 1)
        yield Figure(NAME, OURS, f"{kind}, waits for the disk of {side}", each, "a save")


def milliseconds(
    pair: Pair,
    source: Path,
    contents: Iterator[bytes],
    saves: int,
    rest_seconds: float = _REST_SECONDS,
) -> list[float]:
    """Returns how long each save took to arrive, from the rename that ends it.

    One more save than that is made: the first, which is not counted, warms both sides up.
    """
    copy = pair.target / source.name
    samples = []
    with Arrivals(copy.parent) as arrivals:
        arrivals.until(copy.exists, ARRIVAL_SECONDS_MAX, f"the first {copy.name}")
        pair.settle()
        for _ in range(saves + 1):
            content = next(contents)
            beside = prepared(source, content)
            time.sleep(rest_seconds)
            began = time.perf_counter()
            beside.replace(source)
            pair.saved()
            arrivals.until(Holding(copy, content), ARRIVAL_SECONDS_MAX, copy.name)
            samples.append((time.perf_counter() - began) * 1000)
    return samples[1:]


class Holding:
    """Asks whether a file has exactly this content."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content

    def __call__(self) -> bool:
        """Tells whether it is so now."""
        try:
            same_size = self._path.stat().st_size == len(self._content)
            return same_size and self._path.read_bytes() == self._content
        except FileNotFoundError:
            return False
