"""Bank statements of ISO 20022: camt.052 (account report), camt.053 (statement), camt.054 (notice).

A segment is an entry, ``Ntry``; its records are its transactions, ``TxDtls``, or the entry itself
where it lists none. An entry above ``SEGMENT_BYTES_MAX`` is cut into its transactions, which then
stand without the entry's date. What stands before, between and behind the entries of a statement
holds no records and keeps its place whatever balances and times say.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Format, Merge, bounded, whole_segment
from p2psync.formats.camt_entry import read_entry, read_transaction
from p2psync.formats.iso20022 import (
    UNREADABLE,
    Node,
    counts_of,
    damage,
    frame,
    interrupted,
    money_at,
    placed,
    plain,
    read_nodes,
    repeated,
    too_large,
    unreadable,
)
from p2psync.formats.markup import Cut, Rules, cut, tags
from p2psync.limits import RECORD_FILE_BYTES_MAX, SEGMENT_BYTES_MAX

_RULES = Rules(
    frozenset((b"ntry",)), frozenset((b"txdtls",)), frozenset((b"stmt", b"rpt", b"ntfctn"))
)
_MESSAGE = re.compile(rb"<(?:[^\s<>/:]+:)?BkToCstmr(?:Stmt|AcctRpt|DbtCdtNtfctn)[\s/>]")
_STATEMENTS = ("BkToCstmrStmt/Stmt", "BkToCstmrAcctRpt/Rpt", "BkToCstmrDbtCdtNtfctn/Ntfctn")


@dataclass(frozen=True, slots=True)
class CamtFormat:
    """Goes by the message's name, whatever its version and prefix and the file's name."""

    name: str = "camt"
    title: str = "Bank statement, ISO 20022 camt"
    suffixes: tuple[str, ...] = (".xml",)
    merge: Merge = "records"
    identifies: bool = True

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the element of the message, ``BkToCstmrStmt`` and the like."""
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            head = head.replace(b"\0", b"")
        # The word first: every file that is attached comes by here.
        return b"BkToCstmr" in head and _MESSAGE.search(head) is not None

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        if len(data) > RECORD_FILE_BYTES_MAX:
            return Document(self.name, (whole_segment(data),), False, (too_large(),))
        cuts = list(cut([data], _RULES))
        segments = tuple(map(_read, cuts))
        problems = [each for each in (damage(data), repeated(segments)) if each is not None]
        problems += _several(cuts)
        between = None if problems else interrupted(segments)
        if between is not None:
            problems.append(between)
        found = placed(segments)
        mergeable = not problems and all(each.code != UNREADABLE for each in found)
        problems += found
        if not problems:
            problems += _balance(segments)
        counts = counts_of(segments, ("Ntry", "TxDtls"))
        return Document(self.name, segments, mergeable, bounded(problems), counts=counts)

    def read_segment(self, raw: bytes) -> Segment:
        """Reads an entry, a transaction of a large one, or what stands around them."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return whole_segment(raw)
        return _read_alone(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields an entry at a time."""
        return map(_read, cut(blocks, _RULES))


FORMATS: tuple[Format, ...] = (CamtFormat(),)


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
    head = read_nodes(raw, whole=False)
    account = "" if head is None else _account(head)
    return frame(b"p2psync-camt", raw, [account])


def _read_piece(raw: bytes, name: bytes) -> Segment:
    node = read_nodes(raw)
    if node is None:
        return unreadable(raw)
    if name == b"ntry":
        return read_entry(raw, node)
    return read_transaction(raw, node)


# -- the file as a whole --------------------------------------------------------------------------


def _several(cuts: Sequence[Cut]) -> list[Problem]:
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


def _account(message: Node) -> str:
    """The account of the last statement that begins in a head."""
    found = ""
    for path in _STATEMENTS:
        for statement in message.all(path):
            found = statement.get("Acct/Id/IBAN", "Acct/Id/Othr/Id") or found
    return found


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
