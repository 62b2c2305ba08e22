"""Removing a device among engines (B-ID-3): who is told, served and heard, and by which key."""

from p2psync.core import entry, epochs, membership, ops
from p2psync.core.changes import MemberReadmitted, MemberRemoved
from p2psync.core.entry import LogKey
from p2psync.core.ops import AddFile, Rename
from p2psync.engine import wire
from p2psync.engine.effects import Changed, Dismissed, Refused, Sighted
from p2psync.engine.replica import Replica
from p2psync.errors import CryptoError, DeviceRemoved, TicketRevoked
from p2psync.limits import CHUNK_BYTES, EPOCHS_MAX
from tests.engine.joined import Network, Port, mandate_of_two
from tests.engine.machine import WALL_MS, Disk, Machine, key_of
from tests.engine.test_transfer import FILE, attach, content_of
from tests.engine.test_transfer import save as save_version


def replica_of(machine: Machine, mandate: bytes) -> Replica:
    return machine.engine.replica(mandate)


def three(network: Network, role: str = "accounting") -> tuple[Machine, Machine, Machine, bytes]:
    """Anna who founded, Ben (a writer) and Carl, all in step."""
    anna, ben, mandate = mandate_of_two(network)
    carl = network.machine("carl")
    carl.subscribe(anna.invite(mandate, role))
    network.settle(2)
    assert len(replica_of(ben, mandate).state.membership.members) == 3
    return anna, ben, carl, mandate


def last_entry(machine: Machine, mandate: bytes) -> entry.Entry:
    replica = replica_of(machine, mandate)
    assert replica.own_log is not None
    (head,) = replica.chains.heads(replica.own_log)
    return entry.decode(machine.disk.entries[head].raw)


def opens(item: entry.Entry, replica: Replica) -> bool:
    """Whether any key that a device holds opens an entry."""
    for key in replica.secrets.epoch_keys:
        try:
            entry.open_payload(item, key)
        except CryptoError:
            continue
        return True
    return False


# -- one removal ----------------------------------------------------------------------------------


def test_everybody_hears_of_it_and_the_removed_device_by_whom() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    for machine in (anna, ben):
        assert carl.device in replica_of(machine, mandate).state.membership.removed
        told = [each for each in machine.log if isinstance(each, Changed)]
        assert any(MemberRemoved(carl.device, anna.device) in each.changes for each in told)
        assert not replica_of(machine, mandate).state.stale
    (dismissed, *_) = [each for each in carl.log if isinstance(each, Dismissed)]
    assert (dismissed.mandate, dismissed.by) == (mandate, anna.device)
    assert replica_of(carl, mandate).is_member(carl.device), "it goes on by itself"
    assert anna.engine.in_step(mandate)


def test_new_entries_are_sealed_with_a_key_that_the_removed_device_never_gets() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    before = last_entry(ben, mandate)
    anna.remove(mandate, carl.device)
    network.settle(2)
    ben.author(mandate, Rename("secret"))
    network.settle(2)
    after = last_entry(ben, mandate)
    assert after.header.epoch != before.header.epoch
    assert opens(before, replica_of(carl, mandate))
    assert not opens(after, replica_of(carl, mandate))
    assert replica_of(anna, mandate).state.name == "secret"
    assert replica_of(carl, mandate).state.name != "secret"
    rotation = next(iter(replica_of(anna, mandate).state.rotations.values()))
    assert rotation.recipients == {anna.device, ben.device}


def test_content_saved_later_is_sealed_with_the_new_key() -> None:
    network = Network()
    anna, _, carl, mandate = three(network)
    old = replica_of(carl, mandate).chunk_secrets
    anna.remove(mandate, carl.device)
    network.settle(2)
    assert replica_of(anna, mandate).chunk_secret not in old
    assert old[0] in replica_of(anna, mandate).chunk_secrets


