"""What of a file waits to be posted (B-POS-2), by day: kept in step with every single change.

Two multisets are compared, the records that the file holds and those that are posted, and likewise
two of segments: a balanced group of lines is one posting to a person, and several lines. Reading
the result costs nothing, whatever the file's size.
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal

from p2psync.core.ops import OpId
from p2psync.core.records import Record, Segment, Side, side_of

_EXACT = Context(prec=64)
"""No sum of a file's amounts is rounded: what is taken away again leaves nothing behind."""
_ZERO = Decimal(0)
Amounts = dict[str, Decimal]
"""Sums by currency (empty: none is named); none of them is zero."""
NO_DAY = 0
"""The day of what has no date; others count from 0001-01-01."""


@dataclass(slots=True)
class Sums:
    """What is to be added and deleted in the accounting: records, their amounts, and the segments
    (single lines and groups) that they stand in.

    Of a balanced entry whose lines name one account each, the debits are its amount.
    """

    added: int = 0
    deleted: int = 0
    added_amounts: Amounts = field(default_factory=dict)
    deleted_amounts: Amounts = field(default_factory=dict)
    added_groups: int = 0
    deleted_groups: int = 0

    @property
    def amounts(self) -> Amounts:
        """What is to be added less what is to be deleted."""
        amounts = dict(self.added_amounts)
        for currency, amount in self.deleted_amounts.items():
            add_amount(amounts, currency, amount, -1)
        return amounts

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not (self.added or self.deleted or self.added_groups or self.deleted_groups)

    def include(self, other: "Sums") -> None:
        """Add what another one counts."""
        self.added += other.added
        self.deleted += other.deleted
        for currency, amount in other.added_amounts.items():
            add_amount(self.added_amounts, currency, amount, 1)
        for currency, amount in other.deleted_amounts.items():
            add_amount(self.deleted_amounts, currency, amount, 1)
        self.added_groups += other.added_groups
        self.deleted_groups += other.deleted_groups


def add_side(amounts: Amounts, side: Side, change: int) -> None:
    """Add what one record counts for (1), or take it away again (-1)."""
    once = side.once
    if once is not None:
        add_amount(amounts, side.currency, once, change)


def add_amount(amounts: Amounts, currency: str, amount: Decimal, change: int) -> None:
    """Add an amount to the sum of its currency (1), or take it away again (-1)."""
    move = _EXACT.add if change > 0 else _EXACT.subtract
    total = move(amounts.get(currency, _ZERO), amount)
    if total:
        amounts[currency] = total
    else:
        amounts.pop(currency, None)


def day_of(date: datetime.date | None) -> int:
    """The number of a record's day."""
    return NO_DAY if date is None else date.toordinal()


@dataclass(slots=True)
class Measure:
    """Sums up a file of which nothing was ever posted: all that it holds is to be added.

    No record's key is needed for that, which makes it five times as cheap as a ``Balance``.
    """

    days: dict[int, Sums] = field(default_factory=dict)

    def hold(self, segment: Segment, change: int) -> None:
        """The file holds a segment once more, or once less."""
        first = True
        for side in segment.sides:
            day = day_of(side.date)
            cell = self.days.get(day)
            if cell is None:
                cell = self.days[day] = Sums()
            cell.added += change
            add_side(cell.added_amounts, side, change)
            if first:
                cell.added_groups += change
                first = False
            if cell.empty:
                del self.days[day]


@dataclass(slots=True)
class Balance:
    """How often each record key stands in a file and how often it is posted."""

    records: int = 0
    added: int = 0
    deleted: int = 0
    surplus: dict[bytes, int] = field(default_factory=dict)
    """Of each record key, how much oftener it stands in the file than it is posted; never 0."""
    posted: Counter[bytes] = field(default_factory=Counter)
    days: dict[int, Sums] = field(default_factory=dict)
    _groups: dict[bytes, int] = field(default_factory=dict)
    """The same as ``surplus`` of segment keys."""
    _homes: dict[bytes, OpId | dict[OpId, int]] = field(default_factory=dict)
    """The elements in which each record key stands; nearly always it is one, once."""

    @property
    def current(self) -> Counter[bytes]:
        """How often each record key stands in the file."""
        keys = self.surplus.keys() | self.posted.keys()
        return +Counter({key: self.surplus.get(key, 0) + self.posted.get(key, 0) for key in keys})

    def hold(self, element: OpId, segment: Segment, change: int) -> None:
        """The file holds a segment in that element once more (1), or once less (-1)."""
        for record in segment.records:
            self.records += change
            self._move(record, change)
            self._place(record.key, element, change)
        self._move_group(segment, change)

    def post(self, segment: Segment, change: int) -> None:
        """A segment is posted once more (1), or once less (-1)."""
        for record in segment.records:
            self.posted[record.key] += change
            if not self.posted[record.key]:
                del self.posted[record.key]
            self._move(record, -change)
        self._move_group(segment, -change)

    def elements(self) -> Iterable[OpId]:
        """The elements that hold a record of a key that is to be added; some of them twice."""
        for key, surplus in self.surplus.items():
            if surplus > 0:
                home = self._homes[key]
                if isinstance(home, dict):
                    yield from home
                else:
                    yield home

    def _move(self, record: Record, change: int) -> None:
        added, deleted = _moved(self.surplus, record.key, change)
        self.added += added
        self.deleted += deleted
        day = day_of(record.date)
        cell = self.days.get(day)
        if cell is None:
            cell = self.days[day] = Sums()
        cell.added += added
        cell.deleted += deleted
        if record.amount is not None:
            side = side_of(record)
            if added:
                add_side(cell.added_amounts, side, added)
            if deleted:
                add_side(cell.deleted_amounts, side, deleted)
        if cell.empty:
            del self.days[day]

    def _move_group(self, segment: Segment, change: int) -> None:
        if not segment.records:
            return
        added, deleted = _moved(self._groups, segment.key, change)
        day = day_of(segment.records[0].date)
        cell = self.days.setdefault(day, Sums())
        cell.added_groups += added
        cell.deleted_groups += deleted
        if cell.empty:
            del self.days[day]

    def _place(self, key: bytes, element: OpId, change: int) -> None:
        home = self._homes.get(key)
        if home is None:
            self._homes[key] = element
        elif home == element and change < 0:
            del self._homes[key]
        else:
            homes = home if isinstance(home, dict) else {home: 1}
            count = homes.get(element, 0) + change
            if count:
                homes[element] = count
            else:
                del homes[element]
            if homes:
                self._homes[key] = homes
            else:
                del self._homes[key]


def _moved(surplus: dict[bytes, int], key: bytes, change: int) -> tuple[int, int]:
    """Move one key's surplus by one; return the change of what is to be (added, deleted)."""
    before = surplus.get(key, 0)
    after = before + change
    if after:
        surplus[key] = after
    else:
        del surplus[key]
    return max(after, 0) - max(before, 0), max(-after, 0) - max(-before, 0)


def total(days: Mapping[int, Sums]) -> Sums:
    """All days together."""
    out = Sums()
    for each in days.values():
        out.include(each)
    return out
