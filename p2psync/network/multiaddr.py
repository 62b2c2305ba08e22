"""Multiaddrs in binary, as circuit relay and identify carry them.

Source: https://github.com/multiformats/multiaddr, protocols.csv. Only what our addresses hold is
written or read; anything else is left out by who reads a list of them.
"""

import ipaddress

from p2psync.errors import BadInputError
from p2psync.network.address import TcpAddress, is_dns_name
from p2psync.network.identity import device_of_peer_bytes, peer_bytes
from p2psync.network.negotiation import varint

_IP4, _TCP, _IP6, _DNS, _DNS4, _DNS6, _CIRCUIT, _P2P = 0x04, 0x06, 0x29, 53, 54, 55, 290, 421
_TLS, _SNI, _WS, _WSS = 448, 449, 477, 478
_NAMES = {"dns": _DNS, "dns4": _DNS4, "dns6": _DNS6}
_NAME_BYTES_MAX = 253


def tcp_bytes(address: TcpAddress) -> bytes:
    """A host, a TCP port, and how WebSocket is spoken there, if it is."""
    port = varint(_TCP) + address.port.to_bytes(2, "big") + _web_bytes(address)
    if address.family in _NAMES:
        name = address.host.encode()
        return varint(_NAMES[address.family]) + varint(len(name)) + name + port
    ip = ipaddress.ip_address(address.host)
    return varint(_IP4 if ip.version == 4 else _IP6) + ip.packed + port


def _web_bytes(address: TcpAddress) -> bytes:
    if not address.web:
        return b""
    if address.web == "ws":
        return varint(_WS)
    name = address.name.encode()
    sni = varint(_SNI) + varint(len(name)) + name if name else b""
    return varint(_TLS) + sni + varint(_WS)


def peer_part(device: bytes) -> bytes:
    """The ``/p2p/…`` of a 32-byte device key."""
    peer = peer_bytes(device)
    return varint(_P2P) + varint(len(peer)) + peer


def read_tcp(data: bytes) -> tuple[TcpAddress, bytes | None]:
    """A direct address and the device behind it, if it names one.

    Raises ``BadInputError`` for every other kind of address.
    """
    reader = _Reader(data)
    match reader.varint():
        case 0x04:
            family, host = "ip4", str(ipaddress.IPv4Address(reader.take(4)))
        case 0x29:
            family, host = "ip6", str(ipaddress.IPv6Address(reader.take(16)))
        case code if code in _NAMES.values():
            family = next(name for name, each in _NAMES.items() if each == code)
            host = reader.name()
        case _:
            raise BadInputError(cause="an address of an unknown kind")
    if reader.varint() != _TCP:
        raise BadInputError(cause="an address without a TCP port")
    port = int.from_bytes(reader.take(2), "big")
    code = _next(reader)
    web, name = "", ""
    if code in (_TLS, _WS, _WSS):
        web = "ws" if code == _WS else "wss"
        if code == _TLS:
            name = _read_name_and_ws(reader)
        code = _next(reader)
    device = None
    if code:
        if code != _P2P:
            raise BadInputError(cause="an address of an unknown kind")
        device = device_of_peer_bytes(reader.take(reader.varint()))
    if reader.left:
        raise BadInputError(cause="an address with more behind it")
    address = TcpAddress(family, host, port, web, name)  # type: ignore[arg-type]  # as checked
    return address, device


def _next(reader: "_Reader") -> int:
    """The next protocol's code; 0, which is none, at the end."""
    return reader.varint() if reader.left else 0


def _read_name_and_ws(reader: "_Reader") -> str:
    """What follows TLS: perhaps a name, then WebSocket; the name, or nothing."""
    code, name = reader.varint(), ""
    if code == _SNI:
        name = reader.name()
        code = reader.varint()
    if code != _WS:
        raise BadInputError(cause="an address of an unknown kind")
    return name


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise BadInputError(cause="an address that is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def name(self) -> str:
        length = self.varint()
        if not 0 < length <= _NAME_BYTES_MAX:
            raise BadInputError(cause="a DNS name of a wrong length")
        name = self.take(length).decode("utf-8", "replace")
        if not is_dns_name(name):
            raise BadInputError(cause="a DNS name that is none")
        return name

    def varint(self) -> int:
        number = 0
        for shift in (0, 7, 14):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise BadInputError(cause="an address with too large a number")
