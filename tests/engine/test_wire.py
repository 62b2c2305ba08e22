"""Messages survive the way to bytes and back; any other bytes are refused, and by nothing else."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import codec
from p2psync.core.frontier import Tip
from p2psync.engine import wire
from p2psync.errors import WireError
from p2psync.limits import (
    CHUNKS_WANTED_MAX,
    ENTRIES_PER_FRAME_MAX,
    FRAME_BYTES_MAX,
    FRONTIER_TIPS_MAX,
    OFFER_TAGS_MAX,
    OPENING_ENTRIES_MAX,
    WANTS_PER_FRAME_MAX,
)
from tests.strategies import exactly, values

handles = st.integers(0, 16_383)
seqs = st.integers(0, (1 << 48) - 1)
heads = exactly(8)
raws = st.lists(st.binary(min_size=1, max_size=50), max_size=4).map(tuple)
tips = st.lists(st.builds(Tip, exactly(32), seqs, heads), max_size=5).map(tuple)
points = st.lists(st.tuples(seqs, heads), max_size=5).map(tuple)
wanted = st.builds(wire.Wanted, exactly(32), seqs, heads, points)
keys = st.lists(exactly(32), max_size=CHUNKS_WANTED_MAX).map(tuple)
short = st.text(max_size=16)
messages = st.one_of(
    st.builds(wire.Hello, st.integers(0, 1 << 16), exactly(32), short),
    st.builds(wire.Offer, st.integers(0, 8192), st.lists(exactly(16), max_size=5).map(tuple)),
    st.builds(
        wire.Accept,
        st.lists(st.builds(wire.Accepted, handles, exactly(16)), max_size=5).map(tuple),
    ),
    st.builds(wire.Opening, handles, raws),
    st.builds(wire.Refusal, handles, short),
    st.builds(wire.Frontier, handles, tips),
    st.builds(wire.Want, handles, st.lists(wanted, max_size=5).map(tuple)),
    st.builds(wire.Entries, handles, raws, st.booleans()),
    st.builds(wire.Have, handles, tips),
    st.builds(wire.ChunkWant, handles, keys),
    st.builds(wire.Chunk, handles, exactly(32), st.binary(min_size=1, max_size=300)),
    st.builds(wire.ChunkMissing, handles, keys),
    st.builds(wire.Contact, st.lists(short, max_size=16).map(tuple)),
    st.builds(wire.Bye, short, short),
    st.builds(wire.Content, handles, st.integers(0, 10_000)),
    st.builds(wire.Keys, handles, keys),
    st.builds(
        wire.Sequences,
        st.lists(st.tuples(exactly(32), st.integers(0, (1 << 63) - 1)), max_size=5).map(tuple),
    ),
    st.builds(wire.Whereabouts, raws),
)


@given(messages)
def test_every_message_survives(message: wire.Message) -> None:
    assert wire.decode(wire.encode(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_wire_error(frame: bytes) -> None:
    with suppress(WireError):
        wire.decode(frame)


@given(st.integers(-2, 90), st.lists(values, max_size=4))
def test_any_array_is_a_message_or_a_wire_error(code: int, fields: list[object]) -> None:
    frame = codec.pack([code, *fields])
    try:
        message = wire.decode(frame)
    except WireError:
        return
    assert (message is None) == (code >= wire.EXTENSION_CODE_MIN)


@given(messages, st.data())
def test_a_frame_with_one_byte_changed_raises_nothing_else(
    message: wire.Message, data: st.DataObject
) -> None:
    frame = bytearray(wire.encode(message))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(WireError):
        wire.decode(bytes(frame))


@pytest.mark.parametrize(
    "fields",
    [
        [1, 0, [bytes(16)] * (OFFER_TAGS_MAX + 1)],
        [2, [[0, bytes(16)]] * (OFFER_TAGS_MAX + 1)],
        [3, 0, [b"x"] * (OPENING_ENTRIES_MAX + 1)],
        [5, 0, [[bytes(32), 0, bytes(8)]] * (FRONTIER_TIPS_MAX + 1)],
        [6, 0, [[bytes(32), 0, bytes(8), []]] * (WANTS_PER_FRAME_MAX + 1)],
        [6, 0, [[bytes(32), 0, bytes(8), [[0, bytes(8)]] * 129]]],
        [7, 0, [b"x"] * (ENTRIES_PER_FRAME_MAX + 1), False],
        [9, 0, [bytes(32)] * (CHUNKS_WANTED_MAX + 1)],
        [10, 0, bytes(32), bytes(256 * 1024 + 18)],
        [12, ["x" * 257]],
        [12, ["x"] * 17],
        [0, 1, bytes(31), "x"],
        [15, 0],
    ],
)
def test_more_than_a_limit_allows_is_refused(fields: list[object]) -> None:
    with pytest.raises(WireError):
        wire.decode(codec.pack(fields))


def test_a_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(WireError, match="at most"):
        wire.decode(bytes(FRAME_BYTES_MAX + 1))


def test_extensions_are_passed_over() -> None:
    assert wire.decode(codec.pack([64, "whatever"])) is None


@given(st.lists(st.binary(min_size=1, max_size=200_000), max_size=12))
def test_entries_are_cut_into_bounded_frames(entries: list[bytes]) -> None:
    frames = list(wire.entries_frames(3, entries))
    read = [wire.decode(frame) for frame in frames]
    assert all(isinstance(message, wire.Entries) for message in read)
    bodies = [message for message in read if isinstance(message, wire.Entries)]
    assert [raw for body in bodies for raw in body.raws] == entries
    assert [body.more for body in bodies] == [True] * (len(bodies) - 1) + [False]


def test_an_empty_batch_is_one_frame() -> None:
    assert len(list(wire.entries_frames(0, []))) == 1


def test_annotated_examples_keep_their_bytes() -> None:
    """docs/spec/wire.md, "Examples"."""
    assert wire.encode(wire.Have(4, (Tip(b"\x11" * 32, 7, b"\x22" * 8),))).hex() == (
        "9308049193c420" + "11" * 32 + "07c408" + "22" * 8
    )
    assert wire.encode(wire.Content(2, 0)).hex() == "930e0200"
    assert wire.encode(wire.Refusal(0, "ticket-expired")).hex() == (
        "930400ae" + b"ticket-expired".hex()
    )
