"""The messages of circuit relay v2 and addresses through a relay, against what libp2p generates."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.relay.circuit_v2.pb import circuit_pb2

from p2psync.errors import BadAddress, BadInputError
from p2psync.network import circuit
from p2psync.network.address import (
    CircuitAddress,
    RelayAddress,
    TcpAddress,
    parse_any,
    parse_relay,
)
from p2psync.network.circuit import Answer, Connect, Limit, Reservation, Reserve
from p2psync.network.identity import key_pair, peer_bytes
from p2psync.network.multiaddr import peer_part, read_tcp, tcp_bytes

KEYS = key_pair(b"r" * 32)
DEVICE = key_pair(b"d" * 32).public

devices = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, (1 << 32) - 1)
limits = st.builds(Limit, numbers, numbers)
statuses = st.sampled_from([int(each) for each in circuit.Status])
reservations = st.builds(
    Reservation,
    numbers,
    st.lists(st.binary(max_size=40), max_size=4).map(tuple),
    st.binary(max_size=80),
)
answers = st.builds(Answer, statuses, st.none() | reservations, limits)


@given(st.just(Reserve()) | st.builds(Connect, devices) | answers)
def test_what_a_relay_is_asked_and_answers_comes_back(message: Reserve | Connect | Answer) -> None:
    assert circuit.read_hop(circuit.hop_bytes(message)) == message


@given(st.builds(Connect, devices, limits) | st.builds(Answer, statuses))
def test_what_who_is_called_is_asked_and_answers_comes_back(message: Connect | Answer) -> None:
    assert circuit.read_stop(circuit.stop_bytes(message)) == message


@given(st.binary(max_size=200))
def test_anything_is_a_message_or_malformed(data: bytes) -> None:
    for read in (circuit.read_hop, circuit.read_stop):
        with suppress(circuit.Malformed):
            read(data)


def test_the_bytes_are_those_of_libp2p() -> None:
    reservation = Reservation(1_800_000_000, (b"one", b"two"), b"voucher")
    theirs = circuit_pb2.HopMessage()
    theirs.ParseFromString(circuit.hop_bytes(Answer(100, reservation, Limit(60, 1000))))
    assert theirs.type == circuit_pb2.HopMessage.STATUS
    assert theirs.reservation.voucher == b"voucher"
    assert theirs.limit.duration == 60
    theirs = circuit_pb2.HopMessage()
    theirs.ParseFromString(circuit.hop_bytes(Connect(DEVICE)))
    assert theirs.type == circuit_pb2.HopMessage.CONNECT
    assert theirs.peer.id == peer_bytes(DEVICE)


@given(devices, st.integers(0, 1 << 40))
def test_a_voucher_is_for_one_device_by_one_relay(device: bytes, expires: int) -> None:
    made = circuit.voucher(KEYS, device, expires)
    assert circuit.voucher_holds(made, KEYS.public, device)
    assert not circuit.voucher_holds(made, KEYS.public, DEVICE)
    assert not circuit.voucher_holds(made, DEVICE, device)
    assert not circuit.voucher_holds(made[:-1] + bytes([made[-1] ^ 1]), KEYS.public, device)


@given(st.binary(max_size=200))
def test_anything_is_a_voucher_or_not(data: bytes) -> None:
    assert not circuit.voucher_holds(data, KEYS.public, DEVICE)


@pytest.mark.parametrize(
    "address",
    [
        TcpAddress("ip4", "192.0.2.7", 4001),
        TcpAddress("ip6", "2001:db8::7", 4001),
        TcpAddress("dns4", "relay.example.ch", 443),
    ],
)
def test_addresses_in_binary_come_back(address: TcpAddress) -> None:
    assert read_tcp(tcp_bytes(address)) == (address, None)
    assert read_tcp(tcp_bytes(address) + peer_part(DEVICE)) == (address, DEVICE)
    assert peer_bytes(DEVICE) in peer_part(DEVICE)


@given(st.binary(max_size=80))
def test_anything_is_an_address_in_binary_or_refused(data: bytes) -> None:
    with suppress(BadInputError):
        read_tcp(data)


def test_a_relays_address_carries_its_token_and_a_circuits_does_not() -> None:
    place = TcpAddress("dns4", "relay.example.ch", 4001)
    relay = RelayAddress(place, DEVICE, "2KSovv")
    assert parse_relay(str(relay)) == relay
    assert parse_relay(str(RelayAddress(place, DEVICE))) == RelayAddress(place, DEVICE)
    assert parse_any(relay.circuit) == CircuitAddress(place, DEVICE)
    assert "2KSovv" not in relay.circuit


@pytest.mark.parametrize(
    "text",
    [
        "/dns4/relay.example.ch/tcp/4001",
        "/dns4/relay.example.ch/tcp/4001/p2p/12D3Koo",
        "/p2p-circuit",
        "",
        "x" * 10_000,
    ],
)
def test_what_is_no_address_of_a_relay_is_refused(text: str) -> None:
    with pytest.raises(BadInputError):
        parse_relay(text)


def test_a_wrong_token_is_not_repeated() -> None:
    text = f"{RelayAddress(TcpAddress('ip4', '192.0.2.7', 1), DEVICE)}/p2psync-token/se-cret"
    with pytest.raises(BadAddress) as caught:
        parse_relay(text)
    assert "cret" not in caught.value.text
