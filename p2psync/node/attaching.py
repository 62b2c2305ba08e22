"""Attaches files to a mandate: which may be, whose they are, what is in them."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from p2psync.core import ops
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_WRITE
from p2psync.errors import (
    AccountingTaken,
    AttachedAlready,
    FileAbsent,
    FileInMandateFolder,
    FileKindUnknown,
    MandateFull,
    NotAdmittedYet,
    NotAllowed,
    P2PSyncError,
    PeriodInvalid,
)
from p2psync.formats.cresus_list import read_list
from p2psync.formats.cresus_settings import read_settings
from p2psync.limits import FILES_PER_MANDATE_MAX, RECORD_FILE_BYTES_MAX
from p2psync.node import find, views
from p2psync.node.copies import Copy
from p2psync.node.findings import Content
from p2psync.node.looking import Records, Whole, look_first
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.overview import Overview
from p2psync.node.paths import local_path
from p2psync.storage.folder import Folder

Json = dict[str, Any]
ATTACHED_AT_ONCE = 128
"""Files that are read in one go while they are attached."""


class Attaching:
    """Attaches files on this node."""

    def __init__(self, node: Node, content: Content, overview: Overview) -> None:
        self._node = node
        self._content = content
        self._overview = overview

    async def attach(
        self, mandate: str, files: list[str], kind: str, period: str | None, follows: str | None
    ) -> Json:
        """Attach files (B-ATT-1): all of them, or none when one is refused."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_kind(kind)
        paths = await self.check_attachable(files)
        predecessor = None if follows is None else find.file(opened, follows)
        return await self.attach_paths(opened, paths, kind, _period(period), predecessor)

    async def check_attachable(self, texts: Sequence[str]) -> list[Path]:
        """Check paths before anything is changed; returns them without links in their folders."""
        mandates = self._node.mandates_folder

        def look(text: str) -> Path:
            path = local_path(text)
            parent = path.parent
            if parent == mandates or mandates in parent.parents:
                raise FileInMandateFolder(path=str(path))
            with Folder.open(parent) as folder:
                if folder.stat(path.name) is None:
                    raise FileAbsent(path=str(path))
            return path

        paths = await trio.to_thread.run_sync(lambda: [look(text) for text in texts])
        self._check_free(paths)
        return paths

    def _check_free(self, paths: Sequence[Path]) -> None:
        """Raise ``AttachedAlready`` for a path that is attached to any mandate, or twice
        (B-ATT-4).
        """
        taken: dict[Path, str] = {}
        for opened in self._node.opened.values():
            for (file_id, role), copy in opened.copies.items():
                file = opened.state.files.get(file_id)
                if role == "attached" and file is not None and file.present:
                    taken[copy.path] = opened.name
        for path in paths:
            if path in taken:
                raise AttachedAlready(file=str(path), mandate=taken[path])
            taken[path] = "it"

    async def attach_paths(
        self,
        opened: Opened,
        paths: list[Path],
        kind: str,
        period: tuple[datetime.date, datetime.date] | None,
        follows: FileState | None,
    ) -> Json:
        """Attach checked paths; ``follows`` is the file that the first of them continues."""
        node = self._node
        device = node.identity.device
        role = opened.state.membership.role(device)
        if role is None:
            raise NotAdmittedYet(mandate=opened.name)
        if role not in MAY_WRITE:
            raise NotAllowed(action="attach files", roles=", ".join(sorted(MAY_WRITE)))
        if len(opened.state.files) + len(paths) > FILES_PER_MANDATE_MAX:
            raise MandateFull(mandate=opened.name, limit=FILES_PER_MANDATE_MAX)
        claim: list[ops.Operation] = []
        if kind == "accounting":
            claim = self._claim(opened, role, follows)
        offered: list[str] = []
        async with opened.lock:
            items = await self._attachments(opened, paths, kind, period, follows)
            await node.shelf.attach(opened, items, claim, lambda: self._check_free(paths))
        if kind == "accounting":
            for path in paths:
                offered += await trio.to_thread.run_sync(self._offered, path)
        views_made = [copy.file for copy, *_ in items]
        names = opened.names()
        years = await self._content.years(opened)
        return {
            "files": [
                await self._overview.file(
                    opened, opened.state.files[file_id], names.get(file_id, ""), years
                )
                for file_id in views_made
                if file_id in opened.state.files and opened.state.files[file_id].added
            ],
            "offered": offered,
        }

    async def _attachments(
        self,
        opened: Opened,
        paths: Sequence[Path],
        kind: str,
        period: tuple[datetime.date, datetime.date] | None,
        follows: FileState | None,
    ) -> list[tuple[Copy, ops.AddFile, Records | Whole | None]]:
        """For each path the copy that it is, the operation that attaches it, what it holds."""
        secret = opened.replica.chunk_secret
        items: list[tuple[Copy, ops.AddFile, Records | Whole | None]] = []
        for start in range(0, len(paths), ATTACHED_AT_ONCE):
            group = paths[start : start + ATTACHED_AT_ONCE]
            looks = await trio.to_thread.run_sync(look_first, group, secret)
            for path, first in zip(group, looks, strict=True):
                of_file = period
                if kind == "accounting" and period is None:
                    of_file = read_settings(first.head).period
                operation = ops.AddFile(
                    self._node.entropy(ops.FILE_ID_BYTES),
                    path.name,
                    kind,
                    first.format,
                    str(path.parent),
                    None if items or follows is None else follows.id,
                    None if of_file is None else of_file[0].toordinal(),
                    None if of_file is None else of_file[1].toordinal(),
                )
                copy = Copy(opened.id, operation.file, "attached", path.parent, path.name)
                items.append((copy, operation, first.found))
            if len(paths) > ATTACHED_AT_ONCE:
                self._node.notices.progress(
                    len(items), len(paths), mandate=opened.id, file="", phase="reading"
                )
        return items

    def _claim(
        self, opened: Opened, role: str | None, follows: FileState | None
    ) -> list[ops.Operation]:
        """See that this is the mandate's one accounting (B-MAN-1)."""
        if role not in ("owner", "accounting"):
            raise NotAllowed(action="attach the accounting", roles="owner, accounting")
        seat = opened.state.seat()
        known = [file for file in opened.state.present_files() if file.info.kind == "accounting"]
        if seat is not None and seat != self._node.identity.device:
            raise AccountingTaken(mandate=opened.name, who=views.person(opened.state, seat))
        if known and (follows is None or follows.info.kind != "accounting"):
            raise AccountingTaken(
                mandate=opened.name,
                who=views.person(opened.state, known[0].device),
            )
        return [] if seat is not None else [ops.ClaimSeat(1)]

    def _offered(self, accounting: Path) -> list[str]:
        """The exchange files that the list beside an accounting file points at (B-MAN-3)."""
        listing = accounting.with_suffix(".ecc")
        try:
            with Folder.open(listing.parent) as folder:
                data, _ = folder.read(listing.name, RECORD_FILE_BYTES_MAX)
                return [
                    str(listing.parent / item.name)
                    for item in read_list(data)
                    if folder.stat(item.name) is not None
                ]
        except (P2PSyncError, ValueError):
            return []


def check_kind(kind: str) -> None:
    """Raise ``FileKindUnknown`` unless files can be attached as that."""
    if kind not in ops.FILE_KINDS:
        raise FileKindUnknown(kind=kind[:80], kinds=", ".join(ops.FILE_KINDS))


def _period(text: str | None) -> tuple[datetime.date, datetime.date] | None:
    """Read ``FROM..TO``; raises ``PeriodInvalid``."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    try:
        span = (datetime.date.fromisoformat(first), datetime.date.fromisoformat(last))
    except ValueError:
        raise PeriodInvalid(period=text) from None
    if not dots or span[0] > span[1]:
        raise PeriodInvalid(period=text)
    return span
