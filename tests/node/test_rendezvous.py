"""B-NET-2: members find one another's new addresses at a relay that learns nothing of them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
import trio

from p2psync import limits
from p2psync.core.crypto import SigningKey
from p2psync.engine.effects import Sighted
from p2psync.network import access, rendezvous
from p2psync.network.address import RelayAddress, TcpAddress, parse_address
from p2psync.network.circuits import Circuits
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import peer_id_text
from p2psync.network.link import circuit_of
from p2psync.network.stream import Stream
from p2psync.node.rendezvous import Rendezvous
from p2psync.relay.config import Group, RelayConfig, Token
from p2psync.relay.serving import RelayProcess
from tests.network.rig import LOOPBACK
from tests.node.rig import Machine, founded, in_step, invited, linked, running
from tests.relay.rig import RELAY_SEED

TOKEN = Token("Office", "2office")
NO_CIRCUITS = RelayConfig(listen=(LOOPBACK,), tokens=(TOKEN,), circuits_per_device_max=0)
"""Whoever meets at this relay met by what was left there."""


@dataclass
class Relay:
    process: RelayProcess

    @property
    def address(self) -> RelayAddress:
        transport = self.process.transport
        tokens = self.process.config.tokens
        secret = tokens[0].secret if tokens else ""
        return RelayAddress(parse_address(transport.addresses()[0]), transport.device, secret)


@asynccontextmanager
async def a_relay(config: RelayConfig = NO_CIRCUITS) -> AsyncIterator[Relay]:
    process = RelayProcess(RELAY_SEED, config)
    async with process.transport.open():
        yield Relay(process)


@asynccontextmanager
async def online(machine: Machine, *listen: str) -> AsyncIterator[Libp2pTransport]:
    """A real network for a node, as ``Online`` joins it, that looks often."""
    node = machine.node
    node.rendezvous = Rendezvous(node, look_seconds=0.1)

    def changed() -> None:
        node.relays.on_states()
        node.rendezvous.wake()

    transport = Libp2pTransport(
        node.identity.signer.seed,
        listen,
        node.accept,
        config=TransportConfig(node.known),
        relays_changed=changed,
    )
    transport.circuits.groups = node.rendezvous.groups
    async with transport.open(), trio.open_nursery() as nursery:
        node.goes_online(transport)
        nursery.start_soon(node.relays.run, transport.circuits)
        nursery.start_soon(node.rendezvous.run, transport.circuits)
        try:
            yield transport
        finally:
            node.goes_offline(transport)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def members(tmp_path: Path) -> AsyncIterator[tuple[Machine, Machine]]:
    """Two members of a mandate that know no address of one another."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket = await invited(anna)
        async with linked(anna, ben):
            await ben.service.subscribe(ticket, None, None, None)
            await in_step(anna, ben)
        yield anna, ben


async def met(one: Machine, two: Machine) -> None:
    """Both have a direct link."""
    with trio.fail_after(20):
        while not (one.node.connected() and two.node.connected()):
            await trio.sleep(0.01)
    for machine in (one, two):
        (peer,) = machine.node.connected()
        assert "p2p-circuit" not in peer["address"]


async def test_b_net_2_members_find_each_others_new_address_at_a_relay_they_share(
    tmp_path: Path,
) -> None:
    async with a_relay() as relay, members(tmp_path) as (anna, ben):
        for machine in (anna, ben):
            await machine.service.relay_add(str(relay.address))
        async with online(ben):
            async with online(anna, LOOPBACK) as first:
                await met(anna, ben)
                before = first.direct_addresses()
            async with online(anna, LOOPBACK) as second:
                assert second.direct_addresses() != before
                await met(anna, ben)
        assert relay.process.board.count == 2
        assert relay.process.policy.carried_bytes == 0


async def test_what_the_relay_gets_names_nobody_and_no_address(tmp_path: Path) -> None:
    async with a_relay() as relay, members(tmp_path) as (anna, ben):
        seen: list[rendezvous.Put | rendezvous.Ask] = []
        serve = relay.process.board.serve

        async def watched(
            device: bytes, origin: str, asked: rendezvous.Put | rendezvous.Ask, stream: Stream
        ) -> None:
            seen.append(asked)
            await serve(device, origin, asked, stream)

        relay.process.board.serve = watched  # type: ignore[method-assign]  # listens in
        for machine in (anna, ben):
            await machine.service.relay_add(str(relay.address))
        async with online(ben), online(anna, LOOPBACK):
            await met(anna, ben)
        opened = anna.opened()
        secrets = (opened.id, opened.replica.discovery_key, b"127.0.0.1", anna.device, b"Books")
        puts = [each for each in seen if isinstance(each, rendezvous.Put)]
        assert puts and len(seen) > len(puts)
        assert {len(each.record) for each in puts} == {rendezvous.RECORD_BYTES}
        for put in puts:
            assert not any(secret in put.tag + put.record for secret in secrets)


