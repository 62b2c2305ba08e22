"""What replicas hold and lack, with forks: any two that exchange paths end up alike."""

import random
from dataclasses import dataclass, field
from math import log2

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core.crypto import digest
from p2psync.core.frontier import HEAD_BYTES, Chains, Known, Tip, missing

LOGS = (b"a" * 32, b"b" * 32)
Node = tuple[bytes, bytes, int, bytes]
"""Id, log, seq, prev."""


@st.composite
def _forests(draw: st.DrawFn) -> list[Node]:
    """Logs that fork anywhere, also at their first entry; parents come first."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 14))):
        log = LOGS[draw(st.integers(0, 1))]
        mine = [node for node in nodes if node[1] == log]
        # Mostly the last one, so that branches grow long.
        back = draw(st.sampled_from([0, 0, 0, 1, 2, 5, 99]))
        parent = mine[-1 - back] if back < len(mine) else None
        prev, seq = (parent[0], parent[2] + 1) if parent else (b"", 0)
        nodes.append((digest(b"node", bytes([number])), log, seq, prev))
    return nodes


def _closed(nodes: list[Node], chosen: set[int]) -> list[Node]:
    """The chosen nodes and all their ancestors, in order."""
    wanted = {nodes[place][0] for place in chosen if place < len(nodes)}
    for node in reversed(nodes):
        if node[0] in wanted and node[3]:
            wanted.add(node[3])
    return [node for node in nodes if node[0] in wanted]


def _chains(nodes: list[Node]) -> Chains:
    chains = Chains()
    for node in nodes:
        chains.add(*node)
    return chains


def _any_order(nodes: list[Node], chance: random.Random) -> list[Node]:
    """A random order in which parents still come first."""
    left, out, held = list(nodes), list[Node](), {b""}
    while left:
        node = chance.choice([node for node in left if node[3] in held])
        left.remove(node)
        held.add(node[0])
        out.append(node)
    return out


@given(_forests(), st.randoms(use_true_random=False))
def test_the_frontier_is_what_nothing_follows(nodes: list[Node], chance: random.Random) -> None:
    parents = {node[3] for node in nodes}
    expected = sorted(
        Tip(log, seq, entry_id[:HEAD_BYTES])
        for entry_id, log, seq, _ in nodes
        if entry_id not in parents
    )
    chains = _chains(_any_order(nodes, chance))
    assert list(chains.tips()) == expected
    assert len(chains) == len(nodes)
    assert set(chains.logs()) == {node[1] for node in nodes}
    for entry_id, log, seq, _ in nodes:
        assert entry_id in chains
        assert chains.position(entry_id) == (log, seq)
        assert chains.find(log, seq, entry_id[:HEAD_BYTES]) == entry_id
        assert chains.holds(Tip(log, seq, entry_id[:HEAD_BYTES]))
        assert not chains.holds(Tip(log, seq + 1, entry_id[:HEAD_BYTES]))
        assert not chains.holds(Tip(log, seq, b"12345678"))
    for log in LOGS:
        heads = {node[0] for node in nodes if node[1] == log and node[0] not in parents}
        assert set(chains.heads(log)) == heads


@given(_forests(), st.randoms(use_true_random=False))
def test_a_fork_is_told(nodes: list[Node], chance: random.Random) -> None:
    """Whichever of two entries at one place comes second."""
    chains, told = Chains(), set()
    for node in _any_order(nodes, chance):
        if chains.add(*node):
            told.add(node[1])
        assert not chains.add(*node), "what is held already changes nothing"
    forked = {
        node[1] for node in nodes for other in nodes if node[1:3] == other[1:3] and node != other
    }
    assert told == forked


@settings(deadline=None)
@given(
    _forests(),
    st.sets(st.integers(0, 13)),
    st.sets(st.integers(0, 13)),
    st.randoms(use_true_random=False),
)
def test_two_replicas_that_exchange_paths_end_up_alike(
    nodes: list[Node], mine: set[int], theirs: set[int], chance: random.Random
) -> None:
    by_id = {node[0]: node for node in nodes}
    held = [_closed(nodes, mine), _closed(nodes, theirs)]
    replicas = [_chains(_any_order(part, chance)) for part in held]
    for here, there in ((0, 1), (1, 0)):
        for tip in missing(replicas[here], replicas[there].tips()):
            sent = replicas[there].path(tip, replicas[here].locator(tip.log))
            for entry_id in sent:
                replicas[here].add(*by_id[entry_id])  # asserts that prev came first
            assert replicas[here].holds(tip)
    assert replicas[0].tips() == replicas[1].tips()
    assert len(replicas[0]) == len({*(n[0] for n in held[0]), *(n[0] for n in held[1])})
    assert not missing(replicas[0], replicas[1].tips())


def _line(log: bytes, length: int, mark: bytes, after: bytes = b"", start: int = 0) -> list[Node]:
    nodes: list[Node] = []
    for seq in range(start, start + length):
        entry_id = digest(b"line", mark, seq.to_bytes(4, "big"))
        nodes.append((entry_id, log, seq, nodes[-1][0] if nodes else after))
    return nodes


def test_a_locator_is_short_and_nothing_is_sent_twice_without_a_fork() -> None:
    line = _line(LOGS[0], 10_000, b"main")
    behind, ahead = _chains(line[:9_990]), _chains(line)
    locator = behind.locator(LOGS[0])
    assert len(locator) <= log2(10_000) + 2
    assert ahead.path(ahead.tips()[0], locator) == [node[0] for node in line[9_990:]]


def test_after_a_fork_little_more_than_the_branch_is_sent() -> None:
    line = _line(LOGS[0], 1_000, b"main")
    branch = _line(LOGS[0], 10, b"branch", line[990][0], 991)
    here, there = _chains(line), _chains([*line[:991], *branch])
    tip = missing(here, there.tips())[0]
    assert len(there.path(tip, here.locator(LOGS[0]))) <= 2 * len(branch) + 10


def test_nothing_is_known_of_an_unknown_log() -> None:
    chains = Chains()
    assert chains.heads(LOGS[0]) == ()
    assert chains.first(LOGS[0]) == ()
    assert chains.locator(LOGS[0]) == ()
    assert chains.path(Tip(LOGS[0], 3, b"12345678"), ()) == []
    assert chains.position(b"?" * 32) is None


# -- what is looked up ----------------------------------------------------------------------------


@dataclass
class Held:
    """An index that holds entries, all of them folded."""

    nodes: list[Node] = field(default_factory=list)

    def at(self, log: bytes, seq: int) -> list[Known]:
        return [Known(*node, 1) for node in self.nodes if node[1:3] == (log, seq)]

    def where(self, entry_id: bytes) -> Known | None:
        return next((Known(*node, 1) for node in self.nodes if node[0] == entry_id), None)

    def chain(self, log: bytes, first: int, beyond: int) -> list[bytes]:
        mine = [node for node in self.nodes if node[1] == log and first <= node[2] < beyond]
        assert len({node[2] for node in mine}) == len(mine), "asked of logs without forks only"
        return [node[0] for node in sorted(mine, key=lambda node: node[2])]

    def branches(self, log: bytes) -> list[Known]:
        return [Known(*node, 1) for node in self.nodes if node[1] == log]


def _restored(before: Chains, index: Held) -> Chains:
    """Chains as they are after a restart."""
    chains = Chains(index)
    for log in before.logs():
        if log in before.forked():
            for known in index.branches(log):
                chains.add(known.id, known.log, known.seq, known.prev)
        else:
            (head,) = before.heads(log)
            position = before.position(head)
            assert position is not None
            chains.restore(log, position[1], head)
    return chains


@settings(deadline=None)
@given(_forests(), st.randoms(use_true_random=False))
def test_what_is_looked_up_is_what_was_remembered(nodes: list[Node], chance: random.Random) -> None:
    index = Held()
    full, short = Chains(), Chains(index)
    arrived: list[Node] = []
    for node in _any_order(nodes, chance):
        assert short.add(*node) == full.add(*node)
        assert not short.add(*node)
        arrived.append(node)
        if chance.random() < 0.8:  # else it is not durable yet when the next one comes
            index.nodes = list(arrived)
        if chance.random() < 0.4:
            short.trim(1)
        if chance.random() < 0.2 and len(index.nodes) == len(full):
            short = _restored(full, index)
    index.nodes = arrived
    assert short.tips() == full.tips()
    for entry_id, log, seq, prev in nodes:
        tip = Tip(log, seq, entry_id[:HEAD_BYTES])
        assert short.holds(tip)
        assert short.position(entry_id) == full.position(entry_id) == (log, seq)
        assert short.has(entry_id, log, seq)
        assert not short.has(b"?" * 32, log, seq)
        assert short.first(log) != ()
        locators = [(), short.locator(log), ((seq, entry_id[:HEAD_BYTES]),)]
        if prev:
            locators.append(((seq - 1, prev[:HEAD_BYTES]),))
        for locator in locators:
            assert short.path(tip, locator)[-1:] == full.path(tip, locator)[-1:]
            if not full.forked():
                assert short.path(tip, locator) == full.path(tip, locator)
    if not full.forked():
        assert [short.locator(log) for log in LOGS] == [full.locator(log) for log in LOGS]


def test_an_entry_stands_at_its_own_place_only() -> None:
    """What follows an entry is in the same log, one further: nothing else is its continuation."""
    chains = Chains()
    chains.add(b"a" * 32, b"l" * 32, 0, b"")
    assert chains.stands(b"a" * 32, b"l" * 32, 0)
    assert not chains.stands(b"a" * 32, b"k" * 32, 0)
    assert not chains.stands(b"a" * 32, b"l" * 32, 4)
    assert not chains.stands(b"b" * 32, b"l" * 32, 0)
