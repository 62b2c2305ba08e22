"""The messages of circuit relay v2: who asks a relay for what, and what it answers.

Source: libp2p specs, relay/circuit-v2.md. A message is a varint length and a protobuf. Peers are
named by Ed25519 device keys alone; nobody else gets through our handshake.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from p2psync import limits
from p2psync.core.crypto import SigningKey, verify_plain
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadInputError
from p2psync.network.identity import KEY_PREFIX, device_of_peer_bytes, peer_bytes
from p2psync.network.negotiation import Duplex, varint
from p2psync.network.protobuf import bytes_field, bytes_fields, fields, number_field

HOP = "/libp2p/circuit/relay/0.2.0/hop"
"""From a client to a relay."""
STOP = "/libp2p/circuit/relay/0.2.0/stop"
"""From a relay to who is called."""

_VOUCHER_DOMAIN = b"libp2p-relay-rsvp"
_VOUCHER_TYPE = b"\x03\x02"


class Status(IntEnum):
    """What a relay, or who is called, answers."""

    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a circuit lives and how much it carries each way; 0 is no limit."""

    seconds: int = 0
    data_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A relay's promise: until when (seconds since 1970), its binary multiaddrs, its voucher."""

    expires: int
    addresses: tuple[bytes, ...] = ()
    voucher: bytes = b""


class Malformed(LinkBroken):
    """The bytes are no message of circuit relay v2."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"a circuit message that cannot be read: {cause}")


# -- what travels --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reserve:
    """A client asks the relay to pass circuits to it."""


@dataclass(frozen=True, slots=True)
class Connect:
    """To a relay: the device to be called. To who is called: the device that calls."""

    device: bytes
    limit: Limit = Limit()


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome; with the reservation, or the circuit's limit."""

    status: int
    reservation: Reservation | None = None
    limit: Limit = Limit()


_HOP_RESERVE, _HOP_CONNECT, _HOP_STATUS = 0, 1, 2
_STOP_CONNECT, _STOP_STATUS = 0, 1


def hop_bytes(message: Reserve | Connect | Answer) -> bytes:
    """A ``HopMessage``, without its length."""
    match message:
        case Reserve():
            return number_field(1, _HOP_RESERVE)
        case Connect(device=device):
            return number_field(1, _HOP_CONNECT) + bytes_field(2, _peer(device))
        case Answer(status=status, reservation=reservation, limit=limit):
            out = number_field(1, _HOP_STATUS)
            if reservation is not None:
                out += bytes_field(3, _reservation(reservation))
            return out + _limit(4, limit) + number_field(5, status)


def read_hop(data: bytes) -> Reserve | Connect | Answer:
    """Read a ``HopMessage``; raises ``Malformed``."""
    said = _Fields(data)
    match said.number(1):
        case 0:
            return Reserve()
        case 1:
            return Connect(_device(said.bytes(2)))
        case 2:
            found = said.values.get(3)
            reservation = _read_reservation(found) if isinstance(found, bytes) else None
            return Answer(said.number(5), reservation, _read_limit(said.values.get(4)))
        case other:
            raise Malformed(f"kind {other}")


def stop_bytes(message: Connect | Answer) -> bytes:
    """A ``StopMessage``, without its length."""
    match message:
        case Connect(device=device, limit=limit):
            return number_field(1, _STOP_CONNECT) + bytes_field(2, _peer(device)) + _limit(3, limit)
        case Answer(status=status):
            return number_field(1, _STOP_STATUS) + number_field(4, status)


def read_stop(data: bytes) -> Connect | Answer:
    """Read a ``StopMessage``; raises ``Malformed``."""
    said = _Fields(data)
    match said.number(1):
        case 0:
            return Connect(_device(said.bytes(2)), _read_limit(said.values.get(3)))
        case 1:
            return Answer(said.number(4))
        case other:
            raise Malformed(f"kind {other}")


# -- vouchers ------------------------------------------------------------------------------------


