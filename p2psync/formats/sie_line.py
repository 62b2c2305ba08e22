r"""One line of a SIE file: a tag and its fields.

Fields stand apart by spaces or tabs; one with spaces is in quotes, with ``\"`` for a quote; a list
of objects is in braces (SIE file format, edition 4C, section 5). Text is code page 437, in files
of some programs UTF-8.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from p2psync.formats.blocks import decode
from p2psync.formats.values import clean

_FIELD = re.compile(
    rb"""
      "((?:\\.|[^"\\])*+)"?
    | \{((?:"(?:\\.|[^"\\])*+"|[^}"])*+)\}?
    | ([^ \t\r\n]++)
    """,
    re.VERBOSE | re.DOTALL,
)
"""In quotes, in braces, or bare."""
_PART = re.compile(rb'"((?:\\.|[^"\\])*+)"?|([^ \t\r\n"]++)', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_TEXTS_KEPT_MAX = 16_384
_TEXT_KEPT_BYTES_MAX = 64


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
    if b'"' in raw or b"{" in raw:
        found = [
            _unescaped(quoted) or bare or (objects and _objects(objects))
            for quoted, objects, bare in _FIELD.findall(raw)
        ]
    else:
        found = raw.split()
    return Line(found[0].lstrip(b"#").upper() if found else b"", tuple(found[1:]))


def _objects(inside: bytes) -> bytes:
    return b" ".join([_unescaped(quoted) or bare for quoted, bare in _PART.findall(inside)])


def _unescaped(quoted: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def text_of(field: bytes) -> str:
    """Gives a field for people; short ones come again and again."""
    return _short_text(field) if len(field) <= _TEXT_KEPT_BYTES_MAX else _text(field)


def _text(field: bytes) -> str:
    return clean(decode(field, "cp437"))


_short_text = lru_cache(_TEXTS_KEPT_MAX)(_text)
