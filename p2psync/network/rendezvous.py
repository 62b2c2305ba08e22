"""Members of a mandate leave one another their addresses at a relay that learns nothing of it.

``/p2psync/rendezvous/1``, on a connection that the relay let in: one question a stream, canonical
msgpack behind a varint length (docs/spec/relay.md).

=========================== =====================================================
``[0, tag, record]``        keep this record of mine under a tag → ``[status]``
``[1, [tag…]]``             tell what is under these tags → ``[status, [count…]]``,
                            then so many records, one behind the other
=========================== =====================================================

A tag is made of the mandate's discovery key, the relay and the week. A record always has 1,024
bytes: a nonce of 24, and a sealed text ``[device, made, [address…], signature]`` with zeros behind
it. It is sealed under a key made of the same three, and signed by the device.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import trio

from p2psync import limits
from p2psync.core import codec, crypto
from p2psync.core.crypto import SigningKey
from p2psync.core.schema import array, binary, integer, structure, text
from p2psync.engine.ports import LinkBroken
from p2psync.errors import CodecError, CryptoError
from p2psync.network import circuit
from p2psync.network.connection import Connection
from p2psync.network.stream import Stream

PROTOCOL: Final = "/p2psync/rendezvous/1"
TAG_BYTES: Final = 16
RECORD_BYTES: Final = 1024
WEEK_SECONDS: Final = 7 * 86_400
FRESH_MS: Final = 2 * WEEK_SECONDS * 1000
"""A record that is older, or so far ahead, is none."""

_TAG: Final = b"p2psync.rdvtag"
_KEY: Final = b"p2psync.rdvkey"
_SIGNED: Final = b"p2psync rendezvous 1"
_LENGTH_BYTES: Final = 2
_TEXT_BYTES_MAX: Final = RECORD_BYTES - crypto.NONCE_BYTES - crypto.SEAL_BYTES - _LENGTH_BYTES
_PUT, _ASK = 0, 1


class Status(IntEnum):
    """The relay's answer."""

    OK = 0
    DENIED = 1
    """The relay does not let this device in."""
    FULL = 2
    TOO_OFTEN = 3


class Refused(LinkBroken):
    """The relay answered no; ``status`` is one of ``Status``, or a number that is not known."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the relay keeps no addresses for this device ({status})")
        self.status = status


# -- records -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Where a device (key of 32 bytes) can be called; ``made_ms`` since 1970; its signature."""

    device: bytes
    made_ms: int
    addresses: tuple[str, ...]
    signature: bytes


_record = structure(
    Record,
    device=binary(32),
    made_ms=integer(),
    addresses=array(text(limits.ADDRESS_BYTES_MAX), limits.ADDRESSES_PER_PEER_MAX),
    signature=binary(crypto.SIGNATURE_BYTES),
)


