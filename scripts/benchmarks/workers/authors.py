"""Replicas that write records, without network or node: what the workers for records share."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core import crypto, membership
from p2psync.core.crdt import between, position
from p2psync.core.ops import AddFile, Create, Describe, Edits, Invite, Lines, OpId, Run, Share
from p2psync.engine.effects import Effect, Persist
from p2psync.engine.replica import Replica, Secrets
from p2psync.formats import registry
from p2psync.storage.database import Database

WALL_MS = time.time_ns() // 1_000_000
_DAY_MS = 24 * 3600 * 1000
_LINE = (
    b"05.03.2025\t1100\t3400\tR-%07d\tPoterie du Vallon, s\xe9rie \xe9maill\xe9e\t2340.00"
    b"\t\t0\t\t0\t0\t0\t\t1\t\t\t\t\t\t\t0\r\n"
)


def raws_of(effects: Sequence[Effect]) -> list[bytes]:
    """Returns the entries that are to be persisted."""
    return [
        stored.raw for effect in effects if isinstance(effect, Persist) for stored in effect.entries
    ]


def sales(file: bytes) -> AddFile:
    """Returns what attaches a file of records."""
    name = f"sales-{file.hex()}.ecf"
    return AddFile(file, name, "invoicing", "cresus-ecf", "", None, None, None)


def commit(database: Database, effects: Sequence[Effect]) -> None:
    """Makes what is to be persisted durable, in one transaction."""
    with database.batch() as batch:
        for effect in effects:
            if isinstance(effect, Persist):
                batch.persist(effect)


@dataclass
class Books:
    """A mandate, its founder, and the entries that all members begin with."""

    epoch_key: bytes = field(default_factory=lambda: os.urandom(32))
    device: crypto.SigningKey = field(
        default_factory=lambda: crypto.SigningKey.from_seed(os.urandom(32))
    )
    salt: bytes = field(default_factory=lambda: os.urandom(16))
    begin: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = membership.mandate_id(self.device.public, self.salt)
        self.admission_seed = os.urandom(32)
        self.founder = self.replica(self.device)
        invitation = crypto.SigningKey.from_seed(self.admission_seed).public
        self.begin += raws_of(
            self.founder.author(
                [
                    Create(self.device.public, self.salt, "Books"),
                    Share(),
                    Invite(invitation, "writer", WALL_MS + _DAY_MS, 100),
                ],
                WALL_MS,
            )
        )

    def replica(self, device: crypto.SigningKey, *, guest: bool = False) -> Replica:
        """Returns a device's replica, with nothing in it."""
        secrets = Secrets((self.epoch_key,), self.admission_seed if guest else None)
        describe = Describe("Bench", "bench")
        return Replica(self.id, device, secrets, registry.read_segment, os.urandom, describe)

    def author(self) -> "Author":
        """Returns a new member that is to write."""
        device = crypto.SigningKey.from_seed(os.urandom(32))
        replica = self.replica(device, guest=True)
        replica.receive(self.begin, WALL_MS, more=False)
        file = os.urandom(16)
        opening = raws_of(replica.author([sales(file)], WALL_MS))
        admitted = raws_of(self.founder.admit(device.public, opening, WALL_MS).effects)
        self.begin += admitted
        replica.receive(admitted, WALL_MS, more=False)
        return Author(replica, file)


@dataclass
class Author:
    """A member that appends records to a file of its own, save after save."""

    replica: Replica
    file: bytes
    count: int = 0
    _last: bytes | None = None
    _version: tuple[OpId, ...] = ()

    def begin_file(self) -> list[Effect]:
        """Attaches a new, empty file and goes on in it."""
        self.file, self.count, self._last, self._version = os.urandom(16), 0, None, ()
        return self.replica.author([sales(self.file)], WALL_MS)

    def save(self, records: int) -> list[Effect]:
        """Writes one save with so many more records."""
        base = between(self._last, None, os.urandom(8))
        self._last = position(base, records - 1)
        raws = tuple(_LINE % (self.count + number) for number in range(records))
        self.count += records
        effects = self.replica.save(
            self.file,
            parents=self._version,
            lines=[Lines(self.file, (Run(base, raws),), Edits((), ()), ())],
            content=None,
            mergeable=True,
            size_bytes=0,
            digest=bytes(32),
            wall_ms=WALL_MS,
        )
        self._version = tuple(self.replica.state.files[self.file].heads)
        return effects

    def saves(self, records: int, each: int) -> Iterator[bytes]:
        """Gives the entries of as many saves as it takes."""
        for _ in range(records // each):
            yield from raws_of(self.save(each))
