"""The contract of the ``Link`` port, on the real transport and on the in-memory fake."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken, LinkEnded
from p2psync.network.identity import device_of_seed
from tests.fakes.links import link_pair
from tests.network.rig import CALLED_SEED, CALLER_SEED, rig


@dataclass
class Pair:
    caller: Link
    called: Link


@asynccontextmanager
async def fake_pair() -> AsyncIterator[Pair]:
    yield Pair(*link_pair(device_of_seed(CALLER_SEED), device_of_seed(CALLED_SEED)))


@asynccontextmanager
async def real_pair() -> AsyncIterator[Pair]:
    async with rig() as transports:
        yield Pair(*await transports.links())


@pytest.fixture(params=[fake_pair, real_pair], ids=["fake", "real"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    with trio.fail_after(30):
        async with request.param() as links:
            yield links


async def test_each_end_knows_the_other_device_and_who_called(pair: Pair) -> None:
    assert pair.caller.device == device_of_seed(CALLED_SEED)
    assert pair.called.device == device_of_seed(CALLER_SEED)
    assert (pair.caller.direction, pair.called.direction) == ("outbound", "inbound")
    assert isinstance(pair.called.remote_address, str)


async def test_frames_arrive_whole_and_in_order_both_ways(pair: Pair) -> None:
    frames = [b"", b"a", bytes(70_000), b"b" * limits.FRAME_BYTES_MAX, b"end"]

    async def send(link: Link) -> None:
        for frame in frames:
            await link.send(frame)

    async def check(link: Link) -> None:
        assert [await link.receive() for _ in frames] == frames

    async with trio.open_nursery() as nursery:
        for link in (pair.caller, pair.called):
            nursery.start_soon(send, link)
            nursery.start_soon(check, link)


async def test_a_frame_over_the_limit_is_a_mistake_of_the_caller(pair: Pair) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await pair.caller.send(bytes(limits.FRAME_BYTES_MAX + 1))
    await pair.caller.send(b"still fine")
    assert await pair.called.receive() == b"still fine"


async def test_close_delivers_everything_and_then_says_ended(pair: Pair) -> None:
    for number in range(100):
        await pair.caller.send(b"%d" % number)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.caller.close)
        for number in range(100):
            assert await pair.called.receive() == b"%d" % number
        for _ in range(2):
            with pytest.raises(LinkEnded):
                await pair.called.receive()
        await pair.called.close()
    await pair.caller.close()


async def test_abort_reads_as_cut(pair: Pair) -> None:
    await pair.caller.abort()
    await pair.caller.abort()
    for _ in range(2):
        with pytest.raises(LinkBroken):
            await pair.called.receive()


async def test_a_link_closed_here_neither_sends_nor_receives(pair: Pair) -> None:
    await pair.caller.close()
    with pytest.raises(LinkBroken):
        await pair.caller.send(b"x")
    with pytest.raises(LinkBroken):
        await pair.caller.receive()


async def test_close_wakes_a_pending_receive_here(pair: Pair) -> None:
    async with trio.open_nursery() as nursery:
        woken = trio.Event()

        async def receive() -> None:
            with pytest.raises(LinkBroken):
                await pair.caller.receive()
            woken.set()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await pair.caller.close()
        await woken.wait()


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_sending_to_a_peer_that_is_gone_breaks(pair: Pair, how: str) -> None:
    await getattr(pair.called, how)()
    with pytest.raises(LinkBroken):
        while True:
            await pair.caller.send(bytes(1000))
            await trio.sleep(0.001)


async def test_a_slow_reader_holds_the_sender_back_and_loses_nothing(pair: Pair) -> None:
    """Also: a cancelled send leaves no half frame behind."""
    frame = bytes(limits.FRAME_BYTES_MAX // 2)
    sent = 0
    with trio.move_on_after(0.5) as waited:
        while True:
            await pair.caller.send(sent.to_bytes(4, "big") + frame[4:])
            sent += 1
    assert waited.cancelled_caught
    assert sent * len(frame) <= 16 * limits.MIB
    for number in range(sent):
        assert await pair.called.receive() == number.to_bytes(4, "big") + frame[4:]
    await pair.caller.send(b"after")
    assert await pair.called.receive() == b"after"


async def test_a_cancelled_receive_loses_nothing(pair: Pair) -> None:
    with trio.move_on_after(0.02):
        await pair.called.receive()
    frame = b"z" * limits.FRAME_BYTES_MAX
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.caller.send, frame)
        got = None
        while got is None:
            with trio.move_on_after(0.0005):
                got = await pair.called.receive()
    assert got == frame


async def test_both_may_close_at_once(pair: Pair) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pair.caller.close)
        nursery.start_soon(pair.called.close)
