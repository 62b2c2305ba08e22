"""What must be there, as somebody who only looks from outside would note it on paper.

It knows contents, not how they are kept: a record is a line, what is posted is what a post has
handed over, and what waits is the difference of the two, counted (B-POS-2).
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

HEADER_LINES = 2


def records(content: bytes) -> Counter[bytes]:
    """The postings of an exchange file, each as often as it stands there."""
    return Counter(content.splitlines()[HEADER_LINES:])


@dataclass
class File:
    """A file that one person has attached, and everything it ever held."""

    name: str
    owner: int
    path: Path
    contents: list[bytes]
    counts: bool
    """Whether its lines are postings."""
    attached: bool = False

    @property
    def current(self) -> bytes:
        """What was saved last."""
        return self.contents[-1]


@dataclass
class Receipt:
    """What one post has handed over."""

    came: Counter[bytes]
    gone: Counter[bytes]
    retracted: bool = False


@dataclass
class Model:
    """The mandate as it must be."""

    files: dict[str, File] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    """The names that people were told they have now."""

    def attached(self) -> list[File]:
        """The files that a command has acknowledged."""
        return [file for file in self.files.values() if file.attached]

    def posted(self) -> Counter[bytes]:
        """The postings that the accountant's program has, all files together."""
        out: Counter[bytes] = Counter()
        for receipt in self.receipts.values():
            if not receipt.retracted:
                out.update(receipt.came)
                out.subtract(receipt.gone)
        return out

    def current(self) -> Counter[bytes]:
        """The postings of all files."""
        out: Counter[bytes] = Counter()
        for file in self.attached():
            if file.counts:
                out += records(file.current)
        return out

    def pending(self) -> tuple[int, int]:
        """How many postings wait to be added and to be taken back."""
        current, posted = self.current(), self.posted()
        return (current - posted).total(), (posted - current).total()
