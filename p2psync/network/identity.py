"""A device key and its libp2p peer ID.

A peer ID of an Ed25519 key is the key itself behind a fixed prefix (libp2p specs, peer-ids.md):
identity multihash (0x00, length 36) of the protobuf {Type: Ed25519, Data: 32 bytes}.
"""

from base58 import b58decode, b58encode

from p2psync.core.crypto import SigningKey
from p2psync.errors import BadInputError

DEVICE_BYTES = 32
KEY_PREFIX = b"\x08\x01\x12\x20"
"""Protobuf of a libp2p public key: type Ed25519, then 32 bytes of data."""
_PEER_PREFIX = b"\x00\x24" + KEY_PREFIX


def key_pair(device_seed: bytes) -> SigningKey:
    """The key pair of a 32-byte Ed25519 seed; raises ``ValueError`` for another length."""
    if len(device_seed) != DEVICE_BYTES:
        raise ValueError("a device seed has 32 bytes")
    return SigningKey.from_seed(device_seed)


def device_of_seed(device_seed: bytes) -> bytes:
    """The 32-byte device key (Ed25519 public key) of a seed."""
    return key_pair(device_seed).public


def device_of_public_key(encoded: bytes) -> bytes:
    """The device key in a libp2p public key's protobuf of exactly 36 bytes.

    Any other kind of key is refused before it is parsed: a stranger's RSA key of 64 KiB would
    keep a core busy for minutes. Raises ``BadInputError``.
    """
    if len(encoded) != len(KEY_PREFIX) + DEVICE_BYTES or not encoded.startswith(KEY_PREFIX):
        raise BadInputError(cause="the peer's identity is no Ed25519 key")
    return encoded[len(KEY_PREFIX) :]


def peer_bytes(device: bytes) -> bytes:
    """The peer ID of a 32-byte device key in binary, 38 bytes."""
    return _PEER_PREFIX + device


def device_of_peer_bytes(peer: bytes) -> bytes:
    """The device key in a binary peer ID; raises ``BadInputError`` for anything else."""
    if len(peer) != len(_PEER_PREFIX) + DEVICE_BYTES or not peer.startswith(_PEER_PREFIX):
        raise BadInputError(cause="a peer ID that is not of an Ed25519 key")
    return peer[len(_PEER_PREFIX) :]


def peer_id_text(device: bytes) -> str:
    """The peer ID of a 32-byte device key, as people see it (base58, ``12D3KooW…``)."""
    if len(device) != DEVICE_BYTES:
        raise ValueError("a device key has 32 bytes")
    return b58encode(_PEER_PREFIX + device).decode()


def device_of_peer_id(text: str) -> bytes:
    """The device key in a base58 peer ID; raises ``BadInputError`` for anything else."""
    if len(text) > 64:
        raise BadInputError(cause="a peer ID of more than 64 characters")
    try:
        raw = b58decode(text)
    except ValueError:
        raise BadInputError(cause=f"{text!r} is no peer ID") from None
    if len(raw) != len(_PEER_PREFIX) + DEVICE_BYTES or not raw.startswith(_PEER_PREFIX):
        raise BadInputError(cause=f"the peer ID {text} is not of an Ed25519 key")
    return raw[len(_PEER_PREFIX) :]
