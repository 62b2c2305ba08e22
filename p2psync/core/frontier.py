"""What a replica holds: the tips of every log; and what two replicas lack of each other.

A log is a chain of ids, and has one tip. A forked log has a tip a branch. See docs/spec/wire.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from p2psync.core.entry import Entry

HEAD_BYTES = 8
"""How much of the head's id a tip carries on the wire."""


@dataclass(frozen=True, slots=True, order=True)
class Tip:
    """The end of one branch of one log: 32 bytes, its seq, and 8 bytes of its last id."""

    log: bytes
    seq: int
    head: bytes


class Known(NamedTuple):
    """An entry that is held: ids and log have 32 bytes, no ``prev`` at seq 0.

    ``stamp`` is its effective time, ``None`` until it is folded.
    """

    id: bytes
    log: bytes
    seq: int
    prev: bytes
    stamp: int | None


class Index(Protocol):
    """Where entries that are not in memory any more are looked up."""

    def at(self, log: bytes, seq: int) -> Sequence[Known]:
        """Return the entries at a position, one a branch."""

    def where(self, entry_id: bytes) -> Known | None:
        """Return an entry by its id."""

    def chain(self, log: bytes, first: int, beyond: int) -> Sequence[bytes]:
        """Return the ids from one seq up to another, of a log that is not forked."""

    def branches(self, log: bytes) -> Sequence[Known]:
        """Return all entries of a log, each after its ``prev``."""


