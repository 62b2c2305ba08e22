"""Hole punching: its messages, the port that calls leave from, and the whole way on loopback.

What NATs make of it is tests/e2e/test_nat.py.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from libp2p.relay.circuit_v2.pb.dcutr_pb2 import HolePunch

from p2psync import limits
from p2psync.engine.ports import Link, LinkBroken
from p2psync.errors import PortTaken
from p2psync.network import dcutr
from p2psync.network.address import TcpAddress, parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.dcutr import Connect, Sync
from p2psync.network.host import Libp2pTransport
from p2psync.network.link import PUNCHED
from p2psync.network.multiaddr import tcp_bytes
from p2psync.network.portreuse import connect_from, connect_shared, source_for
from tests.network.rig import LOOPBACK, hold, seed_of, until
from tests.relay.rig import RELAY_CONFIG, House, house

CALLING_BACK = replace(RELAY_CONFIG, public=lambda _: True)
"""A relay to which loopback is as good as any address."""
ADDRESSES = st.lists(
    st.builds(
        TcpAddress,
        st.just("ip4"),
        st.ip_addresses(v=4).map(str),
        st.integers(1, 0xFFFF),
    ),
    max_size=limits.PUNCH_ADDRESSES_MAX,
    unique=True,
).map(tuple)


# -- messages ------------------------------------------------------------------------------------


@given(st.one_of(ADDRESSES.map(Connect), st.just(Sync())))
def test_messages_come_back_as_they_went(message: Connect | Sync) -> None:
    assert dcutr.decode(dcutr.encode(message)) == message


@given(ADDRESSES)
def test_messages_are_those_of_libp2p(addresses: tuple[TcpAddress, ...]) -> None:
    theirs = HolePunch(type=HolePunch.CONNECT, ObsAddrs=[tcp_bytes(each) for each in addresses])
    assert dcutr.encode(Connect(addresses)) == theirs.SerializeToString()
    assert dcutr.encode(Sync()) == HolePunch(type=HolePunch.SYNC).SerializeToString()


@given(st.binary(max_size=200))
def test_what_is_no_message_is_a_broken_link_and_nothing_else(data: bytes) -> None:
    try:
        message = dcutr.decode(data)
    except LinkBroken:
        return
    assert isinstance(message, Connect | Sync)


def test_only_so_many_addresses_of_ip_and_port_are_heard() -> None:
    many = [TcpAddress("ip4", f"203.0.113.{number}", 4001) for number in range(1, 100)]
    useless = [b"\x00", tcp_bytes(TcpAddress("dns4", "example.org", 1))]
    useless += [tcp_bytes(TcpAddress("ip4", "203.0.113.200", 0))]
    told = HolePunch(
        type=HolePunch.CONNECT, ObsAddrs=[*useless, *(tcp_bytes(each) for each in many)]
    )
    heard = dcutr.decode(told.SerializeToString())
    assert heard == Connect(tuple(many[: limits.PUNCH_ADDRESSES_MAX]))


# -- the port ------------------------------------------------------------------------------------


async def test_a_call_leaves_from_the_listening_port_and_a_second_node_still_finds_it_taken() -> (
    None
):
    """network.md trap 13."""
    one = Libp2pTransport(seed_of(1), [LOOPBACK], hold)
    other = Libp2pTransport(seed_of(2), [LOOPBACK], hold)
    async with one.open(), other.open():
        own = parse_address(one.addresses()[0])
        target = parse_address(other.addresses()[0])
        assert source_for(target, one.listening) == own
        async with await connect_from(own, target) as stream:
            assert stream.socket.getsockname()[1] == own.port
            second = Libp2pTransport(seed_of(3), [str(own)], hold)
            with pytest.raises(PortTaken):
                async with second.open():
                    pass
    again = Libp2pTransport(seed_of(1), [str(own)], hold)
    async with again.open():
        assert again.addresses() == (str(own),)


async def test_a_relay_that_is_known_by_name_is_called_from_the_listening_port_too() -> None:
    one = Libp2pTransport(seed_of(1), [LOOPBACK], hold)
    other = Libp2pTransport(seed_of(2), [LOOPBACK], hold)
    async with one.open(), other.open():
        named = TcpAddress("dns4", "localhost", other.listening[0].port)
        async with await connect_shared(named, one.listening) as stream:
            assert stream.socket.getsockname()[1] == one.listening[0].port
    with pytest.raises(OSError):
        await connect_shared(TcpAddress("ip4", "127.0.0.1", 1), [])


async def test_loopback_does_not_call_outside() -> None:
    listening = [TcpAddress("ip4", "127.0.0.1", 4001)]
    assert source_for(TcpAddress("ip4", "203.0.113.1", 1), listening) is None
    assert source_for(TcpAddress("ip6", "::1", 1), listening) is None
    everywhere = [TcpAddress("ip4", "0.0.0.0", 4001)]
    assert source_for(TcpAddress("ip4", "203.0.113.1", 1), everywhere) == everywhere[0]


# -- the whole way -------------------------------------------------------------------------------


@dataclass
class Peer:
    """A device with a reservation that listens, too."""

    transport: Libp2pTransport
    links: trio.MemoryReceiveChannel[Link]

    async def link(self) -> Link:
        with trio.fail_after(20):
            return await self.links.receive()


QUICK = TransportConfig(
    known=lambda _: True,
    public=lambda _: True,
    punch_after_seconds=0.01,
    punch_again_seconds=0.2,
    punch_seconds=3.0,
)


@asynccontextmanager
async def peer(number: int, relay: House, config: TransportConfig = QUICK) -> AsyncIterator[Peer]:
    give, take = trio.open_memory_channel[Link](64)

    async def accept(link: Link) -> None:
        await give.send(link)
        await trio.sleep_forever()

    transport = Libp2pTransport(seed_of(number), [LOOPBACK], accept, config=config)
    async with transport.open(), trio.open_nursery() as nursery:
        nursery.start_soon(transport.circuits.keep, [relay.address])
        await until(lambda: [each.status for each in transport.circuits.states()] == ["reserved"])
        yield Peer(transport, take)
        nursery.cancel_scope.cancel()


async def called_through_the_relay(caller: Peer, called: Peer) -> tuple[Link, Link]:
    link = await caller.transport.dial(
        called.transport.device, called.transport.circuits.addresses()
    )
    return link, await called.link()


async def test_a_relayed_link_leads_to_a_direct_one() -> None:
    async with (
        house(config=RELAY_CONFIG) as relay,
        peer(1, relay) as caller,
        peer(2, relay) as called,
    ):
        await until(lambda: bool(called.transport.reaching.candidates()))
        await until(lambda: bool(caller.transport.reaching.candidates()))
        relayed, _ = await called_through_the_relay(caller, called)
        assert relayed.remote_address.endswith("/p2p-circuit")
        new, answered = await caller.link(), await called.link()
        assert (new.direction, answered.direction) == ("outbound", "inbound")
        assert new.device == called.transport.device
        assert answered.device == caller.transport.device
        assert new.remote_address.endswith(PUNCHED)
        await new.send(b"directly")
        assert await answered.receive() == b"directly"
        await relayed.send(b"still there until the engine closes it")


async def test_the_relay_says_where_it_sees_us_and_that_it_can_call() -> None:
    async with house(config=CALLING_BACK) as relay, peer(1, relay) as one:
        reaching = one.transport.reaching
        await until(lambda: reaching.reach() == "public")
        assert [str(each) for each in reaching.candidates()] == list(
            one.transport.direct_addresses()
        )


async def test_in_another_network_the_relay_is_asked_anew_and_members_are_told() -> None:
    async with house(config=CALLING_BACK) as relay, peer(1, relay) as one:
        reaching = one.transport.reaching
        told: list[tuple[str, ...]] = []
        reaching.told_changed = lambda: told.append(reaching.told())
        await until(lambda: reaching.reach() == "public")
        reaching.outside.mapped = (TcpAddress("ip4", "203.0.113.9", 4001),)
        reaching.moved()
        assert reaching.reach() == "unknown"
        assert told[-1] == ("/ip4/203.0.113.9/tcp/4001",)
        await until(lambda: reaching.reach() == "public")
        reaching.moved()
        assert reaching.reach() == "unknown"
        await until(lambda: reaching.reach() == "public")


async def test_strangers_are_not_told_where_we_are() -> None:
    stranger = TransportConfig(
        known=lambda device: False, public=lambda _: True, punch_after_seconds=0.01
    )
    async with (
        house(config=RELAY_CONFIG) as relay,
        peer(1, relay) as caller,
        peer(2, relay, stranger) as called,
    ):
        relayed, _ = await called_through_the_relay(caller, called)
        connection = relayed._connection  # type: ignore[attr-defined]  # the test leads itself
        with pytest.raises(LinkBroken):
            stream = await connection.open_stream(dcutr.PROTOCOL)
            await dcutr.initiate(stream, lambda: (), _no_punch)
        with trio.move_on_after(0.3):
            await called.link()
            raise AssertionError("a stranger was led to a direct link")


async def test_a_member_that_leads_many_times_at_once_leaves_room_for_others() -> None:
    async with (
        house(config=RELAY_CONFIG) as relay,
        peer(1, relay) as caller,
        peer(2, relay, replace(QUICK, punch_after_seconds=60)) as called,
    ):
        _, answered = await called_through_the_relay(caller, called)
        back = answered._connection  # type: ignore[attr-defined]  # the test leads itself
        first = await back.open_stream(dcutr.PROTOCOL)
        await until(lambda: caller.transport.reaching._room.borrowed_tokens == 1)
        with pytest.raises(LinkBroken):
            second = await back.open_stream(dcutr.PROTOCOL)
            await dcutr.initiate(second, lambda: (), _no_punch)
        assert caller.transport.reaching._room.borrowed_tokens == 1
        first.reset()
        await until(lambda: caller.transport.reaching._room.borrowed_tokens == 0)
        assert not caller.transport.reaching._followed


async def _no_punch(addresses: object) -> bool:
    return False


async def test_private_addresses_of_others_are_not_called() -> None:
    """A member cannot have us knock at doors of our own office."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        door.setblocking(False)
        careful = TransportConfig(known=lambda _: True)
        transport = Libp2pTransport(seed_of(1), [LOOPBACK], hold, config=careful)
        async with transport.open():
            target = TcpAddress("ip4", "127.0.0.1", door.getsockname()[1])
            assert not await transport.reaching._punch(seed_of(9), [target], client=True)
        with pytest.raises(BlockingIOError):
            door.accept()
