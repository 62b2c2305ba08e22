"""How long a node takes to have a mandate with 1,000,000 records open again, and what it holds."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.arrival import Arrivals
from scripts.benchmarks.cases.propagation import Holding
from scripts.benchmarks.content import record_saves, save
from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.nodes import Node
from scripts.benchmarks.pairs import MANDATE, ours
from scripts.benchmarks.processes import cpu_seconds, peak_mb, resident_mb

NAME = "reopen"
TITLE = "reopening a mandate with 1,000,000 records"
LIMITS = ("import of the node",)
TIME_GOAL, MEMORY_GOAL = Goal("≤", 0.5), Goal("≤", 150)
FILES = 5
ARRIVAL_SECONDS_MAX = 1800.0
_REST_SECONDS = 2.0


def run(context: Context) -> Iterator[Figure]:
    """Measures starts of a node with all these records, and of one with nothing."""
    sizes = context.sizes
    with context.fresh(NAME) as folder, ours(context, "invoicing") as pair:
        paths = [pair.source / f"sales-{number}.ecf" for number in range(FILES)]
        saves = record_saves(0, sizes.reopened_records // FILES)
        content = next(saves)
        for path in paths:
            save(path, content)
        began = time.perf_counter()
        with Arrivals(pair.target) as arrivals:
            pair.take_up(paths)
            arrivals.all_of([path.name for path in paths], len(content), ARRIVAL_SECONDS_MAX)
            pair.settle()
        tell(f"{NAME}: the records are on both sides after {time.perf_counter() - began:.0f} s")
        full, used, resident = _starts(pair.b, sizes.starts)
        began = time.perf_counter()
        pair.b.ask("GET", "mandates", MANDATE)
        told = time.perf_counter() - began
        peak = peak_mb(pair.b.pid)
        first = _first_save(paths[0], pair.target, next(saves))
        empty, used_bare, bare = _starts(
            Node(folder / "empty", context.tree, context.processes).start(), sizes.starts
        )
    extra = statistics.median(full) - statistics.median(empty)
    tell(f"{NAME}: {extra:.2f} s, {statistics.median(resident):.0f} MB")
    yield Figure(NAME, OURS, "start with it, beyond one without", extra, "s", goal=TIME_GOAL)
    yield Figure(*(NAME, OURS, "start with it", statistics.median(full), "s"), samples=tuple(full))
    yield Figure(
        *(NAME, OURS, "start without it", statistics.median(empty), "s"), samples=tuple(empty)
    )
    for what, samples in (("with", used), ("without", used_bare)):
        yield Figure(
            *(NAME, OURS, f"processor time of a start {what} it", statistics.median(samples), "s"),
            samples=tuple(samples),
        )
    yield Figure(NAME, OURS, "memory", statistics.median(resident), "MB", goal=MEMORY_GOAL)
    yield Figure(NAME, OURS, "peak memory", peak, "MB")
    yield Figure(NAME, OURS, "memory without it", statistics.median(bare), "MB")
    yield Figure(NAME, OURS, "then the first time that all its files are told", told, "s")
    yield Figure(NAME, OURS, "first save of one more record → on the other disk", first, "s")


def _starts(node: Node, count: int) -> tuple[list[float], list[float], list[float]]:
    """Measures starts until the node answers which mandates it has, and what waits in each.

    Returns the seconds, those of the processor, and the memory after a while.
    """
    seconds, used, resident = [], [], []
    for _ in range(count):
        node.stop()
        began = time.perf_counter()
        node.start()
        node.ask("GET", "mandates")
        seconds.append(time.perf_counter() - began)
        used.append(cpu_seconds(node.pid))
        time.sleep(_REST_SECONDS)
        resident.append(resident_mb(node.pid))
    return seconds, used, resident


def _first_save(path: Path, target: Path, content: bytes) -> float:
    with Arrivals(target) as arrivals:
        began = time.perf_counter()
        save(path, content)
        copy = target / path.name
        arrivals.until(Holding(copy, content), ARRIVAL_SECONDS_MAX, copy.name)
        return time.perf_counter() - began
