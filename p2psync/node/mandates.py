"""Commands on mandates as a whole: create, share, rename."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import trio

from p2psync.core import membership, ops
from p2psync.core.membership import MAY_WRITE
from p2psync.core.names import check_name, safe_folder_name
from p2psync.engine.effects import Effect
from p2psync.errors import NotAllowed
from p2psync.formats.cresus_settings import Settings
from p2psync.node import find, validity
from p2psync.node.attaching import Attaching, Wanted
from p2psync.node.findings import Content
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.overview import Overview
from p2psync.node.runner import wall_ms
from p2psync.storage.disk import disk_errors, sync_names
from p2psync.storage.rows import MandateRow

Json = dict[str, Any]


class Mandates:
    """What people do with mandates on this node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.content = Content(node)
        self.overview = Overview(node, self.content)
        self.attaching = Attaching(node, self.overview)

    async def create(self, name: str, accounting: str | None) -> Json:
        """Found a local mandate (B-MAN-2), with its accounting file (B-MAN-3)."""
        node = self._node
        node.check_writable()
        node.identity.check_unlocked()
        check_name(name)
        paths = await self.attaching.check_attachable([] if accounting is None else [accounting])
        salt = node.entropy(16)
        mandate = membership.mandate_id(node.identity.device, salt)
        row = MandateRow(
            id=mandate,
            epoch_keys=(node.entropy(32),),
            folder=await self.new_folder(name),
            by_ticket=False,
            created_ms=wall_ms(),
        )
        opened = Opened(node.replica(row, ()), row, node.mandates_folder / row.folder)
        offered: list[str] = []
        try:
            await self.found(opened, [[ops.Create(node.identity.device, salt, name)]], contacts={})
            if paths:
                wanted = [Wanted(path, "accounting") for path in paths]
                attached = await self.attaching.attach_paths(opened, wanted)
                offered = attached["offered"]
        except BaseException:
            # A mandate whose first step failed never was: nothing has changed.
            with trio.CancelScope(shield=True):
                await node.forget(opened)
            raise
        return {
            "id": mandate.hex(),
            "name": name,
            "kind": "local",
            "folder": str(opened.folder),
            "offered": offered,
        }

    async def found(
        self,
        opened: Opened,
        entries: Sequence[Sequence[ops.Operation]],
        contacts: Mapping[bytes, tuple[str, ...]],
    ) -> None:
        """Make a mandate's row, its contacts and its first own entries durable at once, and open
        it.

        So that a crash leaves all of it or nothing.
        """
        node = self._node
        effects: list[Effect] = []
        for operations in entries:
            effects += opened.replica.author(operations, wall_ms())
        if not opened.by_ticket:
            opened.row = replace(opened.row, genesis=opened.replica.opening()[0])
        told = node.store.tell_contacts(opened.id, contacts)
        await node.runner.hand_in([node.keep_row(opened), told, *effects]).wait()
        node.admit_opened(opened, contacts)
        node.update_discovery()

    async def new_folder(self, name: str) -> str:
        """Make a folder of its own under the mandates folder, named near to the mandate's name."""
        base = safe_folder_name(name)
        taken = {opened.row.folder.casefold() for opened in self._node.opened.values()}
        root = self._node.mandates_folder

        def make() -> str:
            candidate, number = base, 2
            while True:
                if candidate.casefold() not in taken:
                    with disk_errors(str(root / candidate)), suppress(FileExistsError):
                        root.mkdir(mode=0o700, parents=True, exist_ok=True)
                        (root / candidate).mkdir(mode=0o700)
                        sync_names(str(root))
                        return candidate
                candidate = f"{base} ({number})"
                number += 1

        return await trio.to_thread.run_sync(make)

    async def share(self, mandate: str) -> Json:
        """Let others subscribe (B-MAN-4)."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        node.identity.check_unlocked()
        if not opened.state.shared:
            if opened.state.membership.role(node.identity.device) != "owner":
                raise NotAllowed(action="share the mandate", roles="owner")
            validity.check_all(opened)
            await node.author(opened, [ops.Share()]).wait()
            node.update_discovery()
        return {"id": opened.id.hex(), "name": opened.name, "kind": "shared"}

    async def rename(self, mandate: str, name: str) -> Json:
        """Give a mandate another name; its folder keeps the one it has."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_name(name)
        if not opened.may_write:
            raise NotAllowed(action="rename the mandate", roles=", ".join(sorted(MAY_WRITE)))
        if name != opened.state.name:
            await node.author(opened, [ops.Rename(name)]).wait()
        return {"id": opened.id.hex(), "name": opened.name, "folder": str(opened.folder)}

    async def years(self, opened: Opened) -> list[Settings]:
        """The settings of the mandate's accounting files whose content is here."""
        return await self.content.years(opened)
