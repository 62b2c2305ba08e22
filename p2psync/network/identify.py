"""The two small protocols that every libp2p peer expects to find: identify and ping.

Sources: libp2p specs, identify/README.md and ping/ping.md. A stranger learns our public key, which
the handshake has told it already, its own address as we see it, and the protocols we speak; no
version, no user or machine name, no list of our addresses.
"""

from collections.abc import Collection

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.errors import BadInputError
from p2psync.network.address import TcpAddress
from p2psync.network.identity import KEY_PREFIX
from p2psync.network.multiaddr import read_tcp, tcp_bytes
from p2psync.network.negotiation import varint
from p2psync.network.protobuf import bytes_field, bytes_fields
from p2psync.network.stream import Stream

PROTOCOL = "/ipfs/id/1.0.0"
PING_PROTOCOL = "/ipfs/ping/1.0.0"
_PING_BYTES = 32
_PUBLIC_KEY, _PROTOCOLS, _OBSERVED_ADDRESS, _PROTOCOL_VERSION, _AGENT_VERSION = 1, 3, 4, 5, 6
AGENT = "p2psync"


def identify_message(device: bytes, remote: TcpAddress | None, spoken: Collection[str]) -> bytes:
    """What we tell a peer about ourselves: a varint length and the Identify protobuf."""
    body = bytes_field(_PUBLIC_KEY, KEY_PREFIX + device)
    for protocol in sorted(spoken):
        body += bytes_field(_PROTOCOLS, protocol.encode())
    if remote is not None:
        body += bytes_field(_OBSERVED_ADDRESS, tcp_bytes(remote))
    body += bytes_field(_PROTOCOL_VERSION, b"p2psync/1")
    body += bytes_field(_AGENT_VERSION, AGENT.encode())
    return varint(len(body)) + body


async def ask_observed(stream: Stream) -> TcpAddress | None:
    """Where the peer sees us, out of its identify message; ``None`` when it tells no such address.

    Raises ``LinkBroken`` for a message that is none or has over ``limits.IDENTIFY_BYTES_MAX``.
    """
    try:
        with trio.fail_after(limits.RELAY_ANSWER_SECONDS_MAX):
            length = 0
            for shift in (0, 7, 14):
                (byte,) = await stream.read_exactly(1)
                length |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
            if byte >= 0x80 or not 0 < length <= limits.IDENTIFY_BYTES_MAX:
                raise LinkBroken("an identify message of a wrong length")
            message = await stream.read_exactly(length)
    except trio.TooSlowError:
        raise LinkBroken("the peer did not identify itself in time") from None
    return read_observed(message)


def read_observed(message: bytes) -> TcpAddress | None:
    """The observed address in an identify message without its length.

    Raises ``LinkBroken`` for what is no protobuf.
    """
    try:
        told = bytes_fields(message).get(_OBSERVED_ADDRESS)
    except BadInputError as error:
        raise LinkBroken(f"an identify message that cannot be read: {error.text}") from None
    if told is None:
        return None
    try:
        address, _ = read_tcp(told)
    except BadInputError:
        return None
    return address if address.family in ("ip4", "ip6") and address.port else None


async def echo_pings(stream: Stream) -> None:
    """Send every 32 bytes back until the peer ends the stream; raises ``LinkBroken`` on a cut."""
    while True:
        await stream.more(0)
        if stream.ended and not stream.inbox:
            return
        try:
            await stream.write(await stream.read_exactly(_PING_BYTES))
        except LinkBroken:
            if stream.ended:
                return
            raise
