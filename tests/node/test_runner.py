"""Effects run in order, what must be durable first; what waits is committed together."""

import threading
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from p2psync.engine.effects import (
    Effect,
    Event,
    Persist,
    SendFrame,
    StoreChunk,
    StoredEntry,
    Tick,
)
from p2psync.errors import DiskFull, NodeEnding, StorageError
from p2psync.node.runner import AHEAD_MAX, Durable, Runner, Work


class SlowDisk:
    """Writes down what happens; a commit waits while ``gate`` is closed."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, object]] = []
        self.commits: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.full = False

    def store_chunks(self, chunks: Sequence[StoreChunk]) -> None:
        self.happened += [("chunk", chunk.address) for chunk in chunks]

    def commit(self, work: Sequence[Durable]) -> None:
        self.entered.set()
        assert self.gate.wait(timeout=20)
        if self.full:
            raise DiskFull(path="disk")
        self.commits.append(len(work))
        self.happened += [
            ("disk", each.entries[0].seq) for each in work if isinstance(each, Persist)
        ]


class Machine:
    """An engine that answers every event with the same effects."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.wake: float | None = None

    def step(self, event: Event, now: float, wall_ms: int) -> Sequence[Effect]:
        return self.effects

    def next_wake(self) -> float | None:
        return self.wake


class Rig:
    def __init__(self) -> None:
        self.disk = SlowDisk()
        self.engine = Machine()
        self.failures: list[StorageError] = []
        self.runner = Runner(
            self.engine, self.disk, self.disk.store_chunks, self.perform, self.failures.append
        )

    async def at_the_gate(self) -> None:
        """Return when a commit is under way."""
        assert await trio.to_thread.run_sync(self.disk.entered.wait, 20)

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, SendFrame):
            if effect.frame == b"bad":
                raise RuntimeError("cannot be performed")
            self.disk.happened.append(("send", effect.link))


def entry(number: int) -> Persist:
    return Persist((StoredEntry(b"m" * 32, bytes([number]) * 32, b"l" * 32, number, b"", b""),))


def send(number: int) -> SendFrame:
    return SendFrame(number, b"")


async def test_a_send_goes_after_the_commit_that_it_depends_on(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    rig.disk.gate.clear()
    ticket = rig.runner.hand_in([entry(1), send(1), StoreChunk(b"m", b"a", b"", ()), send(2)])
    await rig.at_the_gate()
    assert rig.disk.happened == [("chunk", b"a")]
    rig.disk.gate.set()
    await ticket.wait()
    assert rig.disk.happened == [("chunk", b"a"), ("disk", 1), ("send", 1), ("send", 2)]


async def test_what_waits_for_the_disk_is_committed_together(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    rig.disk.gate.clear()
    tickets = [rig.runner.hand_in([entry(0), send(0)])]
    await rig.at_the_gate()
    tickets += [rig.runner.hand_in([entry(number), send(number)]) for number in range(1, 50)]
    rig.disk.gate.set()
    for ticket in tickets:
        await ticket.wait()
    assert rig.disk.commits == [1, 49]
    sends = [each[1] for each in rig.disk.happened if each[0] == "send"]
    assert sends == list(range(50))


async def test_a_failing_disk_drops_all_and_takes_nothing_until_it_works(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    rig.disk.full = True
    rig.disk.gate.clear()
    first = rig.runner.hand_in([entry(1), send(1)])
    await rig.at_the_gate()
    second = rig.runner.hand_in([entry(2), send(2)])
    rig.disk.gate.set()
    for ticket in (first, second):
        with pytest.raises(DiskFull):
            await ticket.wait()
    assert len(rig.failures) == 1
    rig.disk.full = False
    for late in (rig.runner.hand_in([entry(3)]), rig.runner.feed(Tick())):
        with pytest.raises(DiskFull):
            await late.wait()
    assert rig.disk.happened == []
    rig.runner.resume(rig.engine)
    await rig.runner.hand_in([entry(4), send(4)]).wait()
    assert rig.disk.happened == [("disk", 4), ("send", 4)]


async def test_what_cannot_be_performed_takes_nothing_down(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    await rig.runner.hand_in([SendFrame(1, b"bad"), send(2)]).wait()
    assert rig.disk.happened == [("send", 2)]


async def test_nobody_waits_for_a_runner_that_ended() -> None:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.runner.run)
        await rig.runner.flushed()
        nursery.cancel_scope.cancel()
    with pytest.raises(NodeEnding):
        await rig.runner.hand_in([entry(1)]).wait()


async def test_time_is_kept(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    rig = Rig()
    rig.engine.wake = trio.current_time() + 5
    ticked = trio.Event()

    def tick() -> None:
        rig.engine.wake = None
        ticked.set()

    nursery.start_soon(rig.runner.keep_time, tick)
    await ticked.wait()
    assert trio.current_time() >= 5


async def test_who_waits_in_a_thread_goes_on_as_soon_as_it_is_durable(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    rig.disk.gate.clear()
    ticket = rig.runner.hand_in([entry(1), send(1)])
    durable = rig.runner.durable()
    await rig.at_the_gate()
    over = threading.Event()

    def wait() -> list[tuple[str, object]]:
        durable()
        over.set()
        return list(rig.disk.happened)

    async with trio.open_nursery() as waiting:

        async def in_a_thread() -> None:
            assert ("disk", 1) in await trio.to_thread.run_sync(wait)

        waiting.start_soon(in_a_thread)
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set(), "nothing is durable yet"
        rig.disk.gate.set()
    await ticket.wait()
    await trio.to_thread.run_sync(ticket.durable())  # and long after it


async def test_who_waits_in_a_thread_hears_what_kept_it_from_being_durable(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    rig.disk.full = True
    durable = rig.runner.hand_in([entry(1)]).durable()
    with pytest.raises(DiskFull):
        await trio.to_thread.run_sync(durable)


async def test_what_need_not_wait_is_begun_as_it_is_handed_in(nursery: trio.Nursery) -> None:
    rig = Rig()
    told: list[int] = []

    def ahead(work: Sequence[Work]) -> Sequence[Work]:
        told.append(len(work))
        return [each for each in work if not isinstance(each, StoreChunk)]

    rig.runner.ahead = ahead
    chunk = StoreChunk(b"m", b"a", b"", ())
    for number in range(AHEAD_MAX + 3):
        rig.runner.hand_in([entry(number), chunk])
    assert told == [2] * AHEAD_MAX, "of much that waits all is done together"
    nursery.start_soon(rig.runner.run)
    await rig.runner.flushed()
    assert [what for what, _ in rig.disk.happened].count("chunk") == 3
    assert rig.disk.commits == [AHEAD_MAX + 3]
