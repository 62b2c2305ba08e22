"""A relay with several addresses: the one that works is used, and one that cuts soon comes last."""

from collections.abc import Sequence

import pytest
import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress, parse_address
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.stream import Stream
from tests.network.rig import CALLED_SEED, CALLER_SEED, LOOPBACK, hold

CUT = "/test/cut"


async def cut(connection: Connection, stream: Stream) -> None:
    """Cut the connection without a word, as a firewall does that looks first."""
    connection.abort()


async def port_of_next(
    caller: Libp2pTransport, relay: Libp2pTransport, addresses: Sequence[TcpAddress]
) -> tuple[Connection, int]:
    connection = await caller.circuits.connection(addresses[0], relay.device)
    assert connection.remote is not None
    return connection, connection.remote.port


async def test_an_address_where_connections_are_soon_cut_gives_others_precedence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relay = Libp2pTransport(CALLED_SEED, [LOOPBACK, f"{LOOPBACK}/ws"], hold)
    relay.handle(CUT, cut)
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with relay.open(), caller.open():
        addresses = tuple(map(parse_address, relay.addresses()))
        monkeypatch.setattr(caller.circuits, "places_of", lambda _: addresses)
        bare, web = (each.port for each in addresses)
        connection, port = await port_of_next(caller, relay, addresses)
        assert port == bare
        with pytest.raises(LinkBroken):
            stream = await connection.open_stream(CUT)
            await stream.read_exactly(1)
        with trio.fail_after(5):
            await connection.ended.wait()

        connection, port = await port_of_next(caller, relay, addresses)
        assert port == web
        connection.abort()
        connection, port = await port_of_next(caller, relay, addresses)
        assert port == web
        connection.abort()


async def test_a_dead_address_does_not_hold_up_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens at the first one."""
    relay = Libp2pTransport(CALLED_SEED, [f"{LOOPBACK}/ws"], hold)
    caller = Libp2pTransport(CALLER_SEED, [], hold)
    async with relay.open(), caller.open():
        (place,) = map(parse_address, relay.addresses())
        addresses = (parse_address("/ip4/127.0.0.1/tcp/1"), place)
        monkeypatch.setattr(caller.circuits, "places_of", lambda _: addresses)
        connection, port = await port_of_next(caller, relay, addresses)
        assert port == place.port
        connection.abort()
