"""What must hold at every step, and what must hold in the end.

The checkers look at the world from outside: at what is on the disks, at the frames that go over the
wire, and at the order in which entries are folded.
"""

from dataclasses import dataclass, field

from p2psync.core import addresses, codec, crypto, ops
from p2psync.core.changes import FileSaved
from p2psync.core.entry import Entry, decode
from p2psync.core.frontier import Tip
from p2psync.core.mandate import Applied, Mandate
from p2psync.core.membership import Removal
from p2psync.core.ops import Operation
from p2psync.engine import wire
from p2psync.engine.effects import Changed, Effect, KeepLogKey, Persist, StoredEntry
from p2psync.engine.ports import Archive, Kept
from p2psync.engine.replica import Replica
from p2psync.limits import (
    CHUNKS_UNREQUESTED_MAX,
    CHUNKS_WANTED_MAX,
    FRAME_BYTES_MAX,
    FRONTIER_TIPS_MAX,
)
from tests.engine.archive import MemoryArchive
from tests.engine.machine import Disk, Machine


class Violation(AssertionError):
    """A rule does not hold."""


class CheckedReplica(Replica):
    """A replica that is watched: nothing is folded before what it depends on."""

    def _stamp(self, item: Entry, operations: tuple[Operation, ...]) -> Applied:
        folded: set[bytes] = self.__dict__.setdefault("folded", set())
        before = [*item.header.deps, *([item.header.prev] if item.header.prev else [])]
        if not folded.issuperset(before):
            raise Violation("an entry was folded before what it depends on")
        folded.add(item.id)
        return super()._stamp(item, operations)

    def restore(self, found: Kept, archive: Archive) -> None:
        assert isinstance(archive, MemoryArchive)
        self.__dict__.setdefault("folded", set()).update(archive.fold.stamps)
        super().restore(found, archive)


