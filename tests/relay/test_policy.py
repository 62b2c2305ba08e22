"""Who may use a relay, and how much."""

from dataclasses import dataclass, field

import pytest

from p2psync.network.access import Access, Shown
from p2psync.network.circuit import Limit, Status
from p2psync.relay.circuits import OverLimit
from p2psync.relay.config import Group, RelayConfig, Token
from p2psync.relay.policy import AccessPolicy, Passage
from p2psync.relay.quotas import Account

ANNA, BEN, CARL, EVE = (bytes([number]) * 32 for number in range(4))
HERE, THERE = "192.0.2.1", "198.51.100.1"
ATELIER, GARAGE, BAKERY = (bytes([number]) * 16 for number in range(3))
OFFICE = Token("Office", "office", expires=2_000.0, devices_max=2, day_bytes_max=1_000)
OTHER = Token("Other", "other")
Groups = tuple[bytes, ...]


@dataclass
class Desk:
    """A policy with a clock and reservations that a test turns."""

    config: RelayConfig = field(default_factory=lambda: RelayConfig(tokens=(OFFICE, OTHER)))
    now: float = 1_000.0
    reserved: set[bytes] = field(default_factory=set)
    circuits: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy = AccessPolicy(
            self.config,
            lambda: self.now,
            lambda device: device in self.reserved,
            lambda device: self.circuits.get(device, 0),
        )

    def show(self, device: bytes, secret: bytes, *groups: bytes) -> Access:
        return self.policy.show(device, Shown(secret, frozenset(groups)))

    def passage(self, source: bytes, target: bytes, origin: str = HERE) -> Passage:
        passage = self.policy.may_connect(source, target, origin)
        assert isinstance(passage, Passage)
        return passage

    def refused(self, source: bytes, target: bytes, origin: str = HERE) -> Status:
        status = self.policy.may_connect(source, target, origin)
        assert isinstance(status, Status)
        return status

    def used(self, token: Token) -> int:
        return self.policy.quotas.carried(Account("token", token.name.encode()))

    def let_in(self, *devices: bytes, secret: bytes = b"office", groups: Groups = ()) -> None:
        for device in devices:
            assert self.show(device, secret, *groups) is Access.GRANTED
            assert self.policy.may_reserve(device, HERE) is Status.OK
            self.reserved.add(device)


def test_who_shows_a_token_reserves_and_calls() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    desk.passage(ANNA, BEN).carried(400)
    assert desk.used(OFFICE) == 400


@pytest.mark.parametrize("shown", [b"", b"wrong", b"offic", b"office "])
def test_who_shows_none_or_a_wrong_one_does_neither(shown: bytes) -> None:
    desk = Desk()
    desk.let_in(ANNA)
    assert desk.show(EVE, shown) is Access.UNKNOWN_TOKEN
    assert desk.policy.may_reserve(EVE, HERE) is Status.PERMISSION_DENIED
    assert desk.refused(EVE, ANNA) is Status.PERMISSION_DENIED
    assert desk.refused(ANNA, EVE) is Status.PERMISSION_DENIED
    assert desk.policy.refused["token"] == 1


def test_a_token_ends_with_its_time_also_for_circuits_that_are_open() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    passage = desk.passage(ANNA, BEN)
    desk.now = 2_000.0
    assert desk.policy.may_reserve(ANNA, HERE) is Status.PERMISSION_DENIED
    assert desk.show(CARL, b"office") is Access.EXPIRED_TOKEN
    with pytest.raises(OverLimit):
        passage.carried(1)


