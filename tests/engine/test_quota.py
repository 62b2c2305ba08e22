"""What the holder of a mere key can fill, and that quotas never part honest devices."""

import pytest

from p2psync.core.ops import Describe, Observe, Operation, Rename
from p2psync.engine import quota, wire
from p2psync.engine.effects import FrameReceived, Persist, Refused, Sighted, Warn
from p2psync.engine.replica import Replica, Secrets
from tests.core.lines import read
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import WALL_MS, Machine, Ticket, entropy_of, key_of


def thief(name: str, ticket: Ticket, draw: str = "") -> Replica:
    """A device that holds a ticket and was never admitted."""
    secrets = Secrets((ticket.epoch_key,), ticket.admission_seed)
    entropy = entropy_of(f"{name}{draw}")
    return Replica(ticket.mandate, key_of(name), secrets, read, entropy, Describe(name, name))


def write(replica: Replica, *batches: Operation) -> list[bytes]:
    """The raw entries of some operations."""
    return [
        stored.raw
        for operation in batches
        for effect in replica.author([operation], WALL_MS)
        if isinstance(effect, Persist)
        for stored in effect.entries
    ]


def held(machine: Machine, mandate: bytes) -> int:
    """How many entries a machine has kept."""
    return len(machine.disk.raws(mandate))


def in_step(mandate: bytes, *machines: Machine) -> bool:
    """Whether all hold the same."""
    return len({machine.engine.replica(mandate).tips() for machine in machines}) == 1


def members(machine: Machine, mandate: bytes) -> set[bytes]:
    """Who is a member, as a machine sees it."""
    return set(machine.engine.replica(mandate).state.membership.members)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotas that a test fills quickly."""
    monkeypatch.setattr(quota, "STRANGER_LOGS_MAX", 3)
    monkeypatch.setattr(quota, "STRANGER_LOG_ENTRIES_MAX", 5)
    monkeypatch.setattr(quota, "LOGS_PER_DEVICE_MAX", 4)
    monkeypatch.setattr(quota, "BRANCHES_PER_LOG_MAX", 2)


@pytest.mark.usefixtures("small")
def test_a_stranger_fills_its_quota_and_no_more() -> None:
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    replica = anna.engine.replica(mandate)
    before = held(anna, mandate)
    got = replica.receive(write(thief("a", ticket), *[Observe()] * 9), WALL_MS, more=False)
    assert len(got.new) == 5
    assert got.gaps == ()
    for name in "bcdef":
        replica.receive(write(thief(name, ticket), Observe()), WALL_MS, more=False)
    assert len(replica.state.logs) == len(members(anna, mandate)) + 3
    assert held(anna, mandate) == before  # only the replica was told, nothing was handed on


@pytest.mark.usefixtures("small")
def test_what_is_beyond_a_quota_is_neither_persisted_nor_asked_for() -> None:
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    replica = anna.engine.replica(mandate)
    long = thief("a", ticket)
    raws = write(long, *[Observe()] * 9)
    received = replica.receive(raws, WALL_MS, more=False)
    kept = [effect for effect in received.effects if isinstance(effect, Persist)]
    assert [len(effect.entries) for effect in kept] == [5]
    assert replica.missing(long.tips()) == []
    assert replica.receive(raws[6:], WALL_MS, more=False).gaps == ()


@pytest.mark.usefixtures("small")
def test_forks_of_one_log_are_bounded() -> None:
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    replica = anna.engine.replica(mandate)
    root = thief("a", ticket)
    opening = write(root, Observe())
    replica.receive(opening, WALL_MS, more=False)
    log = next(iter(root.chains.logs()))
    for number in range(6):
        twin = thief("a", ticket)
        assert write(twin, Observe()) == opening
        branch = write(twin, Rename(f"{number}"))
        replica.receive(branch, WALL_MS, more=False)
    assert len(replica.chains.heads(log)) == 2


@pytest.mark.usefixtures("small")
def test_a_member_opens_few_logs() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    mine = ben.engine.replica(mandate)
    for _ in range(9):
        mine.close_log()
        ben.author(mandate, Observe())
        network.settle(1)
    devices = list(anna.engine.replica(mandate).state.logs.values())
    assert devices.count(ben.device) == 4


@pytest.mark.usefixtures("small")
def test_an_honest_newcomer_joins_and_is_known_to_all_when_strangers_fill_the_quota() -> None:
    """Its opening is beyond the quota, but a member's entry depends on it."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    for machine, names in ((anna, "abcd"), (ben, "efgh")):
        for name in names:
            raws = write(thief(name, ticket), Observe())
            effects = machine.engine.replica(mandate).receive(raws, WALL_MS, more=False).effects
            machine.publish(mandate, list(effects))
    network.settle(1)
    carl = join(network, anna, mandate, "carl", "writer")
    network.settle(130)
    for machine in (anna, ben, carl):
        assert carl.device in members(machine, mandate)
    carl.author(mandate, Rename("Carl's"))
    network.settle(130)
    assert ben.engine.replica(mandate).state.name == "Carl's"


@pytest.mark.usefixtures("small")
def test_a_newcomer_that_wrote_much_before_others_hear_of_it_is_not_cut_off() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    disk = network.stop("ben")
    carl = join(network, anna, mandate, "carl", "writer")
    for number in range(12):
        carl.author(mandate, Rename(f"Name {number}"))
    network.settle(1)
    network.stop("anna")
    ben = network.machine("ben", disk)
    network.connect(carl, ben)
    network.settle(130)
    assert in_step(mandate, ben, carl)
    assert ben.engine.replica(mandate).state.name == "Name 11"


def test_a_newcomer_listens_to_the_refusals_of_members_and_of_its_tickets_peers_alone() -> None:
    """Nor does it repeat a peer's own words to anybody."""
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    ticket = anna.invite(mandate, uses=2)
    network.stop("anna")
    ben, liar = network.machine("ben"), network.machine("liar")
    ben.subscribe(ticket)
    liar.subscribe(ticket)
    liar.handle(Sighted(ben.device, ("/memory/ben",), (mandate,)))
    network.settle()
    [number] = network.links
    [(handle, _)] = ben.engine._links[number].mandates.items()
    for reason in ("ticket-revoked", "call 0900 123"):
        network.inject(ben, number, wire.encode(wire.Refusal(handle, reason)))
    assert not any(isinstance(each, Refused) for each in ben.log)


def test_only_a_members_farewell_is_told_and_not_in_its_words() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    stranger = network.machine("stranger")
    strange = network.connect(stranger, anna)
    network.settle()
    network.inject(anna, strange, wire.encode(wire.Bye("x", "pay me")))
    [number] = [each for each in anna.engine._links if each != strange]
    for count in range(3):
        anna.handle(FrameReceived(number, wire.encode(wire.Bye(f"c{count}", f"pay {count}"))))
    told = {each for each in anna.log if isinstance(each, Warn)}
    assert told == {Warn(mandate, "peer-complains", ben.device)}
