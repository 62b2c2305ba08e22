"""Calls that leave from the port on which this node listens, so that a NAT maps both alike.

A second node must still find the port taken. So a listener is bound alone first, as ever, and
allows company only when it listens already; who calls from its port asks for company at once.
Where a system has no such option (Windows), calls leave from any port.
"""

import ipaddress
import socket
from collections.abc import Sequence

import trio

from p2psync.network.address import TcpAddress

SHARED_SECONDS = 3.0
_REUSE_PORT: int | None = getattr(socket, "SO_REUSEPORT", None)


def share_port(listener: trio.SocketListener) -> None:
    """Let calls leave from a listener's port; it must be bound already.

    Whoever binds the port without asking for company is refused as before, and only a process of
    the same user may ask.
    """
    if _REUSE_PORT is not None:
        listener.socket.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)


def source_for(target: TcpAddress, listening: Sequence[TcpAddress]) -> TcpAddress | None:
    """From which listening address a call to an IP address leaves; None when there is none."""
    if _REUSE_PORT is None or target.web or target.family not in ("ip4", "ip6"):
        return None
    for address in listening:
        fits = address.family == target.family and not address.web
        if fits and (address.is_wildcard or _is_near(address, target)):
            return address
    return None


def _is_near(address: TcpAddress, target: TcpAddress) -> bool:
    """Loopback reaches loopback alone."""
    ends = (ipaddress.ip_address(address.host), ipaddress.ip_address(target.host))
    return ends[0].is_loopback == ends[1].is_loopback


async def connect_from(source: TcpAddress, target: TcpAddress) -> trio.SocketStream:
    """Call an IP address from a listener's own address and port; raises ``OSError``.

    Two that call one another so at once get one connection (RFC 9293, 3.5).
    """
    assert _REUSE_PORT is not None
    family = socket.AF_INET if target.family == "ip4" else socket.AF_INET6
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, _REUSE_PORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        await sock.bind((source.host, source.port))
        await sock.connect((target.host, target.port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def connect_shared(target: TcpAddress, listening: Sequence[TcpAddress]) -> trio.SocketStream:
    """Call an address or a name from a listening port if it can be had; raises ``OSError``.

    Of a name the first IPv4 address is called, for IPv4 is what NATs are about. Waits no longer
    than ``SHARED_SECONDS``: whoever calls this calls in another way next.
    """
    with trio.move_on_after(SHARED_SECONDS):
        if target.family in ("dns", "dns4") and not target.web:
            found = await trio.socket.getaddrinfo(
                target.host, target.port, family=socket.AF_INET, type=socket.SOCK_STREAM
            )
            target = TcpAddress("ip4", str(found[0][4][0]), target.port)
        source = source_for(target, listening)
        if source is None:
            raise OSError("nothing listens where a call could leave from")
        return await connect_from(source, target)
    raise OSError("no answer in time")