def voucher(relay: SigningKey, device: bytes, expires: int) -> bytes:
    """The relay's signed word (an RFC 0002 envelope) that a device has a reservation until then."""
    payload = (
        bytes_field(1, peer_bytes(relay.public))
        + bytes_field(2, peer_bytes(device))
        + number_field(3, expires)
    )
    return (
        bytes_field(1, KEY_PREFIX + relay.public)
        + bytes_field(2, _VOUCHER_TYPE)
        + bytes_field(3, payload)
        + bytes_field(5, relay.sign_plain(_signed(payload)))
    )


def voucher_holds(data: bytes, relay: bytes, device: bytes) -> bool:
    """Whether a voucher is the relay's, for the device; total."""
    try:
        envelope = bytes_fields(data)
        payload = envelope.get(3, b"")
        said = bytes_fields(payload)
    except BadInputError:
        return False
    return (
        envelope.get(1) == KEY_PREFIX + relay
        and envelope.get(2) == _VOUCHER_TYPE
        and said.get(1) == peer_bytes(relay)
        and said.get(2) == peer_bytes(device)
        and verify_plain(relay, _signed(payload), envelope.get(5, b""))
    )


def _signed(payload: bytes) -> bytes:
    parts = (_VOUCHER_DOMAIN, _VOUCHER_TYPE, payload)
    return b"".join(varint(len(part)) + part for part in parts)


# -- on a stream ---------------------------------------------------------------------------------


class Writable(Protocol):
    """What a message is written to."""

    async def write(self, data: bytes) -> None:
        """All of ``data``."""
        ...


async def write_message(stream: Writable, message: bytes) -> None:
    """Send one message with its length."""
    await stream.write(varint(len(message)) + message)


async def read_message(stream: Duplex) -> bytes:
    """One message, at most ``limits.CIRCUIT_MESSAGE_BYTES_MAX`` bytes.

    Raises ``LinkBroken`` when the stream ends or the message is too long.
    """
    length = 0
    for shift in (0, 7, 14):
        (byte,) = await stream.read_exactly(1)
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise LinkBroken("a circuit message is too long")
    if length > limits.CIRCUIT_MESSAGE_BYTES_MAX:
        raise LinkBroken("a circuit message is too long")
    return await stream.read_exactly(length) if length else b""


# -- parts ---------------------------------------------------------------------------------------


class _Fields:
    """The fields of one message, of a repeated one the last."""

    def __init__(self, data: bytes) -> None:
        try:
            self.values = dict(fields(data))
        except BadInputError as error:
            raise Malformed(error.text) from None

    def number(self, number: int) -> int:
        """A number; 0 where it is absent, as proto3 has it."""
        value = self.values.get(number, 0)
        if not isinstance(value, int):
            raise Malformed(f"field {number} is no number")
        return value

    def bytes(self, number: int) -> bytes:
        """Bytes that must be there."""
        value = self.values.get(number)
        if not isinstance(value, bytes):
            raise Malformed(f"field {number} is missing")
        return value


def _peer(device: bytes) -> bytes:
    return bytes_field(1, peer_bytes(device))


def _device(peer: bytes) -> bytes:
    try:
        return device_of_peer_bytes(bytes_fields(peer).get(1, b""))
    except BadInputError as error:
        raise Malformed(error.text) from None


def _limit(number: int, limit: Limit) -> bytes:
    if limit == Limit():
        return b""
    return bytes_field(number, number_field(1, limit.seconds) + number_field(2, limit.data_bytes))


def _read_limit(found: bytes | int | None) -> Limit:
    if found is None:
        return Limit()
    if not isinstance(found, bytes):
        raise Malformed("a limit that is no message")
    said = _Fields(found)
    return Limit(said.number(1), said.number(2))


def _reservation(reservation: Reservation) -> bytes:
    out = number_field(1, reservation.expires)
    for address in reservation.addresses:
        out += bytes_field(2, address)
    return out + (bytes_field(3, reservation.voucher) if reservation.voucher else b"")


def _read_reservation(data: bytes) -> Reservation:
    said = _Fields(data)
    voucher_found = said.values.get(3, b"")
    if not isinstance(voucher_found, bytes):
        raise Malformed("a voucher that is no bytes")
    return Reservation(said.number(1), tuple(_repeated(data, 2)), voucher_found)


def _repeated(data: bytes, wanted: int) -> Iterator[bytes]:
    for number, value in fields(data):
        if number == wanted and isinstance(value, bytes):
            yield value
