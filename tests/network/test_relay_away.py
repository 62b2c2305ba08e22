"""B-NET-2: a relay that is gone for minutes or hours, on a clock that jumps."""

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from p2psync.engine.desk import Desk
from p2psync.engine.effects import Dial
from p2psync.engine.peering import BACKOFF_SECONDS_MAX as DIAL_BACKOFF_SECONDS_MAX
from p2psync.engine.peering import Peering
from p2psync.engine.ports import LinkBroken
from p2psync.errors import PeerUnreachable
from p2psync.network import circuits as keeping
from p2psync.network.config import TransportConfig
from p2psync.network.identity import device_of_seed, peer_id_text
from tests.network.virtual import Device, Net

USUAL = TransportConfig()
RELAY = peer_id_text(device_of_seed(b"r" * 32))
CIRCUIT = f"/ip4/10.0.0.1/tcp/4001/p2p/{RELAY}/p2p-circuit"
NOTICED_SECONDS = USUAL.silence_seconds + USUAL.keepalive_seconds
TRIED_SECONDS = USUAL.dial_seconds + keeping.BACKOFF_SECONDS_MAX * (1 + keeping.BACKOFF_SHARE)
"""From one try to the next at most, when packets are lost."""


async def reserved(*devices: Device) -> None:
    while any(device.states() != ["reserved"] for device in devices):
        await trio.sleep(0.05)


async def away(device: Device) -> None:
    while device.states() != ["unreachable"]:
        await trio.sleep(0.05)


async def seconds_until_reserved(net: Net, device: Device, stays: float = 0.0) -> float:
    """How long a relay that comes now waits for a device; then it goes."""
    began = trio.current_time()
    async with net.relay():
        await reserved(device)
        waited = trio.current_time() - began
        await trio.sleep(stays)
    return waited


@pytest.mark.parametrize("seconds", [20, 600, 3600], ids=["20 s", "10 min", "1 h"])
async def test_b_net_2_a_relay_is_dark_and_comes_back(
    autojump_clock: MockClock, seconds: int
) -> None:
    """The cause is shown all the time, the waits stay short, and it goes on by itself."""
    net = Net()
    async with (
        net.relay() as relay,
        net.device(1) as one,
        net.device(2) as other,
        one.kept(relay.address),
        other.kept(relay.address),
    ):
        ours, theirs = await one.link_to(other, relay.address)
        await ours.send(b"before")
        assert await theirs.receive() == b"before"
        net.dark.add(relay.place)
        net.calls.clear()
        dark_at = trio.current_time()
        await ours.send(b"lost")
        for link in (ours, theirs):
            with pytest.raises(LinkBroken):
                await link.receive()
        assert trio.current_time() - dark_at <= NOTICED_SECONDS
        await trio.sleep_until(dark_at + NOTICED_SECONDS)
        assert other.transport.addresses() == () == one.transport.addresses()
        gone_at = trio.current_time()
        while trio.current_time() < dark_at + seconds:
            for device in (one, other):
                (state,) = device.transport.circuits.states()
                assert state.status == "unreachable"
                assert state.since <= gone_at
                assert state.cause in ("the connection to it was lost", "no answer in time")
            await trio.sleep(seconds / 20)
        with pytest.raises(PeerUnreachable, match="no answer in time"):
            await one.transport.dial(other.device, [relay.address.circuit])
        # The waits have grown: nobody floods a network that does not work.
        few = 3 + 2 * seconds / keeping.BACKOFF_SECONDS_MAX
        assert len(net.calls) <= few
        net.lighten(relay.place)
        light_at = trio.current_time()
        await reserved(one, other)
        assert trio.current_time() - light_at <= TRIED_SECONDS
        ours, theirs = await one.link_to(other, relay.address)
        await ours.send(b"after")
        assert await theirs.receive() == b"after"


async def test_b_net_2_a_relay_that_is_only_kept_open_is_asked_seldom_until_it_is_needed(
    autojump_clock: MockClock,
) -> None:
    """A thousand devices wait at a relay for a call; who calls learns soon that it is away."""
    net = Net()
    async with (
        net.relay() as relay,
        net.device(1) as one,
        net.device(2) as other,
        one.kept(relay.address),
        other.kept(relay.address),
    ):
        await reserved(one, other)
        await trio.sleep(1000)
        assert one.states() == other.states() == ["reserved"]
        net.dark.add(relay.place)
        dark_at = trio.current_time()
        with pytest.raises(PeerUnreachable):
            await one.transport.dial(other.device, [relay.address.circuit])
        await trio.sleep_until(dark_at + NOTICED_SECONDS)
        assert one.states() == ["unreachable"]
        await trio.sleep_until(dark_at + USUAL.rest_silence_seconds + USUAL.rest_keepalive_seconds)
        assert other.states() == ["unreachable"]


