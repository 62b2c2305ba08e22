"""beancount files (versions 2 and 3): each directive is a segment, with its lines below it.

The records of a transaction are its postings. ``id:`` metadata identifies a directive; without it
its words do, however they are aligned. Nothing is evaluated but the sums in amounts, and what the
one posting without an amount must hold; included files are not looked at.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from p2psync.core.records import Problem, Segment
from p2psync.formats import journal
from p2psync.formats.base import Format, has_suffix
from p2psync.formats.blocks import BlockFormat, Facts, content_digest, read_day
from p2psync.formats.cresus_header import UTF8_BOM
from p2psync.formats.expressions import Weight, evaluate, missing, product, signed
from p2psync.formats.journal import squeezed
from p2psync.formats.journal_posting import Head, Posting, record_of
from p2psync.formats.values import clean

_SUFFIXES = (".beancount", ".bean")
_COMMENTS = b";*#"
_DAY = rb"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_KINDS = rb"open|close|commodity|balance|pad|note|document|price|event|query|custom"
_RECOGNISED = re.compile(
    rb"""^(?: %b [ \t]+
        (?: (?:open|close|balance|pad|note|document) [ \t]+ [A-Z][A-Za-z0-9-]*:
          | (?:price|commodity) [ \t]+ [A-Z][A-Z0-9'._-]*[ \t\r\n]
          | (?:event|query|custom) [ \t]+ "
          | (?:txn|[*!]) [ \t]+ " )
        | option [ \t]+ "[^"\n]*" [ \t]+ " | plugin [ \t]+ "beancount )"""
    % _DAY,
    re.MULTILINE | re.VERBOSE,
)
_DATED = re.compile(rb"%b[ \t]" % _DAY)
_SPEAKING = re.compile(rb"%b[ \t]|(?:option|plugin|include|pushmeta|popmeta)[ \t]" % _DAY)
"""Lines that may hold a text in quotes; others are no beancount, or comments."""
_SPEAKING_BELOW = re.compile(rb"[ \t]+[a-z][A-Za-z0-9_-]*:[ \t]*\"")
"""The same among the lines below."""
_DIRECTIVE = re.compile(rb"(%b)[ \t]+(%b)[ \t\r\n]" % (_DAY, _KINDS))
_QUOTES = re.compile(rb'\\.|"|;', re.DOTALL)
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*+)"?', re.DOTALL)
_HEAD = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})[ \t]+(txn|[*!&#?%PSTCURM])(?=[ \t\r\n\"]|$)",
    re.ASCII,
)
_METADATA = re.compile(r"([a-z][A-Za-z0-9_-]*):(?:[ \t]+(.*))?$", re.ASCII | re.DOTALL)
_POSTING = re.compile(
    r"(?:[*!&#?%PSTCURM][ \t]+)?([^\W\d_][\w-]*(?::[\w-]+)+)(?:[ \t]+(.*))?$", re.DOTALL
)
_CURRENCY = r"[A-Z][A-Z0-9'._/-]*"
_AMOUNT = re.compile(
    rf"""
      (?P<units> [-+*/().,0-9\ ]*? ) [ ]? (?P<currency> {_CURRENCY} )? [ ]?
      (?: (?P<cost> \{{\{{?+ [^{{}}]*+ \}}\}}? ) [ ]? )?
      (?: (?P<at> @@?+ ) [ ]? (?P<price> [-+*/().,0-9\ ]*? ) [ ]?
          (?P<in> {_CURRENCY} )? )?
    """,
    re.VERBOSE | re.ASCII,
)
_COST = re.compile(rf"([-+*/().,0-9 #]+?) ?({_CURRENCY})", re.ASCII)
_AMOUNT_CHARS_MAX = 400
_MARKS = re.compile(r"(?:^|(?<=[ \t]))([#^])([A-Za-z0-9_/.-]+)", re.ASCII)


def _recognises(name: str, head: bytes) -> bool:
    if b"\0" in head or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return False
    return has_suffix(name, _SUFFIXES) or _RECOGNISED.search(head) is not None


# -- cutting ---------------------------------------------------------------------------------------


def _stays_open(line: bytes, before: bytes) -> bytes:
    """Tells whether a text in quotes goes on in the next line."""
    if not before and (b'"' not in line or not _speaks(line)):
        return b""
    inside = bool(before)
    for mark in _QUOTES.finditer(line):
        if mark[0] == b'"':
            inside = not inside
        elif mark[0] == b";" and not inside:
            break
    return b'"' if inside else b""


def _speaks(line: bytes) -> bool:
    return (_SPEAKING_BELOW if line[:1] in b" \t" else _SPEAKING).match(line) is not None


def _is_dated(line: bytes) -> bool:
    return _DATED.match(line) is not None


def _split(blocks: Iterable[bytes]) -> Iterator[bytes]:
    return journal.split_journal(blocks, _COMMENTS, _stays_open, _is_dated)


# -- reading ---------------------------------------------------------------------------------------


def _read(raw: bytes) -> Segment:
    other = journal.read_other(raw)
    if other is not None:
        return other
    lines, is_open = journal.whole_lines(raw, _stays_open)
    number, first = lines[0]
    body = lines[1:]
    if first[:1] in b" \t":
        return journal.without_records(b"p2psync-bean", raw, journal.stray(number))
    problem = None
    if is_open:
        template = "a text that starts here has no end"
        problem = Problem(journal.OPEN_PROBLEM, template, lines[-1][0])
    head = _HEAD.match(first.decode("utf-8", "replace"))
    identity = _identity(body)
    if head is not None:
        return _read_transaction(raw, number, head, body, identity, problem)
    if problem is None and _is_dated(first) and not _DIRECTIVE.match(first):
        problem = Problem("unknown-directive", "the directive is not known", number)
    return journal.without_records(b"p2psync-bean", raw, problem, identity)


def _identity(body: Sequence[tuple[int, bytes]]) -> bytes | None:
    """Gives the ``id:`` of a directive, not of a posting."""
    for _, line in body:
        stripped = line.strip()
        if stripped.startswith(b"id:"):
            value = squeezed(stripped[3:]).strip(b'"')
            return content_digest(b"p2psync-bean-id", (value,)) if value.strip(b"0 ") else None
        if not stripped.startswith((b";", b"#", b"^")) and not stripped[:1].islower():
            break
    return None


class _Body(NamedTuple):
    """What stands below the first line of a transaction."""

    postings: list[Posting]
    links: list[str]
    reference: str
    unreadable: int
    """The line that is neither posting nor metadata nor comment; 0 for none."""


def _read_body(body: Sequence[tuple[int, bytes]]) -> _Body:
    postings: list[Posting] = []
    links: list[str] = []
    reference = ""
    unreadable = 0
    for number, raw in body:
        line = raw.decode("utf-8", "replace").strip()
        if line.startswith(";") or raw[:1] in _COMMENTS:
            continue
        if (metadata := _METADATA.match(line)) is not None:
            if metadata[1] == "id" and not postings:
                reference = clean((metadata[2] or "").strip().strip('"'))
        elif (posting := _POSTING.match(line)) is not None:
            postings.append(_posting(posting, number))
        elif line[0] in "#^":
            links += [name for mark, name in _MARKS.findall(line) if mark == "^"]
        else:
            unreadable = unreadable or number
    return _Body(postings, links, reference, unreadable)


def _without_comment(text: str) -> str:
    """Takes a comment off an amount; amounts hold texts in quotes in their costs alone."""
    if ";" in text:
        inside = False
        for place, char in enumerate(text):
            if char == '"':
                inside = not inside
            elif char == ";" and not inside:
                text = text[:place]
                break
    return " ".join(text.split())


def _posting(match: re.Match[str], number: int) -> Posting:
    account, rest = match[1], _without_comment(match[2] or "")
    if not rest:
        return Posting(account, number, left_out=True)
    found = _AMOUNT.fullmatch(rest) if len(rest) <= _AMOUNT_CHARS_MAX else None
    if found is None:
        return Posting(account, number, said=rest, wrong=True)
    units_text = found["units"].strip()
    units = evaluate(units_text) if units_text else None
    currency = found["currency"] or ""
    if units is None or not currency:
        # A number or a currency alone is worked out by beancount, from all that there is.
        wrong = bool(units_text) and units is None
        return Posting(account, number, said=rest, left_out=not wrong, wrong=wrong)
    weight: Weight | None = Weight(units, currency)
    rate = ""
    if found["cost"] is not None:
        weight, rate = _at_cost(units, found["cost"])
    elif found["at"] is not None:
        price = evaluate(found["price"])
        if price is None or not found["in"]:
            weight = None
        elif found["at"] == "@@":
            weight = Weight(signed(price, units), found["in"])
        else:
            weight, rate = Weight(product(units, price), found["in"]), f"{price:f}"
    elsewhere = found["cost"] is not None or found["at"] is not None
    unit = f"{units:f} {currency}" if elsewhere else ""
    return Posting(account, number, rest, weight, Weight(units, currency), unit, rate)


def _at_cost(units: Decimal, cost: str) -> tuple[Weight | None, str]:
    """Works out ``{10.00 USD}``, ``{{1000.00 USD}}`` and ``{10.00 # 5.00 USD}``."""
    inner = cost.strip("{}").split(",")
    parts = [match for part in _cost_parts(inner) if (match := _COST.fullmatch(part))]
    if len(parts) != 1:
        return None, ""
    each_text, _, total_text = parts[0][1].partition("#")
    each = evaluate(each_text) if each_text.strip() else Decimal(0)
    total = evaluate(total_text) if total_text.strip() else Decimal(0)
    if each is None or total is None:
        return None, ""
    if cost.startswith("{{"):
        return Weight(signed(each, units), parts[0][2]), ""
    amount = product(units, each)
    if total:
        return Weight(amount + signed(total, units), parts[0][2]), ""
    return Weight(amount, parts[0][2]), f"{each:f}"


def _cost_parts(parts: Sequence[str]) -> Iterator[str]:
    """Yields the parts of a cost; a comma may part thousands, too."""
    whole = ",".join(parts).strip()
    if _COST.fullmatch(whole):
        yield whole
        return
    for part in parts:
        yield part.strip()


def _read_transaction(
    raw: bytes,
    number: int,
    match: re.Match[str],
    body: Sequence[tuple[int, bytes]],
    identity: bytes | None,
    problem: Problem | None,
) -> Segment:
    text = match.string
    date = read_day(match[1], match[2], match[3])
    if date is None and problem is None:
        value = {"value": clean(text[: match.end(3)])}
        problem = Problem("date", "{value!r} is no date", number, value)
    said = [_unescaped(each) for each in _QUOTED.findall(text, match.end())][:2]
    bare = _QUOTED.sub(" ", text[match.end() :]).partition(";")[0]
    links = [name for mark, name in _MARKS.findall(bare) if mark == "^"]
    found = _read_body(body)
    links += found.links
    postings = found.postings
    weight = missing([each.weight for each in postings], [each.left_out for each in postings])
    postings = [
        each._replace(weight=weight, units=weight) if each.left_out else each for each in postings
    ]
    head = Head(
        date,
        clean(" ".join(links)),
        _one_line(said[-1]) if said else "",
        _one_line(said[0]) if len(said) == 2 else "",
        found.reference,
    )
    if problem is None:
        problem = _wrong(postings, found.unreadable) or journal.too_many(len(postings), number)
    day = b"" if date is None else date.isoformat().encode()
    money = [day, " ".join(links).encode("utf-8", "replace"), *[each.money for each in postings]]
    records = [
        record_of(b"p2psync-bean-p", head, each, each.weight or each.units) for each in postings
    ]
    return Segment(
        raw,
        content_digest(b"p2psync-bean", (squeezed(raw),)),
        content_digest(b"p2psync-bean-mon", money),
        tuple(records),
        problem,
        identity,
    )


def _wrong(postings: Sequence[Posting], unreadable: int) -> Problem | None:
    if unreadable:
        return Problem("unreadable-line", "the line is no posting", unreadable)
    for posting in postings:
        if posting.wrong:
            value = {"value": clean(posting.said)}
            return Problem("amount", "{value!r} is no amount", posting.line, value)
        if posting.left_out and posting.weight is None:
            template = "the amount of {account} cannot be worked out from this transaction alone"
            account = {"account": clean(posting.account)}
            return Problem("open-amount", template, posting.line, account)
    return None


def _one_line(text: str) -> str:
    return clean(" ".join(text.split()))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if "\\" in text else text


# -- the file --------------------------------------------------------------------------------------


def _facts(segments: Sequence[Segment]) -> Facts:
    directives = transactions = 0
    for segment in segments:
        head = segment.raw.lstrip()
        if not head or head[:1] == b";" or segment.raw == UTF8_BOM:
            continue
        directives += 1
        if _DATED.match(head):
            transactions += _HEAD.match(head[:40].decode("latin-1")) is not None
    return Facts((("directives", directives), ("transactions", transactions)))


FORMATS: tuple[Format, ...] = (
    BlockFormat(
        "beancount",
        "beancount",
        _SUFFIXES,
        _recognises,
        _split,
        _read,
        _facts,
        journal.UNMERGEABLE,
    ),
)
