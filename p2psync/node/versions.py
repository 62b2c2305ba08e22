"""Commands on what was: versions, records, past states, and bringing a version back (B-HIS-1)."""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from p2psync.core import clock, crypto, entry
from p2psync.core.files import FileState, Version
from p2psync.core.ops import OpId
from p2psync.core.records import Segment, identifies
from p2psync.errors import (
    FileBusy,
    FileDetachedAlready,
    FileHeldBack,
    FileNotThen,
    NotAllowed,
    NotARegularFile,
    OutputExists,
    RecordFilterInvalid,
    VersionDropped,
    VersionElsewhere,
)
from p2psync.formats import registry
from p2psync.limits import (
    RECORD_FILE_BYTES_MAX,
    RECORD_TALES_LISTED_MAX,
    SEGMENT_BYTES_MAX,
    VERSIONS_LISTED_MAX,
)
from p2psync.node import find, past, views
from p2psync.node.closed import check_open
from p2psync.node.contents import Contents, Read
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Whole
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.posting import Posting
from p2psync.node.tales import Step, Tale, Tales, Wanted
from p2psync.node.weighing import Weighing
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder

Json = dict[str, Any]
Row = tuple[FileState, Version]


class Versions:
    """The history of files."""

    def __init__(self, node: Node, posting: Posting) -> None:
        self._node = node
        self._posting = posting
        self._contents = Contents(node.store, node.pieces, node.runner.flushed)
        self._weighing = Weighing(node)

    # -- versions -------------------------------------------------------------------------------

    async def history(
        self,
        mandate: str,
        name: str | None,
        at: str | None,
        *,
        known: bool = False,
        limit: int = VERSIONS_LISTED_MAX,
    ) -> Json:
        """Versions, newest first (B-HIS-1); with ``at``, the state at that time and the versions
        up to then.
        """
        opened = find.mandate(self._node.opened.values(), mandate)
        limit = min(limit, VERSIONS_LISTED_MAX)
        if at is None:
            files = self._files(opened, name)
            return await self._listed(opened, files, _rows(files), limit)
        moment = await past.moment(self._node, opened, at, known=known)
        state = await past.fold(self._node, opened, moment)
        shown = past.names(state)
        chosen = {file.id for file in self._files(opened, name)}
        there = [file for file in state.present_files() if file.id in chosen]
        there.sort(key=lambda file: (shown[file.id].casefold(), file.id))
        told = await trio.to_thread.run_sync(past.view, state, there, shown)
        receipts, more = past.receipts(state, shown, limit)
        files = [file for file in state.files.values() if file.id in chosen and file.added]
        listed = await self._listed(opened, files, _rows(files), limit)
        return {
            "at": moment.text,
            "by": "arrival" if known else "clocks",
            "state": told | {"receipts": receipts, "receipts_left_out": more},
            **listed,
        }

    def _files(self, opened: Opened, name: str | None) -> list[FileState]:
        if name is not None:
            return [find.any_file(opened, name)]
        return [file for file in opened.state.files.values() if file.added is not None]

    async def _listed(
        self, opened: Opened, files: Iterable[FileState], rows: Iterator[Row], limit: int
    ) -> Json:
        every = sorted(rows, key=lambda row: (row[1].stamp, row[1].id), reverse=True)
        chosen = every[:limit]
        weights = await self._weighing.weigh(opened, chosen)
        names = opened.names()
        return {
            "versions": [
                views.version_view(opened, file, names.get(file.id, file.info.name), version)
                | weights[version.id]
                for file, version in chosen
            ],
            "left_out": len(every) - len(chosen),
        }

    # -- records --------------------------------------------------------------------------------

    async def records(
        self,
        mandate: str,
        name: str,
        *,
        text: str | None = None,
        voucher: str | None = None,
        line: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> Json:
        """What came of each record of a file: who added, changed, deleted and posted it.

        Of a file that is kept whole nothing is known of single records: its versions are listed.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        file = find.any_file(opened, name)
        if sum(each is not None for each in (text, voucher, line)) > 1 or (
            line is not None and line < 1
        ):
            raise RecordFilterInvalid()
        shown = views.shown_name(opened, file)
        whole = registry.by_name(file.info.format).merge != "records"
        answer: Json = {"file": shown, "format": file.info.format, "whole": whole, "records": []}
        if whole:
            return answer | await self.history(mandate, name, None) | {"next": None}
        await node.runner.flushed()
        wanted = Wanted(_fits(text, voucher), line)
        limit = min(limit, RECORD_TALES_LISTED_MAX)

        def look() -> tuple[list[Json], int | None]:
            tales = self._read_tales(opened, file)
            found, more = tales.tell(wanted, after, limit)
            who = _Who(self._node, opened)
            return [_tale_view(tale, tales, who) for tale in found], more

        answer["records"], answer["next"] = await trio.to_thread.run_sync(look)
        return answer

    def _read_tales(self, opened: Opened, file: FileState) -> Tales:
        archive, replica = self._node.store.archive(opened.id), opened.replica
        format_ = registry.by_name(file.info.format)
        unposted: dict[OpId, tuple[int, bytes]] = {}
        if archive is not None:
            for receipt, op in dict(opened.state.retracted).items():
                known = archive.where(op[0])
                if known is not None and known.stamp is not None:
                    unposted[receipt] = known.stamp, op[0]
        tales = Tales(format_.read_segment, identifies(replica.reader, file.info.format), unposted)
        if archive is not None:
            tales.take(
                file.id,
                archive.touching(file.id),
                lambda touch: replica.applied(touch.raw, touch.stamp),
            )
        return tales

    # -- restoring ------------------------------------------------------------------------------

    async def restore(
        self,
        mandate: str,
        name: str,
        text: str | None,
        output: str | None,
        *,
        at: str | None = None,
        known: bool = False,
    ) -> Json:
        """Bring a version back as a new one, or write it elsewhere and change nothing.

        ``at`` instead of a version: what the file was then. Raises ``VersionElsewhere`` or
        ``VersionDropped`` when the content is not here.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        file = find.any_file(opened, name)
        shown = views.shown_name(opened, file)
        data: bytes | None = None
        answer: Json = {}
        if at is not None:
            moment = await past.moment(node, opened, at, known=known)
            version, data = await self._then(opened, file, shown, moment)
            answer = {"at": moment.text, "by": "arrival" if known else "clocks"}
        else:
            version = find.version(file, text or "", shown)
        whole = registry.by_name(file.info.format).merge != "records"
        content = await self._content(
            opened, file, version, data, may_fetch=whole and output is None
        )
        answer |= {"file": shown, "version": version.name}
        if output is not None:
            assert content is not None
            path = await trio.to_thread.run_sync(_write, output, content)
            return answer | {"path": str(path)}
        node.check_writable()
        check_open(opened)
        if not file.present:
            command = shlex.join(("p2psync", "detach", opened.name, shown, "--undo"))
            raise FileDetachedAlready(file=shown, mandate=opened.name, command=command)
        self._posting.check_may_write(opened, "restore a version")
        found = None
        if content is None:
            answer["fetched_from"] = self._who_may_have(opened, version)
        else:
            found = await self._found(file, version, content, known=data is not None)
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
            made = await node.shelf.bring_back(opened, file, version, found)
        copy_now = opened.copies.get((file.id, "attached")) or opened.copies.get(
            (file.id, "folder")
        )
        return answer | {
            "version": made.name,
            "restored": version.name,
            "path": str(copy_now.path) if copy_now else "",
        }

    async def _then(
        self, opened: Opened, file: FileState, shown: str, moment: past.Moment
    ) -> tuple[Version, bytes | None]:
        """The version that was shown then, and the content where several made it up."""
        if moment.stamp is None:
            state = await past.fold(self._node, opened, moment)
            then = state.files.get(file.id)
            current = None if then is None else then.current()
            if then is None or current is None:
                raise FileNotThen(file=shown, time=moment.text)
            return current, then.segments.emit() if then.merged else None
        await self._node.runner.flushed()
        there = {each.id: each for each in file.versions.values() if each.stamp <= moment.stamp}
        heads = there.keys() - {parent for each in there.values() for parent in each.parents}
        if not heads:
            raise FileNotThen(file=shown, time=moment.text)
        shown_then = [there[head] for head in heads]
        current = max(shown_then, key=lambda each: (each.stamp, each.id))
        if len(heads) > 1 and all(each.content is None and each.mergeable for each in shown_then):
            base = await self._contents.base(opened, file, heads)
            return current, await trio.to_thread.run_sync(base.emit)
        return current, None

    async def _content(
        self,
        opened: Opened,
        file: FileState,
        version: Version,
        data: bytes | None,
        *,
        may_fetch: bool,
    ) -> Read | None:
        """How to read a version; ``None`` when somebody is there who may have it, and it is to be
        fetched as what is newest is.
        """
        if data is not None:
            return lambda: iter((data,))
        kept = await trio.to_thread.run_sync(self._weighing.where, opened, file, version)
        if kept != "here":
            if may_fetch and self._node.engine.meets_anybody(opened.id):
                return None
            error = VersionDropped if kept == "dropped" else VersionElsewhere
            raise error(
                version=version.name,
                file=views.shown_name(opened, file),
                who=self._who_may_have(opened, version),
            )
        content, _, _ = await self._node.shelf.content(opened, file, version)
        return content

    def _who_may_have(self, opened: Opened, version: Version) -> str:
        """Its author first: who replaced it keeps what was there before."""
        state, own = opened.state, self._node.identity.device
        others = [each for each in sorted(state.membership.members) if each != own]
        others.sort(key=lambda each: each != version.device)
        named = [f"{views.person(state, each)} ({views.machine(state, each)})" for each in others]
        return ", ".join(named) or "?"

    def _copies(self, opened: Opened, file_id: bytes) -> list[Copy]:
        return [copy for (file, _), copy in sorted(opened.copies.items()) if file == file_id]

    async def _found(
        self, file: FileState, version: Version, content: Read, *, known: bool
    ) -> Records | Whole | None:
        """An old content of a record file as if it were found on the disk; ``None`` for another.

        A record file may have versions that were kept whole, such as a save that was refused.
        """
        format_ = registry.by_name(file.info.format)
        if format_.merge != "records" or (version.size_bytes > RECORD_FILE_BYTES_MAX and not known):
            return None

        def read() -> Records | None:
            data = b"".join(content())
            document = format_.parse(data)
            if any(len(segment.raw) > SEGMENT_BYTES_MAX for segment in document.segments):
                return None
            digest = crypto.content_digest(data)
            return Records(FileStat(len(data), 0, 0, 0, 0), digest, document)

        return await trio.to_thread.run_sync(read)


def _rows(files: Iterable[FileState]) -> Iterator[Row]:
    for file in files:
        if file.added is not None:
            for version in file.versions.values():
                yield file, version


def _write(output: str, content: Read) -> Path:
    path = local_path(output)
    with Folder.open(path.parent) as folder:
        if folder.stat(path.name) is not None:
            raise OutputExists(path=str(path))
        folder.replace(path.name, content(), None)
    return path


def _fits(text: str | None, voucher: str | None) -> Any:
    if text is not None:
        wanted = text.casefold()
        return lambda segment: any(
            wanted in value.casefold()
            for record in segment.records
            for value in (record.text, str(record.amount or ""), *record.fields.values())
        )
    if voucher is not None:
        return lambda segment: any(
            record.fields.get("voucher") == voucher for record in segment.records
        )
    return None


class _Who:
    """Who wrote an entry, when, and on which machine; each entry is looked up once."""

    def __init__(self, node: Node, opened: Opened) -> None:
        self._opened = opened
        self._archive = node.store.archive(opened.id)
        self._known: dict[bytes, Json] = {}

    def of(self, entry_id: bytes) -> Json:
        known = self._known.get(entry_id)
        if known is None:
            known = self._known[entry_id] = self._look(entry_id)
        return known

    def _look(self, entry_id: bytes) -> Json:
        state, archive = self._opened.state, self._archive
        raw = None if archive is None else archive.raws([entry_id]).get(entry_id)
        if raw is None:
            return {"at": None, "by": "?", "machine": "", "device": ""}
        item = entry.decode(raw)
        device = state.logs.get(item.log, b"")
        return {
            "at": views.iso(clock.milliseconds(item.header.hlc)),
            "by": views.person(state, device),
            "machine": views.machine(state, device),
            "device": device.hex(),
        }


def _tale_view(tale: Tale, tales: Tales, who: _Who) -> Json:
    return {
        "line": tale.line,
        "present": tale.line is not None,
        "posted": tale.posted,
        "records": _records(tales.read(tale.raw)),
        "steps": [_step_view(step, tales, who) for step in tale.steps],
    }


def _step_view(step: Step, tales: Tales, who: _Who) -> Json:
    view: Json = {"what": step.what, **who.of(step.entry)}
    if step.what in ("added", "changed", "deleted"):
        view["version"] = step.name
    else:
        view["receipt"] = step.name
    if step.what == "changed" and step.before is not None:
        view["before"] = _records(tales.read(step.before))
    return view


def _records(segment: Segment) -> list[Json]:
    return [views.plain_record(record) for record in segment.records]
