"""Cuts a file of tags (XML, or the SGML of OFX) into pieces, block by block, byte for byte.

A *piece* is an element that holds records, with the white space before it. What stands between
pieces is cut before the end tags that close a list of pieces: so a list without any has the same
head and foot as one with many, and what two people put into it comes to stand between these.

Where the cuts are depends on the bytes of the segment alone: a segment cut out of a file and read
alone is one segment again. Nothing is decoded, no entity is ever replaced, and what is no tag, or
longer than ``SEGMENT_BYTES_MAX``, is left as it stands.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from p2psync.limits import SEGMENT_BYTES_MAX

_TAG = re.compile(
    rb"""<(/?)([A-Za-z_\x80-\xff][^\s<>/"'=]*+)((?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+)>"""
)
_TOKEN = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>|" + _TAG.pattern, re.DOTALL)
_SPACE = b" \t\r\n"
_OTHER_TOKENS = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
_FORGOTTEN_BYTES = 1 << 16
_LONGEST_START = max(len(start) for start, _ in _OTHER_TOKENS)


@dataclass(frozen=True, slots=True)
class Rules:
    """Local names, lower case: elements that are pieces, those that a large piece is cut into, and
    elements that close a list of pieces.
    """

    pieces: frozenset[bytes]
    parts: frozenset[bytes]
    lists: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Cut:
    """A segment's bytes. ``whole``: a piece with its end tag. ``broken``: it stands behind what
    cannot be read on: a declaration, an unclosed or an endless token.
    """

    raw: bytes
    name: bytes = b""
    whole: bool = False
    broken: bool = False


@cache
def _unremarkable(rules: Rules) -> re.Pattern[bytes]:
    """What is passed over in one go: tags that no rule names, and the text before them."""
    names = b"|".join(sorted(map(re.escape, rules.pieces | rules.parts | rules.lists)))
    named = rb"""(?!/?(?:[^\s<>/"'=]*:)?(?i:%b)(?![^\s<>/"'=]))""" % names
    return re.compile(rb"(?:[^<]*+" + _TAG.pattern.replace(b"<", b"<" + named, 1) + rb")*+")


@cache
def _counted(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    found = b"|".join(names)
    return re.compile(
        rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<(?:[^\s<>/:]+:)?(%b)(?=[\s/>])" % found,
        re.DOTALL | re.IGNORECASE,
    )


def count_tags(raws: Iterable[bytes], names: tuple[bytes, ...]) -> Counter[bytes]:
    """Count the elements of some local names, given in lower case, in segments."""
    pattern = _counted(names)
    return Counter(name.lower() for raw in raws for name in pattern.findall(raw) if name)


def cut(blocks: Iterable[bytes], rules: Rules) -> Iterator[Cut]:
    """Yield the segments of the joined blocks, in order; holds a bounded part of them."""
    return _Cutter(blocks, rules).run()


def tags(raw: bytes) -> Iterator[tuple[bool, bytes]]:
    """Yield the tags of a segment that is not broken, but for those of empty elements: whether it
    is an end tag, and its name with any prefix.
    """
    for match in _TOKEN.finditer(raw):
        closing, name, rest = match.groups()
        if name and not rest.endswith(b"/"):
            yield bool(closing), name


class _Cutter:
    def __init__(self, blocks: Iterable[bytes], rules: Rules) -> None:
        self._blocks = iter(blocks)
        self._rules = rules
        self._passed = _unremarkable(rules)
        self._data = b""
        self._ended = False
        self._start = 0
        """Where the segment that is not yet complete begins."""
        self._at = 0
        """Up to here all tokens are read; at most a segment's size behind ``_start``."""
        self._piece = b""
        """The name of the piece that the segment is, until its end."""
        self._split = -1
        """The piece that starts here is too large: its parts are cut out."""

    def run(self) -> Iterator[Cut]:
        while True:
            self._forget()
            passed = self._passed.match(self._data, self._at, self._start + SEGMENT_BYTES_MAX)
            if passed is not None:
                self._at = passed.end()
            place = self._find(b"<", self._at, self._at)
            if place < 0:
                place = len(self._data)
            if place - self._at > SEGMENT_BYTES_MAX:
                yield from self._rest()
                return
            if place - self._start > SEGMENT_BYTES_MAX:
                if self._give_up_piece():
                    continue
                yield self._take(self._at)
            if place == len(self._data):
                break
            end = self._token_end(place)
            if end < 0 or end - place > SEGMENT_BYTES_MAX:
                yield from self._rest()
                return
            if end - self._start > SEGMENT_BYTES_MAX:
                if self._give_up_piece():
                    continue
                yield self._take(place)
            match = _TAG.match(self._data, place, end)
            if match is not None:
                yield from self._tag(match, place, end)
            self._at = end
        if self._start < len(self._data):
            yield Cut(self._data[self._start :], self._piece)

    def _tag(self, match: re.Match[bytes], place: int, end: int) -> Iterator[Cut]:
        closing, tag, rest = match.groups()
        name = tag.rpartition(b":")[2].lower()
        if closing:
            if name == self._piece:
                yield self._take(end, whole=True)
            elif name in self._rules.lists:
                yield from self._cut_before(place)
            return
        if name in self._rules.pieces:
            if self._split == place:
                return
        elif name not in self._rules.parts or self._piece:
            return
        yield from self._cut_before(place)
        self._piece = name
        if rest.endswith(b"/"):
            yield self._take(end, whole=True)

    def _cut_before(self, place: int) -> Iterator[Cut]:
        """Cut before a tag and the white space before it, unless the segment begins there."""
        held = self._data[self._start : place].rstrip(_SPACE)
        if held:
            yield self._take(self._start + len(held))

    def _take(self, end: int, *, whole: bool = False) -> Cut:
        taken = Cut(self._data[self._start : end], self._piece, whole)
        self._start, self._piece, self._split = end, b"", -1
        return taken

    def _give_up_piece(self) -> bool:
        """Go back to the start of a piece that is too large, to cut out its parts."""
        if self._piece not in self._rules.pieces or self._split >= 0:
            return False
        self._piece = b""
        self._split = self._at = self._data.index(b"<", self._start)
        return True

    def _rest(self) -> Iterator[Cut]:
        """Yield what is left, in blocks of one size."""
        while True:
            while len(self._data) - self._start < SEGMENT_BYTES_MAX and self._more():
                pass
            raw = self._data[self._start : self._start + SEGMENT_BYTES_MAX]
            if not raw:
                return
            yield Cut(raw, broken=True)
            self._start += len(raw)
            self._forget()

    # -- tokens -----------------------------------------------------------------------------------

    def _token_end(self, place: int) -> int:
        """Where the token that starts at a ``<`` ends; at the next ``<`` where there is none.

        Negative when nothing behind it can be read.
        """
        match = _TAG.match(self._data, place)
        if match is not None:
            return match.end()
        while len(self._data) - place < _LONGEST_START and self._more():
            pass
        for start, close in _OTHER_TOKENS:
            if self._data.startswith(start, place):
                found = self._find(close, place + len(start), place)
                return found + len(close) if found >= 0 else -1
        if self._data.startswith(b"<!", place):
            return -1
        following = self._find(b"<", place + 1, place)
        until = following if following >= 0 else len(self._data)
        match = _TAG.match(self._data, place, until)
        return until if match is None else match.end()

    def _find(self, wanted: bytes, start: int, bound: int) -> int:
        """Find bytes that begin at most ``SEGMENT_BYTES_MAX`` behind ``bound``, else -1."""
        last = bound + SEGMENT_BYTES_MAX + len(wanted)
        at = start
        while True:
            found = self._data.find(wanted, at, last)
            size = len(self._data)
            if found >= 0 or size >= last or not self._more():
                return found
            at = max(start, size - len(wanted))

    def _more(self) -> bool:
        """Take the next block; false when there is none."""
        for block in self._blocks:
            if block:
                self._data += block
                return True
        self._ended = True
        return False

    def _forget(self) -> None:
        """Drop what was yielded, now and then."""
        if self._start > _FORGOTTEN_BYTES and self._start * 2 > len(self._data):
            self._data = self._data[self._start :]
            self._at -= self._start
            if self._split >= 0:
                self._split -= self._start
            self._start = 0
