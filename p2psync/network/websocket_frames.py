"""WebSocket's frames: bytes in, bytes out (RFC 6455, section 5).

Only what a stream of bytes needs: binary messages, whose borders mean nothing, and control frames.
Payload is moved within the buffer that it came in and handed on before its frame is whole, so no
frame takes memory for its length.
"""

import secrets
from enum import IntEnum
from functools import cache
from typing import Final

from p2psync import limits
from p2psync.engine.ports import LinkBroken

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTROL_BYTES_MAX = 125
_HEADER_BYTES_MAX = 14
HELD_BYTES_MAX: Final = _HEADER_BYTES_MAX + _CONTROL_BYTES_MAX
"""Of a frame that cannot be taken apart yet."""
_EARNED_PER_FRAME = 4
_ZERO = bytes(4)


@cache
def _xor_with(key: int) -> bytes:
    """What each byte becomes under one byte of a mask."""
    return bytes(byte ^ key for byte in range(256))


class Close(IntEnum):
    """Why a connection is closed (RFC 6455, section 7.4.1)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009


class PeerBrokeFraming(LinkBroken):
    """The peer sent what is no WebSocket, or more than it may; ``code`` is for the close frame."""

    def __init__(self, reason: str, code: Close = Close.PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.code = code


def frame(payload: bytes | memoryview, *, mask: bytes | None, opcode: int = _BINARY) -> bytearray:
    """One whole frame; ``mask`` is the client's key of 4 bytes, None at a server."""
    size = len(payload)
    flag = 0 if mask is None else _MASKED
    header = bytearray([_FIN | opcode])
    if size < 126:
        header.append(flag | size)
    elif size < 1 << 16:
        header.append(flag | 126)
        header += size.to_bytes(2, "big")
    else:
        header.append(flag | 127)
        header += size.to_bytes(8, "big")
    if mask is None:
        return header + payload
    header += mask
    start = len(header)
    header += payload
    if mask != _ZERO:
        with memoryview(header) as view:
            _apply(view[start:], mask)
    return header


def close_frame(code: int, *, mask: bytes | None) -> bytearray:
    """A close frame without a reason: the code says enough, and names nothing of ours."""
    return frame(code.to_bytes(2, "big"), mask=mask, opcode=_CLOSE)


def pong_frame(payload: bytes, *, mask: bytes | None) -> bytearray:
    """The answer to a ping."""
    return frame(payload, mask=mask, opcode=_PONG)


def new_mask(*, sealed: bool) -> bytes:
    """A client's key for one frame.

    It keeps who chooses what is sent from choosing what a machine on the way reads as plain HTTP
    (RFC 6455, section 10.3). Inside TLS nobody on the way reads it, so it costs no work there.
    """
    return _ZERO if sealed else secrets.token_bytes(4)


def _apply(view: memoryview, mask: bytes) -> None:
    # Steps of four are ten times quicker on a bytearray than on a view.
    data = bytearray(view)
    for lane in range(4):
        data[lane::4] = data[lane::4].translate(_xor_with(mask[lane]))
    view[:] = data


