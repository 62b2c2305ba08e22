"""Postings of plain text journals, as records."""

import datetime
from typing import NamedTuple

from p2psync.core.records import Record
from p2psync.formats.blocks import NamedFields, content_digest, plain, sides
from p2psync.formats.expressions import Weight
from p2psync.formats.journal import squeezed
from p2psync.formats.values import clean

_NAMES = (
    "date",
    "debit",
    "credit",
    "voucher",
    "text",
    "amount",
    "currency",
    "currency_amount",
    "rate",
    "account",
    "counterparty",
    "reference",
)


class Head(NamedTuple):
    """What a transaction says of all its postings, for people."""

    date: datetime.date | None
    voucher: str
    text: str
    counterparty: str
    reference: str


class Posting(NamedTuple):
    """One line of a transaction.

    ``weight`` is what it counts for, ``units`` what it says itself; ``said`` are its words behind
    the account. ``left_out`` marks one that leaves its amount to the others.
    """

    account: str
    line: int
    said: str = ""
    weight: Weight | None = None
    units: Weight | None = None
    unit: str = ""
    rate: str = ""
    left_out: bool = False
    wrong: bool = False

    @property
    def money(self) -> bytes:
        """The bytes of account and amount."""
        said = f"{self.account} {self.said}".encode("utf-8", "surrogateescape")
        return squeezed(said)


def record_of(person: bytes, head: Head, posting: Posting, weight: Weight | None) -> Record:
    """Gives the record of a posting that counts for ``weight``."""
    amount = None if weight is None else weight.amount
    debit, credit, positive = sides(clean(posting.account), amount)
    day = "" if head.date is None else head.date.isoformat()
    text = clean(f"{head.counterparty} {head.text}")
    label = clean(" ".join([each for each in (f"{debit}/{credit}", head.voucher, text) if each]))
    values = (
        day,
        debit,
        credit,
        head.voucher,
        text,
        plain(positive),
        "" if weight is None else clean(weight.currency),
        clean(posting.unit),
        posting.rate,
        clean(posting.account),
        head.counterparty,
        head.reference,
    )
    # What a line that leaves its amount out counts for is part of what it says.
    counted = plain(amount).encode()
    money = (day.encode(), head.voucher.encode(), posting.money, counted)
    words = (head.counterparty.encode(), head.text.encode(), head.reference.encode())
    return Record(
        content_digest(person, (*money, *words)),
        content_digest(person + b"m", money),
        label,
        head.date,
        positive,
        NamedFields(_NAMES, values),
    )
