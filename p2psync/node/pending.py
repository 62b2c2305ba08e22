"""What waits to be posted, by file and period, and telling people of it (B-POS-1, B-POS-8)."""

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from p2psync.core.balance import Sums
from p2psync.core.files import FileState
from p2psync.core.records import Problem
from p2psync.errors import P2PSyncError
from p2psync.formats.cresus_settings import Settings
from p2psync.limits import PENDING_LISTED_MAX, SUMMED_CURRENCIES_MAX
from p2psync.node import find, views
from p2psync.node.findings import Content
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.tallies import Listed, Part, Route, Tallies, Tally

Json = dict[str, Any]

_OUTSIDE = Problem("no-period", "the dates of these records are in no accounting period")
LOOKED_THROUGH_RECORDS_MAX = 20_000
"""Larger files are looked through when somebody asks."""
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
        self.tallies.on_rest = self._look_through
        node.on_saved = self.saved
        node.on_posted = self.posted
        node.start_soon(self.tallies.run)

    async def view(self, mandate: str, names: list[str], records: int) -> Json:
        """What waits, of some files or of all, with at most so many records."""
        opened = find.mandate(self._node.opened.values(), mandate)
        files = [file for file in find.files(opened, names) if views.counts(file)]
        chosen = {file.id for file in files}
        await self.tallies.read(opened, [file for file in files if file.pending() != (0, 0)])
        years = await self._content.years(opened)
        left = min(records, PENDING_LISTED_MAX)
        rows: list[Json] = []
        every = Sums()
        every_file = opened.listed(opened.state.files[file_id] for file_id in chosen)
        for file_id in [file.id for file in every_file]:
            file = opened.state.files[file_id]
            if not file.added or file.pending() == (0, 0):
                continue
            tally = await self.tallies.of(opened, file)
            if tally.routed not in (None, _ways(file, years)):
                self.tallies.note_soon(opened, file_id)  # noted by other accounting years
            listed = self.tallies.records(file, tally, left)
            left -= len(listed)
            rows += _rows(opened, file, tally, listed, years)
            for part in _routed(file, tally, years).values():
                every.include(part.sums)
        return {
            "added": every.added,
            "deleted": every.deleted,
            "groups": {"added": every.added_groups, "deleted": every.deleted_groups},
            "changed": sum(row["changed"] for row in rows),
            **_sums(every),
            "left_out": sum(row["left_out"] for row in rows),
            "files": rows,
        }

    async def _look_through(self, opened: Opened, file: FileState) -> None:
        """Find out what is wrong with a file before the accountant asks for it."""
        has_seat = opened.state.seat() == self._node.identity.device
        if has_seat and file.present and file.records <= LOOKED_THROUGH_RECORDS_MAX:
            await self._content.findings(opened, file, await self._content.years(opened))

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
            waits = file.pending() != (0, 0)
            if waits or file.records:  # there is nothing to sum up in other files
                self.tallies.note_soon(opened, file_id)
            if not waits:
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
        parts = _routed(file, tally, years)
        sums = Sums()
        for part in parts.values():
            sums.include(part.sums)
        self._node.notices.message(
            "records-waiting",
            "{file}: {added} added and {deleted} deleted records wait to be posted, {amount} in "
            "all; saved by {who} at {when}"
            if len(parts) == 1
            else "{file}: {added} added and {deleted} deleted records wait to be posted, {amount} "
            "in all ({periods}); saved by {who} at {when}",
            mandate=opened.id,
            file=opened.names().get(file.id, file.info.name),
            device=latest.device,
            data={
                "added": sums.added,
                "deleted": sums.deleted,
                "amount": views.one_amount(sums.amounts),
                "amounts": views.amounts(sums.amounts),
                "periods": [_counts(period, part.sums) for period, part in parts.items()],
                "saved": views.iso_of(latest.hlc),
            },
            added=str(sums.added),
            deleted=str(sums.deleted),
            amount=views.told_amounts(sums.amounts),
            periods=_told(parts),
            who=views.person(opened.state, latest.device),
            when=views.iso_of(latest.hlc)[:16].replace("T", " "),
        )


def _routed(file: FileState, tally: Tally, years: Sequence[Settings]) -> dict[str | None, Part]:
    """Route the days that something waits of to periods (B-POS-8); known until either changes."""
    routed = _ways(file, years)
    return tally.by_period(routed, _router(routed))


def _ways(file: FileState, years: Sequence[Settings]) -> Json:
    """What tells the period of a day: spans of days; with no year, what the file is attached
    with.
    """
    if not years:  # nothing is known of the accounting
        return {"attached": views.file_period(file)}
    return {
        "years": [
            [*map(datetime.date.toordinal, year.period), views.period_text(year.period)]
            for year in years
            if year.period is not None
        ]
    }


def _router(ways: Json) -> Route:
    """Return what tells the period of a day."""
    if "years" not in ways:
        attached: str | None = ways["attached"]
        return lambda _day: attached

    def route(day: int) -> str | None:
        return next((text for first, last, text in ways["years"] if first <= day <= last), None)

    return route


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
    route = _router(_ways(file, years))
    for day, record in listed:
        records.setdefault(route(day), []).append(record)
    for period, part in _routed(file, tally, years).items():
        sums = part.sums
        shown = records.get(period, [])
        row: Json = {
            "name": opened.names().get(file.id, file.info.name),
            "kind": file.info.kind,
            "period": period,
            "added": sums.added,
            "deleted": sums.deleted,
            "groups": {"added": sums.added_groups, "deleted": sums.deleted_groups},
            "changed": part.changed,
            **_sums(sums),
            "amount_added": views.one_amount(sums.added_amounts),
            "amount_deleted": views.one_amount(sums.deleted_amounts),
            "saved_by": None if latest is None else views.person(opened.state, latest.device),
            "machine": None if latest is None else views.machine(opened.state, latest.device),
            "saved": None if latest is None else views.iso_of(latest.hlc),
            "records": shown,
            "left_out": sums.added + sums.deleted - len(shown),
            "problems": [],
        }
        if years and period is None:
            row["problems"] = [views.problem(_OUTSIDE)]
        rows.append(row)
    return rows


def _counts(period: str | None, sums: Sums) -> Json:
    return {
        "period": period,
        "added": sums.added,
        "deleted": sums.deleted,
        "amount": views.one_amount(sums.amounts),
        "amounts": views.amounts(sums.amounts),
    }


def _sums(sums: Sums) -> Json:
    """The sum where there is one currency, and the sums of each."""
    currencies = sorted({*sums.added_amounts, *sums.deleted_amounts})[:SUMMED_CURRENCIES_MAX]
    net, zero = sums.amounts, Decimal(0)
    return {
        "amount": None if len(currencies) > 1 else views.one_amount(net),
        "amounts": {
            each: {
                "amount": views.amount(net.get(each, zero)),
                "added": views.amount(sums.added_amounts.get(each, zero)),
                "deleted": views.amount(sums.deleted_amounts.get(each, zero)),
            }
            for each in currencies
        },
    }


def _told(parts: Mapping[str | None, Part]) -> str:
    """Each period in few words, the same in every language."""
    told = [
        f"{period or '?'}: +{part.sums.added} -{part.sums.deleted} = "
        f"{views.told_amounts(part.sums.amounts)}"
        for period, part in islice(parts.items(), _PERIODS_TOLD_MAX)
    ]
    return "; ".join([*told, "…"] if len(parts) > _PERIODS_TOLD_MAX else told)