@dataclass
class Checkers:
    """What the world knows and no device does."""

    entitled: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Devices that may come to hold a mandate's entries: its founder, who has a valid ticket."""
    told: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Devices that hold a mandate's key, whether they may join or not."""
    written: dict[bytes, set[bytes]] = field(default_factory=dict)
    """Entries that each device was told are durable."""
    claimed: dict[bytes, set[Tip]] = field(default_factory=dict)
    """Tips that each device told others it holds."""
    may_fork: set[bytes] = field(default_factory=set)
    """Devices that were restored from a backup."""
    owners: dict[bytes, bytes] = field(default_factory=dict)
    """Whose each log is, by who keeps its key."""
    genuine: set[bytes] = field(default_factory=set)
    """Entries that were written by whose log they stand in."""
    _positions: dict[tuple[bytes, int], bytes] = field(default_factory=dict)

    # -- at every step ----------------------------------------------------------------------------

    def before(self, machine: Machine, effect: Effect) -> None:
        """Look at an effect before it is carried out: power may fail in the middle."""
        match effect:
            case KeepLogKey(log=log):
                self.owners[log] = machine.device
            case Persist(entries=entries):
                for stored in entries:
                    if self.owners[stored.log] == machine.device:
                        self.genuine.add(stored.id)
                    elif stored.id not in self.genuine:
                        raise Violation("a forged entry was let in")

    def effect(self, machine: Machine, effect: Effect) -> None:
        """Look at an effect after it was carried out."""
        match effect:
            case Persist(entries=entries):
                for stored in entries:
                    self._persisted(machine, stored)
            case Changed(mandate=mandate, changes=changes):
                state = machine.engine.replica(mandate).state
                for change in changes:
                    if isinstance(change, FileSaved):
                        self._counts(state, change)

    def _persisted(self, machine: Machine, stored: StoredEntry) -> None:
        position = (stored.log, stored.seq)
        known = self._positions.setdefault(position, stored.id)
        state = machine.engine.replica(stored.mandate).state
        author = state.logs.get(stored.log)
        if known != stored.id and author not in self.may_fork:
            raise Violation("the log of an honest device forked")
        if author is not None and author not in self.told[stored.mandate]:
            raise Violation("an entry of a device that was never invited")

    def _counts(self, state: Mandate, change: FileSaved) -> None:
        if state.stale:
            return  # a member lost its admission: all is folded anew before anything else
        version = state.files[change.file].versions.get(change.version)
        if version is not None and state.membership.past(version.device) is None:
            raise Violation("an entry of a device that is no member counts")

    def returned(self, machine: Machine) -> None:
        """Something that a person did has returned: it is acknowledged."""
        kept = self.written.setdefault(machine.device, set())
        for mandate in machine.engine.mandates():
            replica = machine.engine.replica(mandate)
            for log, device in replica.state.logs.items():
                if device == machine.device:
                    kept.update(replica.chains.heads(log))

    def sent(self, machine: Machine, peer: bytes, mandate: bytes | None, frame: bytes) -> None:
        """Look at a frame on its way out."""
        if len(frame) > FRAME_BYTES_MAX:
            raise Violation("a frame over the limit")
        message = wire.decode(frame)
        match message:
            case wire.Hello() | wire.Offer():
                return
            case wire.Accept(accepted=accepted):
                # To whom no ticket was ever given, the answer is empty.
                if accepted and not any(peer in told for told in self.told.values()):
                    raise Violation("a stranger was told of a mandate")
                return
            case wire.Contact() | wire.Bye():
                if not any(peer in told for told in self.told.values()):
                    raise Violation("a stranger was told more than a greeting")
                return
            case wire.Sequences(known=known):
                self._tells(machine, peer, [device for device, _ in known])
                return
            case wire.Whereabouts(records=records):
                self._tells(machine, peer, [addresses.decode(raw).device for raw in records])
                return
            case None:
                raise Violation("a frame that means nothing")
        assert mandate is not None
        if peer not in self.told[mandate]:
            raise Violation("a stranger got a message of a mandate")
        match message:
            case wire.Refusal() | wire.Want() | wire.Opening():
                return
            case wire.Frontier(tips=tips) | wire.Have(tips=tips):
                self.claimed.setdefault(machine.device, set()).update(tips)
        if peer not in self.entitled[mandate]:
            raise Violation(f"{type(message).__name__} to a device that may not join")
        removal = machine.engine.replica(mandate).state.membership.removed.get(peer)
        if removal is not None and not isinstance(message, wire.ChunkWant | wire.Content):
            shows = isinstance(message, wire.Entries) and len(message.raws) == 1
            if not shows or not self._removes(message, removal):
                raise Violation(f"{type(message).__name__} to a device that was removed")

    def _tells(self, machine: Machine, peer: bytes, devices: list[bytes]) -> None:
        """Look at whom a device tells of whose addresses."""
        members = [
            machine.engine.replica(mandate).state.membership.members
            for mandate in machine.engine.mandates()
            if peer in self.entitled[mandate]
        ]
        for device in devices:
            if not any({peer, device, machine.device} <= each.keys() for each in members):
                raise Violation("addresses of a device that has nothing in common with the peer")

    def _removes(self, message: wire.Message, removal: Removal) -> bool:
        assert isinstance(message, wire.Entries)
        return all(decode(raw).id in {op[0] for op, _ in removal.by} for raw in message.raws)

    def restarted(self, disk: Disk) -> None:
        """Look at what a disk still holds after a power cut."""
        device = disk.signing.public
        if not self.written.get(device, set()) <= disk.entries.keys():
            raise Violation("an acknowledged entry is lost")
        held = {(each.log, each.seq, each.id[:8]) for each in disk.entries.values()}
        for tip in self.claimed.get(device, ()):
            if (tip.log, tip.seq, tip.head) not in held:
                raise Violation("an entry that others were told of is lost")
        for each in disk.entries.values():
            if each.prev and each.prev not in disk.entries:
                raise Violation("an entry is on disk without the one before it")

    def restored(self, device: bytes) -> None:
        """A device came back from a backup: what it had acknowledged since may be lost there."""
        self.may_fork.add(device)
        self.written.pop(device, None)
        self.claimed.pop(device, None)

    def limits(self, machine: Machine) -> None:
        """Look at what a device keeps in memory."""
        engine = machine.engine
        for source in engine._transfer._sources.values():
            if len(source.asked) > CHUNKS_WANTED_MAX:
                raise Violation("too many chunks asked for")
            if len(source.early) > CHUNKS_UNREQUESTED_MAX:
                raise Violation("too many chunks kept that nobody asked for")
        for held in engine._held.values():
            for session in held.exchange.sessions.values():
                if sum(map(len, session.remote.values())) > FRONTIER_TIPS_MAX:
                    raise Violation("too many tips of a peer")
        if len(engine._desk.timers._heap) > 10_000:
            raise Violation("too many deadlines")


