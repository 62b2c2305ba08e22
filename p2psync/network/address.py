"""TCP and WebSocket multiaddrs: parse them, print them, and find those of this machine.

Source: https://github.com/multiformats/multiaddr, the parts that TCP and WebSocket need.
"""

import ipaddress
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import ifaddr

from p2psync import limits
from p2psync.errors import BadAddress, BadInputError
from p2psync.network.identity import device_of_peer_id, peer_id_text

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\.?")

Family = Literal["ip4", "ip6", "dns", "dns4", "dns6"]
Web = Literal["", "ws", "wss"]

_LOCAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
            *("fc00::/7", "fe80::/10", "::1/128"),
        ),
    )
)
"""Private, link-local and loopback addresses (RFC 1918, 3927, 4193, 4291)."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (IP address or DNS name) and a TCP port, 0 to 65,535.

    ``web``: empty for bare TCP, ``ws`` for WebSocket, ``wss`` for WebSocket over TLS. ``name``: the
    DNS name that TLS asks for, where it is not the host.
    """

    family: Family
    host: str
    port: int
    web: Web = ""
    name: str = ""

    def __str__(self) -> str:
        return f"/{self.family}/{self.host}/tcp/{self.port}{self._web_part()}"

    def _web_part(self) -> str:
        match self.web:
            case "":
                return ""
            case "ws":
                return "/ws"
            case "wss":
                return f"/tls/sni/{self.name}/ws" if self.name else "/tls/ws"

    @property
    def is_local(self) -> bool:
        """Whether it is a private, link-local or loopback IP address; a DNS name never is."""
        return self.family in ("ip4", "ip6") and is_local(self.host)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every interface of its family."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

    def for_people(self) -> str:
        """The address as ``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CircuitAddress:
    """A device that is reached through the relay ``device`` (key of 32 bytes) at ``relay``."""

    relay: TcpAddress
    device: bytes

    def __str__(self) -> str:
        return f"{self.relay}/p2p/{peer_id_text(self.device)}/p2p-circuit"


def is_local(host: str) -> bool:
    """Whether an IP address is private, link-local or loopback; ``ValueError`` if it is none."""
    ip = ipaddress.ip_address(host)
    return any(ip in network for network in _LOCAL)


def parse_any(text: str, *, expected: bytes | None = None) -> TcpAddress | CircuitAddress:
    """Parse a direct address, or ``…/p2p/RELAY/p2p-circuit`` with an optional ``/p2p/PEERID``.

    With ``expected`` a peer ID at the end must be of that device key. Raises ``BadAddress``.
    """
    before, circuit, after = text.partition("/p2p-circuit")
    if not circuit:
        return parse_address(text, expected=expected)
    if len(text.encode("utf-8", "replace")) > limits.ADDRESS_BYTES_MAX:
        raise BadAddress(address=text[:60] + "…", cause="it is too long")
    relay = parse_relay(before)
    if after:
        parts = after.split("/")
        if len(parts) != 3:
            raise BadAddress(address=repr(text), cause="it is no address through one relay")
        _check_peer(text, parts[1], parts[2], expected)
    return CircuitAddress(relay.place, relay.device)


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where a relay (``device``: key of 32 bytes) is, and the token that its operator gave out."""

    place: TcpAddress
    device: bytes
    token: str = ""

    def __str__(self) -> str:
        token = f"/{TOKEN}/{self.token}" if self.token else ""
        return f"{self.place}/p2p/{peer_id_text(self.device)}{token}"

    @property
    def circuit(self) -> str:
        """Where a device is called through it; without the token."""
        return str(CircuitAddress(self.place, self.device))


TOKEN = "p2psync-token"  # noqa: S105 - the name of the part, no token
_TOKEN_TEXT = re.compile(rf"[1-9A-HJ-NP-Za-km-z]{{1,{limits.RELAY_TOKEN_BYTES_MAX}}}")


def is_token(text: str) -> bool:
    """Whether a text can be a relay's token: 1 to 64 characters of the base58 alphabet."""
    return _TOKEN_TEXT.fullmatch(text) is not None


def parse_relay(text: str) -> RelayAddress:
    """Parse ``…/tcp/PORT[/ws]/p2p/RELAY``, perhaps with ``/p2psync-token/TOKEN`` behind it.

    A token is text in the alphabet of base58. Raises ``BadAddress``, which does not show it.
    """
    address, mark, token = text.strip().partition(f"/{TOKEN}/")
    if mark and not is_token(token):
        raise BadAddress(address=repr(address), cause="its token is none")
    place = parse_address(address)
    peer = address.rpartition("/p2p/")[2]
    if "/p2p/" not in address:
        raise BadAddress(address=repr(address), cause="it does not name the relay's peer ID")
    return RelayAddress(place, device_of_peer_id(peer), token)


