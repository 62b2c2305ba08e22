"""Payment orders of ISO 20022: pain.001 (credit transfers) and pain.008 (direct debits).

A segment is a batch, ``PmtInf``: it alone says when its transactions are to be carried out and from
which account. Its records are its transactions. A batch above ``SEGMENT_BYTES_MAX`` is cut into its
transactions, which then stand without the batch's date. An order is never merged: see
docs/formats.md.
"""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from p2psync.core.records import Document, Problem, Record, Segment
from p2psync.formats.base import Format, Merge, bounded, whole_segment
from p2psync.formats.iso20022 import (
    NOT_PROVIDED,
    Node,
    counts_of,
    damage,
    frame,
    money_at,
    placed,
    plain,
    read_day,
    read_nodes,
    repeated,
    too_large,
    unreadable,
)
from p2psync.formats.markup import Cut, Rules, cut
from p2psync.formats.values import digest, read_amount
from p2psync.limits import RECORD_FILE_BYTES_MAX, RECORD_TEXT_CHARS_MAX, SEGMENT_BYTES_MAX

_TRANSACTIONS = ("CdtTrfTxInf", "DrctDbtTxInf")
_RULES = Rules(
    frozenset((b"pmtinf",)),
    frozenset((b"cdttrftxinf", b"drctdbttxinf")),
    frozenset((b"cstmrcdttrfinitn", b"cstmrdrctdbtinitn")),
)
_MESSAGE = re.compile(
    rb"<(?:[^\s<>/:]+:)?CstmrCdtTrfInitn[\s/>]|<(?:[^\s<>/:]+:)?CstmrDrctDbtInitn[\s/>]"
)
_HEADS = ("CstmrCdtTrfInitn/GrpHdr", "CstmrDrctDbtInitn/GrpHdr")
_NOTHING = Node("", {})


