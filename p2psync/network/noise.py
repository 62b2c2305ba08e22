"""The Noise secure channel: libp2p's handshake (``handshake``), then our own transport phase.

After the handshake messages are a 2-byte big-endian length and a ChaCha20-Poly1305 ciphertext of at
most 65,535 bytes under a counter nonce; this part is ours, for speed.
"""

from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.errors import P2PSyncError
from p2psync.network.bytestream import ByteStream
from p2psync.network.handshake import OtherDevice, shake_hands

PROTOCOL = "/noise"
PLAINTEXT_BYTES_MAX = 65_535 - 16
"""Of one Noise message: its 16-byte tag included, it must fit a 2-byte length."""


class WrongDevice(LinkBroken):
    """The peer proved to be another device than the one that was called."""


async def secure(stream: ByteStream, keys: SigningKey, expected: bytes | None) -> "NoiseSession":
    """Run the handshake on a fresh connection.

    ``expected`` is the device key that was called (initiator), or None (responder: anyone who
    proves a key). Raises ``WrongDevice`` before our own identity is sent, or ``LinkBroken``.
    """
    try:
        device, state = await shake_hands(stream, keys, expected)
    except LinkBroken:
        raise
    except OtherDevice as error:
        raise WrongDevice("another device answers there") from error
    except P2PSyncError as error:
        raise LinkBroken(f"the secure handshake failed: {error}") from error
    except Exception as error:
        # The noise package and cryptography have no common base for what bad bytes can raise,
        # and whatever it is, it ends this connection only.
        raise LinkBroken(f"the secure handshake failed: {type(error).__name__}") from error
    return NoiseSession(stream, state, device)


class NoiseSession:
    """Sealed messages in both directions after the handshake.

    One task may send and one may receive at a time. Any failure is ``LinkBroken`` and final.
    """

    def __init__(self, stream: ByteStream, state: Any, device: bytes) -> None:
        self.stream = stream
        self.device = device
        """The peer's device key, 32 bytes, proven."""
        sealing = state.noise_protocol.cipher_state_encrypt
        opening = state.noise_protocol.cipher_state_decrypt
        self._seal = ChaCha20Poly1305(bytes(sealing.k)).encrypt
        self._open = ChaCha20Poly1305(bytes(opening.k)).decrypt
        self._seal_count: int = sealing.n
        self._open_count: int = opening.n
        self._sealed = b""
        self._plain = bytearray()

    async def receive(self) -> list[bytes]:
        """The plaintexts that have arrived, at least one; an empty list at the end."""
        if self._plain:
            early = bytes(self._plain)
            self._plain.clear()
            return [early]
        while True:
            data = await self.stream.receive()
            if not data:
                return []
            messages = self._unseal(self._sealed + data if self._sealed else data)
            if messages:
                return messages

    def _unseal(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        view = memoryview(data)
        position = 0
        while len(data) - position >= 2:
            end = position + 2 + (data[position] << 8 | data[position + 1])
            if end > len(data):
                break
            nonce = b"\0\0\0\0" + self._open_count.to_bytes(8, "little")
            try:
                messages.append(self._open(nonce, view[position + 2 : end], None))
            except (InvalidTag, ValueError) as error:
                raise LinkBroken("a message was altered on its way") from error
            self._open_count += 1
            position = end
        self._sealed = data[position:]
        return messages

    async def send(self, plaintexts: Sequence[bytes]) -> None:
        """Seal each plaintext (at most ``PLAINTEXT_BYTES_MAX`` bytes) and write them at once."""
        wire: list[bytes] = []
        for plaintext in plaintexts:
            nonce = b"\0\0\0\0" + self._seal_count.to_bytes(8, "little")
            sealed = self._seal(nonce, plaintext, None)
            self._seal_count += 1
            wire += (len(sealed).to_bytes(2, "big"), sealed)
        await self.stream.send(b"".join(wire))

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` plaintext bytes, for the negotiation on top; the rest is kept."""
        while len(self._plain) < count:
            data = await self.stream.receive()
            if not data:
                raise LinkBroken("the peer closed the connection")
            for message in self._unseal(self._sealed + data if self._sealed else data):
                self._plain += message
        taken = bytes(self._plain[:count])
        del self._plain[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Send one short plaintext, for the negotiation on top."""
        await self.send((data,))
