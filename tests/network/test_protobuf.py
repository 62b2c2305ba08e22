"""Our few lines of protobuf and the handshake's payload, against what py-libp2p generates."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.identity.identify.pb import identify_pb2
from libp2p.security.noise.pb import noise_pb2

from p2psync.errors import BadInputError
from p2psync.network.address import TcpAddress
from p2psync.network.identify import identify_message
from p2psync.network.identity import KEY_PREFIX
from p2psync.network.multiaddr import tcp_bytes
from p2psync.network.protobuf import bytes_field, bytes_fields


@given(st.dictionaries(st.integers(1, 1 << 28), st.binary(max_size=300)))
def test_fields_come_back(fields: dict[int, bytes]) -> None:
    message = b"".join(bytes_field(number, value) for number, value in fields.items())
    assert bytes_fields(message) == fields


@given(st.binary(max_size=200))
def test_anything_is_a_message_or_refused(message: bytes) -> None:
    try:
        found = bytes_fields(message)
    except BadInputError:
        return
    assert sum(map(len, found.values())) <= len(message)


@given(st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80), st.data())
def test_a_handshake_payload_of_the_library_is_read(
    key: bytes, signature: bytes, data: st.DataObject
) -> None:
    payload = noise_pb2.NoiseHandshakePayload(identity_key=key, identity_sig=signature)
    payload.extensions.stream_muxers.append("/yamux/1.0.0")
    message = payload.SerializeToString()
    found = bytes_fields(message)
    assert (found[1], found[2]) == (key, signature)
    cut = data.draw(st.integers(0, len(message) - 1))
    with suppress(BadInputError):
        assert bytes_fields(message[:cut]) != found


@pytest.mark.parametrize("number", [b"\x08" + b"\xff" * 10, b"\x0b", b"\x0c", b"\x00\x00"])
def test_what_is_no_message_is_refused(number: bytes) -> None:
    """A number without end, groups, a field without a number."""
    with pytest.raises(BadInputError):
        bytes_fields(number)


def test_numbers_are_skipped() -> None:
    message = b"\x08\x96\x01" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + bytes_field(4, b"four")
    assert bytes_fields(message) == {4: b"four"}


def test_identify_is_read_by_the_library() -> None:
    remote = TcpAddress("ip4", "192.0.2.7", 4001)
    message = identify_message(b"d" * 32, remote, ["/b/1", "/a/1"])
    assert message[0] == len(message) - 1
    read = identify_pb2.Identify.FromString(message[1:])
    assert read.public_key == KEY_PREFIX + b"d" * 32
    assert list(read.protocols) == ["/a/1", "/b/1"]
    assert read.observed_addr == tcp_bytes(remote)
    assert (read.protocol_version, read.agent_version) == ("p2psync/1", "p2psync")
    assert not read.listen_addrs
