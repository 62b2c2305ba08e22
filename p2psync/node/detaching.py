"""Detaches files, undoes that, and tells of both (B-DET-1, B-DET-2, B-DET-3)."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from p2psync.core import ops
from p2psync.core.changes import FileDetached, FileReturned
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_WRITE
from p2psync.core.records import Record
from p2psync.errors import (
    AccountingNotDetachable,
    AttachedAlready,
    DetachBlocked,
    FileHeldBack,
    FileNotAttached,
    NotAdmittedYet,
    NotAllowed,
    NotARegularFile,
    ProgramRefused,
)
from p2psync.limits import BLOCKING_RECORDS_LISTED_MAX
from p2psync.node import find, validity, views
from p2psync.node.closed import check_open
from p2psync.node.copies import Copy
from p2psync.node.opened import Opened
from p2psync.node.pieces import ROLES

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]


class Detaching:
    """What is done with files that leave a mandate, and come back."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    # -- commands -----------------------------------------------------------------------------

    async def detach(self, mandate: str, name: str) -> Json:
        """Take a file off a mandate; the file itself stays where it is."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_open(opened)
        file = find.file(opened, name)
        shown = opened.names()[file.id]
        self._check_role(opened)
        if file.info.kind == "accounting":
            command = shlex.join(("p2psync", "mandate", "remove", opened.name))
            raise AccountingNotDetachable(file=shown, mandate=opened.name, command=command)
        async with opened.lock:
            # What stands on the disk and was not looked at yet becomes a version first.
            await self.take_up(opened, file.id)
            file = opened.state.files[file.id]
            if not file.present:
                raise FileNotAttached(file=name, mandate=opened.name)
            if opened.shared:
                check_cancelled(opened, file, shown)
            copy = opened.copies.get((file.id, "attached"))
            await node.author(opened, [detachment(file)]).wait()
        return {
            "id": file.id.hex(),
            "file": shown,
            "mandate": opened.name,
            "path": None if copy is None else str(copy.path),
        }

    async def reattach(self, mandate: str, name: str) -> Json:
        """Undo the detaching of a file: what was posted of it stays posted."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_open(opened)
        self._check_role(opened)
        find.detached(opened, name)
        async with opened.lock:
            file = find.detached(opened, name)
            copy = opened.copies.get((file.id, "attached"))
            if copy is not None:
                check_free(node, [copy])
            await node.author(opened, [reattachment(file)]).wait()
            await self.take_up(opened, file.id)
            await node.shelf.write(opened, file.id)
        return {
            "id": file.id.hex(),
            "file": opened.names().get(file.id, file.info.name),
            "mandate": opened.name,
            "path": None if copy is None else str(copy.path),
        }

    def _check_role(self, opened: Opened) -> None:
        role = opened.state.membership.role(self._node.identity.device)
        if role is None:
            raise NotAdmittedYet(mandate=opened.name)
        if role not in MAY_WRITE:
            raise NotAllowed(action="detach files", roles=", ".join(sorted(MAY_WRITE)))

    async def take_up(self, opened: Opened, file_id: bytes) -> None:
        """Take up what stands on the disk, as far as it may be; the caller holds the lock."""
        for role in ROLES:
            copy = opened.copies.get((file_id, role))
            if copy is not None:
                with suppress(FileHeldBack, NotAllowed, NotARegularFile, ProgramRefused):
                    await self._node.shelf.take(opened, copy)

    # -- what entries tell --------------------------------------------------------------------

    def on_detached(self, opened: Opened, change: FileDetached) -> None:
        """A file was detached, here or elsewhere, or was to be."""
        node = self._node
        node.shelf.write_out(opened, change.file)
        node.watch_soon()
        validity.tell(node.notices, opened)
        file = opened.state.files.get(change.file)
        if file is None or file.added is None or change.detach in file.reattached:
            return
        if file.present:
            self._returned(opened, file, change.device)
            return
        if not opened.closed:
            node.notices.message(
                "file-detached",
                "{who} detached {file}: its copies leave the mandate folders, the file itself "
                "stays where it is",
                mandate=opened.id,
                file=file.info.name,
                device=change.device,
                who=views.person(opened.state, change.device),
            )
        if opened.shared and change.device not in opened.state.standing.left():
            self._look_at_posted(opened, file)

    def on_returned(self, opened: Opened, change: FileReturned) -> None:
        """A detached file is attached again."""
        node = self._node
        file = opened.state.files.get(change.file)
        if file is None or not file.present:
            return
        self.make_way(opened, file)
        node.watch_soon()
        validity.tell(node.notices, opened)
        for role in ROLES:
            copy = opened.copies.get((file.id, role))
            if copy is not None:
                node.shelf.look_at(opened, copy)
        node.shelf.write_out(opened, file.id)
        node.notices.settle("detached-posted", mandate=opened.id, key=_posted_key(file))
        if not change.undone:
            self._returned(opened, file, change.device)
            return
        node.notices.message(
            "file-reattached",
            "{who} undid the detaching of {file}: it is attached again",
            mandate=opened.id,
            file=file.info.name,
            device=change.device,
            who=views.person(opened.state, change.device),
        )

    def on_posted(self, opened: Opened, files: Iterable[bytes]) -> None:
        """A receipt was made or taken back."""
        for file_id in files:
            file = opened.state.files.get(file_id)
            if opened.shared and file is not None and file.added and not file.present:
                self._look_at_posted(opened, file)

    def _returned(self, opened: Opened, file: FileState, by: bytes) -> None:
        self._node.notices.alert_text(
            "file-returned",
            "{file} was detached and saved at the same time: it stays attached; detach it again "
            "if nobody needs it",
            mandate=opened.id,
            file=file.info.name,
            device=by,
            key=f"file-returned:{file.id.hex()}:{len(file.detached_by)}",
        )

    def _look_at_posted(self, opened: Opened, file: FileState) -> None:
        """Tell when records of a detached file are posted: a receipt came at the same time."""
        posted = 0 if file.present else posted_count(file)
        if not posted:
            self._node.notices.settle("detached-posted", mandate=opened.id, key=_posted_key(file))
            return
        self._node.notices.alert_text(
            "detached-posted",
            "{file} was detached while {count} of its records were posted: take the receipt back, "
            "or attach the file again",
            mandate=opened.id,
            file=file.info.name,
            key=_posted_key(file),
            count=str(posted),
        )

    def make_way(self, opened: Opened, file: FileState) -> None:
        """Let go of an attached file that belongs to something else by now."""
        copy = opened.copies.get((file.id, "attached"))
        if copy is None:
            return
        try:
            check_free(self._node, [copy])
        except AttachedAlready as error:
            del opened.copies[(file.id, "attached")]
            self._node.runner.hand_in([self._node.store.drop_copy(copy)])
            self._node.notices.alert(
                "link-broken",
                error,
                mandate=opened.id,
                file=file.info.name,
                action="restore-link",
                key=f"missing:{file.id.hex()}",
            )


