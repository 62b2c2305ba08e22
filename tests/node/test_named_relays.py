"""B-NET-2: one member names relays for all members of a mandate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync.core import ops, ticket
from p2psync.core.crypto import SigningKey
from p2psync.errors import NotAllowed, RelaysTooManyForAll, RelayUnknown
from p2psync.limits import MANDATE_RELAYS_MAX
from p2psync.network.identity import peer_id_text
from p2psync.node.relay_sources import Known, readable
from tests.fakes.circuits import FakeCircuits
from tests.node.rig import Machine, founded, in_step, invited, linked, running

RELAY = SigningKey.from_seed(b"relay".ljust(32, b".")).public
PEER = peer_id_text(RELAY)


def at(host: str, token: str = "", relay: bytes = RELAY) -> str:
    shown = f"/p2psync-token/{token}" if token else ""
    return f"/dns4/{host}/tcp/4001/p2p/{peer_id_text(relay)}{shown}"


OLD, NEW = at("old.example", "2prev"), at("new.example", "2new")


@dataclass
class Office:
    """Two members who are linked, and the relays of each."""

    anna: Machine
    ben: Machine
    at_anna: FakeCircuits
    at_ben: FakeCircuits

    async def until_kept(self, *addresses: str) -> None:
        """Return when both keep a reservation at a relay, at these addresses and no other."""
        wanted = {RELAY: addresses} if addresses else {}
        for machine, circuits in ((self.anna, self.at_anna), (self.ben, self.at_ben)):
            await until(machine, lambda circuits=circuits: circuits.kept == wanted)


async def until(machine: Machine, condition: Any) -> None:
    """Reservations are kept by tasks that wake nobody."""
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.005)


@asynccontextmanager
async def office(
    tmp_path: Path, role: str = "accounting", valid: tuple[str, ...] = ()
) -> AsyncIterator[Office]:
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        ticket_text = await invited(anna, role)
        circuits = [FakeCircuits(each.node.relays.on_states, valid) for each in (anna, ben)]
        async with linked(anna, ben):
            await ben.service.subscribe(ticket_text, None, None, None)
            await in_step(anna, ben)
            async with trio.open_nursery() as nursery:
                for machine, each in zip((anna, ben), circuits, strict=True):
                    nursery.start_soon(machine.node.relays.run, each)
                yield Office(anna, ben, *circuits)
                nursery.cancel_scope.cancel()


async def relays_of(machine: Machine) -> list[dict[str, Any]]:
    return list((await machine.service.relay_list())["relays"])


async def told(machine: Machine) -> list[str]:
    await machine.node.notices.kept()
    found = await machine.service.messages(None, None, 100, ["relay-changed"], None)
    return [event["text"] for event in reversed(found["messages"])]


async def test_b_net_2_one_member_names_a_relay_and_all_use_it(tmp_path: Path) -> None:
    async with office(tmp_path) as both:
        await both.anna.service.relay_add(OLD, "Books")
        await in_step(both.anna, both.ben)
        await both.until_kept(OLD)
        for machine in (both.anna, both.ben):
            (shown,) = await relays_of(machine)
            assert (shown["own"], shown["mandates"], shown["tickets"]) == (False, ["Books"], [])
            assert (shown["state"], shown["peer"]) == ("reserved", PEER)
            assert "2prev" not in str(shown), "a token is not shown again"
        # Another member gives another place and token: all change over.
        await both.ben.service.relay_add(NEW, "Books")
        await in_step(both.anna, both.ben)
        await both.until_kept(NEW, at("old.example", "2new"))
        # And takes it out: nobody goes on using it.
        await both.ben.service.relay_remove("old.example", "Books")
        await in_step(both.anna, both.ben)
        await both.until_kept()
        assert await relays_of(both.anna) == []
        who = both.ben.node.identity.machine
        assert (await told(both.anna))[1:] == [
            f"{who} gave another address or token for the relay new.example of Books",
            f"{who} took the relay {PEER} out of Books: its members use it no more",
        ]


async def test_a_relay_of_ones_own_stays_when_the_mandate_drops_it(tmp_path: Path) -> None:
    async with office(tmp_path) as both:
        await both.ben.service.relay_add(OLD)
        await both.anna.service.relay_add(NEW, "Books")
        await in_step(both.anna, both.ben)
        await until(both.anna, lambda: RELAY in both.at_anna.kept)
        removed = await both.ben.service.relay_remove("old.example")
        assert (removed["own"], removed["mandates"]) == (False, ["Books"])
        assert RELAY in both.at_ben.kept, "the mandate names it still"
        await both.ben.service.relay_add(OLD)
        await both.anna.service.relay_remove(PEER[-8:], "Books")
        await in_step(both.anna, both.ben)
        await until(both.anna, lambda: not both.at_anna.kept)
        await until(both.ben, lambda: both.at_ben.kept == {RELAY: (OLD,)})


async def test_a_relay_out_of_a_ticket_ends_when_the_mandate_drops_it(tmp_path: Path) -> None:
    """B-TIC-1: and tickets name what the mandate names, and nothing that it dropped."""
    async with running(tmp_path / "anna") as anna, running(tmp_path / "ben") as ben:
        await founded(anna)
        await anna.service.relay_add(OLD)
        text = await invited(anna)
        read = ticket.read(text.encode())
        assert [peer.addresses for peer in read.relays] == [(OLD,)]
        async with linked(anna, ben):
            await ben.service.subscribe(text, None, None, None)
            await in_step(anna, ben)
            (shown,) = await relays_of(ben)
            assert (shown["own"], shown["mandates"], shown["tickets"]) == (False, [], ["Books"])
            await anna.service.relay_add(NEW, "Books")
            text = await invited(anna)
            (peer,) = ticket.read(text.encode()).relays
            assert peer.addresses == (NEW,), "not what Anna chose for herself"
            await anna.service.relay_remove("new.example", "Books")
            await in_step(anna, ben)
            assert await relays_of(ben) == [] or (await relays_of(ben))[0]["tickets"] == []
            assert ben.node.relays.of(ben.opened().id) == ()
            text = await invited(anna)
            assert ticket.read(text.encode()).relays == ()
        circuit = f"/dns4/old.example/tcp/4001/p2p/{PEER}/p2p-circuit"
        assert ben.node.relays.usable([circuit, "/ip4/10.0.0.1/tcp/1"]) == ["/ip4/10.0.0.1/tcp/1"]
        assert anna.node.relays.usable([circuit]) == [circuit], "Anna has it of her own"


async def test_what_a_mandate_names_is_known_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_share("Books")
        await anna.service.relay_add(NEW, "Books")
    async with running(tmp_path / "anna") as anna:
        assert anna.node.relays.of(anna.opened().id) == (RELAY,)
        (shown,) = await relays_of(anna)
        assert shown["mandates"] == ["Books"]


async def test_when_a_token_is_refused_another_one_is_shown(tmp_path: Path) -> None:
    """Who had set a relay by hand goes on with the mandate's token once its own is renewed."""
    async with office(tmp_path, valid=("2new",)) as both:
        await both.ben.service.relay_add(OLD)
        await until(both.ben, lambda: RELAY in both.at_ben.kept)
        await until(both.ben, lambda: both.ben.node.notices.holds(f"relay-away:{RELAY.hex()}"))
        await both.anna.service.relay_add(NEW, "Books")
        await in_step(both.anna, both.ben)
        await until(
            both.ben,
            lambda: both.at_ben.kept.get(RELAY) == (NEW, at("old.example", "2new")),
        )
        assert not both.ben.node.notices.holds(f"relay-away:{RELAY.hex()}")


