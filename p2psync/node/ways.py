"""Tells people when the way to a member is another one for good (B-NET): quietly.

A way is told once it has lasted, and only when it differs from the last that was known: neither
the first after a start, nor a member that comes and goes, nor a link that is just being replaced.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from p2psync.node import views
from p2psync.node.reach import reached

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
LASTING_SECONDS = 15.0
"""So long a way must have lasted before it is told."""


class Ways:
    """The ways to all members of one node."""

    def __init__(self, node: "Node", lasting_seconds: float = LASTING_SECONDS) -> None:
        self._node = node
        self.lasting_seconds = lasting_seconds
        self._known: dict[bytes, Json] = {}
        """The way to each device that was last known to last."""
        self._looking: set[bytes] = set()

    def look_at(self, device: bytes) -> None:
        """A link to a device came or went: see what becomes of it."""
        if device not in self._looking:
            self._looking.add(device)
            self._node.start_soon(partial(self._look_soon, device))

    async def _look_soon(self, device: bytes) -> None:
        before = None
        try:
            while True:
                await trio.sleep(self.lasting_seconds)
                current = self._way(device)
                if current == before:
                    break
                before = current  # it changed meanwhile: wait until it stays
        finally:
            self._looking.discard(device)
        if current is None:
            return
        known = self._known.get(device)
        self._known[device] = current
        if known is not None and known != current:
            self._tell(device, current)

    def _way(self, device: bytes) -> Json | None:
        """How a device is reached now, without since when."""
        node = self._node
        for opened in node.opened.values():
            for peer in node.engine.peers(opened.id):
                if peer.device == device and peer.online:
                    found = reached(peer, node.relays.host_of)
                    if found is not None:
                        return {name: each for name, each in found.items() if name != "since"}
        return None

    def _tell(self, device: bytes, way: Json) -> None:
        node = self._node
        met = [each for each in node.opened.values() if each.replica.is_member(device)]
        if not met:
            return
        node.notices.message(
            "way-changed",
            "{who} is reached on the LAN now"
            if way["how"] == "lan"
            else "{who} is reached through {relay} now"
            if way["how"] == "relayed"
            else "{who} is reached directly now, through the routers of both sides"
            if way["how"] == "punched"
            else "{who} is reached directly now",
            device=device,
            data={"reached": way},
            who=views.person(met[0].state, device),
            relay=str(way.get("relay", "")),
        )
