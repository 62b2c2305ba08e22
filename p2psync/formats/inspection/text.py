"""What a file's bytes are as text: encoding and line ends; and lines that may be shown."""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from p2psync.formats.values import clean, decode_cp1252
from p2psync.limits import RECORD_TEXT_CHARS_MAX

LineEnd = Literal["CRLF", "LF", "CR", "CRCRLF"]

_CODEPAGES = {"cresus-": "windows-1252", "datev": "windows-1252", "sie": "cp437"}
"""By the beginning of a format's name; other formats have UTF-8, or Windows-1252 where it is not.
"""
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"
_TAB_SHOWN = "⇥"


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What the bytes of a file are.

    ``encoding`` is ``ascii``, ``utf-8``, ``utf-8-bom``, ``utf-16``, the name of the format's code
    page, ``8-bit`` where nobody says which, or ``binary`` when there are NUL bytes. ``line_ends``
    has those that occur. ``nul_line`` is the first line with a NUL byte, 0 without.
    """

    size_bytes: int
    encoding: str
    line_ends: dict[LineEnd, int]
    ends_with_line: bool
    nul_line: int


class TextLook:
    """Looks at blocks as they go by; holds nothing of them."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._head = b""
        self._ascii = True
        self._utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        self._carry = b""
        self._ends: dict[LineEnd, int] = {"CRLF": 0, "LF": 0, "CR": 0, "CRCRLF": 0}
        self._last = b""
        self._nul_line = 0

    def through(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the blocks unchanged."""
        for block in blocks:
            self._look(block)
            yield block

    def facts(self, format_name: str) -> TextFacts:
        """Says what all blocks together were; the last call."""
        self._count(self._carry)
        self._carry = b""
        return TextFacts(
            self.size_bytes,
            self._encoding(format_name),
            {end: count for end, count in self._ends.items() if count},
            self._last in (b"\n", b"\r"),
            self._nul_line,
        )

    @property
    def lines(self) -> int:
        """How many line feeds there were so far."""
        return self._ends["CRLF"] + self._ends["LF"] + self._ends["CRCRLF"]

    def _look(self, block: bytes) -> None:
        if not block:
            return
        self.size_bytes += len(block)
        if len(self._head) < len(_UTF8_MARK):
            self._head += block[: len(_UTF8_MARK)]
        if not self._nul_line and b"\0" in block:
            before = self._carry + block[: block.index(b"\0")]
            self._nul_line = self.lines + before.count(b"\n") + 1
        self._last = block[-1:]
        self._decode(block)
        data = self._carry + block
        kept = min(2, len(data) - len(data.rstrip(b"\r")))  # CR CR LF may go on in the next block
        self._carry = data[len(data) - kept :]
        self._count(data[: len(data) - kept])

    def _decode(self, block: bytes) -> None:
        ascii_block = block.isascii()
        self._ascii = self._ascii and ascii_block
        if self._utf8 is None or (ascii_block and not self._utf8.getstate()[0]):
            return
        try:
            self._utf8.decode(block)
        except UnicodeDecodeError:
            self._utf8 = None

    def _count(self, data: bytes) -> None:
        line_feeds, pairs, triples = data.count(b"\n"), data.count(b"\r\n"), data.count(b"\r\r\n")
        self._ends["CRLF"] += pairs - triples
        self._ends["LF"] += line_feeds - pairs
        self._ends["CRCRLF"] += triples
        self._ends["CR"] += data.count(b"\r") - pairs - triples

    def _encoding(self, format_name: str) -> str:
        if self._head[:2] in _UTF16_MARKS:
            return "utf-16"
        if self._nul_line:
            return "binary"
        if self._head == _UTF8_MARK:
            return "utf-8-bom"
        if self._ascii:
            return "ascii"
        page = codepage(format_name)
        if page is not None:
            return page
        whole = self._utf8 is not None and not self._utf8.getstate()[0]
        return "utf-8" if whole else "8-bit"


def codepage(format_name: str) -> str | None:
    """Gives the code page that files of a format have, where it says one."""
    return next((page for start, page in _CODEPAGES.items() if format_name.startswith(start)), None)


def decoded(format_name: str, raw: bytes) -> str:
    """Decodes a piece of a file for people; never raises."""
    page = codepage(format_name)
    if page == "cp437":
        return raw.decode("cp437", "replace")
    if page is None:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return decode_cp1252(raw)


def shown_lines(format_name: str, raw: bytes) -> list[str]:
    """Gives the lines of a piece of a file so that they can be printed: nothing drives a terminal.

    A tab is shown as ``⇥``; what is longer than ``RECORD_TEXT_CHARS_MAX`` ends in ``…``.
    """
    body = raw[:-1] if raw.endswith(b"\n") else raw
    return [_shown(decoded(format_name, line.rstrip(b"\r"))) for line in body.split(b"\n")]


def _shown(line: str) -> str:
    # Spaces in front stay: they are what an indented line means.
    text = line.removeprefix("\ufeff").replace("\t", _TAB_SHOWN)
    body = text.lstrip(" ")
    indent = min(len(text) - len(body), RECORD_TEXT_CHARS_MAX)
    return " " * indent + clean(body) + ("…" if len(body) > RECORD_TEXT_CHARS_MAX else "")
