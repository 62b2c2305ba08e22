"""B-NET-2: strangers and attackers who call members through an honest relay."""

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import P2PSyncError
from p2psync.network import circuit, noise
from p2psync.network.circuit import Answer, Connect, Status
from p2psync.network.config import TransportConfig
from p2psync.network.connection import upgrade_outbound
from p2psync.network.identity import key_pair
from p2psync.network.negotiation import propose
from p2psync.network.relayed import StreamChannel
from tests.network.virtual import Device, Middle, Net

CALLS = 1_000
CROWD = 8


async def call(caller: Device, relay: Middle, called: Device) -> StreamChannel:
    """A bare circuit, on which anything may be sent; raises ``LinkBroken``."""
    connection = await caller.transport.circuits.connection(relay.place, relay.device)
    stream = await connection.open_stream(circuit.HOP)
    await circuit.write_message(stream, circuit.hop_bytes(Connect(called.device)))
    answer = circuit.read_hop(await circuit.read_message(stream))
    assert isinstance(answer, Answer)
    if answer.status != Status.OK:
        stream.reset()
        raise LinkBroken(f"refused with {answer.status}")
    return StreamChannel(stream)


async def works(one: Device, other: Device, relay: Middle) -> None:
    """A member calls another, and is heard."""
    with trio.fail_after(20):
        while True:
            try:
                ours, theirs = await one.link_to(other, relay.address)
                break
            except P2PSyncError:
                await trio.sleep(1)  # as a node does: the next try follows by itself
    await ours.send(b"still")
    assert await theirs.receive() == b"still"
    await ours.abort()
    await theirs.abort()


def knowing(*members: int) -> TransportConfig:
    """What a device is told that shares a mandate with these."""
    known = {f"device {number}".encode() for number in members}
    keys = {key_pair(each.ljust(limits.RELAY_TOKEN_BYTES_MAX // 2, b".")).public for each in known}
    return TransportConfig(known=lambda device: device in keys)


async def test_b_net_2_1000_calls_of_strangers_through_a_relay_leave_nothing_behind(
    autojump_clock: MockClock,
) -> None:
    net = Net()
    async with (
        net.relay() as relay,
        net.device(1, knowing(2)) as member,
        net.device(2, knowing(1)) as called,
        net.device(3) as stranger,
        called.kept(relay.address),
    ):
        met = 0
        for number in range(CALLS):
            if number % 20:
                (await call(stranger, relay, called)).close()
                continue
            link = await stranger.transport.dial(called.device, [relay.address.circuit])
            met += 1
            await link.abort()
        assert met == CALLS // 20
        await trio.sleep(2)
        assert called.transport.guard.established == called.transport.guard.upgrading == 0
        assert relay.relay.circuits == 0
        assert called.states() == ["reserved"]
        await works(member, called, relay)


async def test_b_net_2_silent_callers_of_a_relay_keep_out_no_member(
    autojump_clock: MockClock,
) -> None:
    """They hold their circuits without a word, and call again as soon as they are sent away."""
    net = Net(way_seconds=0.02)
    async with (
        net.relay() as relay,
        net.device(1, knowing(2)) as member,
        net.device(2, knowing(1)) as called,
        called.kept(relay.address),
        trio.open_nursery() as nursery,
    ):
        calls = 0

        async def silent(number: int) -> None:
            nonlocal calls
            async with net.device(100 + number) as stranger:
                while True:
                    try:
                        raw = await call(stranger, relay, called)
                        calls += 1
                        await raw.readable()
                    except LinkBroken:
                        pass
                    await trio.sleep(0.3)

        # Each may have a few circuits to one device; together they stay below what it takes.
        for number in range(CROWD):
            for _ in range(3):
                nursery.start_soon(partial(silent, number))
        await trio.sleep(1)
        for _ in range(2):
            await works(member, called, relay)
            await trio.sleep(1)
        assert called.transport.guard.upgrading <= limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX
        assert called.states() == ["reserved"]
        assert calls >= 30
        nursery.cancel_scope.cancel()


async def test_b_net_2_who_calls_with_another_key_than_the_relay_saw_is_cut(
    autojump_clock: MockClock,
) -> None:
    """It proves a key in the handshake, but not the one of the connection to the relay."""
    net = Net()
    async with (
        net.relay() as relay,
        net.device(1, knowing(2)) as member,
        net.device(2, knowing(1)) as called,
        net.device(3) as stranger,
        called.kept(relay.address),
    ):
        for seed in (b"another".ljust(32, b"."), b"\0" * 32):
            raw = await call(stranger, relay, called)
            with pytest.raises(LinkBroken):
                session = await upgrade_outbound(raw, key_pair(seed), called.device)
                while await session.receive():
                    pass
                raise LinkBroken("cut")
        assert called.inbound.statistics().current_buffer_used == 0
        await works(member, called, relay)


@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 70_000, bytes(range(256)) * 20])
async def test_b_net_2_a_handshake_that_is_none_ends_and_does_no_harm(
    junk: bytes, autojump_clock: MockClock
) -> None:
    net = Net()
    async with (
        net.relay() as relay,
        net.device(1, knowing(2)) as member,
        net.device(2, knowing(1)) as called,
        net.device(3) as stranger,
        called.kept(relay.address),
    ):
        for agree in (False, True):
            raw = await call(stranger, relay, called)
            if agree:
                await propose(raw, noise.PROTOCOL)
            with pytest.raises(LinkBroken), trio.fail_after(15):
                await raw.send(junk)
                raw.end()
                while True:
                    await raw.read_exactly(1)
        await trio.sleep(10)
        assert called.transport.guard.upgrading == 0
        await works(member, called, relay)