def detachment(file: FileState) -> ops.Detach:
    """What detaches a file as it is here now."""
    return ops.Detach(file.id, tuple(sorted(file.heads)))


def reattachment(file: FileState) -> ops.Reattach:
    """What undoes all detachings of a file."""
    return ops.Reattach(file.id, tuple(sorted(file.detached_by.keys() - file.reattached)))


def check_free(node: "Node", copies: list[Copy]) -> None:
    """Raise ``AttachedAlready`` when an attached file belongs to something else by now
    (B-ATT-4)."""
    wanted = {copy.path: copy for copy in copies}
    for opened in node.opened.values():
        for (file_id, role), other in opened.copies.items():
            mine = wanted.get(other.path)
            if role != "attached" or mine is None:
                continue
            file = opened.state.files.get(file_id)
            is_same = (opened.id, file_id) == (mine.mandate, mine.file)
            if not is_same and file is not None and file.present:
                raise AttachedAlready(file=str(mine.path), mandate=opened.name)


# -- what blocks ------------------------------------------------------------------------------


def posted_count(file: FileState) -> int:
    """How many records of a file are posted and not cancelled."""
    return sum(count for count in file.posted.values() if count > 0)


def is_cancelled(file: FileState) -> bool:
    """Whether nothing of a file is pending, nor posted and not cancelled (B-DET-2)."""
    return not views.counts(file) or not (any(file.pending()) or posted_count(file))


def check_cancelled(opened: Opened, file: FileState, shown: str) -> None:
    """Raise ``DetachBlocked``, with the records, unless all is cancelled."""
    if is_cancelled(file):
        return
    waiting, posted = sum(file.pending()), posted_count(file)
    raise DetachBlocked(
        file=shown,
        mandate=opened.name,
        posted=posted,
        posted_records=told(_posted_records(file), posted),
        waiting=waiting,
        waiting_records=told((item.record for item in file.pending_records()), waiting),
    )


def told(records: Iterable[Record], count: int) -> str:
    """The first of some records; dots stand for the others."""
    listed = [record_line(each) for each in islice(records, BLOCKING_RECORDS_LISTED_MAX)]
    return "; ".join(listed if len(listed) == count else [*listed, "…"])


def _posted_records(file: FileState) -> Iterator[Record]:
    """What is posted and not cancelled: in the file still, or to be taken back."""
    left = Counter(file.posted)
    for _, value in file.segments.shown():
        for record in value.segment.records:
            if left[record.key] > 0:
                left[record.key] -= 1
                yield record
    for item in file.pending_records():
        if item.change != "added" and left[item.record.key] > 0:
            left[item.record.key] -= 1
            yield item.record


def record_line(record: Record) -> str:
    """A record in one line."""
    parts = [
        "" if record.date is None else record.date.isoformat(),
        "" if record.amount is None else str(record.amount),
        record.text,
    ]
    return " ".join(part for part in parts if part)


def _posted_key(file: FileState) -> str:
    return f"detached-posted:{file.id.hex()}"