def test_what_it_saved_before_is_fetched_from_it_over_a_link_of_later_too() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    attach(anna, mandate)
    network.settle(2)
    network.drop = {"Chunk"}
    data = content_of("carl's", 3 * CHUNK_BYTES)
    save_version(carl, mandate, data)
    network.settle(2)
    disk = network.stop("carl")
    anna.remove(mandate, carl.device)
    network.settle(2)
    network.drop = set()
    assert not anna.engine.in_step(mandate), "only Carl has the content"
    sent = len(network.sent)
    network.machine("carl", disk)
    network.settle(10)
    for machine in (anna, ben):
        assert machine.content(mandate, FILE) == data
        assert machine.engine.in_step(mandate)
    asked = [each for name, each in network.sent[sent:] if name != "carl"]
    assert not any(isinstance(each, wire.Frontier | wire.Want | wire.Keys) for each in asked)


def test_what_it_writes_later_reaches_nobody_and_it_gets_nothing() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    sent = len(network.sent)
    carl.author(mandate, Rename("from outside"))
    ben.author(mandate, Rename("inside"))
    network.settle(700)
    assert replica_of(anna, mandate).state.name == "inside"
    assert carl.device not in {
        replica_of(anna, mandate).state.logs[each.log]
        for each in map(entry.decode, anna.disk.raws(mandate))
        if each.seq > 2 and replica_of(anna, mandate).state.logs[each.log] == carl.device
    }
    assert last_entry(carl, mandate).id not in anna.disk.entries
    assert last_entry(ben, mandate).id not in carl.disk.entries
    frames = [frame for name, frame in network.sent[sent:] if name != "carl"]
    assert not any(isinstance(each, wire.Chunk) for each in frames)


def test_it_comes_again_and_again_and_hears_the_same() -> None:
    network = Network()
    anna, _, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    disk = network.stop("carl")
    again = network.machine("carl", disk)
    network.settle(5)
    assert any(isinstance(each, Dismissed) and each.by == anna.device for each in again.log)


def test_who_was_away_reads_on_when_it_is_back() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    disk = network.stop("ben")
    anna.remove(mandate, carl.device)
    anna.author(mandate, Rename("while Ben was away"))
    network.settle(2)
    ben = network.machine("ben", disk)
    network.settle(5)
    assert replica_of(ben, mandate).state.name == "while Ben was away"
    assert replica_of(ben, mandate).epoch_key == replica_of(anna, mandate).epoch_key
    disk = network.stop("ben")
    ben = network.machine("ben", disk)
    network.settle(5)
    assert replica_of(ben, mandate).epoch_key == replica_of(anna, mandate).epoch_key
    assert anna.engine.in_step(mandate)


def test_who_is_back_hears_it_from_the_log_alone() -> None:
    """No member hands it the keys: the one sealed to it in the entry does."""
    network = Network()
    anna, ben, carl, mandate = three(network)
    disk = network.stop("ben")
    network.drop = {"Keys"}
    anna.remove(mandate, carl.device)
    anna.author(mandate, Rename("while Ben was away"))
    network.settle(2)
    ben = network.machine("ben", disk)
    network.settle(5)
    assert replica_of(ben, mandate).state.name == "while Ben was away"


def test_a_newcomer_with_an_old_ticket_comes_in_and_reads_all() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    ticket = anna.invite(mandate)
    anna.remove(mandate, carl.device)
    network.settle(2)
    ben.author(mandate, Rename("after"))
    network.settle(2)
    dora = network.machine("dora")
    dora.subscribe(ticket)
    network.settle(5)
    assert replica_of(dora, mandate).state.name == "after"
    assert replica_of(dora, mandate).tips() == replica_of(anna, mandate).tips()
    dora.author(mandate, Rename("by Dora"))
    network.settle(2)
    assert replica_of(ben, mandate).state.name == "by Dora"
    assert not opens(last_entry(dora, mandate), replica_of(carl, mandate))


def test_a_newcomer_with_a_new_ticket_reads_what_was_before() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    ben.author(mandate, Rename("before"))
    network.settle(1)
    anna.remove(mandate, carl.device)
    network.settle(2)
    dora = network.machine("dora")
    dora.subscribe(anna.invite(mandate))
    network.settle(5)
    assert replica_of(dora, mandate).state.name == "before"
    assert replica_of(dora, mandate).tips() == replica_of(anna, mandate).tips()
    assert replica_of(dora, mandate).state.root_epoch
    disk = network.stop("dora")
    again = network.machine("dora", disk)
    network.settle(5)
    assert replica_of(again, mandate).state.name == "before"


