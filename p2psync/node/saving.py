"""Makes versions of what was found on the disk: durable together with the note which copy holds
them.

Everything that takes time comes first, against frozen values; then the entries are written and
handed to the disk without letting go of the event loop in between.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from p2psync.core.crdt import Element, Value
from p2psync.core.diff import diff
from p2psync.core.files import FileState, Version
from p2psync.core.ops import Lines, Operation
from p2psync.engine.effects import Effect
from p2psync.engine.replica import Written
from p2psync.errors import FileBusy
from p2psync.node import copies as disk
from p2psync.node import looking
from p2psync.node.closed import check_open
from p2psync.node.contents import Contents
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Sealed, Whole
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.runner import InBatch, Runner, wall_ms
from p2psync.node.store import Store
from p2psync.storage.file_state import FileStat

TIE_BYTES = 8
COMPARED_AT_ONCE = 1000
"""Segments that are compared where everything else waits: a thread would take longer."""


@dataclass(frozen=True, slots=True)
class Old:
    """What a save is compared with: nothing for a file that is synchronised whole."""

    shown: Sequence[tuple[Element, Value]] = ()
    records: int = 0
    size_bytes: int = 0


NOTHING = Old()


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that is ready to be written. ``keep``: the copy then holds it."""

    copy: Copy
    lines: Sequence[Lines]
    sealed: Sealed | None
    mergeable: bool
    size_bytes: int
    digest: bytes
    stat: FileStat | None = None
    before: tuple[Operation, ...] = ()
    keep: bool = True


