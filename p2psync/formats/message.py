"""A format of ISO 20022 messages: what camt and pain files have in common as files."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from p2psync.core.records import Document, Problem, Segment
from p2psync.formats.base import Merge, bounded, whole_segment
from p2psync.formats.iso20022 import (
    UNREADABLE,
    Node,
    counts_of,
    damage,
    frame,
    interrupted,
    placed,
    read_nodes,
    repeated,
    too_large,
    unreadable,
)
from p2psync.formats.markup import Cut, Rules, cut
from p2psync.limits import RECORD_FILE_BYTES_MAX, SEGMENT_BYTES_MAX

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class MessageFormat:
    """Goes by the message's name, whatever its version and prefix and the file's name.

    ``read`` reads a piece by its local name, in lower case. ``marks`` are what tells the head of
    one message from that of another. ``find_unmergeable`` finds what else keeps a file from being
    merged, ``None`` where none of these files ever is; ``find_differences`` holds the records of a
    file without problems against what its head says of them. ``counted`` are the elements that are
    counted, ``counted_if_any`` those that are left out where there are none.
    """

    name: str
    title: str
    messages: tuple[bytes, ...]
    rules: Rules
    counted: tuple[str, ...]
    read: Callable[[bytes, bytes, Node], Segment]
    marks: Callable[[Node], Sequence[str]]
    find_unmergeable: Callable[[Sequence[Cut]], list[Problem]] | None
    find_differences: Callable[[Sequence[Segment]], list[Problem]]
    counted_if_any: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = (".xml",)
    merge: Merge = "records"
    identifies: bool = True
    _person: bytes = field(init=False, repr=False)
    _message: re.Pattern[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = b"|".join(map(re.escape, self.messages))
        object.__setattr__(self, "_person", f"p2psync-{self.name}".encode())
        pattern = re.compile(rb"<(?:[^\s<>/:]+:)?(?:%b)[\s/>]" % names)
        object.__setattr__(self, "_message", pattern)

    def recognise(self, name: str, head: bytes) -> bool:
        """Goes by the element of the message."""
        if head[:2] in _UTF_16:
            head = head.replace(b"\0", b"")
        # The words first: every file that is attached comes by here.
        named = any(each in head for each in self.messages)
        return named and self._message.search(head) is not None

    def parse(self, data: bytes) -> Document:
        """Reads a file of up to ``RECORD_FILE_BYTES_MAX``; a larger one is not read at all."""
        if len(data) > RECORD_FILE_BYTES_MAX:
            return Document(self.name, (whole_segment(data),), False, (too_large(),))
        cuts = list(cut([data], self.rules))
        segments = tuple(map(self._read_cut, cuts))
        problems = [each for each in (damage(data), repeated(segments)) if each is not None]
        if self.find_unmergeable is not None:
            problems += self.find_unmergeable(cuts)
            between = None if problems else interrupted(segments)
            problems += [] if between is None else [between]
        found = placed(segments)
        mergeable = (
            self.find_unmergeable is not None
            and not problems
            and all(each.code != UNREADABLE for each in found)
        )
        problems += found
        if not problems:
            problems += self.find_differences(segments)
        counts = counts_of(segments, (*self.counted, *self.counted_if_any))
        shown = [each for each in counts if each[1] or each[0] in self.counted]
        return Document(self.name, segments, mergeable, bounded(problems), counts=tuple(shown))

    def read_segment(self, raw: bytes) -> Segment:
        """Reads a piece, a part of a large one, or what stands around them."""
        if len(raw) > SEGMENT_BYTES_MAX:
            return whole_segment(raw)
        return self._read_alone(raw)

    def stream(self, blocks: Iterable[bytes]) -> Iterator[Segment]:
        """Yields a piece at a time."""
        return map(self._read_cut, cut(blocks, self.rules))

    def _read_cut(self, each: Cut) -> Segment:
        return self._read_piece(each.raw, each.name) if each.whole else self._read_alone(each.raw)

    def _read_alone(self, raw: bytes) -> Segment:
        """Reads a segment by its bytes alone."""
        cuts = list(cut([raw], self.rules))
        if len(cuts) != 1 or cuts[0].broken:
            return unreadable(raw)
        if cuts[0].whole:
            return self._read_piece(raw, cuts[0].name)
        return frame(self._person, raw, self.marks(read_nodes(raw, whole=False) or Node("", {})))

    def _read_piece(self, raw: bytes, name: bytes) -> Segment:
        node = read_nodes(raw)
        return unreadable(raw) if node is None else self.read(raw, name, node)
