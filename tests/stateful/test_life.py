"""A hundred histories of the state machine of ``life_machine``; ``scripts/histories`` runs more."""

from hypothesis import HealthCheck, settings

from tests.stateful.life_machine import LifeMachine

TestLife = LifeMachine.TestCase
TestLife.settings = settings(
    max_examples=100,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_b_rem_6_who_leaves_with_files_of_its_own_comes_back() -> None:
    """Found by the machine: files that are detached have no name any more."""
    machine = LifeMachine()
    try:
        machine.found()
        machine.remove(name="ben", at=0)
        machine.restore(at=0)
    finally:
        machine.teardown()
