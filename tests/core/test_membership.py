"""Who is a member: the same whatever the order, and nobody by their own word."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.core import crypto, membership
from p2psync.core.membership import (
    MAY_GIVE,
    MAY_INVITE,
    MAY_WRITE,
    Member,
    Stamped,
    compute,
    removes,
)
from p2psync.core.ops import (
    ROLES,
    Admit,
    Create,
    Describe,
    Invite,
    OpenLog,
    Readmit,
    Redeem,
    Remove,
    Revoke,
)
from p2psync.limits import MEMBERS_MAX

MANDATE = b"m" * 32
FOUNDER, ANNA, BEN, CARL, STRANGER = (bytes([letter]) * 32 for letter in b"FABCX")
T1, T2, T3 = (b"ticket%d" % number * 4 for number in (1, 2, 3))
PROOF = b"p" * 64


class Story:
    """Membership operations, numbered as they are told."""

    def __init__(self, founded: bool = True) -> None:
        self.told: list[Stamped] = []
        if founded:
            self.tell(FOUNDER, Create(FOUNDER, b"s" * 16, "mandate"))

    def tell(self, device: bytes, operation: Any, number: int | None = None) -> "Story":
        entry = (len(self.told) if number is None else number).to_bytes(32, "big")
        self.told.append(Stamped((entry, 0), device, len(self.told), operation))
        return self

    def invite(self, by: bytes, ticket: bytes, role: str = "writer", uses: int = 1) -> "Story":
        return self.tell(by, Invite(ticket, role, 0, uses))

    def join(self, device: bytes, ticket: bytes, by: bytes) -> "Story":
        return self.tell(device, Redeem(ticket, PROOF)).tell(by, Admit(device, ticket))

    def result(self) -> membership.Membership:
        return compute(MANDATE, self.told)

    def roles(self) -> dict[bytes, tuple[str, int]]:
        members = self.result().members
        return {device: (member.role, member.rank) for device, member in members.items()}


def test_the_founder_alone_is_owner() -> None:
    assert Story().result().members == {FOUNDER: Member(FOUNDER, "owner", 0)}
    assert Story(founded=False).roles() == {}


def test_one_joins_by_invitation_proof_and_admission() -> None:
    story = Story().invite(FOUNDER, T1).join(ANNA, T1, FOUNDER)
    assert story.roles()[ANNA] == ("writer", 1)
    result = story.result()
    assert result.used_by == {T1: (ANNA,)}
    assert result.may(ANNA, MAY_WRITE)
    assert not result.may(ANNA, MAY_INVITE)
    assert not result.may(STRANGER, MAY_WRITE)
    for left_out in (1, 2, 3):
        some = story.told[:left_out] + story.told[left_out + 1 :]
        assert ANNA not in compute(MANDATE, some).members


def test_a_strangers_word_counts_for_nothing() -> None:
    story = Story().invite(STRANGER, T1, "owner").join(ANNA, T1, STRANGER)
    story.invite(FOUNDER, T2).join(BEN, T2, STRANGER).join(STRANGER, T2, STRANGER)
    story.tell(STRANGER, Revoke(T2))
    assert story.roles() == {FOUNDER: ("owner", 0)}
    assert story.result().revoked == frozenset()
    assert set(story.result().invitations) == {T2}


def test_the_proof_of_one_does_not_admit_another() -> None:
    story = Story().invite(FOUNDER, T1, uses=5).tell(ANNA, Redeem(T1, PROOF))
    story.tell(FOUNDER, Admit(BEN, T1))
    assert BEN not in story.roles()


@pytest.mark.parametrize("giver", ROLES)
@pytest.mark.parametrize("given_role", ROLES)
def test_roles_that_each_role_may_give(giver: str, given_role: str) -> None:
    story = Story()
    by = FOUNDER
    if giver != "owner":
        story.invite(FOUNDER, T1, giver).join(ANNA, T1, FOUNDER)
        by = ANNA
    story.invite(by, T2, given_role).join(BEN, T2, FOUNDER)
    allowed = given_role in MAY_GIVE.get(giver, frozenset())
    assert (BEN in story.roles()) == allowed
    assert "relay" not in {role for roles in MAY_GIVE.values() for role in roles}


@pytest.mark.parametrize("role", ["writer", "reader"])
def test_who_may_not_invite_may_not_admit(role: str) -> None:
    story = Story().invite(FOUNDER, T1, role).join(ANNA, T1, FOUNDER)
    story.invite(FOUNDER, T2).join(BEN, T2, ANNA)
    assert BEN not in story.roles()


def test_rank_is_one_more_than_that_of_who_invites_and_of_who_admits() -> None:
    story = Story().invite(FOUNDER, T1, "accounting").join(ANNA, T1, FOUNDER)
    story.invite(ANNA, T2, "accounting").join(BEN, T2, FOUNDER)
    story.invite(FOUNDER, T3, "writer").join(CARL, T3, BEN)
    assert story.roles() == {
        FOUNDER: ("owner", 0),
        ANNA: ("accounting", 1),
        BEN: ("accounting", 2),
        CARL: ("writer", 3),
    }


def test_the_lower_rank_wins_the_race_for_a_ticket() -> None:
    """protocol.md: "Two admissions of a single-use ticket: the lower (rank, hash) wins"."""
    story = Story().invite(FOUNDER, T1, "accounting").join(ANNA, T1, FOUNDER)
    story.invite(FOUNDER, T2, uses=1)
    story.join(BEN, T2, ANNA).join(CARL, T2, FOUNDER)
    assert CARL in story.roles()
    assert BEN not in story.roles()
    assert story.result().displaced == {BEN}


@pytest.mark.parametrize(("ben", "carl"), [(60, 70), (70, 60)])
def test_of_one_rank_the_lower_operation_wins(ben: int, carl: int) -> None:
    story = Story().invite(FOUNDER, T1)
    for device, number in ((BEN, ben), (CARL, carl)):
        story.tell(device, Redeem(T1, PROOF)).tell(FOUNDER, Admit(device, T1), number)
    winner, loser = (BEN, CARL) if ben < carl else (CARL, BEN)
    assert winner in story.roles()
    assert story.result().displaced == {loser}


def test_a_ticket_brings_as_many_as_it_has_uses() -> None:
    story = Story().invite(FOUNDER, T1, uses=2)
    for device in (ANNA, BEN, CARL):
        story.join(device, T1, FOUNDER)
    assert len(story.roles()) == 3
    assert len(story.result().displaced) == 1


def test_who_was_displaced_may_come_by_another_ticket() -> None:
    story = Story().invite(FOUNDER, T1).invite(FOUNDER, T2)
    story.join(ANNA, T1, FOUNDER).join(BEN, T1, FOUNDER).join(BEN, T2, FOUNDER)
    assert {ANNA, BEN} <= story.roles().keys()
    assert story.result().displaced == frozenset()


def test_an_admission_twice_uses_a_ticket_once() -> None:
    story = Story().invite(FOUNDER, T1, "accounting", 2).join(ANNA, T1, FOUNDER)
    story.tell(FOUNDER, Admit(ANNA, T1)).tell(ANNA, Admit(ANNA, T1)).join(BEN, T1, ANNA)
    assert story.result().used_by == {T1: (ANNA, BEN)}


def test_a_ticket_is_revoked_by_who_may_invite_and_who_came_before_stays() -> None:
    story = Story().invite(FOUNDER, T1).join(ANNA, T1, FOUNDER)
    story.tell(ANNA, Revoke(T1))
    assert story.result().revoked == frozenset()
    story.tell(FOUNDER, Revoke(T1))
    assert story.result().revoked == {T1}
    assert ANNA in story.roles()


def test_nobody_takes_over_the_ticket_of_a_senior() -> None:
    """An invitation's public half is in the log for all to see, and to invite with again."""
    story = Story().invite(FOUNDER, T1, "accounting").join(ANNA, T1, FOUNDER)
    story.tell(FOUNDER, Invite(T2, "writer", 5, 1), 90)
    story.tell(ANNA, Invite(T2, "reader", 9, 500), 80)
    story.join(BEN, T2, FOUNDER)
    assert story.roles()[BEN] == ("writer", 1)
    assert story.result().invitations[T2].by == FOUNDER


