"""Commands on the accounting seat: who posts, and handing it over (B-MAN-1, B-POS-7)."""

from typing import Any

from p2psync.core import ops
from p2psync.core.membership import MAY_POST
from p2psync.errors import (
    NotAdmittedYet,
    SeatHeirLeft,
    SeatHeirMayNot,
    SeatNotYours,
    SeatUnclaimed,
)
from p2psync.node import find, views
from p2psync.node.closed import check_open
from p2psync.node.node import Node
from p2psync.node.opened import Opened

Json = dict[str, Any]


class Seat:
    """What ``NodeService`` hands on about the seat."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def show(self, mandate: str) -> Json:
        """Who has the seat, who claims it, too, and who could have it."""
        return self._view(find.mandate(self._node.opened.values(), mandate))

    def _view(self, opened: Opened) -> Json:
        state, own = opened.state, self._node.identity.device
        seat, handed = state.seating()
        left = state.standing.left()
        return {
            "mandate": opened.name,
            "seat": None if seat is None else self._device(opened, seat),
            "handed": handed,
            "contested": [self._device(opened, each) for each in state.contested()],
            "may_hand": self._may_hand(opened),
            "heirs": [
                self._device(opened, device)
                for device in sorted(state.membership.members)
                if device not in {seat, *left} and state.membership.may(device, MAY_POST)
            ],
            "this_device": seat == own,
        }

    def _device(self, opened: Opened, device: bytes) -> Json:
        return {
            "device": device.hex(),
            "name": views.person(opened.state, device),
            "machine": views.machine(opened.state, device),
        }

    def _may_hand(self, opened: Opened) -> bool:
        own = self._node.identity.device
        return own == opened.state.seat() or opened.state.membership.role(own) == "owner"

    async def hand(self, mandate: str, device: str) -> Json:
        """Hand the seat to a member; to who has it already, it settles a contest (B-MAN-1).

        Raises ``SeatNotYours`` and others of that kind; nothing has changed then.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_open(opened)
        state, own = opened.state, node.identity.device
        if state.membership.role(own) is None:
            raise NotAdmittedYet(mandate=opened.name)
        seat, handed = state.seating()
        if not state.claims:
            raise SeatUnclaimed(mandate=opened.name)
        if not self._may_hand(opened):
            raise SeatNotYours(
                mandate=opened.name,
                who=views.person(state, seat or b""),
                machine=views.machine(state, seat or b""),
            )
        heir = find.member(opened, device)
        if not state.membership.may(heir, MAY_POST):
            raise SeatHeirMayNot(
                mandate=opened.name,
                heir=views.person(state, heir),
                role=state.membership.role(heir),
            )
        if heir in state.standing.left():
            raise SeatHeirLeft(mandate=opened.name, heir=views.person(state, heir))
        if heir != seat or state.contested():
            await node.author(opened, [ops.HandSeat(handed + 2, heir)]).wait()
        return self._view(opened)