@dataclass(frozen=True, slots=True)
class PainFormat:
    """Goes by the message's name, whatever its version and prefix and the file's name."""

    name: str = "pain"
    title: str = "Payment order, ISO 20022 pain"
    suffixes: tuple[str, ...] = (".xml",)
    merge: Merge = "records"
    identifies: bool = True

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the element of the message, ``CstmrCdtTrfInitn`` or ``CstmrDrctDbtInitn``."""
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            head = head.replace(b"\0", b"")
        # The words first: every file that is attached comes by here.
        named = b"CstmrCdtTrfInitn" in head or b"CstmrDrctDbtInitn" in head
        return named and _MESSAGE.search(head) is not None

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        if len(data) > RECORD_FILE_BYTES_MAX:
            return Document(self.name, (whole_segment(data),), False, (too_large(),))
        segments = tuple(map(_read, cut([data], _RULES)))
        problems = [each for each in (damage(data), repeated(segments)) if each is not None]
        problems += placed(segments)
        if not problems:
            problems += _totals(segments)
        counts = counts_of(segments, ("PmtInf", *_TRANSACTIONS))
        return Document(
            self.name,
            segments,
            False,
            bounded(problems),
            counts=tuple(each for each in counts if each[1]),
        )

    def read_segment(self, raw: bytes) -> Segment:
        """Reads a batch, a transaction of a large one, or what stands around them."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return whole_segment(raw)
        return _read_alone(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields a batch at a time."""
        return map(_read, cut(blocks, _RULES))


FORMATS: tuple[Format, ...] = (PainFormat(),)


# -- segments -------------------------------------------------------------------------------------


def _read(each: Cut) -> Segment:
    return _read_piece(each.raw, each.name) if each.whole else _read_alone(each.raw)


def _read_alone(raw: bytes) -> Segment:
    """Reads a segment by its bytes alone."""
    cuts = list(cut([raw], _RULES))
    if len(cuts) != 1 or cuts[0].broken:
        return unreadable(raw)
    if cuts[0].whole:
        return _read_piece(raw, cuts[0].name)
    return frame(b"p2psync-pain", raw)


def _read_piece(raw: bytes, name: bytes) -> Segment:
    node = read_nodes(raw)
    if node is None:
        return unreadable(raw)
    if name != b"pmtinf":
        record = _record(_NOTHING, node)
        return Segment(raw, record.key, record.money_key, (record,), _lacking([record]))
    records = [_record(node, each) for each in node.children if each.name in _TRANSACTIONS]
    reference = node.get("PmtInfId")
    known = reference.upper() not in NOT_PROVIDED
    # Of a batch without transactions, and of others by the same name, nothing else tells which.
    key = digest(b"p2psync-batch", reference.encode() + b"".join([each.key for each in records]))
    money = b"".join([each.money_key for each in records])
    return Segment(
        raw,
        key,
        digest(b"p2psync-batch-mo", reference.encode() + money),
        tuple(records),
        _lacking(records) or _differs(node, len(records), _sum(records)),
        digest(b"p2psync-pain-ref", reference.encode()) if known else None,
    )


def _record(batch: Node, transaction: Node) -> Record:
    """Reads a transaction of a batch, which is empty for one that stands apart from it."""
    debit = transaction.name == "DrctDbtTxInf"
    side, own = ("Dbtr", "Cdtr") if debit else ("Cdtr", "Dbtr")
    money = money_at(transaction, "Amt/InstdAmt", "InstdAmt", "Amt/EqvtAmt/Amt")
    amount, currency = money[0] if money else (None, "")
    if amount is not None and not debit:
        amount = -amount
    date = _day(batch)
    counterparty = transaction.get(f"{side}/Nm")
    fields = {
        "date": "" if date is None else date.isoformat(),
        "amount": plain(amount),
        "currency": currency,
        "account": batch.get(f"{own}Acct/Id/IBAN", f"{own}Acct/Id/Othr/Id"),
        "iban": transaction.get(f"{side}Acct/Id/IBAN", f"{side}Acct/Id/Othr/Id"),
        "voucher": transaction.get("PmtId/EndToEndId"),
        "reference": transaction.get("RmtInf/Strd/CdtrRefInf/Ref"),
    }
    mandate = transaction.get("DrctDbtTx/MndtRltdInf/MndtId")
    money_key = digest(
        b"p2psync-pain-mo",
        "\0".join(
            [transaction.name, transaction.get("PmtId/InstrId"), mandate, *fields.values()]
        ).encode(),
    )
    said = (counterparty, transaction.texts("RmtInf/Ustrd"))
    text = ": ".join(filter(None, said))[:RECORD_TEXT_CHARS_MAX].strip()
    fields |= {"counterparty": counterparty, "text": text}
    key = digest(b"p2psync-pain-tx", money_key + text.encode())
    return Record(key, money_key, text or fields["voucher"], date, amount, fields)


def _day(batch: Node) -> datetime.date | None:
    return read_day(batch.get("ReqdExctnDt/Dt", "ReqdExctnDt/DtTm", "ReqdExctnDt", "ReqdColltnDt"))


def _lacking(records: Sequence[Record]) -> Problem | None:
    if any(record.amount is None for record in records):
        return Problem("amount", "a transaction without an amount that can be read", 1)
    if any(record.date is None for record in records):
        return Problem("date", "a transaction without a date that can be read", 1)
    return None


# -- control sums ---------------------------------------------------------------------------------


def _sum(records: Iterable[Record]) -> Decimal:
    return sum((abs(each.amount) for each in records if each.amount is not None), Decimal(0))


def _differs(said: Node, count: int, total: Decimal) -> Problem | None:
    """Holds transactions against the number and the sum that are written above them, if any."""
    number = said.get("NbOfTxs")
    if number and number != str(count):
        template = "{said} transactions are announced, and {found} are there"
        return Problem("control-sum", template, 1, {"said": number, "found": str(count)})
    control = said.get("CtrlSum")
    if control and read_amount(control) != total:
        template = "a control sum of {said} is announced, and the transactions add up to {found}"
        return Problem("control-sum", template, 1, {"said": control, "found": plain(total)})
    return None


def _totals(segments: Sequence[Segment]) -> list[Problem]:
    """Holds all transactions of an order against its header."""
    head = read_nodes(segments[0].raw, whole=False)
    records = [record for segment in segments for record in segment.records]
    for path in _HEADS if head is not None else ():
        for node in head.all(path) if head is not None else ():
            problem = _differs(node, len(records), _sum(records))
            if problem is not None:
                return [problem]
    return []
