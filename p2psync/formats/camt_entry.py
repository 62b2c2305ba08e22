"""An entry of a bank statement (camt) and the transactions that it lists, as records."""

import datetime
from collections.abc import Sequence
from decimal import Decimal

from p2psync.core.records import Problem, Record, Segment
from p2psync.formats.iso20022 import NOT_PROVIDED, Node, day_at, money_at, plain, read_day
from p2psync.formats.values import clean, digest
from p2psync.limits import RECORD_TEXT_CHARS_MAX

_REFERENCES = ("EndToEndId", "TxId", "InstrId", "PmtInfId", "MsgId", "MndtId", "ChqNb")
_OWN_AMOUNTS = ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/CntrValAmt/Amt", "AmtDtls/InstdAmt/Amt")
_NOTHING = Node("", {})


def read_entry(raw: bytes, entry: Node) -> Segment:
    """Reads an ``Ntry``; one that lists no transactions is itself the record."""
    transactions = entry.all("NtryDtls/TxDtls")
    money = money_at(entry, "Amt")
    total, currency = money[0] if money else (None, "")
    signed = _signed(total, entry.get("CdtDbtInd"))
    fits = True
    if len(transactions) > 1:
        amounts, fits = _shares(entry, transactions, signed, currency)
    else:
        transactions = transactions or [_NOTHING]
        amounts = [signed]
    records = [
        _record(entry, transaction, amount, currency)
        for transaction, amount in zip(transactions, amounts, strict=True)
    ]
    problem = _lacking(records)
    if problem is None and not fits:
        template = "the transactions do not add up to the entry's {amount} {currency}"
        said = {"amount": plain(signed), "currency": currency}
        problem = Problem("entry-sum", template, 1, said)
    return Segment(
        raw,
        digest(b"p2psync-entry", b"".join([record.key for record in records])),
        digest(b"p2psync-entry-mo", b"".join([record.money_key for record in records])),
        tuple(records),
        problem,
        _identity(entry),
    )


def read_transaction(raw: bytes, transaction: Node) -> Segment:
    """Reads a ``TxDtls`` that stands apart from its entry, which is too large."""
    record = _record(_NOTHING, transaction, _own_amount(transaction, "", ""), "")
    return Segment(raw, record.key, record.money_key, (record,), _lacking([record]))


def _identity(entry: Node) -> bytes | None:
    """Goes by the bank's reference; some banks give a booking and its reversal the same."""
    reference = entry.get("AcctSvcrRef")
    if reference.upper() in NOT_PROVIDED or not reference.strip("0"):
        return None
    said = (reference, entry.get("CdtDbtInd"), entry.get("RvslInd").replace("false", ""))
    return digest(b"p2psync-camt-ref", "\0".join(said).encode())


def _shares(
    entry: Node, transactions: Sequence[Node], total: Decimal | None, currency: str
) -> tuple[list[Decimal | None], bool]:
    """Gives the signed amounts of an entry's transactions, and whether they add up to its own.

    Some banks sign each transaction by its own indicator, some write any there and mean the
    entry's: what adds up counts.
    """
    indicator = entry.get("CdtDbtInd")
    own = [_own_amount(each, currency, indicator) for each in transactions]
    amounts = [amount for amount in own if amount is not None]
    if total is None or len(amounts) < len(own) or sum(amounts) == total:
        return own, True
    alike = [_signed(abs(amount), indicator) for amount in amounts]
    if sum(filter(None, alike)) == total:
        return alike, True
    return own, False


def _own_amount(transaction: Node, currency: str, indicator: str) -> Decimal | None:
    for amount, said in money_at(transaction, *_OWN_AMOUNTS):
        if not currency or said == currency:
            return _signed(amount, transaction.get("CdtDbtInd") or indicator)
    return None


def _signed(amount: Decimal | None, indicator: str) -> Decimal | None:
    return -amount if amount is not None and indicator == "DBIT" else amount


def _lacking(records: Sequence[Record]) -> Problem | None:
    if any(record.amount is None for record in records):
        return Problem("amount", "a transaction without an amount that can be read", 1)
    if any(record.date is None for record in records):
        return Problem("date", "a transaction without a date that can be read", 1)
    return None


def _record(entry: Node, transaction: Node, amount: Decimal | None, currency: str) -> Record:
    """Reads a transaction of an entry; one of the two may be empty."""
    date = day_at(entry, "BookgDt") or _own_day(transaction)
    value_date = day_at(entry, "ValDt")
    side = "Cdtr" if amount is not None and amount < 0 else "Dbtr"
    counterparty = transaction.get(
        f"RltdPties/{side}/Nm",
        f"RltdPties/{side}/Pty/Nm",
        f"RltdPties/Ultmt{side}/Nm",
        f"RltdPties/Ultmt{side}/Pty/Nm",
    )
    iban = transaction.get(f"RltdPties/{side}Acct/Id/IBAN", f"RltdPties/{side}Acct/Id/Othr/Id")
    references = [transaction.get(f"Refs/{name}") for name in _REFERENCES]
    references = [each for each in references if each.upper() not in NOT_PROVIDED]
    creditor = transaction.get("RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/CdtrRefInf/CdtrRef")
    bank = entry.get("AcctSvcrRef")
    own = transaction.get("Refs/AcctSvcrRef")
    said = currency or next((each for _, each in money_at(transaction, *_OWN_AMOUNTS)), "")
    fields = {
        "date": "" if date is None else date.isoformat(),
        "value_date": "" if value_date is None else value_date.isoformat(),
        "amount": plain(amount),
        "currency": said,
        "currency_amount": _foreign(entry, transaction, said),
        "voucher": own or bank,
        "reference": creditor or next(iter(references), ""),
        "counterparty": counterparty,
        "iban": iban,
    }
    money = [*fields.values(), bank, entry.get("NtryRef"), creditor, *references]
    money.remove(counterparty)
    text = _text(entry, transaction, counterparty)
    fields["text"] = text
    fields["status"] = entry.get("Sts", "Sts/Cd")
    money_key = digest(b"p2psync-camt-mo", "\0".join(money).encode())
    key = digest(b"p2psync-camt-tx", money_key + text.encode())
    return Record(key, money_key, text or own or bank, date, amount, fields)


def _text(entry: Node, transaction: Node, counterparty: str) -> str:
    """Gives what people read: who, and what for."""
    said = (
        transaction.texts("RmtInf/Ustrd"),
        transaction.get("AddtlTxInf"),
        entry.get("AddtlNtryInf"),
    )
    remittance = " ".join(dict.fromkeys(filter(None, said)))
    return ": ".join(filter(None, (counterparty, remittance)))[:RECORD_TEXT_CHARS_MAX].strip()


def _own_day(transaction: Node) -> datetime.date | None:
    """The date of a transaction that stands without its entry."""
    names = ("IntrBkSttlmDt", "TxDtTm", "AccptncDtTm")
    return read_day(transaction.get(*[f"RltdDts/{name}" for name in names]))


def _foreign(entry: Node, transaction: Node, currency: str) -> str:
    """The amount in another currency, ``12.50 USD``, where there is one."""
    paths = ("Amt", "AmtDtls/InstdAmt/Amt", "AmtDtls/TxAmt/Amt")
    for amount, said in (*money_at(transaction, *paths), *money_at(entry, *paths[1:])):
        if said != currency:
            return clean(f"{plain(amount)} {said}")
    return ""
