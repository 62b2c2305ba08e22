"""What a file was like when we last looked, to tell whether it changed since."""

import os
from dataclasses import dataclass
from typing import Final

CLOCK_TICK_NS = 20_000_000
"""File times move in ticks of the kernel's clock: at most 10 ms on Linux; doubled to be sure."""


@dataclass(frozen=True, slots=True)
class FileStat:
    """What tells one state of a file from another without reading it.

    Two equal values mean equal content only when ``settled`` was true as the first was taken: a
    write within the same tick of the kernel's clock leaves all of them as they are.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    def settled(self, now_ns: int) -> bool:
        """Whether a later write must show; ``now_ns`` is the time at which this was taken."""
        return max(self.mtime_ns, self.ctime_ns) + CLOCK_TICK_NS <= now_ns

    def same_file(self, other: "FileStat") -> bool:
        """Whether size, modification and identity agree; a rename alone changes the ctime."""
        return (self.size_bytes, self.mtime_ns, self.inode, self.device) == (
            other.size_bytes,
            other.mtime_ns,
            other.inode,
            other.device,
        )


class Anything:
    """The type of ``ANYTHING``."""


ANYTHING: Final = Anything()
"""Expected of a target whose content does not matter, such as a file of our own."""

Expected = FileStat | bytes | Anything | None
"""A target's last known state: its stat, its digest (32 bytes), not there (None), or anything."""


def to_stat(found: os.stat_result) -> FileStat:
    """Return what the system said of a file as a ``FileStat``."""
    return FileStat(
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        inode=found.st_ino,
        device=found.st_dev,
    )
