"""The muxer by itself: two of them joined by hand, and bytes that nobody sent."""

from collections.abc import Callable

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.muxer import (
    ACK,
    DATA,
    FIN,
    HEADER,
    PAYLOAD_BYTES_MAX,
    PING,
    SYN,
    WINDOW_UPDATE,
    Muxer,
    PeerBrokeMuxing,
)
from p2psync.network.stream import Stream


class Joined:
    """Two muxers; ``pump`` carries what one says to the other, cut in pieces."""

    def __init__(self, window_max: int = limits.LINK_WINDOW_BYTES_MAX) -> None:
        self.opened: list[Stream] = []
        self.now = 0.0
        self.caller = self._muxer(True, lambda stream: None, window_max)
        self.called = self._muxer(False, self.opened.append, window_max)

    def _muxer(self, dialled: bool, opened: Callable[[Stream], None], window_max: int) -> Muxer:
        return Muxer(
            dialled=dialled,
            opened=opened,
            window_max=lambda: window_max,
            clock=lambda: self.now,
        )

    def pump(self, piece: int = 1 << 20) -> int:
        moved = 0
        for source, sink in ((self.caller, self.called), (self.called, self.caller)):
            wire = b"".join(source.collect(1 << 25))
            for at in range(0, len(wire), min(piece, 65_519)):
                sink.feed(wire[at : at + min(piece, 65_519)])
            moved += len(wire)
        return moved

    def pair(self) -> tuple[Stream, Stream]:
        stream = self.caller.open()
        self.pump()
        return stream, self.opened[-1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=3000)), max_size=30),
    st.integers(1, 5000),
)
def test_streams_carry_their_bytes_in_order_however_they_are_cut(
    writes: list[tuple[int, bytes]], piece: int
) -> None:
    joined = Joined()
    pairs = [joined.pair() for _ in range(3)]
    for which, data in writes:
        pairs[which][0].put(data)
    for stream, _ in pairs:
        stream.end()
    while joined.pump(piece):
        pass
    for which, (_, there) in enumerate(pairs):
        assert there.take(len(there.inbox)) == b"".join(data for w, data in writes if w == which)
        assert there.ended


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    joined = Joined()
    joined.pair()
    try:
        joined.called.feed(data)
    except PeerBrokeMuxing:
        return
    assert len(joined.called.streams) <= limits.STREAMS_INBOUND_MAX


def test_what_is_not_read_stops_at_the_window_and_goes_on_after_reading() -> None:
    joined = Joined()
    here, there = joined.pair()
    here.put(bytes(limits.MIB))
    while joined.pump():
        pass
    assert len(there.inbox) == limits.LINK_WINDOW_START_BYTES
    got = 0
    while got < limits.MIB:
        got += len(there.take(len(there.inbox)))
        joined.pump()
    assert got == limits.MIB


@pytest.mark.parametrize(
    ("window_max", "pause", "away", "grown"),
    [
        (limits.LINK_WINDOW_BYTES_MAX, 0.0, 0.0, limits.LINK_WINDOW_NEAR_BYTES_MAX),
        (limits.LINK_WINDOW_BYTES_MAX, 0.15, 0.1, limits.LINK_WINDOW_BYTES_MAX),
        (limits.LINK_WINDOW_BYTES_MAX, 0.5, 0.1, limits.LINK_WINDOW_START_BYTES),
        (limits.LINK_WINDOW_BYTES_MAX, 0.15, 0.0, limits.LINK_WINDOW_START_BYTES),
        (limits.LINK_WINDOW_START_BYTES, 0.0, 0.1, limits.LINK_WINDOW_START_BYTES),
    ],
    ids=["near", "far", "far and slow", "near and slow", "stranger"],
)
def test_the_window_grows_with_delay_for_a_quick_reader_up_to_its_limit(
    window_max: int, pause: float, away: float, grown: int
) -> None:
    joined = Joined(window_max)
    here, there = joined.pair()
    joined.called.ping()
    joined.caller.feed(b"".join(joined.called.collect(1 << 20)))
    joined.now += away
    joined.pump()
    assert joined.called.rtt == pytest.approx(away)
    for _ in range(8):
        here.put(bytes(limits.LINK_WINDOW_BYTES_MAX))
        while joined.pump():
            joined.now += pause
            there.take(len(there.inbox))
    here.put(bytes(2 * limits.LINK_WINDOW_BYTES_MAX))
    while joined.pump():
        pass
    assert grown // 2 <= len(there.inbox) <= grown


def test_a_wrong_answer_to_a_ping_tells_nothing() -> None:
    joined = Joined()
    joined.caller.ping()
    joined.now += 1.0
    joined.caller.feed(HEADER.pack(0, PING, ACK, 0, 12345))
    assert joined.caller.rtt == 0.0
    joined.pump()
    assert joined.caller.rtt == pytest.approx(1.0)


def test_small_frames_leave_together() -> None:
    joined = Joined()
    here, _ = joined.pair()
    for _ in range(100):
        here.put(b"frame")
    assert len(b"".join(joined.caller.collect(1 << 20))) == HEADER.size + 500


def test_the_end_has_a_frame_of_its_own() -> None:
    """js-libp2p loses data that comes with FIN."""
    joined = Joined()
    here, _ = joined.pair()
    here.put(b"last")
    here.end()
    assert b"".join(joined.caller.collect(1 << 20)) == (
        HEADER.pack(0, DATA, 0, here.number, 4)
        + b"last"
        + HEADER.pack(0, WINDOW_UPDATE, FIN, here.number, 0)
    )


def test_streams_take_turns() -> None:
    joined = Joined()
    first, second = joined.pair()[0], joined.pair()[0]
    first.put(bytes(limits.LINK_WINDOW_START_BYTES))
    second.put(b"urgent")
    turn = b"".join(joined.caller.collect(HEADER.size + PAYLOAD_BYTES_MAX))
    assert HEADER.unpack_from(turn) == (0, DATA, 0, first.number, PAYLOAD_BYTES_MAX)
    turn = b"".join(joined.caller.collect(1))
    assert turn == HEADER.pack(0, DATA, 0, second.number, 6) + b"urgent"


def test_a_broken_stream_takes_and_sends_nothing_more() -> None:
    joined = Joined()
    here, there = joined.pair()
    here.put(b"x" * 100)
    there.reset()
    while joined.pump():
        pass
    with pytest.raises(LinkBroken):
        here.put(b"y")
    assert joined.caller.streams == {}
    assert joined.called.streams == {}


async def test_the_end_of_the_connection_wakes_everybody() -> None:
    joined = Joined()
    here, there = joined.pair()
    here.put(bytes(limits.LINK_OUTBOX_BYTES_MAX))

    async def fails(wait: Callable[[], object]) -> None:
        with pytest.raises(LinkBroken, match="over"):
            await wait()  # type: ignore[misc]  # each of them returns an awaitable

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, lambda: here.room(1))
        nursery.start_soon(fails, lambda: here.more(0))
        joined.called.collect(1 << 20)
        nursery.start_soon(fails, joined.called.output)
        await trio.testing.wait_all_tasks_blocked()
        joined.caller.finish("it is over")
        joined.called.finish("it is over")
    assert there.broken == "it is over"
    with pytest.raises(LinkBroken):
        joined.caller.open()


def test_a_body_is_counted_before_it_comes() -> None:
    joined = Joined()
    header = HEADER.pack(0, DATA, SYN, 1, limits.LINK_WINDOW_START_BYTES + 1)
    with pytest.raises(PeerBrokeMuxing, match="window"):
        joined.called.feed(header)
