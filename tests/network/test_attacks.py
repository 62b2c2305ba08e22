"""What strangers and broken peers can do to a transport: nothing that outlives them.

Every test ends with an honest call that works (trap numbers: docs/decisions/0010-network-host.md).
"""

import logging
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import trio

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken
from p2psync.errors import PeerUnreachable
from p2psync.network import negotiation
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import key_pair
from p2psync.network.link import PROTOCOL
from p2psync.network.muxer import DATA, FIN, HEADER, PING, RST, SYN, WINDOW_UPDATE
from p2psync.network.noise import NoiseSession, secure
from p2psync.network.stream import Stream
from tests.network.rig import (
    CALLED_SEED,
    CALLER_SEED,
    LOOPBACK,
    Rig,
    hold,
    raw_to,
    rig,
    seed_of,
    until,
)

BRIEF = TransportConfig(keepalive_seconds=0.1, silence_seconds=0.5)
QUICK = replace(BRIEF, upgrade_seconds=0.5, negotiate_seconds=0.5)
"""For those alone whose handshake comes to nothing: on a busy machine no other may end in time."""


async def honest(r: Rig) -> None:
    with trio.fail_after(20):
        link = await r.caller.dial(r.called.device, r.called.addresses())
        await link.send(b"honest")
        await link.close()


async def honest_after(r: Rig) -> None:
    """Call when the attack is over, and once more where that fails: on a busy machine the half
    second that ``QUICK`` gives a handshake may pass before both ends had a turn.
    """
    with trio.fail_after(20):
        while True:
            with suppress(LinkBroken, PeerUnreachable):
                return await honest(r)
            await trio.sleep(0.05)


async def read_until_cut(stream: ByteStream) -> bytes:
    got = b""
    with trio.fail_after(20):
        while True:
            try:
                data = await stream.receive()
            except LinkBroken:
                return got
            if not data:
                return got
            got += data


async def send_until_cut(session: NoiseSession, frame: bytes) -> None:
    with trio.fail_after(20), pytest.raises(LinkBroken):
        while True:
            await session.send((frame,))


async def drain(session: NoiseSession) -> None:
    with trio.fail_after(20):
        try:
            while await session.receive():
                pass
        except LinkBroken:
            return


async def open_link(session: NoiseSession, number: int = 1) -> None:
    """Open a sync stream by hand on a raw session."""
    lines = negotiation.encode_line("/multistream/1.0.0") + negotiation.encode_line(PROTOCOL)
    await session.send(
        (HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0), data_frame(lines, number=number))
    )


def data_frame(body: bytes, *, number: int = 1, flags: int = 0) -> bytes:
    return HEADER.pack(0, DATA, flags, number, len(body)) + body


@asynccontextmanager
async def memory_bound(peak_bytes: int) -> AsyncIterator[None]:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < peak_bytes, f"{(peak - before) / limits.MIB:.1f} MiB"


# -- trap 1: identity


async def test_plaintext_and_other_security_is_refused() -> None:
    async with rig(accept=hold) as r:
        raw = await r.raw()
        await raw.send(negotiation.encode_line("/multistream/1.0.0"))
        for name in ("/plaintext/2.0.0", "/tls/1.0.0", "ls"):
            await raw.send(negotiation.encode_line(name))
        refusals = negotiation.encode_line("na") * 3
        expected = negotiation.encode_line("/multistream/1.0.0") + refusals
        assert await raw.read_exactly(len(expected)) == expected
        raw.close()
        await honest(r)


async def test_a_host_that_offers_only_plaintext_is_not_talked_to() -> None:
    heard: list[str] = []

    async def plaintext_only(stream: trio.SocketStream) -> None:
        raw = ByteStream(stream)
        try:
            heard.append(await negotiation.answer(raw, ("/plaintext/2.0.0",)))
        except LinkBroken:
            raw.close()

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
    async with rig(accept=hold) as r, trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, plaintext_only, [listener])
        with pytest.raises(PeerUnreachable, match="does not speak /noise"):
            await r.caller.dial(r.called.device, [address])
        nursery.cancel_scope.cancel()
    assert heard == []


async def test_the_muxer_is_yamux_only() -> None:
    async with rig(accept=hold) as r:
        raw = await r.raw()
        await negotiation.propose(raw, "/noise")

        session = await secure(raw, key_pair(CALLER_SEED), r.called.device)
        with pytest.raises(negotiation.NotSpoken):
            await negotiation.propose(session, "/mplex/6.7.0")


# -- trap 2: errors stay where they are


