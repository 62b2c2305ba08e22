"""What the content of files tells: accounting years, and what is wrong with each file (B-POS-8)."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import trio

from p2psync.core import crypto
from p2psync.core.files import FileState, Version
from p2psync.core.records import Problem
from p2psync.errors import P2PSyncError
from p2psync.formats import registry
from p2psync.formats.base import Format
from p2psync.formats.checks import check_with_years
from p2psync.formats.cresus_settings import Settings, read_settings
from p2psync.limits import RECORD_FILE_BYTES_MAX
from p2psync.node import views
from p2psync.node.contents import Read
from p2psync.node.node import Node
from p2psync.node.opened import Opened

PROBLEM_TEXTS = {
    "not-readable": "the file is too large or its lines too long to be read record by record; it "
    "is synchronised whole",
    "not-readable-records": "the file holds {records} records: it is too large, or its lines too "
    "long, to be merged record by record; it is synchronised whole and nothing in it is counted",
    "not-readable-since": "the file holds {records} records: it is too large, or its lines too "
    "long, to be merged record by record; it is synchronised whole, and the {counted} records of "
    "the last version that could be read are still those that count",
    "two-contents": "one entry stands in the file with two contents ({texts}): two devices saved "
    "it while apart. Both count until somebody deletes the wrong one, or gives one of them a "
    "number of its own, and saves. Entries like that: {count}",
    "unknown-format": "this is no exchange file that p2psync understands; it is synchronised whole "
    "and nothing in it is counted",
}
FINDINGS_VERSION = 3
"""Rises when other things are found in the same content."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a file's content tells: its problems, and the period that its records fall into."""

    problems: tuple[Problem, ...] = ()
    period: str | None = None


class Content:
    """Reads the content of files for what it tells; remembers what it found."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._years: dict[bytes, tuple[bytes, Settings]] = {}
        self._checked: dict[bytes, tuple[object, Findings]] = {}
        self._counting: set[bytes] = set()

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
            counted = await self._counted(opened, file, current, format_)
            if counted is None:  # asked for again, it may be known
                return Findings((Problem("not-readable", PROBLEM_TEXTS["not-readable"]),))
            found = counted
        elif current is not None and file.info.kind in ("invoicing", "payroll"):
            found = Findings((Problem("unknown-format", PROBLEM_TEXTS["unknown-format"]),))
        self._checked[file.id] = (mark, found)
        return found

    async def _counted(
        self, opened: Opened, file: FileState, current: Version, format_: Format
    ) -> Findings | None:
        """What a record file holds that is synchronised whole; ``None`` while it is counted.

        Reading it takes seconds: it is done once for each content, while nobody waits for it.
        """
        what = (FINDINGS_VERSION, file.info.format, current.digest)
        mark = crypto.content_digest(repr(what).encode())
        noted = await self._node.store.note(opened.id, file.id, mark)
        if noted is None:
            if file.id not in self._counting:
                self._counting.add(file.id)
                self._node.start_soon(partial(self._count, opened, file, current, format_, mark))
            return None
        if not noted["records"]:
            return Findings((Problem("not-readable", PROBLEM_TEXTS["not-readable"]),))
        params = {"records": str(noted["records"]), "counted": str(file.records)}
        template = PROBLEM_TEXTS[f"not-readable-{'since' if file.records else 'records'}"]
        return Findings((Problem("not-readable", template, 0, params),), noted["period"])

    async def _count(
        self, opened: Opened, file: FileState, current: Version, format_: Format, mark: bytes
    ) -> None:
        try:
            content, _, _ = await self._node.shelf.content(opened, file, current)
            note = await trio.to_thread.run_sync(_count, format_, content)
            if opened.live:
                await self._node.store.put_note(opened.id, file.id, mark, note)
        except P2PSyncError:
            return  # not here yet, or not any more: whoever asks again has it tried again
        finally:
            self._counting.discard(file.id)

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
        disputed = _disputed(file)
        found = await trio.to_thread.run_sync(_find, format_, data, years)
        found = Findings((*disputed, *found.problems), found.period)
        problems = [[each.code, each.template, each.line, each.params] for each in found.problems]
        note = {"problems": problems, "period": found.period}
        await store.put_note(opened.id, file.id, mark, note)
        return found


def _disputed(file: FileState) -> tuple[Problem, ...]:
    """What two devices put in one place while apart; both are shown, and both count."""
    element = file.segments.disputed()
    if element is None:
        return ()
    texts = [record.text for each in element.shown() for record in each.segment.records[:1]]
    params = {"count": str(file.segments.conflicts), "texts": " / ".join(texts)}
    return (Problem("two-contents", PROBLEM_TEXTS["two-contents"], 0, params),)


def _count(format_: Format, content: Read) -> dict[str, object]:
    """Count the records of a file of any size; it is never held as a whole."""
    records = 0
    first: datetime.date | None = None
    last: datetime.date | None = None
    for segment in format_.stream(content()):
        records += segment.record_count
        for date in segment.dates:
            first = date if first is None or date < first else first
            last = date if last is None or date > last else last
    period = None if first is None or last is None else views.period_text((first, last))
    return {"records": records, "period": period}


def _find(format_: Format, data: bytes, years: Sequence[Settings]) -> Findings:
    document = format_.parse(data)
    problems, year_of = check_with_years(document, years)
    spans = {
        year.period for year in year_of.values() if year is not None and year.period is not None
    }
    if document.period is not None:
        spans = {document.period}
    elif not spans and year_of:
        spans = {(min(year_of), max(year_of))}
    period = None
    if spans:
        period = views.period_text((min(span[0] for span in spans), max(span[1] for span in spans)))
    return Findings((*document.problems, *problems), period)


def _joined(content: Read) -> bytes:
    return b"".join(content())
