"""What follows when a file has another place (B-MIG-2): names follow, and only one device has it.

The last writer's word counts, on every device alike: who finds that another device has the file now
lets go of its own, and its person is told.
"""

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from p2psync.core.changes import FilePlaced
from p2psync.errors import FileBusy, P2PSyncError
from p2psync.limits import WRITE_TRIES_MAX
from p2psync.node import views
from p2psync.node.copies import Copy
from p2psync.node.opened import Opened

if TYPE_CHECKING:
    from p2psync.node.node import Node

BUSY_SECONDS = 0.1


class Places:
    """Follows where files are."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    def placed(self, opened: Opened, change: FilePlaced) -> None:
        """A file has another name, folder or device."""
        node = self._node
        node.shelf.write_out(opened, change.file)
        node.watch_soon()
        file = opened.state.files.get(change.file)
        if file is None or file.added is None or not file.present:
            return
        self._tell(opened, change)
        self._let_go_soon(opened, change.file)

    def admit(self, opened: Opened) -> None:
        """Let go of what others took over, if the node ended before it did."""
        for file, role in list(opened.copies):
            if role == "attached":
                self._let_go_soon(opened, file)

    def _let_go_soon(self, opened: Opened, file_id: bytes) -> None:
        if self._lost(opened, file_id):
            self._node.start_soon(lambda: self._let_go(opened, file_id))

    def _lost(self, opened: Opened, file_id: bytes) -> bool:
        """Whether a file that is attached here is another device's."""
        file = opened.state.files.get(file_id)
        return (
            (file_id, "attached") in opened.copies
            and file is not None
            and file.placed is not None
            and file.added is not None
            and file.device != self._node.identity.device
        )

    async def _let_go(self, opened: Opened, file_id: bytes) -> None:
        node = self._node
        with suppress(P2PSyncError):  # with another replica, or at the next start, it goes on
            async with opened.lock:
                for _ in range(WRITE_TRIES_MAX):
                    copy = opened.copies.get((file_id, "attached"))
                    if copy is None or not opened.live or not self._lost(opened, file_id):
                        return
                    try:
                        # Its last save may not have been looked at yet: nothing of it is lost.
                        await node.shelf.take_last(opened, copy)
                        break
                    except FileBusy:
                        await trio.sleep(BUSY_SECONDS)
                    except P2PSyncError:
                        break
                copy = opened.copies.get((file_id, "attached"))
                if copy is None or not opened.live or not self._lost(opened, file_id):
                    return
                # Told first: after a crash in between it is told once all the same.
                self._tell_lost(opened, copy)
                await node.shelf.let_go(opened, copy)

    def _tell_lost(self, opened: Opened, copy: Copy) -> None:
        file = opened.state.files[copy.file]
        assert file.placed is not None
        by = file.placed[1][0].hex()[:16]
        self._node.notices.alert_text(
            "file-taken-over",
            "{who} has {file} now, in {folder}: {path} here is no longer attached, and what is "
            "saved there reaches nobody",
            mandate=opened.id,
            file=opened.names().get(file.id, file.info.name),
            device=file.device,
            key=f"taken-over:{file.id.hex()}:{by}",
            who=views.person(opened.state, file.device),
            folder=file.info.folder,
            path=str(copy.path),
        )

    def _tell(self, opened: Opened, change: FilePlaced) -> None:
        file = opened.state.files[change.file]
        after = (change.device, file.info.folder, file.info.name)
        before = change.before
        if before is None or before == after:
            return
        state = opened.state
        places = [
            {
                "device": device.hex(),
                "device_name": views.person(state, device),
                "folder": folder,
                "name": name,
            }
            for device, folder, name in (before, after)
        ]
        template = "{who} moved {file}: it was {before}, now it is {after}"
        if before[0] != after[0]:
            template = "{who} took {file} over from {other}: it was {before}, now it is {after}"
        self._node.notices.message(
            "file-moved",
            template,
            mandate=opened.id,
            file=opened.names().get(change.file, file.info.name),
            device=change.device,
            data={"from": places[0], "to": places[1]},
            who=views.person(state, change.device),
            other=views.person(state, before[0]),
            before=os.path.join(*before[1:]),
            after=os.path.join(*after[1:]),
        )