async def test_a_handler_that_raises_cuts_its_link_only(caplog: pytest.LogCaptureFixture) -> None:
    async def accept(link: Link) -> None:
        frame = await link.receive()
        if frame == b"fail":
            raise RuntimeError("a mistake in the handler")
        if frame == b"group":
            raise ExceptionGroup("several", [ValueError(), KeyError()])

    async with rig(accept=accept) as r:
        with caplog.at_level(logging.CRITICAL, logger="p2psync"):
            for word in (b"fail", b"group"):
                link = await r.caller.dial(r.called.device, r.called.addresses())
                await link.send(word)
                with pytest.raises(LinkBroken), trio.fail_after(10):
                    await link.receive()
        await honest(r)


async def test_a_protocol_handler_that_raises_ends_its_stream_only() -> None:
    async def broken(connection: Connection, stream: Stream) -> None:
        raise RuntimeError("a mistake")

    async with rig(accept=hold) as r:
        r.called.handle("/test/broken/1", broken)
        logging.getLogger("p2psync").setLevel(logging.CRITICAL + 1)
        try:
            link = await r.caller.dial(r.called.device, r.called.addresses())
            with pytest.raises(LinkBroken), trio.fail_after(10):
                stream = await link._connection.open_stream("/test/broken/1")
                await stream.read_exactly(1)
        finally:
            logging.getLogger("p2psync").setLevel(logging.NOTSET)
        await link.send(b"still here")
        await honest(r)


# -- traps 4 and frame bounds


async def test_a_cut_never_looks_like_an_end() -> None:
    """Trap 4: TCP end, stream end and reset, all without the end marker."""
    async with rig() as r:
        for how in ("tcp", "fin", "reset", "half a frame"):
            session = await r.session()
            await open_link(session)
            await session.send((data_frame(b"\0\0\0\1x\0\0\0\2y"),))
            link = await r.inbound.receive()
            assert await link.receive() == b"x"
            match how:
                case "tcp":
                    session.stream.close()
                case "fin" | "half a frame":
                    rest = b"" if how == "half a frame" else b"z"
                    await session.send((data_frame(rest, flags=FIN),))
                    if how == "fin":
                        assert await link.receive() == b"yz"
                case "reset":
                    await session.send((HEADER.pack(0, WINDOW_UPDATE, RST, 1, 0),))
            with pytest.raises(LinkBroken), trio.fail_after(10):
                await link.receive()


async def test_a_frame_announced_too_large_breaks_the_link_before_it_comes() -> None:
    async with rig() as r, memory_bound(2 * limits.MIB):
        session = await r.session()
        await open_link(session)
        await session.send((data_frame((limits.FRAME_BYTES_MAX + 1).to_bytes(4, "big")),))
        link = await r.inbound.receive()
        with pytest.raises(LinkBroken, match="announced"):
            await link.receive()
        await drain(session)


# -- trap 6 and 10: slow readers live, dead peers do not


async def test_a_reader_may_pause_for_longer_than_the_silence_limit() -> None:
    """Trap 6: the window closes, keepalives go on, nobody is reset."""
    async with rig(BRIEF) as r:
        link, other = await r.links()

        async def fill() -> None:
            for _ in range(20):
                await link.send(bytes(limits.FRAME_BYTES_MAX))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill)
            await trio.sleep(4 * BRIEF.silence_seconds)
            for _ in range(20):
                assert len(await other.receive()) == limits.FRAME_BYTES_MAX
        await link.close()


async def test_who_was_held_up_itself_takes_nobody_for_dead() -> None:
    """What the peer said meanwhile waits unread: a machine that slept, a core that was taken."""
    async with rig(BRIEF) as r:
        link, other = await r.links()
        for _ in range(3):
            time.sleep(2 * BRIEF.silence_seconds)  # noqa: ASYNC251  # nothing runs, on purpose
            await link.send(b"x")
            assert await other.receive() == b"x"


async def test_an_idle_link_stays_up() -> None:
    async with rig(BRIEF) as r:
        link, other = await r.links()
        await trio.sleep(3 * BRIEF.silence_seconds)
        await link.send(b"x")
        assert await other.receive() == b"x"


async def test_a_black_holed_connection_is_noticed_by_both_even_while_writing() -> None:
    """Trap 10."""
    async with rig(BRIEF) as r, trio.open_nursery() as nursery:
        hole = trio.Event()
        target = r.called.addresses()[0].split("/")[4]

        async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            while True:
                data = await source.receive_some(65536)
                if hole.is_set():
                    await trio.sleep_forever()
                await sink.send_all(data)

        async def proxy(client: trio.SocketStream) -> None:
            server = await trio.open_tcp_stream("127.0.0.1", int(target))
            async with server, trio.open_nursery() as pumps:
                pumps.start_soon(pump, client, server)
                pumps.start_soon(pump, server, client)

        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        nursery.start_soon(trio.serve_listeners, proxy, [listener])
        port = listener.socket.getsockname()[1]
        link = await r.caller.dial(r.called.device, [f"/ip4/127.0.0.1/tcp/{port}"])
        other = await r.inbound.receive()
        hole.set()
        with trio.fail_after(10):
            with pytest.raises(LinkBroken):
                while True:
                    await link.send(bytes(100_000))
            with pytest.raises(LinkBroken, match="silent"):
                await other.receive()
        await until(lambda: r.called.guard.established == 0)
        nursery.cancel_scope.cancel()


