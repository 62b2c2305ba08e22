"""Multiaddrs in binary, as circuit relay and identify carry them.

Source: https://github.com/multiformats/multiaddr, protocols.csv. Only what our addresses hold is
written or read; anything else is left out by who reads a list of them.
"""

import ipaddress

from p2psync.errors import BadInputError
from p2psync.network.address import TcpAddress
from p2psync.network.identity import device_of_peer_bytes, peer_bytes
from p2psync.network.negotiation import varint

_IP4, _TCP, _IP6, _DNS, _DNS4, _DNS6, _CIRCUIT, _P2P = 0x04, 0x06, 0x29, 53, 54, 55, 290, 421
_NAMES = {"dns": _DNS, "dns4": _DNS4, "dns6": _DNS6}
_NAME_BYTES_MAX = 253


def tcp_bytes(address: TcpAddress) -> bytes:
    """A host and a TCP port."""
    port = varint(_TCP) + address.port.to_bytes(2, "big")
    if address.family in _NAMES:
        name = address.host.encode()
        return varint(_NAMES[address.family]) + varint(len(name)) + name + port
    ip = ipaddress.ip_address(address.host)
    return varint(_IP4 if ip.version == 4 else _IP6) + ip.packed + port


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
            length = reader.varint()
            if not 0 < length <= _NAME_BYTES_MAX:
                raise BadInputError(cause="a DNS name of a wrong length")
            try:
                host = reader.take(length).decode("ascii")
            except UnicodeDecodeError:
                raise BadInputError(cause="a DNS name that is none") from None
        case _:
            raise BadInputError(cause="an address of an unknown kind")
    if reader.varint() != _TCP:
        raise BadInputError(cause="an address without a TCP port")
    port = int.from_bytes(reader.take(2), "big")
    device = None
    if reader.left:
        if reader.varint() != _P2P:
            raise BadInputError(cause="an address of an unknown kind")
        device = device_of_peer_bytes(reader.take(reader.varint()))
    if reader.left:
        raise BadInputError(cause="an address with more behind it")
    return TcpAddress(family, host, port), device  # type: ignore[arg-type]  # one of the families


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

    def varint(self) -> int:
        number = 0
        for shift in (0, 7, 14):
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise BadInputError(cause="an address with too large a number")
