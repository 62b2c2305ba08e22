"""Payment orders of ISO 20022: pain.001 (credit transfers) and pain.008 (direct debits).

A segment is a batch, ``PmtInf``: it alone says when its transactions are to be carried out and from
which account. Its records are its transactions. A batch above ``SEGMENT_BYTES_MAX`` is cut into its
transactions, which then stand without the batch's date. An order is never merged: see
docs/formats.md.
"""

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.base import Format
from p2psync.formats.iso20022 import NOT_PROVIDED, Node, money_at, plain, read_day, read_nodes
from p2psync.formats.markup import Rules
from p2psync.formats.message import MessageFormat
from p2psync.formats.values import digest, read_amount
from p2psync.limits import RECORD_TEXT_CHARS_MAX

_TRANSACTIONS = ("CdtTrfTxInf", "DrctDbtTxInf")
_RULES = Rules(
    frozenset((b"pmtinf",)),
    frozenset((b"cdttrftxinf", b"drctdbttxinf")),
    frozenset((b"cstmrcdttrfinitn", b"cstmrdrctdbtinitn")),
)
_HEADS = ("CstmrCdtTrfInitn/GrpHdr", "CstmrDrctDbtInitn/GrpHdr")
_NOTHING = Node("", {})


def _read(raw: bytes, name: bytes, node: Node) -> Segment:
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


FORMATS: tuple[Format, ...] = (
    MessageFormat(
        "pain",
        "Payment order, ISO 20022 pain",
        (b"CstmrCdtTrfInitn", b"CstmrDrctDbtInitn"),
        _RULES,
        (),
        _read,
        lambda _message: (),
        None,
        _totals,
        ("PmtInf", *_TRANSACTIONS),
    ),
)
