"""Suggests files to attach, and does nothing by itself (B-MAN-3, B-ATT-3).

Two things are suggested: what the list beside an accounting names, and a file that appears beside
an attached one under the name of its next year. The watcher tells when something is there under
such a name; nothing is looked for again and again. Each is told once, also across restarts.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import trio

from p2psync.core.files import FileState
from p2psync.errors import P2PSyncError, StorageError, SuggestionUnknown
from p2psync.formats import registry
from p2psync.formats.cresus_list import read_list
from p2psync.formats.cresus_settings import read_settings
from p2psync.formats.families import family_of
from p2psync.limits import (
    FILE_HEAD_BYTES,
    RECORD_FILE_BYTES_MAX,
    SUGGESTIONS_PER_MANDATE_MAX,
)
from p2psync.node import views
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.store import Store
from p2psync.storage.folder import Folder

Json = dict[str, Any]
Reason = Literal["listed", "new-year"]
_YEAR = re.compile(r"(?<![0-9])(19|20)[0-9]{2}(?![0-9])")
_SHORT_YEAR = re.compile(r"(?<![0-9])[0-9]{2}$")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A file that may belong to a mandate: listed beside its accounting, or the next year of
    ``follows``.
    """

    path: Path
    kind: str
    reason: Reason
    follows: bytes | None = None


def next_year(name: str, ends: int | None) -> str | None:
    """Return the name that a file gets the year after, or ``None`` when it tells no year.

    Every year in the name rises by one; ``ends`` is the year in which the file's period ends: only
    with it two digits at the end of the stem are known for a year.
    """
    stem, suffix = os.path.splitext(name)

    def later(found: "re.Match[str]") -> str:
        return str(int(found[0]) + 1)

    if _YEAR.search(stem):
        return _YEAR.sub(later, stem) + suffix
    short = _SHORT_YEAR.search(stem)
    if short is not None and ends is not None and int(short[0]) == ends % 100:
        return f"{stem[: short.start()]}{(int(short[0]) + 1) % 100:02}{suffix}"
    return None


def read_listed(accounting: Path) -> list[tuple[Path, str]]:
    """Return the files that the list beside an accounting names, with their kinds; blocks.

    None when there is no list, or it cannot be read.
    """
    listing = accounting.with_suffix(".ecc")
    try:
        with Folder.open(listing.parent) as folder:
            data, _ = folder.read(listing.name, RECORD_FILE_BYTES_MAX)
    except (P2PSyncError, ValueError):
        return []
    return [(listing.parent / item.name, item.kind) for item in read_list(data)]