def test_who_is_readmitted_goes_on_and_what_it_wrote_meanwhile_counts() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    carl.author(mandate, Rename("written outside"))
    anna.readmit(mandate, carl.device)
    network.settle(70)
    for machine in (anna, ben, carl):
        assert replica_of(machine, mandate).state.name == "written outside"
        assert carl.device in replica_of(machine, mandate).state.membership.members
        assert replica_of(machine, mandate).epoch_key == replica_of(anna, mandate).epoch_key
    changed = [each for each in ben.log if isinstance(each, Changed)]
    assert any(MemberReadmitted(carl.device) in each.changes for each in changed)


def test_who_is_readmitted_hears_it_from_a_member_whom_it_does_not_know_yet() -> None:
    """The newcomer alone is there to tell of the epoch in which all of it is written."""
    network = Network()
    network.apart |= {frozenset(("carl", "ben")), frozenset(("carl", "dora"))}
    anna, _, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    network.apart.add(frozenset(("carl", "anna")))
    for number in network.links_of("carl"):
        network.cut(number)
    dora = network.machine("dora")
    dora.subscribe(anna.invite(mandate))
    network.settle(5)
    anna.readmit(mandate, carl.device)
    network.settle(2)
    network.stop("anna")
    network.stop("ben")
    network.apart.discard(frozenset(("carl", "dora")))
    network.settle(200)
    assert replica_of(carl, mandate).is_member(dora.device)
    assert replica_of(carl, mandate).tips() == replica_of(dora, mandate).tips()


def test_keys_of_strangers_leave_room_for_those_of_members() -> None:
    network = Network()
    anna, _, _, mandate = three(network)
    replica = replica_of(anna, mandate)
    junk = [number.to_bytes(32, "big") for number in range(EPOCHS_MAX)]
    assert replica.learn(junk, known=False) == []
    assert len(replica._offered) == EPOCHS_MAX // 2
    replica.learn([b"k" * 32])
    assert entry.epoch_id(b"k" * 32) in replica._offered


def test_two_removals_apart_end_in_one_epoch_that_neither_of_the_two_can_read() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network, "owner")
    dora = network.machine("dora")
    dora.subscribe(carl.invite(mandate))
    network.settle(3)
    assert dora.device in replica_of(anna, mandate).state.membership.members
    network.reachable = False
    for number in list(network.links):
        network.cut(number)
    anna.remove(mandate, ben.device)
    carl.remove(mandate, dora.device)
    network.reachable = True
    network.settle(200)
    assert replica_of(anna, mandate).epoch_key == replica_of(carl, mandate).epoch_key
    anna.author(mandate, Rename("for two"))
    network.settle(2)
    item = last_entry(anna, mandate)
    assert opens(item, replica_of(carl, mandate))
    assert not opens(item, replica_of(ben, mandate))
    assert not opens(item, replica_of(dora, mandate))
    assert len(replica_of(anna, mandate).state.rotations) <= 4, "no storm"


def test_what_a_member_wrote_in_the_epoch_of_who_was_removed_meanwhile_is_read_by_all() -> None:
    """The epoch is gone with who started it, but not what others wrote in it."""
    network = Network()
    anna, ben, carl, mandate = three(network, "owner")
    for name in ("dora", "eve"):
        network.machine(name).subscribe(carl.invite(mandate))
        network.settle(3)
    # Carl removes Eve, Dora hears of it and writes; then Anna, who heard neither, removes Carl.
    away = {name: network.stop(name) for name in ("anna", "ben", "eve")}
    eve = next(
        iter(
            replica_of(carl, mandate).state.membership.members.keys()
            - {anna.device, ben.device, carl.device, network.machines["dora"].device}
        )
    )
    carl.remove(mandate, eve)
    network.settle(2)
    network.machines["dora"].author(mandate, Rename("written meanwhile"))
    network.settle(2)
    away |= {name: network.stop(name) for name in ("carl", "dora")}
    for name in ("anna", "ben", "eve"):
        network.machine(name, away[name])
    network.machines["anna"].remove(mandate, carl.device)
    network.settle(2)
    for name in ("carl", "dora"):
        network.machine(name, away[name])
    for name in ("dora", "eve"):
        network.connect(network.machines[name], network.machines["anna"])
    network.settle(200)
    for name in ("anna", "ben", "dora", "eve"):
        state = replica_of(network.machines[name], mandate).state
        assert state.name == "written meanwhile", name
        assert set(state.membership.removed) == {carl.device}


