"""What a loud stranger, or a member gone bad, costs the transport: bounded, and nobody else waits.

The transport runs in a process of its own with its real limits. While it is flooded an honest
member keeps a link and makes new ones; each save and each call of it must be served in time.
"""

import random
from contextlib import suppress
from functools import partial

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network import negotiation
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.link import PROTOCOL
from p2psync.network.muxer import ACK, DATA, HEADER, PING, SYN, WINDOW_UPDATE
from p2psync.network.noise import NoiseSession
from tests.network.floods.rig import Flooded, Measure, flood, gone
from tests.network.floods.server import IGNORE, POUR
from tests.network.rig import STRANGER_SEED, seed_of

OWN = 8
"""Descriptors that the honest peer's own links take."""
FLOOD_SECONDS = 5
LINES = negotiation.encode_line("/multistream/1.0.0") + negotiation.encode_line(PROTOCOL)


def data(body: bytes, number: int = 1) -> bytes:
    return HEADER.pack(0, DATA, 0, number, len(body)) + body


def opening(number: int = 1) -> bytes:
    return HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0)


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def source_of(number: int) -> str:
    """One of many addresses of loopback: what is counted by address must hold beside them."""
    return f"127.0.{1 + number // 200 % 200}.{1 + number % 200}"


async def silent(flooded: Flooded, number: int, held: list[ByteStream]) -> None:
    with suppress(OSError):
        held.append(await flooded.raw(source_of(number)))


async def test_1000_silent_connections(measure: Measure) -> None:
    """From 200 addresses; none of them ever says anything."""
    held: list[ByteStream] = []
    async with flood(
        "1,000 silent connections",
        measure,
        grows_bytes=16 * limits.MIB,
        descriptors=limits.CONNECTIONS_UPGRADING_MAX + OWN,
    ) as flooded:
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(silent, flooded, number, held)
        assert len(held) == 1000
        await flooded.serves(5)
        how = await flooded.ask("how")
        assert how["upgrading"] <= limits.CONNECTIONS_UPGRADING_MAX
    for stream in held:
        stream.close()


async def test_20000_streams_on_one_connection_after_the_other(measure: Measure) -> None:
    """A connection is ended after so many refusals; the attacker comes back until it had all."""
    wanted, opened, connections = 20_000, 0, 0
    async with flood(
        "20,000 streams", measure, grows_bytes=16 * limits.MIB, descriptors=OWN
    ) as flooded:
        while opened < wanted:
            session = await flooded.session(STRANGER_SEED)
            connections += 1
            burst = b"".join(opening(2 * number + 1) for number in range(5_000))
            with suppress(LinkBroken):
                for start in range(0, len(burst), 60_000):
                    await session.send((burst[start : start + 60_000],))
            opened += 5_000
            await gone(session.stream)
        how = await flooded.ask("how")
        assert how["tasks"] < flooded.before["tasks"] + 60
    measure(f"  in {connections} connections")


async def test_readers_that_never_read(measure: Measure) -> None:
    """Each asks for ever more and reads nothing, not even from TCP; a member among them."""
    readers = 16

    async def never_reads(flooded: Flooded, number: int) -> None:
        seed = STRANGER_SEED if number == 0 else seed_of(number)
        session = await flooded.session(seed, source_of(number))
        pings = HEADER.pack(0, PING, SYN, 0, 0) * 100
        wide = HEADER.pack(0, WINDOW_UPDATE, 0, 1, 0xFFFF_FFFF)
        with suppress(LinkBroken), trio.move_on_after(TransportConfig().silence_seconds):
            await session.send((opening() + data(LINES) + wide + data(frame(POUR)),))
            while True:  # It stays awake, so silence alone does not end it.
                await session.send((pings,))
                await trio.sleep(0.1)
        session.stream.close()

    async with (
        flood(
            f"{readers} readers that never read",
            measure,
            grows_bytes=readers * 4 * limits.MIB,
            descriptors=readers + OWN,
            also_known=STRANGER_SEED,
        ) as flooded,
        trio.open_nursery() as nursery,
    ):
        for number in range(readers):
            nursery.start_soon(never_reads, flooded, number)


async def test_writers_that_ignore_windows(measure: Measure) -> None:
    """Nobody reads their streams; a window's worth is kept, one byte more ends the connection."""
    writers = 40
    sent = 0

    async def ignores(flooded: Flooded, number: int) -> None:
        nonlocal sent
        seed = STRANGER_SEED if number == 0 else seed_of(number)
        session = await flooded.session(seed, source_of(number))
        with suppress(LinkBroken):
            await session.send((opening() + data(LINES) + data(frame(IGNORE)),))
            while True:
                await session.send((data(bytes(60_000)),))
                sent += 60_000
        await gone(session.stream)

    async with (
        flood(
            f"{writers} writers that ignore windows",
            measure,
            grows_bytes=writers * limits.MIB // 2,
            descriptors=OWN,
            also_known=STRANGER_SEED,
        ) as flooded,
        trio.open_nursery() as nursery,
    ):
        for number in range(writers):
            nursery.start_soon(ignores, flooded, number)
    measure(f"  they wrote {sent / limits.MIB:.0f} MiB before they were cut")


