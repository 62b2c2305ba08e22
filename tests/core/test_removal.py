"""Removing a device (B-ID-3): what counts of what it wrote, whatever came in which order."""

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import membership, ops
from p2psync.core.changes import MemberReadmitted, MemberRemoved
from p2psync.core.mandate import Applied, Mandate
from tests.core.lines import FILE, read
from tests.core.office import (
    ANNA,
    BEN,
    CARL,
    FOUNDER,
    MANDATE,
    Office,
    actions,
    incrementally,
    kept_in_steps,
    log_of,
    play,
    restored,
    shown,
)

EPOCH, LATER = b"e" * 16, b"l" * 16
BOX = bytes(80)


def folded(office: Office) -> Mandate:
    return Mandate.fold(MANDATE, read, office.entries)


def office_of_three() -> Office:
    """The founder, Anna (accounting, rank 1) and Carl (writer, rank 1), all in step."""
    office = Office().found().join(ANNA).join(CARL)
    office.learn(ANNA, FOUNDER)
    return office


def content(office: Office) -> bytes:
    return folded(office).files[FILE].segments.emit()


def quarantined_by_hand(state: Mandate, entries: list[Applied]) -> set[bytes]:
    """What no cut admits, found by walking back from each cut, entry by entry."""
    by_id = {item.id: item for item in entries}
    out = set()
    for device, removal in state.membership.removed.items():
        admitted = set()
        for op, _ in removal.by:
            remove = by_id[op[0]].operations[op[1]]
            assert isinstance(remove, ops.Remove)
            for head in remove.cut:
                while head in by_id and state.logs.get(by_id[head].log) == device:
                    admitted.add(head)
                    head = by_id[head].prev
        out |= {
            item.id
            for item in entries
            if state.logs.get(item.log) == device and item.id not in admitted
        }
    return out


# -- one removal ----------------------------------------------------------------------------------


def test_what_a_removed_device_wrote_before_the_cut_counts_and_nothing_after() -> None:
    office = office_of_three()
    office.save(CARL, b"1 | before\n")
    office.learn(FOUNDER, CARL)
    office.remove(FOUNDER, CARL)
    office.save(CARL, b"1 | before\n2 | after\n")
    state = folded(office)
    assert content(office) == b"1 | before\n"
    assert CARL not in state.membership.members
    assert state.quarantined == {CARL: 1}
    assert state.membership.removed[CARL].by[0][1] == FOUNDER


def test_a_readmitted_device_is_what_it_was_and_all_of_it_counts() -> None:
    office = office_of_three()
    office.remove(FOUNDER, CARL)
    office.save(CARL, b"1 | kept on its own\n")
    before = content(office)
    office.readmit(FOUNDER, CARL)
    state = folded(office)
    assert before == b""
    assert content(office) == b"1 | kept on its own\n"
    assert state.membership.members[CARL].role == "writer"
    assert not state.quarantined


def test_a_fork_before_the_cut_and_a_backdated_entry_do_not_count() -> None:
    """The cut names ids, not numbers or times: what is beside its chain is beyond it."""
    office = office_of_three()
    office.save(CARL, b"1 | before\n")
    office.learn(FOUNDER, CARL)
    first = next(item for item in office.entries if item.log == log_of(CARL))
    office.remove(FOUNDER, CARL)
    fork = Applied(b"f" * 32, log_of(CARL), 1, 1, 1, (ops.Rename("forged"),), first.id)
    office.entries.append(fork)
    office.past[fork.id] = office.past[first.id] | {fork.id}
    assert folded(office).name == "Dupont"
    assert folded(office).quarantined == {CARL: 1}
    for seed in range(20):
        state = incrementally(office.orders(random.Random(seed)))
        assert shown(state) == shown(folded(office))


def test_a_log_that_the_cut_does_not_name_does_not_count() -> None:
    office = office_of_three()
    office.remove(FOUNDER, CARL)
    log = b"another log of carl............."
    office.entries += [
        Applied(b"x" * 32, log, 0, 1, 1, (ops.OpenLog(CARL, 1, bytes(64)), ops.Rename("no"))),
    ]
    assert folded(office).name == "Dupont"


