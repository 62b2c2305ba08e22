"""Audit files made without a node: devices that write entries, and what may be done to files."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from p2psync.audit.frames import frames
from p2psync.audit.verify import Verification, Wanted, verify_stream
from p2psync.audit.writer import Source, Writer
from p2psync.core import audit, crypto, entry, membership, ops
from p2psync.core.audit import Content, FileDigest, Head, Kind, Log
from p2psync.core.crypto import SigningKey, content_digest
from p2psync.core.entry import Entry, LogKey
from p2psync.core.ops import Edits, Lines, Operation, Run, Save
from tests.core.lines import read

FILE, PICTURE = b"f" * 16, b"p" * 16
SALT = b"s" * 16
TICKET = b"t" * 32
KEYS = (b"\x01" * 32, b"\x02" * 32)
NOW_MS = 1_800_000_000_000
SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "audit" / "verify.py"


def seed(name: str) -> bytes:
    return crypto.digest(b"test.seed", name.encode())


def _load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_audit_verify", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SMALL = _load_script()
"""The verifier that was written from the specification alone."""


@dataclass
class Device:
    """Somebody who writes."""

    name: str
    incarnation: int = 0

    @property
    def signing(self) -> SigningKey:
        return SigningKey.from_seed(seed(self.name))

    @property
    def log_key(self) -> LogKey:
        return LogKey(SigningKey.from_seed(seed(f"{self.name} log {self.incarnation}")))


@dataclass
class Book:
    """A mandate that ``anna`` founded; each entry refers to all that was there."""

    anna: Device = field(default_factory=lambda: Device("anna"))
    entries: list[Entry] = field(default_factory=list)
    logs: dict[bytes, Log] = field(default_factory=dict)
    contents: list[tuple[Content, bytes]] = field(default_factory=list)
    epoch: int = 0
    refer: bool = True
    """Whether entries refer to those of other logs."""
    _heads: dict[bytes, bytes] = field(default_factory=dict)
    _ends: dict[bytes, Entry] = field(default_factory=dict)
    lines: int = 0

    @property
    def mandate(self) -> bytes:
        return membership.mandate_id(self.anna.signing.public, SALT)

    def write(self, device: Device, *operations: Operation, sign: bool = True) -> Entry:
        """Add an entry to a device's log; opens it first."""
        key = device.log_key
        end = self._ends.get(key.log)
        if end is None:
            certificate = membership.certify_log(
                device.signing, self.mandate, key.log, device.incarnation
            )
            public = device.signing.public
            opening = ops.OpenLog(public, device.incarnation, certificate)
            self.logs[key.log] = Log(key.log, public, device.incarnation, certificate)
            operations = (opening, ops.Describe(device.name.title(), "pc"), *operations)
        made = self.build(key, end, operations, sign=sign)
        self.entries.append(made)
        self._ends[key.log] = made
        self._heads[key.log] = made.id
        return made

    def build(
        self, key: LogKey, after: Entry | None, operations: Sequence[Operation], *, sign: bool
    ) -> Entry:
        """Make an entry without adding it."""
        others = [head for log, head in self._heads.items() if log != key.log]
        known = {dep for each in self.entries if each.log == key.log for dep in each.header.deps}
        number = len(self.entries)
        return entry.build(
            key,
            mandate=self.mandate,
            seq=0 if after is None else after.seq + 1,
            prev=b"" if after is None else after.id,
            deps=[head for head in others if head not in known][:32] if self.refer else [],
            hlc=(NOW_MS + 1000 * number) << 16,
            epoch_key=KEYS[self.epoch],
            payload=ops.encode(operations),
            entropy=number.to_bytes(32, "big"),
            sign=sign,
        )

    def found(self) -> "Book":
        """Found the mandate, attach a file and make a ticket."""
        public = SigningKey.from_seed(TICKET).public
        create = ops.Create(self.anna.signing.public, SALT, "Dupont SA")
        self.write(self.anna, create, ops.ClaimSeat(1))
        self.write(self.anna, ops.Invite(public, "writer", 0, 9))
        self.write(
            self.anna, ops.AddFile(FILE, "a.ecf", "invoicing", "lines", "", None, None, None)
        )
        return self

    def join(self, name: str) -> Device:
        """Admit a device."""
        device = Device(name)
        proof = membership.redeem(TICKET, self.mandate, device.signing.public)
        self.write(device, proof)
        self.write(self.anna, ops.Admit(device.signing.public, proof.invitation))
        return device

    def save(self, device: Device, *texts: str, sign: bool = True) -> Entry:
        """Add lines to the file."""
        raws = tuple(f"{text}\n".encode() for text in texts)
        self.lines += len(raws)
        base = self.lines.to_bytes(4, "big") + b"\x01"
        lines = Lines(FILE, (Run(base, raws),), Edits((), ()), ())
        version = Save(FILE, (), (), None, True, 1, bytes(32))
        return self.write(device, lines, version, sign=sign)

    def keep(self, device: Device, data: bytes) -> None:
        """Attach a file that is kept whole, and have its content exported."""
        added = ops.AddFile(PICTURE, "p.png", "other", "opaque", "", None, None, None)
        chunked = ops.Chunked(False, b"\x00" * 64)
        digest = content_digest(data)
        made = self.write(device, added, Save(PICTURE, (), (), chunked, False, len(data), digest))
        self.contents.append((Content(PICTURE, made.id, 1, len(data), digest), data))

    def export(
        self,
        device: Device | None = None,
        *,
        keys: Iterable[bytes] = KEYS[:1],
        waiting: int = 0,
    ) -> bytes:
        """The audit file, with all logs and entries that there are now."""
        used = {each.log for each in self.entries}
        keys = tuple(keys)
        source = Source(
            Head(self.mandate, self.anna.signing.public, SALT),
            [log for key, log in self.logs.items() if key in used],
            keys,
            [each.raw for each in self.entries],
            [(content, _reader(data)) for content, data in self.contents] if keys else (),
        )
        signer = (device or self.anna).signing
        return b"".join(Writer(source, signer, NOW_MS, waiting, "test").blocks())


