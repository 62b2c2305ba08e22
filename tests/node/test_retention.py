"""Contents of old versions go by this device's policy; records, receipts and what counts stay."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2psync.errors import RetentionInvalid, VersionDropped
from p2psync.node import retained
from p2psync.node.retained import DAY_MS, THEN, Old, Policy, droppable
from p2psync.node.retention import FIRST_LOOK_SECONDS, LOOK_SECONDS
from p2psync.node.timing import Clock
from p2psync.storage.kept import KeptVersions
from tests.node.rig import CRP, PATIENCE_SECONDS, V1, Machine, founded, running

NOW = 1_800_000_000_000
MONTH: dict[str, Any] = {"keep_days": 30, "then": "month", "min_free_bytes": 0}


@dataclass
class Later(Clock):
    """A clock that is ahead by some days; nobody waits by it."""

    days: float = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + int(self.days * DAY_MS)


class Sleepy(Later):
    """A clock by which a day is over when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.naps: list[float] = []
        self.woken = trio.Event()

    async def sleep(self, seconds: float) -> None:
        if seconds not in (LOOK_SECONDS, FIRST_LOOK_SECONDS):
            await super().sleep(seconds)
            return
        self.naps.append(seconds)
        await self.woken.wait()
        self.woken = trio.Event()


async def saved(machine: Machine, *contents: bytes, name: str = "notes.txt") -> None:
    """Save a file again and again, each a version."""
    for content in contents:
        machine.file(name, content)
        await machine.look()


async def contents(machine: Machine, name: str = "notes.txt") -> list[str]:
    """Where the content of each version is, oldest first."""
    found = (await machine.service.history("Books", name, None))["versions"]
    return [each["content"] for each in reversed(found)]


async def prepared(machine: Machine) -> None:
    await founded(machine)
    await machine.service.attach("Books", [machine.file("notes.txt", b"one")], "other", None, None)
    await saved(machine, b"two", b"three", b"four")


async def test_everything_is_kept_unless_somebody_says_otherwise(tmp_path: Path) -> None:
    clock = Later(days=10_000)
    async with running(tmp_path, clock=clock) as machine:
        await prepared(machine)
        said = await machine.service.retention_show("Books")
        assert said["policy"] == {"keep_days": None, "then": "nothing", "min_free_bytes": 0}
        assert said["held"]["versions"] == 3 and said["would_drop"]["versions"] == 0
        assert await machine.node.retention.look(machine.opened()) == {"versions": 0, "bytes": 0}
        assert await contents(machine) == ["here"] * 4


async def test_a_dry_run_says_what_would_go_and_changes_nothing(tmp_path: Path) -> None:
    clock = Later(days=31)
    async with running(tmp_path, clock=clock) as machine:
        await prepared(machine)
        for mandate in ("Books", None):
            said = await machine.service.retention_set(mandate, MONTH | {"then": "nothing"}, True)
            plan = said["would_drop"]
            assert (plan["versions"], plan["bytes"]) == (3, len(b"onetwothree"))
            (file,) = plan["files"]
            assert file["file"] == "notes.txt"
        assert await contents(machine) == ["here"] * 4
        assert (await machine.service.retention_show("Books"))["own"] is False


async def test_what_goes_is_said_in_history_and_by_restore(tmp_path: Path) -> None:
    clock = Later(days=31)
    async with running(tmp_path, clock=clock) as machine:
        await prepared(machine)
        first = (await machine.service.history("Books", "notes.txt", None))["versions"][-1]
        said = await machine.service.retention_set("Books", MONTH)
        assert said["dropped"]["versions"] == 2  # of one month the last stays
        assert await contents(machine) == ["dropped", "dropped", "here", "here"]
        with pytest.raises(VersionDropped):
            await machine.service.restore("Books", "notes.txt", first["version"], None)
        assert (await machine.service.history("Books", "notes.txt", None))["versions"][-1] == (
            first | {"content": "dropped"}
        )
        # It is a version again when somebody has the content and saves it.
        await saved(machine, b"one", b"five")
        assert (await contents(machine))[-2:] == ["here", "here"]
    async with running(tmp_path, clock=clock) as machine:
        assert (await machine.service.retention_show("Books"))["policy"] == MONTH
        assert (await contents(machine))[1] == "dropped"
        said = await machine.service.retention_set("Books", None)
        assert said["policy"]["keep_days"] is None and said["own"] is False


async def test_records_and_what_was_posted_by_stay_for_ever(tmp_path: Path) -> None:
    clock = Later()
    async with running(tmp_path, clock=clock) as machine:
        await founded(machine)
        await machine.service.attach("Books", [machine.file("a.ecf", V1)], "invoicing", None, None)
        await saved(machine, CRP + b"\r\n", name="atelier_2025.crp")
        await machine.service.post("Books", [], None)
        await saved(machine, CRP + b"\r\n\r\n", CRP + b"\r\n\r\n\r\n", name="atelier_2025.crp")
        await saved(machine, V1[:-30], V1, name="a.ecf")
        clock.days = 31
        await machine.service.retention_set("Books", MONTH | {"then": "nothing"})
        assert await contents(machine, "atelier_2025.crp") == ["dropped", "here", "dropped", "here"]
        assert await contents(machine, "a.ecf") == ["here"] * 3
        assert len((await machine.service.receipts("Books"))["receipts"]) == 1