# -- traps 8, 9 and floods


async def test_a_peer_that_ignores_the_window_is_cut() -> None:
    """Trap 8."""
    async with rig() as r, memory_bound(4 * limits.MIB):
        session = await r.session()
        await open_link(session)
        link = await r.inbound.receive()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, session)
            await send_until_cut(session, data_frame(bytes(60_000)))
        with pytest.raises(LinkBroken, match="window"):
            while True:
                await link.receive()
        await until(lambda: r.called.guard.established == 0)


async def test_one_frame_that_announces_four_gigabytes_is_refused() -> None:
    async with rig() as r, memory_bound(2 * limits.MIB):
        session = await r.session()
        await open_link(session)
        await session.send((HEADER.pack(0, DATA, 0, 1, 0xFFFFFFFF),))
        await drain(session)


async def test_twenty_thousand_streams_are_too_many() -> None:
    """Trap 9."""
    async with rig(accept=hold) as r, memory_bound(4 * limits.MIB):
        session = await r.session()
        frames = b"".join(
            HEADER.pack(0, WINDOW_UPDATE, SYN, 2 * number + 1, 0) for number in range(20_000)
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, session)
            with pytest.raises(LinkBroken):
                for start in range(0, len(frames), 48_000):
                    await session.send((frames[start : start + 48_000],))
                    await trio.sleep(0.001)
                raise LinkBroken("all sent")
        await until(lambda: r.called.guard.established == 0)
        await honest(r)


async def test_opening_and_cutting_streams_quickly_starts_no_crowd_of_tasks() -> None:
    async with rig(accept=hold) as r:
        session = await r.session()
        pairs = b"".join(
            HEADER.pack(0, WINDOW_UPDATE, SYN, 2 * number + 1, 0)
            + HEADER.pack(0, WINDOW_UPDATE, RST, 2 * number + 1, 0)
            for number in range(2_000)
        )
        tasks = trio.lowlevel.current_statistics().tasks_living
        await session.send((pairs,))
        await drain(session)
        assert trio.lowlevel.current_statistics().tasks_living < tasks + 20
        await honest(r)


async def test_a_stream_that_says_nothing_is_cut_in_time() -> None:
    async with rig(QUICK, accept=hold) as r:
        session = await r.session()
        for number in range(limits.STREAMS_INBOUND_MAX):
            await session.send((HEADER.pack(0, WINDOW_UPDATE, SYN, 2 * number + 1, 0),))
        cut = 0
        with trio.fail_after(10):
            while cut < limits.STREAMS_INBOUND_MAX:
                for message in await session.receive():
                    cut += sum(
                        bool(HEADER.unpack_from(message, at)[2] & RST)
                        for at in range(0, len(message), HEADER.size)
                    )
        session.stream.close()


async def test_a_second_link_on_one_connection_is_refused() -> None:
    async with rig(accept=hold) as r:
        link = await r.caller.dial(r.called.device, r.called.addresses())
        with pytest.raises(LinkBroken), trio.fail_after(10):
            second = await link._connection.open_stream(PROTOCOL)
            await second.read_exactly(1)
        await link.send(b"the first goes on")


async def test_pings_whose_answers_are_never_read_end_the_connection() -> None:
    async with rig(BRIEF, accept=hold) as r, memory_bound(8 * limits.MIB):
        session = await r.session()
        await send_until_cut(session, HEADER.pack(0, PING, SYN, 0, 0) * 4000)
        await until(lambda: r.called.guard.established == 0)


async def test_small_frames_without_end_are_slowed_down_and_then_cut() -> None:
    """Their answers are read, no window is passed: only their number is too large."""
    async with rig(BRIEF, accept=hold) as r:
        session = await r.session()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, session)
            await send_until_cut(session, HEADER.pack(0, PING, SYN, 0, 0) * 100)
        await honest(r)


async def test_a_writer_whose_peer_reads_nothing_keeps_a_bounded_queue() -> None:
    async with rig(BRIEF) as r, memory_bound(12 * limits.MIB):
        session = await r.session()
        await open_link(session)
        link = await r.inbound.receive()
        frame = bytes(limits.FRAME_BYTES_MAX)
        with pytest.raises(LinkBroken), trio.fail_after(10):
            while True:
                await link.send(frame)


