"""Canonical msgpack: one value, one encoding."""

import contextlib
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import codec
from p2psync.errors import CodecError
from p2psync.limits import NESTING_DEPTH_MAX
from tests.strategies import values


@given(values)
def test_what_is_packed_is_unpacked(value: Any) -> None:
    data = codec.pack(value)
    assert codec.unpack(data, len(data)) == value


@given(st.binary(max_size=60))
def test_bytes_have_one_reading_or_none(data: bytes) -> None:
    try:
        value = codec.unpack(data, 60)
    except CodecError:
        return
    assert codec.pack(value) == data


@given(values, st.data())
def test_no_other_bytes_mean_the_same(value: Any, data: st.DataObject) -> None:
    packed = codec.pack(value)
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    flipped = bytearray(packed)
    flipped[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(CodecError):
        assert codec.pack(codec.unpack(bytes(flipped), len(packed))) != packed


@given(values, st.binary(min_size=1, max_size=3))
def test_trailing_and_missing_bytes_are_refused(value: Any, more: bytes) -> None:
    data = codec.pack(value)
    with pytest.raises(CodecError):
        codec.unpack(data + more, 1 << 20)
    with pytest.raises(CodecError):
        codec.unpack(data[:-1], 1 << 20)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(msgpack.packb({}), id="map"),
        pytest.param(msgpack.packb([{1: 2}]), id="map inside"),
        pytest.param(bytes.fromhex("82c001c002"), id="duplicate keys"),
        pytest.param(msgpack.packb(1.5), id="float"),
        pytest.param(bytes.fromhex("ca7fc00000"), id="NaN"),
        pytest.param(msgpack.packb(msgpack.ExtType(5, b"x")), id="extension"),
        pytest.param(msgpack.packb(msgpack.Timestamp(1)), id="timestamp"),
        pytest.param(bytes.fromhex("cc01"), id="integer too wide"),
        pytest.param(bytes.fromhex("d001"), id="signed though positive"),
        pytest.param(bytes.fromhex("c50001aa"), id="length too wide"),
        pytest.param(bytes.fromhex("d901ff"), id="not UTF-8"),
        pytest.param(bytes.fromhex("a3eda080"), id="surrogate"),
        pytest.param(bytes.fromhex("c1"), id="never used"),
        pytest.param(bytes.fromhex("cf8000000000000000"), id="beyond 63 bits"),
        pytest.param(b"", id="nothing"),
        pytest.param(bytes.fromhex("ddffffffff"), id="array bomb"),
        pytest.param(bytes.fromhex("c6ffffffff"), id="bytes bomb"),
        pytest.param(bytes.fromhex("dbffffffff"), id="string bomb"),
        pytest.param(bytes.fromhex("dfffffffff"), id="map bomb"),
        pytest.param(bytes.fromhex("c9ffffffff05"), id="extension bomb"),
        pytest.param(b"\x91" * 100_000 + b"\xc0", id="deep nesting"),
        pytest.param(b"\x91" * (NESTING_DEPTH_MAX + 1) + b"\xc0", id="one too deep"),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        codec.unpack(data, 1 << 20)


def test_the_deepest_nesting_that_is_allowed() -> None:
    data = b"\x91" * NESTING_DEPTH_MAX + b"\xc0"
    assert codec.pack(codec.unpack(data, 100)) == data


def test_a_value_beyond_the_limit_is_not_looked_at() -> None:
    with pytest.raises(CodecError, match="at most 3"):
        codec.unpack(b"\xc1" * 4, 3)


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, object(), "\ud800", [[set()]]])
def test_what_has_no_encoding_is_refused_and_leaves_no_trace(value: object) -> None:
    with pytest.raises(CodecError):
        codec.pack(value)
    assert codec.pack((1, 2)) == b"\x92\x01\x02"


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_joined_items_are_an_array(count: int) -> None:
    assert codec.join([codec.pack(b"x")] * count) == codec.pack([b"x"] * count)
