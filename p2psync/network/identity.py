"""A device key and its libp2p peer ID.

A peer ID of an Ed25519 key is the key itself behind a fixed prefix (libp2p specs, peer-ids.md):
identity multihash (0x00, length 36) of the protobuf {Type: Ed25519, Data: 32 bytes}.
"""

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID

from p2psync.errors import BadInputError

DEVICE_BYTES = 32
KEY_PREFIX = b"\x08\x01\x12\x20"
"""Protobuf of a libp2p public key: type Ed25519, then 32 bytes of data."""
_PEER_PREFIX = b"\x00\x24" + KEY_PREFIX


def key_pair(device_seed: bytes) -> KeyPair:
    """The libp2p key pair of a 32-byte Ed25519 seed."""
    if len(device_seed) != DEVICE_BYTES:
        raise ValueError("a device seed has 32 bytes")
    return create_new_key_pair(device_seed)


def device_of_seed(device_seed: bytes) -> bytes:
    """The 32-byte device key (Ed25519 public key) of a seed."""
    return key_pair(device_seed).public_key.to_bytes()


def device_of_public_key(encoded: bytes) -> bytes:
    """The device key in a libp2p public key's protobuf of exactly 36 bytes.

    Any other kind of key is refused before it is parsed: a stranger's RSA key of 64 KiB would
    keep a core busy for minutes. Raises ``BadInputError``.
    """
    if len(encoded) != len(KEY_PREFIX) + DEVICE_BYTES or not encoded.startswith(KEY_PREFIX):
        raise BadInputError(cause="the peer's identity is no Ed25519 key")
    return encoded[len(KEY_PREFIX) :]


def peer_id(device: bytes) -> ID:
    """The libp2p peer ID of a 32-byte device key."""
    if len(device) != DEVICE_BYTES:
        raise ValueError("a device key has 32 bytes")
    return ID(_PEER_PREFIX + device)


def peer_id_text(device: bytes) -> str:
    """The peer ID as people see it (base58, ``12D3KooW…``)."""
    return peer_id(device).to_base58()


def device_of_peer_id(text: str) -> bytes:
    """The device key in a base58 peer ID; raises ``BadInputError`` for anything else."""
    if len(text) > 64:
        raise BadInputError(cause="a peer ID of more than 64 characters")
    try:
        raw = ID.from_base58(text).to_bytes()
    except ValueError:
        raise BadInputError(cause=f"{text!r} is no peer ID") from None
    if len(raw) != len(_PEER_PREFIX) + DEVICE_BYTES or not raw.startswith(_PEER_PREFIX):
        raise BadInputError(cause=f"the peer ID {text} is not of an Ed25519 key")
    return raw[len(_PEER_PREFIX) :]