def week_of(seconds: float) -> int:
    """The week since 1970 of a Unix time."""
    return int(seconds // WEEK_SECONDS)


def tag(discovery_key: bytes, relay: bytes, week: int) -> bytes:
    """Under what a mandate's members leave records at a relay (device key) in a week: 16 bytes."""
    return crypto.derive(discovery_key, _TAG, relay, week.to_bytes(8, "big"), size=TAG_BYTES)


def _key(discovery_key: bytes, relay: bytes, week: int) -> bytes:
    return crypto.derive(discovery_key, _KEY, relay, week.to_bytes(8, "big"))


def sign(keys: SigningKey, made_ms: int, addresses: Sequence[str]) -> Record:
    """A device's word on where it is: as many of the addresses, in order, as a record holds."""
    kept: list[str] = []
    for address in addresses[: limits.ADDRESSES_PER_PEER_MAX]:
        kept.append(address)
        if len(_text(Record(keys.public, made_ms, tuple(kept), bytes(64)))) > _TEXT_BYTES_MAX:
            kept.pop()
    signature = keys.sign(_SIGNED, codec.pack([made_ms, kept]))
    return Record(keys.public, made_ms, tuple(kept), signature)


def seal(record: Record, discovery_key: bytes, relay: bytes, week: int, nonce: bytes) -> bytes:
    """The 1,024 bytes that a relay keeps; ``nonce`` are 24 fresh random bytes."""
    said = _text(record)
    padded = len(said).to_bytes(_LENGTH_BYTES, "big") + said.ljust(_TEXT_BYTES_MAX, b"\0")
    associated = tag(discovery_key, relay, week)
    return nonce + crypto.seal(_key(discovery_key, relay, week), nonce, padded, associated)


def open_sealed(
    sealed: bytes, discovery_key: bytes, relay: bytes, week: int, now_ms: int
) -> Record | None:
    """What a member wrote; ``None`` for anything that no member did, or did lately."""
    nonce, rest = sealed[: crypto.NONCE_BYTES], sealed[crypto.NONCE_BYTES :]
    associated = tag(discovery_key, relay, week)
    try:
        padded = crypto.unseal(_key(discovery_key, relay, week), nonce, rest, associated)
        length = int.from_bytes(padded[:_LENGTH_BYTES], "big")
        said = padded[_LENGTH_BYTES : _LENGTH_BYTES + length]
        record = _record.load(codec.unpack(said, _TEXT_BYTES_MAX))
    except (CryptoError, CodecError):
        return None
    message = codec.pack([record.made_ms, record.addresses])
    if not crypto.verify(record.device, _SIGNED, message, record.signature):
        return None
    return record if abs(now_ms - record.made_ms) <= FRESH_MS else None


def _text(record: Record) -> bytes:
    return codec.pack(_record.dump(record))


# -- what travels --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """Keep a record under a tag."""

    tag: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """Tell what is under these tags."""

    tags: tuple[bytes, ...]


async def asked(stream: Stream) -> Put | Ask:
    """What a client asks of a relay; raises ``LinkBroken``."""
    match _read(await circuit.read_message(stream)):
        case (int(kind), bytes(where), bytes(record), *_) if (
            kind == _PUT and len(where) == TAG_BYTES and len(record) == RECORD_BYTES
        ):
            return Put(where, record)
        case (int(kind), tuple(tags), *_) if (
            kind == _ASK
            and len(tags) <= limits.RENDEZVOUS_TAGS_ASKED_MAX
            and all(isinstance(each, bytes) and len(each) == TAG_BYTES for each in tags)
        ):
            return Ask(tags)
        case _:
            raise LinkBroken("the client's question cannot be read")


async def answer(stream: Stream, status: Status, found: Sequence[Sequence[bytes]] = ()) -> None:
    """Answer a client; ``found`` are the records under each tag that it asked for."""
    counts = [len(records) for records in found]
    await circuit.write_message(stream, codec.pack([int(status), counts]))
    for records in found:
        for record in records:
            await stream.write(record)


async def put(connection: Connection, where: bytes, record: bytes) -> None:
    """Have a relay keep a record; raises ``Refused``, ``NotSpoken`` or ``LinkBroken``."""
    async with _question(connection) as stream:
        await circuit.write_message(stream, codec.pack([_PUT, where, record]))
        await _counts(stream, 0)


async def ask(connection: Connection, tags: Sequence[bytes]) -> list[list[bytes]]:
    """The records under each of at most ``limits.RENDEZVOUS_TAGS_ASKED_MAX`` tags.

    Raises ``Refused``, ``NotSpoken`` or ``LinkBroken``.
    """
    async with _question(connection) as stream:
        await circuit.write_message(stream, codec.pack([_ASK, list(tags)]))
        counts = await _counts(stream, len(tags))
        return [[await stream.read_exactly(RECORD_BYTES) for _ in range(count)] for count in counts]


async def _counts(stream: Stream, tags: int) -> tuple[int, ...]:
    match _read(await circuit.read_message(stream)):
        case (int(status), *_) if status != Status.OK:
            raise Refused(status)
        case (_, tuple(counts), *_) if (
            len(counts) == tags
            and all(isinstance(each, int) and each >= 0 for each in counts)
            and sum(counts) <= limits.RENDEZVOUS_RECORDS_TOLD_MAX
        ):
            return counts
        case _:
            raise LinkBroken("the relay's answer cannot be read")


@asynccontextmanager
async def _question(connection: Connection) -> AsyncIterator[Stream]:
    """A stream for one question; what takes too long ends as ``LinkBroken``."""
    stream = await connection.open_stream(PROTOCOL)
    try:
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            yield stream
    except trio.TooSlowError:
        raise LinkBroken("the relay did not answer in time") from None
    finally:
        stream.end()
        stream.reset()


def _read(message: bytes) -> object:
    try:
        return codec.unpack(message, limits.CIRCUIT_MESSAGE_BYTES_MAX)
    except CodecError as error:
        raise LinkBroken(str(error)) from None
