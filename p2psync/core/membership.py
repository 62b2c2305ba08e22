"""Who may do what in a mandate: a pure function of the membership operations, in any order.

The creator has rank 0. Members are found in rounds, and who comes in the third has rank 3: each
round first settles who of its members was removed, then counts their invitations, then the
admissions by all, and the next round starts with whom that brought. Whoever removes a device has a
lower rank, so a round never touches what an earlier one settled. See docs/spec/membership.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from p2psync.core import crypto
from p2psync.core.ops import (
    Admit,
    Create,
    Describe,
    Invite,
    OpenLog,
    OpId,
    Readmit,
    Redeem,
    Remove,
    Revoke,
)
from p2psync.limits import MEMBERS_MAX

_MANDATE = b"p2psync.mandate"
_CERTIFICATE = b"p2psync log 1"
_ADMISSION = b"p2psync admission 1"

MAY_INVITE = frozenset({"owner", "accounting"})
"""Roles that may invite, and admit whom a ticket of theirs or another's brings."""
MAY_WRITE = frozenset({"owner", "accounting", "writer"})
MAY_POST = frozenset({"owner", "accounting"})
"""Roles that can hold the accounting seat, and whose receipts count (B-POS-7)."""
MAY_GIVE = {
    "owner": frozenset({"owner", "accounting", "writer", "reader"}),
    "accounting": frozenset({"accounting", "writer", "reader"}),
}
"""The roles that an invitation of each role can carry; and those that each role can remove."""


def mandate_id(device: bytes, salt: bytes) -> bytes:
    """The mandate's identity, 32 bytes: binds it to the device key (32) that founded it."""
    return crypto.digest(_MANDATE, device, salt)


def certify_log(device: crypto.SigningKey, mandate: bytes, log: bytes, incarnation: int) -> bytes:
    """The device's word that a log is its own: a signature of 64 bytes."""
    return device.sign(_CERTIFICATE, mandate + log + incarnation.to_bytes(8, "big"))


def log_certified(operation: OpenLog, mandate: bytes, log: bytes) -> bool:
    """Check a log's certificate."""
    message = mandate + log + operation.incarnation.to_bytes(8, "big")
    return crypto.verify(operation.device, _CERTIFICATE, message, operation.certificate)


def redeem(admission_seed: bytes, mandate: bytes, device: bytes) -> Redeem:
    """A newcomer's proof, made with the ticket's admission seed (32 bytes)."""
    key = crypto.SigningKey.from_seed(admission_seed)
    return Redeem(key.public, key.sign(_ADMISSION, mandate + device))


def redeem_holds(operation: Redeem, mandate: bytes, device: bytes) -> bool:
    """Check that the newcomer holds the ticket's admission secret."""
    message = mandate + device
    return crypto.verify(operation.invitation, _ADMISSION, message, operation.proof)


@dataclass(frozen=True, slots=True)
class Member:
    """A device that counts: its role, rank, and the invitation it came by (none: the founder)."""

    device: bytes
    role: str
    rank: int
    invitation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """A ticket's public half as the members know it."""

    id: bytes
    operation: OpId
    by: bytes
    role: str
    expires_ms: int
    uses: int


@dataclass(frozen=True, slots=True)
class Stamped:
    """A membership operation with its author and stamp.

    ``covers``, of a ``Remove``: which entries (32 bytes) with membership operations of the removed
    device its cut admits.
    """

    id: OpId
    device: bytes
    stamp: int
    operation: Invite | Revoke | Redeem | Admit | Create | Describe | Remove | Readmit
    covers: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Removal:
    """A device that was a member, and the removals that hold: operation and author of each, the
    first by (author's rank, operation) first.

    ``cut``: the entries up to which its logs count, all removals taken together; ``covers``: see
    ``Stamped``.
    """

    member: Member
    by: tuple[tuple[OpId, bytes], ...]
    cut: frozenset[bytes]
    covers: frozenset[bytes]
    stamp: int


