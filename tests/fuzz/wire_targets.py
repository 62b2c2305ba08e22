"""Targets for all that is packed: values, frames, payloads, entries."""

from collections.abc import Iterable

from p2psync.core import codec, entry, ops
from p2psync.engine import wire
from p2psync.errors import BadInputError, CodecError, WireError
from p2psync.limits import ENTRY_BYTES_MAX, ENTRY_REFERENCES_MAX, FRAME_BYTES_MAX
from tests.fuzz import samples
from tests.fuzz.feed import Feed, value_of, varied
from tests.fuzz.target import Target, explained

_FRAMES = [samples.tree(wire.encode(message)) for message in samples.messages()]
_PAYLOADS = [samples.tree(ops.encode([operation])) for operation in samples.OPERATIONS]
_PAYLOADS.append(samples.tree(ops.encode(samples.OPERATIONS)))
_ENTRY = samples.entry_of(*samples.OPERATIONS[1:3], seq=1, prev=samples.KEY)
_HEADER = samples.tree(_ENTRY.header_bytes)
_OPENING = samples.entry_of(*samples.OPERATIONS)
_GENUINE = {_ENTRY.id, _OPENING.id}


def _packed(feed: Feed, models: list[codec.Value]) -> bytes | None:
    """Bytes as they come, or a model with some changes; nothing for what has no encoding."""
    if not feed.number(3):
        return feed.rest()
    try:
        return codec.pack(varied(feed, feed.pick(models)))
    except CodecError:
        return None


def _framed(models: list[codec.Value]) -> Iterable[bytes]:
    """Seeds: each model unchanged, and its very bytes."""
    for index, model in enumerate(models):
        yield bytes([1, index])
        yield bytes([1, index, 1])
        yield b"\0" + codec.pack(model)


def run_codec(data: bytes) -> None:
    """Values."""
    feed = Feed(data)
    if feed.chance():
        made = value_of(feed)
        try:
            packed = codec.pack(made)
        except CodecError:
            return
    else:
        packed = feed.rest()
    try:
        value = codec.unpack(packed, FRAME_BYTES_MAX)
    except CodecError:
        return
    assert codec.pack(value) == packed
    assert codec.unpack(codec.pack(value), len(packed)) == value


def run_frame(data: bytes) -> None:
    """Frames."""
    frame = _packed(Feed(data), _FRAMES)
    if frame is None:
        return
    try:
        message = wire.decode(frame)
    except WireError as error:
        explained(error)
        return
    if message is not None:
        assert wire.encode(message) == frame


def run_payload(data: bytes) -> None:
    """Operations."""
    payload = _packed(Feed(data), _PAYLOADS)
    if payload is None:
        return
    try:
        operations = ops.decode(payload)
    except BadInputError:
        return
    named = sum(
        len(getattr(operation, name, ()))
        for operation in operations
        for name in ("removes", "versions", "parents", "receipts")
    )
    assert named <= ENTRY_REFERENCES_MAX, "few bytes stand for many references"
    if not any(isinstance(operation, ops.Unknown) for operation in operations):
        assert ops.encode(operations) == payload


def run_entry(data: bytes) -> None:
    """Entries."""
    feed = Feed(data)
    raw: bytes | None
    if feed.number(4):
        header = codec.pack(varied(feed, _HEADER)) if feed.chance() else _ENTRY.header_bytes
        outer = varied(feed, (header, _ENTRY.nonce, _ENTRY.ciphertext, _ENTRY.signature), 2)
        try:
            raw = codec.pack(outer)
        except CodecError:
            return
    else:
        raw = feed.rest()
    try:
        item = entry.decode(raw)
    except BadInputError:
        return
    again = codec.pack([item.header.encode(), item.nonce, item.ciphertext, item.signature])
    assert again == raw
    assert len(raw) <= ENTRY_BYTES_MAX
    genuine = item.id in _GENUINE
    assert genuine or not entry.signature_holds(item), "a signature covers what was not signed"
    try:
        entry.open_payload(item, samples.EPOCH_KEY)
    except BadInputError:
        return
    assert genuine, "altered, and yet it opens"


def _entry_seeds() -> Iterable[bytes]:
    yield b"\0" + _ENTRY.raw
    yield b"\0" + _OPENING.raw
    yield b"\1\0"
    for place in range(9):
        yield bytes([1, 1, 1, 1, place, 5, 1, 1])
        yield bytes([1, 1, 1, 1, place, 5, 0])


def _codec_seeds() -> Iterable[bytes]:
    for model in (*_FRAMES, *_PAYLOADS):
        yield b"\0" + codec.pack(model)
    yield b"\1" + bytes(range(40))
    yield b"\0" + b"\x91" * 40 + b"\xc0"


TARGETS = (
    Target(
        "codec",
        "bytes are refused with CodecError, or are the one encoding of one value",
        run_codec,
        _codec_seeds,
        short_runs=1_330,
    ),
    Target(
        "frame",
        "a frame is refused with WireError, or is what its message encodes to",
        run_frame,
        lambda: _framed(_FRAMES),
        short_runs=500,
    ),
    Target(
        "payload",
        "operations are refused, or encode to the same bytes, and name boundedly many others",
        run_payload,
        lambda: _framed(_PAYLOADS),
        short_runs=500,
    ),
    Target(
        "entry",
        "an entry is refused, or re-encodes to the same; none but the genuine verifies or opens",
        run_entry,
        _entry_seeds,
        short_runs=500,
    ),
)
