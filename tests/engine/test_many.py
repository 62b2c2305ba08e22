"""Many mandates between the same devices: one link, and nothing for each that need not be."""

from collections import Counter

import pytest

from tests.engine.joined import Network
from tests.engine.machine import Machine


def shared(network: Network, count: int) -> tuple[Machine, Machine, list[bytes]]:
    """Anna and Ben have so many mandates in common and are in step."""
    anna, ben = network.machine("anna"), network.machine("ben")
    mandates = [anna.create() for _ in range(count)]
    for mandate in mandates:
        ben.subscribe(anna.invite(mandate))
    network.settle(2)
    return anna, ben, mandates


def in_step(machine: Machine, mandates: list[bytes]) -> bool:
    return all(
        machine.engine.in_step(mandate) and machine.engine.meets_anybody(mandate)
        for mandate in mandates
    )


def kinds_since(network: Network, before: int) -> Counter[str]:
    return Counter(type(message).__name__ for _, message in network.sent[before:])


@pytest.mark.parametrize("count", [1, 30])
def test_a_restart_costs_one_link_and_one_frame_a_mandate_and_side(count: int) -> None:
    network = Network()
    anna, _, mandates = shared(network, count)
    disk = network.stop("ben")
    network.settle(1)
    before = len(network.sent)
    ben = network.machine("ben", disk)
    network.settle(5)
    assert in_step(anna, mandates) and in_step(ben, mandates)
    assert len(network.links) == 1
    kinds = kinds_since(network, before)
    assert kinds.pop("Frontier") == 2 * count
    assert set(kinds) <= {"Hello", "Offer", "Accept", "Contact", "Sequences"}
    assert kinds.total() <= 10


def test_mandates_in_step_are_silent() -> None:
    """After a first time to say anew what is here, nothing for eight minutes."""
    network = Network()
    anna, ben, mandates = shared(network, 10)
    network.settle(100)
    before = len(network.sent)
    network.settle(400)
    assert in_step(anna, mandates) and in_step(ben, mandates)
    assert kinds_since(network, before) == Counter()


def test_mandates_without_a_link_set_no_timers() -> None:
    """Only the device that is not there has one, for the next dial."""
    network = Network()
    anna, _, mandates = shared(network, 10)
    network.reachable = False
    network.stop("ben")
    network.settle(200)
    assert not any(anna.engine.meets_anybody(mandate) for mandate in mandates)
    dials, end = [], network.now + 600
    while (wake := anna.engine.next_wake()) is not None and wake < end:
        dials.append(wake)
        network.settle(wake - network.now)
    assert 5 <= len(dials) <= 20  # one a minute or so, however many mandates
