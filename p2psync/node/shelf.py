"""Keeps the copies on this machine and the mandates' folds in step: takes saves up, writes files
out.

Each mandate has one worker; its jobs are the names of what may have changed, so that a hundred
hints about one file are one look. A save that meets a file in motion is looked at again a little
later.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import trio

from p2psync.core import crypto
from p2psync.core.files import FileState, Version
from p2psync.core.membership import MAY_WRITE
from p2psync.core.ops import AddFile, Operation, OpId, Place
from p2psync.engine.effects import Effect
from p2psync.errors import (
    ChunkMissing,
    FileAstray,
    FileBusy,
    FileHeldBack,
    FileInTheWay,
    FolderMissing,
    NotAllowed,
    P2PSyncError,
    ProgramRefused,
    StateReloaded,
    TargetChanged,
)
from p2psync.limits import FILES_AT_ONCE_MAX, WRITE_TRIES_MAX
from p2psync.node import copies as disk
from p2psync.node import held as holding
from p2psync.node import validity
from p2psync.node.contents import Contents, Read
from p2psync.node.copies import Copy, Role
from p2psync.node.looking import (
    Gone,
    Look,
    Records,
    Sealed,
    Unchanged,
    Whole,
    look,
    look_many,
    seal_large,
)
from p2psync.node.missing import Missing
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.pieces import ROLES, Pieces
from p2psync.node.runner import InBatch, Runner
from p2psync.node.saving import NOTHING, Draft, Old, Saving
from p2psync.node.store import Store
from p2psync.node.writing import Writing
from p2psync.storage.file_state import FileStat

T = TypeVar("T")
Job = tuple[str, bytes, Role | None]
"""What may have to be done: ``take`` a file's copy of a role, or ``write`` a file's copies."""
BUSY_SECONDS = 0.1
RETRY_SECONDS = 30.0
LOOKED_AT_AT_ONCE = 64
"""Copies that are looked at in one go."""
WRITTEN_AT_ONCE = 512
"""Files that are written with one sync."""
LATE_FROM_FILES = 64
LATE_FROM_BYTES = 4 << 20
"""So much that is attached at a time is sent before it is copied."""
LATE_SECONDS_MAX = 120.0
"""And copied after that time at the latest."""
_GONE_WITH_COPIES = ("missing", "unwritten", "held", "unreadable", "conflict", "file-returned")
"""The keys of alerts that are no concern any more once a file is detached."""


class Shelf:
    """The copies of all mandates' files on this machine."""

    def __init__(
        self,
        runner: Runner,
        store: Store,
        pieces: Pieces,
        notices: Notices,
        nursery: trio.Nursery,
        watch: Callable[[], None],
        idle: Callable[[], None],
        own_effects: Callable[[bytes, list[Effect]], list[Effect]],
        written: Callable[[bytes, bytes], None],
        lost: Callable[[Opened, bytes, OpId], None],
        missing: Missing,
        sending: Callable[[Opened], bool],
    ) -> None:
        """``watch`` is called when copies came or went, ``idle`` when a mandate's jobs are done,
        ``written`` when the copies of a mandate's file are up to date, ``lost`` when a version's
        content is not where it was to be; ``own_effects`` lets the engine send what this device
        wrote to whoever is connected, ``sending`` tells whether any of them lacks something.
        """
        self._notices = notices
        self._nursery = nursery
        self._watch = watch
        self._idle = idle
        self._written = written
        self._lost = lost
        self._missing = missing
        self._sending = sending
        self._contents = Contents(store, pieces, runner.flushed)
        self._saving = Saving(runner, store, self._contents, notices, own_effects)
        self._writing = Writing(runner, store, self._contents, notices, watch)

    # -- jobs ---------------------------------------------------------------------------------

    def look_at(self, opened: Opened, copy: Copy) -> None:
        """A copy may have changed: look soon."""
        self._job(opened, ("take", copy.file, copy.role))

    def write_out(self, opened: Opened, file: bytes) -> None:
        """A file's content may have changed: write its copies soon."""
        self._job(opened, ("write", file, None))

    def at_rest(self, opened: Opened) -> bool:
        """Whether nothing waits to be looked at or written now."""
        in_motion = opened.jobs or opened.working or opened.late or any(opened.later.values())
        return not (in_motion or self._missing.searching(opened))

    def _job(self, opened: Opened, job: Job) -> None:
        if not opened.live:
            return
        opened.jobs[job] = None
        if not opened.working:
            opened.working = True
            self._nursery.start_soon(self._work, opened)

    async def _work(self, opened: Opened) -> None:
        try:
            while opened.jobs:
                jobs, opened.jobs = opened.jobs, {}
                async with opened.lock:
                    files = [file for kind, file, _ in jobs if kind == "write"]
                    if opened.frozen:
                        for file in files:
                            self._written(opened.id, file)
                    elif opened.live:
                        await self._put_away(opened, files)
                        await self.arrange(opened)
                        await self._look(opened, jobs)
                        files = [file for file in files if not self._waits(opened, file)]
                        # Of many the rest comes after what was saved meanwhile.
                        for file in files[WRITTEN_AT_ONCE:]:
                            opened.jobs[("write", file, None)] = None
                        await self._write(opened, files[:WRITTEN_AT_ONCE])
        finally:
            opened.working = False
            self._idle()

    async def _put_away(self, opened: Opened, files: Iterable[bytes]) -> None:
        """Let the copies of those that are detached leave the mandate folder."""
        for file_id in files:
            file = opened.state.files.get(file_id)
            if file is None or file.added is None:
                if (file_id, "folder") not in opened.copies:
                    continue
                # What attached it does not count any more: its device was removed.
                file = FileState(file_id, opened.state.reader)
            elif file.present:
                continue
            try:
                await self._writing.put_away(opened, file)
            except StateReloaded:
                return
            except P2PSyncError as error:
                self._give_up(opened, file, error)
            else:
                for each in _GONE_WITH_COPIES:
                    self._notices.settle_all(opened.id, f"{each}:{file_id.hex()}")

    async def _look(self, opened: Opened, jobs: Iterable[Job]) -> None:
        """Look at the copies that may have changed, and take up those that did."""
        places = [(file, role) for kind, file, role in jobs if kind == "take" and role]
        copies: list[Copy] = []
        for file_id, role in places:
            copy = opened.copies.get((file_id, role))
            if copy is None or (role == "folder" and self._waits(opened, file_id)):
                continue
            if role == "folder" and not copy.digest:
                # Nothing of ours stands there yet: written with the others, not each by itself.
                opened.jobs[("write", file_id, None)] = None
            elif (file_id, role) in opened.unreadable or not disk.as_written(copy):
                copies.append(copy)
        secret = opened.replica.chunk_secret
        for start in range(0, len(copies), LOOKED_AT_AT_ONCE):
            group = [
                (copy, file.info.format)
                for copy in copies[start : start + LOOKED_AT_AT_ONCE]
                if (file := opened.state.files.get(copy.file)) and file.present
            ]
            found = await trio.to_thread.run_sync(look_many, group, secret)
            self._missing.renew()
            changed: list[tuple[Copy, Look | P2PSyncError]] = []
            for (copy, _), each in zip(group, found, strict=True):
                if isinstance(each, Unchanged):
                    await self._take_quietly(opened, copy, each)
                else:
                    changed.append((copy, each))
            if len(changed) == 1:
                await self._take_quietly(opened, *changed[0])
            elif changed:
                await together(lambda pair: self._take_quietly(opened, *pair), changed)

    def _later(self, opened: Opened, seconds: float, job: Job, *, busy: bool = False) -> None:
        async def wait() -> None:
            await trio.sleep(seconds)
            opened.later.pop(job, None)
            self._job(opened, job)
            self._idle()

        if job not in opened.later:
            opened.later[job] = busy
            self._nursery.start_soon(wait)

    async def _take_quietly(self, opened: Opened, copy: Copy, found: Look | P2PSyncError) -> None:
        job: Job = ("take", copy.file, copy.role)
        key = f"unreadable:{copy.file.hex()}:{copy.role}"
        try:
            if isinstance(found, P2PSyncError):
                raise found
            await self._take(opened, copy, found)
            if not isinstance(found, Unchanged):
                await self.write(opened, copy.file)
        except FileBusy:
            self._later(opened, BUSY_SECONDS, job, busy=True)
            return
        except (FileHeldBack, NotAllowed, ProgramRefused, StateReloaded):
            pass  # people were told
        except P2PSyncError as error:
            opened.unreadable[(copy.file, copy.role)] = error
            self._notices.alert(
                "file-unreadable",
                error,
                mandate=opened.id,
                file=copy.name,
                action="retry",
                key=key,
            )
            self._later(opened, RETRY_SECONDS, job)
            return
        opened.unreadable.pop((copy.file, copy.role), None)
        self._notices.settle("file-unreadable", mandate=opened.id, key=key)

    # -- taking up ----------------------------------------------------------------------------

    async def take(self, opened: Opened, copy: Copy, *, confirmed: bytes = b"") -> None:
        """Take up what is on the disk, if it changed, and bring the other copies up to date.

        Returns when it is durable. The caller holds the mandate's lock. Raises ``FileBusy``,
        ``FileHeldBack`` (with an alert) for a save that empties or guts the file unless its
        digest is ``confirmed``, ``NotAllowed``, storage errors; then nothing has changed.
        """
        await self._look_and_take(opened, copy, confirmed)
        await self.write(opened, copy.file)

    async def _look_and_take(self, opened: Opened, copy: Copy, confirmed: bytes = b"") -> None:
        opened.check_live()
        file = opened.state.files.get(copy.file)
        if file is None or not file.present:
            return
        secret = opened.replica.chunk_secret
        found = await trio.to_thread.run_sync(look, copy, file.info.format, secret)
        self._missing.renew()
        await self._take(opened, copy, found, confirmed)

    async def _take(self, opened: Opened, copy: Copy, found: Look, confirmed: bytes = b"") -> None:
        opened.check_live()
        file = opened.state.files.get(copy.file)
        if file is None or not file.present:
            return
        match found:
            case Gone(folder=folder):
                await self._gone(opened, copy, folder=folder)
                return
            case Unchanged(stat=stat, steady=steady):
                self._back(opened, copy)
                copy.stat = stat if steady else None
                self._seen(copy, stat)
                await self._unhold(opened, copy)
                return
            case Records() | Whole() if copy.role == "attached" and found.digest != confirmed:
                if await self._missing.goes_astray(opened, copy, found):
                    await self._hold(opened, copy, found.digest)
                    raise FileAstray(file=copy.name, path=str(copy.path))
                self._back(opened, copy)
            case Records() | Whole():
                self._back(opened, copy)
        known = self._recognise(file, copy, found.digest)
        if known is not None:
            await self._withdraw(opened, copy)
            self._settle_held(opened, copy)
            copy.heads, copy.digest, copy.writing, copy.held = known, found.digest, None, b""
            copy.stat = found.stat if found.steady else None
            copy.seen = found.stat
            self._contents.pieces.moved(opened)
            await self._writing.keep(opened, copy)
            return
        if copy.role == "folder" and not copy.digest:
            return  # somebody's own file has the name that ours is to have; ``write`` tells
        # Not lost: looked at again once the program or the policy is another one (B-VAL-1).
        validity.check(opened, file)
        old = await self._saving.old(opened, copy) if isinstance(found, Records) else NOTHING
        if not opened.may_write:
            await self._refuse(opened, copy, found.digest)
        if found.digest != confirmed:
            match holding.answer_to(file, opened.replica.device, found.digest):
                case "confirmed":
                    pass
                case "refused":
                    copy.held = found.digest
                    await self._put_aside(opened, copy)
                    return
                case _:
                    await self._hold_if_suspicious(opened, file, copy, found, old)
        held = copy.held
        copy.seen = found.stat
        ending = holding.ending(file, copy, found.digest, opened.replica.device)
        draft = await self._saving.draft(opened, copy, found, old, ending)
        await self._saving.write(opened, [draft])
        if held:
            self._settle_held(opened, copy)

    async def _gone(self, opened: Opened, copy: Copy, *, folder: bool) -> None:
        copy.stat = None
        if copy.role == "folder":
            copy.missing = True  # and it is written again; whatever was held back is gone with it
            await self._unhold(opened, copy)
        else:
            self._missing.gone(opened, copy, folder=folder)

    def _back(self, opened: Opened, copy: Copy) -> None:
        copy.missing = False
        if copy.role == "attached":
            self._missing.back(opened, copy)

    def _seen(self, copy: Copy, stat: FileStat) -> None:
        """Note what an unchanged file is like now; durably, when another one took its place."""
        before, copy.seen = copy.seen, stat
        if copy.role == "attached" and (
            before is None or (before.device, before.inode) != (stat.device, stat.inode)
        ):
            self._writing.keep_soon(copy)

    def _recognise(self, file: FileState, copy: Copy, digest: bytes) -> tuple[OpId, ...] | None:
        """Return the heads that content on the disk stands for when it is not a new save.

        After a crash between writing a file (or persisting its save) and noting so, the disk holds
        a version that descends from what was noted; taking it for a save would count it twice.
        """
        if copy.writing is not None and copy.writing[1] == digest:
            return copy.writing[0]
        if file.merged and crypto.content_digest(file.segments.emit()) == digest:
            return tuple(sorted(file.heads))
        wanted = set(copy.heads)
        for version in file.versions.values():
            if version.digest == digest and wanted <= file.ancestors([version.id]).keys():
                return (version.id,)
        return None

    # -- holding back -------------------------------------------------------------------------

    async def _hold_if_suspicious(
        self, opened: Opened, file: FileState, copy: Copy, found: Records | Whole, old: Old
    ) -> None:
        """Compare with what the copy held before, not with what others made of it meanwhile."""
        versions = [file.versions[head] for head in copy.heads if head in file.versions]
        if isinstance(found, Records):
            records = sum([segment.record_count for segment in found.document.segments])
        else:
            records = 0
        size_before = max((version.size_bytes for version in versions), default=0)
        size_before = max(size_before, old.size_bytes)
        if not disk.is_suspicious((size_before, old.records), (found.stat.size_bytes, records)):
            return
        await self._hold(opened, copy, found.digest)
        self._notices.alert_text(
            "save-held-back",
            "{file} lost most of its content ({before} records and {bytes_before} bytes before, "
            "{after} records and {bytes_after} bytes now): the save is held back",
            mandate=opened.id,
            file=copy.name,
            action="confirm",
            key=_held_key(copy),
            before=str(old.records),
            after=str(records),
            bytes_before=str(size_before),
            bytes_after=str(found.stat.size_bytes),
        )
        await self._tell_held(opened, file, copy, found, old, size_before)
        raise FileHeldBack(file=copy.name, mandate=opened.name)

    async def _tell_held(
        self,
        opened: Opened,
        file: FileState,
        copy: Copy,
        found: Records | Whole,
        old: Old,
        size_before: int,
    ) -> None:
        """Let the other members know, unless they do; tried again at the next look."""
        known = file.holds.get(opened.replica.device)
        if known is not None and known.outcome is None:
            copies = [opened.copies.get((file.id, role)) for role in ROLES]
            if any(each is not None and each.held == known.said.digest for each in copies):
                return
        said = await trio.to_thread.run_sync(
            holding.describe, file.id, found, old.shown, size_before, old.records
        )
        with suppress(P2PSyncError):
            await self._saving.say(opened, [said], ())

    async def _refuse(self, opened: Opened, copy: Copy, digest: bytes) -> None:
        """A device that may only read changed its copy: neither taken up nor overwritten
        (B-ATT-6).
        """
        await self._hold(opened, copy, digest)
        self._notices.alert_text(
            "change-not-allowed",
            "this device may only read: the change of {file} is not taken up; delete the changed "
            "copy and it comes back as it was",
            mandate=opened.id,
            file=copy.name,
            key=_held_key(copy),
        )
        raise NotAllowed(action="change files", roles=", ".join(sorted(MAY_WRITE)))

    async def _hold(self, opened: Opened, copy: Copy, digest: bytes) -> None:
        if copy.held != digest:
            self._settle_held(opened, copy)
            copy.held = digest
            await self._writing.keep(opened, copy)

    async def _unhold(self, opened: Opened, copy: Copy) -> None:
        if copy.held:
            await self._withdraw(opened, copy)
            self._settle_held(opened, copy)
            copy.held = b""
            await self._writing.keep(opened, copy)

    async def _withdraw(self, opened: Opened, copy: Copy) -> None:
        """Tell the other members that what was held back is not there any more."""
        file = opened.state.files.get(copy.file)
        ending = () if file is None else holding.ending(file, copy, b"", opened.replica.device)
        if ending:
            with suppress(P2PSyncError):
                await self._saving.say(opened, ending, ())

    async def refuse(self, opened: Opened, copy: Copy) -> Version:
        """Put a save aside that was held back: the file is as it was, and what was refused is a
        version (B-HIS-3).

        Returns that version when both are durable. Raises ``FileHeldBack`` when the copy holds
        something else by now, ``NotAllowed``, ``FileAstray``. The caller holds the lock.
        """
        opened.check_live()
        if not opened.may_write:
            raise NotAllowed(action="change files", roles=", ".join(sorted(MAY_WRITE)))
        if copy.astray:
            raise FileAstray(file=copy.name, path=str(copy.path))
        made = await self._put_aside(opened, copy)
        await self.write(opened, copy.file)
        return made

    async def _put_aside(self, opened: Opened, copy: Copy) -> Version:
        file = opened.state.files[copy.file]
        sealed, digest, stat = await trio.to_thread.run_sync(
            seal_large, copy, opened.replica.chunk_secret, lambda _done, _total: None
        )
        if digest != copy.held:
            await self._look_and_take(opened, copy)  # that is another question
            raise FileHeldBack(file=copy.name, mandate=opened.name)
        answers = holding.ending(file, copy, digest, opened.replica.device, verdict="refused")
        made = await self._saving.put_aside(opened, copy, sealed, stat, answers)
        self._settle_held(opened, copy)
        return made

    def _settle_held(self, opened: Opened, copy: Copy) -> None:
        for kind in ("save-held-back", "change-not-allowed"):
            self._notices.settle(kind, mandate=opened.id, key=_held_key(copy))

    # -- for commands -------------------------------------------------------------------------

    async def attach(
        self,
        opened: Opened,
        items: Sequence[tuple[Copy, AddFile, Records | Whole | None]],
        also: Mapping[bytes, Sequence[Operation]],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take up files for the first time, under the operations that attach them: all or none.

        With each comes what was found in it, or ``None`` for a large file that nobody has read.
        ``also`` is what goes into the same entry, by file; ``check`` is asked once more before
        anything is written. Returns when all are durable. They have their copy in the mandate
        folder then; many, and large ones, when whoever is connected has them: the disk and the
        processor do one after the other. The caller holds the lock.
        """
        drafts: dict[bytes, Draft] = {}

        async def read(item: tuple[Copy, AddFile, Records | Whole | None]) -> None:
            copy, operation, found = item
            before = [operation, *also.get(copy.file, ())]
            drafts[copy.file] = await self._saving.draft(opened, copy, found, NOTHING, before)
            copy.seen = drafts[copy.file].stat if found is None else found.stat

        await together(read, items)
        check()
        for copy, *_ in items:
            opened.copies[(copy.file, copy.role)] = copy
        try:
            await self._saving.write(opened, [drafts[copy.file] for copy, *_ in items])
        except P2PSyncError:
            for copy, *_ in items:
                opened.copies.pop((copy.file, copy.role), None)
            raise
        await self.arrange(opened)
        files = [copy.file for copy, *_ in items]
        size_bytes = sum(draft.size_bytes for draft in drafts.values())
        many = size_bytes >= LATE_FROM_BYTES or len(files) >= LATE_FROM_FILES
        if many and self._sending(opened):
            opened.late |= dict.fromkeys(files)
            self._nursery.start_soon(self._copy_late_at_last, opened)
        else:
            await self._write(opened, files)
        self._watch()

    # -- late copies --------------------------------------------------------------------------

    def copy_late(self, opened: Opened) -> None:
        """Whoever is connected has what was attached here: it gets its copies now, if it waits."""
        late, opened.late = opened.late, {}
        for file in late:
            self.write_out(opened, file)

    async def _copy_late_at_last(self, opened: Opened) -> None:
        """Do not wait for ever for a member that takes nothing."""
        await trio.sleep(LATE_SECONDS_MAX)
        self.copy_late(opened)

    def _waits(self, opened: Opened, file_id: bytes) -> bool:
        """Whether a file lacks nothing but its late copy."""
        if file_id not in opened.late:
            return False
        file = opened.state.files.get(file_id)
        copy = opened.copies.get((file_id, "attached"))
        if file is not None and copy is not None and set(copy.heads) == set(file.heads):
            return True
        del opened.late[file_id]
        return False

    async def place(
        self,
        opened: Opened,
        copy: Copy,
        said: Place,
        found: Records | Whole | None,
        check: Callable[[], None],
    ) -> None:
        """Make a copy the attached one of its file, under the operation that says so.

        What was ``found`` in it (``None``: a large file that nobody has read) becomes a version
        after ``copy.heads``. All of it is durable at once, or nothing has changed. ``check`` is
        asked once more before anything is written. The caller holds the lock.
        """
        old = await self._saving.old(opened, copy) if isinstance(found, Records) else NOTHING
        draft = await self._saving.draft(opened, copy, found, old, [said])
        copy.seen = draft.stat if found is None else found.stat
        check()
        with self._placed(opened, [copy]):
            await self._saving.write(opened, [draft])
        await self._after_placing(opened, [copy])

    async def place_known(
        self, opened: Opened, copies: Sequence[Copy], said: Sequence[Place]
    ) -> None:
        """Do ``place`` for copies that hold what their heads hold."""
        with self._placed(opened, copies):
            await self._saving.say(opened, said, [self._writing.note(copy) for copy in copies])
        await self._after_placing(opened, copies)

    @contextmanager
    def _placed(self, opened: Opened, copies: Sequence[Copy]) -> Iterator[None]:
        """Have copies be the attached ones while the block makes that durable, and after it."""
        before = [opened.copies.get((copy.file, "attached")) for copy in copies]
        for copy in copies:
            opened.copies[(copy.file, "attached")] = copy
        try:
            yield
        except P2PSyncError:
            for copy, old in zip(copies, before, strict=True):
                if old is None:
                    opened.copies.pop((copy.file, "attached"), None)
                else:
                    opened.copies[(copy.file, "attached")] = old
            raise

    async def _after_placing(self, opened: Opened, copies: Sequence[Copy]) -> None:
        for copy in copies:
            self._settle_held(opened, copy)
            self._moved_away(opened, copy.file)
        await self.arrange(opened)
        await self._write(opened, [copy.file for copy in copies])

    async def take_last(self, opened: Opened, copy: Copy) -> None:
        """Take up what is on the disk, and bring no copy up to date; raises as ``take``."""
        await self._look_and_take(opened, copy)

    async def let_go(self, opened: Opened, copy: Copy) -> None:
        """Note durably that a file is attached here no more; the file itself stays as it is."""
        opened.copies.pop((copy.file, "attached"), None)
        await self._withdraw(opened, copy)
        self._settle_held(opened, copy)
        self._moved_away(opened, copy.file)
        await self._writing.forget(copy)
        self._idle()

    def _moved_away(self, opened: Opened, file: bytes) -> None:
        """What was wrong with the file where it was attached is no concern any more."""
        self._missing.forget(opened, file)
        opened.unreadable.pop((file, "attached"), None)
        self._notices.settle(
            "file-unreadable", mandate=opened.id, key=f"unreadable:{file.hex()}:attached"
        )
        self._contents.pieces.moved(opened)
        self._watch()

    async def content(
        self, opened: Opened, file: FileState, version: Version | None
    ) -> tuple[Read, bytes, int]:
        """See ``Contents.read``."""
        return await self._contents.read(opened, file, version)

    async def bring_back(
        self, opened: Opened, file: FileState, version: Version, found: Records | Whole | None
    ) -> Version:
        """Write a new version with an old one's content (``found``, for a record file) in place
        of all heads; the caller holds the lock.

        The person chose what the file is to hold: what is held back is given up.
        """
        place = Copy(opened.id, file.id, "folder", opened.folder, "", tuple(sorted(file.heads)))
        if isinstance(found, Records):
            old = await self._saving.old(opened, place)
            draft = await self._saving.draft(opened, place, found, old, keep=False)
        else:
            sealed = None if version.content is None else Sealed(version.content)
            draft = Draft(place, (), sealed, False, version.size_bytes, version.digest, keep=False)
        given_up: list[InBatch] = []
        for role in ROLES:
            copy = opened.copies.get((file.id, role))
            if copy is not None and copy.held:
                self._settle_held(opened, copy)
                copy.digest, copy.held, copy.stat = copy.held, b"", None
                given_up.append(self._writing.note(copy))
        (made,) = await self._saving.write(opened, [draft], given_up)
        await self.write(opened, file.id)
        return made

    # -- writing ------------------------------------------------------------------------------

    async def arrange(self, opened: Opened) -> None:
        """See that every file's copy in the mandate folder has its name; the caller holds the
        lock.
        """
        for copy in self._writing.misnamed(opened):
            try:
                try:
                    await self._writing.rename(opened, copy)
                except TargetChanged:
                    await self._look_and_take(opened, copy)
                    await self._writing.rename(opened, copy)
            except FileBusy:
                self._later(opened, BUSY_SECONDS, ("write", copy.file, None), busy=True)
            except StateReloaded:
                return
            except P2PSyncError as error:
                self._give_up(opened, opened.state.files[copy.file], error)

    async def write(self, opened: Opened, file_id: bytes) -> None:
        """Bring all copies of a file on this machine up to date; the caller holds the lock.

        What keeps one from being written is told as an alert, and tried again.
        """
        await self._write(opened, [file_id])

    async def _write(self, opened: Opened, file_ids: Sequence[bytes]) -> None:
        """Do ``write`` for many files, with few syncs."""
        for start in range(0, len(file_ids), WRITTEN_AT_ONCE):
            files: list[FileState] = []
            for file_id in file_ids[start : start + WRITTEN_AT_ONCE]:
                file = opened.state.files.get(file_id)
                if not opened.live:
                    return
                if file is None or not file.present or not file.heads:
                    self._written(opened.id, file_id)
                else:
                    files.append(file)
            with suppress(StateReloaded):
                await self._write_group(opened, files)

    async def _write_group(self, opened: Opened, files: Sequence[FileState]) -> None:
        self._writing.misnamed(opened)
        names = opened.names()
        errors: dict[bytes, P2PSyncError] = {}
        placed: set[bytes] = set()
        for file in files:
            copy = opened.copies.get((file.id, "folder"))
            if copy is not None and copy.name == names.get(file.id):
                placed.add(file.id)
        for role in ROLES:
            wanted = [
                (file, copy)
                for file in files
                if file.id not in errors
                and (
                    file.device == opened.replica.device
                    if role == "attached"
                    else file.id in placed
                )
                and (copy := opened.copies.get((file.id, role)))
                and not _left_alone(copy)
            ]
            results = await self._writing.write_many(opened, wanted)
            for (file, copy), error in zip(wanted, results, strict=True):
                lost = role == "attached" and isinstance(error, FolderMissing)
                if lost or isinstance(error, TargetChanged):
                    error = await self._write_changed(opened, file, copy)
                if error is not None:
                    errors[file.id] = error
        for file in files:
            error = errors.get(file.id)
            if error is None:
                try:
                    await self._writing.write_conflicts(opened, file)
                except P2PSyncError as problem:
                    error = problem
            self._after_writing(opened, file, error, placed=file.id in placed)

    def _after_writing(
        self, opened: Opened, file: FileState, error: P2PSyncError | None, *, placed: bool
    ) -> None:
        match error:
            case None:
                if not placed:
                    return  # it has to leave its old name first; ``arrange`` tries again
                if ("write", file.id, None) not in opened.jobs:
                    self._written(opened.id, file.id)
                opened.unwritten.pop(file.id, None)
                key = f"unwritten:{file.id.hex()}"
                self._notices.settle("cannot-write", mandate=opened.id, key=key)
            case StateReloaded():
                pass
            case ChunkMissing():
                # On its way (``ContentReady`` brings us back), or it is not where it was to be.
                for version in file.heads:
                    self._lost(opened, file.id, version)
            case FileBusy():
                self._later(opened, BUSY_SECONDS, ("write", file.id, None), busy=True)
            case _:
                self._give_up(opened, file, error)

    async def _write_changed(
        self, opened: Opened, file: FileState, copy: Copy
    ) -> P2PSyncError | None:
        """Write to a copy that somebody changed: what was saved becomes a version first."""
        try:
            for _ in range(WRITE_TRIES_MAX):
                try:
                    await self._look_and_take(opened, copy)
                except (FileHeldBack, NotAllowed, ProgramRefused):
                    return None
                if not copy.digest and not copy.missing:
                    raise FileInTheWay(path=str(copy.path))
                if _left_alone(copy):
                    return None
                (error,) = await self._writing.write_many(opened, [(file, copy)])
                if not isinstance(error, TargetChanged):
                    return error
            raise FileBusy(path=str(copy.path))
        except P2PSyncError as problem:
            return problem

    def _give_up(self, opened: Opened, file: FileState, error: P2PSyncError) -> None:
        self._writing.give_up(opened, file, error)
        self._later(opened, RETRY_SECONDS, ("write", file.id, None))


def _left_alone(copy: Copy) -> bool:
    """Whether nothing is written to a copy now, and nothing made in its place."""
    return bool(copy.held) or (copy.role == "attached" and copy.missing)


def _held_key(copy: Copy) -> str:
    return f"held:{copy.file.hex()}:{copy.role}"


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
