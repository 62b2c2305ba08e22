"""Bank statements of ISO 20022: camt.052 (account report), camt.053 (statement), camt.054 (notice).

A segment is an entry, ``Ntry``; its records are its transactions, ``TxDtls``, or the entry itself
where it lists none. An entry above ``SEGMENT_BYTES_MAX`` is cut into its transactions, which then
stand without the entry's date. What stands before, between and behind the entries of a statement
holds no records and keeps its place whatever balances and times say.
"""

from collections.abc import Sequence

from p2psync.core.records import Problem, Segment
from p2psync.formats.base import Format
from p2psync.formats.camt_entry import read_entry, read_transaction
from p2psync.formats.iso20022 import Node, money_at, plain, read_nodes
from p2psync.formats.markup import Cut, Rules, tags
from p2psync.formats.message import MessageFormat

_RULES = Rules(
    frozenset((b"ntry",)), frozenset((b"txdtls",)), frozenset((b"stmt", b"rpt", b"ntfctn"))
)
_STATEMENTS = ("BkToCstmrStmt/Stmt", "BkToCstmrAcctRpt/Rpt", "BkToCstmrDbtCdtNtfctn/Ntfctn")


def _read(raw: bytes, name: bytes, node: Node) -> Segment:
    return read_entry(raw, node) if name == b"ntry" else read_transaction(raw, node)


def _marks(message: Node) -> list[str]:
    """The account of the last statement that begins in a head."""
    found = ""
    for path in _STATEMENTS:
        for statement in message.all(path):
            found = statement.get("Acct/Id/IBAN", "Acct/Id/Othr/Id") or found
    return [found]


def _unmergeable(cuts: Sequence[Cut]) -> list[Problem]:
    """Finds what is sound and must not be merged: the order of its parts says what they mean."""
    problems: list[Problem] = []
    statements = sum(
        closing and name.rpartition(b":")[2].lower() in _RULES.lists
        for each in cuts
        if not (each.whole or each.broken)
        for closing, name in tags(each.raw)
    )
    if statements > 1:
        template = "the file holds {count} statements; two versions of it are not merged"
        problems.append(Problem("several-statements", template, 0, {"count": str(statements)}))
    if any(each.whole and each.name in _RULES.parts for each in cuts):
        template = "an entry is too large to be one; two versions of the file are not merged"
        problems.append(Problem("entry-too-large", template))
    return problems


def _balance(segments: Sequence[Segment]) -> list[Problem]:
    """Holds the entries of a statement against its opening and closing balance."""
    head = read_nodes(segments[0].raw, whole=False)
    opening = closing = None
    for balance in head.all("BkToCstmrStmt/Stmt/Bal") if head is not None else ():
        for amount, _ in money_at(balance, "Amt"):
            signed = -amount if balance.get("CdtDbtInd") == "DBIT" else amount
            match balance.get("Tp/CdOrPrtry/Cd"):
                case "OPBD" | "PRCD":
                    opening = signed
                case "CLBD":
                    closing = signed
    if opening is None or closing is None:
        return []
    booked = [
        record.amount
        for segment in segments
        for record in segment.records
        if record.amount is not None and record.fields["status"] in ("BOOK", "")
    ]
    difference = closing - opening - sum(booked)
    if not difference:
        return []
    template = "the entries and the opening balance miss the closing balance by {amount}"
    return [Problem("balance", template, 0, {"amount": plain(difference)})]


FORMATS: tuple[Format, ...] = (
    MessageFormat(
        "camt",
        "Bank statement, ISO 20022 camt",
        (b"BkToCstmrStmt", b"BkToCstmrAcctRpt", b"BkToCstmrDbtCdtNtfctn"),
        _RULES,
        ("Ntry", "TxDtls"),
        _read,
        _marks,
        _unmergeable,
        _balance,
    ),
)
