"""A device for tests: an engine, a disk in memory, and a port to a network that the test makes.

``Machine`` does what ``node`` does, without waiting: it runs effects in list order and feeds back
what they are answered with.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from p2psync.core import crypto, kept, membership
from p2psync.core.ops import (
    CHUNK_REFERENCE_BYTES,
    Chunked,
    Create,
    Describe,
    Invite,
    Operation,
    OpId,
    Readmit,
    Share,
)
from p2psync.engine import wire
from p2psync.engine.effects import (
    Changed,
    ChunksKnown,
    CloseLink,
    CloseLog,
    ContentReady,
    Dial,
    Dismissed,
    Effect,
    Event,
    FindChunks,
    KeepAddresses,
    KeepEpochKey,
    KeepLogKey,
    LoadReferences,
    PeerChanged,
    Persist,
    Progress,
    ReferencesLoaded,
    Refold,
    Refused,
    SendChunks,
    SendEntries,
    SendFrame,
    SendOpening,
    StoreChunk,
    StoredEntry,
    Warn,
)
from p2psync.engine.engine import Engine
from p2psync.engine.ports import Archive, Kept
from p2psync.engine.replica import OwnLog, Replica, Secrets
from p2psync.engine.transfer import addresses_of
from p2psync.errors import CryptoError, StateDamaged
from p2psync.limits import CHUNK_BYTES
from tests.core.lines import read
from tests.engine.archive import Fold, MemoryArchive

WALL_MS = 1_800_000_000_000
DAY_MS = 24 * 3600 * 1000


def _restored(replica: Replica, found: Kept, archive: Archive) -> bool:
    """Take up what was kept; false where the power failed before it was made anew, as it must be.

    Any other damage is a fault: a node folds anew then, and nobody would see it.
    """
    try:
        replica.restore(found, archive)
    except StateDamaged as error:
        if error.params["cause"] != kept.STALE:
            raise
        return False
    return True


def entropy_of(seed: str) -> Callable[[int], bytes]:
    """Bytes that look random and are the same for the same seed."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{seed}/{count}".encode()).digest(size)

    return draw


def key_of(seed: str) -> crypto.SigningKey:
    """A device's key."""
    return crypto.SigningKey.from_seed(crypto.digest(b"test", seed.encode()))


@dataclass
class Holding:
    """What a disk keeps of one mandate besides its entries."""

    epoch_key: bytes
    admission_seed: bytes | None = None
    contacts: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    own_logs: list[OwnLog] = field(default_factory=list)
    later_keys: list[bytes] = field(default_factory=list)
    """Of the epochs that came after the first."""


@dataclass
class Disk:
    """What a device keeps over a restart. Each method is atomic and durable when it returns."""

    signing: crypto.SigningKey
    holdings: dict[bytes, Holding] = field(default_factory=dict)
    entries: dict[bytes, StoredEntry] = field(default_factory=dict)
    chunks: dict[bytes, bytes] = field(default_factory=dict)
    folds: dict[bytes, Fold] = field(default_factory=dict)
    addresses: dict[bytes, bytes] = field(default_factory=dict)
    """Signed addresses, by device."""

    def hold(self, mandate: bytes, holding: Holding) -> None:
        self.holdings[mandate] = holding

    def persist(self, effect: Persist) -> None:
        for stored in effect.entries:
            self.entries.setdefault(stored.id, stored)
        if effect.derived is not None:
            fold = self.folds.setdefault(effect.mandate, Fold())
            fold.take(effect.derived, len(self.raws(effect.mandate)))

    def archive(self, mandate: bytes) -> MemoryArchive:
        return MemoryArchive(self.entries, mandate, self.folds.setdefault(mandate, Fold()))

    def keep_log_key(self, effect: KeepLogKey) -> None:
        logs = self.holdings[effect.mandate].own_logs
        logs.append(OwnLog(effect.seed, effect.incarnation))

    def keep_epoch_key(self, effect: KeepEpochKey) -> None:
        self.holdings[effect.mandate].later_keys.append(effect.key)

    def close_log(self, effect: CloseLog) -> None:
        logs = self.holdings[effect.mandate].own_logs
        for index, own in enumerate(logs):
            if crypto.SigningKey.from_seed(own.seed).public == effect.log:
                logs[index] = OwnLog(own.seed, own.incarnation, closed=True)

    def store_chunk(self, address: bytes, data: bytes) -> None:
        self.chunks[address] = data

    def raws(self, mandate: bytes) -> list[bytes]:
        return [stored.raw for stored in self.entries.values() if stored.mandate == mandate]


