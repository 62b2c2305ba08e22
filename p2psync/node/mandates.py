"""Commands on mandates and attached files: create, list, show, share, attach."""

import datetime
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto, membership, ops
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_WRITE
from p2psync.core.names import check_name, safe_folder_name
from p2psync.core.records import Problem
from p2psync.engine.effects import Effect
from p2psync.errors import (
    AccountingTaken,
    AttachedAlready,
    FileAbsent,
    FileInMandateFolder,
    FileKindUnknown,
    IdentityLocked,
    MandateFull,
    NotAdmittedYet,
    NotAllowed,
    P2PSyncError,
    PeriodInvalid,
)
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.checks import check, settings_for
from p2psync.formats.cresus_list import read_list
from p2psync.formats.cresus_settings import Settings, read_settings
from p2psync.limits import FILES_PER_MANDATE_MAX, RECORD_FILE_BYTES_MAX
from p2psync.node import find, views
from p2psync.node.contents import Read
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Whole, look_first
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.refusals import refusal
from p2psync.node.runner import wall_ms
from p2psync.storage.disk import disk_errors, sync_names
from p2psync.storage.folder import Folder
from p2psync.storage.rows import MandateRow

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a file's content tells: its problems, and the period that its records fall into."""

    problems: tuple[Problem, ...] = ()
    period: str | None = None


ATTACHED_AT_ONCE = 128
"""Files that are read in one go while they are attached."""
PROBLEM_TEXTS = {
    "not-readable": "the file is too large or its lines too long to be read record by record; it "
    "is synchronised whole",
    "unknown-format": "this is no exchange file that p2psync understands; it is synchronised whole "
    "and nothing in it is counted",
}
CONDITION_TEXTS = {
    "waiting": "no member that may admit this device was reached yet",
    "offline": "no other device of the mandate is reachable",
}


FINDINGS_VERSION = 1
"""Rises when other things are found in the same content."""


def _cause(template: str, params: Mapping[str, str] | None = None) -> Json:
    filled = dict(params or {})
    return {"text": template.format_map(filled), "template": template, "params": filled}


