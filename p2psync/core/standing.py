"""Whether a mandate goes on, for whom, and by which policy: closed, left, or refused by programs.

Last writer means the greatest (stamp, operation), as everywhere in the fold.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from p2psync.core.changes import Change, MandateClosed, MemberLeft, PolicyChanged
from p2psync.core.membership import MAY_POST
from p2psync.core.ops import Close, Leave, OpId, Policy, Reopen, Return


@dataclass(frozen=True, slots=True)
class Closing:
    """Who closed the mandate (32 bytes), and when."""

    id: OpId
    device: bytes
    hlc: int
    stamp: int


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a device goes on with the mandate, as it said last."""

    id: OpId
    left: bool
    hlc: int
    stamp: int


@dataclass(slots=True)
class Standing:
    """The fold of those operations of members."""

    closings: dict[OpId, Closing] = field(default_factory=dict)
    reopened: set[OpId] = field(default_factory=set)
    """Closings that were undone, known or not."""
    presences: dict[bytes, Presence] = field(default_factory=dict)
    policies: tuple[int, OpId, Policy] | None = None

    def apply(
        self,
        operation: Close | Reopen | Leave | Return | Policy,
        op: OpId,
        device: bytes,
        role: str | None,
        hlc: int,
        stamp: int,
    ) -> list[Change]:
        """Take an operation of a member with a role; return what changed.

        ``Close``, ``Reopen`` and ``Policy`` count from owners and accountings; any member may
        leave.
        """
        match operation:
            case Leave() | Return():
                known = self.presences.get(device)
                if known is not None and (known.stamp, known.id) > (stamp, op):
                    return []
                left = isinstance(operation, Leave)
                self.presences[device] = Presence(op, left, hlc, stamp)
                return [MemberLeft(device, returned=not left)]
            case _ if role not in MAY_POST:
                return []
            case Close():
                self.closings[op] = Closing(op, device, hlc, stamp)
                return [MandateClosed(device)]
            case Reopen(closes=closes):
                self.reopened |= set(closes)
                return [MandateClosed(device, reopened=True)]
            case Policy():
                if self.policies is not None and self.policies[:2] > (stamp, op):
                    return []
                self.policies = (stamp, op, operation)
                return [PolicyChanged()]

    @property
    def closed(self) -> tuple[Closing, ...]:
        """The closings that hold, oldest first; none while the mandate goes on."""
        left = [each for op, each in self.closings.items() if op not in self.reopened]
        return tuple(sorted(left, key=lambda each: (each.stamp, each.id)))

    @property
    def policy(self) -> Policy | None:
        """The policy; ``None`` while nobody set one."""
        return None if self.policies is None else self.policies[2]

    def left(self) -> frozenset[bytes]:
        """The devices that removed the mandate from their list."""
        return frozenset(device for device, said in self.presences.items() if said.left)

    def going_on(self, devices: Iterable[bytes]) -> frozenset[bytes]:
        """Those of some devices that did not leave."""
        return frozenset(devices) - self.left()
