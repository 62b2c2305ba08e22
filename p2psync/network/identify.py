"""The two small protocols that every libp2p peer expects to find: identify and ping.

Sources: libp2p specs, identify/README.md and ping/ping.md. A stranger learns our public key, which
the handshake has told it already, its own address as we see it, and the protocols we speak; no
version, no user or machine name, no list of our addresses.
"""

import ipaddress
from collections.abc import Collection

from libp2p.identity.identify.pb import identify_pb2

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.identity import KEY_PREFIX
from p2psync.network.muxer import Stream
from p2psync.network.negotiation import varint

PROTOCOL = "/ipfs/id/1.0.0"
PING_PROTOCOL = "/ipfs/ping/1.0.0"
_PING_BYTES = 32
_IP4, _TCP, _IP6 = 0x04, 0x06, 0x29
AGENT = "p2psync"


def identify_message(device: bytes, remote: TcpAddress | None, spoken: Collection[str]) -> bytes:
    """What we tell a peer about ourselves: a varint length and the Identify protobuf."""
    message = identify_pb2.Identify(
        protocol_version="p2psync/1",
        agent_version=AGENT,
        public_key=KEY_PREFIX + device,
        observed_addr=address_bytes(remote) if remote is not None else b"",
        protocols=sorted(spoken),
    )
    body = bytes(message.SerializeToString())
    return varint(len(body)) + body


def address_bytes(address: TcpAddress) -> bytes:
    """The binary multiaddr of an IP address and TCP port."""
    ip = ipaddress.ip_address(address.host)
    code = _IP4 if ip.version == 4 else _IP6
    return bytes([code]) + ip.packed + bytes([_TCP]) + address.port.to_bytes(2, "big")


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
