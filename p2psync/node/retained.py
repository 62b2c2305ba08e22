"""Which old versions a policy of retention keeps: a pure choice (docs/decisions/0023)."""

import datetime
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from p2psync.core import clock
from p2psync.core.files import FileState, Receipt, Version

Then = Literal["nothing", "day", "week", "month"]
THEN: tuple[Then, ...] = get_args(Then)
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """How long the content of old versions is kept on this device.

    All for ``keep_days`` after they were replaced (``None``: for ever), after that the last of each
    day, week or month, or nothing. ``min_free_bytes`` is what is to stay free on the disk: further
    ones go, the oldest first, while it is not. What is protected never goes.
    """

    keep_days: int | None = None
    then: Then = "nothing"
    min_free_bytes: int = 0

    @property
    def keeps_all(self) -> bool:
        """Whether nothing ever goes."""
        return self.keep_days is None and not self.min_free_bytes


KEEP_ALL = Policy()


@dataclass(frozen=True, slots=True)
class Old:
    """One version whose content is kept: when it was made and when another one took its place, in
    milliseconds since 1970 (``None``: it is the last), and whether it may never go.
    """

    file: bytes
    digest: bytes
    made_ms: int
    replaced_ms: int | None
    protected: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """What is needed of a mandate to choose, taken where the fold stands still."""

    files: tuple[FileState, ...]
    receipts: tuple[Receipt, ...]


def old_versions(looked: Looked, held: Iterable[bytes]) -> list[Old]:
    """The versions that have some of the contents that are held; reads each file's versions.

    Protected are each file's last versions, and those that were shown when a receipt was made: of
    the files that it names and of the accounting's, whose settings it was posted by.
    """
    here = frozenset(held)
    out: list[Old] = []
    for file in looked.files:
        versions = sorted(file.versions.values(), key=lambda each: (each.stamp, each.id))
        if not any(each.content is not None and each.digest in here for each in versions):
            continue
        replaced: dict[object, int] = {}
        for version in versions:
            for parent in version.parents:
                replaced.setdefault(parent, version.stamp)
        posted = _shown_when(file, versions, looked.receipts)
        for version in versions:
            if version.content is None or version.digest not in here:
                continue
            stamp = replaced.get(version.id)
            last = version.id in file.heads or stamp is None
            out.append(
                Old(
                    file.id,
                    version.digest,
                    clock.milliseconds(version.stamp),
                    None if stamp is None else clock.milliseconds(stamp),
                    last or version.digest in posted,
                )
            )
    return out


def _shown_when(
    file: FileState, versions: Sequence[Version], receipts: Iterable[Receipt]
) -> set[bytes]:
    stamps = [version.stamp for version in versions]
    accounting = file.added is not None and file.info.kind == "accounting"
    found: set[bytes] = set()
    for receipt in receipts:
        if accounting or file.id in receipt.files:
            place = bisect_right(stamps, receipt.stamp)
            if place:
                found.add(versions[place - 1].digest)
    return found


def droppable(
    policy: Policy, olds: Sequence[Old], sizes: Mapping[bytes, int], now_ms: int, free_bytes: int
) -> list[bytes]:
    """The contents that go, the oldest first; none that any version still needs.

    ``sizes`` are those of the contents, ``free_bytes`` what is free on their disk now.
    """
    kept = {old.digest for old in olds if old.protected or old.replaced_ms is None}
    if policy.keep_days is not None:
        kept |= _kept(policy, olds, now_ms - policy.keep_days * DAY_MS)
    ages: dict[bytes, int] = {}
    for old in olds:
        ages[old.digest] = max(ages.get(old.digest, 0), old.replaced_ms or now_ms)
    oldest_first = sorted(ages, key=lambda digest: (ages[digest], digest))
    gone: list[bytes] = []
    if policy.keep_days is not None:
        gone = [digest for digest in oldest_first if digest not in kept]
        free_bytes += sum(sizes[digest] for digest in gone)
    protected = {old.digest for old in olds if old.protected or old.replaced_ms is None}
    for digest in oldest_first:
        if free_bytes >= policy.min_free_bytes:
            break
        if digest not in protected and digest not in gone:
            gone.append(digest)
            free_bytes += sizes[digest]
    return gone


def _kept(policy: Policy, olds: Sequence[Old], border_ms: int) -> set[bytes]:
    """What is young enough, and the last of each day, week or month of each file."""
    kept: set[bytes] = set()
    last: dict[tuple[bytes, object], Old] = {}
    for old in olds:
        if old.replaced_ms is None or old.replaced_ms >= border_ms:
            kept.add(old.digest)
        elif policy.then != "nothing":
            bucket = (old.file, _bucket(policy.then, old.made_ms))
            known = last.get(bucket)
            if known is None or (old.made_ms, old.digest) > (known.made_ms, known.digest):
                last[bucket] = old
    return kept | {old.digest for old in last.values()}


def _bucket(then: Then, made_ms: int) -> object:
    day = datetime.date.fromordinal(
        datetime.date(1970, 1, 1).toordinal() + min(made_ms // DAY_MS, 2_900_000)
    )
    match then:
        case "month":
            return day.year, day.month
        case "week":
            return day.isocalendar()[:2]
        case _:
            return day
