"""The mandate as people see it: an incremental fold over the entries of all its logs.

The fold is pure: it depends on the set of entries, not on the order or way they came (a test
shuffles them). Entries of a device count once the device is a member; until then they are held
(protocol.md: "the newcomer's entries travel but do not count"). What a fold cannot take back in
steps, a member that loses its admission, or one that wrote more than was held, is reported as
``stale``: the owner of the entries then folds anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from p2psync.core import membership
from p2psync.core.files import FileState, Pair, Receipt
from p2psync.core.membership import MAY_POST, MAY_WRITE, Membership, Stamped
from p2psync.core.ops import (
    AddFile,
    Admit,
    ClaimSeat,
    Create,
    Describe,
    Detach,
    HandSeat,
    Invite,
    Lines,
    Observe,
    OpenLog,
    Operation,
    OpId,
    Post,
    Redeem,
    Remove,
    Rename,
    Revoke,
    Rotate,
    Save,
    SetRole,
    Share,
    Unknown,
    Unpost,
    keyed,
)
from p2psync.core.records import SegmentReader
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


@dataclass(frozen=True, slots=True)
class _Part:
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


# -- what an entry changed, for whoever tells people -------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A device became a member."""

    device: bytes


@dataclass(frozen=True, slots=True)
class MemberWaiting:
    """A device shows the secret of an invitation and waits for a member to admit it."""

    device: bytes
    invitation: bytes


@dataclass(frozen=True, slots=True)
class FileAdded:
    """A file was attached."""

    file: bytes


@dataclass(frozen=True, slots=True)
class FileSaved:
    """A file has a new version."""

    file: bytes
    version: OpId


@dataclass(frozen=True, slots=True)
class FilePosted:
    """A receipt was made, or retracted."""

    receipt: OpId
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class DoublePosted:
    """Receipts that took the same records while apart (B-POS-6)."""

    file: bytes
    receipts: tuple[OpId, ...]


@dataclass(frozen=True, slots=True)
class MandateChanged:
    """Name, sharing, seat or the description of a device changed."""


@dataclass(frozen=True, slots=True)
class NewerVersion:
    """An operation that this version does not know."""

    code: int


