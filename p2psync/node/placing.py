"""Restores links, migrates and replaces files (B-MIG-1, B-MIG-2, B-MIG-3).

All three keep the file's identity: what is pending and what is posted stays so, record by record.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto, ops
from p2psync.core.files import FileState
from p2psync.core.membership import MAY_WRITE
from p2psync.errors import (
    CandidateUnknown,
    FileAstray,
    FileHeldBack,
    FileNotAttached,
    LinkElsewhere,
    LinkGutted,
    LinkNotBroken,
    LinkOtherFile,
    LinkSeveral,
    LinkWithoutCandidate,
    NotAdmittedYet,
    NotAllowed,
    P2PSyncError,
    PlaceNeedsSeat,
    PlaceSame,
)
from p2psync.formats.cresus_settings import Settings, read_settings
from p2psync.limits import (
    CANDIDATES_LISTED_MAX,
    RECORD_FILE_BYTES_MAX,
)
from p2psync.node import copies as disk
from p2psync.node import find, searching, validity, views
from p2psync.node.attaching import Attaching
from p2psync.node.closed import check_open
from p2psync.node.copies import Copy
from p2psync.node.looking import Records
from p2psync.node.missing import link_data
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.searching import Candidate
from p2psync.node.successor import New, check_blocked, read
from p2psync.storage.folder import Folder

Json = dict[str, Any]
ADVICE_TEXTS = {
    "repost": "{deleted} records that are posted are not in it, and {added} new ones wait: let the "
    "accounting post {file} again",
    "post": "{added} new records wait to be posted",
    "same": "nothing of what is posted changes",
    "settings": "the accounting's settings are other ones: see p2psync pending for records that no "
    "longer fit, and post again what changed",
    "whole": "the file is another one; its old versions are kept: see p2psync history",
}


class Placing:
    """What is done with the place of files."""

    def __init__(self, node: Node, attaching: Attaching) -> None:
        self._node = node
        self._attaching = attaching

    # -- restoring links ----------------------------------------------------------------------

    async def link(self, mandate: str, name: str) -> Json:
        """Where a file is attached, whether it is there, and what it may be if not."""
        opened = find.mandate(self._node.opened.values(), mandate)
        file, shown = _file(opened, name)
        copy = self._attached(opened, file, shown)
        there = await trio.to_thread.run_sync(searching.there, copy.path)
        candidates: list[Candidate] = []
        if there is None:
            found = await self._node.missing.search([(opened, copy)])
            candidates = found[(opened.id, file.id)]
        return {
            "file": shown,
            "broken": there is None or copy.astray,
            **link_data(copy, candidates),
        }

    async def relink(self, mandate: str, name: str, candidate: str | None) -> Json:
        """Restore a broken link: to the one candidate that is offered, or to the one named."""
        opened, file, shown = self._begin(mandate, name)
        self._attached(opened, file, shown)
        async with opened.lock:
            file = self._still(opened, file, shown)
            copy = self._attached(opened, file, shown)
            await self._check_broken(opened, copy, shown)
            other = self._swapped(opened, copy)
            if other is not None and candidate in (None, str(other.path), other.name):
                return await self._swap(opened, copy, other)
            path = await self._candidate(opened, copy, shown, candidate)
            await self._attaching.check_attachable([str(path)])
            new = await read(opened, file, path, shown)
            signals = await self._node.missing.agreeing(opened, copy, path)
            if not {"identity", "content", "records"} & set(signals):
                raise LinkOtherFile(path=str(path), file=shown)
            before = copy.path
            await self._restore(opened, file, copy, new, shown)
        return self._restored(opened, file, before)

    async def _restore(
        self, opened: Opened, file: FileState, copy: Copy, new: New, shown: str
    ) -> None:
        """Attach a file that is the missing one, perhaps with changes: what it was taken up as
        stands, and what others changed meanwhile is written to it.
        """
        held = [file.versions.get(head) for head in copy.heads]
        bytes_before = max((each.size_bytes for each in held if each is not None), default=0)
        known = new.digest is not None and new.digest == copy.digest
        if not known:
            records = 0
            if isinstance(new.first.found, Records):
                old = await self._node.missing.known_by(opened, copy)
                records = sum(value.segment.record_count for value in old.values)
            after = (new.stat.size_bytes, new.keys.total())
            if disk.is_suspicious((bytes_before, records), after):
                raise LinkGutted(path=str(new.path), file=shown)
        digest = copy.digest if known else b""
        await self._place(opened, new, _copy(opened, file, new, copy.heads, digest), known=known)

    def _restored(self, opened: Opened, file: FileState, before: Path) -> Json:
        copy = opened.copies[(file.id, "attached")]
        shown = opened.names()[file.id]
        self._node.notices.message(
            "link-restored",
            "the link to {file} is restored: it is {path} now",
            mandate=opened.id,
            file=shown,
            path=str(copy.path),
        )
        return {
            "id": file.id.hex(),
            "file": shown,
            "path": str(copy.path),
            "before": str(before),
        }

    async def _check_broken(self, opened: Opened, copy: Copy, shown: str) -> None:
        try:
            await self._node.shelf.take_last(opened, copy)
        except FileAstray:
            return
        except FileHeldBack:
            pass
        except P2PSyncError:
            if await trio.to_thread.run_sync(lambda: not copy.path.is_file()):
                return  # something else has its name: a folder, a link
        if not copy.missing:
            raise LinkNotBroken(file=shown, path=str(copy.path))

    async def _candidate(
        self, opened: Opened, copy: Copy, shown: str, candidate: str | None
    ) -> Path:
        """The place that a person named, or the one that is offered."""
        if candidate is not None and os.path.isabs(candidate):
            return await trio.to_thread.run_sync(local_path, candidate)
        found = await self._node.missing.search([(opened, copy)])
        free = [each for each in found[(opened.id, copy.file)] if not each.attached]
        listed = ", ".join(str(each.path) for each in free[:CANDIDATES_LISTED_MAX])
        if candidate is not None:
            named = [each.path for each in free if each.path.name == candidate]
            if len(named) == 1:
                return named[0]
            raise CandidateUnknown(file=shown, candidate=candidate, candidates=listed or "-")
        offered = searching.offered(free)
        if offered is not None:
            return offered.path
        if free:
            raise LinkSeveral(file=shown, candidates=listed)
        raise LinkWithoutCandidate(file=shown, path=str(copy.path), folder=str(opened.folder))

    def _swapped(self, opened: Opened, copy: Copy) -> Copy | None:
        """The attached file of this mandate that stands in the place of this one, if so."""
        if not copy.astray:
            return None
        place = self._node.missing.in_its_place(opened, copy)
        if place is None or place[0] != opened.id:
            return None
        return opened.copies.get((place[1], "attached"))

    async def _swap(self, opened: Opened, copy: Copy, other: Copy) -> Json:
        """Have two files that swapped their names swap their places."""
        file = opened.state.files[copy.file]
        signals = await self._node.missing.agreeing(opened, copy, other.path)
        if not {"identity", "content"} <= set(signals):
            raise FileAstray(file=copy.name, path=str(copy.path))
        before = copy.path
        places = [(copy, other), (other, copy)]
        moved = [
            replace(
                one,
                directory=two.directory,
                name=two.name,
                stat=None,
                held=b"",
                missing=False,
                astray=False,
            )
            for one, two in places
        ]
        said = [ops.Place(each.file, each.name, str(each.directory)) for each in moved]
        await self._node.shelf.place_known(opened, moved, said)
        return self._restored(opened, file, before)

    # -- migrating ----------------------------------------------------------------------------

    async def migrate(
        self, mandate: str, name: str, path: str, *, cancel_pending: bool = False
    ) -> Json:
        """Point a mandate at a new place or name of a file, on this device."""
        opened, file, shown = self._begin(mandate, name)
        self._check_seat(opened, file, shown)
        new_path = await self._free(opened, file, path, shown)
        async with opened.lock:
            file = self._still(opened, file, shown)
            new = await read(opened, file, new_path, shown)
            file = await self._taken_up(opened, file, shown)
            held = opened.copies.get((file.id, "attached"))
            if held is not None and held.held and not held.astray:
                raise FileHeldBack(file=shown, mandate=opened.name)
            before = _place(opened, file)
            known = self._is_current(file, new)
            lost_pending = lost_posted = 0
            if not known:
                lost_pending, lost_posted = check_blocked(file, new, shown, cancel=cancel_pending)
            await self._put(opened, file, new, known=known)
        added, deleted = file.pending() if views.counts(file) else (0, 0)
        answer: Json = {
            "id": file.id.hex(),
            "file": opened.names()[file.id],
            "path": str(new.path),
            "before": before,
            "pending": {"added": added, "deleted": deleted},
            "cancelled": lost_pending,
            "advice": None,
        }
        if lost_posted:
            answer["advice"] = _advice("repost", answer["file"], added, deleted)
        return answer

    # -- replacing ----------------------------------------------------------------------------

    async def replace(self, mandate: str, name: str, path: str, *, dry_run: bool = False) -> Json:
        """Put another file in the place of an attached one; ``dry_run`` only tells what changes."""
        opened, file, shown = self._begin(mandate, name)
        self._check_seat(opened, file, shown)
        new_path = await self._free(opened, file, path, shown)
        async with opened.lock:
            file = self._still(opened, file, shown)
            new = await read(opened, file, new_path, shown)
            file = await self._taken_up(opened, file, shown)
            before = _place(opened, file)
            known = self._is_current(file, new)
            changes, advice = await self._changes(opened, file, new, known=known)
            if not dry_run:
                await self._put(opened, file, new, known=known)
        answer = {
            "id": file.id.hex(),
            "file": shown if dry_run else opened.names()[file.id],
            "path": str(new.path),
            "before": before,
            "done": not dry_run,
            **changes,
            "advice": _advice(advice, shown, changes["added"], changes["deleted"]),
        }
        if not dry_run:
            self._node.notices.message(
                "file-replaced",
                "{path} is in the place of {file} now: against what was posted, {added} records "
                "are new and {deleted} are gone; let the accounting post it again",
                mandate=opened.id,
                file=answer["file"],
                data={"path": str(new.path), "before": before, **changes},
                path=str(new.path),
                added=str(changes["added"]),
                deleted=str(changes["deleted"]),
            )
        return answer

    async def _changes(
        self, opened: Opened, file: FileState, new: New, *, known: bool
    ) -> tuple[Json, str]:
        """What replacing a file would change, and which advice goes with it."""
        if isinstance(new.first.found, Records) and views.counts(file):
            posted, keys = file.posted, new.keys
            added, deleted = (keys - posted).total(), (posted - keys).total()
            changes = {
                "added": added,
                "deleted": deleted,
                "posted": posted.total(),
                "records": {"before": file.records, "after": keys.total()},
            }
            return changes, "repost" if deleted else "post" if added else "same"
        changes = {"added": 0, "deleted": 0, "posted": 0, "records": None}
        if file.info.kind == "accounting":
            old, now = await self._settings(opened, file, new)
            changes["accounts"] = {
                "added": sorted(now.accounts.keys() - old.accounts.keys()),
                "deleted": sorted(old.accounts.keys() - now.accounts.keys()),
            }
            return changes, "same" if known else "settings"
        return changes, "same" if known else "whole"

    async def _settings(
        self, opened: Opened, file: FileState, new: New
    ) -> tuple[Settings, Settings]:
        content, _, size_bytes = await self._node.shelf.content(opened, file, None)

        def both() -> tuple[Settings, Settings]:
            old = b"".join(content()) if size_bytes <= RECORD_FILE_BYTES_MAX else b""
            with Folder.open(new.path.parent) as folder:
                now, _ = folder.read(new.path.name, RECORD_FILE_BYTES_MAX)
            return read_settings(old), read_settings(now)

        return await trio.to_thread.run_sync(both)

    # -- what they share ----------------------------------------------------------------------

    def _begin(self, mandate: str, name: str) -> tuple[Opened, FileState, str]:
        """Find the file, and see that this device may say where it is."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_open(opened)
        file, shown = _file(opened, name)
        role = opened.state.membership.role(node.identity.device)
        if role is None:
            raise NotAdmittedYet(mandate=opened.name)
        allowed = MAY_WRITE
        if file.info.kind == "accounting":
            allowed = MAY_WRITE & {"owner", "accounting"}
        if role not in allowed:
            raise NotAllowed(action="say where a file is", roles=", ".join(sorted(allowed)))
        validity.check(opened, file)
        return opened, file, shown

    def _still(self, opened: Opened, file: FileState, shown: str) -> FileState:
        """The file as it is now that the lock is held."""
        opened.check_listed()
        check_open(opened)
        file = opened.state.files[file.id]
        if not file.present:
            raise FileNotAttached(file=shown, mandate=opened.name)
        return file

    def _attached(self, opened: Opened, file: FileState, shown: str) -> Copy:
        copy = opened.copies.get((file.id, "attached"))
        if copy is None or file.device != self._node.identity.device:
            who = views.person(opened.state, file.device)
            raise LinkElsewhere(file=shown, who=who, folder=file.info.folder)
        return copy

    def _check_seat(self, opened: Opened, file: FileState, shown: str) -> None:
        """See that an accounting goes where the seat is."""
        seat = opened.state.seat()
        if file.info.kind == "accounting" and seat not in (None, self._node.identity.device):
            assert seat is not None
            who = views.person(opened.state, seat)
            raise PlaceNeedsSeat(file=shown, mandate=opened.name, who=who)

    async def _free(self, opened: Opened, file: FileState, text: str, shown: str) -> Path:
        """See that a place may be attached (B-ATT-4), and is another one than the file has."""
        path = await trio.to_thread.run_sync(local_path, text)
        copy = opened.copies.get((file.id, "attached"))
        if copy is not None and copy.path == path:
            raise PlaceSame(file=shown, path=str(path))
        (checked,) = await self._attaching.check_attachable([text])
        return checked

    async def _taken_up(self, opened: Opened, file: FileState, shown: str) -> FileState:
        """Have what stands on the disk, and was not looked at yet, become a version first."""
        await self._node.detaching.take_up(opened, file.id)
        file = opened.state.files[file.id]
        if not file.present or not file.heads:
            raise FileNotAttached(file=shown, mandate=opened.name)
        return file

    def _is_current(self, file: FileState, new: New) -> bool:
        """Whether a new file holds what the mandate's file holds now."""
        current = file.current()
        if current is None or new.digest is None:
            return False
        if file.merged:
            return crypto.content_digest(file.segments.emit()) == new.digest
        return current.digest == new.digest

    async def _put(self, opened: Opened, file: FileState, new: New, *, known: bool) -> None:
        """Attach a file in the place of another: what it holds counts, whatever was there."""
        current = file.current()
        assert current is not None
        heads = tuple(sorted(file.heads))
        if known and not file.merged:
            heads = (current.id,)
        digest = new.digest if known and new.digest is not None else b""
        await self._place(opened, new, _copy(opened, file, new, heads, digest), known=known)

    async def _place(self, opened: Opened, new: New, copy: Copy, *, known: bool) -> None:
        def check() -> None:
            # Another command may have taken the place since it was looked at (B-ATT-4).
            self._attaching.check_free([copy.path])

        said = ops.Place(copy.file, copy.name, str(copy.directory))
        if known:
            check()
            await self._node.shelf.place_known(opened, [copy], [said])
        else:
            await self._node.shelf.place(opened, copy, said, new.first.found, check)


def _file(opened: Opened, name: str) -> tuple[FileState, str]:
    file = find.file(opened, name)
    return file, opened.names()[file.id]


def _copy(
    opened: Opened, file: FileState, new: New, heads: tuple[ops.OpId, ...], digest: bytes
) -> Copy:
    found = new.first.found
    stat = found.stat if found is not None and found.steady and digest else None
    path = new.path
    return Copy(
        opened.id,
        file.id,
        "attached",
        path.parent,
        path.name,
        heads,
        digest,
        stat=stat,
        seen=new.stat,
    )


def _place(opened: Opened, file: FileState) -> Json:
    """Where a file is now, as people see it."""
    return {
        "device": views.person(opened.state, file.device),
        "path": os.path.join(file.info.folder, file.info.name),
    }


def _advice(word: str, file: str, added: int, deleted: int) -> Json:
    template = ADVICE_TEXTS[word]
    params = {"file": file, "added": str(added), "deleted": str(deleted)}
    text = template.format_map(params)
    return {"code": word, "text": text, "template": template, "params": params}
