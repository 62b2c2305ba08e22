"""How each member is reached, for people (B-NET): on the LAN, directly, through a hole that was
punched, or through which relay; and whether this node can be called from outside."""

from collections.abc import Callable
from typing import Any

import trio

from p2psync.engine.engine import PeerStatus
from p2psync.engine.ports import Transport
from p2psync.errors import BadInputError
from p2psync.network.address import parse_address
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import device_of_peer_id
from p2psync.network.link import PUNCHED
from p2psync.node import views
from p2psync.node.runner import wall_ms

Json = dict[str, Any]


def reached(peer: PeerStatus, relay_host: Callable[[bytes], str]) -> Json | None:
    """``{"how", "relay"?, "since"}`` of a member that a link is up with; ``None`` of any other.

    ``how`` is ``lan``, ``direct``, ``punched`` or ``relayed``: on one network, by an address that
    anybody can call, through two NATs that both ends called at once, or through a relay.
    ``relay_host`` names a relay by its key.
    """
    if not peer.online:
        return None
    since = 0 if peer.since is None else 1000 * (trio.current_time() - peer.since)
    return {**_way(peer.address, relay_host), "since": views.iso(wall_ms() - int(since))}


def outside(transport: Transport | None) -> Json:
    """``{"reach", "addresses"}``: whether this node can be called from outside (``public``,
    ``private`` or ``unknown``), and where it is seen there."""
    if not isinstance(transport, Libp2pTransport):
        return {"reach": "unknown", "addresses": []}
    seen = [str(each) for each in transport.reaching.candidates()]
    return {"reach": transport.reaching.reach(), "addresses": seen}


def _way(address: str, relay_host: Callable[[bytes], str]) -> Json:
    if address.endswith(PUNCHED):
        return {"how": "punched"}
    parts = address.split("/")
    if parts[-1] == "p2p-circuit":
        return {"how": "relayed", "relay": relay_host(device_of_peer_id(parts[-2]))}
    try:
        found = parse_address(address)
    except BadInputError:
        return {"how": "direct"}  # an address that this transport does not show
    return {"how": "lan" if found.is_local else "direct"}
