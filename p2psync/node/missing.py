"""Attached files that are not where they were: tells of them, and where they may be now (B-MIG-1).

A missing file is never a deletion. Programs replace files by way of a moment without one, so a file
is told of only when it is still missing a little later; when it comes back, the alert is settled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from p2psync.errors import P2PSyncError
from p2psync.formats import registry
from p2psync.limits import CANDIDATES_LISTED_MAX
from p2psync.node import searching
from p2psync.node.contents import Contents
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Whole
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.searching import Candidate, Signal, Wanted
from p2psync.storage.file_state import FileStat

GRACE_SECONDS = 1.0
SEARCH_AGAIN_SECONDS = 60.0
SEARCH_AGAIN_SECONDS_MAX = 6 * 3600.0
"""A file that stays missing is looked for again ever more seldom."""
COMPARED_MAX = 20
"""With more missing files at once (a drive is gone), records are compared for likely ones only."""

Place = tuple[bytes, bytes]
"""A mandate and a file."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What people were told of a missing file: told anew when it is something else."""

    folder: bool
    offered: Path | None
    candidates: tuple[Path, ...]


class Missing:
    """What is known of missing files on this node."""

    def __init__(
        self,
        notices: Notices,
        contents: Contents,
        nursery: trio.Nursery,
        opened: Callable[[], Mapping[bytes, Opened]],
        mandates_folder: Path,
        idle: Callable[[], None],
        look_at: Callable[[Opened, Copy], None],
    ) -> None:
        """``look_at`` has a copy looked at soon; ``idle`` is called when a search is over."""
        self.grace_seconds = GRACE_SECONDS
        self._notices = notices
        self._contents = contents
        self._nursery = nursery
        self._opened = opened
        self._mandates_folder = mandates_folder
        self._idle = idle
        self._look_at = look_at
        self._waiting: dict[Place, bool] = {}
        """Files that were just found missing, and whether their folder is missing too."""
        self._searched: set[Place] = set()
        self._again: dict[Place, tuple[float, float]] = {}
        """When missing files may be looked for again, and how long after the last time."""
        self._running = False
        self._told: dict[Place, _Told] = {}
        self._astray: dict[Place, Place] = {}
        """Files in whose place another one stands, and which."""
        self._inodes: dict[tuple[int, int], Copy] | None = None

    # -- what a look found --------------------------------------------------------------------

    def gone(self, opened: Opened, copy: Copy, *, folder: bool) -> None:
        """An attached file, or its folder, is not there."""
        copy.missing, copy.astray = True, False
        self._astray.pop((opened.id, copy.file), None)
        due, _ = self._again.get((opened.id, copy.file), (0.0, 0.0))
        if trio.current_time() < due:
            return
        self._waiting[(opened.id, copy.file)] = folder
        if not self._running:
            self._running = True
            self._nursery.start_soon(self._run)

    def back(self, opened: Opened, copy: Copy) -> None:
        """An attached file is where it was."""
        place = (opened.id, copy.file)
        copy.missing = copy.astray = False
        for known in (self._waiting, self._told, self._astray, self._again):
            known.pop(place, None)
        key = missing_key(copy.file)
        if self._notices.holds(key, opened.id):
            self._notices.settle("link-broken", mandate=opened.id, key=key)
            self._notices.message(
                "link-restored",
                "the link to {file} is restored",
                mandate=opened.id,
                file=_name(opened, copy),
            )
        for other, by in list(self._astray.items()):
            if by == place:
                self._look_again(other)

    def in_its_place(self, opened: Opened, copy: Copy) -> Place | None:
        """The attached file that stands where another one is to be."""
        return self._astray.get((opened.id, copy.file))

    def forget(self, opened: Opened, file: bytes) -> None:
        """A file is attached here no more, or somewhere else."""
        place = (opened.id, file)
        for known in (self._waiting, self._told, self._astray, self._again):
            known.pop(place, None)
        self._notices.settle("link-broken", mandate=opened.id, key=missing_key(file))

    def searching(self, opened: Opened) -> bool:
        """Whether a file of a mandate is being looked for."""
        return any(mandate == opened.id for mandate, _ in (*self._waiting, *self._searched))

    def _look_again(self, place: Place) -> None:
        opened = self._opened().get(place[0])
        copy = None if opened is None else opened.copies.get((place[1], "attached"))
        if opened is not None and copy is not None:
            self._look_at(opened, copy)

    # -- names that were swapped --------------------------------------------------------------

    def renew(self) -> None:
        """Learn the identities of the attached files anew when they are needed next."""
        self._inodes = None

    async def goes_astray(self, opened: Opened, copy: Copy, found: Records | Whole) -> bool:
        """Tell whether another attached file was moved to where this one is to be.

        What stands there is that file by its inode and by what it holds, and is not where it was:
        to take it for a save of this one would be wrong for both.
        """
        seen = copy.seen
        if seen is not None and _inode(seen) == _inode(found.stat):
            return False
        if self._inodes is None:
            self._inodes = {
                _inode(each.seen): each
                for of in self._opened().values()
                for (_, role), each in of.copies.items()
                if role == "attached" and each.seen is not None
            }
        other = self._inodes.get(_inode(found.stat))
        if (
            other is None
            or other is copy
            or other.seen is None
            or other.path == copy.path
            or _inode(other.seen) != _inode(found.stat)
            or other.digest != found.digest
        ):
            return False
        there = await trio.to_thread.run_sync(searching.there, other.path)
        if there is not None and (
            _inode(there) == _inode(found.stat) or _inode(there) not in self._inodes
        ):
            return False  # another name of one file; or a copy: a file that exists was not moved
        of = self._opened().get(other.mandate)
        file = None if of is None else of.state.files.get(other.file)
        if of is None or file is None or not file.present:
            return False
        copy.astray = True
        place = (opened.id, copy.file)
        self._waiting.pop(place, None)
        self._told.pop(place, None)
        if self._astray.get(place) != (other.mandate, other.file):
            self._astray[place] = (other.mandate, other.file)
            self._notices.settle("link-broken", mandate=opened.id, key=missing_key(copy.file))
        self._notices.alert_text(
            "link-broken",
            "the link to {file} is broken: at {path} stands what is attached as {other}; it is not "
            "taken up. Give the files their names back, restore the link, or confirm that this is "
            "{file} now",
            mandate=opened.id,
            file=_name(opened, copy),
            key=missing_key(copy.file),
            data={"path": str(copy.path), "other": str(other.path), "candidates": []},
            path=str(copy.path),
            other=_name(of, other),
        )
        return True

    # -- searching ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._waiting:
                await trio.sleep(self.grace_seconds)
                waiting, self._waiting = self._waiting, {}
                self._searched = set(waiting)
                await self._look_for(waiting)
                self._searched = set()
        finally:
            self._running = False
            self._searched = set()
            self._idle()

    async def _look_for(self, waiting: Mapping[Place, bool]) -> None:
        """Look for files of all mandates in one go: a missing drive is one search."""
        copies: list[tuple[Opened, Copy, bool]] = []
        for (mandate, file), folder in waiting.items():
            opened = self._opened().get(mandate)
            copy = None if opened is None else opened.copies.get((file, "attached"))
            if opened is not None and copy is not None and copy.missing and not opened.frozen:
                copies.append((opened, copy, folder))
        paths = [copy.path for _, copy, _ in copies]
        there = await trio.to_thread.run_sync(lambda: [searching.there(path) for path in paths])
        gone = []
        for each, found in zip(copies, there, strict=True):
            if found is None:
                gone.append(each)
            else:
                self._look_at(each[0], each[1])
        if not gone:
            return
        found_for = await self.search([(opened, copy) for opened, copy, _ in gone])
        for opened, copy, folder in gone:
            _, waited = self._again.get((opened.id, copy.file), (0.0, SEARCH_AGAIN_SECONDS / 2))
            wait = min(2 * waited, SEARCH_AGAIN_SECONDS_MAX)
            self._again[(opened.id, copy.file)] = (trio.current_time() + wait, wait)
            if opened.live and copy.missing and opened.copies.get((copy.file, "attached")) is copy:
                self._tell(opened, copy, folder, found_for[(opened.id, copy.file)])

    async def search(self, gone: Sequence[tuple[Opened, Copy]]) -> dict[Place, list[Candidate]]:
        """Look for missing files now; return what each may be, best first."""
        if not gone:
            return {}
        wanted = {(opened.id, copy.file): self._wanted(opened, copy) for opened, copy in gone}
        attached = {
            copy.path
            for opened in self._opened().values()
            for (file, role), copy in opened.copies.items()
            if role == "attached" and (state := opened.state.files.get(file)) and state.present
        }
        others = sorted({path.parent for path in attached})

        async def look(some: Sequence[Wanted]) -> dict[bytes, list[Candidate]]:
            return await trio.to_thread.run_sync(
                searching.search, some, others, attached, self._mandates_folder
            )

        found = await look(list(wanted.values()))
        out = {place: found[place[1]] for place in wanted}
        for opened, copy in gone:
            place = (opened.id, copy.file)
            known = out[place]
            likely = any("identity" in each.signals for each in known)
            if searching.offered(known) is None and (likely or len(gone) <= COMPARED_MAX):
                full = await self.known_by(opened, copy)
                if full.values:
                    out[place] = (await look([full]))[copy.file]
        return out

    async def agreeing(self, opened: Opened, copy: Copy, path: Path) -> tuple[Signal, ...]:
        """What speaks for a file's being the one that is missing."""
        wanted = await self.known_by(opened, copy)
        return await trio.to_thread.run_sync(searching.agreeing, wanted, path)

    def _wanted(self, opened: Opened, copy: Copy) -> Wanted:
        file = opened.state.files[copy.file]
        contents = []
        if copy.digest:
            held = [file.versions.get(head) for head in copy.heads]
            sizes = {each.size_bytes for each in held if each and each.digest == copy.digest}
            if copy.seen is not None:
                sizes.add(copy.seen.size_bytes)
            contents = [(size, copy.digest) for size in sizes]
        if (current := file.current()) is not None:
            contents.append((current.size_bytes, current.digest))
        return Wanted(
            copy.file,
            copy.directory,
            copy.name,
            file.info.format,
            copy.seen,
            tuple(contents),
        )

    async def known_by(self, opened: Opened, copy: Copy) -> Wanted:
        """What a missing file is known by, with its records when it has any."""
        wanted = self._wanted(opened, copy)
        file = opened.state.files[copy.file]
        if not copy.heads or registry.by_name(wanted.format).merge != "records":
            return wanted
        try:
            base = await self._contents.base(opened, file, copy.heads)
        except P2PSyncError:
            return wanted
        return replace(wanted, values=[value for _, value in base.shown()])

    # -- telling ------------------------------------------------------------------------------

    def _tell(
        self, opened: Opened, copy: Copy, folder: bool, candidates: Sequence[Candidate]
    ) -> None:
        offer = searching.offered(candidates)
        listed = [each for each in candidates if not each.attached][:CANDIDATES_LISTED_MAX]
        told = _Told(folder, None if offer is None else offer.path, tuple(c.path for c in listed))
        place, key = (opened.id, copy.file), missing_key(copy.file)
        before = self._told.get(place)
        self._told[place] = told
        if self._notices.holds(key, opened.id):
            if told == before or (before is None and not listed):
                return
            self._notices.settle("link-broken", mandate=opened.id, key=key)
        if offer is not None:
            template = (
                "the link to {file} is broken: {path} is not there, but {candidate} is that file: "
                "restore the link"
            )
        elif listed:
            template = (
                "the link to {file} is broken: {path} is not there; it may be one of these, or a "
                "copy of it: {candidates}"
            )
        elif folder:
            template = (
                "the link to {file} is broken: its folder {folder} is not there; if it is on a "
                "drive, connect it"
            )
        else:
            template = "the link to {file} is broken: {path} is not there"
        self._notices.alert_text(
            "link-broken",
            template,
            mandate=opened.id,
            file=_name(opened, copy),
            key=key,
            data=link_data(copy, candidates),
            path=str(copy.path),
            folder=str(copy.directory),
            candidate="" if offer is None else str(offer.path),
            candidates=", ".join(str(each.path) for each in listed),
        )


def link_data(copy: Copy, candidates: Sequence[Candidate]) -> dict[str, object]:
    """What programs are told of a broken link."""
    offer = searching.offered(candidates)
    return {
        "path": str(copy.path),
        "offered": None if offer is None else str(offer.path),
        "candidates": [
            {"path": str(each.path), "signals": list(each.signals)}
            for each in candidates[:CANDIDATES_LISTED_MAX]
            if not each.attached
        ],
    }


def missing_key(file: bytes) -> str:
    """The key of the alert for a broken link."""
    return f"missing:{file.hex()}"


def _name(opened: Opened, copy: Copy) -> str:
    return opened.names().get(copy.file, copy.name)


def _inode(found: FileStat) -> tuple[int, int]:
    return found.device, found.inode
