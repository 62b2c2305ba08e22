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
from p2psync.core.ops import Chunked, Lines, Operation
from p2psync.engine.effects import Effect
from p2psync.errors import FileBusy
from p2psync.node import copies as disk
from p2psync.node.contents import Contents
from p2psync.node.copies import Copy, Records, Whole
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.runner import InBatch, Runner, wall_ms
from p2psync.node.store import Store
from p2psync.storage.file_state import FileStat

TIE_BYTES = 8
Shown = Sequence[tuple[Element, Value]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that is ready to be written. ``keep``: the copy then holds it."""

    copy: Copy
    lines: Sequence[Lines]
    content: Chunked | None
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

    async def old(self, opened: Opened, copy: Copy) -> Shown:
        """What a copy of a record file was written from, frozen."""
        file = opened.state.files.get(copy.file)
        if file is None or not copy.heads:
            return []
        base = await self._contents.base(opened, file, copy.heads)
        return disk.frozen(base.shown())

    async def draft(
        self,
        opened: Opened,
        copy: Copy,
        found: Records | Whole,
        old: Shown,
        before: Iterable[Operation] = (),
        *,
        keep: bool = True,
    ) -> Draft:
        """Compare what was found with what it was written from, or seal it into the chunk store.

        ``before`` are operations that go into the same entry. Raises ``FileBusy`` when the file has
        changed since it was looked at.
        """
        if isinstance(found, Records):
            # Of this save alone: what two saves insert at one place must not get one position, or
            # the next save between them would have to write all records anew.
            tie = opened.replica.entropy(TIE_BYTES)
            lines = await trio.to_thread.run_sync(
                diff, copy.file, old, found.document.segments, tie
            )
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
        content, digest, stat = await trio.to_thread.run_sync(
            disk.seal_content,
            copy,
            self._contents.chunks,
            opened.replica.chunk_secret,
            self._report(opened, copy),
        )
        if digest != found.digest:
            raise FileBusy(path=str(copy.path))
        size = stat.size_bytes
        return Draft(copy, (), content, False, size, digest, stat, tuple(before), keep)

    async def write(
        self, opened: Opened, drafts: Sequence[Draft], also: Sequence[InBatch] = ()
    ) -> list[Version]:
        """Write the versions in one transaction; returns when they are durable, all or none."""
        opened.check_live()
        work: list[Effect | InBatch] = []
        versions: list[Version] = []
        try:
            for draft in drafts:
                version, effects = self._save(opened, draft)
                versions.append(version)
                if draft.keep:
                    copy = draft.copy
                    copy.heads, copy.digest, copy.stat = (version.id,), draft.digest, draft.stat
                    copy.writing, copy.held = None, b""
                    work.append(self._store.keep_copy(copy))
                work += self._own_effects(opened.id, effects)
            work += also
        finally:
            # What is in memory goes to the disk, whatever came of the rest.
            ticket = self._runner.hand_in(work)
        await ticket.wait()
        return versions

    def _save(self, opened: Opened, draft: Draft) -> tuple[Version, list[Effect]]:
        file_id = draft.copy.file
        known = _heads(opened.state.files.get(file_id))
        effects = opened.replica.save(
            file_id,
            parents=draft.copy.heads,
            lines=draft.lines,
            content=draft.content,
            mergeable=draft.mergeable,
            size_bytes=draft.size_bytes,
            digest=draft.digest,
            wall_ms=wall_ms(),
            before=draft.before,
        )
        file = opened.state.files[file_id]
        (made,) = _heads(file) - known
        return file.versions[made], effects

    def _report(self, opened: Opened, copy: Copy) -> disk.Report:
        token = trio.lowlevel.current_trio_token()
        tell = partial(self._notices.progress, mandate=opened.id, file=copy.name, phase="reading")

        def report(done: int, total: int) -> None:
            token.run_sync_soon(tell, done, total)

        return report


def _heads(file: FileState | None) -> set[tuple[bytes, int]]:
    return set() if file is None else set(file.heads)
