"""The handshake of libp2p's Noise channel: Noise_XX_25519_ChaChaPoly_SHA256, a signed identity.

Source: libp2p specs, noise/README.md. Each handshake makes a static key of its own; the device's
key signs it. Messages are a 2-byte big-endian length and that many bytes.
This is the only file that imports the ``noise`` package.
"""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

# The noise package carries no types; nothing of it leaves this file but the two cipher states.
from noise.connection import Keypair, NoiseConnection  # type: ignore[import-untyped]

from p2psync.core import crypto
from p2psync.errors import BadInputError
from p2psync.network.bytestream import Channel
from p2psync.network.identity import KEY_PREFIX, device_of_public_key
from p2psync.network.protobuf import bytes_field, bytes_fields

_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
_SIGNED = b"noise-libp2p-static-key:"
_IDENTITY_KEY, _IDENTITY_SIGNATURE = 1, 2


class OtherDevice(BadInputError):
    """Another device than the one that was called has proved its key."""

    def __init__(self) -> None:
        super().__init__(cause="another device answers there")


async def shake_hands(
    stream: Channel, keys: crypto.SigningKey, expected: bytes | None
) -> tuple[bytes, Any]:
    """Return the device key that the peer proved, and the state with both keys of the channel.

    ``expected`` is the device that was called; None for who is called, by anyone. Raises
    ``OtherDevice`` before our own identity is sent, ``LinkBroken``, and whatever else bad bytes
    make the library raise.
    """
    static = X25519PrivateKey.generate()
    public = static.public_key().public_bytes_raw()
    ours = bytes_field(_IDENTITY_KEY, KEY_PREFIX + keys.public) + bytes_field(
        _IDENTITY_SIGNATURE, keys.sign_plain(_SIGNED + public)
    )
    state = NoiseConnection.from_name(_NAME)
    state.set_keypair_from_private_bytes(Keypair.STATIC, static.private_bytes_raw())
    if expected is None:
        state.set_as_responder()
    else:
        state.set_as_initiator()
    state.start_handshake()
    handshake = state.noise_protocol.handshake_state
    if expected is None:
        await _receive(stream, state)
        await _send(stream, state, ours)
        device = _proven(await _receive(stream, state), handshake)
    else:
        await _send(stream, state, b"")
        device = _proven(await _receive(stream, state), handshake)
        if device != expected:
            raise OtherDevice
        await _send(stream, state, ours)
    assert state.handshake_finished
    return device, state


def _proven(payload: bytes, handshake: Any) -> bytes:
    """The device key in a payload; raises ``BadInputError`` unless it signed the static key."""
    said = bytes_fields(payload)
    device = device_of_public_key(said.get(_IDENTITY_KEY, b""))
    static: bytes = handshake.rs.public_bytes
    if not crypto.verify_plain(device, _SIGNED + static, said.get(_IDENTITY_SIGNATURE, b"")):
        raise BadInputError(cause="the peer's identity is not proven")
    return device


async def _send(stream: Channel, state: Any, payload: bytes) -> None:
    message = bytes(state.write_message(payload))
    await stream.send(len(message).to_bytes(2, "big") + message)


async def _receive(stream: Channel, state: Any) -> bytes:
    length = int.from_bytes(await stream.read_exactly(2), "big")
    return bytes(state.read_message(await stream.read_exactly(length)))
