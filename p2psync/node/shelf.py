"""Keeps the copies on this machine and the mandates' folds in step: takes saves up, writes files out.

Each mandate has one worker; its jobs are the names of what may have changed, so that a hundred hints
about one file are one look. A save that meets a file in motion is looked at again a little later.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import trio

from p2psync.core import crypto
from p2psync.core.crdt import SegmentSet
from p2psync.core.diff import diff
from p2psync.core.files import FileState, Version, replay, version_name
from p2psync.core.ops import AddFile, Chunked, Lines, Operation, OpId
from p2psync.engine.effects import Effect
from p2psync.errors import (
    ChunkMissing,
    FileAbsent,
    FileBusy,
    FileHeldBack,
    P2PSyncError,
    TargetChanged,
)
from p2psync.limits import FILES_AT_ONCE_MAX, WRITE_TRIES_MAX
from p2psync.node import copies as disk
from p2psync.node.copies import Copy, Gone, Records, Role, Unchanged, Whole
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.runner import InBatch, Runner, wall_ms
from p2psync.node.store import Store
from p2psync.storage.chunks import ChunkStore

T = TypeVar("T")
Job = tuple[str, bytes, Role | None]
"""What may have to be done: ``take`` a file's copy of a role, or ``write`` a file's copies."""
BUSY_SECONDS = 0.1
RETRY_SECONDS = 30.0


class Shelf:
    """The copies of all mandates' files on this machine."""

    def __init__(
        self,
        runner: Runner,
        store: Store,
        chunks: ChunkStore,
        notices: Notices,
        nursery: trio.Nursery,
        watch: Callable[[], None],
        idle: Callable[[], None],
        own_effects: Callable[[bytes, list[Effect]], list[Effect]],
    ) -> None:
        """``watch`` is called when copies came or went, ``idle`` when a mandate's jobs are done;
        ``own_effects`` lets the engine send what this
        device wrote to whoever is connected."""
        self._runner = runner
        self._store = store
        self._chunks = chunks
        self._notices = notices
        self._nursery = nursery
        self._watch = watch
        self._idle = idle
        self._own_effects = own_effects

    # -- jobs ---------------------------------------------------------------------------------

    def look_at(self, opened: Opened, copy: Copy) -> None:
        """A copy may have changed: look soon."""
        self._job(opened, ("take", copy.file, copy.role))

    def write_out(self, opened: Opened, file: bytes) -> None:
        """A file's content may have changed: write its copies soon."""
        self._job(opened, ("write", file, None))

    def _job(self, opened: Opened, job: Job) -> None:
        opened.jobs[job] = None
        if not opened.working:
            opened.working = True
            self._nursery.start_soon(self._work, opened)

    async def _work(self, opened: Opened) -> None:
        try:
            while opened.jobs:
                jobs, opened.jobs = opened.jobs, {}
                by_file: dict[bytes, list[Job]] = {}
                for job in jobs:
                    by_file.setdefault(job[1], []).append(job)
                async with opened.lock:
                    await together(partial(self._jobs_of_a_file, opened), by_file.values())
        finally:
            opened.working = False
            self._idle()

    async def _jobs_of_a_file(self, opened: Opened, jobs: Sequence[Job]) -> None:
        for kind, file, role in jobs:
            if kind == "write":
                await self.write(opened, file)
            elif role is not None and (copy := opened.copies.get((file, role))):
                await self._take_quietly(opened, copy)

    def _later(self, opened: Opened, copy: Copy, seconds: float) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            self.look_at(opened, copy)

        self._nursery.start_soon(wait)

    async def _take_quietly(self, opened: Opened, copy: Copy) -> None:
        try:
            await self.take(opened, copy)
        except FileBusy:
            self._later(opened, copy, BUSY_SECONDS)
        except FileHeldBack:
            pass
        except P2PSyncError as error:
            self._notices.alert(
                "file-unreadable",
                error,
                mandate=opened.id,
                file=copy.name,
                action="retry",
                key=f"unreadable:{copy.file.hex()}:{copy.role}",
            )
            self._later(opened, copy, RETRY_SECONDS)

    # -- taking up ----------------------------------------------------------------------------

    async def take(self, opened: Opened, copy: Copy, *, confirmed: bool = False) -> None:
        """Take up what is on the disk, if it changed; returns when it is durable.

        The caller holds the mandate's lock. Raises ``FileBusy``, ``FileHeldBack`` (with an alert) for
        a save that empties or guts the file, storage errors; then nothing has changed.
        """
        file = opened.state.files[copy.file]
        found = await trio.to_thread.run_sync(disk.look, copy, file.info.format)
        match found:
            case Gone():
                await self._gone(opened, copy, found)
                return
            case Unchanged(stat=stat):
                self._back(opened, copy)
                copy.stat = stat
                copy.held = b""
                return
            case Records() | Whole():
                self._back(opened, copy)
        known = self._recognise(opened, file, copy, found.digest)
        if known is not None:
            copy.heads, copy.digest, copy.stat = known, found.digest, found.stat
            copy.writing, copy.held = None, b""
            await self._runner.hand_in([self._store.keep_copy(copy)]).wait()
            await self.write(opened, copy.file)
            return
        if not confirmed and file.heads:
            await self._hold_if_suspicious(opened, file, copy, found)
        await self.save(opened, copy, found)
        await self.write(opened, copy.file)

    async def _gone(self, opened: Opened, copy: Copy, found: Gone) -> None:
        copy.stat = None
        if copy.role == "folder":
            copy.digest = b""
            await self.write(opened, copy.file)
        elif not copy.missing:
            copy.missing = True
            self._notices.alert_text(
                "link-broken",
                "the link to {file} is broken: {path} is not there",
                mandate=opened.id,
                file=copy.name,
                action="restore-link",
                key=f"missing:{copy.file.hex()}",
                path=str(copy.path),
            )

    def _back(self, opened: Opened, copy: Copy) -> None:
        if copy.missing:
            copy.missing = False
            self._notices.message(
                "link-restored",
                "the link to {file} is restored",
                mandate=opened.id,
                file=copy.name,
            )

    def _recognise(
        self, opened: Opened, file: FileState, copy: Copy, digest: bytes
    ) -> tuple[OpId, ...] | None:
        """Return the heads that content on the disk stands for when it is not a new save.

        After a crash between writing a file (or persisting its save) and noting so, the disk holds
        a version that descends from what was noted; taking it for a save would count it twice.
        """
        if copy.writing is not None and copy.writing[1] == digest:
            return copy.writing[0]
        if file.merged and crypto.content_digest(file.segments.emit()) == digest:
            return tuple(file.heads)
        wanted = set(copy.heads)
        for version in file.versions.values():
            if version.digest == digest and wanted <= file.ancestors([version.id]).keys():
                return (version.id,)
        return None

    async def _hold_if_suspicious(
        self, opened: Opened, file: FileState, copy: Copy, found: Records | Whole
    ) -> None:
        current = file.current()
        assert current is not None
        records = (
            sum(len(segment.records) for segment in found.document.segments)
            if isinstance(found, Records)
            else current.records
        )
        before = (current.size_bytes, current.records)
        if not disk.is_suspicious(before, (found.stat.size_bytes, records)):
            copy.held = b""
            return
        if copy.held != found.digest:
            copy.held = found.digest
            await self._runner.hand_in([self._store.keep_copy(copy)]).wait()
            self._notices.alert_text(
                "save-held-back",
                "{file} lost most of its content ({before} records before, {after} now): "
                "the save is held back",
                mandate=opened.id,
                file=copy.name,
                action="confirm",
                key=f"held:{copy.file.hex()}:{found.digest.hex()[:16]}",
                before=str(current.records),
                after=str(records),
            )
        raise FileHeldBack(file=copy.name, mandate=opened.state.name)

    async def save(
        self,
        opened: Opened,
        copy: Copy,
        found: Records | Whole,
        before: Sequence[Operation] = (),
        *,
        keep: bool = True,
    ) -> Version:
        """Write a new version from what was found on the disk; returns it when it is durable.

        ``keep`` notes in the same transaction that the copy holds it now.
        """
        file = opened.state.files.get(copy.file)
        content: Chunked | None = None
        lines: list[Lines] = []
        mergeable = False
        stat, digest = found.stat, found.digest
        if isinstance(found, Records):
            mergeable = found.document.mergeable
            base = await self._base(opened, file, copy.heads) if file and copy.heads else None
            old = disk.frozen(base.shown()) if base is not None else []
            lines = await trio.to_thread.run_sync(
                diff, copy.file, old, found.document.segments, opened.id + opened.replica.device
            )
        else:
            content, digest, stat = await trio.to_thread.run_sync(
                disk.seal_content,
                copy,
                self._chunks,
                opened.replica.chunk_secret,
                self._report(opened, copy, "reading"),
            )
        effects = opened.replica.save(
            copy.file,
            parents=copy.heads,
            lines=lines,
            content=content,
            mergeable=mergeable,
            size_bytes=stat.size_bytes,
            digest=digest,
            wall_ms=wall_ms(),
            before=before,
        )
        version = _latest(opened.state.files[copy.file], opened.replica.device)
        work: list[Effect | InBatch] = list(self._own_effects(opened.id, effects))
        if keep:
            copy.heads, copy.digest, copy.stat = (version.id,), digest, stat
            copy.writing, copy.held = None, b""
            work.insert(0, self._store.keep_copy(copy))
        await self._runner.hand_in(work).wait()
        return version

    async def save_content(self, opened: Opened, draft: Copy, old: Version) -> Version:
        """Write a new version whose content is an old one's chunks."""
        effects = opened.replica.save(
            draft.file,
            parents=draft.heads,
            lines=(),
            content=old.content,
            mergeable=False,
            size_bytes=old.size_bytes,
            digest=old.digest,
            wall_ms=wall_ms(),
        )
        await self._runner.hand_in(self._own_effects(opened.id, effects)).wait()
        return _latest(opened.state.files[draft.file], opened.replica.device)

    async def give_up_held(self, opened: Opened, copy: Copy) -> None:
        """Let a held-back save be overwritten: what is on the disk counts as what was there."""
        copy.digest, copy.held = copy.held, b""
        await self._runner.hand_in([self._store.keep_copy(copy)]).wait()

    async def attach(
        self,
        opened: Opened,
        items: Sequence[tuple[Copy, AddFile]],
        also: Sequence[Operation] = (),
    ) -> None:
        """Take up files for the first time, under the operations that attach them.

        All are read before any is attached, so one that cannot be read keeps all of them out. Returns
        when all are durable and have their copy in the mandate folder. ``also`` goes into the same
        entry as the first. The caller holds the lock.
        """
        found: dict[bytes, Records | Whole] = {}

        async def look(item: tuple[Copy, AddFile]) -> None:
            copy, operation = item
            match await trio.to_thread.run_sync(disk.look, copy, operation.format):
                case Records() | Whole() as content:
                    found[copy.file] = content
                case Gone() | Unchanged():
                    raise FileAbsent(path=str(copy.path))

        async def take(item: tuple[Copy, AddFile]) -> None:
            copy, operation = item
            extra = also if item is items[0] else ()
            await self.save(opened, copy, found[copy.file], [operation, *extra])
            opened.copies[(copy.file, copy.role)] = copy
            await self.write(opened, copy.file)

        await together(look, items)
        await together(take, items)
        self._watch()

    async def _base(self, opened: Opened, file: FileState, heads: Iterable[OpId]) -> SegmentSet:
        """The segments as some versions left them."""
        if set(heads) == set(file.heads):
            return file.segments
        versions = list(file.ancestors(heads).values())
        entries = list(
            dict.fromkeys(
                entry for version in versions for entry in (*version.parts, version.id[0])
            )
        )
        raws = await self._store.raws(opened.id, entries)
        found = opened.replica.lines_of(raws)

        return replay(
            file.info.format,
            file.reader,
            [line for entry in entries for line in found.get(entry, ()) if line[2].file == file.id],
        )

    # -- writing ------------------------------------------------------------------------------

    async def write(self, opened: Opened, file_id: bytes) -> None:
        """Bring all copies of a file on this machine up to date; the caller holds the lock."""
        file = opened.state.files.get(file_id)
        if file is None or not file.present or not file.heads:
            return
        self._shelve(opened)
        try:
            for _ in range(WRITE_TRIES_MAX):
                if await self._write_once(opened, file):
                    break
            await self._write_conflicts(opened, file)
        except ChunkMissing:
            return  # the content is on its way; ``ContentReady`` brings us back
        except FileHeldBack:
            return
        except P2PSyncError as error:
            opened.unwritten[file_id] = error.text
            self._notices.alert(
                "cannot-write",
                error,
                mandate=opened.id,
                file=file.info.name,
                action="retry",
                key=f"unwritten:{file_id.hex()}",
            )
            self._nursery.start_soon(self._retry_write, opened, file_id)
            return
        opened.unwritten.pop(file_id, None)

    async def _retry_write(self, opened: Opened, file_id: bytes) -> None:
        await trio.sleep(RETRY_SECONDS)
        self.write_out(opened, file_id)

    def _shelve(self, opened: Opened) -> None:
        """See that every attached file has a copy in the mandate folder, under its shown name."""
        names = opened.names()
        if opened.shelved is names:
            return
        opened.shelved = names
        came = False
        for file_id, name in names.items():
            copy = opened.copies.get((file_id, "folder"))
            if copy is None:
                opened.copies[(file_id, "folder")] = Copy(
                    opened.id, file_id, "folder", opened.folder, name
                )
                came = True
            elif copy.name != name:
                # Its content is written under the new name; the old name may be another's now.
                opened.copies[(file_id, "folder")] = replace(copy, name=name, digest=b"", stat=None)
                came = True
        if came:
            self._watch()

    async def _write_once(self, opened: Opened, file: FileState) -> bool:
        """Write every copy that is behind; false when one changed under us and was taken up."""
        for role in ("folder", "attached"):
            copy = opened.copies.get((file.id, role))
            if copy is None or copy.held or (role == "attached" and copy.missing):
                continue
            current = file.current()
            assert current is not None
            heads = tuple(sorted(file.heads)) if file.merged else (current.id,)
            if copy.digest and tuple(sorted(copy.heads)) == heads:
                continue
            content, digest, size = await self.content(opened, file, None)
            if digest != copy.digest or not copy.digest:
                if file.merged:
                    copy.writing = (heads, digest)
                    await self._runner.hand_in([self._store.keep_copy(copy)]).wait()
                try:
                    copy.stat = await trio.to_thread.run_sync(disk.write, copy, content())
                except TargetChanged:
                    await self._changed_under_us(opened, copy)
                    return False
                if role == "attached":
                    self._notices.message(
                        "file-updated",
                        "{file} was brought up to date",
                        mandate=opened.id,
                        file=copy.name,
                    )
            copy.heads, copy.digest, copy.writing = heads, digest, None
            await self._runner.hand_in([self._store.keep_copy(copy)]).wait()
        return True

    async def _changed_under_us(self, opened: Opened, copy: Copy) -> None:
        """Make a version of what somebody saved while we were about to write."""
        if copy.digest:
            await self.take(opened, copy)
            return
        # A file of that name stood in the mandate folder before ours came: it is somebody's.
        raise TargetChanged(path=str(copy.path))

    async def content(
        self, opened: Opened, file: FileState, version: Version | None
    ) -> tuple[Callable[[], Iterator[bytes]], bytes, int]:
        """Return (how to read the content, its digest, its size) of a version, or of what is shown.

        Raises ``ChunkMissing`` while the content is not here.
        """
        current = file.current()
        assert current is not None
        if version is None and file.merged:
            return _of_bytes(file.segments.emit())
        wanted = version or current
        if wanted.content is None:
            base = await self._base(opened, file, [wanted.id])
            return _of_bytes(base.emit())
        chunked = wanted.content
        secret = opened.replica.chunk_secret
        missing = await trio.to_thread.run_sync(self._first_missing, chunked, secret)
        if missing is not None:
            raise ChunkMissing(address=missing.hex())
        read = partial(disk.open_content, chunked, self._chunks, secret)
        return read, wanted.digest, wanted.size_bytes

    def _first_missing(self, content: Chunked, secret: bytes) -> bytes | None:
        for address, _ in disk.split_references(content.references):
            if not self._chunks.has(address):
                return address
        if content.indirect:
            listed = b"".join(disk.open_references(content.references, self._chunks, secret))
            for address, _ in disk.split_references(listed):
                if not self._chunks.has(address):
                    return address
        return None

    async def _write_conflicts(self, opened: Opened, file: FileState) -> None:
        """Keep the versions that lost beside the file, under names that all devices agree on."""
        conflicts = file.conflicts()
        if not conflicts:
            return
        name = opened.names()[file.id]
        for version in conflicts:
            copy = Copy(opened.id, file.id, "folder", opened.folder, conflict_name(name, version))
            content, digest, _ = await self.content(opened, file, version)
            copy.digest = digest
            try:
                await trio.to_thread.run_sync(disk.write_new, copy, content())
            except TargetChanged:
                continue
        others = ", ".join(conflict_name(name, version) for version in conflicts)
        self._notices.alert_text(
            "conflict",
            "{file} was changed on two sides; both versions are kept, the other one as {others}",
            mandate=opened.id,
            file=name,
            action="restore",
            key=f"conflict:{file.id.hex()}:" + ":".join(v.name for v in conflicts),
            others=others,
        )

    def _report(self, opened: Opened, copy: Copy, phase: str) -> disk.Report:
        token = trio.lowlevel.current_trio_token()
        tell = partial(self._notices.progress, mandate=opened.id, file=copy.name, phase=phase)

        def report(done: int, total: int) -> None:
            token.run_sync_soon(tell, done, total)

        return report


async def together(
    do: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int = FILES_AT_ONCE_MAX
) -> None:
    """Do something for each item, a few at a time; then raise the first error that there was.

    What waits for the disk at the same time is made durable together.
    """
    errors: list[P2PSyncError] = []
    limit = trio.CapacityLimiter(at_once)

    async def one(item: T) -> None:
        async with limit:
            try:
                await do(item)
            except P2PSyncError as error:
                errors.append(error)

    async with trio.open_nursery() as nursery:
        for item in items:
            nursery.start_soon(one, item)
    if errors:
        raise errors[0]


def conflict_name(name: str, version: Version) -> str:
    """The name of a version that is kept beside its file."""
    stem, dot, suffix = name.rpartition(".")
    mark = f" (conflict {version_name(version.id)[:8]})"
    return f"{stem}{mark}.{suffix}" if dot else f"{name}{mark}"


def _of_bytes(data: bytes) -> tuple[Callable[[], Iterator[bytes]], bytes, int]:
    return (lambda: iter((data,))), crypto.content_digest(data), len(data)


def _latest(file: FileState, device: bytes) -> Version:
    """The version that this device wrote last."""
    return max(
        (version for version in file.versions.values() if version.device == device),
        key=lambda version: (version.stamp, version.id),
    )
