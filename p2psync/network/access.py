"""How a device shows a relay of ours that it may use it: one question, one answer.

``/p2psync/relay-access/1``: the client sends ``[1, token, [group…]]``, the relay ``[status]``;
canonical msgpack behind a varint length (docs/spec/relay.md). The token is what the operator put
into the relay's address; a relay for everybody takes an empty one. A group is what a mandate is
called at this one relay.
"""

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum

from p2psync import limits
from p2psync.core import codec, crypto
from p2psync.engine.ports import LinkBroken
from p2psync.errors import CodecError
from p2psync.network import circuit
from p2psync.network.stream import Stream

PROTOCOL = "/p2psync/relay-access/1"
GROUP_BYTES = 16
_VERSION = 1
_GROUP = b"p2psync.group"
_GROUP_CHARS = 26


class Access(IntEnum):
    """The relay's answer."""

    GRANTED = 0
    UNKNOWN_TOKEN = 1
    EXPIRED_TOKEN = 2


def group(mandate: bytes, genesis: bytes, relay: bytes) -> bytes:
    """What a mandate is called at one relay: 16 bytes that tell who does not know it nothing.

    ``mandate``, ``genesis`` (the id of its first entry) and ``relay`` (a device key) have 32 bytes.
    It is the same in every epoch: whoever has the ticket can make it, and so can a former member.
    """
    return crypto.derive(genesis, _GROUP, mandate, relay, size=GROUP_BYTES)


def group_text(group: bytes) -> str:
    """A group as people copy it: 26 letters and digits (RFC 4648, base 32)."""
    return base64.b32encode(group).decode().rstrip("=").lower()


def read_group(text: str) -> bytes:
    """The reverse of ``group_text``; raises ``ValueError``."""
    if len(text) == _GROUP_CHARS:
        with suppress(ValueError):
            group = base64.b32decode(text.upper() + "======")
            if group_text(group) == text.lower():
                return group
    raise ValueError("not what p2psync relay group prints")


async def ask(stream: Stream, token: bytes, groups: Sequence[bytes] = ()) -> int:
    """Show the token (at most ``limits.RELAY_TOKEN_BYTES_MAX``) and up to
    ``limits.RELAY_GROUPS_PER_DEVICE_MAX`` groups; the relay's answer.

    Raises ``LinkBroken``.
    """
    await circuit.write_message(stream, codec.pack([_VERSION, token, list(groups)]))
    match _read(await circuit.read_message(stream)):
        case (int(status), *_):
            return status
        case _:
            raise LinkBroken("the relay's answer cannot be read")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client shows: a token, perhaps an empty one, and groups."""

    token: bytes
    groups: frozenset[bytes] = frozenset()


async def asked(stream: Stream) -> Shown:
    """What a client shows; raises ``LinkBroken``."""
    match _read(await circuit.read_message(stream)):
        case (int(), bytes(token), *more) if len(token) <= limits.RELAY_TOKEN_BYTES_MAX:
            return Shown(token, _groups(more[0]) if more else frozenset())
        case _:
            raise LinkBroken("the client's question cannot be read")


def _groups(said: object) -> frozenset[bytes]:
    if not isinstance(said, tuple) or len(said) > limits.RELAY_GROUPS_PER_DEVICE_MAX:
        raise LinkBroken("the client's question cannot be read")
    if not all(isinstance(each, bytes) and len(each) == GROUP_BYTES for each in said):
        raise LinkBroken("the client shows a group that is none")
    return frozenset(said)


async def answer(stream: Stream, status: Access) -> None:
    """Answer a client."""
    await circuit.write_message(stream, codec.pack([int(status)]))


def _read(message: bytes) -> object:
    try:
        return codec.unpack(message, limits.CIRCUIT_MESSAGE_BYTES_MAX)
    except CodecError as error:
        raise LinkBroken(str(error)) from None
