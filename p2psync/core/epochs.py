"""The keys of epochs: sealed to a device, and the one before under the one after.

An epoch is named by a digest of its key, so that whoever gets a key can tell which epoch it opens,
and nobody can pass another one off. Specification: docs/spec/membership.md, "Epochs".
"""

from p2psync.core import crypto, entry
from p2psync.core.ops import SealedKey
from p2psync.errors import CryptoError

_TO_DEVICE = b"p2psync.box"
_BEFORE = b"p2psync.before"


def seal_to(device: bytes, key: bytes, mandate: bytes, ephemeral: bytes) -> SealedKey:
    """Seal an epoch key to a device key (32 bytes each); ``ephemeral`` is 32 fresh random bytes.

    Raises ``CryptoError`` for a device key that is no point of the curve.
    """
    sealed = crypto.seal_to(device, key, ephemeral, _TO_DEVICE, mandate + entry.epoch_id(key))
    return SealedKey(device, sealed)


def open_sealed(
    device: crypto.SigningKey, sealed: bytes, mandate: bytes, epoch: bytes
) -> bytes | None:
    """The key of an epoch (16 bytes) that was sealed to a device; ``None`` when it is none."""
    try:
        key = device.open_sealed(sealed, _TO_DEVICE, mandate + epoch)
    except CryptoError:
        return None
    return key if entry.epoch_id(key) == epoch else None


def seal_before(key: bytes, before: bytes, mandate: bytes) -> bytes:
    """Seal the key before an epoch under that epoch's own, for who comes later: 48 bytes."""
    under = crypto.derive(key, _BEFORE, mandate)
    return crypto.seal(under, bytes(crypto.NONCE_BYTES), before, mandate)


def open_before(key: bytes, sealed: bytes, mandate: bytes) -> bytes | None:
    """The reverse of ``seal_before``; ``None`` for anything that is no key."""
    try:
        before = crypto.unseal(
            crypto.derive(key, _BEFORE, mandate), bytes(crypto.NONCE_BYTES), sealed, mandate
        )
    except CryptoError:
        return None
    return before if len(before) == crypto.KEY_BYTES else None