@dataclass(slots=True)
class Chains:
    """The ids of all entries held, by log and branch.

    Order of insertion does not matter beyond this: an entry's ``prev`` is added before it. With an
    ``index``, the beginnings of logs that are not forked are looked up there.
    """

    index: Index | None = None
    _position: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    _prev: dict[bytes, bytes] = field(default_factory=dict)
    """Entries of all branches but the main one."""
    _beside: dict[tuple[bytes, int], list[bytes]] = field(default_factory=dict)
    """The same by (log, seq)."""
    _main: dict[bytes, list[bytes]] = field(default_factory=dict)
    _start: dict[bytes, int] = field(default_factory=dict)
    """The seq with which ``_main`` begins, where that is not 0."""
    _tips: dict[bytes, list[bytes]] = field(default_factory=dict)

    def __contains__(self, entry_id: object) -> bool:
        return isinstance(entry_id, bytes) and self.position(entry_id) is not None

    def __len__(self) -> int:
        """How many entries are in memory."""
        return len(self._position)

    def has(self, entry_id: bytes, log: bytes, seq: int) -> bool:
        """Tell whether an entry is held; quicker than ``in`` where its place is known."""
        if entry_id in self._position:
            return True
        if self.index is None or seq >= self._start.get(log, 0):
            return False
        return any(known.id == entry_id for known in self.index.at(log, seq))

    def stands(self, entry_id: bytes, log: bytes, seq: int) -> bool:
        """Tell whether an entry is held and has this very place."""
        found = self._position.get(entry_id)
        if found is not None:
            return found == (log, seq)
        return self.has(entry_id, log, seq)

    def add(self, entry_id: bytes, log: bytes, seq: int, prev: bytes) -> bool:
        """Add an entry whose ``prev`` is held, or that starts its log; tell whether it forks it.

        A fork is a second entry at one (log, seq). Adding what is held already changes nothing.
        """
        if self.has(entry_id, log, seq):
            return False
        tips = self._tips.setdefault(log, [])
        if prev not in tips and log in self._start:
            self._load(log)  # a fork; they are few, and all in memory
            tips = self._tips[log]
        assert not prev or prev in self._position, "prev comes first"
        self._position[entry_id] = (log, seq)
        main = self._main.setdefault(log, [])
        start = self._start.get(log, 0)
        if prev and prev in tips:
            tips[tips.index(prev)] = entry_id
        else:
            tips.append(entry_id)
        if start + len(main) == seq and (not prev or main[seq - 1 - start] == prev):
            main.append(entry_id)
            return False
        self._prev[entry_id] = prev
        self._beside.setdefault((log, seq), []).append(entry_id)
        return True

    def add_entry(self, entry: Entry) -> bool:
        """Add an entry; see ``add``."""
        return self.add(entry.id, entry.log, entry.seq, entry.header.prev)

    # -- what is not in memory ------------------------------------------------------------------

    def restore(self, log: bytes, seq: int, head: bytes) -> None:
        """Take up a log that is not forked, by its last entry."""
        self._main[log] = [head]
        self._tips[log] = [head]
        self._position[head] = (log, seq)
        if seq:
            self._start[log] = seq

    def forked(self) -> set[bytes]:
        """The logs that have more than one branch."""
        return {self._position[each][0] for each in self._prev}

    def _load(self, log: bytes) -> None:
        """Take all of a log into memory."""
        start = self._start.pop(log)
        ids = [] if self.index is None else self.index.chain(log, 0, start)
        self._main[log][:0] = ids
        for seq, entry_id in enumerate(ids):
            self._position[entry_id] = (log, seq)

    def trim(self, kept: int) -> list[bytes]:
        """Let go of the beginnings of logs that the index holds; return the ids.

        The last ``kept`` entries of each log stay, forked logs, and what is not durable and folded.
        """
        gone: list[bytes] = []
        forked = self.forked()
        for log, main in self._main.items():
            cut = len(main) - max(kept, 1)
            if cut <= kept or log in forked or self.index is None:
                continue
            start = self._start.get(log, 0)
            last = main[cut - 1]
            durable = self.index.at(log, start + cut - 1)
            if all(known.id != last or known.stamp is None for known in durable):
                continue
            gone += main[:cut]
            for entry_id in main[:cut]:
                del self._position[entry_id]
            del main[:cut]
            self._start[log] = start + cut
        return gone

    def _id_at(self, log: bytes, seq: int) -> bytes | None:
        """The id at a place of the main branch."""
        main = self._main.get(log, [])
        start = self._start.get(log, 0)
        if seq >= start:
            return main[seq - start] if seq - start < len(main) else None
        if self.index is None:
            return None
        return next((known.id for known in self.index.at(log, seq)), None)

    def _ids(self, log: bytes, first: int, beyond: int) -> list[bytes]:
        """The ids of a stretch of the main branch."""
        start = self._start.get(log, 0)
        early: Sequence[bytes] = ()
        if first < start and self.index is not None:
            early = self.index.chain(log, first, min(beyond, start))
        return [*early, *self._main[log][max(0, first - start) : max(0, beyond - start)]]

    # -- asking ---------------------------------------------------------------------------------

    def position(self, entry_id: bytes) -> tuple[bytes, int] | None:
        """Return (log, seq) of an entry that is held."""
        found = self._position.get(entry_id)
        if found is None and self.index is not None and entry_id:
            known = self.index.where(entry_id)
            return None if known is None else (known.log, known.seq)
        return found

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
        found = self._id_at(log, 0)
        return () if found is None else (found,)

    def find(self, log: bytes, seq: int, head: bytes) -> bytes | None:
        """Return the id at (log, seq) that starts with ``head``, when it is held."""
        found = self._id_at(log, seq)
        if found is not None and found.startswith(head):
            return found
        for entry_id in self._beside.get((log, seq), ()):
            if entry_id.startswith(head):
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
        index = self._start.get(log, 0) + len(self._main.get(log, [])) - 1
        step = 1
        while index >= 0:
            found = self._id_at(log, index)
            if found is not None:
                points[(index, found[:HEAD_BYTES])] = None
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
        at = tip.seq
        while entry_id in self._prev:
            branch.append(entry_id)
            entry_id = self._prev[entry_id]
            at -= 1
        branch.reverse()
        beyond = at + 1 if entry_id else 0
        known = set(locator)
        for index in range(len(branch) - 1, -1, -1):
            if (self._position[branch[index]][1], branch[index][:HEAD_BYTES]) in known:
                return branch[index + 1 :]
        start = 0
        for seq, head in sorted(known, reverse=True):
            found = self._id_at(tip.log, seq) if seq < beyond else None
            if found is not None and found.startswith(head):
                start = seq + 1
                break
        return self._ids(tip.log, start, beyond) + branch


def missing(chains: Chains, remote: Iterable[Tip]) -> list[Tip]:
    """Return the remote tips that are not held here: what to ask for."""
    return [tip for tip in remote if not chains.holds(tip)]