def _reader(data: bytes) -> Callable[[], list[bytes]]:
    return lambda: [data]


def small_book() -> Book:
    """Two devices, two files, nine entries."""
    book = Book().found()
    ben = book.join("ben")
    book.save(ben, "1000 12.50 | one", "2000 13.50 | two", sign=False)
    book.save(ben, "3000 1.00 | three")
    book.keep(book.anna, b"picture" * 10)
    book.save(book.anna, "4000 1.00 | four")
    return book


# -- verifying ------------------------------------------------------------------------------------


def verified(data: bytes, wanted: Wanted | None = None, *, records: bool = False) -> Verification:
    """What ``audit verify`` finds."""
    import io

    return verify_stream(io.BytesIO(data), wanted or Wanted(), reader=read, records=records)


def both(data: bytes, folder: Path) -> tuple[bool, bool]:
    """Whether ``audit verify`` and the small verifier find the file sound."""
    path = folder / "file.p2psync-audit"
    path.write_bytes(data)
    return verified(data).sound, not SMALL.verify(path)


# -- tampering ------------------------------------------------------------------------------------

Part = tuple[Kind, bytes]


def parts(data: bytes) -> list[Part]:
    """The frames of a file."""
    import io

    return [(frame.kind, frame.body) for frame in frames(io.BytesIO(data))]


def joined(some: Iterable[Part]) -> bytes:
    """The bytes of frames, as they are."""
    return audit.MAGIC + b"".join(audit.frame(kind, body) for kind, body in some)


def resealed(some: Iterable[Part], signer: SigningKey | None = None) -> bytes:
    """Frames with the digests put right; with ``signer`` also the manifest, and all that it counts.

    Without, it is what somebody can do who has no member's key.
    """
    kept = [part for part in some if part[0] is not Kind.END]
    digest = FileDigest()
    digest.update(audit.MAGIC)
    out = bytearray(audit.MAGIC)
    for kind, body in kept:
        if kind is Kind.MANIFEST and signer is not None:
            manifest, _ = audit.load_manifest(body)
            body = audit.sign_manifest(_counted(manifest, kept, digest, signer), signer)
        frame = audit.frame(kind, body)
        digest.update(frame)
        out += frame
    return bytes(out) + audit.frame(Kind.END, digest.digest())


def _counted(
    manifest: audit.Manifest, some: Sequence[Part], digest: FileDigest, signer: SigningKey
) -> audit.Manifest:
    heads: dict[bytes, audit.LogHead] = {}
    bodies = [body for kind, body in some if kind is Kind.ENTRY]
    for body in bodies:
        item = entry.decode(body)
        heads.pop(item.header.prev, None)
        heads[item.id] = audit.LogHead(item.log, item.seq, item.id)
    return replace(
        manifest,
        device=signer.public,
        entries=len(bodies),
        contents=sum(1 for kind, _ in some if kind is Kind.CONTENT),
        heads=tuple(sorted(heads.values())),
        digest=digest.digest(),
    )
