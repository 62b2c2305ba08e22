"""B-NET-2: a relay that harms costs nobody a frame, a secret, or the way through an honest one."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import pytest
import trio
from trio.testing import MockClock

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken, LinkEnded
from p2psync.errors import PeerNotExpected, PeerUnreachable
from p2psync.network import access, circuit
from p2psync.network import circuits as keeping
from p2psync.network.circuit import Answer, Connect, Reservation, Status
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.link import PROTOCOL
from p2psync.network.stream import Stream
from tests.network.hostile_relay import TAMPERS, HostileRelay, answer, usual
from tests.network.virtual import Device, Net, circuits

SEEDS = 4
FRAMES = [f"posting {number} of Acme".encode() * (1 + number % 50) for number in range(60)]
MET_SECONDS = 45.0
"""Who passes on bytes that are no message is told from one that is slow only after a while."""
HANDSHAKE_BYTES = 600
"""About what goes each way before the first frame."""


@dataclass
class Talk:
    """What came of sending all frames over one link."""

    heard: list[bytes]
    ended: bool = False
    cause: str = ""


async def talk(ours: Link, theirs: Link) -> Talk:
    """Send all frames and end the link; what the other end hears until its end."""
    result = Talk([])

    async def send() -> None:
        try:
            for frame in FRAMES:
                await ours.send(frame)
            await ours.close()
        except LinkBroken:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        try:
            while True:
                result.heard.append(await theirs.receive())
        except LinkEnded:
            result.ended = True
        except LinkBroken as error:
            result.cause = str(error)
        nursery.cancel_scope.cancel()
    await theirs.abort()
    return result


@pytest.mark.parametrize("kind", TAMPERS)
@pytest.mark.parametrize("begin_bytes", [0, HANDSHAKE_BYTES, 3 * HANDSHAKE_BYTES])
async def test_b_net_2_what_a_relay_does_to_circuits_never_looks_like_what_was_sent(
    kind: str, begin_bytes: int, autojump_clock: MockClock
) -> None:
    """What is heard is the beginning of what was sent, and an end is one only after all of it."""
    for seed in range(SEEDS):
        net = Net()
        hostile = HostileRelay(seed, TAMPERS[kind], begin_bytes)
        async with (
            net.relay(1, hostile.serve) as relay,
            net.device(1) as one,
            net.device(2) as other,
            other.kept(relay.address),
        ):
            try:
                ours, theirs = await one.link_to(other, relay.address)
            except PeerUnreachable:
                continue
            said = await talk(ours, theirs)
            assert said.heard == FRAMES[: len(said.heard)]
            assert said.heard == FRAMES if said.ended else said.cause
            assert hostile.seen and b"posting" not in hostile.seen and b"Acme" not in hostile.seen


@pytest.mark.parametrize("kind", TAMPERS)
@pytest.mark.parametrize("begin_bytes", [0, 3 * HANDSHAKE_BYTES])
async def test_b_net_2_an_honest_relay_beside_it_carries_all(
    kind: str, begin_bytes: int, autojump_clock: MockClock
) -> None:
    """As a node does: who is cut calls again, and who is not heard is called another way."""
    net = Net()
    hostile = HostileRelay(1, TAMPERS[kind], begin_bytes)
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
        other.kept(bad.address, good.address),
    ):
        began = trio.current_time()
        both = circuits([bad.address, good.address])
        ways, calls, heard = both, 0, "nothing"
        while heard != "all":
            calls += 1
            link = await one.transport.dial(other.device, ways)
            heard = await carries(link, one, other)
            await link.abort()
            apart = [each for each in both if not each.endswith(link.remote_address)]
            ways = apart if heard == "nothing" else both
        assert trio.current_time() - began < MET_SECONDS
        assert calls <= 3


async def carries(link: Link, one: Device, other: Device) -> Literal["all", "nothing", "cut"]:
    """What comes of a link on which all frames are sent: it is not heard on it, or it is cut."""
    doubted = len(one.doubts)
    arrived: list[bytes] = []
    cut = trio.Event()

    async def receive() -> None:
        while True:
            theirs = await other.inbound.receive()
            try:
                while True:
                    arrived.append(await theirs.receive())
            except (LinkBroken, LinkEnded):
                cut.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        try:
            for frame in FRAMES:
                await link.send(frame)
            while arrived != FRAMES and len(one.doubts) == doubted and not cut.is_set():
                await trio.sleep(0.01)
        except LinkBroken:
            cut.set()
        nursery.cancel_scope.cancel()
    if arrived == FRAMES:
        return "all"
    return "cut" if cut.is_set() else "nothing"


# -- who meets whom ------------------------------------------------------------------------------


async def test_b_net_2_a_relay_that_connects_another_device_is_found_out(
    autojump_clock: MockClock,
) -> None:
    net = Net()
    hostile = HostileRelay()
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
        net.device(3) as third,
        other.kept(bad.address, good.address),
        third.kept(bad.address),
    ):
        hostile.target = third.device
        with pytest.raises(PeerNotExpected):
            await one.transport.dial(other.device, [bad.address.circuit])
        ours, theirs = await one.link_to(other, bad.address, good.address)
        assert (ours.device, theirs.device) == (other.device, one.device)
        assert third.inbound.statistics().current_buffer_used == 0


async def test_b_net_2_a_relay_that_names_another_caller_is_found_out(
    autojump_clock: MockClock,
) -> None:
    """It can say that a member calls; that one has to prove it, and nobody else can."""
    net = Net()
    hostile = HostileRelay()
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
        net.device(3) as third,
        other.kept(bad.address, good.address),
    ):
        hostile.source = third.device
        with pytest.raises(PeerUnreachable):
            await one.transport.dial(other.device, [bad.address.circuit])
        await trio.sleep(1)
        assert other.inbound.statistics().current_buffer_used == 0
        assert other.transport.guard.established == 0
        ours, theirs = await one.link_to(other, bad.address, good.address)
        assert theirs.device == one.device and ours.device == other.device


async def test_b_net_2_a_relay_that_calls_by_itself_is_a_stranger(
    autojump_clock: MockClock,
) -> None:
    """Nobody answers a relay in the place of a member, whatever it opens on its connection."""
    net = Net()
    hostile = HostileRelay()
    async with (
        net.relay(1, hostile.serve) as bad,
        net.device(1) as one,
        one.kept(bad.address),
    ):
        connection = hostile.devices[one.device]
        await connection.open_stream(PROTOCOL)
        with trio.fail_after(10):
            link = await one.inbound.receive()
        assert link.device == bad.device


# -- answers -------------------------------------------------------------------------------------


async def garbage(stream: Stream) -> None:
    await stream.write(b"\x40" + b"\xff" * 64)


async def endless(stream: Stream) -> None:
    await stream.write(b"\xff" * 100_000)


async def nothing(stream: Stream) -> None:
    await trio.sleep_forever()


async def a_question(stream: Stream) -> None:
    await circuit.write_message(stream, circuit.hop_bytes(circuit.Reserve()))


async def half(stream: Stream) -> None:
    await stream.write(b"\x20\x08")


async def an_end(stream: Stream) -> None:
    stream.end()


async def no_reservation(stream: Stream) -> None:
    await circuit.write_message(stream, circuit.hop_bytes(Answer(Status.OK)))


async def an_unknown_status(stream: Stream) -> None:
    await circuit.write_message(stream, circuit.hop_bytes(Answer(999_999_999)))


ANSWERS: list[Callable[[Stream], Awaitable[None]]] = [
    *(garbage, endless, nothing, a_question, half, an_end, no_reservation, an_unknown_status)
]


@pytest.mark.parametrize("say", ANSWERS, ids=lambda each: each.__name__)
async def test_b_net_2_a_relay_that_answers_badly_is_shown_as_such_and_harms_no_other(
    say: Callable[[Stream], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async def connect(_: HostileRelay, connection: Connection, stream: Stream, to: bytes) -> None:
        await say(stream)

    net = Net()
    hostile = HostileRelay(reserve=say, connect=connect)
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
        other.kept(good.address),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(other.transport.circuits.keep, [bad.address])
        await trio.sleep(60)
        states = {each.device: each for each in other.transport.circuits.states()}
        assert states[good.device].status == "reserved"
        assert states[bad.device].status in ("refused", "unreachable")
        assert states[bad.device].cause
        assert other.transport.addresses() == (good.address.circuit,)
        tried = len(net.calls)
        await trio.sleep(240)
        assert len(net.calls) - tried <= 30
        with pytest.raises(PeerUnreachable):
            await one.transport.dial(other.device, [bad.address.circuit])
        began = trio.current_time()
        await one.link_to(other, bad.address, good.address)
        assert trio.current_time() - began <= 1
        nursery.cancel_scope.cancel()


QUIET = TransportConfig(
    known=lambda _: True,
    keepalive_seconds=600,
    silence_seconds=1_800,
    idle_seconds=86_400,
)
"""Hours take less than a second so."""
NOW = int(time.time())
RESERVATIONS = {
    "in the past": Reservation(NOW - 10_000),
    "at the beginning": Reservation(0),
    "in 1,000 years": Reservation(NOW + 1_000 * 366 * 86_400),
    "at the end of all numbers": Reservation((1 << 64) - 1),
    "with all addresses that fit": Reservation(NOW + 3600, (b"\x04\x7f\0\0\1\x06\x0f\xa1",) * 380),
    "with a voucher that is none": Reservation(NOW + 3600, (), b"\xff" * 3_000),
}


@pytest.mark.parametrize("name", RESERVATIONS)
async def test_b_net_2_an_absurd_reservation_is_asked_for_anew_neither_all_the_time_nor_never(
    name: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A day takes long also on a clock that jumps: an hour stands for it.
    monkeypatch.setattr(keeping, "RESERVATION_SECONDS_MAX", 3_600)
    asked: list[float] = []

    async def reserve(stream: Stream) -> None:
        asked.append(trio.current_time())
        await answer(stream, RESERVATIONS[name])

    net = Net()
    hostile = HostileRelay(reserve=reserve)
    async with (
        net.relay(1, hostile.serve, QUIET) as bad,
        net.device(1, QUIET) as one,
        one.kept(bad.address),
    ):
        assert one.transport.addresses() == (bad.address.circuit,), "nothing but our own words"
        await trio.sleep(3_601)
        assert one.states() == ["reserved"]
        assert 2 <= len(asked) <= 2 + 3_600 / 30


async def test_b_net_2_a_relay_that_grants_and_cuts_is_tried_ever_more_seldom(
    autojump_clock: MockClock,
) -> None:
    async def reserve(stream: Stream) -> None:
        await answer(stream, usual())
        for connection in hostile.devices.values():
            connection.abort()

    net = Net()
    hostile = HostileRelay(reserve=reserve)
    async with (
        net.relay(1, hostile.serve) as bad,
        net.device(1) as one,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.transport.circuits.keep, [bad.address])
        await trio.sleep(600)
        assert len(net.calls) <= 60
        nursery.cancel_scope.cancel()


# -- much ----------------------------------------------------------------------------------------


async def test_b_net_2_endless_calls_of_a_relay_hold_little_and_keep_out_nobody(
    autojump_clock: MockClock,
) -> None:
    """It opens calls and fills each as far as it may, for ever; an honest relay's calls come in."""
    net = Net(way_seconds=0.02)
    hostile = HostileRelay()
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
        other.kept(bad.address, good.address),
        trio.open_nursery() as nursery,
    ):
        most_bytes = most_upgrading = opened = 0

        async def call(connection: Connection, number: int) -> None:
            # It says that the member calls, who is to be let in before others.
            said = one.device if number % 2 else number.to_bytes(32, "big")
            try:
                stream = await connection.open_stream(circuit.STOP)
                await circuit.write_message(stream, circuit.stop_bytes(Connect(said)))
                if number % 4 == 0:
                    while True:
                        await stream.write(b"\xff" * 65_536)
                await stream.wait_end()
            except LinkBroken:
                pass

        async def flood() -> None:
            nonlocal opened
            while True:
                connection = hostile.devices[other.device]
                if connection.ended.is_set():
                    await trio.sleep(0.05)
                    continue
                opened += 1
                nursery.start_soon(call, connection, opened)
                await trio.sleep(0.01)

        async def watch() -> None:
            nonlocal most_bytes, most_upgrading
            while True:
                for connection in other.transport.circuits._connections.values():
                    held = sum(len(each.inbox) for each in connection._muxer.streams.values())
                    most_bytes = max(most_bytes, held)
                most_upgrading = max(most_upgrading, other.transport.guard.upgrading)
                await trio.sleep(0.05)

        nursery.start_soon(flood)
        nursery.start_soon(watch)
        for _ in range(4):
            ours, theirs = await one.link_to(other, good.address)
            await ours.send(b"still")
            assert await theirs.receive() == b"still"
            await ours.abort()
            await theirs.abort()
            await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert opened >= 200
    assert most_upgrading <= limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX + 2
    assert most_bytes <= limits.CIRCUITS_INBOUND_MAX * limits.LINK_WINDOW_START_BYTES