@pytest.mark.parametrize("role", ["writer", "reader"])
async def test_only_who_may_invite_names_relays(tmp_path: Path, role: str) -> None:
    async with office(tmp_path, role) as both:
        with pytest.raises(NotAllowed):
            await both.ben.service.relay_add(OLD, "Books")
        await both.anna.service.relay_add(OLD, "Books")
        await in_step(both.anna, both.ben)
        with pytest.raises(NotAllowed):
            await both.ben.service.relay_remove("old.example", "Books")
        await both.until_kept(OLD)


async def test_a_mandate_names_a_few_relays_and_drops_what_it_named(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        for number in range(MANDATE_RELAYS_MAX):
            relay = SigningKey.from_seed(bytes([number]) * 32).public
            await anna.service.relay_add(at(f"host-{number}", relay=relay), "Books")
        with pytest.raises(RelaysTooManyForAll):
            await anna.service.relay_add(OLD, "Books")
        with pytest.raises(RelayUnknown):
            await anna.service.relay_remove("old.example", "Books")
        await anna.service.relay_remove("host-3", "Books")
        await anna.service.relay_add(OLD, "Books")
        assert len(await relays_of(anna)) == MANDATE_RELAYS_MAX


async def test_what_makes_no_sense_in_a_mandate_is_left_out(tmp_path: Path) -> None:
    """A member's p2psync may have a fault, or its person bad intentions."""
    other = SigningKey.from_seed(bytes(32)).public
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        said = ("nonsense", at("other", relay=other), OLD)
        opened = anna.opened()
        await anna.node.author(opened, [ops.SetRelay(RELAY, said, ())]).wait()
        await anna.node.author(opened, [ops.SetRelay(other, ("nonsense",), ())]).wait()
        assert [relay["peer"] for relay in await relays_of(anna)] == [PEER]
        assert [str(each) for each in readable(RELAY, said)] == [OLD]


async def test_b_net_2_a_relay_that_stays_away_is_told_once_a_while(tmp_path: Path) -> None:
    """However often the calls to it begin anew meanwhile."""
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_share("Books")
        relays = anna.node.relays
        relays._unreachable_seconds = 0.05
        circuits = FakeCircuits(relays.on_states)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relays.run, circuits)
            await anna.service.relay_add(OLD)
            await until(anna, lambda: RELAY in circuits.kept)
            key = f"relay-away:{RELAY.hex()}"
            for _ in range(40):
                circuits.say(RELAY, "unreachable", "no route to host")
                circuits.say(RELAY, "connecting")
                await trio.sleep(0.005)
            await until(anna, lambda: anna.node.notices.holds(key))
            circuits.say(RELAY, "reserved")
            assert not anna.node.notices.holds(key)
            nursery.cancel_scope.cancel()


