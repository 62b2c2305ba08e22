"""B-NET-2: two devices that cannot reach one another meet through a relay."""

from dataclasses import replace

import pytest
import trio

from p2psync.engine.ports import LinkBroken, LinkEnded
from p2psync.errors import PeerNotExpected, PeerUnreachable
from p2psync.network import access
from p2psync.network.circuit import Limit
from p2psync.network.connection import Connection
from p2psync.network.stream import Stream
from tests.network.rig import until
from tests.relay.rig import RELAY_CONFIG, Rules, client, house, linked, meeting

LARGE = [bytes([number]) * 1_000_000 for number in range(20)]


async def test_b_net_2_frames_go_both_ways_through_the_relay() -> None:
    async with meeting() as (relay, caller, called):
        ours, theirs = await linked(caller, called)
        assert (ours.device, theirs.device) == (called.device, caller.device)
        assert ours.remote_address == theirs.remote_address
        assert ours.remote_address.endswith("/p2p-circuit")
        await ours.send(b"there")
        await theirs.send(b"and back")
        assert await theirs.receive() == b"there"
        assert await ours.receive() == b"and back"
        assert relay.relay.circuits == 1


async def test_b_net_2_much_goes_through_and_the_end_is_clean() -> None:
    async with meeting() as (relay, caller, called):
        ours, theirs = await linked(caller, called)
        async with trio.open_nursery() as nursery:

            async def send_all() -> None:
                for frame in LARGE:
                    await ours.send(frame)
                await ours.close()

            nursery.start_soon(send_all)
            for frame in LARGE:
                assert await theirs.receive() == frame
            with pytest.raises(LinkEnded):
                await theirs.receive()
            await theirs.close()
        await until(lambda: relay.relay.circuits == 0)
        assert relay.rules.carried_bytes > sum(map(len, LARGE))


async def test_what_the_relay_carries_does_not_show_what_was_sent() -> None:
    async with meeting() as (_, caller, called):
        ours, theirs = await linked(caller, called)
        seen: list[bytes] = []
        (connection,) = called.transport.circuits._connections.values()
        feed = connection._muxer.feed

        def watched(data: bytes) -> None:
            seen.append(bytes(data))
            feed(data)

        connection._muxer.feed = watched  # type: ignore[method-assign]
        await ours.send(b"Atelier Exemple, 12 postings")
        assert await theirs.receive() == b"Atelier Exemple, 12 postings"
        assert seen and not any(b"Exemple" in each for each in seen)


async def test_a_device_without_a_reservation_is_not_called() -> None:
    async with house() as relay, client(1) as caller, client(2) as called:
        with pytest.raises(PeerUnreachable, match="the device is not there"):
            await caller.transport.dial(called.device, [relay.address.circuit])


async def test_another_device_than_the_one_that_is_called_is_not_linked() -> None:
    async with meeting() as (relay, caller, called), client(3) as other:
        # The relay is made to pass the call on to somebody else.
        relay.relay.reserved[other.device] = relay.relay.reserved[called.device]
        with pytest.raises(PeerNotExpected):
            await caller.transport.dial(other.device, [relay.address.circuit])


async def test_strangers_neither_reserve_nor_call() -> None:
    async with meeting() as (relay, _, called), client(3) as stranger:
        relay.rules.strangers.add(stranger.device)
        async with trio.open_nursery() as nursery:
            keep = stranger.transport.circuits.keep
            nursery.start_soon(keep, [relay.address])
            await stranger.status("refused")
            (state,) = stranger.transport.circuits.states()
            assert state.cause == "the relay: it does not let this device in"
            with pytest.raises(PeerUnreachable, match="does not let this device in"):
                await stranger.transport.dial(called.device, [relay.address.circuit])
            nursery.cancel_scope.cancel()
        assert set(relay.relay.reserved) == {called.device}


