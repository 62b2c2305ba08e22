"""How fast a node takes in what four authors wrote: signed, sealed, durable, merged."""

import statistics
from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.working import Worker

NAME = "records"
TITLE = "100,000 records by four authors, signed, sealed, durable, merged on another node"
LIMITS = ("Ed25519 checks, one core (PyNaCl)", "SQLite, rows at 1,000 a commit")
GOALS = {100: Goal("≥", 60_000), 1: Goal("≥", 12_000)}
"""Records a second, by records an entry."""


def run(context: Context) -> Iterator[Figure]:
    """Measures entries of 100 records, and of one."""
    count = context.sizes.records
    for each, goal in GOALS.items():
        rates, costs, writing = [], [], []
        for _ in range(context.sizes.repeats):
            with context.fresh(NAME) as folder:
                worker = Worker(
                    context, "records", str(folder), str(count), str(each), folder=folder
                )
                told = worker.line()
            rates.append(count / told["seconds"])
            costs.append(told["cpu"] / count * 1e6)
            writing.append(count / told["written_seconds"])
        what = f"{each} an entry"
        tell(f"{NAME}: {what}: {statistics.median(rates):,.0f}/s")
        yield Figure(
            *(NAME, OURS, f"{what}, taken in", statistics.median(rates), "1/s"),
            better="higher",
            goal=goal,
            samples=tuple(rates),
        )
        yield Figure(
            NAME, OURS, f"{what}, processor time for one record", statistics.median(costs), "µs"
        )
        yield Figure(
            *(NAME, OURS, f"{what}, written", statistics.median(writing), "1/s"), better="higher"
        )