async def test_a_relay_that_is_removed_while_it_is_away_is_told_of_no_more(tmp_path: Path) -> None:
    """It has no address then that could be named, and the node goes on."""
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_share("Books")
        relays = anna.node.relays
        circuits = FakeCircuits(relays.on_states)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relays.run, circuits)
            await anna.service.relay_add(OLD)
            await until(anna, lambda: RELAY in circuits.kept)
            circuits.say(RELAY, "unreachable", "no route to host")
            known = relays._known[RELAY]
            await anna.service.relay_remove("old.example")
            relays._unreachable_seconds = 0.0
            await relays._tell_later(known, known.absences)
            assert not anna.node.notices.holds(f"relay-away:{RELAY.hex()}")
            nursery.cancel_scope.cancel()


async def test_relays_can_be_looked_at_and_refuse_while_one_is_being_removed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        await anna.service.mandate_share("Books")
        relays = anna.node.relays
        circuits = FakeCircuits(relays.on_states)
        seen: list[object] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relays.run, circuits)
            await anna.service.relay_add(OLD)
            await until(anna, lambda: RELAY in circuits.kept)
            put = anna.store.put_setting

            async def meanwhile(key: str, value: str | None) -> None:
                circuits.say(RELAY, "refused", "its token has expired")
                seen.append(relays.view())
                await put(key, value)

            anna.store.put_setting = meanwhile  # type: ignore[method-assign]  # only looks
            await anna.service.relay_remove("old.example")
            nursery.cancel_scope.cancel()
        assert seen == [{"relays": []}]


def test_the_persons_own_word_goes_before_the_mandates_and_that_before_tickets() -> None:
    (own,), (named,) = readable(RELAY, [OLD]), readable(RELAY, [NEW])
    known = Known(RELAY, kept=[own], tickets={b"m"}, named={b"m": [named]})
    assert [str(each) for each in known.addresses] == [NEW, at("old.example", "2new")]
    known.own = True
    assert [str(each) for each in known.addresses] == [OLD, at("new.example", "2prev")]
    assert known.refuses()
    assert [str(each) for each in known.addresses] == [NEW, at("old.example", "2new")]
    assert not known.refuses(), "all are refused: the first is shown again"
    assert [str(each) for each in known.addresses] == [OLD, at("new.example", "2prev")]


async def test_b_net_reservations_are_made_anew_at_once_when_the_machine_moves(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as both:
        await both.anna.service.relay_add(OLD, "Books")
        await in_step(both.anna, both.ben)
        await both.until_kept(OLD)
        before = both.at_anna.begun, both.at_ben.begun
        both.anna.node.moved()
        await until(both.anna, lambda: both.at_anna.begun == before[0] + 1)
        await both.until_kept(OLD)
        assert both.at_ben.begun == before[1]
