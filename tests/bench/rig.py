"""What the tests of the benchmarks share: sizes of next to nothing, and figures that are given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.benchmarks.context import Context, Sizes
from scripts.benchmarks.figures import MACHINE, OURS, Figure, Goal, Results, spread_of
from scripts.benchmarks.processes import Processes

TINY = Sizes(
    name="tiny",
    saves=2,
    slow_saves=1,
    large_bytes=2 << 20,
    files=5,
    file_bytes=2_000,
    scattered_bytes=1 << 20,
    changes=4,
    records=400,
    log_entries=20,
    reopened_records=50,
    pending_records=40,
    mandates=2,
    starts=1,
    idle_seconds=0.1,
    transport_bytes=1 << 20,
    repeats=1,
    limit_seconds=0.01,
)


@contextmanager
def surroundings(folder: Path, sizes: Sizes = TINY) -> Iterator[Context]:
    """Surroundings of a benchmark, in which nothing runs on afterwards."""
    processes = Processes()
    try:
        yield Context(folder, processes, sizes, peers=False)
    finally:
        processes.end()


def results() -> Results:
    """A run that found one thing of each kind."""
    return Results(
        {"processor": "a fast one", "sizes": "tiny"},
        [
            Figure("limits", MACHINE, "loopback, one byte there and back", 0.02, "ms"),
            *spread_of(
                *("propagation", OURS, [5.0, 6.0, 30.0], "ms"),
                median_goal=Goal("≤", 8),
                high_goal=Goal("≤", 20),
            ),
            Figure("propagation", "rsync", "median", 3.25, "ms"),
            Figure(
                *("records", OURS, "1 an entry, taken in", 6_000.0, "1/s"),
                better="higher",
                goal=Goal("≥", 12_000),
                samples=(6_000.0,),
            ),
        ],
        {"reopen": "did not arrive in time"},
        {"propagation": "  own   all  function\n"},
    )