def parse_address(text: str, *, expected: bytes | None = None) -> TcpAddress:
    """Parse ``/ip4|ip6|dns|dns4|dns6/HOST/tcp/PORT``, perhaps with ``/ws``, ``/tls/ws``, ``/wss``
    or ``/tls/sni/NAME/ws`` and then ``/p2p/PEERID`` behind it.

    With ``expected`` a peer ID in the address must be of that device key. Raises ``BadAddress``.
    """
    if len(text.encode("utf-8", "replace")) > limits.ADDRESS_BYTES_MAX:
        raise BadAddress(address=text[:60] + "…", cause="it is too long")
    parts = text.split("/")
    if len(parts) < 5 or parts[0] != "" or parts[3] != "tcp":
        raise BadAddress(address=repr(text), cause=_NO_ADDRESS)
    port = parts[4]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF):
        raise BadAddress(address=repr(text), cause="its port is no number up to 65535")
    web, name, rest = _web(text, parts[5:])
    match rest:
        case []:
            pass
        case [protocol, peer]:
            _check_peer(text, protocol, peer, expected)
        case _:
            raise BadAddress(address=repr(text), cause=_NO_ADDRESS)
    host = parts[2]
    match parts[1]:
        case "ip4" | "ip6" as family:
            return TcpAddress(family, _ip(text, family, host), int(port), web, name)
        case "dns" | "dns4" | "dns6" as family:
            if not is_dns_name(host):
                raise BadAddress(address=repr(text), cause="its host is no DNS name")
            return TcpAddress(family, host, int(port), web, name)
        case _:
            raise BadAddress(address=repr(text), cause=_NO_ADDRESS)


_NO_ADDRESS = "it is no direct TCP multiaddr"


def _web(text: str, parts: list[str]) -> tuple[Web, str, list[str]]:
    """What stands behind the port: how it is spoken to, the name for TLS, and the rest."""
    match parts:
        case ["ws", *rest]:
            return "ws", "", rest
        case ["wss", *rest] | ["tls", "ws", *rest]:
            return "wss", "", rest
        case ["tls", "sni", name, "ws", *rest]:
            if not is_dns_name(name):
                raise BadAddress(address=repr(text), cause="its name for TLS is no DNS name")
            return "wss", name, rest
        case ["tls", *_]:
            raise BadAddress(address=repr(text), cause="TLS is spoken below /ws alone")
        case rest:
            return "", "", rest


def is_dns_name(text: str) -> bool:
    """Whether a text has the form of a DNS name."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def _check_peer(text: str, protocol: str, peer: str, expected: bytes | None) -> None:
    try:
        device = device_of_peer_id(peer) if protocol == "p2p" else None
    except BadInputError as error:
        raise BadAddress(address=repr(text), cause=error.text) from None
    if device is None:
        raise BadAddress(address=repr(text), cause=_NO_ADDRESS)
    if expected is not None and device != expected:
        raise BadAddress(address=repr(text), cause="it names another device")


def _ip(text: str, family: str, host: str) -> str:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise BadAddress(address=repr(text), cause="its host is no IP address") from None
    if ip.version != (4 if family == "ip4" else 6) or "%" in host:
        raise BadAddress(address=repr(text), cause=f"its host is no {family} address")
    return str(ip)


def address_of(host: str, port: int) -> TcpAddress:
    """The address of an IP host and port as a socket reports them.

    A zone is cut off, and an IPv4 address mapped into IPv6 becomes IPv4 again.
    """
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return TcpAddress("ip4" if ip.version == 4 else "ip6", str(ip), port)


def interface_hosts() -> tuple[str, ...]:
    """The IP addresses of this machine's interfaces, loopback last.

    Link-local IPv6 addresses are left out: they mean nothing without a zone, and a zone means
    nothing on another machine. While the system cannot tell (it is out of descriptors), what it
    told last counts.
    """
    hosts: list[str] = []
    try:
        adapters = tuple(ifaddr.get_adapters())
    except OSError as error:
        logger.warning("the addresses of this machine cannot be read: %s", error)
        return _told_last[0]
    for adapter in adapters:
        for entry in adapter.ips:
            host = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            ip = ipaddress.ip_address(host.partition("%")[0])
            link_local_6 = ip.version == 6 and ip.is_link_local
            if not (link_local_6 or ip.is_unspecified or ip.is_multicast):
                hosts.append(str(ip))
    _told_last[0] = tuple(sorted(dict.fromkeys(hosts), key=_preference))
    return _told_last[0]


_told_last: list[tuple[str, ...]] = [()]
"""What ``interface_hosts`` returned last."""


def _preference(host: str) -> tuple[bool, bool]:
    ip = ipaddress.ip_address(host)
    return (ip.is_loopback, ip.version == 6)


def dialable(listening: Sequence[TcpAddress], hosts: Iterable[str]) -> tuple[str, ...]:
    """Where listeners can be reached: a wildcard becomes every host of its family.

    Keeps the order of ``hosts``; loopback comes last.
    """
    found: list[str] = []
    hosts = tuple(hosts)
    for address in listening:
        if not address.is_wildcard:
            found.append(str(address))
            continue
        found.extend(
            str(replace(address, host=host))
            for host in hosts
            if (":" in host) == (address.family == "ip6")
        )

    def loopback(text: str) -> bool:
        return ipaddress.ip_address(text.split("/")[2]).is_loopback

    return tuple(sorted(dict.fromkeys(found), key=loopback))