@dataclass(frozen=True, slots=True)
class Membership:
    """The members, invitations and what is odd, as computed by ``compute``."""

    members: dict[bytes, Member] = field(default_factory=dict)
    invitations: dict[bytes, Invitation] = field(default_factory=dict)
    revoked: frozenset[bytes] = frozenset()
    used_by: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    """Devices that each invitation brought in."""
    displaced: frozenset[bytes] = frozenset()
    """Devices whose admission lost against another one by the same, used-up invitation."""
    removed: dict[bytes, Removal] = field(default_factory=dict)
    """Devices that were members; what they did before the cut counts."""

    def role(self, device: bytes) -> str | None:
        """A device's role, ``None`` when it is no member."""
        member = self.members.get(device)
        return None if member is None else member.role

    def may(self, device: bytes, roles: frozenset[str]) -> bool:
        """Tell whether a device is a member with one of the roles."""
        return self.role(device) in roles

    def past(self, device: bytes) -> Member | None:
        """A device as the member that it is, or was before it was removed."""
        removal = self.removed.get(device)
        return self.members.get(device) if removal is None else removal.member

    def was(self, device: bytes, roles: frozenset[str]) -> bool:
        """Tell whether a device is a member with one of the roles, or was one."""
        member = self.past(device)
        return member is not None and member.role in roles

    def may_remove(self, device: bytes, other: bytes) -> bool:
        """Tell whether a member may remove another device, or readmit it: see ``removes``."""
        author, subject = self.members.get(device), self.past(other)
        return author is not None and subject is not None and removes(author, subject)


def removes(author: Member, subject: Member) -> bool:
    """Tell whether one device's removal of another one counts: of a strictly junior one, whose
    role it could give. Everybody may remove themselves."""
    if author.device == subject.device:
        return True
    return author.rank < subject.rank and subject.role in MAY_GIVE.get(author.role, frozenset())


@dataclass(slots=True)
class _Told:
    """Operations, by who says so or whom it is about."""

    invites: dict[bytes, list[Stamped]] = field(default_factory=dict)
    revokes: dict[bytes, list[Stamped]] = field(default_factory=dict)
    admits: dict[bytes, list[tuple[Stamped, Admit]]] = field(default_factory=dict)
    removes: dict[bytes, list[tuple[Stamped, Remove]]] = field(default_factory=dict)
    readmits: dict[bytes, list[tuple[Stamped, Readmit]]] = field(default_factory=dict)


def compute(mandate: bytes, operations: Iterable[Stamped]) -> Membership:
    """Fold all membership operations, of whatever device, into who is a member.

    The caller leaves out what proves nothing: a ``Create`` that does not hash to the mandate, a
    ``Redeem`` whose proof does not hold. Invitations count when their author is a member whose role
    allows to give that role; of several with one public key the first, by (round, rank, id).
    Admissions count when their author may invite and the newcomer has shown the invitation's proof.
    Of more devices than an invitation has uses, those with the lowest (admitter's rank, operation
    id) are in (protocol.md: "the lower (rank, hash) wins"). Of a removed device those operations
    count that a removal's cut admits.
    """
    creates: list[Stamped] = []
    told = _Told()
    proven: set[tuple[bytes, bytes]] = set()
    for stamped in operations:
        match stamped.operation:
            case Create():
                creates.append(stamped)
            case Invite():
                told.invites.setdefault(stamped.device, []).append(stamped)
            case Revoke():
                told.revokes.setdefault(stamped.device, []).append(stamped)
            case Admit() as admit:
                told.admits.setdefault(stamped.device, []).append((stamped, admit))
            case Redeem(invitation=redeemed):
                proven.add((stamped.device, redeemed))
            case Remove() as remove:
                told.removes.setdefault(remove.device, []).append((stamped, remove))
            case Readmit() as readmit:
                told.readmits.setdefault(readmit.device, []).append((stamped, readmit))
            case Describe():
                pass

    everyone = {stamped.device: Member(stamped.device, "owner", 0) for stamped in creates}
    removed: dict[bytes, Removal] = {}
    invitations: dict[bytes, Invitation] = {}
    used_by: dict[bytes, list[bytes]] = {}
    displaced: set[bytes] = set()
    settled: set[bytes] = set()
    while unsettled := everyone.keys() - settled:
        rank = everyone[next(iter(unsettled))].rank  # all of a round have the same
        for device in unsettled:
            removal = _removal(everyone[device], everyone, removed, told)
            if removal is not None:
                removed[device] = removal
        authored = [
            (everyone[device], stamped)
            for device in unsettled
            for stamped in told.invites.get(device, [])
            if _counts(stamped, removed)
        ]
        for author, stamped in sorted(authored, key=lambda pair: (pair[0].rank, pair[1].id)):
            _count_invitation(invitations, stamped, author)
        settled |= unsettled
        ordered = sorted(
            [
                (everyone[device].rank, stamped.id, admit)
                for device in everyone
                if everyone[device].role in MAY_INVITE
                for stamped, admit in told.admits.get(device, [])
                if _counts(stamped, removed)
            ],
            key=lambda item: item[:2],
        )
        for _, _, admit in ordered:
            invitation = invitations.get(admit.invitation)
            if (
                invitation is None
                or (admit.device, admit.invitation) not in proven
                or admit.device in everyone
                or len(everyone) >= MEMBERS_MAX
            ):
                continue
            users = used_by.setdefault(invitation.id, [])
            if len(users) >= invitation.uses:
                displaced.add(admit.device)
                continue
            users.append(admit.device)
            newcomer = Member(admit.device, invitation.role, rank + 1, invitation.id)
            everyone[admit.device] = newcomer

    revoked = {
        stamped.operation.invitation
        for device, items in told.revokes.items()
        if device in everyone and everyone[device].role in MAY_INVITE
        for stamped in items
        if isinstance(stamped.operation, Revoke) and _counts(stamped, removed)
    }
    # Who was removed may have kept the secrets of tickets that it made, and of the one it came by.
    revoked |= {each.id for each in invitations.values() if each.by in removed}
    revoked |= {each.member.invitation for each in removed.values() if each.member.invitation}
    return Membership(
        {device: member for device, member in everyone.items() if device not in removed},
        invitations,
        frozenset(revoked),
        {invitation: tuple(devices) for invitation, devices in used_by.items()},
        frozenset(displaced - everyone.keys()),
        removed,
    )


