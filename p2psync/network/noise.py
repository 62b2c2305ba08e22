"""The Noise secure channel: libp2p's handshake (``handshake``), then our own transport phase.

After the handshake messages are a 2-byte big-endian length and a ChaCha20-Poly1305 ciphertext of at
most 65,535 bytes under a counter nonce; this part is ours, for speed.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.errors import P2PSyncError
from p2psync.network.bytestream import Channel
from p2psync.network.handshake import OtherDevice, shake_hands
from p2psync.network.pieces import Piece

PROTOCOL = "/noise"
PLAINTEXT_BYTES_MAX = 65_535 - 16
"""Of one Noise message: its 16-byte tag included, it must fit a 2-byte length."""
_TAG_BYTES = 16
_LENGTH: Final = struct.Struct("!H")
_NONCE: Final = struct.Struct("<4xQ")
_MESSAGE_BYTES_MAX = _LENGTH.size + 65_535
_READ_BYTES = 256 * 1024
_BUFFER_BYTES = _READ_BYTES + 3 * _MESSAGE_BYTES_MAX
_JOINED_BYTES = 40 * 1024
"""Shorter pieces share a message: joining them costs less than one more message."""
_BUFFERS_KEPT = 4
_MESSAGES_A_TURN = 128
"""Opened at one time: short ones cost far more than their bytes, and others wait meanwhile."""


class WrongDevice(LinkBroken):
    """The peer proved to be another device than the one that was called."""


async def secure(stream: Channel, keys: SigningKey, expected: bytes | None) -> "NoiseSession":
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


_buffers: list[bytearray] = []
"""Sealed bytes are put together, and taken apart, in a few buffers that all sessions share: they
stay in the processor's cache, and a session that is idle holds none."""


def _buffer(size: int = _BUFFER_BYTES) -> bytearray:
    if size > _BUFFER_BYTES or not _buffers:
        return bytearray(max(size, _BUFFER_BYTES))
    return _buffers.pop()


def _give_back(buffer: bytearray) -> None:
    if len(buffer) == _BUFFER_BYTES and len(_buffers) < _BUFFERS_KEPT:
        _buffers.append(buffer)


class NoiseSession:
    """Sealed messages in both directions after the handshake.

    One task may send and one may receive at a time. Any failure is ``LinkBroken`` and final.
    """

    def __init__(self, stream: Channel, state: Any, device: bytes) -> None:
        self.stream = stream
        self.device = device
        """The peer's device key, 32 bytes, proven."""
        sealing = state.noise_protocol.cipher_state_encrypt
        opening = state.noise_protocol.cipher_state_decrypt
        self._seal = ChaCha20Poly1305(bytes(sealing.k)).encrypt_into
        self._open = ChaCha20Poly1305(bytes(opening.k)).decrypt
        self._seal_count: int = sealing.n
        self._open_count: int = opening.n
        self._sealed = b""
        self._plain = bytearray()
        self._waiting = False
        """Whether ``_sealed`` may hold a whole message."""
        self._ended = False

    # -- receiving

    async def receive(self) -> list[bytes]:
        """The plaintexts that have arrived, at least one; an empty list at the end.

        A wait for nothing more than what has arrived is no checkpoint.
        """
        if self._plain:
            early = bytes(self._plain)
            self._plain.clear()
            return [early]
        while True:
            messages = self._receive_now()
            if messages is None:
                await self.stream.readable()
            elif messages:
                return messages
            elif self._ended:
                return []

    def _receive_now(self) -> list[bytes] | None:
        """What can be opened of what is there; None when nothing new has arrived."""
        if self._waiting:
            with memoryview(self._sealed) as view:
                return self._unseal(view)
        buffer = _buffer()
        try:
            with memoryview(buffer) as view:
                start = len(self._sealed)
                view[:start] = self._sealed
                count = self.stream.receive_now(view[start : start + _READ_BYTES])
                if count is None:
                    return None
                self._ended = count == 0
                return self._unseal(view[: start + count])
        finally:
            _give_back(buffer)

    def _unseal(self, view: memoryview) -> list[bytes]:
        messages: list[bytes] = []
        position, size = 0, len(view)
        opened = self._open_count
        try:
            while size - position >= _LENGTH.size and len(messages) < _MESSAGES_A_TURN:
                end = position + _LENGTH.size + (view[position] << 8 | view[position + 1])
                if end > size:
                    break
                sealed = view[position + _LENGTH.size : end]
                messages.append(self._open(_NONCE.pack(opened), sealed, None))
                opened += 1
                position = end
        except (InvalidTag, ValueError) as error:
            raise LinkBroken("a message was altered on its way") from error
        self._open_count = opened
        self._waiting = len(messages) == _MESSAGES_A_TURN
        self._sealed = bytes(view[position:])
        return messages

    # -- sending

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Seal the pieces, one behind the other, and write them at once.

        Where one ends and the next begins is not kept. It waits, and can be cancelled, only when
        the kernel has no room; after that only closing the stream makes sense.
        """
        size = sum(map(len, pieces))
        messages = len(pieces) + size // _JOINED_BYTES + 1
        buffer = _buffer(size + messages * (_LENGTH.size + _TAG_BYTES))
        try:
            with memoryview(buffer) as view:
                await self.stream.send(view[: self._seal_all(pieces, view)])
        finally:
            _give_back(buffer)

    def send_now(self, pieces: Sequence[Piece]) -> bytes:
        """Seal the pieces and write what the kernel has room for; return the rest, to be written
        before anything else.
        """
        size = sum(map(len, pieces))
        messages = len(pieces) + size // _JOINED_BYTES + 1
        buffer = _buffer(size + messages * (_LENGTH.size + _TAG_BYTES))
        try:
            with memoryview(buffer) as view:
                sealed = view[: self._seal_all(pieces, view)]
                return bytes(sealed[self.stream.send_now(sealed) :])
        finally:
            _give_back(buffer)

    def _seal_all(self, pieces: Sequence[Piece], wire: memoryview) -> int:
        at = 0
        short: list[Piece] = []
        short_size = 0
        for piece in pieces:
            size = len(piece)
            if short and (size >= _JOINED_BYTES or short_size + size > PLAINTEXT_BYTES_MAX):
                at = self._seal_one(b"".join(short), wire, at)
                short, short_size = [], 0
            if size < _JOINED_BYTES:
                short.append(piece)
                short_size += size
            elif size <= PLAINTEXT_BYTES_MAX:
                at = self._seal_one(piece, wire, at)
            else:
                view = memoryview(piece)
                for start in range(0, size, PLAINTEXT_BYTES_MAX):
                    at = self._seal_one(view[start : start + PLAINTEXT_BYTES_MAX], wire, at)
        return self._seal_one(b"".join(short), wire, at) if short else at

    def _seal_one(self, plaintext: Piece, wire: memoryview, at: int) -> int:
        size = len(plaintext) + _TAG_BYTES
        _LENGTH.pack_into(wire, at, size)
        start = at + _LENGTH.size
        end = start + size
        self._seal(_NONCE.pack(self._seal_count), plaintext, None, wire[start:end])
        self._seal_count += 1
        return end

    # -- for the negotiation on top

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` plaintext bytes; the rest is kept."""
        while len(self._plain) < count:
            messages = self._receive_now()
            if messages is None:
                await self.stream.readable()
            elif not messages and self._ended:
                raise LinkBroken("the peer closed the connection")
            else:
                self._plain += b"".join(messages)
        taken = bytes(self._plain[:count])
        del self._plain[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Send one short plaintext."""
        await self.send((data,))
