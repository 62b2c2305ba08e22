"""A link whose place another takes ends in order, and sends no more content."""

import trio
import trio.testing

from p2psync.engine.effects import SendChunks, SendFrame
from p2psync.engine.ports import LinkEnded
from tests.node.test_links import Rig, pair

MANDATE = b"m" * 32


async def test_content_that_waits_for_a_replaced_link_is_not_sent_and_what_was_said_is(
    nursery: trio.Nursery,
) -> None:
    rig = Rig()
    nursery.start_soon(rig.runner.run)
    mine, peer = pair()
    nursery.start_soon(rig.links.serve, mine)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(4):
        rig.links.send(SendChunks(1, 2, MANDATE, (bytes([number]) * 32,)))
    first = await peer.receive()
    rig.links.send(SendFrame(1, b"said before"))
    rig.links.close(1, "")
    frames = [first]
    with trio.fail_after(10):
        try:
            while True:
                frames.append(await peer.receive())
        except LinkEnded:
            pass
    assert b"said before" in frames
    assert len(frames) < 100, "not even the one content that had begun is sent whole"
    assert [down.clean for down in rig.downs()] == [False]
    nursery.cancel_scope.cancel()
