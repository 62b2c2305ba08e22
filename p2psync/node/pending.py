"""What waits to be posted, by file and period, and telling people of it (B-POS-1, B-POS-8)."""

import datetime
from collections.abc import Sequence
from typing import Any

from p2psync.core.balance import NO_DAY, Sums, total
from p2psync.core.files import FileState
from p2psync.errors import P2PSyncError
from p2psync.formats.checks import settings_for
from p2psync.formats.cresus_settings import Settings
from p2psync.limits import PENDING_LISTED_MAX
from p2psync.node import find, views
from p2psync.node.findings import Content
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.tallies import Listed, Tallies, Tally

Json = dict[str, Any]
Period = tuple[datetime.date, datetime.date]

NO_PERIOD_TEXT = "the dates of these records are in no accounting period"
_PERIODS_TOLD_MAX = 5
"""Periods that one message names."""


class Pending:
    """Sums and lists what waits."""

    def __init__(self, node: Node, content: Content) -> None:
        self._node = node
        self._content = content
        self.tallies = Tallies(node.store)
        self._wanted: dict[tuple[bytes, bytes], Opened] = {}
        self.telling = False
        """Whether somebody is still to be told of a save."""
        node.on_saved = self.saved
        node.on_posted = self.posted
        node.start_soon(self.tallies.run)

    async def view(self, mandate: str, names: list[str], records: int) -> Json:
        """What waits, of some files or of all, with at most so many records."""
        opened = find.mandate(self._node.opened.values(), mandate)
        chosen = {file.id for file in find.files(opened, names)}
        years = await self._content.years(opened)
        left = min(records, PENDING_LISTED_MAX)
        rows: list[Json] = []
        every = Sums()
        shown = opened.names()
        for file_id in sorted(chosen, key=lambda each: (shown.get(each, ""), each)):
            file = opened.state.files[file_id]
            if not views.counts(file) or file.pending() == (0, 0):
                continue
            tally = await self.tallies.of(opened, file)
            listed = self.tallies.records(file, tally, left)
            left -= len(listed)
            rows += _rows(opened, file, tally, listed, years)
            every.include(total(tally.days))
        return {
            "added": every.added,
            "deleted": every.deleted,
            "groups": {"added": every.added_groups, "deleted": every.deleted_groups},
            "changed": sum(row["changed"] for row in rows),
            "amount": views.amount(every.amount),
            "left_out": sum(row["left_out"] for row in rows),
            "files": rows,
        }

    # -- telling --------------------------------------------------------------------------------

    def saved(self, opened: Opened, file: bytes) -> None:
        """A file was saved: sum it up, and tell what waits now."""
        self._wanted[(opened.id, file)] = opened
        if not self.telling:
            self.telling = True
            self._node.start_soon(self._tell)

    def posted(self, opened: Opened, files: Sequence[bytes]) -> None:
        """A receipt was made or taken back."""
        for file in files:
            self.tallies.note_soon(opened, file)

    async def _tell(self) -> None:
        while self._wanted:
            key = next(iter(self._wanted))
            file_id, opened = key[1], self._wanted.pop(key)
            file = opened.state.files.get(file_id)
            if file is None or not file.present or not views.counts(file) or not opened.live:
                continue
            self.tallies.note_soon(opened, file_id)
            if file.pending() == (0, 0):
                continue
            try:
                tally = await self.tallies.of(opened, file)
                years = await self._content.years(opened)
            except P2PSyncError:
                continue  # whoever asks for it is told
            if file.present and tally.days:
                self._message(opened, file, tally, years)
        self.telling = False

    def _message(
        self, opened: Opened, file: FileState, tally: Tally, years: Sequence[Settings]
    ) -> None:
        latest = file.current()
        if latest is None:
            return
        sums = total(tally.days)
        self._node.notices.message(
            "records-waiting",
            "{file}: {added} added and {deleted} deleted records wait to be posted, {amount} in "
            "all ({periods}); saved by {who} at {when}",
            mandate=opened.id,
            file=opened.names().get(file.id, file.info.name),
            device=latest.device,
            data={
                "added": sums.added,
                "deleted": sums.deleted,
                "amount": views.amount(sums.amount),
                "periods": [
                    _counts(period, days) for period, days in _by_period(file, tally, years).items()
                ],
                "saved": views.iso_of(latest.hlc),
            },
            added=str(sums.added),
            deleted=str(sums.deleted),
            amount=views.amount(sums.amount),
            periods=_told(file, tally, years),
            who=views.person(opened.state, latest.device),
            when=views.iso_of(latest.hlc)[:16].replace("T", " "),
        )


def _counts(period: str | None, days: dict[int, Sums]) -> Json:
    sums = total(days)
    return {
        "period": period,
        "added": sums.added,
        "deleted": sums.deleted,
        "amount": views.amount(sums.amount),
    }


def _by_period(
    file: FileState, tally: Tally, years: Sequence[Settings]
) -> dict[str | None, dict[int, Sums]]:
    """Route the days that something waits of (B-POS-8)."""
    out: dict[str | None, dict[int, Sums]] = {}
    for day in sorted(tally.days):
        out.setdefault(_period_of(file, day, years), {})[day] = tally.days[day]
    return out


def _period_of(file: FileState, day: int, years: Sequence[Settings]) -> str | None:
    if not years:  # nothing is known of the accounting: what the file was attached with
        return views.file_period(file)
    year = settings_for(None if day == NO_DAY else datetime.date.fromordinal(day), years)
    return None if year is None else views.period_text(year.period)


def _rows(
    opened: Opened,
    file: FileState,
    tally: Tally,
    listed: Sequence[Listed],
    years: Sequence[Settings],
) -> list[Json]:
    rows = []
    latest = file.current()
    records: dict[str | None, list[Json]] = {}
    for day, record in listed:
        records.setdefault(_period_of(file, day, years), []).append(record)
    for period, days in _by_period(file, tally, years).items():
        sums = total(days)
        shown = records.get(period, [])
        row: Json = {
            "name": opened.names().get(file.id, file.info.name),
            "kind": file.info.kind,
            "period": period,
            "added": sums.added,
            "deleted": sums.deleted,
            "groups": {"added": sums.added_groups, "deleted": sums.deleted_groups},
            "changed": sum(tally.changed.get(day, 0) for day in days),
            "amount": views.amount(sums.amount),
            "amount_added": views.amount(sums.added_amount),
            "amount_deleted": views.amount(sums.deleted_amount),
            "saved_by": None if latest is None else views.person(opened.state, latest.device),
            "machine": None if latest is None else views.machine(opened.state, latest.device),
            "saved": None if latest is None else views.iso_of(latest.hlc),
            "records": shown,
            "left_out": sums.added + sums.deleted - len(shown),
            "problems": [],
        }
        if years and period is None:
            row["problems"] = [{"code": "no-period", "text": NO_PERIOD_TEXT, "line": 0}]
        rows.append(row)
    return rows


def _told(file: FileState, tally: Tally, years: Sequence[Settings]) -> str:
    """Each period in few words, the same in every language."""
    parts = []
    for period, days in _by_period(file, tally, years).items():
        sums = total(days)
        parts.append(
            f"{period or '?'}: +{sums.added} -{sums.deleted} = {views.amount(sums.amount)}"
        )
    more = ["…"] if len(parts) > _PERIODS_TOLD_MAX else []
    return "; ".join([*parts[:_PERIODS_TOLD_MAX], *more])
