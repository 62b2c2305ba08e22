"""The two small protocols that every libp2p peer expects to find: identify and ping.

Sources: libp2p specs, identify/README.md and ping/ping.md. A stranger learns our public key, which
the handshake has told it already, its own address as we see it, and the protocols we speak; no
version, no user or machine name, no list of our addresses.
"""

from collections.abc import Collection

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.identity import KEY_PREFIX
from p2psync.network.multiaddr import tcp_bytes
from p2psync.network.negotiation import varint
from p2psync.network.protobuf import bytes_field
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
