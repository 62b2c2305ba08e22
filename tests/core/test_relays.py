"""B-NET-2: the relays that a mandate names for all its members."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.core.changes import RelayNamed
from p2psync.core.mandate import Mandate
from p2psync.core.ops import OpId, SetRelay
from p2psync.core.relays import NamedRelays
from p2psync.errors import OperationError
from p2psync.limits import MANDATE_RELAYS_MAX, RELAY_ADDRESSES_MAX
from tests.core.lines import read
from tests.core.office import ANNA, BEN, CARL, FOUNDER, MANDATE, Office, kept_in_steps

RELAY, OTHER = b"\x01" * 32, b"\x02" * 32
OLD, NEW = "/dns4/old/tcp/4001", "/dns4/new/tcp/4001"


@pytest.fixture
def office() -> Office:
    """Anna and Ben are accountings, Carl is a writer."""
    return Office().found().join(ANNA).join(BEN).join(CARL)


def name(office: Office, device: bytes, *addresses: str, relay: bytes = RELAY) -> OpId:
    """A member names a relay, or takes it out, as it sees it."""
    standing = office.view(device).relays.standing(relay)
    return office.write(device, SetRelay(relay, addresses, standing)).id, 0


def meet(office: Office) -> NamedRelays:
    """What all see, in whatever order things come."""
    for _ in range(2):
        for one in (FOUNDER, ANNA, BEN, CARL):
            for other in (FOUNDER, ANNA, BEN, CARL):
                office.learn(one, other)
    state = Mandate.fold(MANDATE, read, office.entries)
    for seed in range(6):
        other_state, _ = kept_in_steps(office.orders(random.Random(seed)))
        assert other_state.relays.used() == state.relays.used()
        assert list(other_state.relays.used()) == list(state.relays.used())
        assert other_state.relays.dropped() == state.relays.dropped()
    return state.relays


def test_b_net_2_one_member_names_a_relay_for_all(office: Office) -> None:
    name(office, ANNA, OLD)
    assert meet(office).used() == {RELAY: (OLD,)}
    name(office, BEN, NEW)
    assert meet(office).used() == {RELAY: (NEW,)}, "a new token or place goes for the old one"
    name(office, FOUNDER)
    relays = meet(office)
    assert relays.used() == {}
    assert relays.dropped() == {RELAY}, "whatever an old ticket says"
    name(office, FOUNDER, OLD)
    assert meet(office).used() == {RELAY: (OLD,)}


@pytest.mark.parametrize("first", [ANNA, BEN])
def test_what_somebody_named_meanwhile_is_not_taken_out(office: Office, first: bytes) -> None:
    name(office, FOUNDER, OLD)
    for device in (ANNA, BEN):
        office.learn(device, FOUNDER)
    second = BEN if first == ANNA else ANNA
    name(office, first)
    name(office, second, NEW)
    relays = meet(office)
    assert relays.used() == {RELAY: (NEW,)}
    assert relays.dropped() == frozenset()


def test_of_two_who_name_one_relay_apart_both_addresses_are_used(office: Office) -> None:
    made = {text: name(office, device, text) for text, device in ((OLD, ANNA), (NEW, BEN))}
    relays = meet(office)
    last = max(made, key=lambda text: (relays.namings[made[text]].stamp, made[text]))
    assert relays.used()[RELAY][0] == last
    assert set(relays.used()[RELAY]) == {OLD, NEW}
    name(office, CARL, "/dns4/no/tcp/1")
    assert set(meet(office).used()[RELAY]) == {OLD, NEW}, "a writer names nothing"
    name(office, ANNA, NEW)
    assert meet(office).used() == {RELAY: (NEW,)}


def test_a_change_is_told_when_there_is_one(office: Office) -> None:
    def said(device: bytes, *addresses: str) -> list[object]:
        state = office.view(FOUNDER)
        operation = SetRelay(RELAY, addresses, state.relays.standing(RELAY))
        made = office.write(device, operation)
        changes = state.apply(made)
        for each in (FOUNDER, ANNA, CARL):
            office.learn(each, device)
        return list(changes)

    office.learn(ANNA, FOUNDER)
    assert said(ANNA, OLD) == [RelayNamed(RELAY, ANNA, known=False, used=True)]
    assert said(ANNA, OLD) == []
    assert said(CARL, NEW) == []
    assert said(ANNA, NEW) == [RelayNamed(RELAY, ANNA, known=True, used=True)]
    assert said(ANNA) == [RelayNamed(RELAY, ANNA, known=True, used=False)]
    assert said(ANNA) == []


def test_of_too_many_relays_those_that_were_named_first_are_used(office: Office) -> None:
    every = [bytes([number]) * 32 for number in range(MANDATE_RELAYS_MAX + 2)]
    for relay in every:
        name(office, ANNA, f"/dns4/relay-{relay[0]}/tcp/4001", relay=relay)
    assert list(meet(office).used()) == every[:MANDATE_RELAYS_MAX]
    name(office, ANNA, relay=every[0])
    assert list(meet(office).used()) == every[1 : MANDATE_RELAYS_MAX + 1]


def test_what_a_removed_member_named_before_stays_and_later_counts_no_more(office: Office) -> None:
    name(office, ANNA, OLD)
    office.learn(FOUNDER, ANNA)
    office.remove(FOUNDER, ANNA)
    name(office, ANNA, NEW, relay=OTHER)
    assert meet(office).used() == {RELAY: (OLD,)}


@pytest.mark.parametrize(
    "operation",
    [
        SetRelay(RELAY, (OLD,) * (RELAY_ADDRESSES_MAX + 1), ()),
        SetRelay(RELAY, ("x" * 257,), ()),
        SetRelay(b"short", (OLD,), ()),
    ],
)
def test_the_operation_is_bounded(operation: SetRelay) -> None:
    with pytest.raises(OperationError):
        ops.encode([operation])


# -- against a naive model ------------------------------------------------------------------------

steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.lists(st.sampled_from("abc"), max_size=2)),
    max_size=12,
)
"""Who says of which relay where it is."""


@settings(deadline=None, max_examples=200)
@given(steps, st.data())
def test_the_fold_is_the_same_in_every_order_and_as_a_naive_one(
    script: list[tuple[int, int, list[str]]], data: st.DataObject
) -> None:
    """Each writes with what it has seen; a naive fold looks at all operations at once."""
    seen: list[NamedRelays] = [NamedRelays() for _ in range(3)]
    every: list[tuple[OpId, SetRelay, int]] = []
    for number, (who, which, addresses) in enumerate(script):
        relay = bytes([which]) * 32
        mine = seen[who]
        said = SetRelay(relay, tuple(addresses), mine.standing(relay))
        made = ((number.to_bytes(32, "big"), 0), said, number // 2)
        every.append(made)
        mine.apply(said, made[0], b"", made[2])
        for other in data.draw(st.sets(st.integers(0, number), max_size=3)):
            op, operation, stamp = every[other]
            if op not in mine.namings and op not in mine.replaced:
                mine.apply(operation, op, b"", stamp)

    gone = {op for _, said, _ in every for op in said.replaces}
    live = [each for each in every if each[0] not in gone]
    for order in (every, data.draw(st.permutations(every))):
        folded = NamedRelays()
        for op, said, stamp in order:
            folded.apply(said, op, b"", stamp)
        for relay in (b"\0" * 32, b"\1" * 32):
            of_it = sorted((each for each in live if each[1].relay == relay), key=_last_first)
            naive = list(dict.fromkeys(text for each in of_it for text in each[1].addresses))
            assert list(folded.of(relay)) == naive
            assert (relay in folded.used()) is bool(naive)
            assert (relay in folded.dropped()) is (bool(of_it) and not naive)


def _last_first(each: tuple[OpId, SetRelay, int]) -> tuple[int, int]:
    return (-each[2], -int.from_bytes(each[0][0], "big"))
