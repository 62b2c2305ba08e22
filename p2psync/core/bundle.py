"""The bundle: a mandate's frames in one sealed file, for members who never connect (B-NET-4).

A bundle is ``MAGIC``, a head and records. Each record seals one frame of the wire protocol; the
last one seals what its writer signs of all before. Only who holds a key of one of the mandate's
epochs opens it, and no byte of it can be changed, left out or put elsewhere unnoticed. No I/O.
Specification: docs/spec/bundle.md.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from p2psync.core import codec, crypto
from p2psync.core.ops import FILE_ID_BYTES, SealedKey
from p2psync.core.schema import Kind as Field
from p2psync.core.schema import array, binary, boolean, integer, structure, text
from p2psync.errors import BundleInvalid, CodecError, CryptoError
from p2psync.limits import (
    BUNDLE_LACKING_MAX,
    BUNDLE_MANIFEST_BYTES_MAX,
    BUNDLE_SLOTS_MAX,
    BUNDLE_SOFTWARE_BYTES_MAX,
    FRAME_BYTES_MAX,
    MEMBERS_MAX,
)

MAGIC = b"p2psync bundle 1\n"
LENGTH_BYTES = 4
NONCE_BYTES = 32
TAG_BYTES = 16
HEAD_BYTES_MAX = 128 + BUNDLE_SLOTS_MAX * (TAG_BYTES + crypto.KEY_BYTES + crypto.SEAL_BYTES + 8)
RECORD_BYTES_MAX = max(FRAME_BYTES_MAX, BUNDLE_MANIFEST_BYTES_MAX) + crypto.SEAL_BYTES
_LAST = 1 << 31
_TAG = b"p2psync.bundtag"
_WRAP = b"p2psync.bundkey"
_RECORDS = b"p2psync.bundle"
_SIGN = b"p2psync bundle 1"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slot:
    """The bundle's key (32 bytes) for who holds one epoch's key: sealed, and a tag to find it by.

    To anybody else both look random, and those of two bundles have nothing in common.
    """

    tag: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """A fresh nonce (32 bytes), and a slot for each epoch's key that the writer holds."""

    nonce: bytes
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the writer signs: who wrote when, how much, and what it does not have.

    ``partial``: what the reader is known to have was left out. ``lacking`` are files (16 bytes
    each) of which the writer has not all the content. ``epoch`` (16 bytes) names the epoch whose
    key is sealed in ``keys`` to each member; both are empty when a newcomer writes.
    """

    mandate: bytes
    device: bytes
    at_ms: int
    partial: bool
    entries: int
    chunks: int
    lacking: tuple[bytes, ...]
    epoch: bytes
    keys: tuple[SealedKey, ...]
    software: str


_key = binary(32)
_head = structure(
    Head,
    nonce=binary(NONCE_BYTES),
    slots=array(
        structure(Slot, tag=binary(TAG_BYTES), sealed=binary(crypto.KEY_BYTES + crypto.SEAL_BYTES)),
        BUNDLE_SLOTS_MAX,
    ),
)
_manifest = structure(
    Manifest,
    mandate=_key,
    device=_key,
    at_ms=integer(),
    partial=boolean(),
    entries=integer(),
    chunks=integer(),
    lacking=array(binary(FILE_ID_BYTES), BUNDLE_LACKING_MAX),
    epoch=binary(0, 16),
    keys=array(structure(SealedKey, device=_key, sealed=binary(80)), MEMBERS_MAX),
    software=text(BUNDLE_SOFTWARE_BYTES_MAX),
)


# -- the head ---------------------------------------------------------------------------------


def dump_head(mandate: bytes, epoch_keys: Iterable[bytes], nonce: bytes, key: bytes) -> bytes:
    """Return the bytes ahead of the records: magic, length and head.

    ``mandate`` is its id, ``epoch_keys`` the keys (32 bytes each) of which any opens the bundle, at
    most ``BUNDLE_SLOTS_MAX``; ``nonce`` and ``key`` are 32 fresh random bytes each.
    """
    slots = tuple(
        Slot(
            _tag(each, mandate, nonce),
            crypto.seal(_wrap(each, mandate, nonce), _number(0), key, mandate),
        )
        for each in epoch_keys
    )
    body = codec.pack(_head.dump(Head(nonce, slots)))
    return MAGIC + len(body).to_bytes(LENGTH_BYTES, "big") + body


def load_head(body: bytes) -> Head:
    """Read a head; raises ``BundleInvalid``."""
    return _load(_head, body, HEAD_BYTES_MAX, "its head")


def open_head(head: Head, mandate: bytes, epoch_keys: Iterable[bytes]) -> bytes | None:
    """Return the bundle's key when it is one of that mandate and of one of these epochs."""
    slots = {slot.tag: slot.sealed for slot in head.slots}
    for each in epoch_keys:
        sealed = slots.get(_tag(each, mandate, head.nonce))
        if sealed is None:
            continue
        try:
            return crypto.unseal(_wrap(each, mandate, head.nonce), _number(0), sealed, mandate)
        except CryptoError:
            continue
    return None


