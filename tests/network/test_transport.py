"""Listening, calling and authenticating on loopback."""

import socket

import pytest
import trio

from p2psync.engine.ports import Link, LinkBroken, LinkEnded
from p2psync.errors import (
    BadAddress,
    PeerNotExpected,
    PeerUnreachable,
    PortTaken,
    UnavailableError,
)
from p2psync.network.bytestream import ByteStream
from p2psync.network.config import TransportConfig
from p2psync.network.connection import upgrade_inbound
from p2psync.network.dial import os_reason
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import device_of_peer_id, device_of_seed, key_pair
from tests.network.rig import (
    CALLED_SEED,
    CALLER_SEED,
    LOOPBACK,
    STRANGER_SEED,
    hold,
    rig,
    until,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def echo(link: Link) -> None:
    try:
        while True:
            await link.send(await link.receive())
    except LinkEnded:
        return


async def test_a_link_carries_frames_and_shows_who_is_there() -> None:
    async with rig(accept=echo) as r:
        link = await r.caller.dial(r.called.device, r.called.addresses())
        await link.send(b"hello")
        assert await link.receive() == b"hello"
        assert link.device == device_of_peer_id(r.called.peer_id)
        assert link.remote_address == r.called.addresses()[0]
        await link.close()


async def test_what_is_sent_at_once_arrives_in_order_with_the_rest() -> None:
    frames = [bytes([number]) * (number * 300) for number in range(1, 40)]
    async with rig(accept=echo) as r:
        link = await r.caller.dial(r.called.device, r.called.addresses())
        for number, frame in enumerate(frames):
            if number % 2 or not link.send_now([frame]):
                await link.send(frame)
        assert [await link.receive() for _ in frames] == frames
        await link.close()


async def test_what_has_no_room_is_not_sent_at_once_nor_in_part() -> None:
    async with rig(accept=hold) as r:
        link = await r.caller.dial(r.called.device, r.called.addresses())
        frame = b"x" * 200_000
        sent = 0
        while link.send_now([frame, frame]):  # nobody reads: the window fills
            sent += 2
            assert sent < 1000
        assert sent > 0, "the first went out without waiting"
        await link.close()


@pytest.mark.parametrize("listen", ["/ip6/::1/tcp/0", "/ip6/::/tcp/0", "/ip4/0.0.0.0/tcp/0"])
async def test_ipv6_and_wildcards_listen_and_know_the_remote_address(listen: str) -> None:
    """Trap 15: the library knows no remote address on IPv6."""
    seen: list[str] = []

    async def note(link: Link) -> None:
        seen.append(link.remote_address)
        await hold(link)

    called = Libp2pTransport(CALLED_SEED, [listen], note)
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with called.open(), caller.open():
        addresses = called.addresses()
        host = addresses[-1].split("/")[2]
        assert host in ("127.0.0.1", "::1"), "loopback comes last"
        assert all(a.split("/")[2] not in ("0.0.0.0", "::") for a in addresses)
        await caller.dial(called.device, addresses[-1:])
        await until(lambda: bool(seen))
    assert seen[0].startswith(f"/ip{6 if ':' in host else 4}/{host}/tcp/")


async def test_a_taken_port_is_an_error_and_names_the_address() -> None:
    """Trap 13: with SO_REUSEPORT a second daemon would share the port in silence."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        transport = Libp2pTransport(CALLED_SEED, [LOOPBACK, address], hold)
        with pytest.raises(PortTaken) as caught:
            async with transport.open():
                pass
    assert address in caught.value.text


async def test_two_transports_cannot_share_a_port() -> None:
    async with rig() as r:
        second = Libp2pTransport(STRANGER_SEED, r.called.addresses(), hold)
        with pytest.raises(PortTaken):
            await second.run()


async def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(BadAddress):
        await Libp2pTransport(CALLED_SEED, ["/ip4/192.0.2.1/tcp/0"], hold).run()
    with pytest.raises(BadAddress):
        Libp2pTransport(CALLED_SEED, ["/ip4/127.0.0.1/udp/4001/quic-v1"], hold)


async def test_a_dead_first_address_does_not_matter() -> None:
    """Trap 7: all addresses are raced, and nothing remembers a failure."""
    async with rig(accept=echo) as r:
        silent = await trio.open_tcp_listeners(0, host="127.0.0.1")
        dead = [
            f"/ip4/127.0.0.1/tcp/{free_port()}",
            f"/ip4/127.0.0.1/tcp/{silent[0].socket.getsockname()[1]}",
            "/ip4/256.1.1.1/tcp/1",
        ]
        link = await r.caller.dial(r.called.device, [*dead, *r.called.addresses()])
        await link.send(b"x")
        assert await link.receive() == b"x"
        await silent[0].aclose()


async def test_the_next_address_is_tried_as_soon_as_one_fails() -> None:
    config = TransportConfig(stagger_seconds=60, dial_seconds=60)
    async with rig(config, accept=hold) as r:
        dead = f"/ip4/127.0.0.1/tcp/{free_port()}"
        with trio.fail_after(20):
            await (await r.caller.dial(r.called.device, [dead, *r.called.addresses()])).close()


async def test_one_call_makes_one_link_however_many_addresses_answer() -> None:
    links: list[Link] = []

    async def note(link: Link) -> None:
        links.append(link)
        await hold(link)

    called = Libp2pTransport(CALLED_SEED, [LOOPBACK, "/ip6/::1/tcp/0", LOOPBACK], note)
    caller = Libp2pTransport(CALLER_SEED, [], hold, config=TransportConfig(stagger_seconds=0))
    async with called.open(), caller.open():
        for number in range(1, 21):
            link = await caller.dial(called.device, called.addresses())
            await link.send(b"x")
            await link.close()
            await until(lambda: called.guard.established + called.guard.upgrading == 0)
            assert len(links) == number


async def test_closing_needs_no_help_from_the_program_on_the_other_side() -> None:
    async with rig(TransportConfig(close_seconds=60)) as r:
        link, other = await r.links()
        await link.send(b"last words")
        with trio.fail_after(20):
            await link.close()
        assert await other.receive() == b"last words"
        with pytest.raises(LinkEnded):
            await other.receive()


async def test_a_peer_that_takes_nothing_cannot_hold_up_closing() -> None:
    async with rig(TransportConfig(close_seconds=0.2)) as r:
        link, other = await r.links()
        with trio.move_on_after(0.3):
            while True:
                await link.send(bytes(1 << 20))
        with trio.fail_after(20):
            await link.close()
        with pytest.raises(LinkBroken):
            while True:
                await other.receive()


async def test_a_peer_that_comes_up_is_reached_at_the_next_call() -> None:
    """Trap 7: no negative cache."""
    port = free_port()
    address = f"/ip4/127.0.0.1/tcp/{port}"
    device = device_of_seed(CALLED_SEED)
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with caller.open():
        with pytest.raises(PeerUnreachable):
            await caller.dial(device, [address])
        async with Libp2pTransport(CALLED_SEED, [address], hold).open():
            await (await caller.dial(device, [address])).close()


async def test_an_unreachable_peer_is_told_with_each_address_and_cause() -> None:
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with caller.open():
        with pytest.raises(PeerUnreachable) as caught:
            await caller.dial(
                device_of_seed(CALLED_SEED), [f"/ip4/127.0.0.1/tcp/{free_port()}", "nonsense"]
            )
        assert isinstance(caught.value, UnavailableError)
        assert "connection refused" in caught.value.text
        assert "nonsense: it is no direct TCP multiaddr" in caught.value.text
        with pytest.raises(PeerUnreachable, match="no address"):
            await caller.dial(device_of_seed(CALLED_SEED), [])


async def test_a_silent_address_is_given_up_in_time() -> None:
    caller = Libp2pTransport(CALLER_SEED, [], hold, config=TransportConfig(dial_seconds=0.2))
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
    async with caller.open():
        with pytest.raises(PeerUnreachable, match="no answer in time"):
            await caller.dial(device_of_seed(CALLED_SEED), [address])
    await listener.aclose()


async def test_another_device_at_the_address_is_not_talked_to() -> None:
    links: list[Link] = []

    async def note(link: Link) -> None:
        links.append(link)

    async with rig(accept=note) as r:
        with pytest.raises(PeerNotExpected):
            await r.caller.dial(device_of_seed(STRANGER_SEED), r.called.addresses())
        named = [f"{a}/p2p/{r.called.peer_id}" for a in r.called.addresses()]
        with pytest.raises(PeerUnreachable, match="another device"):
            await r.caller.dial(device_of_seed(STRANGER_SEED), named)
        await (await r.caller.dial(r.called.device, named)).close()
        await until(lambda: len(links) == 1)
        assert links[0].device == r.caller.device


async def test_a_call_that_is_cancelled_leaves_nothing_behind() -> None:
    """Trap 5."""
    async with rig(accept=hold) as r:
        for delay in (0, 0.001, 0.002, 0.004, 0.006, 0.008):
            with trio.move_on_after(delay):
                link = await r.caller.dial(r.called.device, r.called.addresses())
                await link.abort()
        await until(lambda: r.called.guard.established + r.called.guard.upgrading == 0)
        await (await r.caller.dial(r.called.device, r.called.addresses())).close()


async def test_a_call_under_way_fails_when_the_transport_stops() -> None:
    asked, go_on = trio.Event(), trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        raw = ByteStream(stream)
        try:
            asked.set()
            await go_on.wait()
            await upgrade_inbound(raw, key_pair(CALLED_SEED))
            await trio.sleep_forever()
        finally:
            raw.close()

    async def call() -> None:
        with pytest.raises(PeerUnreachable, match="stopped"):
            await caller.dial(device_of_seed(CALLED_SEED), [address])
        nursery.cancel_scope.cancel()

    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    address = f"/ip4/127.0.0.1/tcp/{listener.socket.getsockname()[1]}"
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, slow, [listener])
            async with caller.open():
                nursery.start_soon(call)
                await asked.wait()
            go_on.set()


async def test_slots_end_with_their_connections() -> None:
    """Trap 3: the library refuses everybody after 250 inbound connections ever."""
    async with rig(accept=hold) as r:
        for number in range(310):
            link = await r.caller.dial(r.called.device, r.called.addresses())
            await (link.abort() if number % 2 else link.close())
        await until(lambda: r.called.guard.established == 0)
        assert r.called.guard.upgrading == 0


async def test_calling_each_other_at_once_gives_both_their_links() -> None:
    """Trap 14: the engine chooses between the two."""
    left = Libp2pTransport(CALLER_SEED, [LOOPBACK], echo)
    right = Libp2pTransport(CALLED_SEED, [LOOPBACK], echo)

    async def call(caller: Libp2pTransport, called: Libp2pTransport) -> None:
        link = await caller.dial(called.device, called.addresses())
        await link.send(b"x")
        assert await link.receive() == b"x"
        await link.close()

    async with left.open(), right.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, left, right)
            nursery.start_soon(call, right, left)
        await until(lambda: left.guard.established == right.guard.established == 0)


async def test_a_stopped_transport_cuts_its_links_and_can_run_again() -> None:
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    called = Libp2pTransport(CALLED_SEED, [LOOPBACK], hold)
    async with caller.open():
        for _ in range(2):
            async with called.open():
                link = await caller.dial(called.device, called.addresses())
            with pytest.raises(LinkBroken):
                await link.receive()
            assert called.addresses() == ()
    # Who calls may not have heard of it yet, and must not end over it.
    with pytest.raises(PeerUnreachable, match="this transport was stopped"):
        await caller.dial(called.device, [])


async def test_an_exception_in_the_block_comes_out_as_it_is() -> None:
    """Trap 16."""
    with pytest.raises(KeyError):
        async with Libp2pTransport(CALLED_SEED, [LOOPBACK], hold).open():
            raise KeyError("mine")


def test_a_reason_is_found_below_the_wrapping() -> None:
    wrapped = OSError("all attempts to connect failed")
    wrapped.__cause__ = ExceptionGroup("many", [ConnectionRefusedError(111, "Connection refused")])
    assert os_reason(wrapped) == "connection refused"
    assert os_reason(TimeoutError()) == "TimeoutError"
