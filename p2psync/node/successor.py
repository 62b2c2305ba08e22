"""A file that is to take the place of an attached one: what it holds, and what blocks that."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from p2psync.core.files import FileState
from p2psync.core.records import Record
from p2psync.errors import (
    FileAbsent,
    MigrateBlocked,
    MigrateGutted,
    PlaceOtherFormat,
    PlaceOtherPeriod,
    PlaceUnreadable,
)
from p2psync.formats import registry
from p2psync.formats.cresus_settings import read_settings
from p2psync.node import copies as disk
from p2psync.node import views
from p2psync.node.detaching import told
from p2psync.node.looking import First, Records, look_first
from p2psync.node.opened import Opened
from p2psync.storage.file_state import FileStat
from p2psync.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class New:
    """A file that is to be the attached one: where it is, what it is like, what it holds.

    ``digest`` is ``None`` for a large file whose content cannot be what is known already.
    """

    path: Path
    stat: FileStat
    first: First
    digest: bytes | None

    @property
    def keys(self) -> Counter[bytes]:
        """How often each record stands in it."""
        found = self.first.found
        if not isinstance(found, Records):
            return Counter()
        return Counter(
            record.key for segment in found.document.segments for record in segment.records
        )


async def read(opened: Opened, file: FileState, path: Path, shown: str) -> New:
    """Read a file that is to take the place of another.

    Raises ``PlaceOtherFormat``, ``PlaceUnreadable``, ``PlaceOtherPeriod``, and what reading does.
    """
    current = file.current()
    sizes = {0 if current is None else current.size_bytes}
    if (copy := opened.copies.get((file.id, "attached"))) and copy.seen is not None:
        sizes.add(copy.seen.size_bytes)

    def look() -> New:
        again = partial(registry.find_again, file.info.format)
        (first,) = look_first([path], opened.replica.chunk_secret, again)
        with Folder.open(path.parent) as folder:
            stat = folder.stat(path.name) if first.found is None else first.found.stat
            if stat is None:
                raise FileAbsent(path=str(path))
            digest = None if first.found is None else first.found.digest
            if digest is None and stat.size_bytes in sizes:
                digest = folder.digest(path.name)
        return New(path, stat, first, digest)

    new = await trio.to_thread.run_sync(look)
    if new.first.format != file.info.format:
        raise PlaceOtherFormat(
            path=str(path),
            found=views.format_word(new.first.format),
            file=shown,
            format=views.format_word(file.info.format),
        )
    if isinstance(new.first.found, Records):
        segments = new.first.found.document.segments
        unreadable = sum(segment.problem is not None for segment in segments)
        if unreadable > new.keys.total():
            raise PlaceUnreadable(path=str(path), file=shown, lines=unreadable)
    if file.info.kind == "accounting":
        period = views.file_period(file)
        found = views.period_text(read_settings(new.first.head).period)
        if period is not None and found is not None and period != found:
            raise PlaceOtherPeriod(path=str(path), found=found, file=shown, period=period)
    return new


def check_blocked(file: FileState, new: New, shown: str, *, cancel: bool) -> tuple[int, int]:
    """Raise ``MigrateBlocked`` for records, pending or posted, that the new file has not.

    Returns how many of both are missing; ``cancel``: they may.
    """
    current = file.current()
    if not isinstance(new.first.found, Records) or registry.by_name(file.info.format).merge != (
        "records"
    ):
        size_bytes = 0 if current is None else current.size_bytes
        if disk.is_suspicious((size_bytes, 0), (new.stat.size_bytes, 0)) and not cancel:
            raise MigrateGutted(path=str(new.path), file=shown)
        return 0, 0
    held, keys = file.segments.balance.current, new.keys
    missing = held - keys
    if not missing:
        return 0, 0
    posted: Counter[bytes] = Counter()
    for key, count in missing.items():
        # What is left stands for what is posted, as far as it goes.
        was = min(held[key], file.posted[key])
        posted[key] = min(count, max(0, was - keys[key]))
    posted = +posted
    pending = missing - posted
    if not cancel:
        raise MigrateBlocked(
            file=shown,
            path=str(new.path),
            pending=pending.total(),
            pending_records=told(_records_of(file, pending), pending.total()),
            posted=posted.total(),
            posted_records=told(_records_of(file, posted), posted.total()),
        )
    return pending.total(), posted.total()


def _records_of(file: FileState, counts: Counter[bytes]) -> Iterator[Record]:
    """The records of a file that are counted, each as often as that."""
    left = Counter(counts)
    for _, value in file.segments.shown():
        for record in value.segment.records:
            if left[record.key] > 0:
                left[record.key] -= 1
                yield record
