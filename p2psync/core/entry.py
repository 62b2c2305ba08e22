"""The signed log entry: build, encode, validate. Specification: docs/spec/entry.md.

An entry is ``[header, nonce, ciphertext, signature]``; its id is the digest of the first three. The
header is readable by everyone who carries the entry, the payload only by who holds the epoch key.
An entry is valid when it, or a later one of its chain, carries a valid signature of the log's key:
each names the id of the one before it, so one signature covers all that came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from p2psync.core import codec, crypto
from p2psync.core.clock import HLC_MAX
from p2psync.errors import EntryError
from p2psync.limits import ENTRY_BYTES_MAX, ENTRY_DEPS_MAX

VERSION = 1
ID_BYTES = 32
EPOCH_BYTES = 16
SEQ_MAX = (1 << 48) - 1
_ID = b"p2psync.entry"
_SIGN = b"p2psync entry 1"
_SUBKEY = b"p2psync.payload"
_NONCE = b"p2psync.nonce"


@dataclass(frozen=True, slots=True)
class Header:
    """What everyone may read of an entry.

    ``mandate``, ``log`` (the log's public key), ``prev`` and each of ``deps`` have 32 bytes;
    ``prev`` is empty at ``seq`` 0. ``deps`` are the heads of other logs that are new since the
    log's last entry, ascending. ``epoch`` has 16 bytes. ``payload_bytes`` is the ciphertext's
    length.
    """

    mandate: bytes
    log: bytes
    seq: int
    prev: bytes
    deps: tuple[bytes, ...]
    hlc: int
    epoch: bytes
    payload_bytes: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return codec.pack(
            [
                VERSION,
                self.mandate,
                self.log,
                self.seq,
                self.prev,
                self.deps,
                self.hlc,
                self.epoch,
                self.payload_bytes,
            ]
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A well-formed entry; ``raw`` are the very bytes that were received or made.

    ``signature`` has 64 bytes, or none where a later entry of the chain covers this one.
    """

    id: bytes
    header: Header
    header_bytes: bytes
    nonce: bytes
    ciphertext: bytes
    signature: bytes
    raw: bytes

    @property
    def log(self) -> bytes:
        """The log's public key."""
        return self.header.log

    @property
    def seq(self) -> int:
        """The position in the log, from 0."""
        return self.header.seq


@dataclass(frozen=True, slots=True, repr=False)
class LogKey:
    """The secret of one incarnation of one device's log."""

    signing: crypto.SigningKey

    @property
    def log(self) -> bytes:
        """The log's name: its public key."""
        return self.signing.public

    @property
    def nonce_key(self) -> bytes:
        """Makes nonces hedged: see ``build``."""
        return _nonce_key(self.signing.seed)


_KEYS_KEPT_MAX = 4096


@lru_cache(maxsize=64)
def _nonce_key(seed: bytes) -> bytes:
    return crypto.derive(seed, _NONCE)


@lru_cache(maxsize=_KEYS_KEPT_MAX)
def payload_key(epoch_key: bytes, log: bytes) -> bytes:
    """The key that seals the payloads of one log in one epoch."""
    return crypto.derive(epoch_key, _SUBKEY, log)


@lru_cache(maxsize=_KEYS_KEPT_MAX)
def epoch_id(epoch_key: bytes) -> bytes:
    """The public name of an epoch key, 16 bytes."""
    return crypto.digest(b"p2psync.epoch", epoch_key, size=EPOCH_BYTES)


def build(
    key: LogKey,
    *,
    mandate: bytes,
    seq: int,
    prev: bytes,
    deps: Sequence[bytes],
    hlc: int,
    epoch_key: bytes,
    payload: bytes,
    entropy: bytes,
    sign: bool = True,
) -> Entry:
    """Seal a payload and sign it as the log's next entry.

    The nonce is hedged: a digest of fresh ``entropy`` (32 bytes), the header and the plaintext,
    under a key of its own. A cloned machine that draws the same randomness still never seals two
    plaintexts under one nonce. ``sign=False`` leaves the signature to a later entry of the same
    batch. Raises ``EntryError`` for what ``decode`` would refuse: more than ``ENTRY_BYTES_MAX``, or
    ``prev`` and ``deps`` that break a rule.
    """
    header = Header(
        mandate,
        key.log,
        seq,
        prev,
        tuple(sorted(deps)),
        hlc,
        epoch_id(epoch_key),
        len(payload) + crypto.SEAL_BYTES,
    )
    if len(header.deps) > ENTRY_DEPS_MAX or len({prev, *deps}) != len(header.deps) + 1:
        raise EntryError(cause="deps are too many, repeated, or hold prev")
    if len(prev) != (ID_BYTES if seq else 0):
        raise EntryError(cause="prev does not fit seq")
    header_bytes = header.encode()
    nonce = crypto.derive(
        key.nonce_key, _NONCE, entropy, header_bytes, payload, size=crypto.NONCE_BYTES
    )
    ciphertext = crypto.seal(payload_key(epoch_key, key.log), nonce, payload, header_bytes)
    entry_id = crypto.digest(_ID, header_bytes, nonce, ciphertext)
    signature = key.signing.sign(_SIGN, entry_id) if sign else b""
    raw = codec.pack([header_bytes, nonce, ciphertext, signature])
    if len(raw) > ENTRY_BYTES_MAX:
        raise EntryError(cause=f"{len(raw)} bytes; at most {ENTRY_BYTES_MAX}")
    return Entry(entry_id, header, header_bytes, nonce, ciphertext, signature, raw)


def decode(raw: bytes) -> Entry:
    """Read an entry from its bytes; says nothing yet about signature, chain or membership.

    Raises ``EntryError`` or ``CodecError`` unless: the size is bounded, both levels are canonical,
    every field has its type and length, the version is 1, ``prev`` is empty exactly at seq 0,
    ``deps`` are at most 32, strictly ascending and without ``prev``, and the ciphertext has the
    length that the header claims.
    """
    outer = codec.unpack(raw, ENTRY_BYTES_MAX, typed=True)
    match outer:
        case (bytes() as header_bytes, bytes() as nonce, bytes() as ciphertext, bytes() as sig):
            pass
        case _:
            raise EntryError(cause="not an array of four byte strings")
    header = _decode_header(header_bytes)
    if len(nonce) != crypto.NONCE_BYTES:
        raise EntryError(cause="nonce of the wrong length")
    if len(sig) not in (0, crypto.SIGNATURE_BYTES):
        raise EntryError(cause="signature of the wrong length")
    if len(ciphertext) != header.payload_bytes or len(ciphertext) < crypto.SEAL_BYTES:
        raise EntryError(cause="payload of another length than the header says")
    entry_id = crypto.digest(_ID, header_bytes, nonce, ciphertext)
    return Entry(entry_id, header, header_bytes, nonce, ciphertext, sig, raw)


def _decode_header(data: bytes) -> Header:
    fields = codec.unpack(data, ENTRY_BYTES_MAX, typed=True)
    if type(fields) is not tuple or len(fields) != 9:
        raise EntryError(cause="header is not an array of nine items")
    version, mandate, log, seq, prev, deps, hlc, epoch, payload_bytes = fields
    if type(version) is not int or version != VERSION:
        raise EntryError(cause=f"version {version!r}; this p2psync reads {VERSION}")
    for name, value in (("mandate", mandate), ("log", log)):
        if type(value) is not bytes or len(value) != ID_BYTES:
            raise EntryError(cause=f"{name} is not 32 bytes")
    if type(seq) is not int or not 0 <= seq <= SEQ_MAX:
        raise EntryError(cause="seq out of range")
    if type(prev) is not bytes or len(prev) != (ID_BYTES if seq else 0):
        raise EntryError(cause="prev does not fit seq")
    if type(deps) is not tuple or len(deps) > ENTRY_DEPS_MAX:
        raise EntryError(cause="too many deps")
    last = b""
    for dep in deps:
        if type(dep) is not bytes or len(dep) != ID_BYTES or dep <= last or dep == prev:
            raise EntryError(cause="deps are not ascending ids")
        last = dep
    if type(hlc) is not int or not 0 <= hlc <= HLC_MAX:
        raise EntryError(cause="time out of range")
    if type(epoch) is not bytes or len(epoch) != EPOCH_BYTES:
        raise EntryError(cause="epoch is not 16 bytes")
    if type(payload_bytes) is not int or payload_bytes < 0:
        raise EntryError(cause="payload length out of range")
    return Header(mandate, log, seq, prev, deps, hlc, epoch, payload_bytes)


def signature_holds(entry: Entry) -> bool:
    """Tell whether the entry itself carries a valid signature of its log's key."""
    return bool(entry.signature) and crypto.verify(entry.log, _SIGN, entry.id, entry.signature)


def covered(chain: Sequence[Entry]) -> int:
    """Return how many of a chain's entries a valid signature covers, counted from its start.

    ``chain`` is consecutive: each names the one before it as ``prev``. In the usual case one
    signature is checked, the last; when it does not hold, those before it, one by one.
    """
    for count in range(len(chain), 0, -1):
        if signature_holds(chain[count - 1]):
            return count
    return 0


def open_payload(entry: Entry, epoch_key: bytes) -> bytes:
    """Return the plaintext; raises ``CryptoError`` for another key or altered bytes."""
    key = payload_key(epoch_key, entry.log)
    return crypto.unseal(key, entry.nonce, entry.ciphertext, entry.header_bytes)