Change = (
    MemberJoined
    | MemberWaiting
    | FileAdded
    | FileSaved
    | FilePosted
    | DoublePosted
    | MandateChanged
    | NewerVersion
)


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
    newer: set[int] = field(default_factory=set)
    arrangement: int = 0
    """Rises whenever files came, went or may have: what depends only on which files there are can
    be kept until then."""
    held: dict[bytes, list[Applied]] = field(default_factory=dict)
    """Entries of devices that are no members."""
    _stamped: list[Stamped] = field(default_factory=list)
    _named: tuple[int, OpId] = (-1, (b"", 0))
    _described: dict[bytes, tuple[int, OpId]] = field(default_factory=dict)
    _claims: list[tuple[OpId, bytes]] = field(default_factory=list)
    _hands: dict[int, list[tuple[OpId, bytes, bytes]]] = field(default_factory=dict)
    _parts: dict[bytes, _Part] = field(default_factory=dict)
    _unposted: dict[OpId, OpId] = field(default_factory=dict)

    # -- folding --------------------------------------------------------------------------------

    @classmethod
    def fold(cls, mandate: bytes, reader: SegmentReader, entries: Iterable[Applied]) -> "Mandate":
        """Fold all entries at once: first who is a member, then what the members did."""
        state = cls(mandate, reader)
        every = list(entries)
        for entry in every:
            state._learn(entry)
        state._recompute()
        state.stale = False
        for entry in every:
            state._count_or_hold(entry)
        return state

    def apply(self, entry: Applied) -> list[Change]:
        """Fold one more entry, after all that it depends on; return what changed.

        When ``stale`` is true afterwards, fold all entries anew.
        """
        changes: list[Change] = []
        if self._learn(entry):
            before = self.membership
            self._recompute()
            for device in self.membership.members.keys() - before.members.keys():
                changes.append(MemberJoined(device))
                waited = self.held.pop(device, [])
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
                    self.logs[entry.log] = device
                    self.incarnations[device] = max(
                        self.incarnations.get(device, 0), operation.incarnation + 1
                    )
                    self.devices.setdefault(device, Device(device))
                    continue
                case Create() | Invite() | Revoke() | Redeem() | Admit():
                    pass
                case _:
                    continue
            stamped = self._stamp(entry, index, operation)
            if stamped is not None:
                self._stamped.append(stamped)
                relevant = True
        return relevant

    def _stamp(
        self,
        entry: Applied,
        index: int,
        operation: Create | Invite | Revoke | Redeem | Admit,
    ) -> Stamped | None:
        device = self.logs.get(entry.log)
        if device is None:
            return None
        match operation:
            case Create(device=founder, salt=salt, name=name):
                if (
                    entry.seq
                    or founder != device
                    or membership.mandate_id(founder, salt) != self.id
                ):
                    return None
                self.founder = founder
                if self._named[0] < 0:
                    self.name = name
            case Redeem() if not membership.redeem_holds(operation, self.id, device):
                return None
        return Stamped((entry.id, index), device, entry.stamp, operation)

    def _recompute(self) -> None:
        before = self.membership
        self.membership = membership.compute(self.id, self._stamped)
        for device, member in before.members.items():
            now = self.membership.members.get(device)
            if now is None or (now.role, now.rank) != (member.role, member.rank):
                self.stale = True

    def _count_or_hold(self, entry: Applied) -> list[Change]:
        device = self.logs.get(entry.log)
        if device is None:
            return []
        if device in self.membership.members:
            return self._count(entry)
        held = self.held.setdefault(device, [])
        if len(held) < QUARANTINED_ENTRIES_MAX:
            held.append(entry)
        changes: list[Change] = []
        for index, operation in enumerate(entry.operations):
            if isinstance(operation, Redeem):
                changes.append(MemberWaiting(device, operation.invitation))
            elif isinstance(operation, Describe):
                self._describe(operation, (entry.id, index), device, entry.stamp)
        return changes

    def _count(self, entry: Applied) -> list[Change]:
        device = self.logs[entry.log]
        role = self.membership.role(device)
        writes = role in MAY_WRITE
        changes: list[Change] = []
        lines = tuple(op for op in entry.operations if isinstance(op, Lines))
        saves = any(isinstance(op, Save) for op in entry.operations)
        if lines and not saves and writes:
            self._parts[entry.id] = _Part(entry.prev, entry.log, entry.stamp, lines)
        for index, operation in enumerate(entry.operations):
            op = (entry.id, index)
            match operation:
                case Describe():
                    self._describe(operation, op, device, entry.stamp)
                    changes.append(MandateChanged())
                case Unknown(code=code):
                    self.newer.add(code)
                    changes.append(NewerVersion(code))
                case SetRole() | Remove() | Rotate():
                    self.newer.add(-1)
                    changes.append(NewerVersion(-1))
                case Share():
                    if role == "owner" and not self.shared:
                        self.shared = True
                        changes.append(MandateChanged())
                case ClaimSeat():
                    if role in MAY_POST and operation.term == 1:
                        self._claims.append((op, device))
                        changes.append(MandateChanged())
                case HandSeat(term=term, device=heir):
                    self._hands.setdefault(term, []).append((op, device, heir))
                    changes.append(MandateChanged())
                case _ if writes:
                    changes += self._write(operation, op, device, entry, lines)
                case _:
                    pass
        return changes

    def _describe(self, operation: Describe, op: OpId, device: bytes, stamp: int) -> None:
        if (stamp, op) > self._described.get(device, (-1, (b"", 0))):
            self._described[device] = (stamp, op)
            self.devices[device] = Device(device, operation.name, operation.machine)

    def _write(
        self,
        operation: Operation,
        op: OpId,
        device: bytes,
        entry: Applied,
        lines: tuple[Lines, ...],
    ) -> list[Change]:
        match operation:
            case Rename(name=name):
                if (entry.stamp, op) > self._named:
                    self._named = (entry.stamp, op)
                    self.name = name
                return [MandateChanged()]
            case AddFile(file=file_id):
                file = self._file(file_id)
                if file is None or not file.attach(operation, op, device, entry.stamp):
                    return []
                self.arrangement += 1
                return [FileAdded(file_id)]
            case Save(file=file_id):
                file = self._file(file_id)
                if file is None:
                    return []
                staged = self._take_parts(operation, entry)
                own = [(entry.id, entry.stamp, line) for line in lines if line.file == file_id]
                if file.detached_by:
                    self.arrangement += 1
                file.save(operation, op, device, entry.hlc, entry.stamp, tuple(staged + own))
                return [FileSaved(file_id, op)]
            case Detach(file=file_id, versions=versions):
                file = self._file(file_id)
                if file is not None:
                    file.detached_by[op] = frozenset(versions)
                    self.arrangement += 1
                return [MandateChanged()]
            case Post() if self.membership.may(device, MAY_POST):
                return self._post(operation, op, device, entry)
            case Unpost(receipts=receipts) if self.membership.may(device, MAY_POST):
                return self._unpost(receipts, op)
            case Lines() | Observe() | OpenLog() | Create() | Invite() | Revoke() | Redeem():
                return []
            case _:
                return []

    def _take_parts(self, save: Save, entry: Applied) -> list[tuple[bytes, int, Lines]]:
        """Take the changes that a save names, each once.

        Only parts that stand right before the save in its chain count: whoever has the save has
        folded them, so the result is the same for everyone.
        """
        before: set[bytes] = set()
        at = entry.prev
        while (part := self._parts.get(at)) is not None and part.log == entry.log:
            before.add(at)
            at = part.prev
        out: list[tuple[bytes, int, Lines]] = []
        for part_id in save.parts:
            if part_id not in before:
                continue
            part = self._parts[part_id]
            out += [(part_id, part.stamp, line) for line in part.lines if line.file == save.file]
            left = tuple(line for line in part.lines if line.file != save.file)
            self._parts[part_id] = replace(part, lines=left)
        return out

    def _file(self, file: bytes) -> FileState | None:
        known = self.files.get(file)
        if known is None and len(self.files) < FILES_PER_MANDATE_MAX:
            known = self.files[file] = FileState(file, self.reader)
        return known

    def _post(self, operation: Post, op: OpId, device: bytes, entry: Applied) -> list[Change]:
        changes: list[Change] = [FilePosted(op)]
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
        if op in self._unposted:
            self.retracted[op] = self._unposted[op]
            return changes
        for file_id, (adds, drops) in by_file.items():
            file = self._file(file_id)
            if file is None:
                continue
            rivals = file.post(adds, op, entry.stamp, adds=True)
            rivals |= file.post(drops, op, entry.stamp, adds=False)
            if rivals:
                changes.append(DoublePosted(file_id, tuple(sorted({*rivals, op}))))
        return changes

    def _unpost(self, receipts: tuple[OpId, ...], op: OpId) -> list[Change]:
        changes: list[Change] = []
        for receipt in receipts:
            self._unposted[receipt] = min(op, self._unposted.get(receipt, op))
            known = self.receipts.get(receipt)
            if known is not None:
                self.retracted[receipt] = self._unposted[receipt]
                for file_id in known.files:
                    file = self.files.get(file_id)
                    if file is not None:
                        file.unpost(receipt)
                changes.append(FilePosted(receipt, retracted=True))
        return changes

    # -- reading --------------------------------------------------------------------------------

    def present_files(self) -> list[FileState]:
        """The files that are attached, by id."""
        return [self.files[key] for key in sorted(self.files) if self.files[key].present]

    def seat(self) -> bytes | None:
        """The device that posts (B-POS-7): claimed first, then handed over term by term.

        Of concurrent claims the lowest (rank, operation) holds; an owner's handing over goes before
        the holder's.
        """
        return self._seat()[0]

    def _seat(self) -> tuple[bytes | None, int]:
        """The seat's holder, and how often it was handed over."""
        members = self.membership.members
        claims = [(members[device].rank, op, device) for op, device in self._claims]
        if not claims:
            return None, 0
        holder = min(claims)[2]
        term = 2
        while term in self._hands:
            valid = [
                (members[device].role != "owner", op, heir)
                for op, device, heir in self._hands[term]
                if device in members
                and self.membership.may(heir, MAY_POST)
                and (members[device].role == "owner" or device == holder)
            ]
            if not valid:
                break
            holder = min(valid)[2]
            term += 1
        return holder, term - 2

    def contested(self) -> tuple[bytes, ...]:
        """Devices that claimed the seat and do not hold it (B-MAN-1), until it is handed over."""
        seat, handed = self._seat()
        if handed:
            return ()
        return tuple(sorted({device for _, device in self._claims} - {seat or b""}))

    def receipt_state(self, receipt: OpId) -> str:
        """``posted``, ``retracted``, or ``contested`` while another took the same records."""
        if receipt in self.retracted:
            return "retracted"
        known = self.receipts[receipt]
        for file_id in known.files:
            file = self.files.get(file_id)
            if file is not None and any(receipt in rivals for rivals in file.doubles.values()):
                return "contested"
        return "posted"

    def waiting(self) -> dict[bytes, bytes]:
        """Devices that are no members, and the invitation that each shows the secret of."""
        out: dict[bytes, bytes] = {}
        for stamped in self._stamped:
            if (
                isinstance(stamped.operation, Redeem)
                and stamped.device not in self.membership.members
            ):
                out[stamped.device] = stamped.operation.invitation
        return out