async def test_b_net_2_who_reaches_the_relay_again_first_wakes_the_keeper(
    autojump_clock: MockClock,
) -> None:
    net = Net()
    async with net.device(1) as one, trio.open_nursery() as nursery:
        async with net.relay() as relay, net.device(2) as other, other.kept(relay.address):
            nursery.start_soon(one.transport.circuits.keep, [relay.address])
            await reserved(one)
        await trio.sleep(300)
        assert one.states() == ["unreachable"]
        async with net.relay() as relay:
            tried = len(net.calls)
            with pytest.raises(PeerUnreachable, match="the device is not there"):
                await one.transport.dial(other.device, [relay.address.circuit])
            await trio.sleep(0.1)
            assert one.states() == ["reserved"]
            assert len(net.calls) == tried + 1, "one connection to the relay serves both"
        nursery.cancel_scope.cancel()


async def test_b_net_2_the_relay_restarts_again_and_again(autojump_clock: MockClock) -> None:
    """A relay that lets in and cuts at once is tried ever more seldom; a steady one is not."""
    net = Net()
    async with net.device(1) as one, trio.open_nursery() as nursery:
        async with net.relay() as relay:
            nursery.start_soon(one.transport.circuits.keep, [relay.address])
            await reserved(one)
        waits = []
        for _ in range(4):
            await away(one)
            waits.append(await seconds_until_reserved(net, one))
        assert waits == sorted(waits) and waits[0] < 2 < 4 < waits[-1]
        await away(one)
        await seconds_until_reserved(net, one, stays=2 * keeping.STEADY_SECONDS)
        await away(one)
        assert await seconds_until_reserved(net, one) < 2
        nursery.cancel_scope.cancel()


async def test_b_net_2_of_two_relays_one_is_dark_and_the_other_takes_over(
    autojump_clock: MockClock,
) -> None:
    """Long before the silence is taken for the end, who saves is told to look for another way."""
    net = Net()
    async with (
        net.relay(1) as first,
        net.relay(2) as second,
        net.device(1) as one,
        net.device(2) as other,
        one.kept(first.address, second.address),
        other.kept(first.address, second.address),
    ):
        ours, _ = await one.link_to(other, first.address)
        await trio.sleep(60)
        assert not one.doubts and not other.doubts, "nobody is doubted who has nothing to say"
        net.dark.add(first.place)
        saved_at = trio.current_time()
        await ours.send(b"a save")
        while not one.doubts:
            await trio.sleep(0.01)
        ((doubted_at, device, address),) = one.doubts
        assert doubted_at - saved_at <= 2 * USUAL.doubt_seconds
        assert (device, address) == (other.device, ours.remote_address)
        ways = [first.address.circuit, second.address.circuit]
        others = [each for each in ways if not each.endswith(address)]
        assert others == [second.address.circuit]
        link = await one.transport.dial(other.device, others)
        await link.send(b"a save")
        arrived = await other.inbound.receive()
        assert await arrived.receive() == b"a save"
        assert trio.current_time() - saved_at <= 2 * USUAL.doubt_seconds


async def test_b_net_2_a_call_through_two_relays_does_not_wait_for_the_dark_one(
    autojump_clock: MockClock,
) -> None:
    net = Net()
    async with (
        net.relay(1) as first,
        net.relay(2) as second,
        net.device(1) as one,
        net.device(2) as other,
        one.kept(first.address, second.address),
        other.kept(first.address, second.address),
    ):
        net.dark.add(first.place)
        began = trio.current_time()
        ours, _ = await one.link_to(other, first.address, second.address)
        assert ours.remote_address in second.address.circuit
        assert trio.current_time() - began < 1


def test_b_net_2_a_member_that_is_away_for_ten_minutes_is_called_again_and_again() -> None:
    """Each call takes the whole time that it may; none is given up, and they do not pile up."""
    desk = Desk(lambda count: bytes(count))
    peering = Peering(b"\x01" * 32, desk)
    member = b"\x02" * 32
    desk.begin(0.0, 0)
    peering.sighted(member, [CIRCUIT])
    peering.want([member])
    now, calls = 0.0, []
    while now < 600:
        key = desk.timers.due(now)
        if key is None:
            upcoming = desk.timers.next()
            assert upcoming is not None, "it is given up"
            now = upcoming
            desk.begin(now, 0)
            continue
        peering.dial_due(member)
        (dial,) = desk.finish()
        assert isinstance(dial, Dial)
        calls.append(now)
        now += USUAL.dial_seconds
        desk.begin(now, 0)
        peering.dial_failed(member)
    gaps = [later - earlier for earlier, later in pairwise(calls)]
    assert 8 <= len(calls) <= 40
    assert max(gaps) <= USUAL.dial_seconds + 1.25 * DIAL_BACKOFF_SECONDS_MAX
    # The relay is reached again: the node says so, and nobody waits for the end of the wait.
    desk.begin(now, 0)
    peering.sighted(member, [CIRCUIT], present=True)
    assert desk.timers.next() == now
