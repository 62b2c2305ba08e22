"""What a node costs that has 10,000 files and nothing to do."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from scripts.benchmarks.content import write_many
from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.first_sync import place, timed
from scripts.benchmarks.pairs import Pair, ours
from scripts.benchmarks.peers.syncthing import syncthing
from scripts.benchmarks.peers.syncthing import version as syncthing_version
from scripts.benchmarks.processes import cpu_seconds, resident_mb

NAME = "idle"
TITLE = "idle after 10,000 files"
MEMORY_GOAL, CPU_GOAL = Goal("≤", 110), Goal("≤", 0.1)
REST_SECONDS_MAX = 30.0


def run(context: Context) -> Iterator[Figure]:
    """Measures memory and processor of both sides."""
    yield from _measured(context, ours(context))
    if context.peers and syncthing_version():
        yield from _measured(context, syncthing(context))


def _measured(context: Context, opener: AbstractContextManager[Pair]) -> Iterator[Figure]:
    sizes = context.sizes
    with opener as pair, context.fresh("staging") as staging:
        paths = place(pair, write_many(staging, sizes.files, sizes.file_bytes, seed=7))
        timed(pair, paths, sizes.file_bytes)
        pair.settle()
        time.sleep(min(REST_SECONDS_MAX, sizes.idle_seconds))
        percent, resident = at_rest(pair.pids(), sizes.idle_seconds)
        ours_here = pair.subject == OURS
        for side, pid_percent, memory in zip("AB", percent, resident, strict=True):
            tell(f"{NAME}: {pair.subject} {side}: {memory:.0f} MB, {pid_percent:.3f} %")
            yield Figure(
                *(NAME, pair.subject, f"memory of {side}", memory, "MB"),
                goal=MEMORY_GOAL if ours_here else None,
            )
            yield Figure(
                *(NAME, pair.subject, f"processor of {side}", pid_percent, "% of a core"),
                goal=CPU_GOAL if ours_here else None,
            )


def at_rest(pids: tuple[int, ...], seconds: float) -> tuple[list[float], list[float]]:
    """Returns what each process uses while nobody asks anything of it: % of a core, and MB."""
    before = [cpu_seconds(pid) for pid in pids]
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    used = [cpu_seconds(pid) - then for pid, then in zip(pids, before, strict=True)]
    return [each / passed * 100 for each in used], [resident_mb(pid) for pid in pids]
