"""What is shown of mandates: all of them, and everything about one (B-MAN-6)."""

from collections.abc import Iterable, Mapping
from typing import Any

from p2psync.core.files import FileState
from p2psync.core.records import Problem
from p2psync.errors import IdentityLocked, RemovedByOthers
from p2psync.node import find, validity, views
from p2psync.node.closed import check_belongs
from p2psync.node.findings import Content
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.reach import reached
from p2psync.node.refusals import refusal
from p2psync.node.runner import wall_ms

Json = dict[str, Any]
CANNOT_SYNC = frozenset(
    (
        "read-only",
        "locked",
        "refused",
        "waiting",
        "other-protocol",
        "offline",
        "removed-by-others",
    )
)
"""States in which a shared mandate does not sync (B-MAN-6)."""
CONDITION_TEXTS = {
    "closed": "{who} closed it for everyone on {when}: saves are not taken up any more",
    "waiting": "no member that may admit this device was reached yet",
    "offline": "no other device of the mandate is reachable",
    "other-protocol": "a member was reached whose p2psync is too far from this one to sync",
    "newer-version": "somebody has a newer p2psync, which writes what this one does not understand",
}


class Overview:
    """What is shown of this node's mandates."""

    def __init__(self, node: Node, content: Content) -> None:
        self._node = node
        self._content = content

    def kind(self, opened: Opened) -> str:
        """``local`` or ``shared``."""
        return "shared" if opened.shared else "local"

    def condition(self, opened: Opened) -> Json:
        """The state of a mandate, and the cause and next step when it cannot sync (B-MAN-6).

        ``cause`` is a text with its template, ``action`` one of the words that events have too.
        """
        node = self._node
        if node.failure is not None:
            failure = node.failure
            return {
                "state": "read-only",
                "cause": _cause(failure.template, failure.params),
                "action": "mend-disk",
            }
        if (said := _dismissed(opened)) is not None:
            return said
        if closings := opened.state.standing.closed:
            own = closings[0].device == node.identity.device
            who = views.person(opened.state, closings[0].device)
            when = views.iso_of(closings[0].hlc)[:10]
            return {
                "state": "closed",
                "cause": _cause(CONDITION_TEXTS["closed"], {"who": who, "when": when}),
                "action": "reopen" if own else "remove",
            }
        for file, error in validity.refused_files(opened):
            return {
                "state": "refused-program",
                "cause": _cause(error.template, {**error.params, "file": file.info.name}),
                "action": "update-program",
            }
        found = self._syncing(opened)
        if opened.state.newer and found["state"] not in CANNOT_SYNC:
            return {
                "state": "newer-version",
                "cause": _cause(CONDITION_TEXTS["newer-version"]),
                "action": "update",
            }
        return found

    def _syncing(self, opened: Opened) -> Json:
        """Whether a mandate syncs, or why it cannot."""
        node = self._node
        if not opened.shared:
            return {"state": "ok"}
        if node.identity.locked:
            return {
                "state": "locked",
                "cause": _cause(IdentityLocked.template),
                "action": "sign-in",
            }
        if not opened.replica.is_member(node.identity.device):
            refused = refusal(opened.row, opened.refused)
            if refused is not None:
                return {
                    "state": "refused",
                    "cause": _cause(refused.template, refused.params),
                    "action": "new-ticket",
                }
            return {
                "state": "waiting",
                "cause": _cause(CONDITION_TEXTS["waiting"]),
                "action": "wait",
            }
        members = opened.state.membership.members
        if not opened.state.standing.going_on(members) - {node.identity.device}:
            return {"state": "ok"}
        if not node.engine.meets_anybody(opened.id):
            if node.incompatible & members.keys():
                return {
                    "state": "other-protocol",
                    "cause": _cause(CONDITION_TEXTS["other-protocol"]),
                    "action": "update",
                }
            return {
                "state": "offline",
                "cause": _cause(CONDITION_TEXTS["offline"]),
                "action": "connect",
            }
        return {"state": "ok" if node.engine.in_step(opened.id) else "syncing"}

    def all(self) -> Json:
        """All mandates of this node (B-MAN-6)."""
        mandates = []
        suggested = self._node.suggestions.counts()
        for opened in sorted(
            self._node.opened.values(), key=lambda each: (each.name.casefold(), each.id)
        ):
            pending = [
                file.pending() for file in opened.state.present_files() if views.counts(file)
            ]
            mandates.append(
                {
                    "id": opened.id.hex(),
                    "name": opened.name,
                    "kind": self.kind(opened),
                    **self.condition(opened),
                    "pending": {
                        "added": sum(added for added, _ in pending),
                        "deleted": sum(deleted for _, deleted in pending),
                    },
                    "seat": self._seat(opened),
                    "suggestions": suggested.get(opened.id, 0),
                    "refused": sum(1 for _ in validity.refused_files(opened)),
                }
            )
        return {"mandates": mandates}

    async def show(self, mandate: str) -> Json:
        """Everything about one mandate."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return {
            "id": opened.id.hex(),
            "name": opened.name,
            "kind": self.kind(opened),
            **self.condition(opened),
            "folder": str(opened.folder),
            "seat": self._seat(opened),
            "contested": [views.person(opened.state, each) for each in opened.state.contested()],
            "synced": await self._synced(opened),
            "files": await self.files(opened, opened.state.present_files()),
            "detached": self._detached(opened),
            "suggestions": self._node.suggestions.view(opened),
            "programs": validity.programs(opened, self._node.incompatible),
            "policy": validity.policy_view(opened.state.standing.policy),
            "members": await self.members(opened),
            "removed": self._node.members.removed(opened),
        }

    def _detached(self, opened: Opened) -> list[Json]:
        """The files that were detached: history has them, and they can be attached again."""
        gone = [each for each in opened.state.files.values() if each.added and not each.present]
        return [
            {
                "id": file.id.hex(),
                "name": file.info.name,
                "kind": file.info.kind,
                "device": views.person(opened.state, file.device),
                "folder": file.info.folder,
            }
            for file in opened.listed(gone)
        ]

    def _seat(self, opened: Opened) -> str | None:
        seat = opened.state.seat()
        return None if seat is None else views.person(opened.state, seat)

    async def _synced(self, opened: Opened) -> str | None:
        """When this device was in step with another one last, as far as it knows.

        Of the time before the node started it knows only when it last met a member.
        """
        node = self._node
        if not opened.shared:
            return None
        if node.engine.meets_anybody(opened.id) and node.engine.in_step(opened.id):
            return views.iso(wall_ms())
        at = opened.synced_ms
        if not at:
            at = max((await node.store.last_seen(opened.id)).values(), default=0)
        return views.iso(at) if at else None

    async def members(self, opened: Opened) -> list[Json]:
        """The members, and devices that wait to be admitted (B-ID-2)."""
        node = self._node
        state = opened.state
        left = state.standing.left()
        ways = {
            peer.device: reached(peer, node.relays.host_of)
            for peer in node.engine.peers(opened.id)
            if peer.online and peer.device not in left
        }
        paces = node.links.paces()
        seen = await node.store.last_seen(opened.id)
        out = []
        for device, member in sorted(
            state.membership.members.items(), key=lambda item: (item[1].rank, item[0])
        ):
            own = device == node.identity.device
            out.append(
                {
                    "device": device.hex(),
                    "name": views.person(state, device),
                    "machine": views.machine(state, device),
                    "role": member.role,
                    "seat": device == state.seat(),
                    "contested": device in state.contested(),
                    "phrase": node.identity.phrase_of(device),
                    "this_device": own,
                    "left": device in left,
                    "online": own or device in ways,
                    "reached": ways.get(device),
                    "pace": paces[device].view() if device in ways and device in paces else None,
                    "last_seen": (
                        views.iso(wall_ms())
                        if own or device in ways
                        else views.iso(seen[device])
                        if device in seen
                        else None
                    ),
                }
            )
        return out

    async def files(self, opened: Opened, chosen: Iterable[FileState]) -> list[Json]:
        """Some files of a mandate, by name, with what their content tells (B-ATT-2)."""
        names = opened.names()
        await self._node.delivery.load(opened)
        years = await self._content.years(opened)
        synced = await self._synced(opened)
        contested = opened.state.contested()
        followers: dict[bytes, list[str]] = {}
        for each in opened.state.present_files():
            if each.info.follows is not None:
                followers.setdefault(each.info.follows, []).append(names[each.id])
        out = []
        for file in opened.listed(chosen):
            found = await self._content.findings(opened, file, years)
            shown = views.file_view(
                opened,
                file,
                names.get(file.id, file.info.name),
                self._node.identity.device,
                found.problems,
                found.period,
            )
            if (error := validity.refused(opened.state, file)) is not None:
                problem = Problem(error.code, error.template, 0, error.params)
                shown["problems"].append(views.problem(problem))
                if shown["state"] == "ok":
                    shown["state"] = "refused-program"
            follows = opened.state.files.get(file.info.follows or b"")
            known = follows is not None and follows.added is not None
            out.append(
                {
                    **shown,
                    "synced": synced,
                    "follows": names.get(follows.id, follows.info.name)
                    if follows is not None and known
                    else None,
                    "followed_by": sorted(followers.get(file.id, ()), key=str.casefold),
                    "contested": file.info.kind == "accounting" and file.device in contested,
                    "expect_seconds": file.expected_seconds or None,
                    "program": validity.program_view(file),
                }
            )
        return out


def _dismissed(opened: Opened) -> Json | None:
    """What is shown of a mandate from which this device was removed (B-ID-3)."""
    try:
        check_belongs(opened)
    except RemovedByOthers as error:
        return {
            "state": "removed-by-others",
            "cause": _cause(error.template, error.params),
            "action": "ask-senior",
        }
    return None


def _cause(template: str, params: Mapping[str, str] | None = None) -> Json:
    filled = dict(params or {})
    return {"text": template.format_map(filled), "template": template, "params": filled}
