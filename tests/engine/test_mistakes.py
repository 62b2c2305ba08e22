"""Whatever a peer sends, ``step`` raises nothing, and what was held stays."""

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import entry, ops
from p2psync.core.frontier import Tip
from p2psync.engine import wire
from p2psync.engine.effects import CloseLink, FrameReceived, LinkUp
from tests.engine.joined import Network, mandate_of_two
from tests.engine.machine import Machine
from tests.engine.test_wire import messages


def link_of(machine: Machine) -> int:
    return next(iter(machine.engine._links))


@settings(max_examples=60)
@given(st.lists(messages, max_size=6))
def test_any_messages_from_a_stranger_are_survived(said: list[wire.Message]) -> None:
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    before = anna.engine.replica(mandate).tips()
    anna.handle(LinkUp(1, bytes(32), False, ""))
    for message in said:
        anna.handle(FrameReceived(1, wire.encode(message)))
    assert anna.engine.replica(mandate).tips() == before
    told = {type(message) for message in network.messages("anna")}
    assert told <= {wire.Hello, wire.Accept}


@settings(max_examples=60)
@given(st.data())
def test_any_messages_from_a_member_are_survived(data: st.DataObject) -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    replica = anna.engine.replica(mandate)
    before = set(anna.disk.entries)
    known = [*replica.tips(), Tip(bytes(32), 3, bytes(8))]
    tips = st.lists(st.sampled_from(known), max_size=4).map(tuple)
    raws = st.lists(
        st.sampled_from([each.raw for each in anna.disk.entries.values()]) | st.binary(min_size=1),
        max_size=3,
    ).map(tuple)
    meant = st.one_of(
        st.builds(wire.Frontier, st.just(0), tips),
        st.builds(wire.Have, st.just(0), tips),
        st.builds(wire.Entries, st.just(0), raws, st.booleans()),
        st.builds(wire.Opening, st.just(0), raws),
        st.builds(
            wire.Want,
            st.just(0),
            st.lists(
                st.sampled_from(known).map(lambda tip: wire.Wanted(tip.log, tip.seq, tip.head, ())),
                max_size=3,
            ).map(tuple),
        ),
        messages,
    )
    for _ in range(data.draw(st.integers(1, 6))):
        if not anna.engine._links:
            break
        anna.handle(FrameReceived(link_of(anna), wire.encode(data.draw(meant))))
    assert before <= set(anna.disk.entries)
    network.settle(200)
    assert anna.engine.replica(mandate).tips() == ben.engine.replica(mandate).tips()


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes_end_the_link_or_mean_nothing(frame: bytes) -> None:
    network = Network()
    anna, _, _ = mandate_of_two(network)
    anna.handle(FrameReceived(link_of(anna), frame))


def refuses(machine: Machine, *frames: bytes) -> bool:
    link = link_of(machine)
    for frame in frames:
        machine.handle(FrameReceived(link, frame))
    return any(isinstance(each, CloseLink) and each.error for each in machine.log)


def test_out_of_turn_messages_end_the_link() -> None:
    hello = wire.encode(wire.Hello(1, bytes(32), "x"))
    for frame in (
        hello,
        wire.encode(wire.Accept(())),
        wire.encode(wire.Offer(7, ())),
        wire.encode(wire.Frontier(99, ())),
        wire.encode(wire.Entries(0, (b"no entry",), False)),
    ):
        anna, _, _ = mandate_of_two(Network())
        assert refuses(anna, frame)


def test_another_version_ends_the_link() -> None:
    network = Network()
    anna = network.machine("anna")
    anna.handle(LinkUp(1, bytes(32), False, ""))
    assert refuses(anna, wire.encode(wire.Hello(2, bytes(32), "x")))


def test_a_second_opening_ends_the_link() -> None:
    anna, _, _ = mandate_of_two(Network())
    opening = wire.encode(wire.Opening(0, ()))
    assert refuses(anna, opening, opening)


def test_an_unsigned_entry_is_not_let_in() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    replica = ben.engine.replica(mandate)
    own = replica._own
    assert own is not None
    head = replica.chains.heads(own.log)[0]
    position = replica.chains.position(head)
    assert position is not None
    unsigned = entry.build(
        own,
        mandate=mandate,
        seq=position[1] + 1,
        prev=head,
        deps=(),
        hlc=1,
        epoch_key=replica.epoch_key,
        payload=ops.encode([ops.Rename("unsigned")]),
        entropy=bytes(32),
        sign=False,
    )
    before = dict(anna.disk.entries)
    assert refuses(anna, wire.encode(wire.Entries(0, (unsigned.raw,), False)))
    assert anna.disk.entries == before


def test_a_proof_that_does_not_hold_ends_the_link() -> None:
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    ticket = anna.invite(mandate)
    ben = network.machine("ben")
    network.reachable = False
    ben.subscribe(ticket)
    ben.handle(LinkUp(1, anna.device, True, ""))
    ben.handle(FrameReceived(1, wire.encode(wire.Hello(1, bytes(32), "x"))))
    forged = wire.Accept((wire.Accepted(0, bytes(16)),))
    assert refuses(ben, wire.encode(forged))