def test_a_tokens_devices_are_counted_and_renewals_are_not() -> None:
    desk = Desk()
    desk.let_in(ANNA, BEN)
    assert desk.policy.may_reserve(ANNA, HERE) is Status.OK
    assert desk.show(CARL, b"office") is Access.GRANTED
    assert desk.policy.may_reserve(CARL, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.let_in(EVE, secret=b"other")
    desk.reserved.discard(BEN)
    assert desk.policy.may_reserve(CARL, HERE) is Status.OK


def test_the_relays_devices_and_a_devices_circuits_are_counted() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), devices_max=1, circuits_per_device_max=2))
    desk.let_in(ANNA, secret=b"other")
    assert desk.show(BEN, b"other") is Access.GRANTED
    assert desk.policy.may_reserve(BEN, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.circuits[BEN] = 2
    assert desk.refused(BEN, ANNA) is Status.RESOURCE_LIMIT_EXCEEDED


def test_the_devices_of_an_address_are_counted_and_another_address_has_its_own() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), devices_per_address_max=2))
    desk.let_in(ANNA, BEN, secret=b"other")
    assert desk.show(CARL, b"other") is Access.GRANTED
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
    passage = desk.passage(ANNA, BEN)
    passage.carried(1_000)
    assert desk.refused(ANNA, BEN) is Status.RESOURCE_LIMIT_EXCEEDED
    with pytest.raises(OverLimit):
        passage.carried(1)
    desk.now += 86_400
    desk.passage(ANNA, BEN)
    assert desk.used(token) == 0


def test_a_relay_for_everybody_asks_for_no_token() -> None:
    desk = Desk(RelayConfig(open=True, circuit_seconds=60, circuit_bytes=5))
    desk.let_in(ANNA, BEN, secret=b"")
    assert desk.passage(ANNA, BEN).limit == Limit(60, 5)


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
    assert desk.refused(ANNA, BEN) is Status.CONNECTION_FAILED


# -- groups ----------------------------------------------------------------------------------------


def a_desk(*groups: Group, others: Group | None = None) -> Desk:
    return Desk(RelayConfig(tokens=(OFFICE, OTHER), groups=groups, others=others or Group("", b"")))


def test_a_mandate_that_the_operator_named_is_let_in_without_a_token() -> None:
    desk = a_desk(Group("Atelier", ATELIER, expires=2_000.0))
    desk.let_in(ANNA, BEN, secret=b"", groups=(ATELIER, GARAGE))
    assert desk.show(CARL, b"", GARAGE) is Access.UNKNOWN_TOKEN
    desk.passage(ANNA, BEN)
    desk.now = 2_000.0
    assert desk.refused(ANNA, BEN) is Status.PERMISSION_DENIED
    assert desk.show(CARL, b"", ATELIER) is Access.UNKNOWN_TOKEN


def test_devices_meet_that_have_a_token_or_a_group_in_common_and_no_others() -> None:
    desk = a_desk()
    desk.let_in(ANNA, groups=(ATELIER,))
    desk.let_in(BEN)
    desk.let_in(CARL, secret=b"other", groups=(ATELIER, GARAGE))
    desk.let_in(EVE, secret=b"other")
    desk.passage(ANNA, BEN)
    desk.passage(ANNA, CARL)
    desk.passage(CARL, EVE)
    for one, other in ((ANNA, EVE), (EVE, BEN), (BEN, CARL)):
        assert desk.refused(one, other) is Status.PERMISSION_DENIED
        assert desk.refused(other, one) is Status.PERMISSION_DENIED


