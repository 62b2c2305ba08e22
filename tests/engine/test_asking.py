"""A member that hears of entries through another asks for all of them, at once."""

from p2psync.core.ops import Rename
from p2psync.engine import wire
from tests.engine.joined import Network, join, mandate_of_two


def test_what_is_announced_while_something_is_asked_for_is_asked_for_next() -> None:
    """Two saves of one author within a round trip, heard of through a third member: no deadline
    has to pass for the second.
    """
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    network.settle(5)
    ben.author(mandate, Rename("one"))
    ben.author(mandate, Rename("two"))
    network.settle()
    assert carl.engine.replica(mandate).state.name == "two"
    assert all(machine.engine.in_step(mandate) for machine in (anna, ben, carl))


def test_a_member_that_comes_back_hears_that_content_is_here_by_now() -> None:
    """It was last told that some is on its way, and took no part while that arrived."""
    network = Network()
    anna, _, mandate = mandate_of_two(network)
    exchange = anna.engine._held[mandate].exchange
    (session,) = exchange.sessions.values()
    exchange.content_lacking(1)
    session.told = False
    exchange.content_lacking(0)
    exchange._refresh(session)
    sent = [
        wire.decode(effect.frame) for effect in anna.engine._desk.out if hasattr(effect, "frame")
    ]
    assert [each.files for each in sent if isinstance(each, wire.Content)] == [1, 0]
