"""A line format for the tests of merging, and authors who write files in it.

``konto 12.50 | some text # 7``: what stands before ``|`` is money, before ``#`` the content, behind
it a number that a program may change without meaning anything. A line without ``|`` is a header.
``@7 konto 12.50 | some text`` has a stable identifier, 7.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from p2psync.core.crdt import SegmentSet
from p2psync.core.crypto import digest
from p2psync.core.diff import diff
from p2psync.core.files import apply_lines
from p2psync.core.ops import Lines
from p2psync.core.records import Record, Segment

FILE = b"f" * 16
Change = tuple[int, bytes, Lines]
"""Stamp, entry and operation."""


def read(format_name: str, raw: bytes) -> Segment:
    """Read one line, whatever the format is called."""
    content = raw.split(b"#")[0].strip()
    key = digest(b"test", content, size=16)
    name = content.split()[0] if content.startswith(b"@") else b""
    identity = digest(b"name", name, size=16) if name else None
    if b"|" not in content:
        return Segment(raw, key, key, identity=identity)
    money = digest(b"money", content.split(b"|")[0].strip(), size=16)
    record = Record(key, money, content.decode("latin-1"), None, None)
    return Segment(raw, key, money, (record,), None, identity)


def segments(data: bytes) -> list[Segment]:
    """Read a file of lines."""
    return [read("", line) for line in data.splitlines(keepends=True)]


def apply(target: SegmentSet, change: Change) -> None:
    """Apply one operation as the fold of a file does."""
    stamp, entry, operation = change
    apply_lines(target, [(entry, stamp, operation)])


def merged(changes: Iterable[Change]) -> SegmentSet:
    """The set that some operations give, applied in this order."""
    out = SegmentSet(read, "lines")
    for change in changes:
        apply(out, change)
    return out


@dataclass
class Author:
    """Somebody who saves a file, and learns what others saved."""

    log: bytes
    state: SegmentSet = field(default_factory=lambda: SegmentSet(read, "lines"))
    known: list[Change] = field(default_factory=list)
    stamp: int = 0

    def save(self, data: bytes) -> Sequence[Change]:
        """Write the file's new content; return the operations that say so."""
        made = []
        for operation in diff(FILE, list(self.state.shown()), segments(data), self.log):
            self.stamp += 1
            entry = digest(b"entry", self.log, self.stamp.to_bytes(8, "big"))
            made.append((self.stamp, entry, operation))
        for change in made:
            apply(self.state, change)
        self.known += made
        return made

    def learn(self, other: "Author") -> None:
        """Take all that the other one knows."""
        for change in [change for change in other.known if change not in self.known]:
            apply(self.state, change)
            self.known.append(change)
            self.stamp = max(self.stamp, change[0])

    def lines(self) -> list[bytes]:
        """The file's lines as this author has them."""
        return self.state.emit().splitlines(keepends=True)
