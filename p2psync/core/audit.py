"""The audit file: frames that hold a mandate's signed entries and what checks them. No I/O.

Specification: docs/spec/audit.md. A file is ``MAGIC`` and frames: one byte of kind, four of length
(big-endian), the body. ``Kind`` gives their order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from p2psync.core import codec, crypto, membership
from p2psync.core.entry import SEQ_MAX
from p2psync.core.ops import FILE_ID_BYTES, OpenLog
from p2psync.core.schema import Kind as Field
from p2psync.core.schema import array, binary, boolean, integer, structure, text
from p2psync.errors import AuditFileError, CodecError
from p2psync.limits import (
    AUDIT_CONTENTS_MAX,
    AUDIT_HEADS_MAX,
    AUDIT_MANIFEST_BYTES_MAX,
    AUDIT_PIECE_BYTES_MAX,
    AUDIT_SOFTWARE_BYTES_MAX,
    AUDIT_STAMP_BYTES_MAX,
    CHUNK_BYTES,
    ENTRY_BYTES_MAX,
    FILE_CHUNKS_MAX,
    TEXT_BYTES_MAX,
)

MAGIC = b"p2psync audit 1\n"
FRAME_HEAD_BYTES = 5
NONCE_BYTES = 8
_DIGEST = b"p2psync.audit"
_SIGN = b"p2psync audit 1"
_SMALL_BYTES = 1024
T = TypeVar("T")


class Kind(IntEnum):
    """What a frame is; a file has them in this order, contents each followed by its pieces."""

    HEAD = 1
    LOG = 2
    KEY = 3
    ENTRY = 4
    CONTENT = 5
    PIECE = 6
    MANIFEST = 7
    STAMP = 8
    END = 9


BODY_BYTES_MAX = {
    Kind.HEAD: _SMALL_BYTES,
    Kind.LOG: _SMALL_BYTES,
    Kind.KEY: crypto.KEY_BYTES,
    Kind.ENTRY: ENTRY_BYTES_MAX,
    Kind.CONTENT: _SMALL_BYTES,
    Kind.PIECE: AUDIT_PIECE_BYTES_MAX,
    Kind.MANIFEST: AUDIT_MANIFEST_BYTES_MAX,
    Kind.STAMP: AUDIT_STAMP_BYTES_MAX,
    Kind.END: crypto.KEY_BYTES,
}
"""The longest body of each kind; nothing longer is read into memory."""


@dataclass(frozen=True, slots=True)
class Head:
    """Whose file it is: the mandate's id (32 bytes), the founder's device key, the salt (16)."""

    mandate: bytes
    founder: bytes
    salt: bytes

    @property
    def holds(self) -> bool:
        """Whether founder and salt make the mandate's id."""
        return membership.mandate_id(self.founder, self.salt) == self.mandate


@dataclass(frozen=True, slots=True)
class Log:
    """A log and the device that it belongs to, with that device's certificate (64 bytes)."""

    log: bytes
    device: bytes
    incarnation: int
    certificate: bytes

    def certified(self, mandate: bytes) -> bool:
        """Check the certificate."""
        opening = OpenLog(self.device, self.incarnation, self.certificate)
        return membership.log_certified(opening, mandate, self.log)


@dataclass(frozen=True, slots=True)
class Content:
    """A version whose content follows: its file (16 bytes), its ``Save``, size and BLAKE3."""

    file: bytes
    entry: bytes
    index: int
    size_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True, order=True)
class LogHead:
    """The end of a branch of a log: no other entry of the log follows it."""

    log: bytes
    seq: int
    entry: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the exporter signs: when, how much, where each log ends, the digest of all before.

    ``sealed``: the keys were left out. ``waiting``: entries that were held, and left out because
    what they depend on had not come. ``digest`` (32 bytes) is ``file_digest`` of every byte of the
    file before the manifest's frame.
    """

    mandate: bytes
    device: bytes
    at_ms: int
    sealed: bool
    entries: int
    waiting: int
    contents: int
    heads: tuple[LogHead, ...]
    digest: bytes
    software: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp (RFC 3161) of the manifest's frame: who was asked, with what nonce (8 bytes),
    and the whole answer, a TimeStampResp in DER."""

    authority: str
    nonce: bytes
    response: bytes


_key = binary(32)
_head = structure(Head, mandate=_key, founder=_key, salt=binary(16))
_log = structure(
    Log, log=_key, device=_key, incarnation=integer(0, 1 << 32), certificate=binary(64)
)
_content = structure(
    Content,
    file=binary(FILE_ID_BYTES),
    entry=_key,
    index=integer(0, ENTRY_BYTES_MAX),
    size_bytes=integer(0, FILE_CHUNKS_MAX * CHUNK_BYTES),
    digest=_key,
)
_log_head = structure(LogHead, log=_key, seq=integer(0, SEQ_MAX), entry=_key)
_manifest = structure(
    Manifest,
    mandate=_key,
    device=_key,
    at_ms=integer(),
    sealed=boolean(),
    entries=integer(),
    waiting=integer(),
    contents=integer(0, AUDIT_CONTENTS_MAX),
    heads=array(_log_head, AUDIT_HEADS_MAX),
    digest=_key,
    software=text(AUDIT_SOFTWARE_BYTES_MAX),
)
_stamp = structure(
    Stamp,
    authority=text(TEXT_BYTES_MAX),
    nonce=binary(NONCE_BYTES),
    response=binary(1, AUDIT_STAMP_BYTES_MAX),
)