def test_who_was_let_in_by_a_removed_device_is_let_in_again_by_a_member() -> None:
    """A good ticket, shown first to a device that was removed and goes on by itself."""
    network = Network()
    anna, _, carl, mandate = three(network)
    ticket = anna.invite(mandate)
    network.settle(1)
    network.cut(network.links_of("carl")[0])
    network.reachable = False
    anna.remove(mandate, carl.device)
    dora = network.machine("dora")
    dora.subscribe(ticket)
    network.connect(dora, carl)
    dora.handle(Sighted(carl.device, ("/memory/carl",), (mandate,)))
    network.settle(1)
    assert replica_of(dora, mandate).is_member(dora.device)
    assert not replica_of(anna, mandate).is_member(dora.device)
    network.reachable = True
    network.settle(100)
    assert replica_of(anna, mandate).is_member(dora.device)
    assert replica_of(dora, mandate).state.membership.removed.keys() == {carl.device}
    assert replica_of(dora, mandate).epoch_key == replica_of(anna, mandate).epoch_key


# -- attacks --------------------------------------------------------------------------------------


def test_a_ticket_of_the_removed_device_lets_nobody_in() -> None:
    network = Network()
    anna, _, carl, mandate = three(network)
    ticket = carl.invite(mandate, uses=5)
    network.settle(1)
    anna.remove(mandate, carl.device)
    network.settle(2)
    eve = network.machine("eve")
    eve.subscribe(
        type(ticket)(
            mandate, ticket.epoch_key, ticket.admission_seed, {anna.device: ("/memory/anna",)}
        )
    )
    network.settle(5)
    assert Refused(mandate, anna.device, TicketRevoked.code) in eve.log
    assert not replica_of(anna, mandate).is_member(eve.device)


def test_the_removed_device_lets_a_puppet_in_for_nobody() -> None:
    """It admits another device of its own by a ticket of the founder's that it knows."""
    network = Network()
    anna, ben, carl, mandate = three(network)
    ticket = anna.invite(mandate, uses=9)
    network.settle(1)
    network.cut(network.links_of("carl")[0])
    anna.remove(mandate, carl.device)
    network.settle(1)
    puppet = key_of("puppet")
    proof = membership.redeem(ticket.admission_seed, mandate, puppet.public)
    log = LogKey(key_of("log of the puppet"))
    opening = entry.build(
        log,
        mandate=mandate,
        seq=0,
        prev=b"",
        deps=(),
        hlc=0,
        epoch_key=ticket.epoch_key,
        payload=ops.encode(
            [
                ops.OpenLog(puppet.public, 0, membership.certify_log(puppet, mandate, log.log, 0)),
                proof,
            ]
        ),
        entropy=bytes(32),
    )
    replica = replica_of(carl, mandate)
    carl.run(list(replica.receive([opening.raw], WALL_MS, more=False).effects))
    carl.author(mandate, ops.Admit(puppet.public, proof.invitation))
    forged = [opening.raw, last_entry(carl, mandate).raw]
    received = replica_of(ben, mandate).receive(forged, WALL_MS, more=False)
    ben.publish(mandate, list(received.effects))
    assert not replica_of(ben, mandate).is_member(puppet.public)


def test_its_old_proof_brings_it_back_nowhere() -> None:
    network = Network()
    anna, _, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    fresh = anna.invite(mandate)
    network.stop("carl")
    again = network.machine("carl", Disk(key_of("carl")))
    again.subscribe(fresh)
    network.settle(3)
    assert Refused(mandate, anna.device, DeviceRemoved.code) in again.log
    assert not replica_of(anna, mandate).is_member(carl.device)


