r"""One line of a SIE file: a tag and its fields.

Fields stand apart by spaces or tabs; one with spaces is in quotes, with ``\"`` for a quote; a list
of objects is in braces (SIE file format, edition 4C, section 5). Text is code page 437, in files
of some programs UTF-8.
"""

import re
from typing import NamedTuple

from p2psync.formats.blocks import decode
from p2psync.formats.values import clean

_FIELD = re.compile(
    rb"""
      "(?P<quoted>(?:\\.|[^"\\])*+)"?
    | \{(?P<objects>(?:"(?:\\.|[^"\\])*+"|[^}"])*+)\}?
    | (?P<bare>[^ \t\r\n]++)
    """,
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(rb'"(?P<quoted>(?:\\.|[^"\\])*+)"?|(?P<bare>[^ \t\r\n"]++)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Line(NamedTuple):
    """A tag in capitals, without its ``#``, and the fields behind it without their quotes.

    A list of objects is one field, its parts joined by single spaces.
    """

    tag: bytes
    fields: tuple[bytes, ...]

    def text(self, index: int) -> str:
        """Gives a field for people; empty when it is not there."""
        return text_of(self.fields[index]) if index < len(self.fields) else ""

    def raw(self, index: int) -> bytes:
        """Gives a field; empty when it is not there."""
        return self.fields[index] if index < len(self.fields) else b""


def tag_of(raw: bytes) -> bytes:
    """Gives the tag alone; empty when the line has none."""
    stripped = raw.lstrip()
    if not stripped.startswith(b"#"):
        return b""
    return stripped.split(None, 1)[0][1:].upper()


def read_line(raw: bytes) -> Line:
    """Reads a line with a tag; linear."""
    found = [_value(match) for match in _FIELD.finditer(raw)]
    return Line(found[0].lstrip(b"#").upper() if found else b"", tuple(found[1:]))


def _value(match: re.Match[bytes]) -> bytes:
    objects = match["objects"]
    if objects is not None:
        return b" ".join([_unquoted(each) for each in _PART.finditer(objects)])
    return _unquoted(match)


def _unquoted(match: re.Match[bytes]) -> bytes:
    quoted = match["quoted"]
    if quoted is None:
        return match["bare"]
    return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def text_of(field: bytes) -> str:
    """Gives a field for people."""
    return clean(decode(field, "cp437"))