def test_circles_bring_nobody_in() -> None:
    story = Story()
    story.invite(ANNA, T1, "owner").invite(BEN, T2, "owner")
    story.join(BEN, T1, ANNA).join(ANNA, T2, BEN).join(ANNA, T1, ANNA)
    assert story.roles() == {FOUNDER: ("owner", 0)}


def test_the_number_of_members_is_bounded() -> None:
    story = Story().invite(FOUNDER, T1, uses=1000).invite(FOUNDER, T2, uses=1000)
    for number in range(MEMBERS_MAX + 5):
        story.join(number.to_bytes(32, "little"), (T1, T2)[number % 2], FOUNDER)
    assert len(story.roles()) == MEMBERS_MAX


_devices = st.sampled_from([FOUNDER, ANNA, BEN, CARL, STRANGER])
_tickets = st.sampled_from([T1, T2, T3])
_any_operation = st.one_of(
    st.builds(Invite, _tickets, st.sampled_from(ROLES), st.just(0), st.integers(1, 2)),
    st.builds(Invite, _tickets, st.just("accounting"), st.just(0), st.integers(1, 3)),
    st.builds(Revoke, _tickets),
    st.builds(Redeem, _tickets, st.just(PROOF)),
    st.builds(Admit, _devices, _tickets),
    st.builds(Describe, st.just("name"), st.just("machine")),
    st.builds(Remove, _devices, st.just(())),
    st.builds(
        Readmit,
        _devices,
        st.integers(0, 25).map(lambda number: ((number.to_bytes(32, "big"), 0),)),
    ),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(_devices, _any_operation), max_size=25), st.randoms(use_true_random=False)
)
def test_any_order_gives_the_same_members(
    told: list[tuple[bytes, Any]], chance: random.Random
) -> None:
    story = Story()
    for device, operation in told:
        story.tell(device, operation)
    expected = story.result()
    for _ in range(4):
        chance.shuffle(story.told)
        assert story.result() == expected
    for device, member in expected.members.items():
        if device != FOUNDER:
            assert member.invitation is not None
            invitation = expected.invitations[member.invitation]
            inviter = expected.past(invitation.by)
            assert inviter is not None
            assert member.role == invitation.role
            assert member.rank > inviter.rank
            assert member.role in MAY_GIVE[inviter.role]
            assert device in expected.used_by[invitation.id]
            assert len(expected.used_by[invitation.id]) <= invitation.uses
    assert not expected.displaced & expected.members.keys()
    assert not expected.removed.keys() & expected.members.keys()
    for device, removal in expected.removed.items():
        authors = [expected.past(by) for _, by in removal.by]
        assert all(each is not None and removes(each, removal.member) for each in authors)
        assert removal.member.device == device