def test_entries_that_reach_a_member_by_another_way_are_kept_and_do_not_count() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    network.cut(network.links_of("carl")[0])
    anna.remove(mandate, carl.device)
    network.settle(1)
    carl.author(mandate, Rename("beyond the cut"))
    late = last_entry(carl, mandate)
    received = replica_of(ben, mandate).receive([late.raw], WALL_MS, more=False)
    ben.publish(mandate, list(received.effects))
    network.settle(3)
    for machine in (anna, ben):
        state = replica_of(machine, mandate).state
        assert late.id in machine.disk.entries, "it travels"
        assert state.name != "beyond the cut"
        assert state.quarantined == {carl.device: 1}
    assert anna.engine.in_step(mandate)


def test_a_junior_removes_nobody_and_its_epoch_is_not_written_in() -> None:
    network = Network()
    anna, ben, carl, mandate = three(network)
    key = b"k" * 32
    sealed = epochs.seal_to(ben.device, key, mandate, b"e" * 32)
    ben.author(
        mandate, ops.Remove(anna.device, ()), ops.Rotate(entry.epoch_id(key), (sealed,), b"")
    )
    network.settle(2)
    for machine in (anna, ben, carl):
        state = replica_of(machine, mandate).state
        assert not state.membership.removed
        assert not state.rotations
    assert not [each for each in anna.log if isinstance(each, Dismissed)]


def test_an_entry_of_an_epoch_that_nobody_started_waits_for_ever_and_blocks_nobody() -> None:
    network = Network()
    anna, ben, _, mandate = three(network)
    replica = replica_of(ben, mandate)
    ben.run(replica.author([Rename("sealed for nobody")], WALL_MS, epoch_key=b"x" * 32))
    ben.author(mandate, AddFile(b"f" * 16, "a", "other", "lines", "", None, None, None))
    network.settle(700)
    anna.author(mandate, Rename("all is well"))
    network.settle(2)
    assert replica_of(anna, mandate).state.name == "all is well"


def test_a_stranger_with_an_old_key_is_told_no_newer_one() -> None:
    network = Network()
    anna, _, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(1)
    network.stop("ben")
    sent = len(network.sent)
    for number in network.links_of("carl"):
        network.cut(number)
    network.settle(100)
    frames = [frame for name, frame in network.sent[sent:] if name == "anna"]
    assert any(isinstance(each, wire.Refusal) for each in frames)
    assert not any(isinstance(each, wire.Keys | wire.Frontier | wire.Have) for each in frames)


def test_a_member_that_says_so_without_showing_it_is_no_proof() -> None:
    network = Network()
    network.apart.add(frozenset(("ben", "carl")))
    anna, ben, _, mandate = three(network)
    assert isinstance(ben.port, Port)
    (link,) = ben.engine._links.values()
    (handle,) = link.mandates
    network.send(ben.port, link.id, wire.encode(wire.Refusal(handle, DeviceRemoved.code)))
    raw = last_entry(ben, mandate).raw
    network.send(ben.port, link.id, wire.encode(wire.Entries(handle, (raw,), False)))
    network.settle(1)
    assert Dismissed(mandate, ben.device) in anna.log


def test_a_new_log_opens_with_the_tickets_key_and_what_follows_is_sealed_with_the_newest() -> None:
    """Whoever lets a device in may be epochs behind it, or ahead."""
    network = Network()
    anna, ben, carl, mandate = three(network)
    anna.remove(mandate, carl.device)
    network.settle(2)
    ben.run(replica_of(ben, mandate).close_log())
    ben.author(mandate, Rename("from a new log"))
    network.settle(2)
    replica = replica_of(ben, mandate)
    (first,) = replica.opening()
    opening = entry.decode(ben.disk.entries[first].raw)
    assert opening.header.epoch == entry.epoch_id(replica.secrets.epoch_keys[0])
    assert not opens(last_entry(ben, mandate), replica_of(carl, mandate))
    assert replica_of(anna, mandate).state.name == "from a new log"
