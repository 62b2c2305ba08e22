"""Who may do what in a mandate: a pure function of the membership operations, in any order.

The creator has rank 0, an admitted device its inviter's rank and one. Members are found in rounds:
each round counts the invitations of those who are members, then the admissions by them, and the
next round starts with whom that brought. See docs/spec/membership.md.

Removal and rotation have their place in the format (``ops.Remove``, ``ops.Rotate``); this version
neither writes nor applies them, and says so when it meets one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from p2psync.core import crypto
from p2psync.core.ops import Admit, Create, Describe, Invite, OpenLog, OpId, Redeem, Revoke
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
"""The roles that an invitation of each role can carry."""


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
    """A membership operation with its author and stamp."""

    id: OpId
    device: bytes
    stamp: int
    operation: Invite | Revoke | Redeem | Admit | Create | Describe


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

    def role(self, device: bytes) -> str | None:
        """A device's role, ``None`` when it is no member."""
        member = self.members.get(device)
        return None if member is None else member.role

    def may(self, device: bytes, roles: frozenset[str]) -> bool:
        """Tell whether a device is a member with one of the roles."""
        return self.role(device) in roles


def compute(mandate: bytes, operations: Iterable[Stamped]) -> Membership:
    """Fold all membership operations, of whatever device, into who is a member.

    The caller leaves out what proves nothing: a ``Create`` that does not hash to the mandate, a
    ``Redeem`` whose proof does not hold. Invitations count when their author is a member whose role
    allows to give that role; of several with one public key the first, by (round, rank, id).
    Admissions count when their author may invite and the newcomer has shown the invitation's proof.
    Of more devices than an invitation has uses, those with the lowest (admitter's rank, operation
    id) are in (protocol.md: "the lower (rank, hash) wins").
    """
    creates: list[Stamped] = []
    invites: dict[bytes, list[Stamped]] = {}
    revokes: dict[bytes, list[Stamped]] = {}
    admits: dict[bytes, list[tuple[Stamped, Admit]]] = {}
    proven: set[tuple[bytes, bytes]] = set()
    for stamped in operations:
        match stamped.operation:
            case Create():
                creates.append(stamped)
            case Invite():
                invites.setdefault(stamped.device, []).append(stamped)
            case Revoke():
                revokes.setdefault(stamped.device, []).append(stamped)
            case Admit() as admit:
                admits.setdefault(stamped.device, []).append((stamped, admit))
            case Redeem(invitation=redeemed):
                proven.add((stamped.device, redeemed))
            case Describe():
                pass

    members = {stamped.device: Member(stamped.device, "owner", 0) for stamped in creates}
    invitations: dict[bytes, Invitation] = {}
    used_by: dict[bytes, list[bytes]] = {}
    displaced: set[bytes] = set()
    settled: set[bytes] = set()
    while unsettled := members.keys() - settled:
        authored = [
            (members[device], stamped)
            for device in unsettled
            for stamped in invites.get(device, [])
        ]
        for author, stamped in sorted(authored, key=lambda pair: (pair[0].rank, pair[1].id)):
            _count_invitation(invitations, stamped, author)
        settled |= unsettled
        ordered = sorted(
            [
                (members[device].rank, stamped.id, admit)
                for device in members
                if members[device].role in MAY_INVITE
                for stamped, admit in admits.get(device, [])
            ],
            key=lambda item: item[:2],
        )
        for _, _, admit in ordered:
            invitation = invitations.get(admit.invitation)
            if (
                invitation is None
                or (admit.device, admit.invitation) not in proven
                or admit.device in members
                or len(members) >= MEMBERS_MAX
            ):
                continue
            users = used_by.setdefault(invitation.id, [])
            if len(users) >= invitation.uses:
                displaced.add(admit.device)
                continue
            users.append(admit.device)
            rank = members[invitation.by].rank + 1
            members[admit.device] = Member(admit.device, invitation.role, rank, invitation.id)

    revoked = {
        stamped.operation.invitation
        for device, items in revokes.items()
        if members.get(device) and members[device].role in MAY_INVITE
        for stamped in items
        if isinstance(stamped.operation, Revoke)
    }
    return Membership(
        members,
        invitations,
        frozenset(revoked),
        {invitation: tuple(devices) for invitation, devices in used_by.items()},
        frozenset(displaced - members.keys()),
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
