"""B-NET-2: strangers at a relay: they get nothing, learn nothing, and keep nobody out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from p2psync import limits
from p2psync.network import access, circuit, rendezvous
from p2psync.network.address import RelayAddress, parse_address
from p2psync.network.bytestream import ByteStream
from p2psync.network.circuit import Answer, Connect, Reserve, Status, hop_bytes
from p2psync.network.connection import Connection, upgrade_outbound
from p2psync.network.identity import key_pair, peer_bytes
from p2psync.network.protobuf import bytes_field
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.serving import RelayProcess
from tests.network.rig import LOOPBACK, seed_of, until
from tests.relay.rig import RELAY_SEED, Client, client, linked

ELSEWHERE = "127.0.0.9"
"""Strangers come from another address than honest devices."""
SILENT = 1_000
PROVEN = limits.CONNECTIONS_STRANGERS_MAX + 40


@dataclass
class Relay:
    process: RelayProcess
    address: RelayAddress

    async def connection(self, device: Client, token: str = "") -> Connection:
        circuits = device.transport.circuits
        circuits.tokens[self.address.device] = token
        return await circuits.connection(self.address.place, self.address.device)

    async def raw(self) -> ByteStream:
        """A bare connection from elsewhere."""
        place = self.address.place
        return ByteStream(
            await trio.open_tcp_stream(place.host, place.port, local_address=ELSEWHERE)
        )


@asynccontextmanager
async def a_relay() -> AsyncIterator[Relay]:
    config = RelayConfig(listen=(LOOPBACK,), tokens=(Token("Office", "2office"),))
    process = RelayProcess(RELAY_SEED, config)
    async with process.transport.open() as transport:
        place = parse_address(transport.addresses()[0])
        yield Relay(process, RelayAddress(place, transport.device, "2office"))


@asynccontextmanager
async def honest_device(relay: Relay) -> AsyncIterator[Client]:
    """A device with the token and a reservation."""
    async with client(5) as device, device.kept(relay.address):
        await device.status("reserved")
        yield device


async def served(relay: Relay) -> None:
    """Two honest devices that were not here before meet, in time."""
    with trio.fail_after(30):
        async with client(1) as caller, client(2) as called, called.kept(relay.address):
            await called.status("reserved")
            await relay.connection(caller, "2office")
            ours, theirs = await linked(caller, called)
            await ours.send(b"still")
            assert await theirs.receive() == b"still"


async def test_1000_silent_connections_keep_nobody_out() -> None:
    async with a_relay() as relay:
        raws = [await relay.raw() for _ in range(SILENT)]
        await served(relay)
        assert relay.process.transport.guard.upgrading <= limits.CONNECTIONS_UPGRADING_MAX
        for raw in raws:
            raw.close()


async def test_strangers_who_prove_a_key_and_say_nothing_keep_nobody_out() -> None:
    async with a_relay() as relay, client(3) as early, early.kept(relay.address):
        await early.status("reserved")
        raws = []
        for number in range(PROVEN):
            raws.append(await relay.raw())
            await upgrade_outbound(
                raws[-1], key_pair(seed_of(1_000 + number)), relay.address.device
            )
        await served(relay)
        guard = relay.process.transport.guard
        assert guard.established <= limits.CONNECTIONS_STRANGERS_MAX + 3
        # Whoever was let in before was not sent away for them.
        assert relay.process.relay.reservation(early.device) is not None
        assert relay.process._connections.keys() >= {early.device}
        for raw in raws:
            raw.close()


async def test_a_stranger_gets_nothing_whatever_it_asks_for() -> None:
    async with a_relay() as relay, client(4) as stranger, honest_device(relay) as honest:
        connection = await relay.connection(stranger)
        for number in range(50):
            stream = await connection.open_stream(access.PROTOCOL)
            wrong = await access.ask(stream, b"2office%d" % number, [bytes([number]) * 16])
            assert wrong == access.Access.UNKNOWN_TOKEN
            stream.reset()
        for asked in (Reserve(), Connect(honest.device)):
            assert await answered(connection, hop_bytes(asked)) == Status.PERMISSION_DENIED
        for ask in (
            rendezvous.ask(connection, [bytes(16)]),
            rendezvous.put(connection, bytes(16), bytes(rendezvous.RECORD_BYTES)),
        ):
            with pytest.raises(rendezvous.Refused, match=r"\(1\)"):
                await ask
        process = relay.process
        assert process.relay.reserved.keys() == {honest.device}
        assert process._connections.keys() == {honest.device}
        assert process.policy._granted.keys() == {honest.device}
        assert process.board.count == 0


async def test_who_claims_another_peer_id_reserves_for_itself_alone() -> None:
    async with a_relay() as relay, client(6) as hostile, honest_device(relay) as honest:
        connection = await relay.connection(hostile, "2office")
        claim = hop_bytes(Reserve()) + bytes_field(2, bytes_field(1, peer_bytes(honest.device)))
        assert await answered(connection, claim) == Status.OK
        reserved = relay.process.relay
        assert reserved.reservation(hostile.device) is not None
        place = reserved.reservation(honest.device)
        assert place is not None and place.device == honest.device
        # A call of its own is passed on under its own key.
        ours, theirs = await linked(hostile, honest)
        assert theirs.device == hostile.device
        await ours.close()


async def test_streams_without_end_cost_a_stranger_its_connection() -> None:
    async with a_relay() as relay, client(8) as stranger:
        connection = await relay.connection(stranger)
        for _ in range(4 * limits.STREAMS_REFUSED_MAX + limits.CIRCUITS_INBOUND_MAX):
            connection._muxer.open()
        with trio.fail_after(20):
            await connection.ended.wait()
        await until(lambda: relay.process.transport.guard.established == 0)
        await served(relay)


async def answered(connection: Connection, message: bytes) -> int:
    stream = await connection.open_stream(circuit.HOP)
    await circuit.write_message(stream, message)
    answer = circuit.read_hop(await circuit.read_message(stream))
    stream.reset()
    assert isinstance(answer, Answer)
    return answer.status