class Mandates:
    """What people do with mandates and files on this node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._years: dict[bytes, tuple[bytes, Settings]] = {}
        self._checked: dict[bytes, tuple[object, Findings]] = {}

    # -- creating and sharing -----------------------------------------------------------------

    async def create(self, name: str, accounting: str | None) -> Json:
        """Found a local mandate (B-MAN-2), with its accounting file (B-MAN-3)."""
        node = self._node
        node.check_writable()
        node.identity.check_unlocked()
        check_name(name)
        paths = await self.check_attachable([] if accounting is None else [accounting])
        salt = node.entropy(16)
        mandate = membership.mandate_id(node.identity.device, salt)
        row = MandateRow(
            id=mandate,
            epoch_keys=(node.entropy(32),),
            folder=await self.new_folder(name),
            by_ticket=False,
            created_ms=wall_ms(),
        )
        opened = Opened(node.replica(row, ()), row, node.mandates_folder / row.folder)
        offered: list[str] = []
        try:
            await self.found(opened, [[ops.Create(node.identity.device, salt, name)]], contacts={})
            if paths:
                attached = await self.attach_paths(opened, paths, "accounting", None, None)
                offered = attached["offered"]
        except BaseException:
            # A mandate whose first step failed never was: nothing has changed.
            with trio.CancelScope(shield=True):
                await node.forget(opened)
            raise
        return {
            "id": mandate.hex(),
            "name": name,
            "kind": "local",
            "folder": str(opened.folder),
            "offered": offered,
        }

    async def found(
        self,
        opened: Opened,
        entries: Sequence[Sequence[ops.Operation]],
        contacts: Mapping[bytes, tuple[str, ...]],
    ) -> None:
        """Make a mandate's row, its contacts and its first own entries durable at once, and open
        it.

        So that a crash leaves all of it or nothing.
        """
        node = self._node
        effects: list[Effect] = []
        for operations in entries:
            effects += opened.replica.author(operations, wall_ms())
        if not opened.by_ticket:
            opened.row = replace(opened.row, genesis=opened.replica.opening()[0])
        told = node.store.tell_contacts(opened.id, contacts)
        await node.runner.hand_in([node.keep_row(opened), told, *effects]).wait()
        node.admit_opened(opened, contacts)
        node.update_discovery()

    async def new_folder(self, name: str) -> str:
        """Make a folder of its own under the mandates folder, named near to the mandate's name."""
        base = safe_folder_name(name)
        taken = {opened.row.folder.casefold() for opened in self._node.opened.values()}
        root = self._node.mandates_folder

        def make() -> str:
            candidate, number = base, 2
            while True:
                if candidate.casefold() not in taken:
                    with disk_errors(str(root / candidate)), suppress(FileExistsError):
                        root.mkdir(mode=0o700, parents=True, exist_ok=True)
                        (root / candidate).mkdir(mode=0o700)
                        sync_names(str(root))
                        return candidate
                candidate = f"{base} ({number})"
                number += 1

        return await trio.to_thread.run_sync(make)

    async def share(self, mandate: str) -> Json:
        """Let others subscribe (B-MAN-4)."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        node.identity.check_unlocked()
        if not opened.state.shared:
            if opened.state.membership.role(node.identity.device) != "owner":
                raise NotAllowed(action="share the mandate", roles="owner")
            await node.author(opened, [ops.Share()]).wait()
            node.update_discovery()
        return {"id": opened.id.hex(), "name": opened.name, "kind": "shared"}

    # -- showing ------------------------------------------------------------------------------

    def kind(self, opened: Opened) -> str:
        """``local`` or ``shared``."""
        return "shared" if opened.shared else "local"

    def condition(self, opened: Opened) -> Json:
        """The state of a mandate, and the cause and next step when it cannot sync (B-MAN-6).

        ``cause`` is a text with its template, ``action`` one of the words that events have too.
        """
        node = self._node
        if node.failure is not None:
            failure = node.failure
            return {
                "state": "read-only",
                "cause": _cause(failure.template, failure.params),
                "action": "mend-disk",
            }
        if not opened.shared:
            return {"state": "ok"}
        if node.identity.locked:
            return {
                "state": "locked",
                "cause": _cause(IdentityLocked.template),
                "action": "sign-in",
            }
        if not opened.replica.is_member(node.identity.device):
            refused = refusal(opened.row, opened.refused)
            if refused is not None:
                return {
                    "state": "refused",
                    "cause": _cause(refused.template, refused.params),
                    "action": "new-ticket",
                }
            return {
                "state": "waiting",
                "cause": _cause(CONDITION_TEXTS["waiting"]),
                "action": "wait",
            }
        if not opened.state.membership.members.keys() - {node.identity.device}:
            return {"state": "ok"}
        if not node.engine.meets_anybody(opened.id):
            return {
                "state": "offline",
                "cause": _cause(CONDITION_TEXTS["offline"]),
                "action": "connect",
            }
        return {"state": "ok" if node.engine.in_step(opened.id) else "syncing"}

    def all(self) -> Json:
        """All mandates of this node (B-MAN-6)."""
        mandates = []
        for opened in sorted(
            self._node.opened.values(), key=lambda each: (each.name.casefold(), each.id)
        ):
            pending = [
                file.pending() for file in opened.state.present_files() if views.counts(file)
            ]
            mandates.append(
                {
                    "id": opened.id.hex(),
                    "name": opened.name,
                    "kind": self.kind(opened),
                    **self.condition(opened),
                    "pending": {
                        "added": sum(added for added, _ in pending),
                        "deleted": sum(deleted for _, deleted in pending),
                    },
                }
            )
        return {"mandates": mandates}

    async def show(self, mandate: str) -> Json:
        """Everything about one mandate."""
        opened = find.mandate(self._node.opened.values(), mandate)
        names = opened.names()
        years = await self.years(opened)
        files = []
        for file in sorted(opened.state.present_files(), key=lambda each: names[each.id]):
            files.append(await self._view(opened, file, names[file.id], years))
        return {
            "id": opened.id.hex(),
            "name": opened.name,
            "kind": self.kind(opened),
            **self.condition(opened),
            "folder": str(opened.folder),
            "seat": (views.person(opened.state, seat) if (seat := opened.state.seat()) else None),
            "files": files,
            "members": await self.members(opened),
        }

    async def members(self, opened: Opened) -> list[Json]:
        """The members, and devices that wait to be admitted (B-ID-2)."""
        node = self._node
        state = opened.state
        online = {peer.device for peer in node.engine.peers(opened.id) if peer.online}
        seen = await node.store.last_seen(opened.id)
        out = []
        for device, member in sorted(
            state.membership.members.items(), key=lambda item: (item[1].rank, item[0])
        ):
            own = device == node.identity.device
            out.append(
                {
                    "device": device.hex(),
                    "name": views.person(state, device),
                    "machine": views.machine(state, device),
                    "role": member.role,
                    "phrase": node.identity.phrase_of(device),
                    "this_device": own,
                    "online": own or device in online,
                    "last_seen": (
                        views.iso(wall_ms())
                        if own or device in online
                        else views.iso(seen[device])
                        if device in seen
                        else None
                    ),
                }
            )
        return out

    async def years(self, opened: Opened) -> list[Settings]:
        """The settings of the mandate's accounting files whose content is here."""
        out = []
        for file in opened.state.present_files():
            current = file.current()
            if file.info.kind != "accounting" or current is None:
                continue
            cached = self._years.get(file.id)
            if cached is None or cached[0] != current.digest:
                if current.size_bytes > RECORD_FILE_BYTES_MAX:
                    continue
                try:
                    content, _, _ = await self._node.shelf.content(opened, file, None)
                    data = await trio.to_thread.run_sync(_joined, content)
                except P2PSyncError:
                    continue  # not here yet: nothing is known, so nothing is wrong
                cached = (current.digest, read_settings(data))
                self._years[file.id] = cached
            out.append(cached[1])
        return out

    async def _view(
        self, opened: Opened, file: FileState, name: str, years: Sequence[Settings]
    ) -> Json:
        found = await self.findings(opened, file, years)
        device = self._node.identity.device
        return views.file_view(opened, file, name, device, found.problems, found.period)

    async def findings(
        self, opened: Opened, file: FileState, years: Sequence[Settings]
    ) -> Findings:
        """What a reader, and the accounting's settings, tell of a file's content (B-POS-8)."""
        mark = (tuple(file.heads), tuple(id(year) for year in years))
        cached = self._checked.get(file.id)
        if cached is not None and cached[0] == mark:
            return cached[1]
        current = file.current()
        found = Findings()
        format_ = registry.by_name(file.info.format)
        if current is not None and current.content is None:
            found = await self._noted(opened, file, years)
        elif current is not None and format_.merge == "records":
            found = Findings((Problem("not-readable", PROBLEM_TEXTS["not-readable"]),))
        elif current is not None and file.info.kind in ("invoicing", "payroll"):
            found = Findings((Problem("unknown-format", PROBLEM_TEXTS["unknown-format"]),))
        self._checked[file.id] = (mark, found)
        return found

    async def _noted(self, opened: Opened, file: FileState, years: Sequence[Settings]) -> Findings:
        """What is wrong with a record file; noted, for finding it out takes reading all of it."""
        store = self._node.store
        heads = sorted(file.heads)
        what = (FINDINGS_VERSION, file.info.format, heads, years)
        mark = crypto.content_digest(repr(what).encode())
        noted = await store.note(opened.id, file.id, mark)
        if sorted(file.heads) != heads:
            return await self._noted(opened, file, years)
        if noted is not None:
            return Findings(tuple(Problem(*each) for each in noted["problems"]), noted["period"])
        data = file.segments.emit()
        format_ = registry.by_name(file.info.format)
        found = await trio.to_thread.run_sync(_find, format_, data, years)
        problems = [[each.code, each.template, each.line, each.params] for each in found.problems]
        note = {"problems": problems, "period": found.period}
        await store.put_note(opened.id, file.id, mark, note)
        return found

    # -- attaching ----------------------------------------------------------------------------

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
        years = await self.years(opened)
        return {
            "files": [
                await self._view(opened, opened.state.files[file_id], names.get(file_id, ""), years)
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


def _find(format_: Format, data: bytes, years: Sequence[Settings]) -> Findings:
    document = format_.parse(data)
    dates = [date for segment in document.segments for date in segment.dates]
    spans = {
        year.period
        for date in set(dates)
        if (year := settings_for(date, years)) is not None and year.period is not None
    }
    if document.period is not None:
        spans = {document.period}
    elif not spans and dates:
        spans = {(min(dates), max(dates))}
    period = None
    if spans:
        period = views.period_text((min(span[0] for span in spans), max(span[1] for span in spans)))
    return Findings((*document.problems, *check(document, years)), period)


def _joined(content: Read) -> bytes:
    return b"".join(content())


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