def test_cuts_of_several_removals_are_taken_together() -> None:
    """Never lose a posting that an honest member had seen when it removed the device."""
    office = office_of_three()
    office.remove(FOUNDER, CARL)
    office.save(CARL, b"1 | seen by Ben alone\n")
    office.join(BEN)
    office.write(FOUNDER, ops.Observe())
    office.learn(BEN, CARL)
    office.write(BEN, ops.Remove(CARL, office.cut(BEN, CARL)))
    assert content(office) == b""  # Ben came by the founder's ticket: of one rank with Carl
    wider = ops.Remove(CARL, office.cut(BEN, CARL))
    office.write(FOUNDER, wider)
    assert content(office) == b"1 | seen by Ben alone\n"


# -- who may --------------------------------------------------------------------------------------


def test_a_junior_or_equal_or_stranger_removes_nobody() -> None:
    office = office_of_three()
    for author, other in ((CARL, ANNA), (ANNA, CARL), (ANNA, FOUNDER), (CARL, FOUNDER)):
        office.remove(author, other)
    assert not folded(office).membership.removed
    office.open(BEN)
    office.learn(BEN, FOUNDER)
    office.remove(BEN, CARL)
    assert not folded(office).membership.removed


def test_who_is_removed_removes_nobody_beyond_its_own_cut() -> None:
    office = office_of_three()
    seed = b"j" * 32
    junior = membership.redeem(seed, MANDATE, BEN)
    office.write(ANNA, ops.Invite(junior.invitation, "writer", 0, 1))
    office.learn(BEN, ANNA)
    office.open(BEN, junior)
    office.learn(ANNA, BEN)
    office.write(ANNA, ops.Admit(BEN, junior.invitation))
    assert folded(office).membership.members[BEN].rank == 2
    office.learn(FOUNDER, ANNA)
    office.remove(FOUNDER, ANNA)
    office.remove(ANNA, BEN)
    state = folded(office)
    assert BEN in state.membership.members, "whom it admitted before stays, and it removes nobody"
    assert ANNA in state.membership.removed
    assert junior.invitation in state.membership.revoked


def test_who_was_removed_comes_back_by_no_ticket() -> None:
    office = office_of_three()
    office.remove(FOUNDER, CARL)
    ticket = membership.redeem(b"n" * 32, MANDATE, CARL)
    office.write(FOUNDER, ops.Invite(ticket.invitation, "writer", 0, 1))
    office.write(CARL, ticket)
    office.write(FOUNDER, ops.Admit(CARL, ticket.invitation))
    assert CARL not in folded(office).membership.members


def test_one_may_remove_oneself_and_nobody_widens_that_later() -> None:
    office = office_of_three()
    office.remove(CARL, CARL)
    office.save(CARL, b"1 | later\n")
    office.write(CARL, ops.Remove(CARL, office.cut(CARL, CARL)))
    assert CARL in folded(office).membership.removed
    assert content(office) == b""


# -- what goes with it ----------------------------------------------------------------------------


def test_the_seat_of_a_removed_device_goes_back() -> None:
    office = office_of_three()
    office.write(FOUNDER, ops.HandSeat(2, ANNA))
    assert folded(office).seat() == ANNA
    office.remove(FOUNDER, ANNA)
    assert folded(office).seat() == FOUNDER
    office.write(FOUNDER, ops.HandSeat(3, FOUNDER))
    assert folded(office).seating() == (FOUNDER, 2)


def test_a_receipt_before_the_cut_stays_one_after_does_not_count() -> None:
    office = office_of_three()
    office.save(CARL, b"1 | a\n")
    office.learn(ANNA, CARL)
    office.post(ANNA)
    office.learn(FOUNDER, ANNA)
    office.remove(FOUNDER, ANNA)
    assert folded(office).files[FILE].pending() == (0, 0)
    office.unpost(ANNA, *folded(office).receipts)
    assert folded(office).files[FILE].pending() == (0, 0)


