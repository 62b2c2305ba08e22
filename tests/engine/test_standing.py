"""Mandates that were closed or left, and go on again: who waited meanwhile is admitted."""

import pytest

from p2psync.core.ops import Close, Leave, Operation, Reopen, Return
from tests.engine.joined import Network
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