async def test_b_net_2_a_relay_is_shown_its_own_token_and_no_other(
    autojump_clock: MockClock,
) -> None:
    shown: dict[bytes, list[access.Shown]] = {}

    def asking(relay: bytes) -> Callable[[Connection, Stream], Awaitable[None]]:
        async def serve(connection: Connection, stream: Stream) -> None:
            shown.setdefault(relay, []).append(await access.asked(stream))
            await access.answer(stream, access.Access.GRANTED)

        return serve

    net = Net()
    hostile = HostileRelay()
    async with (
        net.relay(1, hostile.serve) as bad,
        net.relay(2) as good,
        net.device(1) as one,
        net.device(2) as other,
    ):
        for relay in (bad, good):
            relay.transport.handle(access.PROTOCOL, asking(relay.device))
        tokens = ("2KSovvHostile", "7MqRsTHonest")
        addresses = [
            type(relay.address)(relay.place, relay.device, token)
            for relay, token in zip((bad, good), tokens, strict=True)
        ]
        async with one.kept(*addresses), other.kept(*addresses):
            await one.link_to(other, addresses[0])
            await one.link_to(other, addresses[1])
            told = "".join((*one.transport.addresses(), *other.transport.addresses()))
        assert {each.token for each in shown[bad.device]} == {tokens[0].encode()}
        assert {each.token for each in shown[good.device]} == {tokens[1].encode()}
        assert tokens[1].encode() not in hostile.seen
        assert not any(token in told for token in tokens)
