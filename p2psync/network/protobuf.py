"""The little of protobuf that libp2p's messages need: numbered fields of bytes and numbers.

Source: https://protobuf.dev/programming-guides/encoding. The generated messages that come with
py-libp2p cannot be imported without the whole of it, which takes half a second and 60 MB.
"""

from collections.abc import Iterator

from p2psync.errors import BadInputError
from p2psync.network.negotiation import varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10


def bytes_field(number: int, value: bytes) -> bytes:
    """One field of bytes, text or a message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def number_field(number: int, value: int) -> bytes:
    """One field that holds a number from 0 to 2^64 - 1."""
    return varint(number << 3 | _VARINT) + varint(value)


def bytes_fields(message: bytes) -> dict[int, bytes]:
    """The fields of bytes by number, of a repeated one the last; numbers are skipped.

    Raises ``BadInputError`` for what is no protobuf.
    """
    return {number: value for number, value in fields(message) if isinstance(value, bytes)}


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield each field of bytes or of a varint with its number, as they stand.

    Raises ``BadInputError`` for what is no protobuf. Fields of a fixed width are skipped.
    """
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise BadInputError(cause="a protobuf field without a number")
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _read_varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise BadInputError(cause="a protobuf field of an unknown kind")
        if length > len(message) - position:
            raise BadInputError(cause="a protobuf message that is cut off")
        if kind == _BYTES:
            yield number, message[position : position + length]
        position += length


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = 0
    for index, byte in enumerate(message[position : position + _VARINT_BYTES_MAX]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise BadInputError(cause="a protobuf number that does not end")
