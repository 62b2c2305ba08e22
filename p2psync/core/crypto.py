"""Keys, signatures, seals, digests and derivations; the only importer of nacl.

Every use has a domain of its own (BLAKE2b's ``person``, or a prefix to what is signed), so that
bytes made for one purpose mean nothing in another. Nothing here draws randomness: callers pass it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError as NaclError
from nacl.pwhash import argon2id

from p2psync.errors import CryptoError
from p2psync.limits import CHUNK_BYTES

KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32
NONCE_BYTES = 24
SEAL_BYTES = 16
"""What sealing adds to a plaintext: the Poly1305 tag."""
SALT_BYTES = 16


def digest(domain: bytes, *parts: bytes, size: int = 32) -> bytes:
    """BLAKE2b of the concatenated parts, personalised; ``domain`` has at most 16 bytes.

    Parts of variable length are the caller's to delimit. Source: RFC 7693.
    """
    state = hashlib.blake2b(digest_size=size, person=domain)
    for part in parts:
        state.update(part)
    return state.digest()


def derive(key: bytes, domain: bytes, *parts: bytes, size: int = 32) -> bytes:
    """Keyed BLAKE2b: a subkey, or a tag that only the key's holders can make."""
    state = hashlib.blake2b(digest_size=size, key=key, person=domain)
    for part in parts:
        state.update(part)
    return state.digest()


def content_digest(data: bytes) -> bytes:
    """BLAKE3 of file content, 32 bytes."""
    return blake3.blake3(data).digest()


def content_hasher() -> blake3.blake3:
    """The same digest of content that comes in pieces: ``update`` and ``digest``."""
    return blake3.blake3()


# -- signatures -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """An Ed25519 key pair made of a 32-byte seed (RFC 8032)."""

    seed: bytes
    public: bytes
    _secret: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> "SigningKey":
        """Raises ``CryptoError`` unless the seed has 32 bytes."""
        if len(seed) != SEED_BYTES:
            raise CryptoError(cause="a seed has 32 bytes")
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(seed, public, secret)

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Return the 64-byte signature of the message in that domain."""
        signed: bytes = bindings.crypto_sign(domain + b"\0" + message, self._secret)
        return signed[:SIGNATURE_BYTES]

    def sign_plain(self, message: bytes) -> bytes:
        """``sign`` for another protocol, whose messages begin with a domain of their own."""
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:SIGNATURE_BYTES]

    def open_sealed(self, sealed: bytes, domain: bytes, associated: bytes) -> bytes:
        """The reverse of ``seal_to``; raises ``CryptoError`` for what is not sealed to this key."""
        if len(sealed) < KEY_BYTES + SEAL_BYTES:
            raise CryptoError(cause="too short")
        try:
            own = bindings.crypto_sign_ed25519_sk_to_curve25519(self._secret)
            shared = bindings.crypto_scalarmult(own, sealed[:KEY_BYTES])
        except (NaclError, ValueError, TypeError):
            raise CryptoError(cause="no key to open it with") from None
        key = derive(shared, domain, sealed[:KEY_BYTES], self.public)
        return unseal(key, bytes(NONCE_BYTES), sealed[KEY_BYTES:], associated)


def verify(public: bytes, domain: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature was made by that key over that message in that domain."""
    return verify_plain(public, domain + b"\0" + message, signature)


def verify_plain(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the signature was made by that key over exactly that message."""
    if len(signature) != SIGNATURE_BYTES or len(public) != KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except NaclError:
        return False
    return True


# -- sealing ----------------------------------------------------------------------------------


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): 32-byte key, 24-byte nonce, 16 bytes longer."""
    sealed: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, associated, nonce, key
    )
    return sealed


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The reverse of ``seal``; raises ``CryptoError`` when anything was altered."""
    try:
        plain: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            sealed, associated, nonce, key
        )
    except (NaclError, ValueError, TypeError):
        raise CryptoError(cause="wrong key, or altered") from None
    return plain


def seal_to(
    public: bytes, plaintext: bytes, ephemeral: bytes, domain: bytes, associated: bytes
) -> bytes:
    """Seal to the holder of an Ed25519 key (32 bytes): 48 bytes longer.

    X25519 (RFC 7748) with the key's Montgomery form and an ``ephemeral`` secret (32 fresh random
    bytes), whose public half goes ahead; the fixed nonce is sound, for each makes another key.
    Raises ``CryptoError`` when the key is no point of the curve.
    """
    try:
        theirs = bindings.crypto_sign_ed25519_pk_to_curve25519(public)
        shared = bindings.crypto_scalarmult(ephemeral, theirs)
    except (NaclError, ValueError, TypeError):
        raise CryptoError(cause="not a device's key") from None
    head: bytes = bindings.crypto_scalarmult_base(ephemeral)
    key = derive(shared, domain, head, public)
    return head + seal(key, bytes(NONCE_BYTES), plaintext, associated)


# -- chunks (docs/spec/storage.md, "Chunks") --------------------------------------------------

_CHUNK_NONCE = bytes(12)


def chunk_address(sealed: bytes) -> bytes:
    """BLAKE3 of a sealed chunk, 32 bytes: anyone can check it, nobody learns the content."""
    return blake3.blake3(sealed).digest()


CHUNK_PADDED_BYTES_MIN = 256
SEALED_CHUNK_BYTES_MAX = CHUNK_BYTES + 1 + SEAL_BYTES


def padded_bytes(length: int) -> int:
    """The length to which a piece of a file is padded: a carrier learns few bits of its size.

    Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
    PURBs", 2019, section 4.2): at most 12 % more. A whole piece only gets the marker.
    """
    least = max(length + 1, CHUNK_PADDED_BYTES_MIN)
    exponent = least.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return min((least + mask) & ~mask, CHUNK_BYTES + 1)


def seal_chunk(secret: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Seal one piece of a file; return the sealed bytes and the plaintext's digest (32 bytes).

    The piece (at most ``CHUNK_BYTES``) is followed by a byte 0x80 and zeros up to ``padded_bytes``.

    The key comes from the mandate's secret and the plaintext's digest, so one key seals one
    content and the fixed nonce is sound (convergent encryption within one mandate).
    ChaCha20-Poly1305 of RFC 8439.
    """
    plain_digest = content_digest(plaintext)
    key = derive(secret, b"p2psync.chunk", plain_digest)
    padded = (plaintext + b"\x80").ljust(padded_bytes(len(plaintext)), b"\0")
    return ChaCha20Poly1305(key).encrypt(_CHUNK_NONCE, padded, None), plain_digest


