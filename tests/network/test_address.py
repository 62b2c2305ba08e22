"""WebSocket multiaddrs, as text and in binary, and relays and circuits at them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.errors import BadAddress, BadInputError
from p2psync.network.address import (
    CircuitAddress,
    Family,
    RelayAddress,
    TcpAddress,
    Web,
    dialable,
    is_local,
    parse_address,
    parse_any,
    parse_relay,
)
from p2psync.network.identity import device_of_seed, peer_id_text
from p2psync.network.multiaddr import peer_part, read_tcp, tcp_bytes

DEVICE = device_of_seed(b"s" * 32)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(0, 65535)
KINDS: list[tuple[Web, str]] = [("", ""), ("ws", ""), ("wss", "")]
FAMILIES: list[Family] = ["dns", "dns4", "dns6"]


@st.composite
def addresses(draw: st.DrawFn) -> TcpAddress:
    web, name = draw(st.sampled_from(KINDS))
    if web == "wss" and draw(st.booleans()):
        name = draw(NAME)
    if draw(st.booleans()):
        ip = draw(st.ip_addresses())
        return TcpAddress("ip4" if ip.version == 4 else "ip6", str(ip), draw(PORT), web, name)
    family = draw(st.sampled_from(FAMILIES))
    return TcpAddress(family, draw(NAME), draw(PORT), web, name)


@given(addresses())
def test_every_address_prints_and_parses(address: TcpAddress) -> None:
    assert parse_address(str(address)) == address
    assert parse_address(f"{address}/p2p/{peer_id_text(DEVICE)}", expected=DEVICE) == address


@given(addresses())
def test_every_address_has_bytes(address: TcpAddress) -> None:
    assert read_tcp(tcp_bytes(address)) == (address, None)
    assert read_tcp(tcp_bytes(address) + peer_part(DEVICE)) == (address, DEVICE)


@given(addresses(), st.integers(0, 400))
def test_bytes_that_are_cut_off_are_refused_or_another_address(
    address: TcpAddress, at: int
) -> None:
    data = tcp_bytes(address)
    if at < len(data):
        try:
            found, _ = read_tcp(data[:at])
        except BadInputError:
            return
        assert tcp_bytes(found) == data[:at]


@given(st.binary(max_size=80))
def test_any_bytes_are_an_address_or_refused(data: bytes) -> None:
    try:
        found, device = read_tcp(data)
    except BadInputError:
        return
    again = tcp_bytes(found) + (peer_part(device) if device else b"")
    assert read_tcp(again) == (found, device)


@given(addresses(), st.from_regex(r"[1-9A-HJ-NP-Za-km-z]{1,64}", fullmatch=True))
def test_a_relay_at_any_address_prints_and_parses(place: TcpAddress, token: str) -> None:
    relay = RelayAddress(place, DEVICE, token)
    if len(str(relay).encode()) <= limits.ADDRESS_BYTES_MAX:
        assert parse_relay(str(relay)) == relay
    assert parse_any(relay.circuit) == CircuitAddress(place, DEVICE)


def test_what_has_several_forms_is_printed_in_one() -> None:
    """libp2p's websocket addresses: ``/wss`` is short for ``/tls/ws``."""
    assert str(parse_address("/dns4/r.ch/tcp/443/wss")) == "/dns4/r.ch/tcp/443/tls/ws"
    wss = b"\x36\x04r.ch\x06\x01\xbb\xde\x03"
    tls_ws = b"\x36\x04r.ch\x06\x01\xbb\xc0\x03\xdd\x03"
    assert read_tcp(wss) == read_tcp(tls_ws)
    assert tcp_bytes(read_tcp(wss)[0]) == tls_ws


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("/dns4/r.ch/tcp/443/tls", "TLS is spoken below /ws alone"),
        ("/dns4/r.ch/tcp/443/tls/sni/r.ch", "TLS is spoken below /ws alone"),
        ("/dns4/r.ch/tcp/443/tls/sni/-/ws", "its name for TLS is no DNS name"),
        ("/dns4/r.ch/tcp/443/ws/ws", "it is no direct TCP multiaddr"),
        ("/dns4/r.ch/tcp/443/ws/p2p", "it is no direct TCP multiaddr"),
        ("/dns4/r.ch/tcp/443/http", "it is no direct TCP multiaddr"),
        ("/dns4/r.ch/udp/443/quic-v1", "it is no direct TCP multiaddr"),
        ("/dns4/r.ch/tcp/443/tls/sni/" + "a" * 300 + "/ws", "it is too long"),
    ],
)
def test_what_cannot_be_dialled_is_told(text: str, cause: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert caught.value.params["cause"] == cause


def test_a_wildcard_stays_a_websocket() -> None:
    listening = [parse_address("/ip4/0.0.0.0/tcp/443/tls/ws")]
    assert dialable(listening, ["192.0.2.1"]) == ("/ip4/192.0.2.1/tcp/443/tls/ws",)


@pytest.mark.parametrize(
    ("host", "local"),
    [("10.1.2.3", True), ("192.168.1.1", True), ("fe80::1", True), ("203.0.113.1", False)],
)
def test_what_is_local(host: str, local: bool) -> None:
    assert is_local(host) is local
    family = "ip6" if ":" in host else "ip4"
    assert parse_address(f"/{family}/{host}/tcp/1").is_local is local
    assert not parse_address("/dns4/localhost/tcp/1").is_local
