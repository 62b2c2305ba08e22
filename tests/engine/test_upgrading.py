"""A direct link takes the place of one through a relay, and nothing is lost on the way."""

from collections import Counter

import pytest

from p2psync.engine import wire
from p2psync.engine.effects import CloseLink, FrameReceived, LinkDown, LinkUp, PeerChanged
from p2psync.limits import CHUNK_BYTES, CHUNKS_WANTED_MAX
from tests.engine.joined import Network, Wire, mandate_of_two
from tests.engine.machine import Machine
from tests.engine.test_transfer import FILE, attach, content_of, save

CIRCUIT = "/p2p/12D3KooWRelay/p2p-circuit"
PUNCHED = "/ip4/203.0.113.9/tcp/4001/punched"


def connect(network: Network, dialler: Machine, answerer: Machine, address: str) -> int:
    """Bring up a link that has this address at both ends."""
    number = 1_000_000 + len(network.sent)
    network.links[number] = Wire((dialler.port, answerer.port))  # type: ignore[arg-type]  # the network's own ports
    dialler.handle(LinkUp(number, answerer.device, True, address))
    answerer.handle(LinkUp(number, dialler.device, False, address))
    return number


def two_through_a_relay(network: Network) -> tuple[Machine, Machine, bytes, int]:
    """Anna and Ben, who reach one another through a relay alone."""
    anna, ben, mandate = mandate_of_two(network)
    network.reachable = False
    for number in network.links_of("anna"):
        network.cut(number)
    relayed = connect(network, anna, ben, CIRCUIT)
    network.settle(1)
    assert network.links_of("anna") == [relayed]
    return anna, ben, mandate, relayed


def carry_until(network: Network, chunks: int) -> None:
    """Carry frames until so many chunks have arrived at Ben."""
    while chunks:
        port, number, frame = network.queue.popleft()
        chunks -= isinstance(wire.decode(frame), wire.Chunk)
        port.machine.handle(FrameReceived(number, frame))


@pytest.mark.parametrize("chunks", [1, 10, 30])
@pytest.mark.parametrize("dialler", ["anna", "ben"])
def test_a_transfer_goes_on_over_the_direct_link(chunks: int, dialler: str) -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    attach(anna, mandate)
    data = content_of("big", 40 * CHUNK_BYTES + 5)
    save(anna, mandate, data)
    carry_until(network, chunks)
    others = (anna, ben) if dialler == "anna" else (ben, anna)
    direct = connect(network, *others, PUNCHED)
    assert relayed in network.links, "the relayed link goes on until the other carries the mandate"
    network.settle()
    assert network.links_of("anna") == [direct]
    assert ben.content(mandate, FILE) == data
    sent = Counter(
        each.address for each in network.messages("anna") if isinstance(each, wire.Chunk)
    )
    twice = sum(count - 1 for count in sent.values())
    assert twice <= CHUNKS_WANTED_MAX, "only what was on its way is sent again"
    assert anna.engine.in_step(mandate)
    assert ben.engine.in_step(mandate)


def test_what_is_written_meanwhile_arrives() -> None:
    network = Network()
    anna, ben, mandate, _ = two_through_a_relay(network)
    attach(anna, mandate)
    network.settle()
    save(anna, mandate, b"before")
    connect(network, anna, ben, PUNCHED)
    save(anna, mandate, b"meanwhile")
    network.settle()
    assert ben.content(mandate, FILE) == b"meanwhile"
    assert ben.engine.in_step(mandate)
    assert anna.engine.in_step(mandate)


def test_no_moment_passes_without_the_member() -> None:
    """The session over the new link stands before the one over the relay ends."""
    network = Network()
    anna, ben, mandate, _ = two_through_a_relay(network)
    anna.log.clear()
    connect(network, anna, ben, PUNCHED)
    while network.queue:
        port, number, frame = network.queue.popleft()
        port.machine.handle(FrameReceived(number, frame))
        assert anna.engine.meets_anybody(mandate)
    assert anna.engine.peers(mandate)[0].address == PUNCHED
    assert ben.engine.peers(mandate)[0].address == PUNCHED
    told = [each.state for each in anna.log if isinstance(each, PeerChanged)]
    assert (told[0], "offline" in told) == ("online", False)
    for number in network.links_of("anna"):
        network.cut(number)
    assert PeerChanged(mandate, ben.device, "offline") in anna.log


def test_the_relayed_link_stays_when_the_direct_one_comes_to_nothing() -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    direct = connect(network, anna, ben, PUNCHED)
    network.cut(direct)
    network.settle(1)
    assert network.links_of("anna") == [relayed]
    assert anna.engine.in_step(mandate)
    assert ben.engine.meets_anybody(mandate)


def test_the_direct_link_is_there_when_the_relayed_one_is_lost_first() -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    direct = connect(network, anna, ben, PUNCHED)
    network.cut(relayed)
    network.settle(1)
    assert network.links_of("anna") == [direct]
    assert anna.engine.in_step(mandate)
    assert ben.engine.in_step(mandate)


def test_a_direct_link_is_not_given_up_for_one_through_a_relay_that_was_dialled_at_once() -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    network.cut(relayed)
    network.settle()
    direct = connect(network, anna, ben, PUNCHED)
    late = connect(network, ben, anna, CIRCUIT)
    network.settle(1)
    assert network.links_of("anna") == [direct]
    assert CloseLink(late, "") in anna.log
    assert anna.engine.in_step(mandate)


def test_both_ends_agree_whichever_link_they_saw_first() -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    network.cut(relayed)
    network.settle()
    ports = (anna.port, ben.port)
    for number in (7_000_001, 7_000_002):
        network.links[number] = Wire(ports)  # type: ignore[arg-type]  # the network's own ports
    anna.handle(LinkUp(7_000_001, ben.device, True, CIRCUIT))
    anna.handle(LinkUp(7_000_002, ben.device, False, PUNCHED))
    ben.handle(LinkUp(7_000_002, anna.device, True, PUNCHED))
    ben.handle(LinkUp(7_000_001, anna.device, False, CIRCUIT))
    network.settle(1)
    assert network.links_of("anna") == [7_000_002]
    assert anna.engine.in_step(mandate)
    assert ben.engine.in_step(mandate)


def test_a_member_through_a_relay_is_dialled_directly_when_it_has_a_new_address() -> None:
    network = Network()
    anna, ben, mandate, relayed = two_through_a_relay(network)
    ben.engine._addresses = lambda: ("/ip4/192.0.2.7/tcp/4001",)
    network.reachable = True
    network.settle(120)
    assert relayed not in network.links
    assert len(network.links_of("anna")) == 1
    assert anna.engine.in_step(mandate)
    assert anna.engine.peers(mandate)[0].address != CIRCUIT
    anna.handle(LinkDown(relayed, False))
    assert anna.engine.meets_anybody(mandate)
