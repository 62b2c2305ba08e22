"""Another way to a member that is not heard through its relay any more, before the link is lost.

A relay that is gone without a word is told from a quiet member only after a while, and a person who
saves meanwhile would notice. So a link through a relay that gives no sign of life soon after
something was sent is doubted: the member is called in all other ways, and the link that comes up
takes the place of the one that stands. If none does, nothing has changed.
"""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from p2psync.errors import P2PSyncError

if TYPE_CHECKING:
    from p2psync.node.node import Node

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""A member is called so at most once in this time."""


class Doubts:
    """All members whose links are doubted."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._looked_at: dict[bytes, float] = {}

    def on_doubt(self, device: bytes, address: str) -> None:
        """Nothing was heard from a device (32 bytes) on the link with this address."""
        now = trio.current_time()
        for known, looked_at in list(self._looked_at.items()):
            if now - looked_at >= AGAIN_SECONDS:
                del self._looked_at[known]
        others = [
            each for each in self._node.engine.known_addresses(device) if not each.endswith(address)
        ]
        if not others or device in self._looked_at or not self._node.known(device):
            return
        self._looked_at[device] = now
        self._node.start_soon(partial(self._call, device, others))

    async def _call(self, device: bytes, addresses: Sequence[str]) -> None:
        transport = self._node.transport
        if transport is None:
            return
        try:
            link = await transport.dial(device, addresses)
        except (P2PSyncError, OSError) as error:
            logger.debug("no other way to a member that is not heard: %s", error)
            return
        await self._node.accept(link)