async def test_the_node_looks_by_itself_once_a_day_and_only_where_something_may_go(
    tmp_path: Path,
) -> None:
    clock = Sleepy()
    async with running(tmp_path, clock=clock) as machine:
        await prepared(machine)
        await machine.rest()
        assert clock.naps == []  # nobody set anything: nobody wakes up
        await machine.service.retention_set(None, MONTH | {"then": "nothing"})
        assert await contents(machine) == ["here"] * 4
        clock.days = 31
        clock.woken.set()
        with trio.fail_after(PATIENCE_SECONDS):
            while machine.node.pieces.kept.held(machine.opened().id):
                await trio.sleep(0.01)
        assert await contents(machine) == ["dropped"] * 3 + ["here"]
        assert clock.naps[0] == LOOK_SECONDS


async def test_a_policy_makes_sense_or_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await founded(machine)
        for wrong in ({"keep_days": 0}, {"then": "year"}, {"min_free_bytes": -1}):
            with pytest.raises(RetentionInvalid):
                await machine.service.retention_set("Books", MONTH | wrong)
        own = await machine.service.retention_set("Books", MONTH)
        assert own["own"] is True
        listed = await machine.service.retention_show(None)
        assert [each["mandate"] for each in listed["mandates"]] == ["Books"]


def test_what_a_crash_leaves_between_mark_and_deletion_is_still_here(tmp_path: Path) -> None:
    """A version is never shown as there when its content is gone."""
    mandate, digest = b"m" * 32, b"d" * 32
    kept = KeptVersions(tmp_path)
    kept.write(mandate, digest, [b"content"])
    other = b"e" * 32
    kept.write(mandate, other, [b"more"])
    kept.drop(mandate, [digest])
    assert kept.was_dropped(mandate, digest) and not kept.has(mandate, digest)
    assert kept.held(mandate) == {other: 4}
    (tmp_path / mandate.hex() / f"{other.hex()}.dropped").touch()  # and the power failed here
    assert kept.has(mandate, other) and kept.held(mandate) == {other: 4}
    kept.drop(mandate, [other, digest])
    assert kept.held(mandate) == {}


olds = st.lists(
    st.builds(
        lambda file, digest, made, more, protected: Old(
            file, digest, NOW - made - more, None if more == 0 else NOW - made, protected
        ),
        st.sampled_from([b"f", b"g"]),
        st.sampled_from([bytes([each]) for each in range(12)]),
        st.integers(0, 400 * DAY_MS),
        st.integers(0, 40 * DAY_MS),
        st.booleans(),
    ),
    max_size=30,
)
policies = st.builds(
    Policy,
    st.none() | st.integers(1, 300),
    st.sampled_from(THEN),
    st.sampled_from([0, 50, 1_000]),
)


def _month(old: Old) -> tuple[int, int]:
    made = datetime.datetime.fromtimestamp(old.made_ms / 1000, datetime.UTC)
    return made.year, made.month


@given(olds, policies, st.integers(0, 100))
def test_no_version_that_is_still_needed_goes(
    versions: Sequence[Old], policy: Policy, free: int
) -> None:
    sizes = {old.digest: 10 for old in versions}
    gone = droppable(policy, versions, sizes, NOW, free)
    assert len(set(gone)) == len(gone) and set(gone) <= sizes.keys()
    for old in versions:
        if old.protected or old.replaced_ms is None:
            assert old.digest not in gone
    short = free + 10 * len(gone) < policy.min_free_bytes
    if policy.keeps_all:
        assert gone == []
    if policy.keep_days is not None and not policy.min_free_bytes:
        border = NOW - policy.keep_days * DAY_MS
        kept = sizes.keys() - set(gone)
        for old in versions:
            if old.replaced_ms is not None and old.replaced_ms >= border:
                assert old.digest in kept
        if policy.then == "month":
            for old in versions:
                same = [
                    each
                    for each in versions
                    if each.file == old.file and _month(each) == _month(old)
                ]
                assert any(each.digest in kept for each in same)
    if short:  # then all that may go went
        assert {old.digest for old in versions} - set(gone) == {
            old.digest for old in versions if old.protected or old.replaced_ms is None
        }


def test_each_period_has_its_own_last_one() -> None:
    days = [Old(b"f", bytes([n]), NOW - n * DAY_MS, NOW - n * DAY_MS + 1, False) for n in range(60)]
    sizes = {old.digest: 1 for old in days}
    counts = {then: 60 - len(droppable(Policy(10, then), days, sizes, NOW, 0)) for then in THEN}
    assert counts["nothing"] == 11 < counts["month"] < counts["week"] < counts["day"] == 60
    assert retained.KEEP_ALL.keeps_all
