"""The command line of the simulator; ``scripts/sim`` runs it."""

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.sim.test_sim import outcome
from tests.sim.world import Plan, World


def main() -> int:
    """Run seeds; return 1 when one of them fails."""
    parser = argparse.ArgumentParser(prog="scripts/sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happens")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return one(chosen.seed, chosen.trace)
    return many(range(chosen.start, chosen.start + chosen.seeds))


def one(seed: int, trace: bool) -> int:
    """Run one seed and let its failure be seen."""
    say(f"seed {seed}: {Plan.draw(seed)}")
    say(f"trace {World(seed, verbose=trace).run()}")
    return 0


def many(seeds: range) -> int:
    """Run seeds on all cores; print those that fail, and how it goes."""
    began, failures, done = time.monotonic(), 0, 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for failure in pool.map(outcome, seeds, chunksize=10):
            done += 1
            if failure:
                failures += 1
                say(failure)
            if done % 100 == 0 or done == len(seeds):
                seconds = time.monotonic() - began
                say(f"{done} of {len(seeds)} seeds, {failures} failed, {seconds:.0f} s")
    return 1 if failures else 0


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main())
