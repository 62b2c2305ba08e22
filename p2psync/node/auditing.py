"""Exports a mandate's signed history as one file for an auditor (B-HIS-2)."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import trio

from p2psync import __version__
from p2psync.audit.writer import Source, Writer
from p2psync.core import entry, ops
from p2psync.core.audit import Content, Head, Log
from p2psync.core.files import Version
from p2psync.errors import (
    AuditNothing,
    BadInputError,
    ChunkMissing,
    CryptoError,
    NotOverwritten,
)
from p2psync.node import find, views
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.runner import wall_ms
from p2psync.storage.disk import check_room
from p2psync.storage.folder import Folder
from p2psync.storage.ordered import OrderedEntries

Json = dict[str, Any]
Contents = list[tuple[Content, Callable[[], Iterable[bytes]]]]
_TELL_SECONDS = 0.2


class Auditing:
    """What ``NodeService`` hands on about audit files."""

    def __init__(self, node: Node, mandates: Mandates) -> None:
        self._node = node
        self._mandates = mandates

    async def export(self, mandate: str, output: str, *, keys: bool, contents: bool) -> Json:
        """Write the audit file of a mandate as it is now; an existing file is left alone.

        Without ``keys`` nobody can read what it holds. ``contents``: also the current content of
        files that are synchronised whole, as far as it is on this device.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.identity.check_unlocked()
        place = await trio.to_thread.run_sync(local_path, output)
        self._mandates.attaching.check_apart([place])
        await node.runner.flushed()
        entries = await node.store.ordered(opened.id)
        if entries is None or not len(entries):
            raise AuditNothing(mandate=opened.name)
        files, lacking = await self._contents(opened) if contents and keys else ([], [])
        source = Source(
            *_beginning(opened, entries),
            opened.replica.secrets.epoch_keys if keys else (),
            self._told(opened, entries, place.name),
            files,
        )
        signer, now = node.identity.signer, wall_ms()
        writer = Writer(source, signer, now, entries.waiting, f"p2psync {__version__}")
        needed = entries.size_bytes + sum(content.size_bytes for content, _ in files)
        await trio.to_thread.run_sync(_write, place, writer, needed)
        manifest = writer.manifest
        assert manifest is not None
        return {
            "path": str(place),
            "mandate": opened.id.hex(),
            "name": opened.name,
            "at": views.iso(now),
            "sealed": manifest.sealed,
            "entries": manifest.entries,
            "logs": len({head.log for head in manifest.heads}),
            "waiting": manifest.waiting,
            "contents": manifest.contents,
            "lacking": lacking,
            "heads": [
                {"log": head.log.hex(), "seq": head.seq, "entry": head.entry.hex()}
                for head in manifest.heads
            ],
        }

    async def _contents(self, opened: Opened) -> tuple[Contents, list[str]]:
        """The current versions of files that are synchronised whole, and whose is not here."""
        found: Contents = []
        lacking: list[str] = []
        names = opened.names()
        for file in opened.listed():
            version = file.current()
            if version is None or version.content is None:
                continue
            try:
                read, _, _ = await self._node.shelf.content(opened, file, version)
            except (ChunkMissing, CryptoError):
                lacking.append(names[file.id])
                continue
            found.append((_content(file.id, version), read))
        return found, lacking

    def _told(self, opened: Opened, entries: OrderedEntries, name: str) -> Iterator[bytes]:
        """The entries' bytes; tells now and then how far they have come. Runs in a thread."""
        done = 0
        last = time.monotonic()
        for raw in entries.raws():
            yield raw
            done += len(raw)
            if time.monotonic() - last > _TELL_SECONDS:
                last = time.monotonic()
                trio.from_thread.run_sync(self._tell, opened.id, name, done, entries.size_bytes)

    def _tell(self, mandate: bytes, name: str, done: int, total: int) -> None:
        self._node.notices.progress(done, total, mandate=mandate, file=name, phase="exporting")


def _content(file: bytes, version: Version) -> Content:
    return Content(file, *version.id, version.size_bytes, version.digest)


def _beginning(opened: Opened, entries: OrderedEntries) -> tuple[Head, list[Log]]:
    """Whose logs they are: from the first entry of each."""
    keys = {entry.epoch_id(key): key for key in opened.replica.secrets.epoch_keys}
    logs: dict[bytes, Log] = {}
    head: Head | None = None
    for raw in entries.openings:
        item = entry.decode(raw)
        try:
            operations = ops.decode(entry.open_payload(item, keys[item.header.epoch]))
        except (BadInputError, KeyError):
            raise AuditNothing(mandate=opened.name) from None
        for each in operations:
            match each:
                case ops.OpenLog(device=device, incarnation=incarnation, certificate=certificate):
                    logs.setdefault(item.log, Log(item.log, device, incarnation, certificate))
                case ops.Create(device=founder, salt=salt):
                    made = Head(opened.id, founder, salt)
                    head = made if made.holds else head
                case _:
                    continue
    if head is None:
        raise AuditNothing(mandate=opened.name)
    return head, list(logs.values())


def _write(place: Path, writer: Writer, needed_bytes: int) -> None:
    with Folder.open(place.parent) as folder:
        if folder.stat(place.name) is not None:
            raise NotOverwritten(path=str(place))
        check_room(str(place.parent), needed_bytes)
        folder.replace(place.name, writer.blocks(), None)