def open_chunk(secret: bytes, plain_digest: bytes, sealed: bytes) -> bytes:
    """The reverse of ``seal_chunk``; raises ``CryptoError`` when it does not fit the digest."""
    key = derive(secret, b"p2psync.chunk", plain_digest)
    try:
        padded = ChaCha20Poly1305(key).decrypt(_CHUNK_NONCE, sealed, None)
    except InvalidTag:
        raise CryptoError(cause="a chunk was altered") from None
    plain, marker, _ = padded.rpartition(b"\x80")
    fits = marker and len(padded) == padded_bytes(len(plain))
    if not fits or content_digest(plain) != plain_digest:
        raise CryptoError(cause="a chunk holds something else")
    return plain


def open_chunk_of(secrets: Sequence[bytes], plain_digest: bytes, sealed: bytes) -> bytes:
    """The same when any of several secrets may have sealed it; the likeliest comes first."""
    for secret in secrets[:-1]:
        key = derive(secret, b"p2psync.chunk", plain_digest)
        try:
            ChaCha20Poly1305(key).decrypt(_CHUNK_NONCE, sealed, None)
        except InvalidTag:
            continue
        return open_chunk(secret, plain_digest, sealed)
    return open_chunk(secrets[-1], plain_digest, sealed)


# -- passphrases ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stretch:
    """What argon2id costs: passes over memory, and the memory's bytes (RFC 9106)."""

    operations: int
    memory_bytes: int


STRETCH = Stretch(operations=3, memory_bytes=64 * 1024 * 1024)


def stretch(passphrase: str, salt: bytes, cost: Stretch) -> bytes:
    """Argon2id of a passphrase: 32 bytes. The caller bounds ``cost`` before calling."""
    hashed: bytes = argon2id.kdf(
        KEY_BYTES,
        passphrase.encode(),
        salt,
        opslimit=cost.operations,
        memlimit=cost.memory_bytes,
    )
    return hashed


def seal_with_passphrase(passphrase: str, plaintext: bytes, salt: bytes, domain: bytes) -> bytes:
    """Seal bytes under a passphrase: salt (16), operations (1), KiB of memory (4), commitment (32),
    sealed.

    The commitment binds the ciphertext to one key, so that no file opens under two passphrases
    (Albertini et al., "How to Abuse and Fix Authenticated Encryption Without Key Commitment").
    The nonce is fixed: the fresh salt makes the key unique.
    """
    master = stretch(passphrase, salt, STRETCH)
    head = salt + bytes([STRETCH.operations]) + (STRETCH.memory_bytes // 1024).to_bytes(4, "big")
    commitment = derive(master, b"p2psync.commit", domain)
    key = derive(master, b"p2psync.passkey", domain)
    return head + commitment + seal(key, bytes(NONCE_BYTES), plaintext, domain + head)


PASSPHRASE_HEAD_BYTES = SALT_BYTES + 5 + 32


def unseal_with_passphrase(
    passphrase: str, sealed: bytes, domain: bytes, most: Stretch
) -> bytes | None:
    """The reverse; ``None`` when the passphrase is another one.

    Raises ``CryptoError`` when the bytes are too short, ask for more than ``most``, or were
    altered; the cost is checked before anything is computed.
    """
    if len(sealed) < PASSPHRASE_HEAD_BYTES + SEAL_BYTES:
        raise CryptoError(cause="too short")
    head = sealed[: SALT_BYTES + 5]
    cost = Stretch(head[SALT_BYTES], int.from_bytes(head[SALT_BYTES + 1 :], "big") * 1024)
    if not (
        1 <= cost.operations <= most.operations and 8192 <= cost.memory_bytes <= most.memory_bytes
    ):
        raise CryptoError(cause="asks for more memory or time than allowed")
    master = stretch(passphrase, head[:SALT_BYTES], cost)
    if derive(master, b"p2psync.commit", domain) != sealed[len(head) : len(head) + 32]:
        return None
    key = derive(master, b"p2psync.passkey", domain)
    return unseal(key, bytes(NONCE_BYTES), sealed[PASSPHRASE_HEAD_BYTES:], domain + head)
