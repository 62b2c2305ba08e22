"""What a version of a file that is synchronised whole holds: where its content is, how many records
its format reads in it.

A version says nothing of that itself. It is found out when somebody asks, from the content where
that is here, and remembered for a while.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any, Literal

import trio

from p2psync.core.files import FileState, Version
from p2psync.core.ops import OpId
from p2psync.errors import P2PSyncError
from p2psync.formats import registry
from p2psync.formats.opaque import OPAQUE
from p2psync.limits import RECORD_FILE_BYTES_MAX, WEIGHED_BYTES_MAX
from p2psync.node.node import Node
from p2psync.node.opened import Opened

Json = dict[str, Any]
Where = Literal["here", "dropped", "elsewhere"]
Keys = Counter[bytes]
KEYS_KEPT_MAX = 200_000
"""Record keys that are remembered; 16 bytes each, and what Python adds."""


class Weighing:
    """Counts what whole versions hold."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._keys: OrderedDict[tuple[str, bytes], Keys] = OrderedDict()

    def where(self, opened: Opened, file: FileState, version: Version) -> Where:
        """Where a version's content is; blocks."""
        if version.content is None:
            return "here"
        pieces = self._node.pieces
        try:
            pieces.check_here(version.id)
        except P2PSyncError:
            return "elsewhere"
        found = pieces.where(opened, file.id, version)
        for path in found.paths:
            try:
                if path.stat().st_size == version.size_bytes:
                    return "here"
            except OSError:
                continue
        if pieces.was_dropped(opened.id, version.digest):
            return "dropped"
        try:  # what has just come or was just saved may be in memory only
            next(pieces.read(opened.id, found), b"")
        except P2PSyncError:
            return "elsewhere"
        return "here"

    async def weigh(
        self, opened: Opened, rows: Iterable[tuple[FileState, Version]]
    ) -> dict[OpId, Json]:
        """Tell of each version where its content is and how many records it holds.

        At most ``WEIGHED_BYTES_MAX`` are read for one answer; the numbers of further versions are
        not known then.
        """
        return await trio.to_thread.run_sync(self._weigh, opened, list(rows))

    def _weigh(self, opened: Opened, rows: list[tuple[FileState, Version]]) -> dict[OpId, Json]:
        left = WEIGHED_BYTES_MAX
        out: dict[OpId, Json] = {}
        for file, version in rows:
            if version.content is None:
                out[version.id] = {"content": "here"}
                continue
            keys, left = self._known(opened, file, version, left)
            before: Keys | None = Counter()
            for parent in version.parents:
                known = file.versions.get(parent)
                found, left = (
                    (None, left) if known is None else self._known(opened, file, known, left)
                )
                before = None if found is None or before is None else before + found
            out[version.id] = {
                "content": self.where(opened, file, version),
                "records": None if keys is None else keys.total(),
                "added": None if keys is None or before is None else (keys - before).total(),
                "deleted": None if keys is None or before is None else (before - keys).total(),
            }
        return out

    def _known(
        self, opened: Opened, file: FileState, version: Version, left: int
    ) -> tuple[Keys | None, int]:
        """The keys of a version's records; ``None`` when its format reads none, or it is not here;
        and how much may be read besides.
        """
        format_ = registry.by_name(file.info.format)
        mark = (format_.name, version.digest)
        if mark in self._keys:
            self._keys.move_to_end(mark)
            return self._keys[mark], left
        size = version.size_bytes
        if (
            format_ is OPAQUE
            or version.content is None
            or size > min(RECORD_FILE_BYTES_MAX, left)
            or self.where(opened, file, version) != "here"
        ):
            return None, left
        pieces = self._node.pieces
        try:
            where = pieces.where(opened, file.id, version)
            data = b"".join(pieces.read(opened.id, where))
        except P2PSyncError:
            return None, left
        document = format_.parse(data)
        keys = Counter(record.key for segment in document.segments for record in segment.records)
        self._keep(mark, keys)
        return keys, left - size

    def _keep(self, mark: tuple[str, bytes], keys: Keys) -> None:
        self._keys[mark] = keys
        while len(self._keys) > 1 and sum(map(len, self._keys.values())) > KEYS_KEPT_MAX:
            self._keys.popitem(last=False)
