"""Addresses, peer IDs, slots and negotiation lines."""

import errno

import ifaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadAddress, BadInputError
from p2psync.network import negotiation
from p2psync.network.address import (
    TcpAddress,
    address_of,
    dialable,
    interface_hosts,
    parse_address,
)
from p2psync.network.guard import Guard, origin_of
from p2psync.network.identity import (
    device_of_peer_id,
    device_of_public_key,
    device_of_seed,
    peer_id_text,
)
from p2psync.network.multiaddr import tcp_bytes

DEVICE = device_of_seed(b"s" * 32)


# -- identity


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_is_its_device_key(device: bytes) -> None:
    text = peer_id_text(device)
    assert text.startswith("12D3KooW")
    assert device_of_peer_id(text) == device


@given(st.text(max_size=80))
def test_no_other_text_is_a_peer_id(text: str) -> None:
    with pytest.raises(BadInputError):
        device_of_peer_id(text)


def test_a_known_peer_id() -> None:
    """libp2p specs, peer-ids.md: the Ed25519 key of the test vectors."""
    encoded = bytes.fromhex(
        "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    device = device_of_public_key(encoded)
    assert peer_id_text(device) == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"


@pytest.mark.parametrize(
    "encoded", [b"", b"\x08\x00\x12\x20" + bytes(32), bytes(36), bytes(70_000)]
)
def test_no_other_kind_of_key_is_looked_at(encoded: bytes) -> None:
    with pytest.raises(BadInputError):
        device_of_public_key(encoded)


# -- addresses


@given(st.ip_addresses(), st.integers(0, 65535))
def test_an_ip_address_prints_and_parses(ip: object, port: int) -> None:
    family = "ip6" if ":" in str(ip) else "ip4"
    text = f"/{family}/{ip}/tcp/{port}"
    assert str(parse_address(text)) == text


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/٣",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/::1/tcp/1",
        "/ip6/fe80::1%eth0/tcp/1",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/1/ws/x",
        "/ip4/1.2.3.4/tcp/1/p2p/nobody",
        "/ip4/1.2.3.4/tcp/1/p2p-circuit/x",
        "/dns4/-bad.example/tcp/1",
        "/dns4//tcp/1",
        "/unix/x/tcp/1",
    ],
)
def test_what_cannot_be_dialled_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


def test_names_and_peer_ids_are_read() -> None:
    assert parse_address("/dns4/relay.example/tcp/4001") == TcpAddress(
        "dns4", "relay.example", 4001
    )
    with_peer = f"/ip4/1.2.3.4/tcp/1/p2p/{peer_id_text(DEVICE)}"
    assert parse_address(with_peer, expected=DEVICE) == TcpAddress("ip4", "1.2.3.4", 1)
    with pytest.raises(BadAddress, match="another device"):
        parse_address(with_peer, expected=bytes(32))


def test_a_socket_name_becomes_an_address() -> None:
    assert str(address_of("::ffff:10.0.0.1", 5)) == "/ip4/10.0.0.1/tcp/5"
    assert str(address_of("fe80::1%eth0", 5)) == "/ip6/fe80::1/tcp/5"
    assert address_of("::1", 5).for_people() == "[::1]:5"
    assert address_of("1.2.3.4", 5).for_people() == "1.2.3.4:5"
    assert tcp_bytes(address_of("1.2.3.4", 4001)).hex() == "0401020304060fa1"


def test_a_wildcard_stands_for_the_interfaces_of_its_family() -> None:
    listening = [TcpAddress("ip4", "0.0.0.0", 1), TcpAddress("ip6", "::", 2)]
    hosts = ("127.0.0.1", "10.0.0.1", "::1", "fd00::1")
    assert dialable(listening, hosts) == (
        "/ip4/10.0.0.1/tcp/1",
        "/ip6/fd00::1/tcp/2",
        "/ip4/127.0.0.1/tcp/1",
        "/ip6/::1/tcp/2",
    )
    assert "127.0.0.1" in interface_hosts()


