"""Signed addresses: each device's own word on where it can be called, passed on by members."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import addresses, crypto
from p2psync.core.addresses import AddressRecord
from p2psync.engine import wire
from p2psync.engine.effects import CloseLink, FrameReceived
from p2psync.engine.whereabouts import AGAIN_SECONDS
from p2psync.errors import AddressRecordInvalid
from p2psync.limits import ADDRESSES_PER_PEER_MAX, SEQUENCES_PER_FRAME_MAX
from tests.engine.joined import Network, Port, join, mandate_of_two
from tests.engine.machine import WALL_MS, Machine, key_of

NEW = ("/ip4/192.0.2.7/tcp/4001", "/dns4/relay.example/tcp/4001/p2p/12D3KooW/p2p-circuit")


def three(network: Network) -> tuple[Machine, Machine, Machine, bytes]:
    """Ben and Carl, who cannot call one another, each linked with Anna."""
    network.apart.add(frozenset(("ben", "carl")))
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    network.settle(2 * AGAIN_SECONDS)
    return anna, ben, carl, mandate


def move(network: Network, machine: Machine, *where: str) -> None:
    machine.addresses = where
    machine.run(machine.engine.moved(network.now, machine.wall_ms))


def sent(network: Network, name: str, since: int = 0) -> list[AddressRecord]:
    """The records that a machine has sent."""
    return [
        addresses.decode(raw)
        for sender, message in network.sent[since:]
        if sender == name and isinstance(message, wire.Whereabouts)
        for raw in message.records
    ]


def record_of(name: str, sequence: int, *where: str) -> AddressRecord:
    return addresses.sign(key_of(name), sequence, where)


def tell(network: Network, giver: Machine, taker: Machine, *raws: bytes) -> None:
    """Have one machine tell another what it does not believe itself."""
    (link,) = [
        number for number in network.links_of(giver.name) if number in network.links_of(taker.name)
    ]
    taker.handle(FrameReceived(link, wire.encode(wire.Whereabouts(raws))))
    network.settle(1)


def mistakes(machine: Machine) -> list[str]:
    return [each.error for each in machine.log if isinstance(each, CloseLink) and each.error]


# -- a record ------------------------------------------------------------------------------------


@given(
    st.integers(1, addresses.SEQUENCE_MAX),
    st.lists(st.text(max_size=40), max_size=ADDRESSES_PER_PEER_MAX).map(tuple),
)
def test_a_record_survives_and_holds_as_its_device_signed_it(
    sequence: int, where: tuple[str, ...]
) -> None:
    made = addresses.sign(key_of("anna"), sequence, where)
    read = addresses.decode(made.raw)
    assert read == made
    assert addresses.holds(read)
    other = key_of("ben").public
    for changed in (
        replace(read, sequence=read.sequence - 1 or 2),
        replace(read, addresses=(*where[:-1], "x" * 41)),
        replace(read, device=other),
        replace(read, signature=bytes(64)),
    ):
        assert not addresses.holds(changed)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_refused(raw: bytes) -> None:
    with suppress(AddressRecordInvalid):
        addresses.decode(raw)


def test_a_record_is_these_bytes() -> None:
    """The example of docs/spec/wire.md."""
    key = crypto.SigningKey.from_seed(bytes(range(32)))
    made = addresses.sign(key, 1_800_000_000_000, ("/ip4/192.0.2.7/tcp/4001",))
    assert made.raw.hex() == (
        "94c42003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
        "cf000001a3185c500091b72f6970342f3139322e302e322e372f7463702f34303031c440"
        + made.signature.hex()
    )
    assert made.signature == key.sign(b"p2psync addresses 1", made_of(made))


def made_of(record: AddressRecord) -> bytes:
    """What is signed: the record without its signature."""
    whole = record.raw
    return b"\x93" + whole[1:-66]


# -- passed on -------------------------------------------------------------------------------------


def test_b_net_who_moved_is_found_through_a_third() -> None:
    """A mandate heals when a member's address changes."""
    network = Network()
    anna, ben, carl, _ = three(network)
    assert set(carl.engine.known_addresses(ben.device)) == {"/memory/ben"}, "from Anna"
    move(network, ben, *NEW)
    network.settle(1)
    assert carl.engine.known_addresses(ben.device)[:2] == NEW
    assert anna.engine.known_addresses(ben.device)[:2] == NEW
    network.apart.clear()
    network.settle(120)
    assert len(network.links) == 3, "and they call one another"