def frame(kind: Kind, body: bytes) -> bytes:
    """Return a frame; raises ``AuditFileError`` for a body that no reader would take."""
    if not 0 < len(body) <= BODY_BYTES_MAX[kind]:
        raise AuditFileError(cause=f"a {kind.name.lower()} of {len(body)} bytes")
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


_KINDS = {kind.value: kind for kind in Kind}
_FOLLOWING: dict[Kind | None, tuple[Kind, ...]] = {
    None: (Kind.HEAD,),
    Kind.HEAD: (Kind.LOG,),
    Kind.LOG: (Kind.LOG, Kind.KEY, Kind.ENTRY),
    Kind.KEY: (Kind.KEY, Kind.ENTRY),
    Kind.ENTRY: (Kind.ENTRY, Kind.CONTENT, Kind.MANIFEST),
    Kind.CONTENT: (Kind.PIECE, Kind.CONTENT, Kind.MANIFEST),
    Kind.PIECE: (Kind.PIECE, Kind.CONTENT, Kind.MANIFEST),
    Kind.MANIFEST: (Kind.STAMP, Kind.END),
    Kind.STAMP: (Kind.STAMP, Kind.END),
    Kind.END: (),
}


def read_frame_head(head: bytes) -> tuple[Kind, int]:
    """Return what a frame is and its body's length; raises ``AuditFileError``."""
    kind = _KINDS.get(head[0])
    if kind is None:
        raise AuditFileError(cause=f"a frame of unknown kind {head[0]}")
    length = int.from_bytes(head[1:], "big")
    if not 0 < length <= BODY_BYTES_MAX[kind]:
        raise AuditFileError(cause=f"a {kind.name.lower()} of {length} bytes")
    return kind, length


def may_follow(before: Kind | None, kind: Kind) -> bool:
    """Tell whether a frame may come after another; ``None``: at the beginning."""
    return kind in _FOLLOWING[before]


def _dump(field: Field[T], value: T) -> bytes:
    return codec.pack(field.dump(value))


def _load(field: Field[T], body: bytes, noun: str) -> T:
    try:
        return field.load(codec.unpack(body, AUDIT_MANIFEST_BYTES_MAX))
    except (CodecError, ValueError) as error:
        raise AuditFileError(cause=f"{noun}: {error}") from None


def dump_head(head: Head) -> bytes:
    """Return the body of a head."""
    return _dump(_head, head)


def load_head(body: bytes) -> Head:
    """Read a head; this and the others raise ``AuditFileError``."""
    return _load(_head, body, "head")


def dump_log(log: Log) -> bytes:
    """Return the body of a log."""
    return _dump(_log, log)


def load_log(body: bytes) -> Log:
    """Read a log."""
    return _load(_log, body, "log")


def dump_content(content: Content) -> bytes:
    """Return the body of a content."""
    return _dump(_content, content)


def load_content(body: bytes) -> Content:
    """Read a content."""
    return _load(_content, body, "content")


def sign_manifest(manifest: Manifest, device: crypto.SigningKey) -> bytes:
    """Return the body of a manifest, signed with the exporter's device key."""
    data = _dump(_manifest, manifest)
    return codec.pack([data, device.sign(_SIGN, data)])


def load_manifest(body: bytes) -> tuple[Manifest, bool]:
    """Read a manifest, and tell whether its signature holds."""
    match _load(Field(lambda value: value, lambda value: value), body, "manifest"):
        case (bytes() as data, bytes() as signature):
            manifest = _load(_manifest, data, "manifest")
            return manifest, crypto.verify(manifest.device, _SIGN, data, signature)
        case _:
            raise AuditFileError(cause="manifest: not two byte strings")


def dump_stamp(stamp: Stamp) -> bytes:
    """Return the body of a time stamp."""
    return _dump(_stamp, stamp)


def load_stamp(body: bytes) -> Stamp:
    """Read a time stamp."""
    return _load(_stamp, body, "time stamp")


class FileDigest:
    """BLAKE2b-256 over all bytes of a file so far."""

    def __init__(self) -> None:
        self._state = hashlib.blake2b(digest_size=32, person=_DIGEST)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._state.update(data)

    def digest(self) -> bytes:
        """Return the digest of what came."""
        return self._state.copy().digest()


def sorted_logs(logs: Sequence[Log]) -> list[Log]:
    """Return logs in the order in which a file has them."""
    return sorted(logs, key=lambda each: each.log)
