"""One mandate on this device: takes entries in, writes its own, keeps the fold in step.

Entries are accepted when they are well-formed, continue a chain that is held, and a signature
covers them; they are folded in causal order, each after its ``prev`` and ``deps``. What is accepted
is persisted by the effects that are returned, before anything else happens with it. No I/O here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from p2psync.core import clock, crypto, entry, epochs, kept, membership, ops
from p2psync.core.changes import Change
from p2psync.core.entry import Entry, LogKey
from p2psync.core.files import StampedLines
from p2psync.core.frontier import Chains, Tip, missing
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.membership import MAY_INVITE
from p2psync.core.ops import (
    Chunked,
    Lines,
    Observe,
    OpenLog,
    Operation,
    OpId,
    Redeem,
    Remove,
    Rotate,
    Save,
)
from p2psync.core.records import SegmentReader
from p2psync.engine.effects import (
    Changed,
    CloseLog,
    Effect,
    KeepEpochKey,
    KeepLogKey,
    Persist,
    Refold,
    StoredEntry,
    Warn,
)
from p2psync.engine.keeping import FRONT, LOG, ArchivedPast, Front, Keeper, LogRow
from p2psync.engine.ports import Archive, Kept
from p2psync.engine.quota import Quota
from p2psync.errors import (
    BadInputError,
    CryptoError,
    DeviceRemoved,
    NotAdmitting,
    StateDamaged,
    TicketClosed,
    TicketExpired,
    TicketForeign,
    TicketRevoked,
    TicketUsedUp,
    WireError,
)
from p2psync.limits import (
    CUT_HEADS_MAX,
    ENTRIES_IN_MEMORY_MAX,
    ENTRY_DEPS_MAX,
    ENTRY_OPERATIONS_MAX,
    ENTRY_PAYLOAD_TARGET_BYTES,
    EPOCHS_MAX,
    EPOCHS_OFFERED_MAX,
    LOGS_DECLINED_MAX,
    OPENING_ENTRIES_MAX,
    UNCOVERED_BYTES_MAX,
    UNSIGNED_BYTES_MAX,
    WAITING_BYTES_MAX,
    WAITING_ENTRIES_MAX,
)

Entropy = Callable[[int], bytes]
_BLOCK_ENTRIES = 256
_BEFORE: OpId = (bytes(32), 0)
"""Stands for the version in the entry before, whose id nobody knows yet."""


@dataclass(frozen=True, slots=True)
class OwnLog:
    """A log that this device opened: its secret seed (32 bytes) and which incarnation it is."""

    seed: bytes
    incarnation: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Secrets:
    """What this device holds of a mandate besides its entries.

    ``epoch_keys``: 32 bytes each; the first is that of the ticket, or of the founding.
    ``admission_seed`` (32 bytes) comes from the ticket, for a device that is to be admitted.
    """

    epoch_keys: tuple[bytes, ...]
    admission_seed: bytes | None = None
    own_logs: tuple[OwnLog, ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """What came of a batch: effects in order, ids that are new, logs of which something before
    is missing, logs of which something was not kept because no more could wait."""

    effects: tuple[Effect, ...] = ()
    new: tuple[bytes, ...] = ()
    gaps: tuple[bytes, ...] = ()
    put_off: tuple[bytes, ...] = ()


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    operations: tuple[Operation, ...] | None
    """``None`` while the key of its epoch is not here."""


@dataclass(frozen=True, slots=True)
class Written:
    """A new version of a file that this device is to write; see ``Replica.save_many``.

    ``before`` are operations that go ahead of it in its entry.
    """

    file: bytes
    parents: Sequence[OpId]
    lines: Sequence[Lines]
    content: Chunked | None
    mergeable: bool
    size_bytes: int
    digest: bytes
    before: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Uncovered:
    """What one peer has sent and not signed yet, by log."""

    device: bytes
    runs: dict[bytes, list[Entry]]
    size_bytes: int


@dataclass(slots=True)
class Replica:
    """One mandate's entries and fold on this device."""

    mandate: bytes
    signing: crypto.SigningKey
    secrets: Secrets
    reader: SegmentReader
    entropy: Entropy
    describe: ops.Describe
    state: Mandate = field(init=False)
    chains: Chains = field(default_factory=Chains)
    _epochs: dict[bytes, bytes] = field(default_factory=dict)
    """The keys that entries are opened with, by epoch."""
    _offered: dict[bytes, bytes] = field(default_factory=dict)
    """Keys that a member told of, until an entry shows that their epoch was started."""
    _learnt: list[bytes] = field(default_factory=list)
    """Keys that are to be made durable."""
    _current: tuple[object, int, int, bytes] = (None, 0, 0, b"")
    """The key that is written with, and what it was chosen by."""
    _stamps: dict[bytes, int] = field(default_factory=dict)
    _heads: dict[bytes, None] = field(default_factory=dict)
    _last_stamp: int = 0
    _waiting: dict[bytes, _Waiting] = field(default_factory=dict)
    _waiters: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    _waiting_by_log: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    _waiting_bytes: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    """By device."""
    postponed: dict[bytes, None] = field(default_factory=dict)
    """Logs of which something came when no more could wait; not asked for until there is room."""
    _uncovered: dict[int, _Uncovered] = field(default_factory=dict)
    """By the link that they came over."""
    _discovery: dict[bytes, bytes] = field(default_factory=dict)
    """What is derived of each epoch key: strangers' offers are held against it."""
    _own: LogKey | None = None
    _refolding: list[Applied] | None = None
    _quota: Quota = field(init=False)
    _keeper: Keeper = field(init=False)
    _changed_logs: dict[bytes, None] = field(init=False)
    """Logs of which something came, or was folded, since that was last kept."""
    _past: ArchivedPast | None = None
    _ease_at: int = ENTRIES_IN_MEMORY_MAX

    def __post_init__(self) -> None:
        self._reset()
        for key in self.secrets.epoch_keys:
            self._epochs[entry.epoch_id(key)] = key
        for own in self.secrets.own_logs:
            log_key = LogKey(crypto.SigningKey.from_seed(own.seed))
            if not own.closed:
                self._own = log_key

    def _reset(self) -> None:
        """Hold nothing."""
        self._use(Mandate(self.mandate, self.reader))
        self.chains = Chains()
        self._stamps, self._heads, self._last_stamp = {}, {}, 0
        self._waiting, self._waiters = {}, defaultdict(list)
        self._waiting_by_log, self._uncovered = defaultdict(int), {}
        self._waiting_bytes, self.postponed = defaultdict(int), {}
        self._quota = Quota(self._is_trusted, self.was_removed)
        self._keeper, self._changed_logs = Keeper(), {}
        self._refolding = self._past = None

    # -- what others ask ----------------------------------------------------------------------

    @property
    def device(self) -> bytes:
        """This device's key, 32 bytes."""
        return self.signing.public

    @property
    def epoch_key(self) -> bytes:
        """The content key that new entries are sealed with, 32 bytes: of the epochs whose key is
        here, the one that is to be written in."""
        mark = (self.state.membership, len(self.state.rotations), len(self._epochs))
        if self._current[0] is not mark[0] or self._current[1:3] != mark[1:]:
            held = [epoch for epoch in self.state.epochs() if epoch in self._epochs]
            key = self._epochs[held[0]] if held else self.secrets.epoch_keys[0]
            self._current = (*mark, key)
        return self._current[3]

    @property
    def discovery_key(self) -> bytes:
        """Proves to others, and them to us, that one holds the mandate's key; 32 bytes."""
        return self._discovery_of(self.epoch_key)

    @property
    def discovery_keys(self) -> tuple[bytes, ...]:
        """The same of all epochs, the one that is written in first: a peer may be behind."""
        if len(self._epochs) == 1:
            return (self.discovery_key,)
        return tuple(self._discovery_of(key) for key in self._newest_first())

    @property
    def offered_keys(self) -> tuple[bytes, ...]:
        """Those of them by which a mandate is offered."""
        return self.discovery_keys[:EPOCHS_OFFERED_MAX]

    def _discovery_of(self, key: bytes) -> bytes:
        found = self._discovery.get(key)
        if found is None:
            found = crypto.derive(key, b"p2psync.discover", self.mandate)
            self._discovery[key] = found
        return found

    def _newest_first(self) -> list[bytes]:
        """All keys of epochs that are here."""
        ordered = [self._epochs[each] for each in self.state.epochs() if each in self._epochs]
        return list(dict.fromkeys([self.epoch_key, *ordered, *self._epochs.values()]))

    @property
    def chunk_secret(self) -> bytes:
        """What the keys of new chunks are derived from; 32 bytes."""
        return self._chunk_secret_of(self.epoch_key)

    @property
    def chunk_secrets(self) -> tuple[bytes, ...]:
        """The same of all epochs, the latest first; may be asked for in any thread."""
        keys = dict.fromkeys(reversed(self.secrets.epoch_keys))
        return tuple(self._chunk_secret_of(key) for key in keys)

    def _chunk_secret_of(self, key: bytes) -> bytes:
        return crypto.derive(key, b"p2psync.chunks", self.mandate)

    def is_member(self, device: bytes) -> bool:
        """Tell whether a device is a member now."""
        return device in self.state.membership.members

    def was_removed(self, device: bytes) -> bool:
        """Tell whether a device was a member and was removed."""
        return device in self.state.membership.removed

    def _is_trusted(self, device: bytes) -> bool:
        """Whether no quota holds for a device; who never was a member knows nobody yet."""
        return self.is_member(device) or self.state.membership.past(self.device) is None

    @property
    def own_log(self) -> bytes | None:
        """The log that this device writes to now, 32 bytes; ``None`` until it opens one."""
        return None if self._own is None else self._own.log

    @property
    def has_ticket(self) -> bool:
        """Whether this device came by a ticket, and has a log that shows it."""
        return self.secrets.admission_seed is not None and bool(self.opening())

    @property
    def needs_key(self) -> bool:
        """Whether the next entry takes the device key, because it opens a log."""
        return self._own is None

    def tips(self) -> tuple[Tip, ...]:
        """The frontier: all that is held, folded or not."""
        return self.chains.tips()

    def missing(self, tips: Iterable[Tip]) -> list[Tip]:
        """The tips that are not held and for which there is room."""
        declined = self._quota.declined
        return [tip for tip in missing(self.chains, tips) if tip.log not in declined]

    def reopened(self) -> list[bytes]:
        """The logs for which there was no room, and may be now, since this was last asked."""
        reopened, self._quota.reopened = self._quota.reopened, []
        return reopened

    def locator(self, log: bytes) -> tuple[tuple[int, bytes], ...]:
        """See ``Chains.locator``."""
        return self.chains.locator(log)

    def path(self, tip: Tip, locator: Sequence[tuple[int, bytes]]) -> list[bytes]:
        """See ``Chains.path``."""
        return self.chains.path(tip, locator)

    def causal(self, paths: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Return the ids of some stretches of logs as one, each id once.

        They are mixed by effective time, ``_BLOCK_ENTRIES`` of a log at a time: whoever takes them
        in holds no more of a log than that while it waits for another. Those that are not folded
        come last.
        """
        blocks: list[tuple[int, Sequence[bytes]]] = []
        for path in paths:
            for start in range(0, len(path), _BLOCK_ENTRIES):
                stamp = self._stamp_of(path[start])
                block = path[start : start + _BLOCK_ENTRIES]
                blocks.append((clock.HLC_MAX + 1 if stamp is None else stamp, block))
        blocks.sort(key=lambda each: each[0])
        return list(dict.fromkeys(entry_id for _, block in blocks for entry_id in block))

    def opening(self) -> tuple[bytes, ...]:
        """The first entry of this device's log: what a member needs to admit it."""
        if self._own is None:
            return ()
        return self.chains.first(self._own.log)

    def own_log_behind(self, tips: Iterable[Tip]) -> bool:
        """Tell whether a peer holds entries of this device's current log that are not held here.

        That happens on a restored or cloned machine (B-ID-4).
        """
        if self._own is None:
            return False
        return any(tip.log == self._own.log and not self.chains.holds(tip) for tip in tips)

    # -- writing ------------------------------------------------------------------------------

    def close_log(self) -> list[Effect]:
        """Write no more to the current log: the next entry opens a new incarnation."""
        closed, self._own = self._own, None
        return [] if closed is None else [CloseLog(self.mandate, closed.log)]

    def author(
        self, operations: Sequence[Operation], wall_ms: int, *, epoch_key: bytes | None = None
    ) -> list[Effect]:
        """Write one entry with these operations; sealed with another epoch's key when told so.

        Raises ``EntryError`` when they do not fit into one entry.
        """
        return self._write([list(operations)], wall_ms, epoch_key)

    def save(
        self,
        file: bytes,
        *,
        parents: Sequence[OpId],
        lines: Sequence[Lines],
        content: Chunked | None,
        mergeable: bool,
        size_bytes: int,
        digest: bytes,
        wall_ms: int,
        before: Sequence[Operation] = (),
    ) -> list[Effect]:
        """Write a new version of a file: its changes in as many entries as they need, one
        signature.

        ``before`` are operations that go along in the last entry, ahead of the save.
        """
        written = Written(
            file, parents, lines, content, mergeable, size_bytes, digest, tuple(before)
        )
        return self.save_many([written], wall_ms)

    def save_many(self, versions: Sequence["Written"], wall_ms: int) -> list[Effect]:
        """Write new versions of different files in as few entries as they fit into, one signature.

        A version whose changes fill several entries has them in entries before its own.
        """
        batches: list[list[Operation]] = []
        room = 0
        for each in versions:
            version = Save(
                each.file,
                tuple(sorted(each.parents)),
                (),
                each.content,
                each.mergeable,
                each.size_bytes,
                each.digest,
            )
            last: list[Operation] = [*each.before, *each.lines[-1:], version]
            size = len(ops.encode(last))
            if len(each.lines) > 1:
                batches += [[line] for line in each.lines[:-1]]
                room = 0
            if not room or size > room or len(batches[-1]) + len(last) > ENTRY_OPERATIONS_MAX // 2:
                batches.append([])
                room = ENTRY_PAYLOAD_TARGET_BYTES
            batches[-1] += last
            room = max(0, room - size)
        return self._write(batches, wall_ms)

    def put_aside(self, refused: "Written", kept: "Written", wall_ms: int) -> list[Effect]:
        """Write two versions of one file: the second stands on the first, whatever ``kept`` names
        as its parents.

        One signature covers both: nobody takes up the first without the second.
        """
        batches: list[list[Operation]] = []
        for each, parents in ((refused, tuple(sorted(refused.parents))), (kept, (_BEFORE,))):
            version = Save(
                each.file,
                parents,
                (),
                each.content,
                each.mergeable,
                each.size_bytes,
                each.digest,
            )
            batches.append([*each.before, version])
        return self._write(batches, wall_ms)

    def _write(
        self, batches: Sequence[list[Operation]], wall_ms: int, epoch_key: bytes | None = None
    ) -> list[Effect]:
        effects: list[Effect] = []
        made: list[tuple[Entry, tuple[Operation, ...]]] = []
        own = self._own
        opening: list[Operation] = []
        if own is None:
            seed = self.entropy(crypto.SEED_BYTES)
            own = LogKey(crypto.SigningKey.from_seed(seed))
            incarnation = self.state.incarnations.get(self.device, 0)
            effects.append(KeepLogKey(self.mandate, own.log, seed, incarnation))
            certificate = membership.certify_log(self.signing, self.mandate, own.log, incarnation)
            opening = [OpenLog(self.device, incarnation, certificate), self.describe]
            if self.secrets.admission_seed is not None:
                opening.append(
                    membership.redeem(self.secrets.admission_seed, self.mandate, self.device)
                )
        first_key = epoch_key
        if opening and epoch_key is None and self.epoch_key != self.secrets.epoch_keys[0]:
            # By the ticket's key, on its own: who lets this device in may be behind, or ahead.
            first_key, batches = self.secrets.epoch_keys[0], [[Observe()], *batches]
        heads = self.chains.heads(own.log)
        prev = heads[0] if heads else b""
        position = self.chains.position(prev)
        seq = 0 if position is None else position[1] + 1
        deps = sorted(head for head in self._heads if head != prev)
        while len(deps) > ENTRY_DEPS_MAX:
            batches = [[Observe()], *batches]
            deps = deps[ENTRY_DEPS_MAX:]
        deps = sorted(head for head in self._heads if head != prev)
        stamp = self._last_stamp
        parts: list[bytes] = []
        unsigned = 0
        for index, operations in enumerate(batches):
            last = index == len(batches) - 1
            if parts and any(isinstance(operation, Save) for operation in operations):
                operations = _with_parts(operations, parts)
                parts = []
            if index == 0:
                operations = [*opening, *operations]
            elif made:
                operations = _standing_on(operations, *made[-1])
            hlc = clock.tick(stamp, wall_ms)
            payload = ops.encode(operations)
            unsigned += len(payload)
            signed = last or unsigned > UNSIGNED_BYTES_MAX
            built = entry.build(
                own,
                mandate=self.mandate,
                seq=seq,
                prev=prev,
                deps=deps[:ENTRY_DEPS_MAX],
                hlc=hlc,
                epoch_key=(first_key if index == 0 else epoch_key) or self.epoch_key,
                payload=payload,
                entropy=self.entropy(32),
                sign=signed,
            )
            deps = deps[ENTRY_DEPS_MAX:]
            stamp = hlc
            unsigned = 0 if signed else unsigned
            made.append((built, tuple(operations)))
            if not any(isinstance(operation, Save) for operation in operations):
                parts += [built.id for each in operations if isinstance(each, Lines)][:1]
            prev, seq = built.id, seq + 1
        self._own = own
        changes: list[Change] = []
        for built, operations_made in made:
            self.chains.add_entry(built)
            self._quota.take(built.log, self.device, len(built.raw))
            changes += self._deliver(built, operations_made)
        effects += self._keep_learnt()
        effects.append(self._persist([built for built, _ in made]))
        effects.append(Changed(self.mandate, tuple(changes)))
        effects += self._refold_if_stale()
        return effects

    # -- taking in ----------------------------------------------------------------------------

    def receive(
        self,
        raws: Sequence[bytes],
        wall_ms: int,
        *,
        more: bool,
        link: int = 0,
        device: bytes = b"",
    ) -> Received:
        """Take entries from a peer, in the order of their chains.

        Entries that are held already are passed over, those beyond a quota, and those for which
        there is no room to wait (``postponed``). Entries at the end of a chain that no signature
        covers yet wait for the next batch over that ``link`` when there is ``more``. Raises
        ``WireError``, and changes nothing, for anything that no honest peer sends.
        """
        return self._receive(raws, more=more, link=link, device=device)

    def forget(self, link: int) -> None:
        """A link has ended: what its peer did not finish is dropped."""
        self._uncovered.pop(link, None)

    def _receive(
        self,
        raws: Sequence[bytes],
        *,
        more: bool,
        link: int = 0,
        device: bytes = b"",
        admitting: bool = False,
    ) -> Received:
        try:
            entries = [entry.decode(raw) for raw in raws]
        except BadInputError as error:
            raise WireError(cause=error.text) from None
        waiting = self._uncovered.get(link)
        before = {} if waiting is None else waiting.runs
        runs, gaps = self._runs(entries, before)
        accepted: list[Entry] = []
        uncovered: dict[bytes, list[Entry]] = {}
        for run in runs:
            count = entry.covered(run)
            accepted += run[:count]
            if count < len(run):
                if not more:
                    raise WireError(cause="entries that no signature covers")
                uncovered[run[0].log] = run[count:]
        came = {item.log for item in entries}
        uncovered = {log: run for log, run in before.items() if log not in came} | uncovered
        kept = self._bounded(uncovered, link, device)
        opened = [(item, self._open(item)) for item in accepted]
        if kept.runs:
            self._uncovered[link] = kept
        else:
            self._uncovered.pop(link, None)
        received = self._take(opened, gaps, admitting=admitting)
        waits = self._quota.declined.keys() | self.postponed.keys()
        dropped = [log for log in uncovered if log not in kept.runs]
        return replace(
            received,
            gaps=tuple(log for log in gaps if log not in waits),
            put_off=(*received.put_off, *dropped),
        )

    def _bounded(self, runs: dict[bytes, list[Entry]], link: int, device: bytes) -> _Uncovered:
        """As many runs as fit: one peer's, or those of all who are no members together.

        One that does not fit is asked for again. Raises ``WireError`` for one that never can.
        """
        room = UNCOVERED_BYTES_MAX
        if not self._is_trusted(device):
            others = (each for other, each in self._uncovered.items() if other != link)
            room -= sum(each.size_bytes for each in others if not self._is_trusted(each.device))
        kept: dict[bytes, list[Entry]] = {}
        size = 0
        for log, run in runs.items():
            run_bytes = sum(len(each.raw) for each in run)
            if run_bytes > UNCOVERED_BYTES_MAX:
                raise WireError(cause="too many entries that no signature covers")
            if size + run_bytes <= room:
                kept[log] = run
                size += run_bytes
        return _Uncovered(device, kept, size)

    def _runs(
        self, entries: Sequence[Entry], unsigned: dict[bytes, list[Entry]]
    ) -> tuple[list[list[Entry]], tuple[bytes, ...]]:
        """Sort a batch into consecutive chains, each behind what is held."""
        runs: list[list[Entry]] = []
        gaps: dict[bytes, None] = {}
        ends: dict[bytes, list[Entry]] = {}
        logs = dict.fromkeys(item.log for item in entries)
        known = [item for log in logs for item in unsigned.get(log, [])]
        for item in [*known, *entries]:
            if item.header.mandate != self.mandate:
                raise WireError(cause="an entry of another mandate")
            if item.id in ends or self.chains.has(item.id, item.log, item.seq):
                continue
            prev = item.header.prev
            run = ends.get(prev)
            if run is not None and run[-1].id == prev:
                if run[-1].seq + 1 != item.seq or run[-1].log != item.log:
                    raise WireError(cause="an entry that does not continue its log")
                run.append(item)
                ends[item.id] = run
                continue
            if prev and (prev in ends or not self.chains.stands(prev, item.log, item.seq - 1)):
                position = self.chains.position(prev)
                if position is None and prev not in ends:
                    gaps[item.log] = None
                    continue
                before = position or (ends[prev][0].log, item.seq - 1)
                if before != (item.log, item.seq - 1):
                    raise WireError(cause="an entry that does not continue its log")
            run = [item]
            runs.append(run)
            ends[item.id] = run
        return runs, tuple(gaps)

    def _open(self, item: Entry) -> tuple[Operation, ...] | None:
        """Decrypt and read a payload; what cannot be read counts as nothing, for everyone alike.

        ``None`` while the key of its epoch is not here: it waits.
        """
        key = self._epochs.get(item.header.epoch)
        if key is None:
            return self._open_root(item)
        try:
            operations = ops.decode(entry.open_payload(item, key))
        except BadInputError as error:
            if item.seq == 0:
                raise WireError(cause=f"a log that does not open: {error.text}") from None
            return ()
        first = operations[0]
        if item.seq == 0 and not (
            isinstance(first, OpenLog) and membership.log_certified(first, self.mandate, item.log)
        ):
            raise WireError(cause="a log without its device's certificate")
        return operations

    def _open_root(self, item: Entry) -> tuple[Operation, ...] | None:
        """Open the mandate's first entry with a key that a member told of, and keep that key."""
        key = None if item.seq or item.header.deps else self._offered.get(item.header.epoch)
        if key is None:
            return None
        try:
            operations = ops.decode(entry.open_payload(item, key))
        except BadInputError:
            return None
        first = operations[0]
        if (
            not isinstance(first, OpenLog)
            or not membership.log_certified(first, self.mandate, item.log)
            or not self._founds(operations)
        ):
            return None
        self._activate(key)
        return operations

    def _open_late(self, item: Entry) -> tuple[Operation, ...] | None:
        """The same for an entry that was taken in already: what is wrong with it counts as
        nothing."""
        try:
            operations = self._open(item)
        except WireError:
            return ()
        if operations and item.seq == 0:
            self._quota.assign(item.log, self._device_of(item, operations))
        return operations

    def _open_kept(self, item: Entry) -> tuple[Operation, ...]:
        """The same for an entry that was folded."""
        return self._open(item) or ()

    def _take(
        self,
        opened: Sequence[tuple[Entry, tuple[Operation, ...] | None]],
        gaps: tuple[bytes, ...],
        *,
        admitting: bool,
    ) -> Received:
        accepted: list[Entry] = []
        effects: list[Effect] = []
        changes: list[Change] = []
        dropped: set[bytes] = set()
        put_off: dict[bytes, None] = {}
        members = self.state.membership.members
        needed = self._needed(opened)
        self._quota.begin()
        for item, operations in opened:
            device = self._device_of(item, operations)
            awaited = item.id in needed or self._is_awaited(item.id)
            wanted = admitting or awaited or self._has_room(item, device)
            if item.header.prev in dropped or not wanted:
                dropped.add(item.id)
                if item.log not in put_off:
                    self._quota.decline(item.log)
                continue
            ready = _Waiting(item, operations)
            lacking = self._awaits(ready)
            if lacking is not None and not admitting and not self._may_wait(item, device):
                dropped.add(item.id)
                put_off[item.log] = None
                if len(self.postponed) < LOGS_DECLINED_MAX:
                    self.postponed[item.log] = None
                continue
            accepted.append(item)
            self._quota.take(item.log, device, len(item.raw))
            self._changed_logs[item.log] = None
            if self.chains.add_entry(item):
                effects += self._forked(item)
            if lacking is None:
                changes += self._deliver(item, ready.operations or ())
            else:
                self._hold(item, operations, device)
                self._wait(item, lacking)
        if self._opens_more():
            changes += self._deliver_opened()
        if self.state.membership.members.keys() != members.keys():
            self._quota.reopen()
        if not accepted:
            return Received(gaps=gaps, put_off=tuple(put_off))
        effects[:0] = [*self._keep_learnt(), self._persist(accepted)]
        effects.append(Changed(self.mandate, tuple(changes)))
        effects += self._refold_if_stale()
        ids = tuple(item.id for item in accepted)
        return Received(tuple(effects), ids, gaps, tuple(put_off))

    def _device_of(self, item: Entry, operations: Sequence[Operation] | None) -> bytes:
        if item.seq == 0 and operations and isinstance(operations[0], OpenLog):
            return operations[0].device
        return self._quota.device(item.log) or b""

    def _has_room(self, item: Entry, device: bytes) -> bool:
        heads = self.chains.heads(item.log)
        branches = len(heads) + (item.header.prev not in heads)
        return self._quota.has_room(item.log, device, len(item.raw), branches=branches)

    def _needed(self, opened: Sequence[tuple[Entry, tuple[Operation, ...] | None]]) -> set[bytes]:
        """Ids, of a batch, that members' entries in it or before it wait for, and of their past."""
        devices = {
            item.log: self._device_of(item, operations)
            for item, operations in opened
            if item.seq == 0
        }
        needed: set[bytes] = set()
        for item, _ in reversed(opened):
            past = {item.header.prev, *item.header.deps}
            if item.id in needed or self._is_awaited(item.id):
                needed |= {item.id, *past}
            elif self._is_trusted(devices.get(item.log) or self._quota.device(item.log) or b""):
                needed |= past
        return needed

    def _is_awaited(self, entry_id: bytes) -> bool:
        stack = [entry_id]
        while stack:
            for waiter in self._waiters.get(stack.pop(), ()):
                if self._is_trusted(self._quota.device(self._waiting[waiter].entry.log) or b""):
                    return True
                stack.append(waiter)
        return False

    def _forked(self, item: Entry) -> list[Effect]:
        device = self.state.logs.get(item.log, b"")
        closed: list[Effect] = []
        if self._own is not None and item.log == self._own.log:
            closed = self.close_log()
        return [*closed, Warn(self.mandate, "forked-log", device, item.log.hex()[:16])]

    def _may_wait(self, item: Entry, device: bytes) -> bool:
        """Whether there is room in memory for one more entry that waits for what it depends on."""
        return (
            self._waiting_by_log[item.log] < WAITING_ENTRIES_MAX
            and self._waiting_bytes[device] + len(item.raw) <= WAITING_BYTES_MAX
        )

    def _hold(self, item: Entry, operations: tuple[Operation, ...] | None, device: bytes) -> None:
        self._waiting[item.id] = _Waiting(item, operations)
        self._waiting_by_log[item.log] += 1
        self._waiting_bytes[device] += len(item.raw)

    def _release(self, item: Entry) -> None:
        """What an entry waited for has come; there is room again for others."""
        del self._waiting[item.id]
        self._waiting_by_log[item.log] -= 1
        self._waiting_bytes[self._quota.device(item.log) or b""] -= len(item.raw)
        self.postponed.clear()

    def _wait(self, item: Entry, lacking: bytes) -> None:
        self._waiters[lacking].append(item.id)
        if lacking in self._offered:  # a key that a member told of has turned out to be needed
            self._activate(self._offered[lacking])
        if self._is_trusted(self._quota.device(item.log) or b""):
            self._quota.reopen()  # what it waits for may have been declined

    def _awaits(self, waiting: _Waiting) -> bytes | None:
        """What an entry waits for: one before it (32 bytes), or the key of its epoch (16)."""
        lacking = self._lacking(waiting.entry)
        if lacking is None and waiting.operations is None:
            waiting.operations = self._open_late(waiting.entry)
            if waiting.operations is None:
                return waiting.entry.header.epoch
        return lacking

    def _lacking(self, item: Entry) -> bytes | None:
        header = item.header
        if header.prev and self._stamp_of(header.prev) is None:
            return header.prev
        return next((dep for dep in header.deps if self._stamp_of(dep) is None), None)

    def _stamp_of(self, entry_id: bytes) -> int | None:
        """The effective time of an entry that is folded."""
        stamp = self._stamps.get(entry_id)
        if stamp is None and self._past is not None:
            known = self._past.archive.where(entry_id)
            return None if known is None else known.stamp
        return stamp

    def _deliver(self, first: Entry, operations: tuple[Operation, ...]) -> list[Change]:
        """Fold an entry whose past is folded, then all that waited for it."""
        changes: list[Change] = []
        queue = [_Waiting(first, operations)]
        while queue:
            ready = queue.pop()
            applied = self._stamp(ready.entry, ready.operations or ())
            changes += self.state.apply(applied)
            self._learn_keys(applied.operations)
            if self._refolding is not None:
                self._refolding.append(applied)
            queue += self._freed(ready.entry.id)
        return changes

    def _freed(self, awaited: bytes) -> list[_Waiting]:
        """What an entry, or the key of an epoch, was all that others waited for."""
        freed: list[_Waiting] = []
        for waiter in self._waiters.pop(awaited, []):
            waiting = self._waiting[waiter]
            lacking = self._awaits(waiting)
            if lacking is None:
                self._release(waiting.entry)
                freed.append(waiting)
            else:
                self._wait(waiting.entry, lacking)
        return freed

    # -- keys ---------------------------------------------------------------------------------

    def _activate(self, key: bytes) -> None:
        """Open entries of an epoch from now on."""
        epoch = entry.epoch_id(key)
        self._offered.pop(epoch, None)
        if epoch not in self._epochs:
            self._epochs[epoch] = key
            self._learnt.append(key)
            self.secrets = replace(self.secrets, epoch_keys=(*self.secrets.epoch_keys, key))

    def _keep_learnt(self) -> list[Effect]:
        learnt, self._learnt = self._learnt, []
        return [KeepEpochKey(self.mandate, key) for key in learnt]

    def _is_started(self, epoch: bytes) -> bool:
        return epoch in self.state.rotations or epoch == self.state.root_epoch

    def _learn_keys(self, operations: Iterable[Operation]) -> None:
        """Take the keys that an entry brings, of epochs that a member who may has started."""
        for operation in operations:
            if not isinstance(operation, Rotate):
                continue
            epoch = operation.epoch
            if epoch not in self._epochs and epoch in self.state.rotations:
                key = self._offered.get(epoch) or self._sealed_to_me(operation)
                if key is not None:
                    self._activate(key)
            if operation.before and epoch in self._epochs:
                under = self._epochs[epoch]
                before = epochs.open_before(under, operation.before, self.mandate)
                if before is not None:
                    self._take_key(before)

    def _sealed_to_me(self, operation: Rotate) -> bytes | None:
        for each in operation.keys:
            if each.device == self.device:
                return epochs.open_sealed(self.signing, each.sealed, self.mandate, operation.epoch)
        return None

    def _take_key(self, key: bytes, room: int = EPOCHS_MAX) -> None:
        """Use a key when its epoch was started, or entries wait for it; else it may turn out to be
        one later."""
        epoch = entry.epoch_id(key)
        if epoch in self._epochs:
            return
        if self._is_started(epoch) or epoch in self._waiters:
            self._activate(key)
        elif len(self._offered) < room:
            self._offered[epoch] = key

    def _opens_more(self) -> bool:
        """Whether entries wait for a key that is here now."""
        return any(epoch in self._waiters for epoch in self._epochs)

    def _deliver_opened(self) -> list[Change]:
        """Fold what waited for the key of its epoch."""
        changes: list[Change] = []
        while self._opens_more():
            for epoch in list(self._epochs):
                for freed in self._freed(epoch):
                    changes += self._deliver(freed.entry, freed.operations or ())
        return changes

    def keys(self) -> tuple[bytes, ...]:
        """The keys that a member is told: all that are here.

        Also of epochs that are no more: a member may have written in one before it heard that who
        started it was removed, and what it wrote counts.
        """
        return tuple(self._epochs.values())

    def learn(self, keys: Iterable[bytes], *, known: bool = True) -> list[Effect]:
        """Take the keys that a peer told of; who is not ``known`` as a member has less room for
        such that may be needed later. A key names its epoch, so nobody can tell a wrong one.
        """
        room = EPOCHS_MAX if known else EPOCHS_MAX // 2
        for key in keys:
            self._take_key(key, room)
        changes = self._deliver_opened()
        effects = self._keep_learnt()
        if effects:
            effects += [self._persist(()), Changed(self.mandate, tuple(changes))]
            effects += self._refold_if_stale()
        return effects

    # -- removing -----------------------------------------------------------------------------

    def cut_of(self, device: bytes) -> tuple[bytes, ...]:
        """The last entries of a device that are folded here, in all of its logs, ascending."""
        heads: set[bytes] = set()
        for log, owner in self.state.logs.items():
            for head in self.chains.heads(log) if owner == device else ():
                while head in self._waiting:
                    head = self._waiting[head].entry.header.prev
                heads.add(head)
        return tuple(sorted(heads - {b""}))[:CUT_HEADS_MAX]

    def remove(self, device: bytes, wall_ms: int) -> list[Effect]:
        """Remove a device: what is known of it now counts, nothing later; and a new epoch begins
        whose key it does not get (B-ID-3).

        Whether this device may is for the caller to see: see ``Membership.may_remove``.
        """
        return self.rotate(wall_ms, Remove(device, self.cut_of(device)))

    def rotate(self, wall_ms: int, *ahead: Remove) -> list[Effect]:
        """Begin an epoch whose key all members get, but who is removed in the same entry."""
        members = self.state.membership.members.keys() - {each.device for each in ahead}
        key, before = self.entropy(crypto.KEY_BYTES), self.epoch_key
        sealed = []
        for device in sorted(members):
            try:
                ephemeral = self.entropy(crypto.KEY_BYTES)
                sealed.append(epochs.seal_to(device, key, self.mandate, ephemeral))
            except CryptoError:
                continue  # nobody has that key: it cannot have signed anything
        epoch = entry.epoch_id(key)
        self._offered[epoch] = key
        effects = self.author([*ahead, Rotate(epoch, tuple(sealed), b"")], wall_ms)
        if self.epoch_key == key:
            handed = epochs.seal_before(key, before, self.mandate)
            effects += self.author([Rotate(epoch, (), handed)], wall_ms)
        return effects

    def mends_epoch(self) -> bool:
        """Whether this device is to begin an epoch: it removed somebody, and somebody else who was
        removed at the same time has the key of the one that is written in."""
        state = self.state
        if state.stale or self._own is None or not state.needs_rotation():
            return False
        removers = {by for each in state.membership.removed.values() for _, by in each.by}
        return self.device in removers and state.membership.may(self.device, MAY_INVITE)

    def dismissal(self, device: bytes) -> bytes | None:
        """The entry that shows a removed device who removed it, 32 bytes."""
        removal = self.state.membership.removed.get(device)
        return None if removal is None else removal.by[0][0][0]

    def dismissed_by(self, raws: Sequence[bytes]) -> tuple[bytes, int] | None:
        """Who removed this device, and when, if entries show that somebody did who may.

        They are not taken in: what is before them is not here.
        """
        for raw in raws:
            try:
                item = entry.decode(raw)
                operations = self._open(item) if entry.signature_holds(item) else None
            except BadInputError:
                continue
            author = self.state.logs.get(item.log, b"")
            for operation in operations or ():
                if (
                    isinstance(operation, Remove)
                    and operation.device == self.device
                    and item.header.mandate == self.mandate
                    and self.state.membership.may_remove(author, self.device)
                ):
                    return author, item.header.hlc
        return None

    def _stamp(self, item: Entry, operations: tuple[Operation, ...]) -> Applied:
        header = item.header
        past = [self._stamp_of(dep) or 0 for dep in header.deps]
        if header.prev:
            past.append(self._stamp_of(header.prev) or 0)
        if not past and not self._founds(operations):
            # Nothing bounds what a log that knows of nothing says: it counts as the oldest.
            past.append(0)
        stamp = clock.effective(header.hlc, max(past, default=None))
        self._stamps[item.id] = stamp
        self._keeper.stamps.append((item.id, stamp))
        self._changed_logs[item.log] = None
        self._last_stamp = max(self._last_stamp, stamp)
        for seen in (*header.deps, header.prev):
            self._heads.pop(seen, None)
        self._heads[item.id] = None
        return Applied(
            item.id,
            item.log,
            item.seq,
            header.hlc,
            stamp,
            operations,
            header.prev,
            header.epoch,
        )

    def _founds(self, operations: Sequence[Operation]) -> bool:
        """Tell whether these are the founder's first operations."""
        opener = operations[0] if operations else None
        return isinstance(opener, OpenLog) and any(
            isinstance(each, ops.Create)
            and each.device == opener.device
            and membership.mandate_id(each.device, each.salt) == self.mandate
            for each in operations
        )

    # -- admission ----------------------------------------------------------------------------

    def admit(self, device: bytes, raws: Sequence[bytes], wall_ms: int) -> Received:
        """Take a newcomer's opening entries and make it a member.

        Checks the admission secret, expiry, revocation and uses (B-TIC-3). Raises the
        ``TicketError`` that says which does not hold, ``NotAdmitting`` when this device's role does
        not admit, and
        ``WireError`` for entries that are not this device's opening; then nothing has changed.
        """
        if self.is_member(device):
            return self.receive(raws, wall_ms, more=False)
        if self.was_removed(device):
            raise DeviceRemoved()
        try:
            entries = [entry.decode(raw) for raw in raws]
        except BadInputError as error:
            raise WireError(cause=error.text) from None
        if not entries or len(entries) > OPENING_ENTRIES_MAX or entries[0].seq != 0:
            raise WireError(cause="not the opening of a log")
        operations = self._open(entries[0])
        if operations is None:
            raise NotAdmitting()  # sealed with a key that nobody here has told
        opener = operations[0]
        if not isinstance(opener, OpenLog) or opener.device != device:
            raise WireError(cause="the opening of another device's log")
        proof = next((item for item in operations if isinstance(item, Redeem)), None)
        if proof is None or not membership.redeem_holds(proof, self.mandate, device):
            raise WireError(cause="an opening without the ticket's proof")
        self._check_invitation(proof.invitation, wall_ms)
        received = self._receive(raws, more=False, admitting=True)
        # It may have an old ticket: what it is to read first is sealed with the key that it has.
        admitted = self.author(
            [ops.Admit(device, proof.invitation)],
            wall_ms,
            epoch_key=self._epochs.get(entries[0].header.epoch),
        )
        return Received((*received.effects, *admitted), received.new, received.gaps)

    def _check_invitation(self, invitation: bytes, wall_ms: int) -> None:
        members = self.state.membership
        if self.state.standing.closed:
            raise TicketClosed()
        if not members.may(self.device, MAY_INVITE) or self.device in self.state.standing.left():
            raise NotAdmitting()
        known = members.invitations.get(invitation)
        if known is None:
            raise TicketForeign()
        if invitation in members.revoked:
            raise TicketRevoked()
        if known.expires_ms <= wall_ms:
            raise TicketExpired(expired=known.expires_ms)
        used = members.used_by.get(invitation, ())
        if len(used) >= known.uses:
            raise TicketUsedUp()

    # -- starting and folding anew ------------------------------------------------------------

    def load(self, raws: Iterable[bytes]) -> None:
        """Take up what was persisted, in the order in which it was, and fold it."""
        self._reset()
        applied: list[Applied] = []
        for raw in raws:
            item = entry.decode(raw)
            self.chains.add_entry(item)
            operations = self._open(item)
            self._quota.take(item.log, self._device_of(item, operations), len(raw))
            one = _Waiting(item, operations)
            lacking = self._awaits(one)
            if lacking is not None:
                self._hold(item, operations, self._quota.device(item.log) or b"")
                self._waiters[lacking].append(item.id)
                continue
            queue = [one]
            while queue:
                ready = queue.pop()
                applied.append(self._stamp(ready.entry, ready.operations or ()))
                queue += self._freed(ready.entry.id)
        self._use(Mandate.fold(self.mandate, self.reader, applied))
        self._check_own_log()

    def _use(self, state: Mandate) -> None:
        self.state = state
        state.leaves = self._leaves

    def _leaves(self, log: bytes) -> tuple[bytes, ...]:
        """The last entries of a log that are held, folded or not."""
        return self.chains.heads(log)

    def _check_own_log(self) -> None:
        if self._own is not None and len(self.chains.heads(self._own.log)) != 1:
            # Forked; or its key was kept and power failed before its first entry was.
            self.close_log()

    def restore(self, found: Kept, archive: Archive) -> None:
        """Take up what was kept of the fold; the entries stay where they are.

        Raises ``StateDamaged`` when it cannot be trusted: then ``load`` them.
        """
        self._reset()
        past = self._past = ArchivedPast(archive, self._open_kept, lambda: self.state)
        try:
            self._keeper.take(found)
            self._use(kept.restore(self.mandate, self.reader, found.things, past, past.applied))
            self.chains.index = archive
            front = Front.load(found.things[FRONT])
            for name, value in found.things.items():
                if name[:1] == LOG:
                    self._restore_log(name[1:], LogRow.load(value), archive)
            self._heads = dict.fromkeys(front.heads)
            self._last_stamp = front.last_stamp
            for raw in archive.waiting():
                item = entry.decode(raw)
                waiting = _Waiting(item, self._open(item))
                lacking = self._awaits(waiting)
                if lacking is None:
                    raise StateDamaged(cause="an entry is not folded")
                self._hold(item, waiting.operations, self._quota.device(item.log) or b"")
                self._waiters[lacking].append(item.id)
        except (KeyError, ValueError, TypeError, IndexError, BadInputError) as error:
            raise StateDamaged(cause=f"{type(error).__name__}: {error}") from error
        self._check_own_log()

    def _restore_log(self, log: bytes, row: LogRow, archive: Archive) -> None:
        self._quota.restore(log, row.device, row.entries, row.size_bytes)
        if row.forked:
            for known in archive.branches(log):
                self.chains.add(known.id, known.log, known.seq, known.prev)
        for head, seq, stamp in row.tips:
            if not row.forked:
                self.chains.restore(log, seq, head)
            if stamp is not None:
                self._stamps[head] = stamp

    def rest(self, archive: Archive) -> None:
        """Let go of what the archive holds; nothing may be on its way to the disk."""
        self._past = ArchivedPast(archive, self._open_kept, lambda: self.state)
        self.state.past = self._past
        self.chains.index = archive
        for entry_id in self.chains.trim(1):
            self._stamps.pop(entry_id, None)
        for file in self.state.files.values():
            file.let_go(self._past)

    def attach(self, archive: Archive) -> None:
        """Look up in the archive what is let go of from now on."""
        if self._past is None:
            self._past = ArchivedPast(archive, self._open_kept, lambda: self.state)
            self.state.past = self._past
            self.chains.index = archive

    def release(self) -> None:
        """Let go of the records of files that nobody asked for since this was last called."""
        if self._past is None:
            return
        for file in self.state.files.values():
            if file.loaded and not file.used:
                needed = [file.last_touch, *(head[0] for head in file.heads)]
                known = [self._past.archive.where(each) for each in needed if each]
                if all(each is not None and each.stamp is not None for each in known):
                    file.let_go(self._past)
            file.used = False

    def _ease(self) -> None:
        """Let go of entries that the archive holds, now and then."""
        if self._past is not None and len(self.chains) > self._ease_at:
            for entry_id in self.chains.trim(ENTRIES_IN_MEMORY_MAX // 16):
                self._stamps.pop(entry_id, None)
            self._ease_at = len(self.chains) + ENTRIES_IN_MEMORY_MAX

    def _persist(self, entries: Iterable[Entry]) -> Persist:
        """Have entries made durable, and what they changed of the fold."""
        self._ease()
        derived = self._keeper.changed(self.state, self._own_things(self._changed_logs))
        self._changed_logs.clear()
        return Persist(tuple(_stored(item) for item in entries), self.mandate, derived)

    def keep(self) -> Persist:
        """Have all of the fold kept anew."""
        things = self._own_things(self.chains.logs())
        self._changed_logs.clear()
        return Persist((), self.mandate, self._keeper.changed(self.state, things, whole=True))

    def _own_things(self, logs: Iterable[bytes]) -> dict[bytes, bytes]:
        things = {FRONT: Front(tuple(self._heads), self._last_stamp).dump()}
        forked = self.chains.forked()
        for log in logs:
            device, entries, size_bytes = self._quota.taken(log)
            tips = []
            for head in self.chains.heads(log):
                position = self.chains.position(head)
                assert position is not None
                tips.append((head, position[1], self._stamps.get(head)))
            row = LogRow(device, entries, size_bytes, log in forked, tuple(tips))
            things[LOG + log] = row.dump()
        return things

    def _refold_if_stale(self) -> list[Effect]:
        if not self.state.stale or self._refolding is not None:
            return []
        self._refolding = []
        return [Refold(self.mandate)]

    def refold(self, raws: Iterable[bytes]) -> list[Effect]:
        """Answer ``Refold``: fold all persisted entries anew; what came since is folded on top."""
        since, self._refolding = self._refolding or [], None
        fresh = {item.id for item in since}
        applied: list[Applied] = []
        for raw in raws:
            item = entry.decode(raw)
            stamp = self._stamp_of(item.id)
            if stamp is not None and item.id not in fresh:
                applied.append(
                    Applied(
                        item.id,
                        item.log,
                        item.seq,
                        item.header.hlc,
                        stamp,
                        self._open_kept(item),
                        item.header.prev,
                        item.header.epoch,
                    )
                )
        applied += since
        applied.sort(key=lambda item: (item.stamp, item.id))  # causal: stamps rise along it
        self._use(Mandate.fold(self.mandate, self.reader, applied))
        self.state.past = self._past
        return [self.keep(), Changed(self.mandate, ())]

    def applied(self, raw: bytes, stamp: int) -> Applied:
        """Read an entry that was folded, with its effective time."""
        item = entry.decode(raw)
        header = item.header
        return Applied(
            item.id,
            item.log,
            item.seq,
            header.hlc,
            stamp,
            self._open_kept(item),
            header.prev,
            header.epoch,
        )

    def past(self, entries: Iterable[tuple[bytes, int]]) -> Mandate:
        """Fold some of the entries that were folded, given with their effective times in causal
        order; in any thread.

        What depends on an entry that is not among them is left out: it was not folded then.
        """
        there: set[bytes] = set()
        applied: list[Applied] = []
        for raw, stamp in entries:
            header = entry.decode(raw).header
            if all(each in there for each in (*header.deps, header.prev) if each):
                found = self.applied(raw, stamp)
                there.add(found.id)
                applied.append(found)
        return Mandate.fold(self.mandate, self.reader, applied)

    def lines_of(self, raws: Iterable[bytes]) -> dict[bytes, tuple[StampedLines, ...]]:
        """Return the segment changes in some folded entries, by entry id; to replay a version."""
        out: dict[bytes, tuple[StampedLines, ...]] = {}
        for raw in raws:
            item = entry.decode(raw)
            stamp = self._stamp_of(item.id)
            assert stamp is not None, "folded"
            out[item.id] = tuple(
                (item.id, stamp, operation)
                for operation in self._open_kept(item)
                if isinstance(operation, Lines)
            )
        return out


def _with_parts(operations: Sequence[Operation], parts: Sequence[bytes]) -> list[Operation]:
    """Let the first save name the entries before it that hold its changes."""
    out = list(operations)
    number = next(i for i, operation in enumerate(out) if isinstance(operation, Save))
    save = out[number]
    assert isinstance(save, Save)
    out[number] = replace(save, parts=tuple(parts))
    return out


def _standing_on(
    operations: Sequence[Operation], before: Entry, made: Sequence[Operation]
) -> list[Operation]:
    """Let a save that stands on the one in the entry before name it."""
    out = list(operations)
    for number, operation in enumerate(out):
        if isinstance(operation, Save) and operation.parents == (_BEFORE,):
            place = next(i for i, each in enumerate(made) if isinstance(each, Save))
            out[number] = replace(operation, parents=((before.id, place),))
    return out


def _stored(item: Entry) -> StoredEntry:
    return StoredEntry(item.header.mandate, item.id, item.log, item.seq, item.header.prev, item.raw)