async def test_frames_of_one_byte(measure: Measure) -> None:
    """A stream filled byte by byte; pings; messages without a frame: no window is passed."""
    attackers = 12
    sent = 0

    async def small(flooded: Flooded, number: int) -> None:
        nonlocal sent
        try:
            session = await flooded.session(seed_of(number), source_of(number))
        except LinkBroken:
            return  # The others keep it so busy that the upgrade's deadline passed.
        burst = (data(b"x") * 5_000, HEADER.pack(0, PING, ACK, 0, 0) * 5_000, b"")[number % 3]
        with suppress(LinkBroken), trio.move_on_after(FLOOD_SECONDS):
            await session.send((opening() + data(LINES) + data(frame(IGNORE)),))
            while True:
                if burst:
                    await session.send((burst,))
                else:
                    await session.stream.send(b"".join(empty(session) for _ in range(5_000)))
                sent += 5_000
                await trio.lowlevel.checkpoint()
        session.stream.close()

    async with (
        flood(
            f"{attackers} senders of tiny frames",
            measure,
            grows_bytes=attackers * limits.MIB,
            descriptors=attackers + OWN,
        ) as flooded,
        trio.open_nursery() as nursery,
    ):
        for number in range(attackers):
            nursery.start_soon(small, flooded, number)
    measure(f"  they sent {sent:,} before they were cut or slowed down")


def empty(session: NoiseSession) -> bytes:
    """The next message of a session, sealed, without any content."""
    wire = bytearray(18)
    session._seal_one(b"", memoryview(wire), 0)
    return bytes(wire)


async def test_handshakes_that_trickle(measure: Measure) -> None:
    """A byte now and then: the deadline is for the whole upgrade, not for each byte."""
    connections = 300
    held: list[ByteStream] = []

    async def trickles(stream: ByteStream) -> None:
        with suppress(LinkBroken):
            for byte in negotiation.encode_line("/multistream/1.0.0") + bytes(200):
                await stream.send(bytes([byte]))
                await trio.sleep(0.5)

    async with flood(
        f"{connections} handshakes that trickle",
        measure,
        grows_bytes=16 * limits.MIB,
        descriptors=OWN,
    ) as flooded:
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(silent, flooded, number, held)
        async with trio.open_nursery() as trickling:
            for stream in held:
                trickling.start_soon(trickles, stream)
            async with trio.open_nursery() as nursery:
                for stream in held:
                    nursery.start_soon(gone, stream)
            trickling.cancel_scope.cancel()


async def test_garbage_at_every_stage(measure: Measure) -> None:
    """Random bytes as negotiation, as handshake, as sealed message, as frames, as link."""
    connections = 400
    dice = random.Random(3)
    hello = negotiation.encode_line("/multistream/1.0.0")

    def garbage() -> bytes:
        return dice.randbytes(dice.choice((1, 40, 3_000, 70_000)))

    async def unsecured(flooded: Flooded, number: int, start: bytes) -> None:
        stream = await flooded.raw(source_of(number))
        with suppress(LinkBroken):
            await stream.send(start + garbage())
            stream.end()
        await gone(stream)

    async def secured(flooded: Flooded, number: int, kind: int) -> None:
        try:
            session = await flooded.session(seed_of(number), source_of(number))
        except LinkBroken:
            return  # Evicted by the next of them.
        with suppress(LinkBroken):
            match kind:
                case 0:
                    await session.stream.send(garbage())
                case 1:
                    await session.send((garbage(),))
                case _:
                    await session.send((opening() + data(LINES) + data(garbage()),))
            session.stream.end()
        await gone(session.stream)

    async with flood(
        f"{connections} connections full of garbage",
        measure,
        grows_bytes=16 * limits.MIB,
        descriptors=OWN,
    ) as flooded:
        noise = hello + negotiation.encode_line("/noise")
        attacks = [
            partial(unsecured, start=b""),
            partial(unsecured, start=hello),
            partial(unsecured, start=noise),
            partial(unsecured, start=noise + b"\x00\x20" + bytes(32)),
            *(partial(secured, kind=kind) for kind in range(3)),
        ]
        room = trio.CapacityLimiter(40)

        async def one(number: int) -> None:
            async with room:
                await attacks[number % len(attacks)](flooded, number)

        async with trio.open_nursery() as nursery:
            for number in range(connections):
                nursery.start_soon(one, number)