@pytest.mark.parametrize("rules", [Rules(limits=Limit(0, 3_000_000)), Rules(quota_bytes=3_000_000)])
async def test_a_circuit_that_carried_enough_is_cut_and_never_looks_complete(
    rules: Rules,
) -> None:
    async with meeting(rules) as (relay, caller, called):
        ours, theirs = await linked(caller, called)
        async with trio.open_nursery() as nursery:

            async def send_all() -> None:
                try:
                    for frame in LARGE:
                        await ours.send(frame)
                except LinkBroken:
                    pass

            nursery.start_soon(send_all)
            with pytest.raises(LinkBroken), trio.fail_after(20):
                while True:
                    await theirs.receive()
        await until(lambda: relay.relay.circuits == 0)


async def test_a_reservation_ends_with_its_time_and_with_its_connection() -> None:
    async with meeting() as (relay, caller, called):
        relay.now[0] += 3601
        with pytest.raises(PeerUnreachable, match="the device is not there"):
            await caller.transport.dial(called.device, [relay.address.circuit])
    async with house() as relay, client(1) as caller, client(2) as called:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(called.transport.circuits.keep, [relay.address])
            await called.status("reserved")
            nursery.cancel_scope.cancel()
        (connection,) = called.transport.circuits._connections.values()
        connection.abort()
        await until(lambda: relay.relay.reservation(called.device) is None)
        assert called.transport.addresses() == ()


async def test_a_relay_keeps_the_connection_of_a_reservation_for_which_no_call_comes() -> None:
    impatient = replace(RELAY_CONFIG, keepalive_seconds=0.05, idle_seconds=0.1)
    async with (
        house(config=impatient) as relay,
        client(1) as caller,
        client(2) as called,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(called.transport.circuits.keep, [relay.address])
        await called.status("reserved")
        (state,) = called.transport.circuits.states()
        # Who has no reservation and asks for nothing is sent away, and not the other.
        idle = await caller.transport.circuits.connection(relay.address.place, relay.device)
        with trio.fail_after(10):
            await idle.ended.wait()
        assert relay.relay.reservation(called.device) is not None
        assert called.transport.circuits.states() == (state,)
        await linked(caller, called)
        nursery.cancel_scope.cancel()


async def test_a_relay_that_comes_back_is_reserved_at_again() -> None:
    async with client(1) as caller, client(2) as called, trio.open_nursery() as nursery:
        async with house() as relay:
            port = relay.transport.addresses()[0].rpartition("/")[2]
            nursery.start_soon(called.transport.circuits.keep, [relay.address])
            await called.status("reserved")
            await linked(caller, called)
        await called.status("unreachable")
        (state,) = called.transport.circuits.states()
        assert state.cause
        async with house(listen=f"/ip4/127.0.0.1/tcp/{port}"):
            await called.status("reserved")
            await linked(caller, called)
        nursery.cancel_scope.cancel()


async def test_a_new_token_is_shown_on_the_connection_that_is_there() -> None:
    async with house() as relay, client(1) as device:
        shown: list[bytes] = []

        async def serve(connection: Connection, stream: Stream) -> None:
            shown.append((await access.asked(stream)).token)
            relay.rules.strangers.discard(connection.device)
            await access.answer(stream, access.Access.GRANTED)

        relay.transport.handle(access.PROTOCOL, serve)
        relay.rules.strangers.add(device.device)
        keep = device.transport.circuits.keep
        before, gone = trio.CancelScope(), trio.Event()

        async def without() -> None:
            with before:
                await keep([relay.address])
            gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(without)
            await device.status("refused")
            nursery.start_soon(keep, [replace(relay.address, token="2KSovv")])
            await until(lambda: bool(device.transport.circuits.tokens[relay.device]))
            before.cancel()  # it ends after the other one has begun, and takes nothing from it
            await gone.wait()
            await device.status("reserved")
            assert device.transport.circuits.tokens == {relay.device: "2KSovv"}
            assert device.transport.addresses()
            nursery.cancel_scope.cancel()
        assert shown == [b"2KSovv"]
        assert not device.transport.circuits.tokens
