"""One run: the benchmarks one after the other, their figures, and nothing left behind."""

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from scripts.benchmarks import machine, profiles, suite, tables
from scripts.benchmarks.context import BenchmarkFailed, Context, Sizes, Tree, tell
from scripts.benchmarks.figures import Results, to_json
from scripts.benchmarks.processes import Processes, undisturbed

INTERRUPTED = 130
PROFILED = ("propagation", "large-file", "many-files", "scattered", "start", "mandates")
"""Benchmarks that run whole nodes."""


@contextmanager
def workplace(folder: Path | None) -> Iterator[tuple[Path, Processes]]:
    """Gives an empty folder and a list for processes; empties both, however it ends."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    made = Path(tempfile.mkdtemp(prefix="p2psync-bench-", dir=folder)).resolve()
    processes = Processes()
    try:
        yield made, processes
    finally:
        with undisturbed():
            processes.end()
            shutil.rmtree(made, ignore_errors=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def measure(
    context: Context,
    names: Sequence[str] | None,
    keep: Callable[[Results], None] = lambda _results: None,
) -> Results:
    """Runs the named benchmarks, or all; one that fails is told and does not stop the others.

    ``keep`` is given what was found so far after each of them.
    """
    results = Results({**machine.facts(context.folder), "sizes": context.sizes.name})
    for case in suite.CASES:
        if names and case.NAME not in names:
            continue
        tell(f"{case.NAME}: {case.TITLE}")
        try:
            for figure in case.run(context):
                results.figures.append(figure)
        except Exception as error:
            # Whatever it was: hours of other figures must not be lost to it.
            cause = str(error) if isinstance(error, BenchmarkFailed) else repr(error)
            results.failures[case.NAME] = cause.replace(str(context.folder), "…")
            tell(f"FAILED: {case.NAME}: {cause}")
        keep(results)
    return results


def limits_again(context: Context, results: Results) -> None:
    """Measures the machine's limits once more at the end: the better of both counts."""
    tell(f"{machine.NAME}: once more")
    again = {each.measure: each for each in machine.run(context)}
    for place, first in enumerate(results.figures):
        second = again.get(first.measure)
        if first.benchmark == machine.NAME and second is not None:
            better = max if first.better == "higher" else min
            values = (first.value, second.value)
            results.figures[place] = replace(first, value=better(values), samples=values)


def profiled(context: Context, results: Results) -> None:
    """Runs the benchmark that is farthest from its goal again, and keeps what took its time."""
    name = slowest(results)
    if name is None:
        return
    tell(f"{name}: once more, with a profiler")
    folder = context.folder / "profiles"
    folder.mkdir()
    again = replace(context, peers=False, profiles=folder, sizes=replace(context.sizes, repeats=1))
    measure(again, [name])
    results.profiles[name] = profiles.summary(folder)


def slowest(results: Results) -> str | None:
    """Returns the benchmark of nodes whose time is the largest share of its goal."""
    shares = [
        (each.value / each.goal.value, each.benchmark)
        for each in results.figures
        if each.goal is not None and each.unit in ("s", "ms") and each.benchmark in PROFILED
    ]
    return max(shares)[1] if shares else None


def main(asked: argparse.Namespace) -> int:
    """Runs what was asked for; prints a table, writes the JSON."""
    sizes = Sizes.quick() if asked.quick else Sizes()

    def keep(results: Results) -> None:
        if asked.json is not None:
            asked.json.write_text(to_json(results), "utf-8")

    try:
        with workplace(asked.dir) as (folder, processes):
            tell(f"data goes to {folder} ({machine.file_system(folder)}) and is removed afterwards")
            tree = Tree(asked.tree.resolve()) if asked.tree else Tree()
            context = Context(folder, processes, sizes, tree, peers=not asked.no_peers)
            results = measure(context, asked.only, keep)
            if not asked.only:
                limits_again(context, results)
                keep(results)
            if asked.profile:
                profiled(context, results)
                keep(results)
    except KeyboardInterrupt:
        tell("interrupted; every process was ended")
        return INTERRUPTED
    sys.stdout.write(tables.plain(tables.HEAD, tables.rows(results.figures)))
    return 1 if results.failures else 0
