"""The command line of the long run; ``scripts/histories`` runs it."""

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.life_machine import LifeMachine
from tests.stateful.showing import COUNTS

CHUNK = 50
"""Histories of one seed."""


@dataclass(frozen=True)
class Chunk:
    """What came of the histories of one seed."""

    seed: int
    counts: Counter[str]
    failure: str


def main() -> int:
    """Run histories; return 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="scripts/histories", description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=2000, help="how many histories")
    parser.add_argument("--seed", type=int, default=0, help=f"the first; each makes {CHUNK}")
    parser.add_argument("--steps", type=int, default=25, help="steps of a history, at most")
    parser.add_argument("--shrink", action="store_true", help="make a history that fails small")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time")
    chosen = parser.parse_args()
    seeds = range(chosen.seed, chosen.seed + -(-chosen.count // CHUNK))
    began, failed = time.monotonic(), list[Chunk]()
    counts: Counter[str] = Counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(chosen.jobs, mp_context=context) as pool:
        steps, shrink = [chosen.steps] * len(seeds), [chosen.shrink] * len(seeds)
        for chunk in pool.map(run, seeds, steps, shrink):
            counts += chunk.counts
            if chunk.failure:
                failed.append(chunk)
                say(f"seed {chunk.seed} failed:\n{chunk.failure}")
            seconds = time.monotonic() - began
            say(f"{counts['histories']} histories, {len(failed)} seeds failed, {seconds:.0f} s")
    for what, count in sorted(counts.items()):
        say(f"{count:8,}  {what}")
    return 1 if failed else 0


def run(number: int, steps: int, shrink: bool) -> Chunk:
    """Run the histories of a seed, until one fails."""
    COUNTS.clear()
    failure = ""
    try:
        run_state_machine_as_test(
            seed(number)(LifeMachine),
            settings=settings(
                max_examples=CHUNK,
                stateful_step_count=steps,
                phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
                deadline=None,
                database=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    except BaseException:  # whatever it is, the seed has to be named
        failure = traceback.format_exc()
    return Chunk(number, COUNTS.copy(), failure)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main())
