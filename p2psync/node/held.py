"""What a save that is held back is, and what ends it: values for ``shelf`` (B-HIS-3)."""

from collections import Counter
from collections.abc import Iterable, Sequence

from p2psync.core.balance import Amounts, add_side, day_of
from p2psync.core.crdt import Element, Value
from p2psync.core.files import FileState
from p2psync.core.ops import Answer, Hold
from p2psync.core.records import Record, side_of
from p2psync.node import views
from p2psync.node.copies import Copy
from p2psync.node.looking import Records, Whole


def describe(
    file: bytes,
    found: Records | Whole,
    shown: Sequence[tuple[Element, Value]],
    bytes_before: int,
    records_before: int,
) -> Hold:
    """What the others are told of a save: how much of what was there is gone; may take a while."""
    before = [record for _, value in shown for record in value.segment.records]
    after: list[Record] = []
    if isinstance(found, Records):
        after = [record for segment in found.document.segments for record in segment.records]
    gone = _without(before, after)
    amounts: Amounts = {}
    for record in gone:
        add_side(amounts, side_of(record), 1)
    days = [day_of(record.date) for record in gone if record.date is not None]
    return Hold(
        file,
        found.digest,
        bytes_before,
        found.stat.size_bytes,
        records_before,
        len(after),
        len(gone),
        len(_without(after, before)),
        _short(views.told_amounts(amounts)) if gone else "",
        min(days, default=None),
        max(days, default=None),
    )


def _without(records: Iterable[Record], others: Iterable[Record]) -> list[Record]:
    """The records, less the others: as multisets."""
    left = Counter(record.key for record in others)
    out = []
    for record in records:
        if left[record.key]:
            left[record.key] -= 1
        else:
            out.append(record)
    return out


def _short(amount: str) -> str:
    return amount if len(amount) <= 64 else ""


def answer_to(file: FileState, device: bytes, digest: bytes) -> str | None:
    """What somebody on another device said of a save that this one holds back."""
    held = file.holds.get(device)
    if held is None or held.outcome is not None or held.said.digest != digest:
        return None
    return None if held.answer is None else held.answer.verdict


def ending(
    file: FileState, copy: Copy, digest: bytes, device: bytes, verdict: str = "confirmed"
) -> tuple[Answer, ...]:
    """What ends the hold on a copy that holds a content with that digest now.

    When that is what was held back, it got the ``verdict``; otherwise it is not there any more.
    """
    held = file.holds.get(device)
    if held is None or held.outcome is not None or held.said.digest != copy.held:
        return ()
    said = verdict if digest == copy.held else "withdrawn"
    return (Answer(file.id, (held.id,), said),)
