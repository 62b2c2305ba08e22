"""Members that leave a mandate, mandates that are hidden or closed, files that are detached."""

from p2psync.core.ops import Close, Detach, Leave, Reattach, Rename, Reopen, Return
from p2psync.engine import wire
from p2psync.engine.effects import Refused
from p2psync.limits import CHUNK_BYTES
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import Machine
from tests.engine.test_transfer import FILE, attach, content_of
from tests.engine.test_transfer import save as save_version

DATA = content_of("leaving", 3 * CHUNK_BYTES)


def hide(machine: Machine, mandate: bytes) -> None:
    machine.run(machine.engine.hide(mandate, machine.now, machine.wall_ms))


def save(machine: Machine, mandate: bytes, data: bytes) -> None:
    attach(machine, mandate)
    save_version(machine, mandate, data)


def tips(*machines: Machine) -> set[object]:
    (mandate,) = {each for machine in machines for each in machine.engine.mandates()}
    return {machine.engine.replica(mandate).tips() for machine in machines}


def detach(machine: Machine, mandate: bytes) -> None:
    file = machine.engine.replica(mandate).state.files[FILE]
    machine.author(mandate, Detach(FILE, tuple(sorted(file.heads))))


def test_who_has_left_is_neither_missed_nor_waited_for() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    assert anna.engine.meets_anybody(mandate)
    ben.author(mandate, Leave())
    network.settle(2)
    assert not anna.engine.meets_anybody(mandate)
    network.drop = {"Entries"}  # Ben cannot take what Anna writes
    anna.author(mandate, Rename("more"))
    network.settle()
    assert anna.engine.in_step(mandate)
    network.drop = set()
    ben.author(mandate, Return())
    network.settle(200)  # what was lost is mended by the next frontier
    assert anna.engine.meets_anybody(mandate)
    assert len(tips(anna, ben)) == 1


def test_two_that_left_and_came_back_while_apart_find_each_other() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    for machine in (anna, ben):
        machine.author(mandate, Leave())
    network.settle(2)
    network.reachable = False
    for number in list(network.links):
        network.cut(number)
    for machine in (anna, ben):
        machine.author(mandate, Return())
    network.reachable = True
    network.settle(120)
    assert anna.engine.replica(mandate).state.standing.left() == frozenset()
    assert len(tips(anna, ben)) == 1


def test_a_hidden_mandate_tells_its_entries_and_fetches_nothing() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ben.author(mandate, Leave())
    hide(ben, mandate)
    network.settle(2)
    assert anna.engine.replica(mandate).state.standing.left() == {ben.device}
    before = len(network.sent)
    save(anna, mandate, DATA)
    network.settle(2)
    asked = [
        message
        for name, message in network.sent[before:]
        if name == "ben" and isinstance(message, wire.ChunkWant)
    ]
    assert asked == []
    assert len(tips(anna, ben)) == 1, "entries still travel"
    assert all(peer.synced for peer in anna.engine.peers(mandate)), "it lacks nothing"


def test_a_hidden_mandate_is_hidden_after_a_restart_too() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    replica = ben.engine.replica(mandate)
    ben.run(ben.engine.remove(mandate, ben.now, ben.wall_ms))
    ben.run(ben.engine.add(replica, {anna.device: ()}, ben.now, ben.wall_ms, hidden=True))
    save(anna, mandate, DATA)
    network.settle(2)
    assert not any(isinstance(each, wire.ChunkWant) for each in network.messages("ben"))
    assert len(tips(anna, ben)) == 1


def test_content_of_a_detached_file_is_not_asked_for_until_it_is_attached_again() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    save(anna, mandate, DATA)
    network.settle(2)
    detach(anna, mandate)
    network.settle(2)
    carl = join(network, anna, mandate, "carl", "writer")
    assert carl.engine.in_step(mandate)
    assert not any(isinstance(each, wire.ChunkWant) for each in network.messages("carl"))
    detaches = anna.engine.replica(mandate).state.files[FILE].detached_by
    ben.author(mandate, Reattach(FILE, tuple(sorted(detaches))))
    network.settle(2)
    assert carl.content(mandate, FILE) == DATA
    assert carl.engine.in_step(mandate)


def test_fetching_ends_when_the_file_is_detached() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    network.drop = {"Chunk"}
    save(anna, mandate, DATA)
    network.settle(2)
    assert not ben.engine.in_step(mandate)
    detach(anna, mandate)
    network.settle(2)
    assert ben.engine.in_step(mandate) and anna.engine.in_step(mandate)


def test_nobody_is_admitted_to_a_closed_mandate_until_it_is_reopened() -> None:
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    anna.author(mandate, Close())
    network.settle(1)
    carl = network.machine("carl")
    carl.subscribe(ticket)
    network.settle(2)
    assert not anna.engine.replica(mandate).is_member(carl.device)
    assert [each.code for each in carl.log if isinstance(each, Refused)] == ["ticket-closed"]
    (closing,) = anna.engine.replica(mandate).state.standing.closed
    anna.author(mandate, Reopen((closing.id,)))
    network.settle(2)
    assert anna.engine.replica(mandate).is_member(carl.device)


def test_who_has_left_admits_nobody() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    network.settle(1)
    anna.author(mandate, Leave())
    network.settle(1)
    carl = network.machine("carl")
    carl.subscribe(ticket)
    network.settle(2)
    assert not ben.engine.replica(mandate).is_member(carl.device)
    anna.author(mandate, Return())
    network.settle(60)
    assert ben.engine.replica(mandate).is_member(carl.device)