def test_what_was_heard_is_known_after_a_restart() -> None:
    network = Network()
    _, ben, carl, _ = three(network)
    move(network, ben, *NEW)
    network.settle(1)
    carl = network.machine("carl", network.stop("carl"))
    assert carl.engine.known_addresses(ben.device)[:2] == NEW


def test_who_was_away_hears_at_its_return_what_it_lacks_and_nothing_else() -> None:
    network = Network()
    _, ben, _, _ = three(network)
    disk = network.stop("carl")
    move(network, ben, *NEW)
    network.settle(1)
    since = len(network.sent)
    carl = network.machine("carl", disk)
    network.settle(30)
    assert carl.engine.known_addresses(ben.device)[:2] == NEW
    assert [record.device for record in sent(network, "anna", since)] == [ben.device]
    since = len(network.sent)
    network.machine("carl", network.stop("carl"))
    network.settle(30)
    assert sent(network, "anna", since) == [], "it has all"
    assert sent(network, "carl", since) == []


def test_an_old_record_that_is_played_again_is_passed_over() -> None:
    network = Network()
    anna, ben, carl, _ = three(network)
    (old,) = {each for each in sent(network, "ben") if each.device == ben.device}
    move(network, ben, *NEW)
    network.settle(1)
    tell(network, anna, carl, old.raw)
    assert carl.engine.known_addresses(ben.device)[:2] == NEW
    assert sent(network, "carl")[-1].device != ben.device or old not in sent(network, "carl")
    assert mistakes(carl) == []


@pytest.mark.parametrize("fault", ["signature", "addresses", "other device", "malformed"])
def test_who_passes_on_what_nobody_signed_loses_the_link(fault: str) -> None:
    """It could have looked."""
    network = Network()
    anna, ben, carl, _ = three(network)
    later = WALL_MS + 10**9
    good = record_of("ben", later, *NEW)
    forged = {
        "signature": replace(good, signature=bytes(64)),
        "addresses": replace(good, addresses=("/ip4/203.0.113.66/tcp/1",)),
        "other device": replace(record_of("carl", later, *NEW), device=ben.device),
        "malformed": good,
    }[fault]
    raw = forged.raw[:-1] if fault == "malformed" else forged.raw
    before = carl.engine.known_addresses(ben.device)
    tell(network, anna, carl, raw)
    assert len(mistakes(carl)) == 1
    assert carl.engine.known_addresses(ben.device) == before


def test_who_asks_for_one_record_many_times_at_once_gets_it_once() -> None:
    """A short question must not bring a long answer."""
    network = Network()
    anna, ben, _, _ = three(network)
    (link,) = set(network.links_of("anna")) & set(network.links_of("carl"))
    since = len(network.sent)
    question = wire.Sequences(((ben.device, 0),) * SEQUENCES_PER_FRAME_MAX)
    anna.handle(FrameReceived(link, wire.encode(question)))
    network.settle(1)
    assert [each.device for each in sent(network, "anna", since)] == [ben.device]


def test_strangers_and_removed_devices_hear_of_nobody() -> None:
    """B-ID-3: from then on."""
    network = Network()
    anna, ben, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(1)
    since = len(network.sent)
    move(network, ben, *NEW)
    network.settle(60)
    assert sent(network, "ben", since) != []
    assert NEW[0] not in carl.engine.known_addresses(ben.device)
    assert NEW[0] not in carl.engine.known_addresses(anna.device)
    # What it says of itself is passed over, by whom it reaches, and passed on by nobody.
    network.connect(carl, anna)
    moved = record_of("carl", WALL_MS + 10**9, "/ip4/203.0.113.66/tcp/1")
    tell(network, carl, anna, moved.raw)
    assert "/ip4/203.0.113.66/tcp/1" not in anna.engine.known_addresses(carl.device)
    assert moved not in sent(network, "anna")


def test_addresses_of_one_mandate_are_told_in_no_other() -> None:
    network = Network()
    anna, ben, _ = mandate_of_two(network)
    other = anna.create("Others")
    carl = join(network, anna, other, "carl", "writer")
    move(network, ben, *NEW)
    network.settle(60)
    assert ben.device not in {
        each.device for each in sent(network, "anna") if each.addresses == NEW
    }
    assert carl.engine.known_addresses(ben.device) == ()
    for name in ("anna", "carl"):
        for message in network.messages(name):
            if isinstance(message, wire.Sequences):
                told = {device for device, _ in message.known}
                assert not {ben.device, carl.device} <= told