class Saving:
    """Writes versions."""

    def __init__(
        self,
        runner: Runner,
        store: Store,
        contents: Contents,
        notices: Notices,
        own_effects: Callable[[bytes, list[Effect]], list[Effect]],
    ) -> None:
        """``own_effects`` lets the engine send what this device wrote to whoever is connected."""
        self._runner = runner
        self._store = store
        self._contents = contents
        self._notices = notices
        self._own_effects = own_effects

    async def old(self, opened: Opened, copy: Copy) -> Old:
        """What a copy of a record file was written from, frozen."""
        file = opened.state.files.get(copy.file)
        if file is None or not copy.heads:
            return Old()
        base = await self._contents.base(opened, file, copy.heads)
        shown = disk.frozen(base.shown())
        size_bytes = sum([len(value.raw) for _, value in shown])
        return Old(shown, base.record_count(), size_bytes)

    async def draft(
        self,
        opened: Opened,
        copy: Copy,
        found: Records | Whole | None,
        old: Old,
        before: Iterable[Operation] = (),
        *,
        keep: bool = True,
    ) -> Draft:
        """Compare what was found with what it was written from, or work out what it is made of.

        ``found`` is ``None`` for a large file that nobody has read yet. ``before`` are operations
        that go into the same entry. Raises ``FileBusy`` when the file has changed since it was
        looked at.
        """
        if isinstance(found, Records):
            # Of this save alone: what two saves insert at one place must not get one position, or
            # the next save between them would have to write all records anew.
            tie = opened.replica.entropy(TIE_BYTES)
            segments = found.document.segments
            if len(old.shown) + len(segments) <= COMPARED_AT_ONCE:
                lines = diff(copy.file, old.shown, segments, tie)
            else:
                lines = await trio.to_thread.run_sync(diff, copy.file, old.shown, segments, tie)
            return Draft(
                copy,
                lines,
                None,
                found.document.mergeable,
                found.stat.size_bytes,
                found.digest,
                found.stat if found.steady else None,
                tuple(before),
                keep,
            )
        if found is not None and found.sealed is not None:
            sealed, digest, stat, steady = found.sealed, found.digest, found.stat, found.steady
        else:
            sealed, digest, stat = await trio.to_thread.run_sync(
                looking.seal_large,
                copy,
                opened.replica.chunk_secret,
                self._report(opened, copy),
            )
            steady = True
            if found is not None and digest != found.digest:
                raise FileBusy(path=str(copy.path))
        return Draft(
            copy,
            (),
            sealed,
            False,
            stat.size_bytes,
            digest,
            stat if steady else None,
            tuple(before),
            keep,
        )

    async def write(
        self, opened: Opened, drafts: Sequence[Draft], also: Sequence[InBatch] = ()
    ) -> list[Version]:
        """Write the versions in one transaction; returns when they are durable, all or none.

        Raises ``MandateIsClosed``.
        """
        opened.check_listed()
        check_open(opened)
        lists = [each for draft in drafts if draft.sealed for each in draft.sealed.lists]
        if lists:
            await trio.to_thread.run_sync(self._contents.pieces.keep_lists, lists)
            opened.check_listed()
        for draft in drafts:
            if draft.sealed is not None:
                self._contents.pieces.remember(draft.sealed.recent)
        work: list[Effect | InBatch] = []
        versions: list[Version] = []
        try:
            known = [_heads(opened.state.files.get(draft.copy.file)) for draft in drafts]
            effects = opened.replica.save_many([_written(draft) for draft in drafts], wall_ms())
            for draft, before in zip(drafts, known, strict=True):
                file = opened.state.files[draft.copy.file]
                (made,) = _heads(file) - before
                versions.append(file.versions[made])
                if draft.keep:
                    copy = draft.copy
                    copy.heads, copy.digest, copy.stat = (made,), draft.digest, draft.stat
                    copy.writing, copy.held = None, b""
                    work.append(self._store.keep_copy(copy))
            work += self._own_effects(opened.id, effects)
            work += also
        finally:
            # What is in memory goes to the disk, whatever came of the rest.
            self._contents.pieces.moved(opened)
            ticket = self._runner.hand_in(work)
        await ticket.wait()
        return versions

    async def put_aside(
        self,
        opened: Opened,
        copy: Copy,
        sealed: Sealed,
        stat: FileStat,
        answers: Sequence[Operation],
    ) -> Version:
        """Make what a copy holds a version, and what is shown the one after it (B-HIS-3).

        ``answers`` go along. Returns the first, which the copy then stands for, when both are
        durable. Raises ``MandateIsClosed``.
        """
        if sealed.lists:
            await trio.to_thread.run_sync(self._contents.pieces.keep_lists, sealed.lists)
        file = opened.state.files[copy.file]
        _, digest, size_bytes = await self._contents.read(opened, file, None)
        opened.check_listed()
        check_open(opened)
        shown = file.current()
        assert shown is not None
        merged, before = file.merged, set(file.versions)
        parents = sorted(file.heads) if merged else [shown.id]
        refused = Written(copy.file, parents, (), sealed.content, False, stat.size_bytes, copy.held)
        kept = Written(
            copy.file,
            (),
            (),
            None if merged else shown.content,
            merged or shown.mergeable,
            size_bytes,
            digest,
            tuple(answers),
        )
        work: list[Effect | InBatch] = []
        try:
            effects = opened.replica.put_aside(refused, kept, wall_ms())
            made = next(
                file.versions[each]
                for each in file.versions.keys() - before
                if file.versions[each].digest == copy.held
            )
            copy.heads, copy.digest, copy.stat = (made.id,), copy.held, None
            copy.writing, copy.held = None, b""
            work.append(self._store.keep_copy(copy))
            work += self._own_effects(opened.id, effects)
        finally:
            # What is in memory goes to the disk, whatever came of the rest.
            self._contents.pieces.moved(opened)
            ticket = self._runner.hand_in(work)
        await ticket.wait()
        return made

    async def say(
        self, opened: Opened, operations: Sequence[Operation], also: Sequence[InBatch]
    ) -> None:
        """Write operations, and what belongs to them, in one transaction; returns when it is
        durable. Raises ``MandateIsClosed``.
        """
        opened.check_listed()
        check_open(opened)
        work: list[Effect | InBatch] = []
        try:
            effects = opened.replica.author(operations, wall_ms())
            work += self._own_effects(opened.id, effects)
            work += also
        finally:
            # What is in memory goes to the disk, whatever came of the rest.
            ticket = self._runner.hand_in(work)
        await ticket.wait()

    def _report(self, opened: Opened, copy: Copy) -> looking.Report:
        token = trio.lowlevel.current_trio_token()
        tell = partial(self._notices.progress, mandate=opened.id, file=copy.name, phase="reading")

        def report(done: int, total: int) -> None:
            token.run_sync_soon(tell, done, total)

        return report


def _written(draft: Draft) -> Written:
    return Written(
        draft.copy.file,
        draft.copy.heads,
        draft.lines,
        None if draft.sealed is None else draft.sealed.content,
        draft.mergeable,
        draft.size_bytes,
        draft.digest,
        draft.before,
    )


def _heads(file: FileState | None) -> set[tuple[bytes, int]]:
    return set() if file is None else set(file.heads)
