"""What versions of a file contain: from the entries for record files, else from their pieces."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

from p2psync.core import crypto
from p2psync.core.crdt import SegmentSet
from p2psync.core.files import FileState, Version, replay
from p2psync.core.ops import OpId
from p2psync.node.opened import Opened
from p2psync.node.pieces import Pieces
from p2psync.node.store import Store

Read = Callable[[], Iterator[bytes]]
"""Reads a content piece by piece, in any thread."""


class Contents:
    """Reads the contents of versions."""

    def __init__(
        self, store: Store, pieces: Pieces, flushed: Callable[[], Awaitable[None]]
    ) -> None:
        """``flushed`` returns when what was folded is on the disk."""
        self._store = store
        self.pieces = pieces
        self._flushed = flushed

    async def base(self, opened: Opened, file: FileState, heads: Iterable[OpId]) -> SegmentSet:
        """The segments as some versions left them; those of the fold itself when that is what
        they are.

        Then it has not let go of the event loop: what is read before the next ``await`` is one
        state.
        """
        if set(heads) == set(file.heads):
            return file.segments
        versions = list(file.ancestors(heads).values())
        entries = list(
            dict.fromkeys(
                entry for version in versions for entry in (*version.parts, version.id[0])
            )
        )
        raws = await self._store.raws(opened.id, entries)
        if len(raws) < len(entries):  # of a version that has just come
            await self._flushed()
            raws = await self._store.raws(opened.id, entries)
        found = opened.replica.lines_of(raws)
        return replay(
            file.info.format,
            file.reader,
            [line for entry in entries for line in found.get(entry, ()) if line[2].file == file.id],
        )

    async def read(
        self, opened: Opened, file: FileState, version: Version | None
    ) -> tuple[Read, bytes, int]:
        """Return (how to read the content, its digest, its size) of a version, or of what is shown.

        Reading raises ``ChunkMissing`` while the content is not here.
        """
        current = file.current()
        assert current is not None
        if version is None and file.merged:
            return _of_bytes(file.segments.emit())
        wanted = version or current
        if wanted.content is None:
            base = await self.base(opened, file, [wanted.id])
            return _of_bytes(base.emit())
        self.pieces.check_here(wanted.id)
        where = self.pieces.where(opened, file.id, wanted)
        return partial(self.pieces.read, opened.id, where), wanted.digest, wanted.size_bytes


def _of_bytes(data: bytes) -> tuple[Read, bytes, int]:
    return (lambda: iter((data,))), crypto.content_digest(data), len(data)
