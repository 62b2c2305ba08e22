"""Commands on what was: history and restore."""

import datetime
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from p2psync.core import clock
from p2psync.core.files import FileState, Version
from p2psync.errors import (
    FileBusy,
    FileDetachedAlready,
    FileHeldBack,
    NotAllowed,
    NotARegularFile,
    OutputExists,
    TimeInvalid,
)
from p2psync.formats import registry
from p2psync.limits import RECORD_FILE_BYTES_MAX, SEGMENT_BYTES_MAX
from p2psync.node import find, views
from p2psync.node.closed import check_open
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Whole
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.posting import Posting
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder

Json = dict[str, Any]


class Versions:
    """The history of files."""

    def __init__(self, node: Node, posting: Posting) -> None:
        self._node = node
        self._posting = posting

    def history(self, mandate: str, name: str | None, at: str | None) -> Json:
        """Versions, newest first (B-HIS-1); with ``at`` only those up to a time."""
        opened = find.mandate(self._node.opened.values(), mandate)
        until = None if at is None else _time(at)
        names = opened.names()
        rows = []
        files = list(opened.state.files.values()) if name is None else [find.any_file(opened, name)]
        for file in files:
            if file.added is None:
                continue
            for version in file.versions.values():
                if until is None or clock.milliseconds(version.hlc) <= until:
                    rows.append((version.stamp, version.id, file, version))
        rows.sort(key=lambda row: row[:2], reverse=True)
        return {
            "versions": [
                views.version_view(opened, file, names.get(file.id, file.info.name), version)
                for _, _, file, version in rows
            ]
        }

    async def restore(self, mandate: str, name: str, text: str, output: str | None) -> Json:
        """Bring a version back as a new one, or write it elsewhere and change nothing."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        file = find.any_file(opened, name)
        shown = opened.names().get(file.id, file.info.name)
        version = find.version(file, text, shown)
        if output is not None:
            content, _, _ = await node.shelf.content(opened, file, version)

            def write() -> Path:
                path = local_path(output)
                with Folder.open(path.parent) as folder:
                    if folder.stat(path.name) is not None:
                        raise OutputExists(path=str(path))
                    folder.replace(path.name, content(), None)
                return path

            path = await trio.to_thread.run_sync(write)
            return {"file": shown, "version": version.name, "path": str(path)}
        node.check_writable()
        check_open(opened)
        if not file.present:
            command = shlex.join(("p2psync", "detach", opened.name, shown, "--undo"))
            raise FileDetachedAlready(file=shown, mandate=opened.name, command=command)
        self._posting.check_may_write(opened, "restore a version")
        async with opened.lock:
            # What stands on the disk and was not looked at yet becomes a version first.
            for copy in self._copies(opened, file.id):
                with suppress(FileHeldBack, FileBusy, NotAllowed, NotARegularFile):
                    await node.shelf.take(opened, copy)
            # What waits for a word is put aside, so that it is lost to nobody.
            for copy in self._copies(opened, file.id):
                if copy.held and not copy.astray and opened.may_write:
                    await node.shelf.refuse(opened, copy)
            file = opened.state.files[file.id]
            made = await node.shelf.bring_back(
                opened, file, version, await self._found(opened, file, version)
            )
        copy_now = opened.copies.get((file.id, "attached")) or opened.copies.get(
            (file.id, "folder")
        )
        return {
            "file": shown,
            "version": made.name,
            "restored": version.name,
            "path": str(copy_now.path) if copy_now else "",
        }

    def _copies(self, opened: Opened, file_id: bytes) -> list[Copy]:
        return [copy for (file, _), copy in sorted(opened.copies.items()) if file == file_id]

    async def _found(
        self, opened: Opened, file: FileState, version: Version
    ) -> Records | Whole | None:
        """An old version of a record file as if it were found on the disk; ``None`` for another.

        A record file may have versions that were kept whole, such as a save that was refused.
        """
        format_ = registry.by_name(file.info.format)
        if format_.merge != "records" or version.size_bytes > RECORD_FILE_BYTES_MAX:
            return None
        content, digest, _ = await self._node.shelf.content(opened, file, version)

        def read() -> Records | None:
            data = b"".join(content())
            document = format_.parse(data)
            whole = any(len(segment.raw) > SEGMENT_BYTES_MAX for segment in document.segments)
            return None if whole else Records(FileStat(len(data), 0, 0, 0, 0), digest, document)

        return await trio.to_thread.run_sync(read)


def _time(text: str) -> int:
    """Read an ISO date (its end) or time as milliseconds; without an offset it is local time."""
    try:
        at = datetime.datetime.fromisoformat(text)
        if len(text) <= 10:
            at = at.replace(hour=23, minute=59, second=59, microsecond=999_999)
        return int(at.timestamp() * 1000)
    except (ValueError, OverflowError):  # the first and the last year have no local time
        raise TimeInvalid(time=text) from None
