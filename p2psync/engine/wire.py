"""The messages of a link: frozen values, to and from bytes. Specification: docs/spec/wire.md.

A frame is one canonical array ``[code, field, …]`` of at most ``FRAME_BYTES_MAX`` bytes. Every
field is bounded before anything is made of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from p2psync.core import codec
from p2psync.core.addresses import SEQUENCE_MAX
from p2psync.core.crypto import SEALED_CHUNK_BYTES_MAX
from p2psync.core.entry import SEQ_MAX
from p2psync.core.frontier import HEAD_BYTES, Tip
from p2psync.core.schema import Kind, Union, array, binary, boolean, integer, structure, text
from p2psync.errors import CodecError, OperationError, WireError
from p2psync.limits import (
    ADDRESS_BYTES_MAX,
    ADDRESS_RECORD_BYTES_MAX,
    ADDRESS_RECORDS_PER_FRAME_MAX,
    ADDRESSES_PER_PEER_MAX,
    CHUNKS_WANTED_MAX,
    ENTRIES_PER_FRAME_MAX,
    ENTRY_BYTES_MAX,
    EPOCHS_MAX,
    FILES_PER_MANDATE_MAX,
    FRAME_BYTES_MAX,
    FRAME_TARGET_BYTES,
    FRONTIER_TIPS_MAX,
    LOCATOR_POINTS_MAX,
    OFFER_TAGS_MAX,
    OFFERS_PER_LINK_MAX,
    OPENING_ENTRIES_MAX,
    SEQUENCES_PER_FRAME_MAX,
    WANTS_PER_FRAME_MAX,
)

VERSION = 1
NONCE_BYTES = 32
TAG_BYTES = 16
EXTENSION_CODE_MIN = 64
"""Messages with this code or a higher one are ignored by who does not know them."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of both sides: protocol version, a fresh nonce, the software's name."""

    version: int
    nonce: bytes
    software: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Says "I hold these mandates' keys"; ``tags`` are numbered on from ``first``."""

    first: int
    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One tag that matched: its handle, and the proof that the answerer holds the key too."""

    handle: int
    proof: bytes


