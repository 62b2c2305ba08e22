"""What waits in memory: for a signature, for its past, for an answer. It is bounded, and nothing
honest is lost by that."""

from itertools import chain

import pytest

from p2psync.core import codec, entry
from p2psync.core.crypto import content_digest
from p2psync.core.diff import diff
from p2psync.core.entry import LogKey
from p2psync.core.frontier import Tip
from p2psync.core.ops import AddFile, Rename
from p2psync.engine import replica as replicas
from p2psync.engine import session as sessions
from p2psync.engine import wire
from p2psync.engine.effects import CloseLink, FrameReceived, SendEntries
from p2psync.limits import LOGS_ASKED_MAX, UNCOVERED_BYTES_MAX, WANT_SECONDS_MAX
from tests.core.lines import segments
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import WALL_MS, Machine, key_of

FILE = b"f" * 16


def in_turns(network: Network, one: Machine, two: Machine, mandate: bytes, rounds: int) -> None:
    for number in range(rounds):
        for machine in (one, two):
            machine.author(mandate, Rename(f"{machine.name} {number}"))
            network.settle()


def broken(*machines: Machine) -> list[CloseLink]:
    return [
        each
        for machine in machines
        for each in machine.log
        if isinstance(each, CloseLink) and each.error
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for few entries, in frames of few entries."""
    monkeypatch.setattr(wire, "ENTRIES_PER_FRAME_MAX", 5)
    monkeypatch.setattr(replicas, "WAITING_ENTRIES_MAX", 10)
    monkeypatch.setattr(replicas, "_BLOCK_ENTRIES", 4)


@pytest.mark.usefixtures("small")
def test_who_comes_late_to_logs_that_were_written_in_turns_gets_all_of_them() -> None:
    """Log by log, the first would have to wait for the second, and there is no room for that."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    in_turns(network, anna, ben, mandate, 40)
    carl = join(network, anna, mandate, "carl", "writer")
    assert carl.engine.replica(mandate).tips() == anna.engine.replica(mandate).tips()
    assert broken(anna, ben, carl) == []


@pytest.mark.usefixtures("small")
def test_what_has_no_room_to_wait_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a peer that answers log by log, and when each log comes from its own author."""
    monkeypatch.setattr(replicas.Replica, "causal", lambda _, paths: list(chain(*paths)))
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    in_turns(network, anna, ben, mandate, 40)
    carl = join(network, anna, mandate, "carl", "writer")
    network.connect(carl, ben)
    network.settle(60)
    mine = carl.engine.replica(mandate)
    assert mine.tips() == anna.engine.replica(mandate).tips()
    assert broken(anna, ben, carl) == []
    assert not mine._waiting
    assert set(mine._waiting_bytes.values()) == {0}
    assert not mine.postponed


def test_what_waits_for_ever_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "WAITING_BYTES_MAX", 10_000)
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    liar = ben.engine.replica(mandate)
    assert liar._own is not None
    [head] = liar.chains.heads(liar._own.log)
    raws = []
    for number in range(50):
        made = entry.build(
            liar._own,
            mandate=mandate,
            seq=1 + number,
            prev=head,
            deps=[b"x" * 32],
            hlc=WALL_MS << 16,
            epoch_key=liar.epoch_key,
            payload=codec.pack([[11, "n" * 200]] * 5),
            entropy=bytes(32),
        )
        head = made.id
        raws.append(made.raw)
    [link] = network.links
    network.inject(anna, link, wire.encode(wire.Entries(0, tuple(raws), False)))
    held = anna.engine.replica(mandate)
    assert 0 < sum(held._waiting_bytes.values()) <= 10_000
    assert len(held._waiting) < 10
    anna.author(mandate, Rename("goes on"))
    network.settle(1)
    assert ben.engine.replica(mandate).state.name == "goes on"


def test_a_save_of_many_megabytes_is_signed_often_enough_to_be_taken() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    added = AddFile(FILE, "x", "other", "lines", "", None, None, None)
    anna.author(mandate, added)
    network.settle(1)
    data = b"".join(b"%d | %s\n" % (number, b"x" * 900) for number in range(12_000))
    assert len(data) > UNCOVERED_BYTES_MAX
    replica = anna.engine.replica(mandate)
    effects = replica.save(
        FILE,
        parents=(),
        lines=diff(FILE, [], segments(data), anna.device),
        content=None,
        mergeable=True,
        size_bytes=len(data),
        digest=content_digest(data),
        wall_ms=anna.wall_ms,
    )
    anna.publish(mandate, effects)
    network.settle(1)
    assert broken(anna, ben) == []
    assert ben.engine.replica(mandate).state.files[FILE].segments.emit() == data


def unsigned(machine: Machine, mandate: bytes, log: int, count: int) -> tuple[bytes, ...]:
    """Large entries of a log of its own that no signature covers."""
    key = LogKey(key_of(f"log {log}"))
    raws, previous = [], b""
    for seq in range(count):
        made = entry.build(
            key,
            mandate=mandate,
            seq=seq,
            prev=previous,
            deps=[],
            hlc=0,
            epoch_key=machine.engine.replica(mandate).epoch_key,
            payload=bytes(200_000),
            entropy=bytes(32),
            sign=False,
        )
        previous = made.id
        raws.append(made.raw)
    return tuple(raws)


def waiting_bytes(machine: Machine, mandate: bytes) -> int:
    kept = machine.engine.replica(mandate)._uncovered.values()
    return sum(len(each.raw) for one in kept for run in one.runs.values() for each in run)


def test_what_waits_for_a_signature_is_bounded_over_all_logs_and_goes_with_its_link() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    [link] = network.links
    for log in range(12):
        frame = wire.encode(wire.Entries(0, unsigned(ben, mandate, log, 5), True))
        network.inject(anna, link, frame)
    assert 0 < waiting_bytes(anna, mandate) <= UNCOVERED_BYTES_MAX
    anna.author(mandate, Rename("goes on"))
    network.settle(1)
    assert ben.engine.replica(mandate).state.name == "goes on"
    network.cut(link)
    assert waiting_bytes(anna, mandate) == 0


def test_a_log_alone_may_not_have_more_without_a_signature() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    [link] = network.links
    raws = unsigned(ben, mandate, 1, 45)
    for start in range(0, 45, 5):
        network.inject(anna, link, wire.encode(wire.Entries(0, raws[start : start + 5], True)))
    assert waiting_bytes(anna, mandate) == 0
    assert len(broken(anna)) == 1


def test_made_up_logs_are_asked_for_some_at_a_time() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    [link] = network.links
    exchange = anna.engine._held[mandate].exchange
    for round_ in range(3):
        made_up = [Tip(bytes([round_]) + n.to_bytes(31, "big"), 9, bytes(8)) for n in range(9000)]
        network.inject(anna, link, wire.encode(wire.Frontier(0, tuple(sorted(made_up)))))
        assert len(exchange._asked) <= LOGS_ASKED_MAX
    network.drop = {"Want"}
    network.settle(WANT_SECONDS_MAX + 1)
    assert exchange.sessions[link].asked == len(exchange._asked) <= LOGS_ASKED_MAX
    ben.author(mandate, Rename("goes on"))
    network.settle(1)
    assert anna.engine.replica(mandate).state.name == "goes on"
    network.cut(link)
    assert exchange._asked == {}


def test_who_asks_for_everything_again_and_again_does_not_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "ENTRIES_AGAIN_MAX", 50)
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    for number in range(30):
        anna.author(mandate, Rename(f"{number}"))
    network.settle(1)
    [link] = network.links
    tips = anna.engine.replica(mandate).tips()
    wants = tuple([wire.Wanted(tip.log, tip.seq, tip.head, ()) for tip in tips])
    held = len(anna.engine.replica(mandate).chains)
    frame = wire.encode(wire.Want(0, wants * 50))
    given = 0
    for _ in range(100):
        effects = anna.engine.step(FrameReceived(link, frame), anna.now, anna.wall_ms)
        given += sum(len(each.ids) for each in effects if isinstance(each, SendEntries))
    assert held <= given <= 2 * held + 50
    anna.now += 61
    effects = anna.engine.step(FrameReceived(link, frame), anna.now, anna.wall_ms)
    assert any(isinstance(each, SendEntries) for each in effects)
    assert ben.device in anna.engine.replica(mandate).state.membership.members


def test_a_tip_that_is_not_held_is_looked_for_in_no_other_place() -> None:
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    chains = anna.engine.replica(mandate).chains
    log = bytes(32)
    chains.add(b"a" * 32, log, 0, b"")
    for number in range(5):
        chains.add(bytes([number]) * 32, log, 1, b"a" * 32)
    for number in range(5):
        assert chains.find(log, 1, bytes([number]) * 8) == bytes([number]) * 32
    assert chains.find(log, 1, b"z" * 8) is None
    assert chains.find(log, 2, bytes(8)) is None
