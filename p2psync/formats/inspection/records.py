"""Records as an accountant reads them: by line, by currency, added up."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal

from p2psync.core.records import Record, Segment, Side
from p2psync.formats.lines import record_lines

_EXACT = Context(prec=64)
_ZERO = Decimal(0)


@dataclass(slots=True)
class Sums:
    """Sums of some records; amounts are exact.

    ``amount`` adds every amount as it stands. A record that names an account counts in ``debit``
    or ``credit``, or in both; one without (a bank's) counts in ``plus`` or ``minus`` by its sign.
    """

    records: int = 0
    amount: Decimal = _ZERO
    debit: Decimal = _ZERO
    credit: Decimal = _ZERO
    plus: Decimal = _ZERO
    minus: Decimal = _ZERO

    def add(self, side: Side) -> None:
        """Counts one record."""
        self.records += 1
        amount = side.amount
        if amount is None:
            return
        self.amount = _EXACT.add(self.amount, amount)
        if side.debit:
            self.debit = _EXACT.add(self.debit, amount)
        if side.credit:
            self.credit = _EXACT.add(self.credit, amount)
        if not (side.debit or side.credit):
            if amount < 0:
                self.minus = _EXACT.add(self.minus, amount)
            else:
                self.plus = _EXACT.add(self.plus, amount)

    def include(self, other: "Sums") -> None:
        """Counts all that another one counted."""
        self.records += other.records
        self.amount = _EXACT.add(self.amount, other.amount)
        self.debit = _EXACT.add(self.debit, other.debit)
        self.credit = _EXACT.add(self.credit, other.credit)
        self.plus = _EXACT.add(self.plus, other.plus)
        self.minus = _EXACT.add(self.minus, other.minus)

    def opposite(self) -> "Sums":
        """Gives the same sums with the other sign."""
        sums = (self.amount, self.debit, self.credit, self.plus, self.minus)
        return Sums(-self.records, *(each.copy_negate() if each else _ZERO for each in sums))


def numbered(segment: Segment, line: int) -> Iterator[tuple[int, Record]]:
    """Yields a segment's records, each with its line; ``line`` is the one the segment begins in."""
    first, step = record_lines(segment.raw, len(segment.records), line)
    for index, record in enumerate(segment.records):
        yield first + index * step, record
