"""The mandate as people see it: an incremental fold over the entries of all its logs.

The fold is pure: it depends on the set of entries, not on the order or way they came (a test
shuffles them). Entries of a device count once the device is a member; until then they are held
(protocol.md: "the newcomer's entries travel but do not count"). What a fold cannot take back in
steps, a member that loses its admission, one that wrote more than was held, or one that was removed
and had written what its cut does not admit, is reported as ``stale``: the owner of the entries then
folds anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from p2psync.core import holding, membership
from p2psync.core.changes import (
    Change,
    DoublePosted,
    FileAdded,
    FileDetached,
    FileExpected,
    FilePlaced,
    FilePosted,
    FileRegistered,
    FileReturned,
    FileSaved,
    MandateChanged,
    MandateRenamed,
    MandateShared,
    MemberJoined,
    MemberReadmitted,
    MemberRemoved,
    MemberWaiting,
    NewerVersion,
    SeatChanged,
)
from p2psync.core.files import FileState, Pair, Past, Receipt, StampedLines, Touch
from p2psync.core.membership import MAY_INVITE, MAY_POST, MAY_WRITE, Membership, Stamped
from p2psync.core.ops import (
    AddFile,
    Admit,
    Answer,
    ClaimSeat,
    Close,
    Create,
    Describe,
    Detach,
    Expect,
    HandSeat,
    Hold,
    Invite,
    Leave,
    Lines,
    OpenLog,
    Operation,
    OpId,
    Place,
    Policy,
    Post,
    Readmit,
    Reattach,
    Redeem,
    Register,
    Remove,
    Rename,
    Reopen,
    Return,
    Revoke,
    Rotate,
    Save,
    SetRelay,
    SetRole,
    Share,
    Unknown,
    Unpost,
    keyed,
)
from p2psync.core.records import SegmentReader
from p2psync.core.relays import NamedRelays
from p2psync.core.standing import Standing
from p2psync.limits import FILES_PER_MANDATE_MAX, QUARANTINED_ENTRIES_MAX


@dataclass(frozen=True, slots=True)
class Applied:
    """An entry that is verified, opened, and whose past is folded already."""

    id: bytes
    log: bytes
    seq: int
    hlc: int
    stamp: int
    operations: tuple[Operation, ...]
    prev: bytes = b""
    epoch: bytes = b""


@dataclass(frozen=True, slots=True)
class Part:
    """An entry with nothing but segment changes, which a later save of its chain takes effect."""

    prev: bytes
    log: bytes
    stamp: int
    lines: tuple[Lines, ...]


@dataclass(frozen=True, slots=True)
class Device:
    """What is known of a device, member or not."""

    device: bytes
    name: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Rotation:
    """An epoch (16 bytes) that a member started, and the devices that got its key with it."""

    epoch: bytes
    id: OpId
    device: bytes
    stamp: int
    recipients: frozenset[bytes]


Dirty = Literal["core", "file", "receipt", "held", "part"]


@dataclass(slots=True)
class Dirt:
    """What changed of the fold since somebody last asked: all that has to be kept anew.

    ``core`` is all that is neither a file, a receipt, a held entry nor a part.
    """

    things: dict[tuple[Dirty, bytes | OpId], None] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)

    def core(self) -> None:
        """Something of the mandate as a whole changed."""
        self.things[("core", b"")] = None

    def thing(self, kind: Dirty, name: bytes | OpId) -> None:
        """One thing of a kind changed, came or went."""
        self.things[(kind, name)] = None


@dataclass(slots=True)
class _Counting:
    """An entry that is being counted."""

    entry: Applied
    device: bytes
    lines: dict[bytes, list[StampedLines]] = field(default_factory=dict)
    """Its changes, by file, that none of its saves took up yet."""
    before: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Mandate:
    """The fold's state. ``reader`` reads segments of record files by their format's name."""

    id: bytes
    reader: SegmentReader
    name: str = ""
    founder: bytes = b""
    shared: bool = False
    stale: bool = False
    membership: Membership = field(default_factory=Membership)
    devices: dict[bytes, Device] = field(default_factory=dict)
    logs: dict[bytes, bytes] = field(default_factory=dict)
    """The device of each log."""
    incarnations: dict[bytes, int] = field(default_factory=dict)
    """How many logs each device has opened."""
    files: dict[bytes, FileState] = field(default_factory=dict)
    receipts: dict[OpId, Receipt] = field(default_factory=dict)
    retracted: dict[OpId, OpId] = field(default_factory=dict)
    newer: set[bytes] = field(default_factory=set)
    """Devices that wrote operations of a newer version (B-VAL-2)."""
    arrangement: int = 0
    """Rises whenever files came, went or may have: what depends only on which files there are can
    be kept until then."""
    held: dict[bytes, list[Applied]] = field(default_factory=dict)
    """Entries of devices that are no members."""
    quarantined: dict[bytes, int] = field(default_factory=dict)
    """How many entries of each removed device do not count, because no cut admits them."""
    root_epoch: bytes = b""
    """The epoch in which the mandate was founded."""
    rotations: dict[bytes, Rotation] = field(default_factory=dict)
    """The epochs that were started since."""
    stamped: list[Stamped] = field(default_factory=list)
    named: tuple[int, OpId] = (-1, (b"", 0))
    described: dict[bytes, tuple[int, OpId]] = field(default_factory=dict)
    claims: list[tuple[OpId, bytes]] = field(default_factory=list)
    hands: dict[int, list[tuple[OpId, bytes, bytes]]] = field(default_factory=dict)
    parts: dict[bytes, Part] = field(default_factory=dict)
    """Entries of changes that no version took up yet."""
    standing: Standing = field(default_factory=Standing)
    relays: NamedRelays = field(default_factory=NamedRelays)
    unposted: dict[OpId, OpId] = field(default_factory=dict)
    """Retracted receipts, known or not, and the lowest operation that retracts each."""
    dirt: Dirt = field(default_factory=Dirt)
    past: Past | None = None
    """Where entries are found again; ``None`` while all of the fold is in memory."""
    leaves: Callable[[bytes], Iterable[bytes]] | None = None
    """The last entries of a log, one a branch; ``None`` where nobody knows."""
    _within: set[bytes] | None = None
    """While all is folded at once: the entries of removed devices that count."""

    # -- folding --------------------------------------------------------------------------------

    @classmethod
    def fold(cls, mandate: bytes, reader: SegmentReader, entries: Iterable[Applied]) -> "Mandate":
        """Fold all entries at once: first who is a member, then what the members did."""
        state = cls(mandate, reader)
        every = list(entries)
        for entry in every:
            state._learn(entry)
        prevs = state._prevs_of_removed(every)
        state._cover(prevs)
        state._recompute()
        state.stale = False
        state._within = set()
        for device, removal in state.membership.removed.items():
            state._within |= _up_to(removal.cut, prevs[device])
        for entry in every:
            state._count_or_hold(entry)
        state._within = None
        return state

    def _prevs_of_removed(self, every: Iterable[Applied]) -> dict[bytes, dict[bytes, bytes]]:
        """What stands before each entry of those devices that somebody removes, by device."""
        prevs: dict[bytes, dict[bytes, bytes]] = {
            stamped.operation.device: {}
            for stamped in self.stamped
            if isinstance(stamped.operation, Remove)
        }
        for entry in every if prevs else ():
            of_device = prevs.get(self.logs.get(entry.log, b""))
            if of_device is not None:
                of_device[entry.id] = entry.prev
        return prevs

    def _cover(self, prevs: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        """Find which entries each removal's cut admits, of those that say who is a member."""
        by_device: dict[bytes, set[bytes]] = {}
        for stamped in self.stamped:
            by_device.setdefault(stamped.device, set()).add(stamped.id[0])
        for index, stamped in enumerate(self.stamped):
            if isinstance(stamped.operation, Remove):
                removed = stamped.operation.device
                theirs = by_device.get(removed, set())
                covers = frozenset(theirs & _up_to(stamped.operation.cut, prevs[removed]))
                self.stamped[index] = replace(stamped, covers=covers)

    def apply(self, entry: Applied) -> list[Change]:
        """Fold one more entry, after all that it depends on; return what changed.

        When ``stale`` is true afterwards, fold all entries anew.
        """
        changes: list[Change] = []
        if self._learn(entry):
            before = self.membership
            self._recompute()
            for device, removal in self.membership.removed.items():
                if device not in before.removed:
                    changes.append(MemberRemoved(device, removal.by[0][1]))
            for device in self.membership.members.keys() - before.members.keys():
                if device in before.removed:
                    changes.append(MemberReadmitted(device))
                    continue
                changes.append(MemberJoined(device))
                waited = self.held.pop(device, [])
                for waiting in waited:
                    self.dirt.thing("held", waiting.id)
                if len(waited) >= QUARANTINED_ENTRIES_MAX:
                    self.stale = True  # there may be more than were held
                for waiting in waited:
                    changes += self._count(waiting)
            if self.membership.displaced - before.displaced:
                changes.append(MandateChanged())
        changes += self._count_or_hold(entry)
        return changes

    def _learn(self, entry: Applied) -> bool:
        """Take what concerns membership and logs; tell whether members may have changed."""
        relevant = False
        for index, operation in enumerate(entry.operations):
            match operation:
                case OpenLog(device=device) if entry.seq == 0 and index == 0:
                    self.dirt.core()
                    self.logs[entry.log] = device
                    self.incarnations[device] = max(
                        self.incarnations.get(device, 0), operation.incarnation + 1
                    )
                    self.devices.setdefault(device, Device(device))
                    continue
                case Create() | Invite() | Revoke() | Redeem() | Admit() | Remove() | Readmit():
                    pass
                case _:
                    continue
            stamped = self._stamp(entry, index, operation)
            if stamped is not None:
                self.stamped.append(stamped)
                self.dirt.core()
                relevant = True
        return relevant

    def _stamp(
        self,
        entry: Applied,
        index: int,
        operation: Create | Invite | Revoke | Redeem | Admit | Remove | Readmit,
    ) -> Stamped | None:
        device = self.logs.get(entry.log)
        if device is None:
            return None
        covers: frozenset[bytes] = frozenset()
        match operation:
            case Create(device=founder, salt=salt, name=name):
                if (
                    entry.seq
                    or founder != device
                    or membership.mandate_id(founder, salt) != self.id
                ):
                    return None
                self.founder = founder
                self.root_epoch = entry.epoch
                if self.named[0] < 0:
                    self.name = name
            case Redeem() if not membership.redeem_holds(operation, self.id, device):
                return None
            case Remove(device=removed):
                # All that is here, unless it makes the fold stale: then they are looked for.
                theirs = [each.id[0] for each in self.stamped if each.device == removed]
                covers = frozenset(theirs)
        return Stamped((entry.id, index), device, entry.stamp, operation, covers)

    def _recompute(self) -> None:
        before = self.membership
        self.membership = membership.compute(self.id, self.stamped)
        for device in (*before.members, *before.removed):
            was, now = before.past(device), self.membership.past(device)
            assert was is not None
            if now is None or (now.role, now.rank) != (was.role, was.rank):
                self.stale = True
        for device in before.removed.keys() | self.membership.removed.keys():
            if before.removed.get(device) != self.membership.removed.get(device):
                self._recut(device, before)

    def _recut(self, device: bytes, before: Membership) -> None:
        """A device was removed or readmitted, or its cut changed: what counted may not any more,
        or the other way round."""
        removal = self.membership.removed.get(device)
        all_counted = before.past(device) is not None and not self.quarantined.get(device)
        if removal is None or not all_counted:
            self.stale = self.stale or not all_counted
            return
        logs = [log for log, owner in self.logs.items() if owner == device]
        if self.leaves is None or any(not removal.cut.issuperset(self.leaves(log)) for log in logs):
            self.stale = True

    def _count_or_hold(self, entry: Applied) -> list[Change]:
        device = self.logs.get(entry.log)
        if device is None:
            return []
        if device in self.membership.members:
            return self._count(entry)
        removal = self.membership.removed.get(device)
        if removal is not None:
            if self._within is not None and entry.id in self._within:
                return self._count(entry)
            if self._within is None and entry.id in removal.cut:
                self.stale = True  # the cut names what its author had not seen
            self.quarantined[device] = self.quarantined.get(device, 0) + 1
            self.dirt.core()
            return []
        held = self.held.setdefault(device, [])
        if len(held) < QUARANTINED_ENTRIES_MAX:
            held.append(entry)
            self.dirt.thing("held", entry.id)
        changes: list[Change] = []
        for index, operation in enumerate(entry.operations):
            if isinstance(operation, Redeem):
                changes.append(MemberWaiting(device, operation.invitation))
            elif isinstance(operation, Describe):
                self._describe(operation, (entry.id, index), device, entry.stamp)
        return changes

    def _count(self, entry: Applied) -> list[Change]:
        device = self.logs[entry.log]
        author = self.membership.past(device)
        role = None if author is None else author.role
        writes = role in MAY_WRITE
        changes: list[Change] = []
        lines = tuple([op for op in entry.operations if type(op) is Lines])
        saves = any(type(op) is Save for op in entry.operations)
        if lines and not saves and writes:
            self.parts[entry.id] = Part(entry.prev, entry.log, entry.stamp, lines)
            self.dirt.thing("part", entry.id)
        counting = _Counting(entry, device)
        if saves:
            for line in lines:
                counting.lines.setdefault(line.file, []).append((entry.id, entry.stamp, line))
            counting.before = self._parts_before(entry)
        for index, operation in enumerate(entry.operations):
            op = (entry.id, index)
            match operation:
                case Describe():
                    self._describe(operation, op, device, entry.stamp)
                    changes.append(MandateChanged())
                case Unknown(code=code):
                    self.newer.add(device)
                    changes.append(NewerVersion(device, code))
                case SetRole():
                    self.newer.add(device)
                    changes.append(NewerVersion(device, -1))
                case Rotate():
                    if role in MAY_INVITE and operation.keys:
                        self._rotate(operation, op, device, entry.stamp)
                        changes.append(MandateChanged())
                case Share():
                    if role == "owner" and not self.shared:
                        self.shared = True
                        changes.append(MandateShared(device))
                case ClaimSeat():
                    if role in MAY_POST and operation.term == 1:
                        self.claims.append((op, device))
                        changes.append(SeatChanged(device))
                case HandSeat(term=term, device=heir):
                    self.hands.setdefault(term, []).append((op, device, heir))
                    changes.append(SeatChanged(device))
                case Close() | Reopen() | Leave() | Return() | Policy():
                    changes += self.standing.apply(
                        operation, op, device, role, entry.hlc, entry.stamp
                    )
                case SetRelay():
                    if role in MAY_INVITE:
                        changes += self.relays.apply(operation, op, device, entry.stamp)
                case _ if writes:
                    changes += self._write(operation, op, counting)
                    continue
                case _:
                    continue
            self.dirt.core()
        self._drop_parts(counting.before)
        return changes

    def _rotate(self, operation: Rotate, op: OpId, device: bytes, stamp: int) -> None:
        """Take an epoch; of several with one name the lowest operation counts."""
        known = self.rotations.get(operation.epoch)
        if known is None or op < known.id:
            recipients = frozenset(each.device for each in operation.keys)
            rotation = Rotation(operation.epoch, op, device, stamp, recipients)
            self.rotations[operation.epoch] = rotation

    def _describe(self, operation: Describe, op: OpId, device: bytes, stamp: int) -> None:
        if (stamp, op) > self.described.get(device, (-1, (b"", 0))):
            self.dirt.core()
            self.described[device] = (stamp, op)
            self.devices[device] = Device(device, operation.name, operation.machine)

    def _write(self, operation: Operation, op: OpId, counting: "_Counting") -> list[Change]:
        entry, device = counting.entry, counting.device
        match operation:
            case Save(file=file_id):
                file = self._file(file_id)
                if file is None:
                    return []
                staged = self._take_parts(operation, counting)
                own = counting.lines.pop(file_id, [])
                was_present = file.present
                touches = file.save(
                    operation, op, device, entry.hlc, entry.stamp, tuple(staged + own)
                )
                self._touched(file, touches)
                if file.detached_by:
                    self.arrangement += 1
                    if not was_present and file.present:
                        came = FileReturned(file_id, undone=False, device=device)
                        return [came, FileSaved(file_id, op)]
                return [FileSaved(file_id, op)]
            case Rename(name=name):
                self.dirt.core()
                if (entry.stamp, op) <= self.named:
                    return []
                before, self.name, self.named = self.name, name, (entry.stamp, op)
                return [MandateRenamed(device, before)] if name != before else []
            case AddFile(file=file_id):
                file = self._file(file_id)
                if file is None:
                    return []
                attached, touches = file.attach(operation, op, device, entry.stamp)
                if not attached:
                    return []
                self._touched(file, touches)
                self.arrangement += 1
                return [FileAdded(file_id)]
            case (
                Detach(file=file_id)
                | Reattach(file=file_id)
                | Place(file=file_id)
                | Expect(file=file_id)
                | Register(file=file_id)
            ):
                file = self._file(file_id)
                if file is None:
                    return []
                changes = self._arrange(file, operation, op, counting)
                # A detaching or its undoing is noted though nothing shows of it yet.
                if changes or isinstance(operation, Detach | Reattach):
                    self._touched(file, ())
                    self.arrangement += 1
                return changes
            case Hold(file=file_id) | Answer(file=file_id):
                file = self._file(file_id)
                if file is None:
                    return []
                at = (op, device, entry.hlc, entry.stamp)
                if isinstance(operation, Hold):
                    changes = holding.hold(file.holds, operation, *at)
                else:
                    may_post = self.membership.was(device, MAY_POST)
                    changes = holding.answer(file.holds, operation, *at, may_post=may_post)
                if changes:
                    self._touched(file, ())
                return changes
            case Post() if self.membership.was(device, MAY_POST):
                return self._post(operation, op, device, entry)
            case Unpost(receipts=receipts) if self.membership.was(device, MAY_POST):
                return self._unpost(receipts, op, device)
            case _:
                return []

    def _arrange(
        self,
        file: FileState,
        operation: Detach | Reattach | Place | Expect | Register,
        op: OpId,
        counting: "_Counting",
    ) -> list[Change]:
        """Take what is said about an attached file as a whole."""
        at = (counting.entry.stamp, op)
        match operation:
            case Detach(versions=versions):
                may_post = self.membership.was(counting.device, MAY_POST)
                counts = file.detach(frozenset(versions), op, may_post=may_post)
                return [FileDetached(file.id, op, counting.device)] if counts else []
            case Reattach(detaches=detaches):
                was_present = file.present
                file.reattached |= set(detaches)
                came = not was_present and file.present
                back = FileReturned(file.id, undone=True, device=counting.device)
                return [back] if came else []
            case Place():
                known = None
                if file.added is not None:
                    known = (file.device, file.info.folder, file.info.name)
                if file.place(operation, at, counting.device):
                    return [FilePlaced(file.id, counting.device, known)]
                return []
            case Expect() if file.expected is None or at > file.expected[:2]:
                file.expected = (*at, operation.seconds)
                return [FileExpected(file.id)]
            case Register() if file.program is None or at > file.program[:2]:
                file.program = (*at, operation)
                return [FileRegistered(file.id)]
            case _:
                return []

    def _touched(self, file: FileState, touches: Iterable[Touch]) -> None:
        self.dirt.thing("file", file.id)
        self.dirt.touches += touches

    def _parts_before(self, entry: Applied) -> list[bytes]:
        """The parts that stand right before an entry in its chain, newest first.

        Only they count for its saves: whoever has the entry has folded them, so the result is the
        same for everyone.
        """
        before: list[bytes] = []
        at = entry.prev
        while (part := self.parts.get(at)) is not None and part.log == entry.log:
            before.append(at)
            at = part.prev
        return before

    def _take_parts(self, save: Save, counting: "_Counting") -> list[tuple[bytes, int, Lines]]:
        """Take the changes that a save names, each once."""
        out: list[tuple[bytes, int, Lines]] = []
        if not save.parts:
            return out
        before = set(counting.before)
        for part_id in save.parts:
            if part_id not in before:
                continue
            part = self.parts[part_id]
            taken = [(part_id, part.stamp, line) for line in part.lines if line.file == save.file]
            if taken:
                left = tuple(line for line in part.lines if line.file != save.file)
                self.parts[part_id] = replace(part, lines=left)
                self.dirt.thing("part", part_id)
                out += taken
        return out

    def _drop_parts(self, before: Sequence[bytes]) -> None:
        """Forget what is used up; not what stands between older parts and a save to come."""
        for part_id in reversed(before):
            part = self.parts[part_id]
            if not part.lines and part.prev not in self.parts:
                del self.parts[part_id]
                self.dirt.thing("part", part_id)

    def _file(self, file: bytes) -> FileState | None:
        known = self.files.get(file)
        if known is None and len(self.files) < FILES_PER_MANDATE_MAX:
            known = self.files[file] = FileState(file, self.reader, past=self.past)
        return known

    def _post(self, operation: Post, op: OpId, device: bytes, entry: Applied) -> list[Change]:
        changes: list[Change] = [FilePosted(op, device)]
        by_file: dict[bytes, tuple[list[Pair], list[Pair]]] = {}
        for taken, place in ((operation.adds, 0), (operation.drops, 1)):
            for file_id, element, key in keyed(taken):
                by_file.setdefault(file_id, ([], []))[place].append((element, key))
        self.receipts[op] = Receipt(
            op,
            device,
            entry.hlc,
            entry.stamp,
            tuple(sorted(by_file)),
            operation.added,
            operation.deleted,
        )
        self.dirt.thing("receipt", op)
        if op in self.unposted:
            self.retracted[op] = self.unposted[op]
            return changes
        for file_id, (adds, drops) in by_file.items():
            file = self._file(file_id)
            if file is None:
                continue
            rivals, touches = file.post(adds, drops, op, entry.stamp)
            self._touched(file, touches)
            if rivals:
                changes.append(DoublePosted(file_id, tuple(sorted({*rivals, op}))))
        return changes

    def _unpost(self, receipts: tuple[OpId, ...], op: OpId, device: bytes) -> list[Change]:
        changes: list[Change] = []
        self.dirt.core()
        for receipt in receipts:
            self.unposted[receipt] = min(op, self.unposted.get(receipt, op))
            known = self.receipts.get(receipt)
            if known is not None:
                self.retracted[receipt] = self.unposted[receipt]
                for file_id in known.files:
                    file = self.files.get(file_id)
                    if file is not None:
                        file.unpost(receipt)
                        self._touched(file, ())
                changes.append(FilePosted(receipt, device, retracted=True))
        return changes

    # -- reading --------------------------------------------------------------------------------

    def present_files(self) -> list[FileState]:
        """The files that are attached, by id."""
        return [self.files[key] for key in sorted(self.files) if self.files[key].present]

    def seat(self) -> bytes | None:
        """The device that posts (B-POS-7): claimed first, then handed over term by term.

        Of concurrent claims the lowest (rank, operation) holds; an owner's handing over goes before
        the holder's. From a removed device it goes back to who had it before, else to the claim
        that is left.
        """
        return self.seating()[0]

    def seating(self) -> tuple[bytes | None, int]:
        """The seat's holder, and how often it was handed over."""
        past = self.membership.past
        claims = sorted(
            (member.rank, op, device)
            for op, device in self.claims
            if (member := past(device)) is not None
        )
        if not claims:
            return None, 0
        claimed = [device for _, _, device in claims]
        holders = claimed[:1]
        term = 2
        while term in self.hands:
            may_hand = {holders[-1], self._seated(holders, claimed)}
            valid = [
                (author.role != "owner", op, heir)
                for op, device, heir in self.hands[term]
                if (author := past(device)) is not None
                and self.membership.was(heir, MAY_POST)
                and (author.role == "owner" or device in may_hand)
            ]
            if not valid:
                break
            holders.append(min(valid)[2])
            term += 1
        return self._seated(holders, claimed), term - 2

    def _seated(self, holders: Sequence[bytes], claimed: Sequence[bytes]) -> bytes | None:
        """The last of the holders who is a member still, else the first who claims the seat."""
        left = (each for each in (*reversed(holders), *claimed) if each in self.membership.members)
        return next(left, None)

    def contested(self) -> tuple[bytes, ...]:
        """Devices that claimed the seat and do not hold it (B-MAN-1), until it is handed over."""
        seat, handed = self.seating()
        if handed:
            return ()
        claimed = {device for _, device in self.claims if device in self.membership.members}
        return tuple(sorted(claimed - {seat or b""}))

    def epochs(self) -> list[bytes]:
        """The epochs (16 bytes), the one that new entries are to be sealed in first.

        That is the one whose key the most of those who were removed did not get; of several the
        latest, by (effective time, operation).
        """
        removed = self.membership.removed.keys()
        ordered = sorted(
            self.rotations.values(),
            key=lambda each: (len(removed - each.recipients), each.stamp, each.id),
            reverse=True,
        )
        return [*(each.epoch for each in ordered), self.root_epoch]

    def needs_rotation(self) -> bool:
        """Whether somebody who was removed has the key of the epoch that is written in."""
        removed = self.membership.removed.keys()
        if not removed:
            return False
        rotation = self.rotations.get(self.epochs()[0])
        return rotation is None or bool(removed & rotation.recipients)

    def receipt_state(self, receipt: OpId) -> str:
        """``posted``, ``retracted``, or ``contested`` while another took the same records."""
        if receipt in self.retracted:
            return "retracted"
        known = self.receipts[receipt]
        for file_id in known.files:
            file = self.files.get(file_id)
            if file is not None and receipt in file.contested:
                return "contested"
        return "posted"

    def waiting(self) -> dict[bytes, bytes]:
        """Devices that are no members, and the invitation that each shows the secret of."""
        out: dict[bytes, bytes] = {}
        for stamped in self.stamped:
            if (
                isinstance(stamped.operation, Redeem)
                and self.membership.past(stamped.device) is None
            ):
                out[stamped.device] = stamped.operation.invitation
        return out


def _up_to(heads: Iterable[bytes], prevs: Mapping[bytes, bytes]) -> set[bytes]:
    """Entries and all that stands before them in their logs, as far as ``prevs`` knows."""
    found: set[bytes] = set()
    for entry_id in heads:
        while entry_id in prevs and entry_id not in found:
            found.add(entry_id)
            entry_id = prevs[entry_id]
    return found
