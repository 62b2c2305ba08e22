"""Writes files out: the copies in the mandate folder and the attached files, after what they hold
is durable.

A copy is replaced only while it still is what we know of it; whatever else stands there is looked
at first, and somebody's own file is never touched.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import trio

from p2psync.core.files import FileState, Version, version_name
from p2psync.errors import P2PSyncError, TargetChanged
from p2psync.node import copies as disk
from p2psync.node.contents import Contents
from p2psync.node.copies import Copy
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.runner import InBatch, Runner
from p2psync.node.store import Store


class Writing:
    """Brings copies on this machine up to date."""

    def __init__(
        self,
        runner: Runner,
        store: Store,
        contents: Contents,
        notices: Notices,
        watch: Callable[[], None],
    ) -> None:
        """``watch`` is called when copies came or went."""
        self._runner = runner
        self._store = store
        self._contents = contents
        self._notices = notices
        self._watch = watch

    # -- names --------------------------------------------------------------------------------

    def misnamed(self, opened: Opened) -> list[Copy]:
        """The copies in the mandate folder that stand under another name than they are to have.

        A file that has no copy there yet gets one, on paper.
        """
        names = opened.names()
        if opened.shelved is names:
            return []
        out = []
        came = False
        for file_id, name in names.items():
            copy = opened.copies.get((file_id, "folder"))
            if copy is None:
                copy = Copy(opened.id, file_id, "folder", opened.folder, name)
                opened.copies[(file_id, "folder")] = copy
                came = True
            elif copy.name != name:
                out.append(copy)
        if came:
            self._watch()
        if not out:
            opened.shelved = names
        return out

    async def rename(self, opened: Opened, copy: Copy) -> None:
        """Take a copy away from its old name; it is written anew under the one it is to have.

        Durable before anything is written under the old name. Raises ``TargetChanged`` when
        somebody changed it since we last knew it.
        """
        name = opened.names()[copy.file]
        if copy.digest:
            await trio.to_thread.run_sync(disk.remove, copy)
        moved = replace(copy, name=name, heads=(), digest=b"", stat=None, writing=None, held=b"")
        opened.copies[(copy.file, "folder")] = moved
        await self.keep(opened, moved)
        self._watch()

    async def keep(self, opened: Opened, copy: Copy) -> None:
        """Note durably what a copy holds, after all entries that were handed in before."""
        opened.check_live()
        await self._runner.hand_in([self.note(copy)]).wait()

    def note(self, copy: Copy) -> InBatch:
        """What ``keep`` writes, for a transaction with more in it."""
        return self._store.keep_copy(copy)

    # -- contents -----------------------------------------------------------------------------

    async def write(self, opened: Opened, file: FileState, copy: Copy) -> None:
        """Write what is shown if the copy is behind; raises ``TargetChanged``, ``ChunkMissing``."""
        current = file.current()
        assert current is not None
        heads = tuple(sorted(file.heads)) if file.merged else (current.id,)
        merged = file.merged
        if copy.digest and not copy.missing and tuple(sorted(copy.heads)) == heads:
            return
        content, digest, size_bytes = await self._contents.read(
            opened, file, current if not merged else None
        )
        await trio.to_thread.run_sync(disk.check_room, copy, size_bytes)
        opened.check_live()
        if digest != copy.digest or copy.missing:
            if merged:
                copy.writing = (heads, digest)
                await self.keep(opened, copy)
            else:
                # Nothing that is not durable reaches a file: after a crash nobody could tell it
                # from a person's change, and it would count twice.
                await self._runner.flushed()
            await trio.to_thread.run_sync(disk.write, copy, content())
            if copy.role == "attached":
                self._notices.message(
                    "file-updated",
                    "{file} was brought up to date",
                    mandate=opened.id,
                    file=copy.name,
                )
            copy.stat, copy.missing = None, False
        copy.heads, copy.digest, copy.writing = heads, digest, None
        await self.keep(opened, copy)

    async def write_conflicts(self, opened: Opened, file: FileState) -> None:
        """Keep the versions that lost beside the file, under names that all devices agree on.

        When they are settled, what is left of them beside the file goes.
        """
        conflicts = file.conflicts()
        beside = opened.conflicts.get(file.id, {})
        name = opened.names()[file.id]
        wanted = {conflict_name(name, version): version for version in conflicts}
        over = {shown: digest for shown, digest in beside.items() if shown not in wanted}
        if over:
            await trio.to_thread.run_sync(disk.remove_quietly, opened.folder, over.items())
        if not conflicts:
            opened.conflicts.pop(file.id, None)
            self._notices.settle("conflict", mandate=opened.id, key=f"conflict:{file.id.hex()}")
            return
        written: dict[str, bytes] = {}
        for shown, version in wanted.items():
            written[shown] = beside.get(shown) or await self._beside(opened, file, shown, version)
        opened.conflicts[file.id] = written
        if beside and beside.keys() != written.keys():
            self._notices.settle("conflict", mandate=opened.id, key=f"conflict:{file.id.hex()}")
        self._notices.alert_text(
            "conflict",
            "{file} was changed on two sides; both versions are kept, the other one as {others}: "
            "restore the version that is to count",
            mandate=opened.id,
            file=name,
            action="restore",
            key=f"conflict:{file.id.hex()}",
            others=", ".join(written),
        )

    async def _beside(self, opened: Opened, file: FileState, shown: str, version: Version) -> bytes:
        content, digest, _ = await self._contents.read(opened, file, version)
        copy = Copy(opened.id, file.id, "folder", opened.folder, shown, digest=digest)
        await self._runner.flushed()
        with suppress(TargetChanged):  # there from before a restart, or somebody works with it
            await trio.to_thread.run_sync(disk.write_new, copy, content())
        return digest

    def give_up(self, opened: Opened, file: FileState, error: P2PSyncError) -> None:
        """Tell that a file cannot be written here."""
        opened.unwritten[file.id] = error
        self._notices.alert(
            "cannot-write",
            error,
            mandate=opened.id,
            file=file.info.name,
            action="retry",
            key=f"unwritten:{file.id.hex()}",
        )


def conflict_name(name: str, version: Version) -> str:
    """The name of a version that is kept beside its file."""
    stem, dot, suffix = name.rpartition(".")
    mark = f" (conflict {version_name(version.id)[:8]})"
    return f"{stem}{mark}.{suffix}" if dot else f"{name}{mark}"
