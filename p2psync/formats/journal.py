"""Plain text journals (beancount, ledger) cut into segments: a line that is not indented, and the
indented lines below it.

Blank lines go with what follows them, so that a transaction added at the end changes nothing of the
one before; a comment that is not indented is a segment of its own, unless indented lines follow it.
"""

from collections.abc import Callable, Iterable, Iterator

from p2psync.core.records import Problem, Segment
from p2psync.formats.base import whole_segment
from p2psync.formats.blocks import content_digest, place_segment, too_long
from p2psync.formats.cresus_header import UTF8_BOM
from p2psync.formats.lines import lines_of, split_lines
from p2psync.limits import LINE_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_RECORDS_MAX

StaysOpen = Callable[[bytes, bytes], bytes]
"""Tells, of a line and of what was open before it (empty for nothing), what is open after it."""
OPEN_PROBLEM = "open-block"
STRAY_PROBLEM = "stray-line"
TOO_LARGE_PROBLEM = "transaction-too-large"
UNMERGEABLE = frozenset((OPEN_PROBLEM, STRAY_PROBLEM, TOO_LARGE_PROBLEM, "not-one-segment"))


def split_journal(
    blocks: Iterable[bytes],
    comments: bytes,
    stays_open: StaysOpen,
    ends_open: Callable[[bytes], bool],
) -> Iterator[bytes]:
    """Cuts a journal.

    ``comments`` are the characters that start a comment in the first column. What a line opens (a
    text in quotes, a block) takes all lines up to its end, or to one for which ``ends_open``.
    """
    cutter = _Cutter(comments, stays_open, ends_open)
    for line in lines_of(blocks):
        yield from cutter.add(line)
    yield from cutter.end()


class _Cutter:
    """Holds the segment that may still go on, and the blank and comment lines behind it."""

    def __init__(
        self, comments: bytes, stays_open: StaysOpen, ends_open: Callable[[bytes], bool]
    ) -> None:
        self._comments = comments
        self._stays_open = stays_open
        self._ends_open = ends_open
        self._held: list[bytes] = []
        self._behind: list[bytes] = []
        self._size = 0
        self._open = b""

    def add(self, line: bytes) -> Iterator[bytes]:
        if self._size + len(line) > SEGMENT_BYTES_MAX:
            yield from self.end()
        if self._open:
            if not self._ends_open(line):
                self._held.append(line)
                self._size += len(line)
                self._open = self._stays_open(line, self._open)
                return
            self._open = b""
        while line.startswith(UTF8_BOM):
            yield from self.end()
            yield UTF8_BOM
            line = line[len(UTF8_BOM) :]
        if not line:
            return
        if not line.strip() or line[:1] in self._comments:
            self._behind.append(line)
        elif line[:1] in b" \t" and self._held:
            self._held += [*self._behind, line]
            self._behind = []
            self._open = self._stays_open(line, b"")
        else:
            yield from self._flush()
            self._held = [*self._behind, line]
            self._behind = []
            self._size = sum(map(len, self._held))
            self._open = self._stays_open(line, b"")
            return
        self._size += len(line)

    def _flush(self) -> Iterator[bytes]:
        """Yields what is complete; blank lines without a comment below stay."""
        if self._held:
            yield b"".join(self._held)
            self._held = []
        blank: list[bytes] = []
        for line in self._behind:
            blank.append(line)
            if line.strip():
                yield b"".join(blank)
                blank = []
        self._behind = blank
        self._size = sum(map(len, blank))

    def end(self) -> Iterator[bytes]:
        """Yields all that is held."""
        yield from self._flush()
        if self._behind:
            yield b"".join(self._behind)
        self._behind = []
        self._size = 0
        self._open = b""


def read_other(raw: bytes) -> Segment | None:
    """Reads what every journal has: a byte-order mark, blank lines, a line that is too long."""
    if raw == UTF8_BOM:
        return place_segment(raw, (b"journal", b"bom"))
    if not raw.strip():
        return place_segment(raw, (b"journal", b"blank"))
    if len(raw) > LINE_BYTES_MAX:
        longest = max(raw.split(b"\n"), key=len)
        if len(longest) > LINE_BYTES_MAX:
            return whole_segment(raw, too_long(longest, LINE_BYTES_MAX))
    return None


def whole_lines(raw: bytes, stays_open: StaysOpen) -> tuple[list[tuple[int, bytes]], bool]:
    """Gives what is not blank: the number (from 1) and bytes of each line, with the lines that it
    opens; and whether the last stays open.
    """
    found: list[tuple[int, bytes]] = []
    state = b""
    for number, line in enumerate(split_lines(raw), 1):
        if state:
            state = stays_open(line, state)
            first, before = found[-1]
            found[-1] = first, before + line
        elif line.strip():
            state = stays_open(line, b"")
            found.append((number, line))
    return found, bool(state)


def squeezed(raw: bytes) -> bytes:
    """Gives the bytes with each run of white space as one space: a program may align it anew."""
    return b" ".join(raw.split())


def without_records(
    person: bytes, raw: bytes, problem: Problem | None = None, identity: bytes | None = None
) -> Segment:
    """Gives a segment without records that is identified by its words."""
    key = content_digest(person, (squeezed(raw),))
    return Segment(raw, key, key, (), problem, identity)


def stray(number: int) -> Problem:
    """Gives the problem of an indented line that belongs to nothing."""
    return Problem(STRAY_PROBLEM, "the indented line belongs to nothing", number)


def too_many(found: int, number: int) -> Problem | None:
    """Gives the problem of a transaction that is not merged."""
    if found <= SEGMENT_RECORDS_MAX:
        return None
    return Problem(
        TOO_LARGE_PROBLEM,
        "the transaction has {found} postings; at most {limit} are merged",
        number,
        {"found": str(found), "limit": str(SEGMENT_RECORDS_MAX)},
    )
