"""The fold: a pure function of the set of entries; posting, versions, admission."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import membership, ops
from p2psync.core.changes import DoublePosted, MemberWaiting
from p2psync.core.crypto import digest
from p2psync.core.mandate import Applied, Mandate
from p2psync.limits import QUARANTINED_ENTRIES_MAX
from tests.core.lines import FILE, read
from tests.core.office import (
    ANNA,
    BEN,
    FOUNDER,
    MANDATE,
    SALT,
    SEED,
    TICKET,
    Office,
    actions,
    incrementally,
    play,
    shown,
)


@settings(deadline=None, max_examples=150)
@given(st.lists(actions, max_size=20), st.randoms(use_true_random=False))
def test_any_causal_order_gives_the_same_mandate(
    script: list[tuple[bytes, tuple[str, Any]]], chance: random.Random
) -> None:
    office = play(script)
    expected = shown(Mandate.fold(MANDATE, read, office.entries))
    for _ in range(3):
        entries = office.orders(chance)
        assert shown(incrementally(entries)) == expected
        assert shown(Mandate.fold(MANDATE, read, entries)) == expected


@pytest.fixture
def office() -> Office:
    """A mandate of three devices and a file of two postings."""
    office = Office().found().join(ANNA).join(BEN)
    office.learn(ANNA, FOUNDER)
    office.save(ANNA, b"1 | a\n2 | b\n")
    office.learn(FOUNDER, ANNA)
    office.learn(BEN, ANNA)
    return office


def pending(office: Office, device: bytes = FOUNDER) -> tuple[int, int]:
    return office.view(device).files[FILE].pending()


def test_posting_takes_what_is_pending(office: Office) -> None:
    """B-POS-2, B-POS-3, B-POS-4."""
    assert pending(office) == (2, 0)
    receipt = office.post(FOUNDER)
    assert pending(office) == (0, 0)
    assert office.view(FOUNDER).receipt_state(receipt) == "posted"
    office.learn(ANNA, FOUNDER)
    office.save(ANNA, b"1 | a # 9\n2 | b # 9\n")
    assert pending(office, ANNA) == (0, 0), "other numbers are no change"
    office.save(ANNA, b"1 | a\n1 | a\n2 | b\n")
    assert pending(office, ANNA) == (1, 0), "two identical lines are two postings"


def test_a_record_changed_after_posting_shows_as_one_less_and_one_more(office: Office) -> None:
    """B-POS-5."""
    office.post(FOUNDER)
    office.learn(ANNA, FOUNDER)
    office.save(ANNA, b"1 | a\n3 | b\n")
    assert pending(office, ANNA) == (1, 1)
    changes = [(item.change, item.record.text) for item in
               office.view(ANNA).files[FILE].pending_records()]  # fmt: skip
    assert changes == [("added", "3 | b"), ("deleted", "2 | b")]
    office.learn(FOUNDER, ANNA)
    office.post(FOUNDER)
    assert pending(office) == (0, 0)


def test_unposting_makes_it_pending_again(office: Office) -> None:
    """B-POS-5."""
    receipt = office.post(FOUNDER)
    office.unpost(FOUNDER, receipt)
    assert pending(office) == (2, 0)
    assert office.view(FOUNDER).receipt_state(receipt) == "retracted"
    office.post(FOUNDER)
    assert pending(office) == (0, 0)


def test_unposting_the_receipt_of_a_change_brings_the_first_posting_back(office: Office) -> None:
    """B-POS-5."""
    office.post(FOUNDER)
    office.learn(ANNA, FOUNDER)
    office.save(ANNA, b"1 | a\n")
    office.learn(FOUNDER, ANNA)
    second = office.post(FOUNDER)
    assert pending(office) == (0, 0)
    office.unpost(FOUNDER, second)
    assert pending(office) == (0, 1)


def test_two_devices_that_post_the_same_are_both_told(office: Office) -> None:
    """B-POS-6."""
    one = office.post(FOUNDER)
    other = office.post(BEN)
    for order in (office.entries, [*office.entries[:-2], *reversed(office.entries[-2:])]):
        state = Mandate(MANDATE, read)
        told = [change for item in order for change in state.apply(item)]
        alerts = [change for change in told if isinstance(change, DoublePosted)]
        assert [set(alert.receipts) for alert in alerts] == [{one, other}]
        assert state.files[FILE].pending() == (0, 0), "counted once"
        assert state.receipt_state(one) == state.receipt_state(other) == "contested"
    office.learn(FOUNDER, BEN)
    office.unpost(FOUNDER, other)
    assert office.view(FOUNDER).receipt_state(one) == "posted"
    assert pending(office) == (0, 0)


def test_two_saves_at_once_are_two_heads_until_one_sees_both(office: Office) -> None:
    left = office.save(ANNA, b"1 | a\n2 | b\n3 | c\n")
    right = office.save(BEN, b"0 | z\n1 | a\n2 | b\n")
    office.learn(ANNA, BEN)
    file = office.view(ANNA).files[FILE]
    assert set(file.heads) == {left, right}
    assert file.merged
    assert file.segments.emit() == b"0 | z\n1 | a\n2 | b\n3 | c\n"
    both = office.save(ANNA, b"0 | z\n1 | a\n2 | b\n3 | c\n4 | d\n")
    assert set(office.view(ANNA).files[FILE].heads) == {both}


def test_what_must_not_be_merged_stands_beside_as_a_conflict(office: Office) -> None:
    parents = tuple(office.view(ANNA).files[FILE].heads)
    for device in (ANNA, BEN):
        office.write(device, ops.Save(FILE, parents, (), None, False, 0, device))
    office.learn(FOUNDER, ANNA)
    office.learn(FOUNDER, BEN)
    file = office.view(FOUNDER).files[FILE]
    current = file.current()
    assert current is not None
    assert not file.merged
    assert {current.id, *(other.id for other in file.conflicts())} == set(file.heads)
    assert len(file.heads) == 2


def test_a_version_that_no_detaching_saw_brings_the_file_back(office: Office) -> None:
    """protocol.md, "file registry"."""
    heads = tuple(office.view(BEN).files[FILE].heads)
    office.write(BEN, ops.Detach(FILE, heads))
    assert not office.view(BEN).files[FILE].present
    office.save(ANNA, b"1 | a\n")
    office.learn(BEN, ANNA)
    assert office.view(BEN).files[FILE].present


def test_a_newcomers_entries_count_once_it_is_admitted() -> None:
    office = Office().found()
    office.learn(ANNA, FOUNDER)
    office.open(ANNA, ops.Describe("Anna", "pc"), membership.redeem(SEED, MANDATE, ANNA))
    office.save(ANNA, b"1 | a\n")
    state = Mandate(MANDATE, read)
    told = [change for item in office.entries for change in state.apply(item)]
    assert MemberWaiting(ANNA, TICKET) in told
    assert state.waiting() == {ANNA: TICKET}
    assert state.devices[ANNA].name == "Anna"
    assert state.files[FILE].segments.emit() == b""
    office.learn(FOUNDER, ANNA)
    state.apply(office.write(FOUNDER, ops.Admit(ANNA, TICKET)))
    assert state.files[FILE].segments.emit() == b"1 | a\n"
    assert state.waiting() == {}


def test_nothing_of_a_newcomer_is_lost_however_much_it_wrote() -> None:
    office = Office().found()
    office.learn(ANNA, FOUNDER)
    office.open(ANNA, membership.redeem(SEED, MANDATE, ANNA))
    state = Mandate(MANDATE, read)
    for item in office.entries:
        state.apply(item)
    count = QUARANTINED_ENTRIES_MAX + 5
    log = office.entries[-1].log
    tail = [
        Applied(digest(b"x", number.to_bytes(4, "big")), log, number, number, number,
                (ops.Rename(str(number)),))
        for number in range(1, count)
    ]  # fmt: skip
    for item in tail:
        state.apply(item)
    office.learn(FOUNDER, ANNA)
    admit = office.write(FOUNDER, ops.Admit(ANNA, TICKET))
    state.apply(admit)
    if state.stale:
        state = Mandate.fold(MANDATE, read, [*office.entries, *tail])
    assert state.name == str(count - 1)


def test_parts_count_only_for_the_save_right_behind_them_in_their_chain(office: Office) -> None:
    """A save that names a part of another log, or one further back, takes nothing of it."""

    def lines(text: bytes) -> ops.Lines:
        return ops.Lines(FILE, (ops.Run(b"zz" + text, (b"9 | " + text + b"\n",)),),
                         ops.Edits((), ()), ())  # fmt: skip

    def save(*parts: bytes) -> ops.Save:
        return ops.Save(FILE, (), parts, None, True, len(parts), bytes(32))

    first = office.write(ANNA, lines(b"one"))
    second = office.write(ANNA, lines(b"two"))
    office.write(ANNA, save(first.id, second.id))
    far = office.write(ANNA, lines(b"far"))
    office.write(ANNA, ops.Rename("between"))
    office.write(ANNA, save(far.id))
    office.write(ANNA, save(first.id))
    office.learn(BEN, ANNA)
    office.write(BEN, save(first.id, far.id))
    expected = shown(Mandate.fold(MANDATE, read, office.entries))
    content = expected["files"][FILE][0]
    assert content.count(b"| one\n") == content.count(b"| two\n") == 1
    assert b"far" not in content
    for seed in range(6):
        assert shown(incrementally(office.orders(random.Random(seed)))) == expected


def test_a_writers_receipt_does_not_count() -> None:
    """B-POS-7: the fold itself takes receipts only from roles that can hold the seat."""
    for role, counts in (("writer", False), ("reader", False), ("accounting", True)):
        office = Office()
        office.open(FOUNDER, ops.Create(FOUNDER, SALT, "Dupont"))
        office.write(FOUNDER, ops.Invite(TICKET, role, 0, 1))
        office.join(BEN)
        target = ops.take(FILE, [((b"e" * 32, 0), b"k" * 16)])
        receipt = office.write(BEN, ops.Post(1, (target,), (), 1, 0))
        office.write(BEN, ops.Unpost(((receipt.id, 0),)))
        state = office.view(BEN)
        assert bool(state.receipts) == bool(state.retracted) == counts


def test_receipts_of_files_that_nobody_knows_are_survived(office: Office) -> None:
    ghost = b"?" * 16
    target = digest(b"entry", BEN[::-1][:31] + b"L", (1).to_bytes(8, "big"))
    office.unpost(ANNA, (target, 0))
    posted = office.write(BEN, ops.Post(1, (ops.take(ghost, [((b"e" * 32, 0), b"k" * 16)]),), (),
                                        1, 0))  # fmt: skip
    assert posted.id == target
    office.unpost(FOUNDER, (target, 0))
    for seed in range(6):
        state = incrementally(office.orders(random.Random(seed)))
        assert state.receipt_state((target, 0)) == "retracted"
        assert shown(state) == shown(Mandate.fold(MANDATE, read, office.entries))


def test_a_handing_over_that_does_not_hold_hides_no_contest(office: Office) -> None:
    """B-MAN-1."""
    office.write(ANNA, ops.ClaimSeat(1))
    office.learn(FOUNDER, ANNA)
    assert office.view(FOUNDER).contested() == (ANNA,)
    office.learn(BEN, ANNA)
    office.write(BEN, ops.HandSeat(9, BEN))
    assert office.view(BEN).contested() == (ANNA,)
    office.write(FOUNDER, ops.HandSeat(2, ANNA))
    assert office.view(FOUNDER).contested() == ()
    assert office.view(FOUNDER).seat() == ANNA
