"""Whole mandates on simulated time, network and disk: many seeds, and proof that it can fail."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2psync.core import entry
from p2psync.core.entry import Entry
from p2psync.core.frontier import Tip
from p2psync.engine.replica import Received
from tests.sim.checkers import CheckedReplica, Violation
from tests.sim.seeds import FAILED
from tests.sim.world import Plan, World

SEEDS = 100
ROOT = Path(__file__).parents[2]


def outcome(seed: int) -> str:
    """Run a seed; say what went wrong, or nothing."""
    try:
        World(seed).run()
    except Exception as error:  # whatever it is, the seed has to be named
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""


def test_many_worlds_keep_every_rule_and_come_to_rest_in_step() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        failures = [each for each in pool.map(outcome, range(SEEDS), chunksize=5) if each]
    assert not failures, "run scripts/sim --seed N --trace for: " + "; ".join(failures)


@pytest.mark.parametrize("seed", FAILED)
def test_seeds_that_once_failed(seed: int) -> None:
    assert not outcome(seed)


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_a_seed_gives_the_same_trace_whatever_the_hash_seed(seed: int) -> None:
    program = f"from tests.sim.world import World; print(World({seed}).run())"
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(traces) == 1


# -- the checkers can fail: machines with a fault are found out ---------------------------------

STORMY = Plan(devices=4, seconds=40.0, loss=0.1, crashes=True, partitions=True)


def assert_caught(plan: Plan, cause: str, seeds: Sequence[int] = range(25)) -> None:
    for seed in seeds:
        try:
            World(seed, plan).run()
        except Violation as violation:
            if cause in str(violation):
                return
    raise AssertionError(f"no seed showed: {cause}")


def test_a_disk_that_acknowledges_too_early_is_caught() -> None:
    """SQLite's ``synchronous=NORMAL``: a power cut takes back what others were told of."""
    assert_caught(replace(STORMY, synchronous="NORMAL"), "lost")


def test_a_machine_that_sends_before_it_persists_is_caught() -> None:
    assert_caught(replace(STORMY, sends_first=True), "lost")


class Gullible(CheckedReplica):
    """Believes that every signature holds."""

    def receive(
        self,
        raws: Sequence[bytes],
        wall_ms: int,
        *,
        more: bool,
        link: int = 0,
        device: bytes = b"",
    ) -> Received:
        module: Any = entry
        honest = entry.covered
        module.covered = len
        try:
            return super().receive(raws, wall_ms, more=more, link=link, device=device)
        finally:
            module.covered = honest


def test_a_replica_that_does_not_verify_is_caught() -> None:
    assert_caught(replace(STORMY, forger=True, replica_type=Gullible), "forged")


class Hasty(CheckedReplica):
    """Folds an entry before those of other logs that it depends on."""

    def _lacking(self, item: Entry) -> bytes | None:
        return None


def test_a_replica_that_folds_too_early_is_caught() -> None:
    assert_caught(replace(STORMY, replica_type=Hasty), "before what it depends on")


class Trusting(CheckedReplica):
    """Takes everybody else for a member."""

    def is_member(self, device: bytes) -> bool:
        return device != self.device or super().is_member(device)


def test_a_replica_that_gives_to_anybody_is_caught() -> None:
    assert_caught(replace(STORMY, thief=True, replica_type=Trusting), "may not join")


class Idle(CheckedReplica):
    """Never notices the last thing that it lacks."""

    def missing(self, tips: Iterable[Tip]) -> list[Tip]:
        return super().missing(tips)[:-1]


def test_a_replica_that_never_asks_for_all_is_caught() -> None:
    assert_caught(replace(STORMY, replica_type=Idle), "not in step", range(3))
