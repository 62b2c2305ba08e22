"""What one more entry costs after few entries and after many."""

from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.working import Worker

NAME = "one-more"
TITLE = "one more entry, taken in and made durable"
LIMITS = ("SQLite, commits of one row",)
GOAL = Goal("≤", 1.25)
"""The same, as far as the noise of a machine lets one tell."""
LENGTHS = (10, 1_000, 100_000, 1_000_000)


def run(context: Context) -> Iterator[Figure]:
    """Measures at each length, and how much more the last costs than the first."""
    most = context.sizes.log_entries
    lengths = [*(length for length in LENGTHS if length < most), most]
    with context.fresh(NAME) as folder:
        worker = Worker(context, "one_more", str(folder), *map(str, lengths), folder=folder)
        found = list(worker)
    for told in found:
        tell(f"{NAME}: after {told['length']:,} entries: {told['take_ms']:.2f} ms")
        yield Figure(NAME, OURS, f"after {told['length']:,} entries", told["take_ms"], "ms")
    for measure, key in (("time", "take_ms"), ("processor time", "take_cpu_ms")):
        # Without a unit: it is a ratio.
        yield Figure(
            *(NAME, OURS, f"{measure} after {most:,} entries against after 10"),
            *(found[-1][key] / found[0][key], ""),
            goal=GOAL,
        )
    yield Figure(
        NAME, OURS, f"database with {most:,} entries of one record", found[-1]["database_mb"], "MB"
    )
