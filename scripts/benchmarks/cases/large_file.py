"""How long it takes until B has a file of 1 GiB that is new on A."""

from collections.abc import Iterator

from scripts.benchmarks.context import Context
from scripts.benchmarks.figures import Figure, Goal
from scripts.benchmarks.first_sync import first_syncs

NAME = "large-file"
TITLE = "first sync of one 1 GiB file, taking it up included"
LIMITS = ("write with fsync",)
GOAL = Goal("≤", 3.4)


def run(context: Context) -> Iterator[Figure]:
    """Measures the time, and what it cost both sides."""
    yield from first_syncs(NAME, context, 1, context.sizes.large_bytes, GOAL)
