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