def test_the_epoch_that_excludes_most_is_written_in() -> None:
    office = office_of_three()
    for device, epoch, keys in (
        (FOUNDER, EPOCH, (ANNA, FOUNDER)),
        (ANNA, LATER, (ANNA, CARL, FOUNDER)),
    ):
        sealed = tuple(ops.SealedKey(each, BOX) for each in keys)
        office.write(device, ops.Rotate(epoch, sealed, b""))
    assert folded(office).epochs()[0] == LATER
    office.remove(FOUNDER, CARL)
    assert folded(office).epochs()[0] == EPOCH
    assert not folded(office).needs_rotation()
    office.remove(FOUNDER, ANNA)
    assert folded(office).needs_rotation()
    office.write(CARL, ops.Rotate(b"w" * 16, (ops.SealedKey(CARL, BOX),), b""))
    assert b"w" * 16 not in folded(office).rotations


# -- any order ------------------------------------------------------------------------------------


def test_a_removal_of_a_device_that_is_in_step_needs_no_fold_anew() -> None:
    office = office_of_three()
    office.save(CARL, b"1 | a\n")
    office.learn(FOUNDER, CARL)
    state = folded(office)
    last = [item for item in office.entries if item.log == log_of(CARL)][-1]
    state.leaves = lambda log: [last.id] if log == log_of(CARL) else []
    office.remove(FOUNDER, CARL)
    changes = state.apply(office.entries[-1])
    assert MemberRemoved(CARL, FOUNDER) in changes
    assert not state.stale
    assert shown(state) == shown(folded(office))
    office.readmit(FOUNDER, CARL)
    assert MemberReadmitted(CARL) in state.apply(office.entries[-1])
    assert not state.stale
    assert shown(state) == shown(folded(office))


scripts = st.lists(actions, max_size=30)


@settings(deadline=None, max_examples=150)
@given(scripts, st.randoms(use_true_random=False))
def test_any_order_counts_the_same_and_as_if_the_rest_had_never_been(
    script: list[tuple[bytes, tuple[str, Any]]], chance: random.Random
) -> None:
    office = play(_with_removals(script))
    state = folded(office)
    beyond = quarantined_by_hand(state, office.entries)
    assert sum(state.quarantined.values()) == len(beyond)
    for _ in range(2):
        order = office.orders(chance)
        assert shown(incrementally(order)) == shown(state)
        assert incrementally(order).quarantined == state.quarantined
        stepped, _ = kept_in_steps(order)
        assert shown(restored(stepped, order)) == shown(state)
        some = order[: chance.randrange(len(order) + 1)]
        assert shown(incrementally(some)) == shown(Mandate.fold(MANDATE, read, some))
    without = [
        replace(item, operations=_opening(item)) if item.id in beyond else item
        for item in office.entries
    ]
    naive = shown(Mandate.fold(MANDATE, read, without))
    assert {**naive, "devices": 0, "waiting": 0} == {**shown(state), "devices": 0, "waiting": 0}


def _opening(item: Applied) -> tuple[ops.Operation, ...]:
    """What counts of anybody: an opening, a proof; and that one removes oneself."""
    return tuple(
        each
        for each in item.operations
        if isinstance(each, ops.OpenLog | ops.Redeem)
        or (isinstance(each, ops.Remove) and log_of(each.device) == item.log)
    )


def _with_removals(
    script: list[tuple[bytes, tuple[str, Any]]],
) -> list[tuple[bytes, tuple[str, Any]]]:
    """Everybody joins first, so that there is somebody to remove."""
    joined: list[tuple[bytes, tuple[str, Any]]] = [
        (device, ("join", None)) for device in (ANNA, BEN, CARL)
    ]
    return [*joined, *((device, ("learn", FOUNDER)) for device in (ANNA, BEN, CARL)), *script]
