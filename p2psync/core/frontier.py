"""What a replica holds: the tips of every log; and what two replicas lack of each other.

A log is a chain of ids, and has one tip. A forked log has a tip a branch. See docs/spec/wire.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2psync.core.entry import Entry

HEAD_BYTES = 8
"""How much of the head's id a tip carries on the wire."""


@dataclass(frozen=True, slots=True, order=True)
class Tip:
    """The end of one branch of one log: 32 bytes, its seq, and 8 bytes of its last id."""

    log: bytes
    seq: int
    head: bytes


@dataclass(slots=True)
class Chains:
    """The ids of all entries held, by log and branch.

    Order of insertion does not matter beyond this: an entry's ``prev`` is added before it.
    """

    _position: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    _prev: dict[bytes, bytes] = field(default_factory=dict)
    _main: dict[bytes, list[bytes]] = field(default_factory=dict)
    _tips: dict[bytes, list[bytes]] = field(default_factory=dict)

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._position

    def __len__(self) -> int:
        return len(self._position)

    def add(self, entry_id: bytes, log: bytes, seq: int, prev: bytes) -> bool:
        """Add an entry whose ``prev`` is held, or that starts its log; tell whether it forks it.

        A fork is a second entry at one (log, seq). Adding what is held already changes nothing.
        """
        if entry_id in self._position:
            return False
        assert not prev or prev in self._position, "prev comes first"
        self._position[entry_id] = (log, seq)
        main = self._main.setdefault(log, [])
        tips = self._tips.setdefault(log, [])
        if prev and prev in tips:
            tips[tips.index(prev)] = entry_id
        else:
            tips.append(entry_id)
        if len(main) == seq and (not prev or main[seq - 1] == prev):
            main.append(entry_id)
            return False
        self._prev[entry_id] = prev
        return True

    def add_entry(self, entry: Entry) -> bool:
        """Add an entry; see ``add``."""
        return self.add(entry.id, entry.log, entry.seq, entry.header.prev)

    def position(self, entry_id: bytes) -> tuple[bytes, int] | None:
        """Return (log, seq) of an entry that is held."""
        return self._position.get(entry_id)

    def logs(self) -> Iterable[bytes]:
        """Return every log of which something is held."""
        return self._main.keys()

    def heads(self, log: bytes) -> tuple[bytes, ...]:
        """Return the full ids of a log's tips, one a branch; none for an unknown log."""
        return tuple(self._tips.get(log, ()))

    def tips(self) -> tuple[Tip, ...]:
        """Return the frontier, ascending."""
        return tuple(
            sorted(
                Tip(log, self._position[head][1], head[:HEAD_BYTES])
                for log, heads in self._tips.items()
                for head in heads
            )
        )

    def first(self, log: bytes) -> tuple[bytes, ...]:
        """Return the id of a log's first entry, when it is held."""
        return tuple(self._main.get(log, ())[:1])

    def find(self, log: bytes, seq: int, head: bytes) -> bytes | None:
        """Return the id at (log, seq) that starts with ``head``, when it is held."""
        main = self._main.get(log, [])
        if seq < len(main) and main[seq].startswith(head):
            return main[seq]
        for entry_id in self._prev:
            if self._position[entry_id] == (log, seq) and entry_id.startswith(head):
                return entry_id
        return None

    def holds(self, tip: Tip) -> bool:
        """Tell whether a peer's tip is held here."""
        return self.find(tip.log, tip.seq, tip.head) is not None

    def locator(self, log: bytes) -> tuple[tuple[int, bytes], ...]:
        """Return (seq, 8 bytes of id) of the tips, then ever further back along the main branch.

        Distances double, so that a peer finds a common ancestor near the point of a fork, in
        O(log n) items.
        """
        points: dict[tuple[int, bytes], None] = {}
        for head in self._tips.get(log, ()):
            points[(self._position[head][1], head[:HEAD_BYTES])] = None
        main = self._main.get(log, [])
        step, index = 1, len(main) - 1
        while index >= 0:
            points[(index, main[index][:HEAD_BYTES])] = None
            index -= step
            step *= 2
        return tuple(points)

    def path(self, tip: Tip, locator: Sequence[tuple[int, bytes]]) -> list[bytes]:
        """Return the ids that lead to ``tip`` from the last of ``locator`` on the way, oldest
        first.

        Empty when the tip is not held. This is what a peer with that locator lacks of the branch.
        """
        entry_id = self.find(tip.log, tip.seq, tip.head)
        if entry_id is None:
            return []
        branch: list[bytes] = []
        while entry_id in self._prev:
            branch.append(entry_id)
            entry_id = self._prev[entry_id]
        branch.reverse()
        main = self._main[tip.log][: self._position[entry_id][1] + 1] if entry_id else []
        known = set(locator)
        start = 0
        for seq, head in known:
            if seq < len(main) and main[seq].startswith(head):
                start = max(start, seq + 1)
        ids = main[start:]
        for index in range(len(branch) - 1, -1, -1):
            if (self._position[branch[index]][1], branch[index][:HEAD_BYTES]) in known:
                return branch[index + 1 :]
        return ids + branch


def missing(chains: Chains, remote: Iterable[Tip]) -> list[Tip]:
    """Return the remote tips that are not held here: what to ask for."""
    return [tip for tip in remote if not chains.holds(tip)]
