"""A device that gets an earlier log of its own from others."""

from p2psync.engine.effects import PeerChanged
from tests.engine.joined import Network, mandate_of_two
from tests.engine.machine import Disk, key_of


def test_who_lost_everything_but_its_key_is_in_step_again_at_once() -> None:
    """Its peer hears that the old log arrived, though it comes back as the device's own push."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    network.settle(1)
    network.stop("ben")
    again = network.machine("ben", Disk(key_of("ben")))
    assert again.device == ben.device
    anna.log.clear()
    again.subscribe(ticket)
    network.settle(3)
    assert again.engine.replica(mandate).tips() == anna.engine.replica(mandate).tips()
    assert PeerChanged(mandate, again.device, "synced") in anna.log
    assert anna.engine.in_step(mandate)
    assert again.engine.in_step(mandate)
