"""A hundred kills of nodes at work, in four lives; scripts/kill does any number."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kills.life import Kills, Life

LIVES = 4
KILLS_IN_A_LIFE = 25


def test_a_hundred_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    """B-POS-2, B-ID-4: real processes, real SIGKILL; two lives at a time, for two cores."""

    def live(seed: int) -> Kills:
        return Life(tmp_path / str(seed), seed).run(KILLS_IN_A_LIFE)

    with ThreadPoolExecutor(2) as pool:
        tallies = list(pool.map(live, range(LIVES)))
    for seed, tally in enumerate(tallies):
        print(f"life {seed}: {tally}")  # noqa: T201  # shown with -s, and when a test fails
    by_kind = sum((tally.by_kind for tally in tallies), tallies[0].by_kind.__class__())
    assert by_kind.total() >= LIVES * KILLS_IN_A_LIFE
    assert by_kind.keys() == {"at a touch", "at a time", "while it starts"}


def test_a_node_that_acknowledges_too_early_is_caught(tmp_path: Path) -> None:
    """The checks can fail."""
    life = Life(tmp_path / "life", 0, mutant="early")
    with pytest.raises(AssertionError, match="None, not posted"), life:
        life.post()
        life.accountant.kill()
        life.accountant.start()
        life.check(life.accountant)