def test_a_groups_devices_are_counted_also_of_those_that_nobody_named() -> None:
    desk = a_desk(Group("Atelier", ATELIER, devices_max=1), others=Group("", b"", devices_max=2))
    desk.let_in(ANNA, secret=b"", groups=(ATELIER,))
    assert desk.show(BEN, b"", ATELIER) is Access.GRANTED
    assert desk.policy.may_reserve(BEN, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
    # A token lets it in all the same, and the group does not count.
    desk.let_in(BEN, groups=(ATELIER, GARAGE))
    assert desk.policy.devices_by(Account("group", ATELIER)) == 1
    desk.let_in(CARL, secret=b"other", groups=(GARAGE,))
    desk.let_in(EVE, secret=b"other", groups=(GARAGE,))
    assert desk.policy.devices_by(Account("group", GARAGE)) == 2
    assert desk.refused(BEN, EVE) is Status.PERMISSION_DENIED
    desk.passage(BEN, CARL)


def test_a_groups_circuits_and_bytes_are_counted_of_who_calls_and_who_is_called() -> None:
    desk = a_desk(Group("Atelier", ATELIER, circuits_max=1, day_bytes_max=500))
    desk.let_in(ANNA, BEN, secret=b"other", groups=(ATELIER,))
    first = desk.passage(ANNA, BEN)
    assert desk.refused(BEN, ANNA) is Status.RESOURCE_LIMIT_EXCEEDED
    first.carried(400)
    first.end()
    second = desk.passage(BEN, ANNA)
    with pytest.raises(OverLimit):
        second.carried(101)
    second.end()
    assert desk.refused(ANNA, BEN) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.now += 86_400
    desk.passage(ANNA, BEN)


def test_of_two_groups_in_common_the_one_with_room_carries() -> None:
    desk = a_desk(Group("Atelier", ATELIER, circuits_max=1), Group("Garage", GARAGE))
    desk.let_in(ANNA, BEN, secret=b"other", groups=(ATELIER, GARAGE, BAKERY))
    for group in (ATELIER, GARAGE, GARAGE):
        assert Account("group", group) in desk.passage(ANNA, BEN).accounts


def test_an_addresss_circuits_and_bytes_are_counted() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), circuits_per_address_max=1, address_day_bytes_max=500))
    desk.let_in(ANNA, BEN, secret=b"other")
    passage = desk.passage(ANNA, BEN)
    assert desk.refused(BEN, ANNA) is Status.RESOURCE_LIMIT_EXCEEDED
    desk.passage(BEN, ANNA, THERE)
    with pytest.raises(OverLimit):
        passage.carried(501)


# -- other settings --------------------------------------------------------------------------------


def test_who_may_stay_stays_when_the_settings_change() -> None:
    desk = a_desk(Group("Atelier", ATELIER))
    desk.let_in(ANNA, BEN, groups=(ATELIER,))
    desk.let_in(CARL, secret=b"other")
    desk.let_in(EVE, secret=b"other", groups=(ATELIER,))
    passage, other = desk.passage(ANNA, BEN), desk.passage(CARL, EVE)
    renamed = Token("Office Rivage", "office", day_bytes_max=700)
    gone = desk.policy.reload(RelayConfig(tokens=(renamed,), groups=(Group("Atelier", ATELIER),)))
    assert gone == [CARL]
    passage.carried(1)
    with pytest.raises(OverLimit):
        other.carried(1)
    assert desk.policy.may_reserve(EVE, HERE) is Status.OK
    assert desk.policy.devices_by(Account("token", renamed.name.encode())) == 2
    desk.passage(EVE, ANNA)
    desk.policy.reload(RelayConfig(tokens=(OTHER,)))
    for device in (ANNA, BEN, EVE):
        assert desk.policy.granted(device) is None
    assert desk.show(CARL, b"other") is Access.GRANTED


def test_a_relay_that_is_for_everybody_no_more_sends_away_who_has_no_token() -> None:
    desk = Desk(RelayConfig(tokens=(OTHER,), open=True))
    desk.let_in(ANNA, BEN, secret=b"")
    desk.let_in(EVE, secret=b"other")
    passage = desk.passage(ANNA, BEN)
    passage.carried(1)
    assert desk.policy.reload(RelayConfig(tokens=(OTHER,))) == [ANNA, BEN]
    with pytest.raises(OverLimit):
        passage.carried(1)
    for device in (ANNA, BEN):
        assert desk.policy.granted(device) is None
        assert desk.policy.may_reserve(device, HERE) is Status.PERMISSION_DENIED
    assert desk.policy.granted(EVE) is not None


def test_lower_limits_refuse_new_ones_and_send_nobody_away() -> None:
    desk = a_desk()
    desk.let_in(ANNA, BEN, secret=b"other")
    assert desk.policy.reload(RelayConfig(tokens=(OTHER,), devices_max=1)) == []
    assert desk.policy.may_reserve(ANNA, HERE) is Status.OK
    assert desk.show(CARL, b"other") is Access.GRANTED
    assert desk.policy.may_reserve(CARL, HERE) is Status.RESOURCE_LIMIT_EXCEEDED
