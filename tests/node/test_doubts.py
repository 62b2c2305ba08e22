"""B-NET-2: a member that is not heard through its relay is called in other ways."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import trio
from trio.testing import MockClock

from p2psync.errors import PeerUnreachable
from p2psync.node.doubts import AGAIN_SECONDS, Doubts
from p2psync.node.node import Node

MEMBER, STRANGER = b"m" * 32, b"s" * 32
FIRST, SECOND = "/p2p/first/p2p-circuit", "/p2p/second/p2p-circuit"
WAYS = (f"/ip4/10.0.0.1/tcp/4001{FIRST}", f"/ip4/10.0.0.2/tcp/4001{SECOND}", "/ip4/10.0.0.3/tcp/1")


class FakeNode:
    """What a doubt asks of a node."""

    def __init__(self, nursery: trio.Nursery, ways: Sequence[str]) -> None:
        self.engine = self.transport = self
        self.reachable = True
        self.calls: list[tuple[bytes, list[str]]] = []
        self.links: list[str] = []
        self._nursery = nursery
        self._ways = ways

    def known_addresses(self, device: bytes) -> Sequence[str]:
        return self._ways

    def known(self, device: bytes) -> bool:
        return device == MEMBER

    def start_soon(self, run: Callable[[], Awaitable[object]]) -> None:
        self._nursery.start_soon(run)

    async def dial(self, device: bytes, addresses: Sequence[str]) -> str:
        self.calls.append((device, list(addresses)))
        if not self.reachable:
            raise PeerUnreachable(device="", causes="")
        return addresses[0]

    async def accept(self, link: str) -> None:
        self.links.append(link)


async def test_b_net_2_other_ways_are_tried_and_the_one_in_doubt_is_not(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        node = FakeNode(nursery, WAYS)
        doubts = Doubts(cast(Node, node))
        doubts.on_doubt(MEMBER, FIRST)
        doubts.on_doubt(MEMBER, FIRST)
        doubts.on_doubt(STRANGER, FIRST)
        await trio.sleep(1)
        assert node.calls == [(MEMBER, list(WAYS[1:]))]
        assert node.links == [WAYS[1]]
        await trio.sleep(AGAIN_SECONDS)
        node.reachable = False
        doubts.on_doubt(MEMBER, SECOND)
        await trio.sleep(1)
        assert node.calls[1:] == [(MEMBER, [WAYS[0], WAYS[2]])]
        assert len(node.links) == 1


async def test_b_net_2_without_another_way_nothing_is_done(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        node = FakeNode(nursery, WAYS[:1])
        Doubts(cast(Node, node)).on_doubt(MEMBER, FIRST)
        await trio.sleep(1)
        assert not node.calls