def _tag(epoch_key: bytes, mandate: bytes, nonce: bytes) -> bytes:
    return crypto.derive(epoch_key, _TAG, mandate, nonce, size=TAG_BYTES)


def _wrap(epoch_key: bytes, mandate: bytes, nonce: bytes) -> bytes:
    return crypto.derive(epoch_key, _WRAP, mandate, nonce)


# -- records ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Sealer:
    """Seals the records of one bundle, in order.

    ``key``: the bundle's own, 32 bytes, used for no other. ``head``: all bytes ahead of the
    records.
    """

    key: bytes
    head: bytes
    _count: int = 0
    _digest: "hashlib.blake2b" = field(init=False)

    def __post_init__(self) -> None:
        self._digest = _digest(self.head)

    def seal(self, frame: bytes) -> bytes:
        """Return the record of a frame (1 byte to ``FRAME_BYTES_MAX``), its length ahead."""
        return self._seal(frame, last=False)

    def finish(self, manifest: Manifest, device: crypto.SigningKey) -> bytes:
        """Return the last record: the manifest, signed with the writer's device key."""
        data = codec.pack(_manifest.dump(manifest))
        signature = device.sign(_SIGN, self._digest.digest() + data)
        return self._seal(codec.pack([data, signature]), last=True)

    def _seal(self, plain: bytes, *, last: bool) -> bytes:
        length = (len(plain) + crypto.SEAL_BYTES) | (_LAST if last else 0)
        prefix = length.to_bytes(LENGTH_BYTES, "big")
        sealed = crypto.seal(self.key, _number(self._count), plain, prefix)
        self._count += 1
        record = prefix + sealed
        self._digest.update(record)
        return record


@dataclass(slots=True)
class Opener:
    """Opens the records of one bundle in order, and checks what their writer signed of them."""

    key: bytes
    head: bytes
    _count: int = 0
    _digest: "hashlib.blake2b" = field(init=False)

    def __post_init__(self) -> None:
        self._digest = _digest(self.head)

    def open(self, prefix: bytes, sealed: bytes) -> bytes:
        """Return the frame of a record that is not the last; raises ``BundleInvalid``."""
        frame = open_record(self.key, self._count, prefix, sealed)
        self._count += 1
        self._digest.update(prefix)
        self._digest.update(sealed)
        return frame

    def finish(self, prefix: bytes, sealed: bytes) -> Manifest:
        """Return the manifest; raises ``BundleInvalid`` also when its signature does not hold."""
        body = open_record(self.key, self._count, prefix, sealed)
        match _load(_ANY, body, RECORD_BYTES_MAX, "its manifest"):
            case (bytes() as data, bytes() as signature):
                manifest = _load(_manifest, data, BUNDLE_MANIFEST_BYTES_MAX, "its manifest")
            case _:
                raise BundleInvalid(cause="its manifest: not two byte strings")
        if not crypto.verify(manifest.device, _SIGN, self._digest.digest() + data, signature):
            raise BundleInvalid(cause="the signature of its writer does not hold")
        return manifest


def read_prefix(prefix: bytes) -> tuple[int, bool]:
    """Return the length of a sealed record, and whether it is the last; raises
    ``BundleInvalid``."""
    number = int.from_bytes(prefix, "big")
    length = number & ~_LAST
    if not crypto.SEAL_BYTES < length <= RECORD_BYTES_MAX:
        raise BundleInvalid(cause=f"a record of {length} bytes")
    return length, bool(number & _LAST)


def open_record(key: bytes, number: int, prefix: bytes, sealed: bytes) -> bytes:
    """Return the frame that the record with that number (from 0) seals; raises
    ``BundleInvalid``."""
    try:
        return crypto.unseal(key, _number(number), sealed, prefix)
    except CryptoError:
        raise BundleInvalid(cause=f"record {number} was altered, or is not in its place") from None


def _number(count: int) -> bytes:
    return count.to_bytes(crypto.NONCE_BYTES, "big")


def _digest(head: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(head, digest_size=32, person=_RECORDS)


_ANY: Field[codec.Value] = Field(lambda value: value, lambda value: value)


def _load(kind: Field[T], body: bytes, limit: int, noun: str) -> T:
    try:
        return kind.load(codec.unpack(body, limit))
    except (CodecError, ValueError) as error:
        raise BundleInvalid(cause=f"{noun}: {error}") from None
