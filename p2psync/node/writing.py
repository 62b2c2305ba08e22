"""Writes files out: the copies in the mandate folder and the attached files, after what they hold
is durable.

A copy is replaced only while it still is what we know of it; whatever else stands there is looked
at first, and somebody's own file is never touched.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import trio

from p2psync.core.files import FileState, Version, version_name
from p2psync.core.ops import OpId
from p2psync.errors import NotARegularFile, P2PSyncError, TargetChanged
from p2psync.node import copies as disk
from p2psync.node.contents import Contents
from p2psync.node.copies import Copy
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.runner import InBatch, Runner
from p2psync.node.store import Store
from p2psync.storage.file_state import CLOCK_TICK_NS, FileStat


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a copy is to hold; ``write`` is ``None`` when it holds it and only nobody noted so."""

    copy: Copy
    heads: tuple[OpId, ...]
    digest: bytes
    merged: bool
    write: disk.Write | None


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
        for file_id, name in names.items():
            copy = opened.copies.get((file_id, "folder"))
            if copy is None:
                copy = Copy(opened.id, file_id, "folder", opened.folder, name)
                opened.copies[(file_id, "folder")] = copy
            elif copy.name != name:
                out.append(copy)
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

    def keep_soon(self, copy: Copy) -> None:
        """Do ``keep`` without waiting: nothing is lost if it never happens."""
        self._runner.hand_in([self.note(copy)])

    async def forget(self, copy: Copy) -> None:
        """Note durably that a copy is there no more."""
        await self._runner.hand_in([self._store.drop_copy(copy)]).wait()

    def note(self, copy: Copy) -> InBatch:
        """What ``keep`` writes, for a transaction with more in it."""
        return self._store.keep_copy(copy)

    # -- contents -----------------------------------------------------------------------------

    async def write_many(
        self, opened: Opened, wanted: Sequence[tuple[FileState, Copy]]
    ) -> list[P2PSyncError | None]:
        """Write what is shown to the copies that are behind; return each one's error.

        That is ``TargetChanged`` where somebody changed the copy, ``ChunkMissing`` where the
        content is not here, or what the disk says. Raises ``StateReloaded``.
        """
        errors: list[P2PSyncError | None] = [None] * len(wanted)
        plans: list[tuple[int, _Plan]] = []
        for number, (file, copy) in enumerate(wanted):
            try:
                plan = await self._plan(opened, file, copy)
            except P2PSyncError as error:
                errors[number] = error
                continue
            if plan is not None:
                plans.append((number, plan))
        opened.check_live()
        merged = [plan for _, plan in plans if plan.write is not None and plan.merged]
        if merged:
            for plan in merged:
                plan.copy.writing = (plan.heads, plan.digest)
            self._runner.hand_in([self.note(plan.copy) for plan in merged])
        writes = [plan.write for _, plan in plans if plan.write is not None]
        results: list[FileStat | P2PSyncError] = []
        if writes:
            # Nothing that is not durable reaches a file: after a crash nobody could tell it from
            # a person's change, and it would count twice.
            durable = self._runner.durable()
            results = await trio.to_thread.run_sync(disk.write_many, writes, durable)
        opened.check_live()
        notes: list[InBatch] = []
        came = False
        result = iter(results)
        for number, plan in plans:
            stat = None if plan.write is None else next(result)
            if isinstance(stat, P2PSyncError):
                errors[number] = stat
                continue
            came = came or not plan.copy.digest
            self._note_written(opened, plan, stat)
            notes.append(self.note(plan.copy))
        if came:
            self._watch()
        if notes:
            self._contents.pieces.moved(opened)
            # What a person saves from here on is a change of what was written, after a crash too.
            await self._runner.hand_in(notes).wait()
        return errors

    async def _plan(self, opened: Opened, file: FileState, copy: Copy) -> "_Plan | None":
        """What is to be done to bring a copy up to date; ``None`` when it is."""
        current = file.current()
        assert current is not None
        merged = file.merged
        heads = tuple(sorted(file.heads)) if merged else (current.id,)
        if copy.digest and not copy.missing and tuple(sorted(copy.heads)) == heads:
            return None
        version = None if merged else current
        content, digest, size_bytes = await self._contents.read(opened, file, version)
        opened.check_live()
        if digest == copy.digest and not copy.missing:
            return _Plan(copy, heads, digest, merged, None)
        write = disk.Write(copy, content, size_bytes)
        pieces = self._contents.pieces
        if version is not None and version.content is not None and copy.role == "folder":
            where = pieces.where(opened, file.id, version)
            write.moved = partial(pieces.moving, where)
        # Also of a record file: a save of it that was refused is a whole version.
        held = file.versions.get(copy.heads[0]) if len(copy.heads) == 1 else None
        if held is not None and held.content is not None and held.digest == copy.digest:
            write.keep = pieces.kept_as(opened.id, copy.digest)
        return _Plan(copy, heads, digest, merged, write)

    def _note_written(self, opened: Opened, plan: "_Plan", stat: FileStat | None) -> None:
        copy = plan.copy
        if stat is not None:
            if copy.role == "attached":
                self._notices.message(
                    "file-updated",
                    "{file} was brought up to date",
                    mandate=opened.id,
                    file=copy.name,
                )
            elif not plan.merged:
                self._contents.pieces.placed(plan.heads[0])
            # A later write moves the modification time on, unless it falls into the same tick.
            copy.stat = stat if stat.mtime_ns + CLOCK_TICK_NS <= stat.ctime_ns else None
            copy.seen = stat
            copy.missing = False
        copy.heads, copy.digest, copy.writing = plan.heads, plan.digest, None

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
            self._contents.pieces.moved(opened)
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

    # -- what is detached -----------------------------------------------------------------------

    async def put_away(self, opened: Opened, file: FileState) -> None:
        """Take the copies of a detached file out of the mandate folder (B-DET-3).

        What only they hold is kept as an old version. One that somebody changed stays, and is
        theirs from now on.
        """
        copy = opened.copies.get((file.id, "folder"))
        if copy is None:
            return
        pieces = self._contents.pieces
        beside = dict(opened.conflicts.pop(file.id, {}))
        for version in file.conflicts():
            beside.setdefault(conflict_name(copy.name, version), version.digest)
        held = file.versions.get(copy.heads[0]) if len(copy.heads) == 1 else None
        whole = held is not None and held.content is not None and held.digest == copy.digest
        whole = whole or file.added is None  # it may count again, and be nowhere else then
        keep = pieces.kept_as(opened.id, copy.digest) if whole else None
        try:
            if copy.digest:
                await trio.to_thread.run_sync(disk.put_away, copy, keep)
        except (TargetChanged, NotARegularFile):
            self._notices.message(
                "copy-left",
                "{file} is detached, but {path} holds a change that was not taken up: it stays "
                "there and is yours",
                mandate=opened.id,
                file=copy.name,
                path=str(copy.path),
            )
        if beside:
            await trio.to_thread.run_sync(disk.remove_quietly, opened.folder, beside.items())
        opened.check_live()
        opened.copies.pop((file.id, "folder"), None)
        for known in (opened.unwritten, opened.incomplete):
            known.pop(file.id, None)
        for place in [each for each in opened.unreadable if each[0] == file.id]:
            del opened.unreadable[place]
        pieces.moved(opened)
        self._watch()
        await self._runner.hand_in([self._store.drop_copy(copy)]).wait()

    async def _beside(self, opened: Opened, file: FileState, shown: str, version: Version) -> bytes:
        if version.content is not None:
            # It is still to be had once the conflict is settled and what is beside is gone.
            where = self._contents.pieces.where(opened, file.id, version)
            await trio.to_thread.run_sync(self._contents.pieces.keep, opened.id, where)
        content, digest, _ = await self._contents.read(opened, file, version)
        copy = Copy(opened.id, file.id, "folder", opened.folder, shown, digest=digest)
        await self._runner.flushed()
        with suppress(TargetChanged):  # there from before a restart, or somebody works with it
            await trio.to_thread.run_sync(disk.write_new, copy, content())
        return digest

    def give_up(self, opened: Opened, file: FileState, error: P2PSyncError) -> None:
        """Tell that a file cannot be written here."""
        opened.unwritten[file.id] = error
        self._watch()  # what is in the way may go
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
