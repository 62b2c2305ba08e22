"""The life of a mandate in the log: detached and attached again, placed, closed, left."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.core.changes import (
    FileDetached,
    FileReturned,
    MandateClosed,
    MemberLeft,
    PolicyChanged,
)
from p2psync.core.mandate import Mandate
from tests.core.lines import FILE, read
from tests.core.office import (
    ACCOUNTING,
    ANNA,
    BEN,
    CARL,
    FOUNDER,
    MANDATE,
    Office,
    actions,
    everything,
    incrementally,
    kept_in_steps,
    play,
    restored,
    shown,
)

Script = list[tuple[bytes, tuple[str, Any]]]


@settings(deadline=None, max_examples=150)
@given(st.lists(actions, max_size=20), st.randoms(use_true_random=False))
def test_what_is_kept_step_by_step_is_the_whole_fold(script: Script, chance: random.Random) -> None:
    office = play(script)
    state, things = kept_in_steps(office.orders(chance))
    assert things == everything(state)
    again = restored(state, office.entries)
    assert shown(again) == shown(state)
    assert again.standing == state.standing
    assert everything(again) == things


@settings(deadline=None, max_examples=100)
@given(st.lists(actions, max_size=20), st.data())
def test_a_fold_that_was_taken_up_in_the_middle_goes_on_the_same(
    script: Script, data: st.DataObject
) -> None:
    entries = play(script).entries
    at = data.draw(st.integers(0, len(entries)))
    middle = incrementally(entries[:at])
    state = restored(middle, entries[:at])
    for number, item in enumerate(entries[at:], at + 1):
        state.apply(item)
        if state.stale:
            state = Mandate.fold(MANDATE, read, entries[:number])
    assert shown(state) == shown(Mandate.fold(MANDATE, read, entries))


@pytest.fixture
def office() -> Office:
    """Anna and Ben are accountings, Carl is a writer; all know that the file has two postings."""
    office = Office().found().join(ANNA).join(BEN).join(CARL)
    office.save(CARL, b"1 | a\n2 | b\n")
    for device in (FOUNDER, ANNA, BEN):
        office.learn(device, CARL)
    return office


def meet(office: Office) -> Mandate:
    """All learn all; in every order they see the same."""
    for _ in range(2):
        for one in (FOUNDER, ANNA, BEN, CARL):
            for other in (FOUNDER, ANNA, BEN, CARL):
                office.learn(one, other)
    state = Mandate.fold(MANDATE, read, office.entries)
    for seed in range(8):
        state_of_order, things = kept_in_steps(office.orders(random.Random(seed)))
        assert shown(state_of_order) == shown(state)
        assert things == everything(state_of_order)
    return state


def present(office: Office, device: bytes = FOUNDER, file: bytes = FILE) -> bool:
    return office.view(device).files[file].present


# -- detached and attached again (B-DET) --------------------------------------------------------


def test_undoing_a_detaching_brings_the_file_back_with_all_that_was_posted(office: Office) -> None:
    office.post(FOUNDER)
    office.detach(FOUNDER)
    assert not present(office)
    office.reattach(FOUNDER)
    state = meet(office)
    assert state.files[FILE].present
    assert state.files[FILE].pending() == (0, 0)
    assert sum(state.files[FILE].posted.values()) == 2


def test_of_two_who_detach_apart_the_undoing_of_both_counts(office: Office) -> None:
    """What undid only one of them is kept all the same, until the other is undone, too."""
    office.detach(ANNA)
    office.detach(BEN)
    office.reattach(ANNA)
    assert present(office, ANNA)
    office.learn(BEN, ANNA)
    assert not present(office, BEN), "Ben's own detaching holds"
    office.learn(FOUNDER, BEN)
    state, things = kept_in_steps(office.entries)
    assert things == everything(state)
    office.reattach(BEN)
    assert meet(office).files[FILE].present


def test_an_undoing_that_comes_before_the_detaching_takes_it_back(office: Office) -> None:
    detach = office.detach(ANNA)
    office.write(BEN, ops.Reattach(FILE, (detach,)))
    assert meet(office).files[FILE].present


def test_who_saves_apart_from_a_detaching_keeps_the_file(office: Office) -> None:
    office.detach(FOUNDER)
    office.save(CARL, b"1 | a\n2 | b\n3 | c\n")
    state = meet(office)
    assert state.files[FILE].present
    assert state.files[FILE].pending() == (3, 0)
    office.detach(FOUNDER)
    assert not meet(office).files[FILE].present, "now it has seen all versions"


def test_who_posts_apart_from_a_detaching_has_posted(office: Office) -> None:
    office.detach(CARL)
    office.post(FOUNDER)
    state = meet(office)
    assert not state.files[FILE].present
    assert sum(state.files[FILE].posted.values()) == 2
    office.reattach(CARL)
    assert meet(office).files[FILE].pending() == (0, 0), "not posted a second time"


def test_the_fold_tells_what_went_and_what_came_back(office: Office) -> None:
    before = list(office.entries)
    detach = office.detach(ANNA)
    office.reattach(ANNA)
    again = office.detach(ANNA)
    office.save(CARL, b"1 | a\n")
    state, told = incrementally(before), []
    for item in office.entries[len(before) :]:
        told += state.apply(item)
    assert [each for each in told if isinstance(each, FileDetached | FileReturned)] == [
        FileDetached(FILE, detach, ANNA),
        FileReturned(FILE, undone=True, device=ANNA),
        FileDetached(FILE, again, ANNA),
        FileReturned(FILE, undone=False, device=CARL),
    ]


@pytest.mark.parametrize(("device", "counts"), [(CARL, False), (BEN, True), (FOUNDER, True)])
def test_b_det_1_a_writer_detaches_no_accounting(
    office: Office, device: bytes, counts: bool
) -> None:
    office.detach(device, ACCOUNTING)
    assert meet(office).files[ACCOUNTING].present is not counts


def test_b_det_1_nor_does_one_that_came_before_the_accounting_was_known(office: Office) -> None:
    """Who writes what it should not know yet cannot make two replicas differ."""
    late = b"l" * 16
    office.write(CARL, ops.Detach(late, ()))
    office.write(FOUNDER, ops.AddFile(late, "b.crp", "accounting", "opaque", "", None, None, None))
    assert meet(office).files[late].present


def test_b_det_1_nor_one_of_a_file_that_two_attached_as_different_kinds(office: Office) -> None:
    """Of two ``AddFile`` for one id one counts, whichever came first."""
    both = b"l" * 16
    for device, kind in ((ANNA, "accounting"), (BEN, "other")):
        office.write(device, ops.AddFile(both, kind, kind, "opaque", "", None, None, None))
    office.learn(CARL, ANNA)
    office.write(CARL, ops.Detach(both, ()))
    state = meet(office)
    assert state.files[both].present is (state.files[both].info.kind == "accounting")


# -- placed, expected, registered, a policy: the last writer's counts ----------------------------


def _placed(state: Mandate) -> object:
    return state.files[FILE].info.name


def _expected(state: Mandate) -> object:
    return state.files[FILE].expected_seconds


def _registered(state: Mandate) -> object:
    program = state.files[FILE].program
    return program and program[2].version


def _policy(state: Mandate) -> object:
    policy = state.standing.policy
    return policy and policy.minimums[0].version


LAST_WRITER: list[tuple[Callable[[str], ops.Operation], Callable[[Mandate], object]]] = [
    (lambda text: ops.Place(FILE, text, "/"), _placed),
    (lambda text: ops.Expect(FILE, int(text)), _expected),
    (lambda text: ops.Register(FILE, "Factures", text, "valid"), _registered),
    (lambda text: ops.Policy(False, False, False, (ops.Minimum("Factures", text),)), _policy),
]


@pytest.mark.parametrize(("make", "look"), LAST_WRITER)
def test_the_last_writer_counts_and_ties_go_to_the_greater_operation(
    office: Office, make: Callable[[str], ops.Operation], look: Callable[[Mandate], object]
) -> None:
    numbers = {"1": ANNA, "2": BEN}
    made = {text: office.write(device, make(text)) for text, device in numbers.items()}
    last = max(made, key=lambda text: (made[text].stamp, made[text].id))
    assert str(look(meet(office))) == last
    office.write(ANNA, make("3"))
    assert str(look(meet(office))) == "3"
    office.write(CARL, make("4"))
    writer_counts = look is not _policy
    assert str(look(meet(office))) == ("4" if writer_counts else "3")


def test_who_places_a_file_has_it_from_then_on(office: Office) -> None:
    """B-MIG-2: on another device, and what was posted stays posted."""
    office.post(FOUNDER)
    assert office.view(FOUNDER).files[FILE].device == FOUNDER
    office.write(BEN, ops.Place(FILE, "new.ecf", "/ben"))
    file = meet(office).files[FILE]
    assert (file.device, file.info.name, file.info.folder) == (BEN, "new.ecf", "/ben")
    assert file.info.kind == "invoicing"
    assert file.pending() == (0, 0)


def test_an_accounting_tells_of_a_policy_and_others_do_not(office: Office) -> None:
    state = office.view(FOUNDER)
    policy = ops.Policy(True, True, True, ())
    assert state.apply(office.write(CARL, policy)) == []
    assert state.standing.policy is None
    assert state.apply(office.write(BEN, policy)) == [PolicyChanged()]
    assert state.standing.policy == policy


# -- closed, left (B-REM) -----------------------------------------------------------------------


@pytest.mark.parametrize(("device", "counts"), [(CARL, False), (BEN, True), (FOUNDER, True)])
def test_b_rem_5_owners_and_accountings_close(office: Office, device: bytes, counts: bool) -> None:
    close = office.write(device, ops.Close())
    state = meet(office)
    assert [each.device for each in state.standing.closed] == [device] * counts
    office.write(CARL, ops.Reopen(((close.id, 0),)))
    assert bool(meet(office).standing.closed) is counts, "a writer undoes nothing"
    office.write(ANNA, ops.Reopen(((close.id, 0),)))
    assert meet(office).standing.closed == ()


def test_b_rem_5_of_two_who_close_apart_both_are_to_be_undone(office: Office) -> None:
    first = office.write(ANNA, ops.Close())
    second = office.write(BEN, ops.Close())
    office.write(ANNA, ops.Reopen(((first.id, 0),)))
    assert [each.id for each in meet(office).standing.closed] == [(second.id, 0)]
    office.write(FOUNDER, ops.Reopen(((second.id, 0),)))
    assert meet(office).standing.closed == ()


def test_b_rem_5_what_is_written_apart_from_a_closing_is_kept(office: Office) -> None:
    close = office.write(FOUNDER, ops.Close())
    office.save(CARL, b"1 | a\n2 | b\n3 | c\n")
    state = meet(office)
    assert state.standing.closed
    assert state.files[FILE].pending() == (3, 0)
    told = state.apply(office.write(BEN, ops.Reopen(((close.id, 0),))))
    assert told == [MandateClosed(BEN, reopened=True)]


@pytest.mark.parametrize("device", [FOUNDER, BEN, CARL])
def test_b_rem_6_who_leaves_is_gone_until_it_returns(office: Office, device: bytes) -> None:
    everybody = {FOUNDER, ANNA, BEN, CARL}
    assert office.view(FOUNDER).standing.going_on(everybody) == everybody
    office.write(device, ops.Leave())
    state = meet(office)
    assert state.standing.left() == {device}
    assert state.standing.going_on(everybody) == everybody - {device}
    assert device in state.membership.members
    assert state.apply(office.write(device, ops.Return())) == [MemberLeft(device, returned=True)]
    assert meet(office).standing.left() == frozenset()
    office.write(device, ops.Leave())
    assert meet(office).standing.left() == {device}


def test_what_is_no_members_counts_once_it_is_one() -> None:
    office = Office().found()
    ticket = office.redeem(CARL)
    office.write(CARL, ops.Leave())
    office.detach(CARL)
    state = incrementally(office.entries)
    assert state.standing.left() == frozenset()
    assert state.files[FILE].present
    office.learn(FOUNDER, CARL)
    state.apply(office.write(FOUNDER, ops.Admit(CARL, ticket)))
    assert state.standing.left() == {CARL}
    assert not state.files[FILE].present