def test_a_stranger_that_tells_addresses_is_cut_off() -> None:
    network = Network()
    anna, _, _ = mandate_of_two(network)
    stranger = network.machine("stranger")
    link = network.connect(stranger, anna)
    network.settle(0)
    frame = wire.encode(wire.Sequences(((anna.device, 0),)))
    anna.handle(FrameReceived(link, frame))
    assert len(mistakes(anna)) == 1


def test_a_restored_machine_signs_above_what_others_have_of_it() -> None:
    network = Network()
    anna, ben, carl, _ = three(network)
    later = record_of("ben", WALL_MS + 10**9, "/ip4/203.0.113.9/tcp/1")
    tell(network, carl, anna, later.raw)
    network.settle(3 * AGAIN_SECONDS)
    newest = max(sent(network, "ben"), key=lambda each: each.sequence)
    assert newest.sequence == later.sequence + 1
    assert newest.addresses == ("/memory/ben",)
    assert carl.engine._whereabouts.records[ben.device] == newest


def test_two_machines_with_one_key_do_not_answer_one_another_for_ever() -> None:
    """B-ID-4: at most once in ten seconds."""
    network = Network()
    anna, ben, _ = mandate_of_two(network)
    network.settle(2 * AGAIN_SECONDS)
    since = len(network.sent)
    for number in range(1, 200):
        tell(network, anna, ben, record_of("ben", WALL_MS + number * 10**9, "/x").raw)
    made = {each.sequence for each in sent(network, "ben", since)}
    assert 0 < len(made) <= 199 / AGAIN_SECONDS + 2


def test_a_member_that_changes_its_address_again_and_again_is_heard_now_and_then() -> None:
    network = Network()
    _, ben, carl, _ = three(network)
    since = len(network.sent)
    for number in range(100):
        move(network, ben, f"/ip4/192.0.2.{number}/tcp/1")
        network.settle(0.5)
    network.settle(2 * AGAIN_SECONDS)
    passed = [each for each in sent(network, "anna", since) if each.device == ben.device]
    assert len(passed) <= 50 / AGAIN_SECONDS + 2
    assert carl.engine.known_addresses(ben.device)[0] == "/ip4/192.0.2.99/tcp/1", "the last one"


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_whatever_was_reached_when_all_know_the_newest_in_the_end(data: st.DataObject) -> None:
    """As long as members are joined by links, however few, in whatever order things happen."""
    network = Network()
    network.apart = {frozenset(pair) for pair in (("ben", "carl"), ("ben", "dora"))}
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    dora = join(network, anna, mandate, "dora", "writer")
    every = {machine.name: machine for machine in (anna, ben, carl, dora)}
    for number in range(data.draw(st.integers(1, 8))):
        name = data.draw(st.sampled_from(sorted(every)))
        match data.draw(st.sampled_from(["move", "restart", "cut"])):
            case "move":
                move(network, every[name], f"/ip4/192.0.2.{number}/tcp/1")
            case "restart":
                where = every[name].addresses
                every[name] = network.machine(name, network.stop(name))
                every[name].addresses = where
            case _ if network.links:
                network.cut(next(iter(network.links)))
        network.settle(data.draw(st.sampled_from([0.0, 0.3, 7.0])))
    network.settle(300)
    for machine in every.values():
        for other in every.values():
            if machine is not other:
                known = machine.engine.known_addresses(other.device)
                assert other.addresses[0] in known, (machine.name, other.name)
    assert all(mistakes(machine) == [] for machine in every.values())


def test_nobody_who_does_not_know_these_messages_is_hurt() -> None:
    """They are extensions: an older p2psync passes over them."""
    network = Network()
    network.drop = {"Sequences", "Whereabouts"}
    anna, ben, mandate = mandate_of_two(network)
    move(network, ben, *NEW)
    network.settle(5)
    assert anna.engine.known_addresses(ben.device)[:2] == NEW, "as it says over its own link"
    assert anna.engine.in_step(mandate)
    assert isinstance(anna.port, Port)


def test_b_net_who_is_away_is_called_at_once_from_a_new_address() -> None:
    """Not after the wait that has grown to a minute meanwhile."""
    network = Network()
    anna, ben, _ = mandate_of_two(network)
    network.reachable = False
    for number in list(network.links):
        network.cut(number)
    network.settle(300)
    network.reachable = True
    assert not network.links
    move(network, ben, *NEW)
    network.settle(0.1)
    assert len(network.links) == 1
    assert anna.engine.known_addresses(ben.device)[:2] == NEW