@pytest.mark.parametrize(
    "frame",
    [
        HEADER.pack(1, DATA, 0, 1, 0),
        HEADER.pack(0, 9, 0, 1, 0),
        HEADER.pack(0, WINDOW_UPDATE, SYN, 2, 0),
        HEADER.pack(0, WINDOW_UPDATE, SYN, 0, 0),
        HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0) * 2,
    ],
    ids=["version", "kind", "parity", "zero", "twice"],
)
async def test_frames_that_yamux_does_not_know_end_the_connection(frame: bytes) -> None:
    async with rig(accept=hold) as r:
        session = await r.session()
        await session.send((frame,))
        await drain(session)
        await honest(r)


# -- trap 11: connections that come to nothing


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
        b"\xff" * 70_000,
        b"\x00" * 1000,
        negotiation.encode_line("/multistream/1.0.0") + b"\x02\xff\n",
        negotiation.encode_line("/multistream/1.0.0") + negotiation.encode_line("/x") * 50,
        negotiation.encode_line("/multistream/1.0.0")
        + negotiation.encode_line("/noise")
        + b"\x00\x20"
        + bytes(32)
        + b"\xff\xff"
        + bytes(65_535),
    ],
    ids=["http", "ones", "zeros", "no text", "proposals", "noise"],
)
async def test_garbage_on_the_port_is_cut(garbage: bytes) -> None:
    async with rig(QUICK, accept=hold) as r, memory_bound(3 * limits.MIB):
        raw = await r.raw()
        with suppress(LinkBroken):
            await raw.send(garbage)
        await read_until_cut(raw)
        await until(lambda: r.called.guard.upgrading == 0)
        await honest_after(r)


async def test_an_altered_message_ends_the_connection() -> None:
    async with rig(accept=hold) as r:
        session = await r.session()
        await session.stream.send(b"\x00\x20" + bytes(32))
        await drain(session)
        await honest(r)


async def test_silent_connections_do_not_lock_anybody_out() -> None:
    """Trap 11: 320 silent ones, and an honest call from the same address goes through at once."""
    async with rig(accept=hold, called_config=TransportConfig(upgrade_seconds=60)) as r:
        silent = [await r.raw() for _ in range(320)]
        await honest(r)
        assert r.called.guard.upgrading <= limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX
        for stream in silent:
            stream.close()


async def test_a_silent_connection_ends_by_itself() -> None:
    async with rig(QUICK, accept=hold) as r:
        raw = await r.raw()
        await read_until_cut(raw)
        assert r.called.guard.upgrading == 0


async def test_strangers_cannot_take_the_places_of_members() -> None:
    config = TransportConfig(known=lambda device: device == r.caller.device)
    async with rig(accept=hold, called_config=config) as r:
        sessions = []
        for number in range(limits.CONNECTIONS_STRANGERS_MAX + 10):
            sessions.append(await r.session(seed_of(number)))
        await until(lambda: r.called.guard.upgrading == 0)
        assert r.called.guard.established == limits.CONNECTIONS_STRANGERS_MAX
        await honest(r)


async def test_one_device_has_a_few_connections_and_its_newest_wins() -> None:
    async with rig(accept=hold) as r:
        links = [
            await r.caller.dial(r.called.device, r.called.addresses())
            for _ in range(limits.CONNECTIONS_PER_DEVICE_MAX + 2)
        ]
        for link in links[:2]:
            with pytest.raises(LinkBroken), trio.fail_after(10):
                await link.receive()
        await links[-1].send(b"x")
        assert r.called.guard.established == limits.CONNECTIONS_PER_DEVICE_MAX


async def test_a_connection_that_asks_for_nothing_ends() -> None:
    config = TransportConfig(keepalive_seconds=0.1, idle_seconds=0.2)
    async with rig(accept=hold, called_config=config) as r:
        session = await r.session()
        await drain(session)


async def test_a_transport_that_only_calls_cannot_be_called() -> None:
    """Trap 12: nothing is dialled or listened on by itself."""
    transport = Libp2pTransport(CALLED_SEED, [], hold)
    async with transport.open():
        assert transport.addresses() == ()
        with pytest.raises(IndexError):
            await raw_to(transport)


async def test_listening_is_only_where_it_was_asked_for() -> None:
    transport = Libp2pTransport(CALLED_SEED, [LOOPBACK], hold)
    async with transport.open():
        assert len(transport.addresses()) == 1
        assert transport.addresses()[0].startswith("/ip4/127.0.0.1/tcp/")
