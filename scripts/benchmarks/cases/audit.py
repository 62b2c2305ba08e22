"""How long a mandate with 100,000 entries takes to be exported and verified, and in what memory."""

import statistics
from collections.abc import Iterator

from scripts.benchmarks.context import Context, tell
from scripts.benchmarks.figures import OURS, Figure, Goal
from scripts.benchmarks.working import Worker

NAME = "audit"
TITLE = "the audit file of a mandate with 100,000 entries"
GOAL = Goal("≤", 10.0)
"""Seconds to verify it."""
_WORDS = {
    "verify": "verified",
    "report": "verified and read for a report",
    "small": "verified by docs/audit/verify.py",
}


def run(context: Context) -> Iterator[Figure]:
    """Measures the export, and what is done with the file afterwards."""
    with context.fresh(NAME) as folder:
        count = str(context.sizes.records)
        told = Worker(context, "audit", "export", str(folder), count, folder=folder).line()
        tell(f"{NAME}: exported in {told['seconds']:.2f} s, {told['bytes'] / 1e6:.1f} MB")
        yield Figure(NAME, OURS, "exported", told["seconds"], "s")
        yield Figure(NAME, OURS, "size", told["bytes"] / 1e6, "MB")
        path = str(folder / "file.p2psync-audit")
        for what, measure in _WORDS.items():
            seconds, peaks = [], []
            for _ in range(context.sizes.repeats):
                found = Worker(context, "audit", what, path, folder=folder).line()
                seconds.append(found["seconds"])
                peaks.append(found["peak_mb"])
            tell(f"{NAME}: {measure} in {statistics.median(seconds):.2f} s, {max(peaks):.0f} MB")
            yield Figure(
                *(NAME, OURS, measure, statistics.median(seconds), "s"),
                goal=GOAL if what == "verify" else None,
                samples=tuple(seconds),
            )
            yield Figure(NAME, OURS, f"{measure}: memory", max(peaks), "MB")