async def test_a_relay_without_room_for_another_record_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may fill a relay for everybody."""
    async with a_relay() as relay, members(tmp_path) as (anna, ben):
        for machine in (anna, ben):
            await machine.service.relay_add(str(relay.address))
        async with online(ben, LOOPBACK):
            with trio.fail_after(20):
                while not relay.process.board.count:
                    await trio.sleep(0.01)
            monkeypatch.setattr(limits, "RENDEZVOUS_RECORDS_MAX", 1)
            async with online(anna, LOOPBACK):
                await met(anna, ben)
            assert relay.process.board.answered["full"]
            assert relay.process.board.count == 1


async def test_a_relay_that_names_the_mandate_lets_its_members_in_without_a_token(
    tmp_path: Path,
) -> None:
    async with members(tmp_path) as (anna, ben):
        opened = anna.opened()
        assert opened.row.genesis is not None
        async with a_relay(replace(NO_CIRCUITS, open=True)) as before:
            device = before.process.transport.device
        group = access.group(opened.id, opened.row.genesis, device)
        named = RelayConfig(listen=(LOOPBACK,), groups=(Group("Books", group),))
        async with a_relay(named) as relay:
            for machine in (anna, ben):
                await machine.service.relay_add(str(relay.address))
                assert machine.node.rendezvous.groups(device) == (group,)
            async with online(ben), online(anna):
                with trio.fail_after(20):
                    while not (anna.node.connected() and ben.node.connected()):
                        await trio.sleep(0.01)
                (peer,) = anna.node.connected()
                assert "p2p-circuit" in peer["address"]
                (said,) = relay.process.status()["groups"]
                assert (said["name"], said["devices"]) == ("Books", 2)
                assert said["bytes_today"] > 0


async def test_a_removed_member_does_not_find_who_went_on(tmp_path: Path) -> None:
    async with a_relay() as relay, members(tmp_path) as (anna, ben):
        await anna.service.member_remove("Books", ben.device.hex())
        await anna.rest()
        await anna.service.relay_add(str(relay.address))
        async with online(anna, LOOPBACK):
            with trio.fail_after(20):
                while not relay.process.board.count:
                    await trio.sleep(0.01)
        (tag,) = relay.process.board._pinned
        device, week = relay.process.transport.device, rendezvous.week_of(time.time())

        def tags(machine: Machine) -> set[bytes]:
            keys = machine.opened().replica.discovery_keys
            near = (week - 1, week, week + 1)
            return {rendezvous.tag(key, device, each) for key in keys for each in near}

        assert tag in tags(anna)
        assert tag not in tags(ben)


async def test_a_relay_that_a_member_named_for_itself_is_shown_what_that_member_is_in_alone(
    tmp_path: Path,
) -> None:
    """It may be the member's own: it is not told how many other mandates there are, and of whom."""
    async with members(tmp_path) as (anna, ben):
        books = anna.opened()
        await anna.service.mandate_create("Others", None)
        await anna.service.mandate_share("Others")
        relay = SigningKey.from_seed(bytes(32)).public
        groups = anna.node.rendezvous.groups
        assert groups(relay) == ()
        circuit = f"/dns4/relay.example/tcp/4001{circuit_of(relay)}"
        await anna.node.runner.feed(Sighted(ben.device, (circuit,))).wait()
        assert books.row.genesis is not None
        assert groups(relay) == (access.group(books.id, books.row.genesis, relay),)
        await anna.service.relay_add(f"/dns4/relay.example/tcp/4001/p2p/{peer_id_text(relay)}")
        assert len(groups(relay)) == 2


async def test_a_mandate_that_goes_while_a_relay_is_waited_for_is_left_out(tmp_path: Path) -> None:
    """Nothing of it is told any more, and the network goes on."""
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await invited(anna)
        node = anna.node
        relay = RelayAddress(parse_address("/ip4/203.0.113.9/tcp/4001"), bytes(32), "")
        await anna.service.relay_add(str(relay))
        opened = anna.opened()

        class Waiting(Circuits):
            def standing(self, relay: bytes) -> TcpAddress | None:
                return parse_address("/ip4/203.0.113.9/tcp/4001")

            async def connection(self, address: TcpAddress, relay: bytes) -> Connection:
                await node.forget(opened)
                return cast(Connection, "a connection that nobody uses")

        circuits = Waiting(nobody, lambda: None)
        assert node.relays.of(opened.id)
        await node.rendezvous._visit(circuits, relay.device)


async def nobody(address: TcpAddress, relay: bytes) -> Connection:
    raise OSError("there is no network")
