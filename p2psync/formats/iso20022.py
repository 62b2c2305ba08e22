"""What the XML messages of ISO 20022 share: elements of one segment, amounts, dates, whole files.

Tags are read by their local name: banks put any prefix before them. A file with a DOCTYPE is never
given to the XML parser, so no entity is ever declared, replaced or fetched.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from xml.parsers import expat

from p2psync.core.records import Problem, Segment
from p2psync.formats.base import whole_segment
from p2psync.formats.markup import count_tags, tags
from p2psync.formats.values import clean, decode_cp1252, digest, read_amount
from p2psync.limits import XML_DEPTH_MAX

_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[TZ+-].*)?", re.ASCII | re.DOTALL)
_ENCODING = re.compile(
    rb"""(?:\xef\xbb\xbf)?<\?xml[^<>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']"""
)
_ENCODINGS = ("utf-8", "utf8", "us-ascii", "iso-8859-1", "latin1", "windows-1252", "cp1252")
_DECLARATION_BYTES_MAX = 256
UNREADABLE = "unreadable-element"
NOT_PROVIDED = frozenset(("", "NOTPROVIDED", "NONREF", "NOTAVAILABLE", "NOT PROVIDED"))
"""What banks write where there is no reference."""


@cache
def _names(path: str) -> list[str]:
    return path.split("/")


@dataclass(slots=True)
class Node:
    """An element: its local name, attributes, children and own text."""

    name: str
    attributes: dict[str, str]
    children: list["Node"] = field(default_factory=list)
    text: str = ""

    def all(self, path: str) -> list["Node"]:
        """Gives the descendants at a path of local names, ``A/B``, in order."""
        found = [self]
        for name in _names(path):
            found = [child for node in found for child in node.children if child.name == name]
            if not found:
                break
        return found

    def get(self, *paths: str) -> str:
        """Gives the text at the first path that has one, cleaned; empty where none has."""
        for path in paths:
            for node in self.all(path):
                text = clean(node.text)
                if text:
                    return text
        return ""

    def texts(self, path: str) -> str:
        """Gives all texts at a path, joined by blanks."""
        return " ".join(filter(None, [clean(node.text) for node in self.all(path)]))


class _TooDeep(Exception):
    """Elements are nested deeper than any message has them."""


def read_nodes(raw: bytes, *, whole: bool = True) -> Node | None:
    """Gives the element that a segment is; of a head that is not ``whole``, as far as it goes.

    ``None`` where that is not well-formed, or deeper than ``XML_DEPTH_MAX``.
    """
    top = Node("", {})
    stack = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > XML_DEPTH_MAX:
            raise _TooDeep
        node = Node(name.rpartition(":")[2], attributes)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].text += text

    try:
        parser = _parser("utf-8" if whole else None)
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = characters
        parser.buffer_text = True
        parser.Parse(decode(raw).encode() if whole else raw, whole)
    except (expat.ExpatError, _TooDeep, _Declared, ValueError, LookupError):
        if whole:  # of a head, what came before counts
            return None
    return top.children[0] if top.children else None


class _Declared(Exception):
    """There is a DOCTYPE, which no message has."""


def _refuse(*_said: object) -> None:
    raise _Declared


def _parser(encoding: str | None) -> expat.XMLParserType:
    parser = expat.ParserCreate(encoding)
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    return parser


def decode(raw: bytes) -> str:
    """Decodes one segment: UTF-8, and where that fails Windows-1252."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return decode_cp1252(raw)


def damage(data: bytes) -> Problem | None:
    """Says what is wrong with a file as XML, if anything is: such a file is never merged."""
    if not data.strip():
        return Problem("empty", "the file is empty")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:64]:
        return Problem("utf-16", "the file is UTF-16, which is not read")
    match = _ENCODING.match(data[:_DECLARATION_BYTES_MAX])
    encoding = match[1].decode("ascii").lower() if match else "utf-8"
    if encoding not in _ENCODINGS:
        said = {"encoding": encoding}
        return Problem("encoding", "the file is in {encoding}, which is not read", 1, said)
    parser = _parser(None)
    try:
        parser.Parse(data, True)
    except _Declared:
        line = min(parser.CurrentLineNumber, data.count(b"\n") + 1)
        return Problem("doctype", "the file declares a document type, which is not read", line)
    except expat.ExpatError as error:
        reason = {"reason": expat.errors.messages[error.code]}
        template = "the XML is not well-formed: {reason}"
        line = min(error.lineno, data.count(b"\n") + 1)  # to the parser a lone CR ends one, too
        return Problem("not-well-formed", template, line, reason)
    return None


# -- values ---------------------------------------------------------------------------------------


def read_day(text: str) -> datetime.date | None:
    """Reads ``2025-01-31`` with or without a time or a zone; else ``None``."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return datetime.date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None


