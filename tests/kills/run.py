"""The command line of the kills; ``scripts/kill`` runs it."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.kills.life import Kills, Life

KILLS_IN_A_LIFE = 100


def main() -> int:
    """Kill as often as asked; return 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="scripts/kill", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="the first life's seed")
    parser.add_argument("--at-once", type=int, default=2, help="how many lives at a time")
    chosen = parser.parse_args()
    began = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="p2psync-kill-"))
    kills, lost = 0, 0
    with ThreadPoolExecutor(chosen.at_once) as pool:
        lives = [
            (seed, root / str(seed), count) for seed, count in parts(chosen.seed, chosen.count)
        ]
        for (seed, folder, _), outcome in zip(
            lives, pool.map(lambda each: outcome_of(*each), lives), strict=True
        ):
            if isinstance(outcome, Kills):
                kills += outcome.by_kind.total()
                say(f"life {seed}: {outcome}")
            else:
                lost += 1
                notes = "\n".join(getattr(outcome, "__notes__", ()))
                say(f"life {seed}: LOST: {outcome}; its homes are in {folder}\n{notes}")
            say(f"{kills} kills, {lost} lives lost, {time.monotonic() - began:.0f} s")
    if not lost:
        root.rmdir()
    return 1 if lost else 0


def parts(seed: int, count: int) -> Iterator[tuple[int, int]]:
    """Cut a number of kills into lives."""
    while count > 0:
        yield seed, min(count, KILLS_IN_A_LIFE)
        seed, count = seed + 1, count - KILLS_IN_A_LIFE


def outcome_of(seed: int, root: Path, kills: int) -> Kills | Exception:
    """Live one life; return what came of it."""
    try:
        return Life(root, seed).run(kills)
    except Exception as error:  # whatever it is, the seed has to be named
        return error


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main())
