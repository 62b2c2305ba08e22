"""How long it takes until B has 10,000 files of 20 KB that are new on A."""

from collections.abc import Iterator

from scripts.benchmarks.context import Context
from scripts.benchmarks.figures import Figure, Goal
from scripts.benchmarks.first_sync import first_syncs

NAME = "many-files"
TITLE = "first sync of 10,000 files of 20 KB, taking them up included"
LIMITS = ("files of 20 KB with fsync and rename",)
GOAL = Goal("≤", 2.4)


def run(context: Context) -> Iterator[Figure]:
    """Measures the time, and what it cost both sides."""
    yield from first_syncs(NAME, context, context.sizes.files, context.sizes.file_bytes, GOAL)
