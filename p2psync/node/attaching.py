"""Attaches files to a mandate: which may be, whose they are, what is in them."""

import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import trio

from p2psync.core import ops
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_WRITE
from p2psync.errors import (
    AccountingsSeveral,
    AccountingTaken,
    AttachedAlready,
    FileAbsent,
    FileInMandateFolder,
    FileKindUnknown,
    FollowsOtherKind,
    FollowsSeveral,
    MandateFull,
    NotAdmittedYet,
    NotAllowed,
    NothingOffered,
    OfferedAndFiles,
    PeriodInvalid,
    PeriodTaken,
)
from p2psync.formats import registry
from p2psync.formats.choice import chosen
from p2psync.formats.cresus_settings import read_settings
from p2psync.limits import FILES_PER_MANDATE_MAX, RECENT_BYTES_MAX
from p2psync.node import find, views
from p2psync.node.copies import Copy
from p2psync.node.looking import Choose, Records, Whole, look_first
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.overview import Overview
from p2psync.node.paths import local_path
from p2psync.node.programs import registration
from p2psync.node.suggestions import Suggestion
from p2psync.node.validity import refused
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder

Json = dict[str, Any]
Period = tuple[datetime.date, datetime.date]
Item = tuple[Copy, ops.AddFile, Records | Whole | None]
"""A file that is being attached: where it is, what is said of it, what it holds."""
ATTACHED_AT_ONCE = 128
"""Files that are read in one go while they are attached."""
SKIPPED_TEXTS = {
    "missing": "the list names it, but it is not there",
    "attached": "it is attached already",
    "elsewhere": "it is attached to {mandate}",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be attached, checked as far as its path goes."""

    path: Path
    kind: str
    period: Period | None = None
    follows: FileState | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of every file that a command attaches.

    ``program`` is its name, its version and the state of its licence; ``format`` the name of a
    format, or a definition in TOML, for files that are not to be recognised.
    """

    expect_seconds: int | None = None
    program: tuple[str, str, str] | None = None
    format: str | None = None


NOTHING_SAID = Said()


class Attaching:
    """Attaches files on this node."""

    def __init__(self, node: Node, overview: Overview) -> None:
        self._node = node
        self._overview = overview

    async def attach(
        self,
        mandate: str,
        files: Sequence[str],
        kind: str | None,
        period: str | None,
        follows: str | None,
        said: Said = NOTHING_SAID,
        *,
        offered: bool = False,
    ) -> Json:
        """Attach files (B-ATT-1): all of them, or none when one is refused.

        ``offered`` attaches what the lists beside the accountings here name (B-MAN-3), and tells
        what of it cannot be.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        if said.program is not None:
            registration(b"", *said.program)  # refused before anything else happens
        if said.format is not None:
            chosen(said.format)
        if offered:
            if files or kind or period or follows or said.format is not None:
                raise OfferedAndFiles()
            return await self._attach_offered(opened, said)
        if not files or kind is None:
            raise OfferedAndFiles()
        check_kind(kind)
        span = _period(period)
        paths = await self.check_attachable(files)
        predecessor = None if follows is None else find.file(opened, follows)
        if predecessor is not None:
            _check_follows(opened, paths, kind, predecessor)
        elif kind == "accounting" and len(paths) > 1:
            raise AccountingsSeveral(count=len(paths), mandate=opened.name)
        wanted = [Wanted(path, kind, span, predecessor) for path in paths]
        return await self.attach_paths(opened, wanted, said)

    async def _attach_offered(self, opened: Opened, said: Said) -> Json:
        suggestions = self._node.suggestions
        found: list[tuple[Suggestion, bool]] = []
        for copy in self._accountings(opened):
            with suggestions.quietly(opened):
                listed = await suggestions.look_at_list(opened, copy.path)
            # Two years of the accounting may name one file, and a list may name it twice.
            known = {each.path for each, _ in found}
            for each, there in listed:
                if each.path not in known:
                    known.add(each.path)
                    found.append((each, there))
        if not found:
            raise NothingOffered(mandate=opened.name)
        attached = suggestions.attached()
        wanted: list[Wanted] = []
        skipped: list[Json] = []
        for each, there in found:
            holder = attached.get(each.path)
            if holder is opened:
                skipped.append(_skipped(each.path, "attached"))
            elif holder is not None:
                skipped.append(_skipped(each.path, "elsewhere", mandate=holder.name))
            elif not there:
                skipped.append(_skipped(each.path, "missing"))
            else:
                wanted.append(Wanted(each.path, each.kind))
        answer: Json = {"files": [], "offered": []}
        if wanted:
            await self.check_attachable([os.fspath(each.path) for each in wanted])
            answer = await self.attach_paths(opened, wanted, said)
        return {**answer, "skipped": skipped}

    def _accountings(self, opened: Opened) -> list[Copy]:
        """The accounting files that are attached on this machine."""
        return [
            copy
            for (file_id, role), copy in opened.copies.items()
            if role == "attached"
            and (file := opened.state.files.get(file_id))
            and file.present
            and file.info.kind == "accounting"
        ]

    # -- which may be -------------------------------------------------------------------------

    async def check_attachable(self, texts: Sequence[str]) -> list[Path]:
        """Check paths before anything is changed; returns them without links in their folders."""
        mandates = self._node.mandates_folder

        def look_at_all() -> Iterator[tuple[Path, FileStat]]:
            by_folder = groupby(map(local_path, texts), lambda path: path.parent)
            for parent, paths in by_folder:
                if parent == mandates or mandates in parent.parents:
                    raise FileInMandateFolder(path=str(next(paths)))
                with Folder.open(parent) as folder:
                    for path in paths:
                        found = folder.stat(path.name)
                        if found is None:
                            raise FileAbsent(path=str(path))
                        yield path, found

        looked = await trio.to_thread.run_sync(lambda: list(look_at_all()))
        paths = [path for path, _ in looked]
        self.check_free(paths)
        await self._check_other_names(looked)
        return paths

    def check_apart(self, paths: Sequence[Path]) -> None:
        """Raise unless files may be made there: where an attached file is to be, even one that is
        missing, they would be taken for its saves.

        Raises ``AttachedAlready``, ``FileInMandateFolder``.
        """
        self.check_free(paths)
        for path in paths:
            if self._node.mandates_folder in path.parents:
                raise FileInMandateFolder(path=str(path))

    def check_free(self, paths: Sequence[Path]) -> None:
        """Raise ``AttachedAlready`` for a path that is attached to any mandate, or twice
        (B-ATT-4).
        """
        taken = {path: each.name for path, each in self._node.suggestions.attached().items()}
        for path in paths:
            if path in taken:
                raise AttachedAlready(file=str(path), mandate=taken[path])
            taken[path] = "it"

    async def _check_other_names(self, looked: Sequence[tuple[Path, FileStat]]) -> None:
        """Raise ``AttachedAlready`` for another name (a hard link) of a file that is attached, or
        about to be.
        """
        wanted: dict[tuple[int, int], Path] = {}
        for path, found in looked:
            first = wanted.setdefault((found.device, found.inode), path)
            if first is not path:
                raise AttachedAlready(file=str(path), mandate="it")
        suspects: list[tuple[Path, str]] = []
        for opened in self._node.opened.values():
            for (file_id, role), copy in opened.copies.items():
                file = opened.state.files.get(file_id)
                if role != "attached" or file is None or not file.present:
                    continue
                # What was noted may be of a file that is gone, whose number another one has now.
                known = copy.stat
                if known is None or (known.device, known.inode) in wanted:
                    suspects.append((copy.path, opened.name))

        def same() -> tuple[Path, str] | None:
            for path, mandate in suspects:
                try:
                    found = os.lstat(path)
                except OSError:
                    continue
                if (found.st_dev, found.st_ino) in wanted:
                    return wanted[(found.st_dev, found.st_ino)], mandate
            return None

        taken = await trio.to_thread.run_sync(same)
        if taken is not None:
            raise AttachedAlready(file=str(taken[0]), mandate=taken[1])

    def _claim(self, opened: Opened, role: str | None, wanted: Sequence[Wanted]) -> bool:
        """See that this is the mandate's one accounting (B-MAN-1); whether it takes the seat."""
        if role not in ("owner", "accounting"):
            raise NotAllowed(action="attach the accounting", roles="owner, accounting")
        seat = opened.state.seat()
        known = [file for file in opened.state.present_files() if file.info.kind == "accounting"]
        if seat is not None and seat != self._node.identity.device:
            raise AccountingTaken(mandate=opened.name, who=views.person(opened.state, seat))
        if known and any(each.follows is None for each in wanted):
            raise AccountingTaken(
                mandate=opened.name,
                who=views.person(opened.state, known[0].device),
            )
        return seat is None

    # -- attaching ----------------------------------------------------------------------------

    async def attach_paths(
        self, opened: Opened, wanted: Sequence[Wanted], said: Said = NOTHING_SAID
    ) -> Json:
        """Attach checked paths, all or none."""
        node = self._node
        role = opened.state.membership.role(node.identity.device)
        if role is None:
            raise NotAdmittedYet(mandate=opened.name)
        if role not in MAY_WRITE:
            raise NotAllowed(action="attach files", roles=", ".join(sorted(MAY_WRITE)))
        if len(opened.state.files) + len(wanted) > FILES_PER_MANDATE_MAX:
            raise MandateFull(mandate=opened.name, limit=FILES_PER_MANDATE_MAX)
        accountings = [each for each in wanted if each.kind == "accounting"]
        claims = bool(accountings) and self._claim(opened, role, accountings)
        paths = [each.path for each in wanted]
        with node.suggestions.quietly(opened):
            async with opened.lock:
                opened.check_listed()
                items = await self._items(opened, wanted, said.format)
                _check_periods(opened, items)
                also = self._also(opened, items, said, claims=claims)
                await node.shelf.attach(opened, items, also, lambda: self.check_free(paths))
            for each in accountings:
                await node.suggestions.look_at_list(opened, each.path)
        offered: list[str] = []
        if accountings:
            here = {each.path.parent for each in accountings}
            offered = [
                str(each.path)
                for each in node.suggestions.of(opened)
                if each.reason == "listed" and each.path.parent in here
            ]
        files = [opened.state.files[copy.file] for copy, *_ in items]
        return {
            "files": await self._overview.files(opened, files),
            "offered": offered,
        }

    async def _items(
        self, opened: Opened, wanted: Sequence[Wanted], format_text: str | None
    ) -> list[Item]:
        """For each file the copy that it is, the operation that attaches it, what it holds."""
        choose = _choice(format_text, wanted)
        secret = opened.replica.chunk_secret
        items: list[Item] = []
        recent_bytes = 0
        for start in range(0, len(wanted), ATTACHED_AT_ONCE):
            group = wanted[start : start + ATTACHED_AT_ONCE]
            paths = [each.path for each in group]
            looks = await trio.to_thread.run_sync(look_first, paths, secret, choose)
            for each, first in zip(group, looks, strict=True):
                of_file = each.period
                if each.kind == "accounting" and of_file is None:
                    of_file = read_settings(first.head).period
                operation = ops.AddFile(
                    self._node.entropy(ops.FILE_ID_BYTES),
                    each.path.name,
                    each.kind,
                    first.format,
                    str(each.path.parent),
                    None if each.follows is None else each.follows.id,
                    None if of_file is None else of_file[0].toordinal(),
                    None if of_file is None else of_file[1].toordinal(),
                )
                path = each.path
                copy = Copy(opened.id, operation.file, "attached", path.parent, path.name)
                found = first.found
                if isinstance(found, Whole) and found.sealed is not None:
                    recent_bytes += sum(len(data) for _, data in found.sealed.recent)
                    if recent_bytes > RECENT_BYTES_MAX:  # it is read again when it is asked for
                        found = replace(found, sealed=replace(found.sealed, recent=()))
                items.append((copy, operation, found))
            if len(wanted) > ATTACHED_AT_ONCE:
                self._node.notices.progress(
                    len(items), len(wanted), mandate=opened.id, file="", phase="reading"
                )
        return items

    def _also(
        self, opened: Opened, items: Sequence[Item], said: Said, *, claims: bool
    ) -> Mapping[bytes, Sequence[ops.Operation]]:
        """What goes into the same entry as each attached file, by file.

        Raises ``ProgramRefused`` when the mandate's policy would refuse the file at once.
        """
        also: dict[bytes, list[ops.Operation]] = {}
        policy = opened.state.standing.policy
        for place, (copy, operation, _) in enumerate(items):
            of_file = also.setdefault(copy.file, [])
            if claims and not place:
                of_file.append(ops.ClaimSeat(1))
            if said.expect_seconds is not None:
                of_file.append(ops.Expect(copy.file, said.expect_seconds))
            file = FileState(copy.file, opened.state.reader)
            at = (b"", place)
            file.attach(operation, at, self._node.identity.device, 0)
            if said.program is not None:
                register = registration(copy.file, *said.program)
                of_file.append(register)
                file.program = (0, at, register)
            if policy is not None and (error := refused(opened.state, file)) is not None:
                raise error
        return also


def _choice(format_text: str | None, wanted: Sequence[Wanted]) -> Choose:
    """How the files' format is told: as the user says, as of the file that they continue, or by
    what is in them.
    """
    if format_text is not None:
        form = chosen(format_text)
        return lambda name, head: registry.fitted(form, head)
    follows = next((each.follows for each in wanted if each.follows is not None), None)
    return registry.find if follows is None else partial(registry.find_again, follows.info.format)


def _check_follows(
    opened: Opened, paths: Sequence[Path], kind: str, predecessor: FileState
) -> None:
    if len(paths) > 1:
        raise FollowsSeveral(count=len(paths), follows=predecessor.info.name)
    if predecessor.info.kind != kind:
        raise FollowsOtherKind(
            file=paths[0].name,
            kind=kind,
            follows=opened.names().get(predecessor.id, predecessor.info.name),
            other=predecessor.info.kind,
        )


def _check_periods(opened: Opened, items: Sequence[Item]) -> None:
    """Raise ``PeriodTaken`` for an accounting of a time that another one is for (B-MAN-1)."""
    for _, new, _ in items:
        first, last = new.period_from, new.period_to
        if new.kind != "accounting" or first is None or last is None:
            continue
        for file in opened.state.present_files():
            info = file.info
            if info.kind != "accounting" or info.period_from is None or info.period_to is None:
                continue
            if info.period_from <= last and first <= info.period_to:
                raise PeriodTaken(
                    file=new.name,
                    period=views.period_text(_span(first, last)),
                    mandate=opened.name,
                    other=opened.names().get(file.id, info.name),
                    taken=views.period_text(_span(info.period_from, info.period_to)),
                )


def _span(first: int, last: int) -> Period:
    return datetime.date.fromordinal(first), datetime.date.fromordinal(last)


def _skipped(path: Path, code: str, **params: str) -> Json:
    template = SKIPPED_TEXTS[code]
    text = template.format_map(params)
    return {"file": str(path), "code": code, "template": template, "params": params, "text": text}


def check_kind(kind: str) -> None:
    """Raise ``FileKindUnknown`` unless files can be attached as that."""
    if kind not in ops.FILE_KINDS:
        raise FileKindUnknown(kind=kind[:80], kinds=", ".join(ops.FILE_KINDS))


def _period(text: str | None) -> Period | None:
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