# -- in the end -----------------------------------------------------------------------------------


def picture(state: Mandate) -> bytes:
    """Everything that people see of a mandate, as one digest."""
    membership = state.membership
    away = [
        [file.id, sorted(file.detached_by), sorted(file.reattached)]
        for _, file in sorted(state.files.items())
        if not file.present
    ]
    files = []
    for file in state.present_files():
        current = file.current()
        files.append(
            [
                file.id,
                file.info.name,
                file.info.folder,
                file.device,
                file.expected_seconds,
                None if file.program is None else ops.encode([file.program[2]]),
                sorted(file.heads),
                None if current is None else current.id,
                [version.id for version in file.conflicts()],
                file.segments.emit(),
                list(file.pending()),
                sorted(file.doubles),
                [(item.change, item.record.key) for item in file.pending_records()],
            ]
        )
    standing = state.standing
    receipts = [[op, state.receipt_state(op)] for op in sorted(state.receipts)]
    members = [
        [each.device, each.role, each.rank] for _, each in sorted(membership.members.items())
    ]
    whole = [
        state.name,
        state.shared,
        members,
        [
            [device, [op for op, _ in each.by]]
            for device, each in sorted(membership.removed.items())
        ],
        sorted(state.quarantined.items()),
        files,
        away,
        receipts,
        sorted(membership.revoked),
        sorted(membership.displaced),
        state.seat(),
        list(state.contested()),
        [each.id for each in standing.closed],
        sorted(standing.left()),
        None if standing.policy is None else ops.encode([standing.policy]),
        [[relay, list(known)] for relay, known in state.relays.used().items()],
        sorted(state.relays.dropped()),
    ]
    return crypto.digest(b"picture", codec.pack(whole))


def folded_anew(machine: Machine, mandate: bytes) -> bytes:
    """The picture that a fresh fold of what is on disk gives."""
    replica = machine.engine.replica(mandate)
    fresh = Replica(
        mandate,
        replica.signing,
        replica.secrets,
        replica.reader,
        replica.entropy,
        replica.describe,
    )
    fresh.load(machine.disk.raws(mandate))
    return picture(fresh.state)


def taken_up(machine: Machine, mandate: bytes) -> bytes:
    """The picture that what is kept of the fold on disk gives."""
    replica = machine.engine.replica(mandate)
    fresh = Replica(
        mandate,
        replica.signing,
        replica.secrets,
        replica.reader,
        replica.entropy,
        replica.describe,
    )
    archive = machine.disk.archive(mandate)
    found = archive.kept()
    assert found is not None, "the fold is kept with every entry"
    fresh.restore(found, archive)
    return picture(fresh.state)


def apart(machines: list[Machine], mandate: bytes) -> str:
    """Say in what some devices differ; empty when they are all in step."""
    replicas = [machine.engine.replica(mandate) for machine in machines]
    if len({replica.tips() for replica in replicas}) > 1:
        return "tips differ"
    if len({picture(replica.state) for replica in replicas}) > 1:
        return "states differ"
    for machine in machines:
        replica = machine.engine.replica(mandate)
        if not replica.is_member(machine.device):
            return f"{machine.name} is no member"
        if machine.engine._transfer.lacking(mandate):
            return f"{machine.name} lacks content"
        if not machine.engine.in_step(mandate):
            return f"{machine.name} does not know that it is in step"
        for file in replica.state.present_files():
            for version in file.heads.values():
                if version.content is not None:
                    for start in range(0, len(version.content.references), 64):
                        address = version.content.references[start : start + 32]
                        if address not in machine.disk.chunks:
                            return f"{machine.name} lacks a chunk"
    return ""