class Suggestions:
    """What is suggested for the mandates of this node."""

    def __init__(
        self,
        store: Store,
        notices: Notices,
        nursery: trio.Nursery,
        opened: Callable[[], Mapping[bytes, Opened]],
        looked: Callable[[], None],
    ) -> None:
        """``opened`` gives the mandates of this node by id; ``looked`` is called when something
        that was hinted at has been looked at.
        """
        self._looked = looked
        self._store = store
        self._notices = notices
        self._nursery = nursery
        self._opened = opened
        self._wanted: dict[Path, dict[str, list[tuple[bytes, bytes]]]] = {}
        """Mandates and files whose next year, or whose list, may appear at a place."""
        self._found: dict[bytes, dict[Path, Suggestion]] = {}
        self._told: dict[bytes, dict[str, str]] = {}
        """Paths that people were told of, or dismissed, by mandate; read when first needed."""
        self._lock = trio.Lock()
        self._quiet: set[bytes] = set()
        """Mandates whose person is just being told in the answer to a command."""

    @contextmanager
    def quietly(self, opened: Opened) -> Iterator[None]:
        """Tell nothing of listed files by events meanwhile: a command's answer does."""
        self._quiet.add(opened.id)
        try:
            yield
        finally:
            self._quiet.discard(opened.id)

    # -- hearing of files ---------------------------------------------------------------------

    def targets(self) -> dict[Path, set[str]]:
        """The names that the watcher is to hint at besides those of copies, by directory."""
        self._wanted = {}
        for opened in self._opened().values():
            if opened.frozen:
                continue
            followed = _followed(opened)
            for (file_id, role), copy in opened.copies.items():
                file = opened.state.files.get(file_id)
                if role != "attached" or file is None or not file.present:
                    continue
                names = [] if file_id in followed else [next_year(copy.name, _ends(file))]
                if file.info.kind == "accounting":
                    names.append(os.path.splitext(copy.name)[0] + ".ecc")
                places = self._wanted.setdefault(copy.directory, {})
                for name in names:
                    if name is not None and name != copy.name:
                        places.setdefault(name, []).append((opened.id, file_id))
        return {directory: set(names) for directory, names in self._wanted.items() if names}

    def hint(self, directory: Path, name: str | None) -> None:
        """Something may be there under a name, or (without one) the folder came or went."""
        places = self._wanted.get(directory)
        if not places:
            return
        for each in [name] if name is not None else list(places):
            for mandate, file_id in places.get(each, ()):
                self._nursery.start_soon(self._look, mandate, file_id, directory / each)

    async def _look(self, mandate: bytes, file_id: bytes, path: Path) -> None:
        opened = self._opened().get(mandate)
        copy = None if opened is None else opened.copies.get((file_id, "attached"))
        if opened is None or copy is None:
            return
        with suppress(P2PSyncError):  # what cannot be read now is hinted at again
            if path.suffix == ".ecc" and copy.path.with_suffix(".ecc") == path:
                await self.look_at_list(opened, copy.path)
            else:
                await self._look_at_year(opened, opened.state.files[file_id], path)
        self._looked()

    async def look_at_list(self, opened: Opened, accounting: Path) -> list[tuple[Suggestion, bool]]:
        """Read the list beside an accounting that is attached.

        Returns what it names, attached or not, and whether that is there.
        """
        listed = await trio.to_thread.run_sync(lambda: _existing(read_listed(accounting)))
        every = [(Suggestion(path, kind, "listed"), there) for path, kind, there in listed]
        found = [each for each, there in every if there]
        known = self._found.setdefault(opened.id, {})
        beside = accounting.parent
        for path in [path for path, each in known.items() if each.reason == "listed"]:
            if path.parent == beside and path not in {each.path for each in found}:
                del known[path]
        for each in found:
            await self._add(opened, each)
        return every

    async def _look_at_year(self, opened: Opened, file: FileState, path: Path) -> None:
        ends = file.info.period_to
        fits = await trio.to_thread.run_sync(
            _fits, path, file.info.format, ends if file.info.kind == "accounting" else None
        )
        if fits:
            await self._add(opened, Suggestion(path, file.info.kind, "new-year", file.id))
        else:
            self._found.get(opened.id, {}).pop(path, None)

    async def _add(self, opened: Opened, suggestion: Suggestion) -> None:
        async with self._lock:
            before = await self._said(opened.id)
            known = self._found.setdefault(opened.id, {})
            path = os.fspath(suggestion.path)
            if before.get(path) == "dismissed" or (
                suggestion.path not in known and len(known) >= SUGGESTIONS_PER_MANDATE_MAX
            ):
                return
            is_new = path not in before and self._stands(opened, suggestion, self.attached())
            if is_new:
                await self._say(opened.id, path, "told")
            known[suggestion.path] = suggestion
        if is_new and (suggestion.reason != "listed" or opened.id not in self._quiet):
            self._tell(opened, suggestion)

    def _tell(self, opened: Opened, suggestion: Suggestion) -> None:
        file = suggestion.path.name
        command = self.command(opened, suggestion)
        if suggestion.reason == "listed":
            self._notices.message(
                "file-suggested",
                "the list beside the accounting names {file}; to attach it: {command}",
                mandate=opened.id,
                file=file,
                action="attach-suggested",
                command=command,
            )
            return
        self._notices.message(
            "file-suggested",
            "{file} looks like the next year of {follows}; to attach it: {command}",
            mandate=opened.id,
            file=file,
            action="attach-suggested",
            follows=opened.names().get(suggestion.follows or b"", ""),
            command=command,
        )

    def forget(self, mandate: bytes) -> None:
        """A mandate is on this machine no more; who deletes it deletes ``said_key``, too."""
        self._found.pop(mandate, None)
        self._told.pop(mandate, None)

    # -- what was said before -----------------------------------------------------------------

    async def _said(self, mandate: bytes) -> dict[str, str]:
        if mandate not in self._told:
            text = await self._store.setting(said_key(mandate))
            self._told[mandate] = json.loads(text) if text else {}
        return self._told[mandate]

    async def _say(self, mandate: bytes, path: str, word: str) -> None:
        said = {**self._told[mandate]}
        said.pop(path, None)
        said[path] = word
        while len(said) > SUGGESTIONS_PER_MANDATE_MAX:
            del said[next(iter(said))]
        await self._store.put_setting(said_key(mandate), json.dumps(said))
        self._told[mandate] = said

    # -- showing ------------------------------------------------------------------------------

    def attached(self) -> dict[Path, Opened]:
        """The mandate that each file attached on this machine belongs to."""
        return {
            copy.path: opened
            for opened in self._opened().values()
            for (file_id, role), copy in opened.copies.items()
            if role == "attached" and (file := opened.state.files.get(file_id)) and file.present
        }

    def counts(self) -> dict[bytes, int]:
        """How much is suggested for each mandate that something is suggested for."""
        if not any(self._found.values()):
            return {}
        attached = self.attached()
        return {
            mandate: len(self.of(opened, attached))
            for mandate in self._found
            if (opened := self._opened().get(mandate))
        }

    def of(self, opened: Opened, attached: Mapping[Path, Opened] | None = None) -> list[Suggestion]:
        """What is suggested for a mandate and not attached anywhere, by path."""
        found = self._found.get(opened.id)
        if not found:
            return []
        places = self.attached() if attached is None else attached
        every = [suggestion for _, suggestion in sorted(found.items())]
        return [each for each in every if self._stands(opened, each, places)]

    def _stands(
        self, opened: Opened, suggestion: Suggestion, attached: Mapping[Path, Opened]
    ) -> bool:
        """Whether the file is attached nowhere, and nothing else follows its predecessor."""
        if suggestion.path in attached:
            return False
        follows = opened.state.files.get(suggestion.follows or b"")
        return follows is None or (follows.present and follows.id not in _followed(opened))

    def view(self, opened: Opened) -> list[Json]:
        """What ``mandate show`` says of it."""
        names = opened.names()
        return [
            {
                "file": os.fspath(each.path),
                "kind": each.kind,
                "reason": each.reason,
                "follows": None if each.follows is None else names.get(each.follows),
                "command": self.command(opened, each),
            }
            for each in self.of(opened)
        ]

    def command(self, opened: Opened, suggestion: Suggestion) -> str:
        """What a person types to take a suggestion."""
        several = sum(each.name == opened.name for each in self._opened().values()) > 1
        mandate = opened.id.hex()[:16] if several else opened.name
        words = ["p2psync", "attach", mandate, os.fspath(suggestion.path), "--kind"]
        words.append(suggestion.kind)
        if suggestion.follows is not None:
            words += ["--follows", opened.names().get(suggestion.follows, "")]
        return shlex.join(words)

    async def dismiss(self, opened: Opened, text: str) -> Json:
        """Suggest a file no more; raises ``SuggestionUnknown``."""
        for suggestion in self.of(opened):
            if text in (os.fspath(suggestion.path), suggestion.path.name):
                async with self._lock:
                    await self._said(opened.id)
                    await self._say(opened.id, os.fspath(suggestion.path), "dismissed")
                    self._found.get(opened.id, {}).pop(suggestion.path, None)
                self._notices.message(
                    "suggestion-dismissed",
                    "{file} is suggested for {name} no more",
                    mandate=opened.id,
                    file=suggestion.path.name,
                    name=opened.name,
                )
                return {"file": os.fspath(suggestion.path), "dismissed": True}
        raise SuggestionUnknown(file=text, mandate=opened.name)


def said_key(mandate: bytes) -> str:
    """The setting that says what people were told for a mandate."""
    return f"suggestions:{mandate.hex()}"


def _followed(opened: Opened) -> set[bytes]:
    return {
        file.info.follows
        for file in opened.state.files.values()
        if file.present and file.info.follows
    }


def _ends(file: FileState) -> int | None:
    last = views.day(file.info.period_to)
    return None if last is None else last.year


def _existing(listed: Sequence[tuple[Path, str]]) -> list[tuple[Path, str, bool]]:
    return [(path, kind, os.path.isfile(path)) for path, kind in listed]


def _fits(path: Path, format_name: str, after: int | None) -> bool:
    """Whether a file is there, of a format, and for a later period than a day's number; blocks."""
    try:
        with Folder.open(path.parent) as folder:
            if folder.stat(path.name) is None:
                return False
            with folder.open_stable(path.name) as blocks:
                head = next(iter(blocks), b"")[:FILE_HEAD_BYTES]
    except StorageError:
        return False
    found = registry.find_again(format_name, path.name, head)
    if family_of(found.name) != family_of(format_name):
        return False
    if after is None:
        return True
    period = read_settings(head).period
    return period is not None and period[0].toordinal() > after