def test_addresses_that_cannot_be_read_are_those_that_were_read_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Out of descriptors, a node must neither end nor take itself for one without a network."""
    before = interface_hosts()

    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(ifaddr, "get_adapters", fail)
    assert interface_hosts() == before


# -- slots


def at(number: int) -> TcpAddress:
    return TcpAddress("ip4", f"10.0.{number // 250}.{number % 250 + 1}", 1)


def test_strangers_of_one_origin_give_way_to_another_origin() -> None:
    guard = Guard(lambda device: False)
    gone: list[int] = []
    for number in range(limits.CONNECTIONS_STRANGERS_MAX):
        slot = guard.arrive(at(0), lambda number=number: gone.append(number))  # type: ignore[misc]  # the default binds it
        assert guard.prove(slot, number.to_bytes(32, "big"))
    one_more = guard.arrive(at(0), lambda: None)
    assert not guard.prove(one_more, b"a" * 32)
    guard.leave(one_more)
    elsewhere = guard.arrive(at(1), lambda: None)
    assert guard.prove(elsewhere, b"b" * 32)
    assert gone == [0]
    assert guard.established == limits.CONNECTIONS_STRANGERS_MAX


def test_members_fill_what_strangers_may_not_and_then_their_places() -> None:
    guard = Guard(lambda device: device[0] == 0xFF)
    evicted: list[str] = []
    for number in range(limits.CONNECTIONS_STRANGERS_MAX):
        slot = guard.arrive(at(number), lambda: evicted.append("stranger"))
        assert guard.prove(slot, number.to_bytes(32, "big"))
    for number in range(limits.CONNECTIONS_INBOUND_MAX):
        slot = guard.arrive(at(number), lambda: evicted.append("member"))
        assert guard.prove(slot, b"\xff" + number.to_bytes(31, "big"))
    assert evicted == ["stranger"] * limits.CONNECTIONS_STRANGERS_MAX
    late = guard.arrive(at(1), lambda: None)
    assert not guard.prove(late, b"\xff" * 32)
    assert guard.established == limits.CONNECTIONS_INBOUND_MAX


def test_unfinished_upgrades_are_bounded_in_all_and_the_oldest_goes() -> None:
    guard = Guard(lambda device: False)
    gone: list[int] = []
    for number in range(limits.CONNECTIONS_UPGRADING_MAX + 3):
        guard.arrive(at(number), lambda number=number: gone.append(number))  # type: ignore[misc]  # the default binds it
    assert gone == [0, 1, 2]
    assert guard.upgrading == limits.CONNECTIONS_UPGRADING_MAX


def test_an_evicted_slot_proves_nothing_and_leaving_twice_is_fine() -> None:
    guard = Guard(lambda device: False)
    first = guard.arrive(at(0), lambda: None)
    for _ in range(limits.CONNECTIONS_UPGRADING_PER_ADDRESS_MAX):
        guard.arrive(at(0), lambda: None)
    assert not guard.prove(first, DEVICE)
    guard.leave(first)


def test_an_ipv6_customer_is_one_origin() -> None:
    first = TcpAddress("ip6", "2001:db8:1:2::3", 1)
    assert origin_of(first) == origin_of(TcpAddress("ip6", "2001:db8:1:2:ffff::1", 9))
    assert origin_of(first) != origin_of(TcpAddress("ip6", "2001:db8:1:3::3", 1))
    assert origin_of(None) == "?"


# -- negotiation


class Script:
    """A peer that says fixed bytes."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.heard = b""

    async def read_exactly(self, count: int) -> bytes:
        if len(self.says) < count:
            raise LinkBroken("no more")
        taken, self.says = self.says[:count], self.says[count:]
        return taken

    async def write(self, data: bytes) -> None:
        self.heard += data


HEADER = negotiation.encode_line("/multistream/1.0.0")


async def test_the_lines_are_those_of_the_spec() -> None:
    assert HEADER == b"\x13/multistream/1.0.0\n"
    script = Script(HEADER + b"\x07/other\n\x05/mine\n"[:8] + b"\x06/mine\n")
    assert await negotiation.answer(script, ("/mine",)) == "/mine"
    assert script.heard == HEADER + b"\x03na\n" + b"\x06/mine\n"
    assert negotiation.varint(300) == b"\xac\x02"


@given(st.binary(max_size=300))
async def test_a_peer_may_say_anything(says: bytes) -> None:
    for start in (b"", HEADER):
        with pytest.raises(LinkBroken):
            await negotiation.answer(Script(start + says), ("/mine",))
        with pytest.raises(LinkBroken):
            await negotiation.propose(Script(start + says), "/mine")


async def test_a_peer_that_proposes_for_ever_is_left() -> None:
    with pytest.raises(LinkBroken, match="too many"):
        await negotiation.answer(Script(HEADER + b"\x02x\n" * 100), ("/mine",))
