"""Removing a device from a mandate, and letting it in again (B-ID-3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from p2psync.core import clock, ops
from p2psync.core.membership import Member, Removal
from p2psync.engine.effects import Dismissed
from p2psync.errors import (
    DeviceIsThis,
    DeviceNotJunior,
    DeviceNotRemoved,
    MandateLocal,
    NotAdmittedYet,
)
from p2psync.node import find, news, views
from p2psync.node.closed import check_belongs, check_open
from p2psync.node.dismissal import Dismissal
from p2psync.node.opened import Opened
from p2psync.node.runner import wall_ms

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]


class Members:
    """What ``NodeService`` hands on about members, and what the node tells of their removal."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    # -- what a person asks for -----------------------------------------------------------------

    def plan(self, mandate: str, device: str) -> Json:
        """What removing a device would do; raises what ``remove`` would."""
        opened, member = self._subject(mandate, device)
        return self._said(opened, member)

    async def remove(self, mandate: str, device: str) -> Json:
        """Remove a device: it is served nothing more, and what it writes later does not count."""
        node = self._node
        opened, member = self._subject(mandate, device)
        said = self._said(opened, member)
        node.identity.check_unlocked()
        effects = opened.replica.remove(member.device, wall_ms())
        await node.runner.hand_in(node.own_effects(opened.id, effects)).wait()
        return said

    async def readmit(self, mandate: str, device: str) -> Json:
        """Undo the removals of a device: it is what it was, and all that it wrote counts."""
        node = self._node
        opened = self._opened(mandate)
        removed = opened.state.membership.removed
        subject = find.device(opened, device, [*removed, *opened.state.membership.members])
        if subject not in removed:
            raise DeviceNotRemoved(mandate=opened.name, who=views.person(opened.state, subject))
        self._check_senior(opened, removed[subject].member)
        said = self._device(opened, subject)
        removals = tuple(sorted(op for op, _ in removed[subject].by))
        waiting = opened.state.quarantined.get(subject, 0)
        await node.author(opened, [ops.Readmit(subject, removals)]).wait()
        return {"mandate": opened.name, **said, "quarantined": waiting}

    def removed(self, opened: Opened) -> list[Json]:
        """The devices that were removed, the last one first."""
        membership, own = opened.state.membership, self._node.identity.device
        out = []
        for device, removal in sorted(
            membership.removed.items(), key=lambda item: (-item[1].stamp, item[0])
        ):
            by = removal.by[0][1]
            out.append(
                {
                    **self._device(opened, device),
                    "role": removal.member.role,
                    "phrase": self._node.identity.phrase_of(device),
                    "by": views.person(opened.state, by),
                    "removed": _when(removal),
                    "quarantined": opened.state.quarantined.get(device, 0),
                    "may_readmit": device != own and membership.may_remove(own, device),
                }
            )
        return out

    def _opened(self, mandate: str) -> Opened:
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        if not opened.shared:
            raise MandateLocal(mandate=opened.name)
        check_open(opened)
        check_belongs(opened)
        if not opened.replica.is_member(node.identity.device):
            raise NotAdmittedYet(mandate=opened.name)
        return opened

    def _subject(self, mandate: str, device: str) -> tuple[Opened, Member]:
        opened = self._opened(mandate)
        member = opened.state.membership.members[find.member(opened, device)]
        if member.device == self._node.identity.device:
            raise DeviceIsThis(mandate=opened.name)
        self._check_senior(opened, member)
        return opened, member

    def _check_senior(self, opened: Opened, subject: Member) -> None:
        membership = opened.state.membership
        if not membership.may_remove(self._node.identity.device, subject.device):
            may = [
                views.person(opened.state, device)
                for device in sorted(membership.members, key=self._by_rank(opened))
                if device != subject.device and membership.may_remove(device, subject.device)
            ]
            raise DeviceNotJunior(
                mandate=opened.name,
                who=views.person(opened.state, subject.device),
                role=subject.role,
                may=", ".join(may) or "-",
            )

    def _by_rank(self, opened: Opened) -> Callable[[bytes], tuple[int, bytes]]:
        members = opened.state.membership.members
        return lambda device: (members[device].rank, device)

    def _said(self, opened: Opened, member: Member) -> Json:
        state, device = opened.state, member.device
        names = opened.names()
        membership = state.membership
        tickets = [
            each
            for each in membership.invitations.values()
            if each.id not in membership.revoked
            and each.expires_ms > wall_ms()
            and len(membership.used_by.get(each.id, ())) < each.uses
            and (each.by == device or each.id == member.invitation)
        ]
        return {
            "mandate": opened.name,
            **self._device(opened, device),
            "role": member.role,
            "seat": state.seat() == device,
            "files": [names[file.id] for file in opened.listed() if file.device == device],
            "tickets": len(tickets),
            "remaining": len(membership.members) - 1,
        }

    def _device(self, opened: Opened, device: bytes) -> Json:
        return {
            "device": device.hex(),
            "name": views.person(opened.state, device),
            "machine": views.machine(opened.state, device),
        }

    # -- what the node is told ------------------------------------------------------------------

    def on_removed(self, opened: Opened, device: bytes, by: bytes) -> None:
        """Entries say that a device was removed."""
        own = self._node.identity.device
        removal = opened.state.membership.removed.get(device)
        if device == own:
            at_ms = 0 if removal is None else clock.milliseconds(removal.stamp)
            self._dismissed(opened, by, at_ms)
        else:
            news.member_removed(self._node.notices, opened, device, by)
        self._node.update_discovery()

    def on_readmitted(self, opened: Opened, device: bytes) -> None:
        """Entries say that the removal of a device was undone."""
        node = self._node
        key = f"member-removed:{device.hex()}"
        node.notices.settle("member-removed", mandate=opened.id, key=key)
        news.member_readmitted(node.notices, opened, device)
        if device == node.identity.device:
            node.notices.settle("removed-by-others", mandate=opened.id, key="removed-by-others")
            node.notices.settle_all(opened.id, "removed-by-others:")
            if Dismissal.of(opened.row) is not None:
                node.set_state(opened, "active")
        node.look_at_mandate(opened)

    def on_dismissed(self, opened: Opened, told: Dismissed) -> None:
        """A member says that this device was removed; by whom, if it could show it."""
        if told.by is not None:
            self._dismissed(opened, told.by, clock.milliseconds(told.hlc))
        elif opened.replica.is_member(told.device) and Dismissal.of(opened.row) is None:
            news.said_to_be_removed(self._node.notices, opened, told.device)

    def _dismissed(self, opened: Opened, by: bytes, at_ms: int) -> None:
        who = views.person(opened.state, by)
        if Dismissal.of(opened.row) is None:
            self._node.set_state(opened, Dismissal(by, who, at_ms).state())
        news.removed_by_others(self._node.notices, opened, by, at_ms)


def _when(removal: Removal) -> str:
    return views.iso_of(removal.stamp)
