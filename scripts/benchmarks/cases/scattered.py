"""How long a save with 256 scattered changes in 100 MiB takes, and what it sends."""

import statistics
import time
from collections.abc import Iterator

from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.content import scattered, write_many
from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.first_sync import ARRIVAL_SECONDS_MAX, check_same, place, timed
from scripts.benchmarks.pairs import Pair
from scripts.benchmarks.subjects import subjects

NAME = "scattered"
TITLE = "a 100 MiB file with 256 scattered changes of 4 KiB"
LIMITS = ("write with fsync",)
TIME_GOAL, WIRE_GOAL = Goal("≤", 1.0), Goal("≤", 30.0)
_REST_SECONDS = 1.0


def run(context: Context) -> Iterator[Figure]:
    """Measures the time from the save, and the bytes that the source side sent."""
    times: dict[str, list[float]] = {}
    sent: dict[str, float] = {}
    for opener in subjects(context):
        with opener as pair, context.fresh("staging") as staging:
            size = context.sizes.scattered_bytes
            [path] = place(pair, write_many(staging, 1, size, seed=4))
            timed(pair, [path], size)
            pair.settle()
            time.sleep(_REST_SECONDS)
            seconds, count = changed(context, pair)
            times.setdefault(pair.subject, []).append(seconds)
            sent[pair.subject] = count / 1e6
            tell(f"{NAME}: {pair.subject}: {seconds:.2f} s, {count / 1e6:.1f} MB")
    for subject, samples in times.items():
        ours = subject == OURS
        yield Figure(
            *(NAME, subject, "time", statistics.median(samples), "s"),
            goal=TIME_GOAL if ours else None,
            samples=tuple(samples),
        )
        yield Figure(
            *(NAME, subject, "on the wire", sent[subject], "MB"), goal=WIRE_GOAL if ours else None
        )


def changed(context: Context, pair: Pair) -> tuple[float, int]:
    """Saves the changed file; returns the seconds until the copy has it, and the bytes sent."""
    sizes = context.sizes
    [source] = [path for path in pair.source.iterdir() if path.suffix == ".bin"]
    copy = pair.target / source.name
    with context.fresh("staging") as staging, Arrivals(pair.target) as arrivals:
        beside = scattered(source, staging, sizes.changes, sizes.change_bytes, seed=5)
        last = beside.read_bytes()[-sizes.change_bytes :]
        before = pair.sent_bytes()
        began = time.perf_counter()
        beside.replace(source)
        pair.saved()

        def arrived() -> bool:
            try:
                with copy.open("rb") as file:
                    file.seek(-sizes.change_bytes, 2)
                    return file.read() == last
            except FileNotFoundError:
                return False  # Syncthing moves the old copy away first.

        arrivals.until(arrived, ARRIVAL_SECONDS_MAX, copy.name)
        seconds = time.perf_counter() - began
        check_same([source], pair.target)
        return seconds, pair.sent_bytes() - before