def _counts(stamped: Stamped, removed: Mapping[bytes, Removal]) -> bool:
    removal = removed.get(stamped.device)
    return removal is None or stamped.id[0] in removal.covers


def _removal(
    subject: Member,
    everyone: Mapping[bytes, Member],
    removed: Mapping[bytes, Removal],
    told: _Told,
) -> Removal | None:
    """The removals of a device that hold, when all of a lower rank are settled.

    What others say goes first, and their cuts are taken together: whoever of them saw an entry, it
    counts. Only where nobody else speaks does a device's own word count, the first of it: else who
    has its keys could widen the cut later.
    """
    undone = {
        removal
        for stamped, readmit in told.readmits.get(subject.device, [])
        if stamped.device in everyone
        and stamped.device != subject.device
        and removes(everyone[stamped.device], subject)
        and _counts(stamped, removed)
        for removal in readmit.removals
    }
    holding = sorted(
        [
            (everyone[stamped.device].rank, stamped.id, stamped, remove)
            for stamped, remove in told.removes.get(subject.device, [])
            if stamped.id not in undone
            and stamped.device in everyone
            and removes(everyone[stamped.device], subject)
            and (stamped.device == subject.device or _counts(stamped, removed))
        ],
        key=lambda item: item[:2],
    )
    if not holding:
        return None
    others = [each for each in holding if each[2].device != subject.device]
    counted = others or [min(holding, key=lambda each: (each[2].stamp, each[1]))]
    return Removal(
        subject,
        tuple((op, stamped.device) for _, op, stamped, _ in counted),
        frozenset().union(*(remove.cut for *_, remove in counted)),
        frozenset().union(*(stamped.covers for _, _, stamped, _ in counted)),
        min(stamped.stamp for _, _, stamped, _ in counted),
    )


def _count_invitation(
    invitations: dict[bytes, Invitation], stamped: Stamped, author: Member
) -> None:
    invite = stamped.operation
    if not isinstance(invite, Invite) or invite.role not in MAY_GIVE.get(author.role, frozenset()):
        return
    # The first stays: its public half is in the log, where others could invite with it again.
    invitations.setdefault(
        invite.invitation,
        Invitation(
            invite.invitation,
            stamped.id,
            author.device,
            invite.role,
            invite.expires_ms,
            invite.uses,
        ),
    )
