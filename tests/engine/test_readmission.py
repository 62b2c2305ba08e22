"""A device that is readmitted over a link that stands: what it said meanwhile was passed over."""

from p2psync.core.ops import Rename
from p2psync.engine import wire
from tests.engine.joined import Network, join, mandate_of_two


def test_that_it_has_all_content_is_heard_when_it_is_readmitted() -> None:
    """It had said that it fetches content, and was done while it was removed."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    (link,) = network.links_of("ben")
    (handle,) = [h for h, each in anna.engine._links[link].mandates.items() if each == mandate]
    network.inject(anna, link, wire.encode(wire.Content(handle, 1)))
    assert not anna.engine.in_step(mandate)
    anna.remove(mandate, ben.device)
    network.inject(anna, link, wire.encode(wire.Content(handle, 0)))
    network.settle(2)
    anna.readmit(mandate, ben.device)
    network.settle(2)
    assert network.links_of("ben") == [link]
    assert anna.engine.in_step(mandate)
    assert ben.engine.in_step(mandate)


def test_what_it_wrote_meanwhile_is_there_at_once_when_it_is_readmitted() -> None:
    """It does not wait until the next time that it tells what it holds."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    anna.remove(mandate, carl.device)
    network.settle(2)
    carl.author(mandate, Rename("written outside"))
    network.settle(2)
    anna.readmit(mandate, carl.device)
    network.settle(5)
    for machine in (anna, ben, carl):
        assert machine.engine.replica(mandate).state.name == "written outside"
        assert machine.engine.in_step(mandate)