def day_at(node: Node, *paths: str) -> datetime.date | None:
    """Reads the date, or date and time, at the first path that has one."""
    return read_day(node.get(*[f"{path}/{tail}" for path in paths for tail in ("Dt", "DtTm")]))


def money_at(node: Node, *paths: str) -> list[tuple[Decimal, str]]:
    """Gives the amounts that can be read at some paths, each with its currency."""
    found = []
    for path in paths:
        for each in node.all(path):
            amount = read_amount(each.text.strip())
            if amount is not None:
                found.append((amount, clean(each.attributes.get("Ccy", ""))))
    return found


def plain(amount: Decimal | None) -> str:
    """Writes an amount in one way, whatever zeros stand at its end."""
    if amount is None:
        return ""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# -- segments -------------------------------------------------------------------------------------


def frame(
    person: bytes,
    raw: bytes,
    marks: Sequence[str] = (),
    counts: Callable[[bytes], bool] = lambda _name: True,
) -> Segment:
    """Gives the segment of a head or a foot: the same element whatever counters and times it has.

    It goes by the tags that are open behind it, those that it closes, as far as they ``count``, and
    ``marks``. Its identity makes one of two that were added apart.
    """
    opened: list[bytes] = []
    closed: list[bytes] = []
    for closing, name in tags(raw):
        if not counts(name):
            continue
        if not closing:
            opened.append(name)
        elif opened and opened[-1] == name:
            opened.pop()
        else:
            closed.append(name)
    said = b"\0".join([*closed, b"", *opened, b"", *[mark.encode() for mark in marks]])
    key = digest(person, said)
    return Segment(raw, key, key, identity=digest(b"p2psync-frame", person + said))


def unreadable(raw: bytes) -> Segment:
    """Gives the segment of an element that is not well-formed, or stands behind what is not."""
    return whole_segment(raw, Problem(UNREADABLE, "this part cannot be read", 1))


def too_large() -> Problem:
    """Says that a file is not read."""
    return Problem("file-too-large", "the file is too large to be read element by element")


def placed(segments: Iterable[Segment]) -> list[Problem]:
    """Gives the problems of segments, by the lines of the file."""
    problems: list[Problem] = []
    before = 0
    for segment in segments:
        problem = segment.problem
        if problem is not None:
            start = segment.raw[: len(segment.raw) - len(segment.raw.lstrip())].count(b"\n")
            line = before + start + 1 if problem.line else 0
            problems.append(replace(problem, line=line))
        before += segment.raw.count(b"\n")
    return problems


def repeated(segments: Iterable[Segment]) -> Problem | None:
    """Says so when an identifier that must be unique is not: such a file is never merged."""
    seen: set[bytes] = set()
    more = -1
    first = line = 1
    for segment in segments:
        if segment.identity is not None and segment.records:
            if segment.identity in seen:
                more += 1
                first = first if more else line
            seen.add(segment.identity)
        line += segment.raw.count(b"\n")
    if more < 0:
        return None
    if not more:
        return Problem("duplicate-reference", "its reference is that of an earlier one", first)
    template = "its reference is that of an earlier one; further ones like that: {count}"
    return Problem("duplicate-reference", template, first, {"count": str(more)})


def interrupted(segments: Sequence[Segment]) -> Problem | None:
    """Says so when something else stands between records: a merge could not tell what it is of."""
    places = [place for place, each in enumerate(segments) if each.records]
    if not places or all(each.records for each in segments[places[0] : places[-1] + 1]):
        return None
    line = 1
    for each in segments[: places[0]]:
        line += each.raw.count(b"\n")
    for each in segments[places[0] :]:
        if not each.records:
            break
        line += each.raw.count(b"\n")
    template = "between records stands something else; two versions of the file are not merged"
    return Problem("between-records", template, line)


def counts_of(segments: Iterable[Segment], names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Counts elements by their local name, outside of what cannot be read."""
    found = count_tags(
        (each.raw for each in segments if each.problem is None or each.problem.code != UNREADABLE),
        tuple([name.lower().encode() for name in names]),
    )
    return tuple((name, found[name.lower().encode()]) for name in names)
