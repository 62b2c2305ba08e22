"""Standing links: slowed down by the disk, ended when a peer does not read or makes mistakes."""

from collections.abc import AsyncGenerator, Callable, Sequence

import trio
import trio.testing

from p2psync import limits
from p2psync.engine.effects import (
    CloseLink,
    Effect,
    Event,
    FrameReceived,
    LinkDown,
    LinkUp,
    SendChunks,
    SendEntries,
    SendFrame,
    SendOpening,
)
from p2psync.engine.ports import LinkBroken, LinkEnded
from p2psync.errors import DiskFailed
from p2psync.node.links import Links
from p2psync.node.runner import Durable, InBatch, Runner
from tests.fakes.links import FakeLink, link_pair

A, B = b"a" * 32, b"b" * 32


class Rig:
    """A runner with an engine that only listens, and a disk that can stand still."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.answer: Callable[[Event], Sequence[Effect | InBatch]] = lambda event: ()
        self.stand = False
        self.runner = Runner(self, self, self.store_chunks, self.perform, lambda error: None)
        self.links = Links(self.runner, self.frames)
        self.broken_disk = False

    def step(self, event: Event, now: float, wall_ms: int) -> Sequence[Effect]:
        self.events.append(event)
        return self.answer(event)  # type: ignore[return-value] # the runner takes both

    def next_wake(self) -> float | None:
        return None

    def store_chunks(self, chunks: object) -> None:
        raise AssertionError

    def commit(self, work: Sequence[Durable]) -> None:
        pass

    def perform(self, effect: Effect) -> None:
        if isinstance(effect, CloseLink):
            self.links.close(effect.link, effect.error)
        else:
            assert isinstance(effect, SendFrame | SendEntries)
            self.links.send(effect)

    async def frames(
        self, send: SendEntries | SendOpening | SendChunks
    ) -> AsyncGenerator[bytes, None]:
        if self.broken_disk:
            raise DiskFailed(path="x", cause="broken")
        for number in range(100):
            yield bytes([number]) * limits.FRAME_BYTES_MAX

    def received(self) -> int:
        return sum(isinstance(event, FrameReceived) for event in self.events)

    def downs(self) -> list[LinkDown]:
        return [event for event in self.events if isinstance(event, LinkDown)]


def pair() -> tuple[FakeLink, FakeLink]:
    mine, peers = link_pair(A, B)
    return mine, peers


async def test_a_link_comes_and_goes(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        await peer.send(b"one")
        await peer.send(b"two")
        await peer.close()
    assert rig.events == [
        LinkUp(1, B, True, ""),
        FrameReceived(1, b"one"),
        FrameReceived(1, b"two"),
        LinkDown(1, True),
    ]


async def test_a_broken_link_is_told_as_such(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        await trio.testing.wait_all_tasks_blocked()
        await peer.abort()
    assert rig.downs() == [LinkDown(1, False)]


async def test_who_sends_faster_than_the_disk_writes_is_slowed_down(nursery: trio.Nursery) -> None:
    """The runner does not run: nothing that was read is settled."""
    rig = Rig()
    mine, peer = pair()
    nursery.start_soon(rig.links.serve, mine)
    for _ in range(3 * limits.LINK_FRAMES_UNSETTLED_MAX):
        await peer.send(b"frame")
    await trio.testing.wait_all_tasks_blocked()
    assert rig.received() == limits.LINK_FRAMES_UNSETTLED_MAX
    nursery.start_soon(rig.runner.run)
    await trio.testing.wait_all_tasks_blocked()
    assert rig.received() == 3 * limits.LINK_FRAMES_UNSETTLED_MAX
    nursery.cancel_scope.cancel()


async def test_who_asks_for_ever_more_and_reads_nothing_loses_its_link(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    rig.answer = lambda event: (
        [SendEntries(1, 0, b"m" * 32, ())] * 500 if isinstance(event, FrameReceived) else ()
    )
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        for _ in range(limits.LINK_SENDS_WAITING_MAX // 500 + 2):
            try:
                await peer.send(b"give me more")
            except LinkBroken:
                break
    assert rig.downs() == [LinkDown(1, False)]


async def test_who_asks_for_few_large_answers_and_reads_nothing_loses_its_link(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    ids = (b"i" * 32,) * (limits.LINK_SENDS_WAITING_BYTES_MAX // 8 // 4)
    rig.answer = lambda event: (
        [SendEntries(1, 0, b"m" * 32, ids)] if isinstance(event, FrameReceived) else ()
    )
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        for _ in range(7):
            try:
                await peer.send(b"give me all")
            except LinkBroken:
                break
    assert rig.downs() == [LinkDown(1, False)]


async def test_what_cannot_be_read_for_a_peer_ends_its_link_alone(nursery: trio.Nursery) -> None:
    rig = Rig()
    rig.broken_disk = True
    nursery.start_soon(rig.runner.run)
    mine, _peer = pair()
    other, other_peer = pair()
    nursery.start_soon(rig.links.serve, other)
    await trio.testing.wait_all_tasks_blocked()
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        await trio.testing.wait_all_tasks_blocked()
        rig.links.send(SendEntries(2, 0, b"m" * 32, ()))
    assert rig.downs() == [LinkDown(2, False)]
    rig.links.send(SendFrame(1, b"still there"))
    assert await other_peer.receive() == b"still there"
    nursery.cancel_scope.cancel()


async def test_a_last_word_is_sent_before_a_link_is_ended(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    async with trio.open_nursery() as inner:
        inner.start_soon(rig.links.serve, mine)
        await trio.testing.wait_all_tasks_blocked()
        rig.runner.hand_in([SendFrame(1, b"bye"), CloseLink(1, "")])
        assert await peer.receive() == b"bye"
    try:
        await peer.receive()
        raise AssertionError("the link goes on")
    except (LinkEnded, LinkBroken):
        pass


async def test_a_link_is_refused_while_the_memory_is_ahead_of_the_disk() -> None:
    rig = Rig()
    rig.runner.broken = DiskFailed(path="x", cause="broken")
    mine, peer = pair()
    await rig.links.serve(mine)
    assert rig.events == []
    try:
        await peer.receive()
        raise AssertionError("the link goes on")
    except LinkBroken:
        pass


async def test_a_save_goes_before_content_that_waits(nursery: trio.Nursery) -> None:
    """An entry is not to wait for the megabytes of a large file that was asked for before it."""
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    nursery.start_soon(rig.links.serve, mine)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(3):
        rig.links.send(SendChunks(1, 2, bytes(32), (bytes(32),)))
    await trio.testing.wait_all_tasks_blocked()  # the peer's room is full of content
    rig.links.send(SendFrame(1, b"a save"))
    contents = 0
    while (await peer.receive()) != b"a save":
        contents += 1
    assert contents < 100  # of 300 frames
    left = 0
    while left + contents < 300:
        assert len(await peer.receive()) == limits.FRAME_BYTES_MAX
        left += 1
    nursery.cancel_scope.cancel()


async def test_content_that_belongs_to_an_entry_goes_before_it(nursery: trio.Nursery) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    nursery.start_soon(rig.links.serve, mine)
    await trio.testing.wait_all_tasks_blocked()
    rig.links.send(SendChunks(1, 2, bytes(32), (bytes(32),), ahead=True))
    rig.links.send(SendFrame(1, b"the entry"))
    for _ in range(100):
        assert len(await peer.receive()) == limits.FRAME_BYTES_MAX
    assert await peer.receive() == b"the entry"
    nursery.cancel_scope.cancel()