class Frames:
    """Takes apart what one peer sends; ``masked`` when the peer is a client."""

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._left = 0
        """Payload of the data frame under way that has not come yet."""
        self._mask = _ZERO
        self._within = False
        """Whether a message has begun and not ended."""
        self._budget = limits.WEBSOCKET_FRAMES_BURST_MAX * _EARNED_PER_FRAME
        self.ping: bytes | None = None
        """The payload of the last ping that has not been answered."""
        self.closed: int | None = None
        """The code of the peer's close frame; nothing behind it is looked at."""
        self.turned = False
        """Whether ``open`` stopped with frames left that it might take apart."""

    def open(self, view: memoryview) -> tuple[int, int]:
        """Take apart ``view``, in place.

        Returns how many payload bytes stand at its front now, and where in it stands what could
        not be taken apart yet: a part of a frame, at most ``HELD_BYTES_MAX`` bytes, or more when
        ``limits.WEBSOCKET_FRAMES_A_TURN`` frames have been met. Raises ``PeerBrokeFraming``.
        """
        at = out = frames = 0
        size = len(view)
        self.turned = False
        while at < size and self.closed is None:
            if self._left:
                count = min(self._left, size - at)
                self._move(view, at, out, count)
                at += count
                out += count
                continue
            if frames >= limits.WEBSOCKET_FRAMES_A_TURN:
                self.turned = True
                break
            begun = self._begin(view, at)
            if begun is None:
                break
            at = begun
            frames += 1
        return out, at

    def _move(self, view: memoryview, at: int, out: int, count: int) -> None:
        if at != out:
            view[out : out + count] = view[at : at + count]
        if self._mask != _ZERO:
            _apply(view[out : out + count], self._mask)
            turn = count % 4
            self._mask = self._mask[turn:] + self._mask[:turn]
        self._left -= count
        self._budget = min(
            self._budget + count, limits.WEBSOCKET_FRAMES_BURST_MAX * _EARNED_PER_FRAME
        )

    def _begin(self, view: memoryview, at: int) -> int | None:
        """Read a header, and a whole control frame; where its payload, or the next frame, begins.

        None when a part is missing.
        """
        here = len(view) - at
        if here < 2:
            return None
        first, second = view[at], view[at + 1]
        opcode, length = first & _OPCODE, second & _LENGTH
        self._check(first, second)
        start = 2 + {126: 2, 127: 8}.get(length, 0)
        if here < start + (4 if self._masked else 0):
            return None
        if length > _CONTROL_BYTES_MAX:
            length = self._length(view[at + 2 : at + start])
        mask = _ZERO
        if self._masked:
            mask = bytes(view[at + start : at + start + 4])
            start += 4
        if opcode >= _CLOSE and here < start + length:
            return None
        self._budget -= _EARNED_PER_FRAME
        if self._budget < 0:
            raise PeerBrokeFraming("the peer sends too many small frames", Close.POLICY_VIOLATION)
        if opcode >= _CLOSE:
            payload = bytearray(view[at + start : at + start + length])
            _apply(memoryview(payload), mask)
            self._control(opcode, bytes(payload))
            return at + start + length
        self._within = not first & _FIN
        self._left, self._mask = length, mask
        return at + start

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED:
            raise PeerBrokeFraming("the peer's frame has bits set that mean nothing")
        if bool(second & _MASKED) != self._masked:
            raise PeerBrokeFraming(f"the peer's frame is {'not ' * self._masked}masked")
        if opcode in (_CLOSE, _PING, _PONG):
            if not first & _FIN or second & _LENGTH > _CONTROL_BYTES_MAX:
                raise PeerBrokeFraming("the peer's control frame is too long")
        elif opcode == _TEXT:
            raise PeerBrokeFraming("the peer sent text", Close.UNSUPPORTED_DATA)
        elif opcode not in (_BINARY, _CONTINUATION):
            raise PeerBrokeFraming("the peer's frame is of an unknown kind")
        elif (opcode == _CONTINUATION) != self._within:
            raise PeerBrokeFraming("the peer's frame stands where none of its kind may")

    def _length(self, field: memoryview) -> int:
        length = int.from_bytes(field, "big")
        if length < (126 if len(field) == 2 else 1 << 16):
            raise PeerBrokeFraming("the peer's frame says its length in too many bytes")
        if length > limits.WEBSOCKET_FRAME_BYTES_MAX:
            raise PeerBrokeFraming("the peer's frame is too large", Close.TOO_BIG)
        return length

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.ping = payload
        elif opcode == _CLOSE:
            if len(payload) == 1:
                raise PeerBrokeFraming("the peer's close frame is cut off")
            self.closed = int.from_bytes(payload[:2], "big") if payload else Close.NORMAL
