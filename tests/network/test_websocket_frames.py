"""WebSocket's frames (RFC 6455, section 5): every cut, every mask, and what breaks the rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.network.websocket_frames import (
    HELD_BYTES_MAX,
    Close,
    Frames,
    PeerBrokeFraming,
    close_frame,
    frame,
    new_mask,
    pong_frame,
)

MASK = st.none() | st.binary(min_size=4, max_size=4)


def taken_apart(frames: Frames, parts: list[bytes]) -> bytes:
    """What comes out when the wire is read in these parts."""
    held = out = b""
    for part in parts:
        buffer = bytearray(held + part)
        turned = True
        while turned:
            with memoryview(buffer) as view:
                count, at = frames.open(view)
            out += buffer[:count]
            buffer = buffer[at:]
            turned = frames.turned
        held = bytes(buffer)
        assert len(held) <= HELD_BYTES_MAX or frames.closed is not None
    return out


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.sampled_from([2, 9, 10])), max_size=8),
    MASK,
    st.lists(st.integers(0, 5000), max_size=6),
)
def test_what_is_framed_is_read_however_it_is_cut(
    said: list[tuple[bytes, int]], mask: bytes | None, places: list[int]
) -> None:
    wire = b"".join(
        frame(payload[:125] if opcode > 8 else payload, mask=mask, opcode=opcode)
        for payload, opcode in said
    )
    frames = Frames(masked=mask is not None)
    expected = b"".join(payload for payload, opcode in said if opcode == 2)
    assert taken_apart(frames, cut(wire, places)) == expected
    pings = [payload[:125] for payload, opcode in said if opcode == 9]
    assert frames.ping == (pings[-1] if pings else None)
    assert frames.closed is None


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
@pytest.mark.parametrize("mask", [None, b"\x00\x00\x00\x00", b"\x81\x02\xf3\x44"])
def test_every_form_of_length_is_read(size: int, mask: bytes | None) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    wire = bytes(frame(payload[:size], mask=mask))
    frames = Frames(masked=mask is not None)
    assert taken_apart(frames, [wire[:7], wire[7:200_000], wire[200_000:]]) == payload[:size]


def test_a_known_frame() -> None:
    """RFC 6455, section 5.7: a masked pong with "Hello"."""
    wire = bytes.fromhex("8a8537fa213d7f9f4d5158")
    assert pong_frame(b"Hello", mask=bytes.fromhex("37fa213d")) == wire
    assert close_frame(1000, mask=None) == bytes.fromhex("880203e8")


def test_fragments_are_one_stream() -> None:
    wire = b"\x02\x01a" + b"\x89\x01p" + b"\x00\x01b" + b"\x80\x01c" + b"\x82\x01d"
    frames = Frames(masked=False)
    assert taken_apart(frames, [wire]) == b"abcd"
    assert frames.ping == b"p"


def test_nothing_is_read_behind_a_close_frame() -> None:
    frames = Frames(masked=False)
    wire = bytes(frame(b"a", mask=None) + close_frame(1001, mask=None) + frame(b"b", mask=None))
    view = memoryview(bytearray(wire))
    count, _ = frames.open(view)
    assert (bytes(view[:count]), frames.closed) == (b"a", 1001)


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\xc2\x01a", Close.PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x01a", Close.PROTOCOL_ERROR),  # an unknown kind
        (b"\x8b\x01a", Close.PROTOCOL_ERROR),  # an unknown control frame
        (b"\x81\x01a", Close.UNSUPPORTED_DATA),  # text
        (b"\x82\x81aaaa", Close.PROTOCOL_ERROR),  # masked by a server
        (b"\x80\x01a", Close.PROTOCOL_ERROR),  # goes on with nothing
        (b"\x02\x01a\x82\x01b", Close.PROTOCOL_ERROR),  # a message within a message
        (b"\x09\x01a", Close.PROTOCOL_ERROR),  # a ping in parts
        (b"\x89\x7e\x00\x80", Close.PROTOCOL_ERROR),  # a ping of 128 bytes
        (b"\x88\x01a", Close.PROTOCOL_ERROR),  # half a code
        (b"\x82\x7e\x00\x05hello", Close.PROTOCOL_ERROR),  # a length in too many bytes
        (b"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello", Close.PROTOCOL_ERROR),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Close.TOO_BIG),
        (b"\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x01", Close.TOO_BIG),
    ],
)
def test_what_breaks_the_rules_is_refused_with_its_code(wire: bytes, code: Close) -> None:
    with pytest.raises(PeerBrokeFraming) as caught:
        taken_apart(Frames(masked=False), [wire])
    assert caught.value.code == code


def test_a_client_that_does_not_mask_is_refused() -> None:
    with pytest.raises(PeerBrokeFraming, match="not masked"):
        taken_apart(Frames(masked=True), [bytes(frame(b"a", mask=None))])


@pytest.mark.parametrize("each", [b"\x82\x00", b"\x89\x00", b"\x82\x01a"])
def test_endless_small_frames_are_refused(each: bytes) -> None:
    frames = Frames(masked=False)
    with pytest.raises(PeerBrokeFraming) as caught:
        for _ in range(20):
            taken_apart(frames, [each * limits.WEBSOCKET_FRAMES_BURST_MAX])
    assert caught.value.code == Close.POLICY_VIOLATION


def test_one_turn_takes_few_frames_apart() -> None:
    frames = Frames(masked=False)
    wire = memoryview(bytearray(bytes(frame(b"abcdefgh", mask=None)) * 5000))
    count, at = frames.open(wire)
    assert count == 8 * limits.WEBSOCKET_FRAMES_A_TURN
    assert frames.turned
    assert at == 10 * limits.WEBSOCKET_FRAMES_A_TURN


@given(st.binary(max_size=200), st.booleans(), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_are_frames_or_refused(data: bytes, masked: bool, places: list[int]) -> None:
    try:
        whole = taken_apart(Frames(masked=masked), [data])
    except PeerBrokeFraming:
        return
    assert len(whole) <= len(data)
    assert taken_apart(Frames(masked=masked), cut(data, places)) == whole


def test_a_mask_is_new_each_time_outside_tls() -> None:
    assert len({new_mask(sealed=False) for _ in range(20)}) == 20
    assert new_mask(sealed=True) == bytes(4)
