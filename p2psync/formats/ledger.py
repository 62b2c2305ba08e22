"""Journals of ledger and hledger: each transaction is a segment, and each directive.

The records of a transaction are its postings. A ``UUID`` tag identifies it, or its code together
with its date, if there is a number in it (every withdrawal is ``(ATM)`` to some); without them its
words do, however they are aligned. Automated (``=``) and periodic (``~``) transactions are rules,
no records; so is what stands in ``comment`` and ``test`` blocks.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from p2psync.core.records import Problem, Segment
from p2psync.formats import journal
from p2psync.formats.base import Format, has_suffix
from p2psync.formats.blocks import BlockFormat, Facts, content_digest, read_day
from p2psync.formats.expressions import missing
from p2psync.formats.journal import squeezed
from p2psync.formats.journal_posting import Head, Posting, record_of
from p2psync.formats.ledger_amount import read_posting_amount
from p2psync.formats.values import clean

_SUFFIXES = (".ledger", ".dat", ".journal", ".hledger", ".j")
_ANY_SUFFIXES = (".ledger", ".journal", ".hledger", ".j")
"""Taken for journals whatever they hold; ``.dat`` is what many programs call their files."""
_COMMENTS = b";#%|*"
_DAY = r"(?:([0-9]{4})[-/.])?([0-9]{1,2})[-/.]([0-9]{1,2})"
_DATED = re.compile(rb"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[=\s]|$)")
_HEAD = re.compile(
    rf"{_DAY}(?:=([0-9][0-9/.-]*))?(?=[ \t\r\n;]|$)[ \t]*([*!])?[ \t]*(?:\(([^)\r\n]*)\))?",
    re.ASCII,
)
_NOTE = re.compile(r"(?:^|[ \t]);")
_UUID = re.compile(rb"\bUUID:[ \t]*([^\s,;][^\r\n,;]*)", re.IGNORECASE)
_NUMBERED = re.compile(r"[1-9]")
_OPENS = (b"comment", b"test")
_HEAD_CHARS = 1_000
"""Lines at the start of a journal are no longer."""
_GAP = re.compile(r" {2}|\t")


def _recognises(name: str, head: bytes) -> bool:
    if b"\0" in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    return has_suffix(name, _ANY_SUFFIXES) or _looks_like_one(head)


def _looks_like_one(head: bytes) -> bool:
    """Says whether a line with a date is followed by one that is clearly a posting."""
    dated = False
    for line in head.split(b"\n"):
        if line[:1] not in (b" ", b"\t"):
            dated = len(line) <= _HEAD_CHARS and _DATED.match(line) is not None
        elif dated and len(line) <= _HEAD_CHARS:
            text = line.decode("utf-8", "replace").strip()
            if text[:1] in "(;[" or text[:1].isdigit():
                continue
            posting, _ = _posting(text, 1)
            if posting.units is not None:
                return True
    return False


# -- cutting ---------------------------------------------------------------------------------------


def _stays_open(line: bytes, before: bytes) -> bytes:
    """Tells whether a ``comment`` or ``test`` block goes on."""
    if line[:1] in b" \t" and not before:
        return b""
    words = line.split(None, 2)
    if before:
        ends = words[:1] == [b"end"] and words[1:] in ([], [before])
        return b"" if ends else before
    if words[0] in _OPENS and (len(words) == 1 or words[0] == b"test"):
        return words[0]
    return b""


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    return journal.split_journal(blocks, _COMMENTS, _stays_open, lambda _line: False)


# -- reading ---------------------------------------------------------------------------------------


def _read(raw: bytes) -> Segment:
    other = journal.read_other(raw)
    if other is not None:
        return other
    lines, is_open = journal.whole_lines(raw, _stays_open)
    number, first = lines[0]
    problem = None
    if first[:1] in b" \t":
        problem = journal.stray(number)
    elif first[:1].isdigit():
        match = _HEAD.match(first.decode("utf-8", "replace"))
        if match is not None:
            return _read_transaction(raw, number, match, lines[1:])
        problem = Problem("unreadable-line", "the line is no transaction", number)
    elif is_open:
        template = "the block that starts here has no end"
        problem = Problem(journal.OPEN_PROBLEM, template, number)
    return journal.without_records(b"p2psync-ledger", raw, problem)


def _read_transaction(
    raw: bytes, number: int, match: re.Match[str], body: Sequence[tuple[int, bytes]]
) -> Segment:
    date = read_day(match[1], match[2], match[3]) if match[1] else None
    code = clean(match[6] or "")
    party, _, note = _without_note(match.string[match.end() :]).partition("|")
    problem = None
    if date is None:
        value = {"value": clean(match.string[: match.end(3)])}
        problem = Problem("date", "{value!r} is no date", number, value)
    postings, wrong = _postings(body)
    uuid = _uuid(raw)
    day = b"" if date is None else date.isoformat().encode()
    identity = None
    if uuid.strip(b"0- "):
        identity = content_digest(b"p2psync-led-uuid", (uuid,))
    elif _NUMBERED.search(code) and date is not None:
        identity = content_digest(b"p2psync-led-code", (day, code.encode()))
    reference = clean(uuid.decode("utf-8", "replace"))
    head = Head(date, code, clean(note), clean(party), reference)
    records = [
        record_of(b"p2psync-ledg-po", head, each, each.weight or each.units) for each in postings
    ]
    money = (day, code.encode(), *[each.money for each in postings])
    key = content_digest(b"p2psync-ledger", (squeezed(raw),))
    # Two people may have given one code to two transactions: the words tell them apart.
    is_numbered = identity is not None and not uuid.strip(b"0- ")
    return Segment(
        raw,
        key,
        key if is_numbered else content_digest(b"p2psync-ledg-mon", money),
        tuple(records),
        problem or wrong or journal.too_many(len(postings), number),
        identity,
    )


def _uuid(raw: bytes) -> bytes:
    """Gives the value of a UUID tag, which stands in a comment."""
    match = _UUID.search(raw)
    if match is None or b";" not in raw[raw.rfind(b"\n", 0, match.start()) + 1 : match.start()]:
        return b""
    return match[1].strip()


def _postings(body: Iterable[tuple[int, bytes]]) -> tuple[list[Posting], Problem | None]:
    """Reads the lines below the first; gives the first thing that is wrong with them, too."""
    found: list[Posting] = []
    problem: Problem | None = None
    for number, raw in body:
        line = raw.decode("utf-8", "replace").strip()
        if line.startswith(";") or raw[:1] in _COMMENTS:
            continue
        if line[:1] in "*!":
            line = line[1:].strip()
        posting, assigned = _posting(line, number)
        found.append(posting)
        if posting.wrong and problem is None:
            value = {"value": clean(posting.said)}
            problem = Problem("amount", "{value!r} is no amount", number, value)
        if assigned and problem is None:
            problem = _open_amount(posting)
    # Postings in parentheses need not balance with the others.
    real = [each for each in found if not each.account.startswith("(")]
    weight = missing([each.weight for each in real], [each.left_out for each in real])
    for place, each in enumerate(found):
        if each.left_out and not each.account.startswith("("):
            found[place] = each._replace(weight=weight, units=weight)
            if weight is None and problem is None:
                problem = _open_amount(each)
    return found, problem


def _open_amount(posting: Posting) -> Problem:
    template = "the amount of {account} cannot be worked out from this transaction alone"
    return Problem("open-amount", template, posting.line, {"account": clean(posting.account)})


def _posting(line: str, number: int) -> tuple[Posting, bool]:
    """Reads a posting; says, too, whether its amount is what a balance asks for."""
    gap = _GAP.search(line)
    account = (line if gap is None else line[: gap.start()]).strip()
    said = "" if gap is None else line[gap.end() :].strip()
    said = said.partition(";")[0].strip()
    if not said:
        return Posting(account, number, left_out=True), False
    amount = read_posting_amount(said)
    if amount is None:
        return Posting(account, number, said, wrong=True), False
    if amount.units is None:
        return Posting(account, number, said, left_out=not amount.assigned), amount.assigned
    unit = ""
    if amount.weight != amount.units:
        unit = f"{amount.units.amount:f} {amount.units.currency}".strip()
    return Posting(account, number, said, amount.weight, amount.units, unit, amount.rate), False


def _without_note(text: str) -> str:
    """Takes the comment off a payee."""
    match = _NOTE.search(text)
    return (text if match is None else text[: match.start()]).strip()


# -- the file --------------------------------------------------------------------------------------


def _facts(segments: Sequence[Segment]) -> Facts:
    transactions = sum([_is_transaction(segment) for segment in segments])
    return Facts((("transactions", transactions),))


def _is_transaction(segment: Segment) -> bool:
    head = segment.raw.lstrip(b"\r\n \t")[:40]
    return head[:1].isdigit() and _HEAD.match(head.decode("latin-1")) is not None


FORMATS: tuple[Format, ...] = (
    BlockFormat(
        "ledger",
        "ledger or hledger journal",
        _SUFFIXES,
        _recognises,
        _split,
        _read,
        _facts,
        journal.UNMERGEABLE,
    ),
)
