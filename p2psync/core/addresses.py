"""Where a device can be called, in its own word: signed, so that others may pass it on.

Specification: docs/spec/wire.md, "Addresses that are passed on". A record is of no mandate: who may
see it is decided by who passes it on.
"""

from dataclasses import dataclass
from typing import Final

from p2psync.core import codec, crypto
from p2psync.core.schema import array, binary, integer, structure, text
from p2psync.errors import AddressRecordInvalid, CodecError
from p2psync.limits import ADDRESS_BYTES_MAX, ADDRESS_RECORD_BYTES_MAX, ADDRESSES_PER_PEER_MAX

_ADDRESSES: Final = b"p2psync addresses 1"
SEQUENCE_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """A device (key of 32 bytes), and the multiaddrs where it can be called.

    Of two records of one device the one with the higher ``sequence`` (1 to 2⁶³ − 1) counts: it is
    the time in milliseconds since 1970 at which it was made, or one more than the one before.
    """

    device: bytes
    sequence: int
    addresses: tuple[str, ...]
    signature: bytes

    @property
    def raw(self) -> bytes:
        """The record's bytes."""
        return codec.pack(_record.dump(self))


_record = structure(
    AddressRecord,
    device=binary(crypto.KEY_BYTES),
    sequence=integer(1, SEQUENCE_MAX),
    addresses=array(text(ADDRESS_BYTES_MAX), ADDRESSES_PER_PEER_MAX),
    signature=binary(crypto.SIGNATURE_BYTES),
)


def _signed(device: bytes, sequence: int, addresses: tuple[str, ...]) -> bytes:
    return codec.pack([device, sequence, addresses])


def sign(key: crypto.SigningKey, sequence: int, addresses: tuple[str, ...]) -> AddressRecord:
    """Make a device's record; the caller keeps the bounds."""
    signature = key.sign(_ADDRESSES, _signed(key.public, sequence, addresses))
    return AddressRecord(key.public, sequence, addresses, signature)


def decode(raw: bytes) -> AddressRecord:
    """Read a record, without looking at its signature.

    Raises ``AddressRecordInvalid`` for anything malformed.
    """
    try:
        return _record.load(codec.unpack(raw, ADDRESS_RECORD_BYTES_MAX))
    except (CodecError, ValueError) as error:
        raise AddressRecordInvalid(cause=str(error)) from None


def holds(record: AddressRecord) -> bool:
    """Tell whether the device itself signed it."""
    message = _signed(record.device, record.sequence, record.addresses)
    return crypto.verify(record.device, _ADDRESSES, message, record.signature)
