"""How long it takes from the start of a process until the first change is synced."""

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.cases.propagation import Holding
from scripts.benchmarks.content import opaque_saves, save
from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.pairs import Restartable, ours
from scripts.benchmarks.peers.syncthing import syncthing
from scripts.benchmarks.peers.syncthing import version as syncthing_version
from scripts.benchmarks.processes import cpu_seconds

NAME = "start"
TITLE = "process start → first change synced"
LIMITS = ("start of Python", "import of the node")
GOAL = Goal("≤", 1.0)
ARRIVAL_SECONDS_MAX = 120.0
_REST_SECONDS = 1.0
"""After a save, so that the side that runs has taken it up; and after a start."""
SIDES = ("a change made while it was off goes out", "a change made while it was off comes in")


def run(context: Context) -> Iterator[Figure]:
    """Measures both directions: the side that starts has the change, or the one that runs."""
    yield from _measured(context, ours(context))
    if context.peers and syncthing_version():
        yield from _measured(context, syncthing(context))


def _measured(context: Context, opener: AbstractContextManager[Restartable]) -> Iterator[Figure]:
    contents = opaque_saves(context.sizes.file_bytes, seed=6)
    with opener as pair:
        source = save(pair.source / "first.bin", next(contents))
        copy = pair.target / source.name
        with Arrivals(pair.target) as arrivals:
            pair.take_up([source])
            arrivals.until(copy.exists, ARRIVAL_SECONDS_MAX, copy.name)
            pair.settle()
            for side, what in enumerate(SIDES):
                samples, used = [], []
                for _ in range(context.sizes.starts):
                    time.sleep(_REST_SECONDS)
                    pair.stop(side)
                    content = next(contents)
                    save(source, content)
                    if side == 1:
                        pair.saved()
                    time.sleep(_REST_SECONDS)
                    began = time.perf_counter()
                    pair.launch(side)
                    arrivals.until(Holding(copy, content), ARRIVAL_SECONDS_MAX, copy.name)
                    samples.append(time.perf_counter() - began)
                    used.append(cpu_seconds(pair.pids()[side]))
                    pair.ready(side)
                tell(f"{NAME}: {pair.subject}: {what}: {statistics.median(samples):.2f} s")
                yield Figure(
                    *(NAME, pair.subject, what, statistics.median(samples), "s"),
                    goal=GOAL if pair.subject == OURS else None,
                    samples=tuple(samples),
                )
                if pair.subject == OURS:
                    yield Figure(
                        *(NAME, OURS, f"{what}: processor time of the start"),
                        *(statistics.median(used), "s"),
                        samples=tuple(used),
                    )