@dataclass(frozen=True)
class Ticket:
    """What a ticket carries."""

    mandate: bytes
    epoch_key: bytes
    admission_seed: bytes
    peers: Mapping[bytes, tuple[str, ...]]


class Port(Protocol):
    """The network as a machine sees it."""

    def send(self, link: int, frame: bytes) -> None: ...

    def close(self, link: int, error: str) -> None: ...

    def dial(self, device: bytes, addresses: Sequence[str]) -> None: ...


class Machine:
    """One device while it runs; make another one over the same disk to restart it."""

    replica_type: type[Replica] = Replica

    def __init__(
        self,
        name: str,
        disk: Disk,
        port: Port,
        entropy: Callable[[int], bytes],
        now: float = 0.0,
        wall_ms: int = WALL_MS,
    ) -> None:
        self.name = name
        self.disk = disk
        self.port = port
        self.entropy = entropy
        self.now = now
        self.wall_ms = wall_ms
        self.log: list[Effect] = []
        """What people and programs are told."""
        self._events: deque[Event] = deque()
        self._stale: deque[bytes] = deque()
        """Mandates to be folded anew, once what goes before is done."""
        self.addresses: tuple[str, ...] = (f"/memory/{name}",)
        self.engine = Engine(self.device, entropy, lambda: self.addresses)
        for mandate, holding in disk.holdings.items():
            self._add(mandate, holding)
        self.run(self.engine.load_addresses(disk.addresses.values(), self.now, self.wall_ms))

    @property
    def device(self) -> bytes:
        return self.disk.signing.public

    def _add(self, mandate: bytes, holding: Holding) -> Replica:
        replica = self.replica_type(
            mandate,
            self.disk.signing,
            Secrets(
                (holding.epoch_key, *holding.later_keys),
                holding.admission_seed,
                tuple(holding.own_logs),
            ),
            read,
            self.entropy,
            Describe(self.name, self.name),
        )
        archive = self.disk.archive(mandate)
        found = archive.kept()
        if found is None or not _restored(replica, found, archive):
            replica.load(self.disk.raws(mandate))
            self.disk.persist(replica.keep())
        self.run(self.engine.add(replica, holding.contacts, self.now, self.wall_ms))
        return replica

    # -- what people do -------------------------------------------------------------------------

    def create(
        self, name: str = "Books", *, share: bool = True, salt: bytes | None = None
    ) -> bytes:
        salt = salt or self.entropy(16)
        mandate = membership.mandate_id(self.device, salt)
        holding = Holding(self.entropy(32))
        self.disk.hold(mandate, holding)
        self._add(mandate, holding)
        self.author(mandate, Create(self.device, salt, name))
        if share:
            self.author(mandate, Share())
        return mandate

    def invite(self, mandate: bytes, role: str = "writer", uses: int = 1, days: int = 14) -> Ticket:
        seed = self.entropy(32)
        invitation = crypto.SigningKey.from_seed(seed).public
        self.author(mandate, Invite(invitation, role, self.wall_ms + days * DAY_MS, uses))
        peers = {self.device: (f"/memory/{self.name}",)}
        return Ticket(mandate, self.engine.replica(mandate).epoch_key, seed, peers)

    def subscribe(self, ticket: Ticket) -> None:
        holding = Holding(ticket.epoch_key, ticket.admission_seed, dict(ticket.peers))
        self.disk.hold(ticket.mandate, holding)
        self._add(ticket.mandate, holding)

    def author(self, mandate: bytes, *operations: Operation) -> None:
        self.run(self.engine.author(mandate, operations, self.now, self.wall_ms))

    def remove(self, mandate: bytes, device: bytes) -> None:
        """Remove a device (B-ID-3)."""
        self.publish(mandate, self.engine.replica(mandate).remove(device, self.wall_ms))

    def readmit(self, mandate: bytes, device: bytes) -> None:
        """Undo that."""
        removal = self.engine.replica(mandate).state.membership.removed[device]
        self.author(mandate, Readmit(device, tuple(sorted(op for op, _ in removal.by))))

    def publish(self, mandate: bytes, effects: list[Effect]) -> None:
        self.run(self.engine.publish(mandate, effects, self.now, self.wall_ms))

    def store(self, mandate: bytes, data: bytes) -> Chunked:
        """Seal content into the chunk store; return the references."""
        secret = self.engine.replica(mandate).chunk_secret
        references = self._seal(secret, data, padded=True)
        if len(references) <= 64 * CHUNK_REFERENCE_BYTES:
            return Chunked(False, references)
        return Chunked(True, self._seal(secret, references, padded=False))

    def _seal(self, secret: bytes, data: bytes, *, padded: bool) -> bytes:
        references = b""
        for start in range(0, len(data), CHUNK_BYTES):
            piece = data[start : start + CHUNK_BYTES]
            sealed, digest = crypto.seal_chunk(secret, piece)
            address = crypto.chunk_address(sealed)
            self.disk.store_chunk(address, sealed)
            references += address + digest
        return references

    def content(self, mandate: bytes, file: bytes) -> bytes:
        """The shown version's chunked content; all of it must be here."""
        replica = self.engine.replica(mandate)
        version = replica.state.files[file].current()
        assert version is not None
        assert version.content is not None
        references = version.content.references
        if version.content.indirect:
            references = self._open(replica, references)
        return self._open(replica, references)

    def _open(self, replica: Replica, references: bytes) -> bytes:
        out = b""
        for start in range(0, len(references), CHUNK_REFERENCE_BYTES):
            address = references[start : start + 32]
            digest = references[start + 32 : start + 64]
            out += crypto.open_chunk_of(replica.chunk_secrets, digest, self.disk.chunks[address])
        return out

    # -- what happens -----------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Step the engine and do what it wants, and so on with what that is answered by."""
        self._events.append(event)
        while self._events:
            self.run(self.engine.step(self._events.popleft(), self.now, self.wall_ms))

    def run(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self.do(effect)
        while self._stale or self._events:
            for effect in self._next():
                self.do(effect)

    def _next(self) -> Sequence[Effect]:
        if not self._stale:
            return self.engine.step(self._events.popleft(), self.now, self.wall_ms)
        mandate = self._stale.popleft()
        raws = self.disk.raws(mandate)
        return self.engine.refold(mandate, raws, self.now, self.wall_ms)

    def do(self, effect: Effect) -> None:
        match effect:
            case Persist():
                self.disk.persist(effect)
            case KeepLogKey():
                self.disk.keep_log_key(effect)
            case KeepEpochKey():
                self.disk.keep_epoch_key(effect)
            case CloseLog():
                self.disk.close_log(effect)
            case KeepAddresses(records=records):
                self.disk.addresses |= dict(records)
            case StoreChunk(mandate=mandate, address=address, data=data, places=places):
                secrets = self.engine.replica(mandate).chunk_secrets
                for place in places:
                    piece = crypto.open_chunk_of(secrets, place.digest, data)
                    assert len(piece) == min(
                        CHUNK_BYTES, place.size_bytes - place.number * CHUNK_BYTES
                    ), "a piece that does not fit its place"
                self.disk.store_chunk(address, data)
            case Refold(mandate=mandate):
                self._stale.append(mandate)
            case FindChunks(mandate=mandate, version=version, references=references):
                wanted = dict.fromkeys(addresses_of(references))
                missing = tuple([each for each in wanted if each not in self.disk.chunks])
                self._events.append(ChunksKnown(mandate, version, missing))
            case LoadReferences(mandate=mandate, version=version, references=references):
                self._events.append(self._references(mandate, version, references))
            case SendFrame(link=link, frame=frame):
                self.port.send(link, frame)
            case SendEntries(link=link, handle=handle, ids=ids):
                for frame in wire.entries_frames(handle, (self.disk.entries[i].raw for i in ids)):
                    self.port.send(link, frame)
            case SendOpening(link=link, handle=handle, ids=ids):
                raws = [self.disk.entries[i].raw for i in ids]
                self.port.send(link, wire.encode(wire.Opening(handle, tuple(raws))))
            case SendChunks(link=link, handle=handle, addresses=addresses):
                self._send_chunks(link, handle, addresses)
            case CloseLink(link=link, error=error):
                self.log.append(effect)
                self.port.close(link, error)
            case Dial(device=device, addresses=addresses_known):
                self.port.dial(device, addresses_known)
            case Changed() | ContentReady() | Progress() | PeerChanged() | Refused() | Warn():
                self.log.append(effect)
            case Dismissed():
                self.log.append(effect)
            case _:
                assert_never(effect)

    def _references(self, mandate: bytes, version: OpId, references: bytes) -> ReferencesLoaded:
        try:
            loaded = self._open(self.engine.replica(mandate), references)
        except CryptoError:
            loaded = b""
        return ReferencesLoaded(mandate, version, loaded)

    def _send_chunks(self, link: int, handle: int, addresses: Sequence[bytes]) -> None:
        missing = []
        for address in addresses:
            data = self.disk.chunks.get(address)
            if data is None:
                missing.append(address)
            else:
                self.port.send(link, wire.chunk_frame(handle, address, data))
        if missing:
            self.port.send(link, wire.chunks_missing_frame(handle, missing))
