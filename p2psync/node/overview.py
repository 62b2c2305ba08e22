"""What is shown of mandates: all of them, and everything about one (B-MAN-6)."""

from collections.abc import Mapping, Sequence
from typing import Any

from p2psync.core.files import FileState
from p2psync.errors import IdentityLocked
from p2psync.formats.cresus_settings import Settings
from p2psync.node import find, views
from p2psync.node.findings import Content
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.refusals import refusal
from p2psync.node.runner import wall_ms

Json = dict[str, Any]
CONDITION_TEXTS = {
    "waiting": "no member that may admit this device was reached yet",
    "offline": "no other device of the mandate is reachable",
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
        if not opened.state.membership.members.keys() - {node.identity.device}:
            return {"state": "ok"}
        if not node.engine.meets_anybody(opened.id):
            return {
                "state": "offline",
                "cause": _cause(CONDITION_TEXTS["offline"]),
                "action": "connect",
            }
        return {"state": "ok" if node.engine.in_step(opened.id) else "syncing"}

    def all(self) -> Json:
        """All mandates of this node (B-MAN-6)."""
        mandates = []
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
                }
            )
        return {"mandates": mandates}

    async def show(self, mandate: str) -> Json:
        """Everything about one mandate."""
        opened = find.mandate(self._node.opened.values(), mandate)
        names = opened.names()
        years = await self._content.years(opened)
        files = []
        for file in sorted(opened.state.present_files(), key=lambda each: names[each.id]):
            files.append(await self.file(opened, file, names[file.id], years))
        return {
            "id": opened.id.hex(),
            "name": opened.name,
            "kind": self.kind(opened),
            **self.condition(opened),
            "folder": str(opened.folder),
            "seat": (views.person(opened.state, seat) if (seat := opened.state.seat()) else None),
            "files": files,
            "members": await self.members(opened),
        }

    async def members(self, opened: Opened) -> list[Json]:
        """The members, and devices that wait to be admitted (B-ID-2)."""
        node = self._node
        state = opened.state
        online = {peer.device for peer in node.engine.peers(opened.id) if peer.online}
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
                    "phrase": node.identity.phrase_of(device),
                    "this_device": own,
                    "online": own or device in online,
                    "last_seen": (
                        views.iso(wall_ms())
                        if own or device in online
                        else views.iso(seen[device])
                        if device in seen
                        else None
                    ),
                }
            )
        return out

    async def file(
        self, opened: Opened, file: FileState, name: str, years: Sequence[Settings]
    ) -> Json:
        """One file of a mandate, with what its content tells (B-ATT-2)."""
        found = await self._content.findings(opened, file, years)
        device = self._node.identity.device
        return views.file_view(opened, file, name, device, found.problems, found.period)


def _cause(template: str, params: Mapping[str, str] | None = None) -> Json:
    filled = dict(params or {})
    return {"text": template.format_map(filled), "template": template, "params": filled}
