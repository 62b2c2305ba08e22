"""How long it takes until files that are new on one side are all on the other."""

import filecmp
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.content import write_many
from scripts.benchmarks.context import BenchmarkFailed, Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.pairs import Pair
from scripts.benchmarks.processes import cpu_seconds, peak_mb
from scripts.benchmarks.subjects import subjects

ARRIVAL_SECONDS_MAX = 900.0


def first_syncs(name: str, context: Context, count: int, size: int, goal: Goal) -> Iterator[Figure]:
    """Measures every subject with ``count`` files of ``size`` bytes.

    The clock runs from the moment that the program is told of the files, which are on the disk
    and not in the program's hands, to the moment that all are in the target folder.
    """
    times: dict[str, list[float]] = {}
    costs: list[float] = []
    peaks: list[float] = []
    for opener in subjects(context):
        with opener as pair, context.fresh("staging") as staging:
            ours = pair.subject == OURS
            paths = place(pair, write_many(staging, count, size, seed=2))
            used = sum(map(cpu_seconds, pair.pids()))
            seconds = timed(pair, paths, size)
            check_same(paths, pair.target)
            times.setdefault(pair.subject, []).append(seconds)
            if ours:
                costs.append(sum(map(cpu_seconds, pair.pids())) - used)
                peaks = [peak_mb(pid) for pid in pair.pids()]
            tell(f"{name}: {pair.subject}: {seconds:.2f} s")
    for subject, samples in times.items():
        yield Figure(
            *(name, subject, "time", statistics.median(samples), "s"),
            goal=goal if subject == OURS else None,
            samples=tuple(samples),
        )
    yield Figure(name, OURS, "processor time, both", statistics.median(costs), "s")
    for side, peak in zip("AB", peaks, strict=True):
        yield Figure(name, OURS, f"peak memory of {side}", peak, "MB")


def place(pair: Pair, paths: Sequence[Path]) -> list[Path]:
    """Moves files that were made elsewhere into the source folder, before the clock runs."""
    return [path.rename(pair.source / path.name) for path in paths]


def timed(pair: Pair, paths: Sequence[Path], size: int) -> float:
    """Returns the seconds from telling the program to the last file's arrival."""
    with Arrivals(pair.target) as arrivals:
        began = time.perf_counter()
        pair.take_up(paths)
        arrivals.all_of([path.name for path in paths], size, ARRIVAL_SECONDS_MAX)
        return time.perf_counter() - began


def check_same(paths: Sequence[Path], target: Path) -> None:
    """Makes sure that what appeared was whole."""
    for path in paths:
        if not filecmp.cmp(path, target / path.name, shallow=False):
            raise BenchmarkFailed(f"{path.name} appeared before it was whole")
