"""Mandates that were closed or left, and go on again: who waited meanwhile is admitted."""

import pytest

from p2psync.core.ops import Close, Leave, Operation, Reopen, Return
from tests.engine.joined import Network, mandate_of_two
from tests.engine.machine import Machine


def undo(anna: Machine, mandate: bytes) -> Operation:
    closed = anna.engine.replica(mandate).state.standing.closed
    return Reopen(tuple(each.id for each in closed)) if closed else Return()


@pytest.mark.parametrize("operation", [Close(), Leave()])
def test_who_asked_while_nobody_could_admit_is_admitted_when_that_is_undone(
    operation: Operation,
) -> None:
    """B-REM-5, B-REM-6: the link stays up all the time."""
    network = Network()
    anna, ben = network.machine("anna"), network.machine("ben")
    mandate = anna.create()
    ticket = anna.invite(mandate)
    anna.author(mandate, operation)
    ben.subscribe(ticket)
    network.settle(1)
    assert not anna.engine.replica(mandate).is_member(ben.device)
    anna.author(mandate, undo(anna, mandate))
    network.settle(1)
    assert anna.engine.replica(mandate).is_member(ben.device)
    assert ben.engine.replica(mandate).is_member(ben.device)


def test_two_that_left_and_came_back_while_apart_meet_again() -> None:
    """(Seed 642 of the simulator: each believed the other gone, and waited to be dialled.)"""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    for machine in (anna, ben):
        machine.author(mandate, Leave())
    network.settle(1)
    network.reachable = False
    for link in network.links_of("anna"):
        network.cut(link)
    network.settle(1)
    for machine in (anna, ben):
        machine.author(mandate, Return())
    network.reachable = True
    network.settle(300)
    tips = [machine.engine.replica(mandate).tips() for machine in (anna, ben)]
    assert tips[0] == tips[1]
    assert not anna.engine.replica(mandate).state.standing.left()