@dataclass(frozen=True, slots=True)
class Accept:
    """The answer to one ``Offer``; empty when no tag matched."""

    accepted: tuple[Accepted, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """A newcomer asks to be admitted: the first entries of its log, raw."""

    handle: int
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The newcomer is not admitted; ``reason`` is the code of a ``TicketError``, or another's."""

    handle: int
    reason: str


@dataclass(frozen=True, slots=True)
class Frontier:
    """All tips that the sender holds."""

    handle: int
    tips: tuple[Tip, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A branch that is asked for: its tip, and what the asker holds of the log."""

    log: bytes
    seq: int
    head: bytes
    locator: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for entries."""

    handle: int
    wants: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """Raw entries, oldest first; ``more`` when the next such frame goes on with the same batch."""

    handle: int
    raws: tuple[bytes, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Have:
    """All tips of some logs: an acknowledgement and an announcement at once."""

    handle: int
    tips: tuple[Tip, ...]


@dataclass(frozen=True, slots=True)
class ChunkWant:
    """Asks for sealed chunks."""

    handle: int
    addresses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """One sealed chunk."""

    handle: int
    address: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class ChunkMissing:
    """The sender does not have these chunks."""

    handle: int
    addresses: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Contact:
    """Where the sender can be dialled."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bye:
    """Why the sender is about to end the link."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Content:
    """How many files' content the sender is still fetching."""

    handle: int
    files: int


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the mandate's epochs (32 bytes each), from a member to another."""

    handle: int
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sequences:
    """How new the addresses are that the sender has of devices in common: device and sequence, 0
    for those of which it has none."""

    known: tuple[tuple[bytes, int], ...]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Signed addresses of devices, each as ``core.addresses`` encodes them."""

    records: tuple[bytes, ...]


Message = (
    Hello
    | Offer
    | Accept
    | Opening
    | Refusal
    | Frontier
    | Want
    | Entries
    | Have
    | ChunkWant
    | Chunk
    | ChunkMissing
    | Contact
    | Bye
    | Content
    | Keys
    | Sequences
    | Whereabouts
)

_handle = integer(0, 2 * OFFERS_PER_LINK_MAX - 1)
_seq = integer(0, SEQ_MAX)
_head = binary(HEAD_BYTES)
_tip = structure(Tip, log=binary(32), seq=_seq, head=_head)
_address = binary(32)
_sequence = integer(0, SEQUENCE_MAX)


def _load_point(value: codec.Value) -> tuple[int, bytes]:
    if type(value) is not tuple or len(value) != 2:
        raise ValueError("not [seq, head]")
    return _seq.load(value[0]), _head.load(value[1])


def _load_sequence(value: codec.Value) -> tuple[bytes, int]:
    if type(value) is not tuple or len(value) != 2:
        raise ValueError("not [device, sequence]")
    return _address.load(value[0]), _sequence.load(value[1])


_points = array(Kind(_load_point, list), LOCATOR_POINTS_MAX)
_wanted = structure(Wanted, log=binary(32), seq=_seq, head=_head, locator=_points)

_messages = Union("message")
_messages.add(0, Hello, version=integer(0, 1 << 16), nonce=binary(NONCE_BYTES), software=text(64))
_messages.add(
    1,
    Offer,
    first=integer(0, OFFERS_PER_LINK_MAX),
    tags=array(binary(TAG_BYTES), OFFER_TAGS_MAX),
)
_messages.add(
    2,
    Accept,
    accepted=array(structure(Accepted, handle=_handle, proof=binary(TAG_BYTES)), OFFER_TAGS_MAX),
)
_messages.add(
    3,
    Opening,
    handle=_handle,
    raws=array(binary(1, ENTRY_BYTES_MAX), OPENING_ENTRIES_MAX),
)
_messages.add(4, Refusal, handle=_handle, reason=text(64))
_messages.add(5, Frontier, handle=_handle, tips=array(_tip, FRONTIER_TIPS_MAX))
_messages.add(6, Want, handle=_handle, wants=array(_wanted, WANTS_PER_FRAME_MAX))
_messages.add(
    7,
    Entries,
    handle=_handle,
    raws=array(binary(1, ENTRY_BYTES_MAX), ENTRIES_PER_FRAME_MAX),
    more=boolean(),
)
_messages.add(8, Have, handle=_handle, tips=array(_tip, FRONTIER_TIPS_MAX))
_messages.add(9, ChunkWant, handle=_handle, addresses=array(_address, CHUNKS_WANTED_MAX))
_messages.add(10, Chunk, handle=_handle, address=_address, data=binary(1, SEALED_CHUNK_BYTES_MAX))
_messages.add(11, ChunkMissing, handle=_handle, addresses=array(_address, CHUNKS_WANTED_MAX))
_messages.add(12, Contact, addresses=array(text(ADDRESS_BYTES_MAX), ADDRESSES_PER_PEER_MAX))
_messages.add(13, Bye, reason=text(64), detail=text(256))
_messages.add(14, Content, handle=_handle, files=integer(0, FILES_PER_MANDATE_MAX))
_messages.add(65, Keys, handle=_handle, keys=array(binary(32), EPOCHS_MAX))
_messages.add(
    66,
    Sequences,
    known=array(Kind(_load_sequence, list), SEQUENCES_PER_FRAME_MAX),
)
_messages.add(
    67,
    Whereabouts,
    records=array(binary(1, ADDRESS_RECORD_BYTES_MAX), ADDRESS_RECORDS_PER_FRAME_MAX),
)


def encode(message: Message) -> bytes:
    """Return a frame; the caller has kept the bounds."""
    frame = codec.pack(_messages.dump(message))
    assert len(frame) <= FRAME_BYTES_MAX, "a frame too large"
    return frame


def decode(frame: bytes) -> Message | None:
    """Read a frame; ``None`` for an extension that is not known here.

    Raises ``WireError`` for all else that is no message: wrong size, encoding, code or field.
    """
    try:
        value = codec.unpack(frame, FRAME_BYTES_MAX)
        message: Message | None = _messages.load(value)
    except (CodecError, OperationError) as error:
        raise WireError(cause=error.text) from None
    if message is None and value[0] < EXTENSION_CODE_MIN:
        raise WireError(cause=f"no message has the code {value[0]}")
    return message


def entries_frames(handle: int, raws: Iterable[bytes], *, more: bool = False) -> Iterator[bytes]:
    """Yield the frames that carry entries, in order, each of about ``FRAME_TARGET_BYTES``.

    How a ``SendEntries`` is carried out; reads one entry ahead, never all of them. ``more`` says
    that the same answer goes on after these.
    """
    batch: list[bytes] = []
    size = 0
    for raw in raws:
        if batch and (size + len(raw) > FRAME_TARGET_BYTES or len(batch) >= ENTRIES_PER_FRAME_MAX):
            yield encode(Entries(handle, tuple(batch), True))
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    yield encode(Entries(handle, tuple(batch), more))


def chunk_frame(handle: int, address: bytes, data: bytes) -> bytes:
    """Return the frame that carries one chunk; how a ``SendChunks`` is carried out."""
    return encode(Chunk(handle, address, data))


def chunks_missing_frame(handle: int, addresses: Iterable[bytes]) -> bytes:
    """Return the frame that says which chunks of a ``SendChunks`` are not here."""
    return encode(ChunkMissing(handle, tuple(addresses)))
