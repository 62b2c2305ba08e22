"""WebSocket's opening handshake (RFC 6455, section 4), by the ``wsproto`` package.

The only file that imports it. A client proposes no subprotocol and no extension, as js-libp2p; any
path is answered.
"""

import ipaddress
from collections.abc import Collection

import trio
from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress, address_of
from p2psync.network.bytestream import Channel
from p2psync.network.http_head import HeadRefused, read_answer, read_head

_TEXT = b"This port speaks WebSocket, and nothing else.\n"
_GOODBYE_SECONDS = 1.0
_UNREAD_BYTES_MAX = 16 * limits.HTTP_HEAD_BYTES_MAX
"""Who sends more after its request loses the answer."""
_WRONG = (RemoteProtocolError, LocalProtocolError, ValueError, KeyError)
"""What the package raises for what a peer may send; bad text raises a ``ValueError``."""


async def open_websocket(channel: Channel, host: str) -> None:
    """Shake hands as the client; ``host`` with its port, as the ``Host`` header says it.

    Raises ``LinkBroken``, which tells what answered instead.
    """
    handshake = H11Handshake(ConnectionType.CLIENT)
    await channel.send(handshake.send(Request(host=host, target="/")))
    try:
        head = await read_head(channel)
        answer = read_answer(head)
        if answer.status != 101:
            raise LinkBroken(
                f"a web server answers there, and no WebSocket: {answer.status} {answer.reason}"
            )
        handshake.receive_data(head)
        event = next(handshake.events(), None)
    except HeadRefused as error:
        raise LinkBroken(f"what answers there is no web server: {error}") from None
    except _WRONG as error:
        raise LinkBroken(f"the WebSocket handshake failed: {error}") from None
    if not isinstance(event, AcceptConnection):
        raise LinkBroken("the WebSocket handshake failed: the answer cannot be read")


async def accept_websocket(channel: Channel, trusted: Collection[str] = ()) -> TcpAddress | None:
    """Shake hands as the server; what asks for no WebSocket gets a short answer.

    Returns who calls when a reverse proxy whose IP address is ``trusted`` says so in
    ``X-Forwarded-For``, with port 0; None for everybody else. Raises ``LinkBroken``.
    """
    handshake = H11Handshake(ConnectionType.SERVER)
    status = b"400 Bad Request"
    try:
        head = await read_head(channel)
        handshake.receive_data(head)
        event = next(handshake.events(), None)
        if not isinstance(event, Request):
            raise HeadRefused("the request cannot be read")
        answer = handshake.send(AcceptConnection())
    except (HeadRefused, *_WRONG) as error:
        if "Missing header" in str(error):  # Good HTTP, which only asks for something else.
            status = b"426 Upgrade Required"
        await _refuse(channel, status)
        raise LinkBroken(f"no WebSocket was asked for: {error}") from None
    await channel.send(answer)
    return _forwarded(event, channel, trusted)


async def _refuse(channel: Channel, status: bytes) -> None:
    with trio.move_on_after(_GOODBYE_SECONDS):
        await channel.send(
            b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nConnection: close\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: "
            + str(len(_TEXT)).encode()
            + b"\r\n\r\n"
            + _TEXT
        )
        channel.end()
        # Closed while something is unread, a connection takes back what was answered.
        left = _UNREAD_BYTES_MAX
        with memoryview(bytearray(4096)) as scratch:
            while left > 0 and (count := channel.receive_now(scratch)) != 0:
                if count is None:
                    await channel.readable()
                else:
                    left -= count


def _forwarded(request: Request, channel: Channel, trusted: Collection[str]) -> TcpAddress | None:
    if channel.remote is None or channel.remote.host not in trusted:
        return None
    said = [value for name, value in request.extra_headers if name.lower() == b"x-forwarded-for"]
    # Only the last one was written by the proxy; the others may be the caller's own.
    last = b",".join(said).rpartition(b",")[2].strip().decode("latin-1")
    try:
        return address_of(str(ipaddress.ip_address(last)), 0)
    except ValueError:
        return None
