"""How fast files with 1,000,000 records are read, inspected and compared, and in what memory."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks.content import EXCHANGED, write_exchange_file
from scripts.benchmarks.context import BenchmarkFailed, Context, tell
from scripts.benchmarks.figures import OURS, Figure
from scripts.benchmarks.working import Worker

NAME = "reading"
TITLE = "reading exchange files of 1,000,000 records, of any format by the same way"
_CHANGES = 3
"""Records that differ between the two files that are compared."""


def run(context: Context) -> Iterator[Figure]:
    """Measures each format: its segments alone, what ``inspect`` does, and two files compared."""
    count = context.sizes.read_records
    for kind in EXCHANGED:
        with context.fresh(NAME) as folder:
            old, new = folder / f"old.{kind}", folder / f"new.{kind}"
            write_exchange_file(old, kind, count)
            write_exchange_file(new, kind, count, changed=_CHANGES)
            yield from _measured(context, kind, "stream", count, old)
            yield from _measured(context, kind, "inspect", count, old)
            yield from _measured(context, kind, "compare", count, old, new)


def _measured(context: Context, kind: str, what: str, count: int, *paths: Path) -> Iterator[Figure]:
    rates, peaks = [], []
    for _ in range(context.sizes.repeats):
        words = [str(path) for path in paths]
        told = Worker(context, "reading", what, *words, folder=paths[0].parent).line()
        expected = _CHANGES if what == "compare" else count
        if told["records"] != expected:
            raise BenchmarkFailed(f"{kind}, {what}: {told['records']} instead of {expected}")
        rates.append(count / told["seconds"])
        peaks.append(told["peak_mb"])
    rate = statistics.median(rates)
    tell(f"{NAME}: {kind}, {what}: {rate:,.0f}/s, {max(peaks):.0f} MB")
    measure = f".{kind}, {_WORDS[what]}"
    yield Figure(NAME, OURS, measure, rate, "1/s", better="higher", samples=tuple(rates))
    yield Figure(NAME, OURS, f"{measure}: memory", max(peaks), "MB")


_WORDS = {
    "stream": "records read",
    "inspect": "records inspected",
    "compare": "records compared with a later version",
}
