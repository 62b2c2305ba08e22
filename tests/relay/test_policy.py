"""Who may use a relay, and how much."""

from dataclasses import dataclass, field

import pytest

from p2psync.network.access import Access
from p2psync.network.circuit import Limit, Status
from p2psync.relay.circuits import OverLimit
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.policy import TokenPolicy

ANNA, BEN, CARL, EVE = (bytes([number]) * 32 for number in range(4))
HERE, THERE = "192.0.2.1", "198.51.100.1"
OFFICE = Token("Office", "office", expires=2_000.0, devices_max=2, day_bytes_max=1_000)
OTHER = Token("Other", "other")


@dataclass
class Desk:
    """A policy with a clock and reservations that a test turns."""

    config: RelayConfig = field(default_factory=lambda: RelayConfig(tokens=(OFFICE, OTHER)))
    now: float = 1_000.0
    reserved: set[bytes] = field(default_factory=set)
    circuits: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy = TokenPolicy(
            self.config,
            lambda: self.now,
            lambda device: device in self.reserved,
            lambda device: self.circuits.get(device, 0),
        )

    def let_in(self, *devices: bytes, secret: bytes = b"office") -> None:
        for device in devices:
            assert self.policy.show(device, secret) is Access.GRANTED
            assert self.policy.may_reserve(device, HERE) is Status.OK
            self.reserved.add(device)


def test_who_shows_a_token_reserves_and_calls() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    assert desk.policy.may_connect(ANNA, BEN) is Status.OK
    desk.policy.carried(ANNA, BEN, 400)
    assert desk.policy.used(OFFICE) == 400


@pytest.mark.parametrize("shown", [b"", b"wrong", b"offic", b"office "])
def test_who_shows_none_or_a_wrong_one_does_neither(shown: bytes) -> None:
    desk = Desk()
    desk.let_in(ANNA)
    assert desk.policy.show(EVE, shown) is Access.UNKNOWN_TOKEN
    assert desk.policy.may_reserve(EVE, HERE) is Status.PERMISSION_DENIED
    assert desk.policy.may_connect(EVE, ANNA) is Status.PERMISSION_DENIED
    assert desk.policy.may_connect(ANNA, EVE) is Status.PERMISSION_DENIED
    assert desk.policy.refused["token"] == 1


def test_a_token_ends_with_its_time_also_for_circuits_that_are_open() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    desk.now = 2_000.0
    assert desk.policy.may_reserve(ANNA, HERE) is Status.PERMISSION_DENIED
    assert desk.policy.show(CARL, b"office") is Access.EXPIRED_TOKEN
    with pytest.raises(OverLimit):
        desk.policy.carried(ANNA, BEN, 1)


def test_a_tokens_devices_are_counted_and_renewals_are_not() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    assert desk.policy.may_reserve(ANNA, HERE) is Status.OK
    assert desk.policy.show(CARL, b"office") is Access.GRANTED
    assert desk.policy.may_reserve(CARL, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.let_in(EVE, secret=b"other")
    desk.reserved.discard(BEN)
    assert desk.policy.may_reserve(CARL, HERE) is Status.OK


def test_the_relays_devices_and_a_devices_circuits_are_counted() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), devices_max=1, circuits_per_device_max=2))
    desk.let_in(ANNA, secret=b"other")
    assert desk.policy.show(BEN, b"other") is Access.GRANTED
    assert desk.policy.may_reserve(BEN, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.circuits[BEN] = 2
    assert desk.policy.may_connect(BEN, ANNA) is Status.RESOURCE_LIMIT_EXCEEDED


def test_the_devices_of_an_address_are_counted_and_another_address_has_its_own() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), devices_per_address_max=2))
    desk.let_in(ANNA, BEN, secret=b"other")
    assert desk.policy.show(CARL, b"other") is Access.GRANTED
    assert desk.policy.may_reserve(CARL, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    assert desk.policy.refused["address"] == 1
    assert desk.policy.may_reserve(ANNA, HERE) is Status.OK  # renews
    assert desk.policy.may_reserve(CARL, THERE) is Status.OK
    desk.reserved.add(CARL)
    assert desk.policy.may_reserve(CARL, HERE) is Status.RESOURCE_LIMIT_EXCEEDED  # it moved
    # A device that goes to another address leaves room.
    assert desk.policy.may_reserve(BEN, THERE) is Status.OK
    assert desk.policy.may_reserve(CARL, HERE) is Status.OK


def test_a_days_bytes_are_counted_and_begin_anew_at_midnight() -> None:
    token = Token("Office", "office", day_bytes_max=1_000)
    desk = Desk(RelayConfig(tokens=(token,)))
    desk.let_in(ANNA, BEN)
    desk.policy.carried(ANNA, BEN, 1_000)
    assert desk.policy.may_connect(ANNA, BEN) is Status.RESOURCE_LIMIT_EXCEEDED
    with pytest.raises(OverLimit):
        desk.policy.carried(ANNA, BEN, 1)
    desk.now += 86_400
    assert desk.policy.may_connect(ANNA, BEN) is Status.OK
    assert desk.policy.used(token) == 0


def test_a_relay_for_everybody_asks_for_no_token() -> None:
    desk = Desk(RelayConfig(open=True, circuit_seconds=60, circuit_bytes=5))
    desk.let_in(ANNA, BEN, secret=b"")
    assert desk.policy.may_connect(ANNA, BEN) is Status.OK
    assert desk.policy.limit(ANNA, BEN) == Limit(60, 5)


def test_a_device_that_left_shows_its_token_again() -> None:
    desk = Desk()
    desk.let_in(ANNA)
    desk.policy.gone(ANNA)
    assert desk.policy.may_reserve(ANNA, HERE) is Status.PERMISSION_DENIED


def test_a_relay_that_stops_takes_nothing_new() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    desk.policy.closing = True
    assert desk.policy.may_reserve(CARL, HERE) is not Status.OK
    assert desk.policy.may_connect(ANNA, BEN) is not Status.OK
