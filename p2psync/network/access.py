"""How a device shows a relay of ours that it may use it: one question, one answer.

``/p2psync/relay-access/1``: the client sends ``[1, token]``, the relay ``[status]``; canonical
msgpack behind a varint length (docs/spec/relay.md). The token is what the operator put into the
relay's address; a relay for everybody takes an empty one.
"""

from enum import IntEnum

from p2psync import limits
from p2psync.core import codec
from p2psync.engine.ports import LinkBroken
from p2psync.errors import CodecError
from p2psync.network import circuit
from p2psync.network.stream import Stream

PROTOCOL = "/p2psync/relay-access/1"
_VERSION = 1


class Access(IntEnum):
    """The relay's answer."""

    GRANTED = 0
    UNKNOWN_TOKEN = 1
    EXPIRED_TOKEN = 2


async def ask(stream: Stream, token: bytes) -> int:
    """Show the token (at most ``limits.RELAY_TOKEN_BYTES_MAX``); the relay's answer.

    Raises ``LinkBroken``.
    """
    await circuit.write_message(stream, codec.pack([_VERSION, token]))
    match _read(await circuit.read_message(stream)):
        case (int(status), *_):
            return status
        case _:
            raise LinkBroken("the relay's answer cannot be read")


async def asked(stream: Stream) -> bytes:
    """The token that a client shows; raises ``LinkBroken``."""
    match _read(await circuit.read_message(stream)):
        case (int(), bytes(token), *_) if len(token) <= limits.RELAY_TOKEN_BYTES_MAX:
            return token
        case _:
            raise LinkBroken("the client's question cannot be read")


async def answer(stream: Stream, status: Access) -> None:
    """Answer a client."""
    await circuit.write_message(stream, codec.pack([int(status)]))


def _read(message: bytes) -> object:
    try:
        return codec.unpack(message, limits.CIRCUIT_MESSAGE_BYTES_MAX)
    except CodecError as error:
        raise LinkBroken(str(error)) from None