@given(st.lists(st.tuples(_devices, _any_operation), max_size=15))
def test_no_one_comes_in_without_the_founder(told: list[tuple[bytes, Any]]) -> None:
    story = Story(founded=False)
    for device, operation in told:
        story.tell(device, operation)
    assert story.roles() == {}


# -- certificates and proofs --------------------------------------------------------------------

DEVICE = crypto.SigningKey.from_seed(b"d" * 32)
LOG = b"l" * 32


def test_a_mandates_identity_binds_its_founder() -> None:
    """B-MAN-5."""
    made = {
        membership.mandate_id(device, salt)
        for device in (FOUNDER, ANNA)
        for salt in (b"s" * 16, b"t" * 16)
    }
    assert len(made) == 4


def test_a_logs_certificate_is_for_one_device_mandate_log_and_incarnation() -> None:
    certificate = membership.certify_log(DEVICE, MANDATE, LOG, 7)
    good = OpenLog(DEVICE.public, 7, certificate)
    assert membership.log_certified(good, MANDATE, LOG)
    assert not membership.log_certified(good, b"n" * 32, LOG)
    assert not membership.log_certified(good, MANDATE, b"k" * 32)
    assert not membership.log_certified(dataclasses.replace(good, incarnation=8), MANDATE, LOG)
    assert not membership.log_certified(dataclasses.replace(good, device=ANNA), MANDATE, LOG)


def test_a_proof_is_for_one_ticket_mandate_and_device() -> None:
    seed = b"a" * 32
    proof = membership.redeem(seed, MANDATE, ANNA)
    assert proof.invitation == crypto.SigningKey.from_seed(seed).public
    assert membership.redeem_holds(proof, MANDATE, ANNA)
    assert not membership.redeem_holds(proof, MANDATE, BEN)
    assert not membership.redeem_holds(proof, b"n" * 32, ANNA)
    assert not membership.redeem_holds(dataclasses.replace(proof, invitation=T1), MANDATE, ANNA)
