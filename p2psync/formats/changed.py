"""Finds, among records that went and records that came, those that are one record edited.

A program that rewrites its file gives no lasting number to a line, so likeness decides: what
agrees in everything but the amount is a likelier pair than what has the voucher alone in common.
It is for people to see, nothing is counted by it (B-POS-5).
"""

from collections import defaultdict
from collections.abc import Sequence

from p2psync.core.records import Record

_LIKENESSES: tuple[tuple[str, ...], ...] = (
    ("voucher", "date", "debit", "credit", "text"),
    ("voucher", "amount", "text"),
    ("voucher", "date", "debit", "credit"),
    ("date", "debit", "credit", "amount"),
    ("date", "debit", "credit", "text"),
    ("voucher", "debit", "credit"),
)
"""What two records must have in common, all of it and not empty, the likeliest first."""


def edited(gone: Sequence[Record], came: Sequence[Record]) -> list[tuple[int, int]]:
    """Gives pairs (index into ``gone``, index into ``came``), each index once, by the first."""
    pairs: list[tuple[int, int]] = []
    old = list(range(len(gone)))
    new = list(range(len(came)))
    for names in _LIKENESSES:
        if not old or not new:
            break
        places: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index in reversed(old):
            likeness = _likeness(gone[index], names)
            if likeness is not None:
                places[likeness].append(index)
        left: list[int] = []
        taken: set[int] = set()
        for index in new:
            likeness = _likeness(came[index], names)
            candidates = places.get(likeness) if likeness is not None else None
            if candidates:
                match = candidates.pop()
                taken.add(match)
                pairs.append((match, index))
            else:
                left.append(index)
        new = left
        old = [index for index in old if index not in taken]
    return sorted(pairs)


def _likeness(record: Record, names: Sequence[str]) -> tuple[str, ...] | None:
    values = tuple([record.fields.get(name, "") for name in names])
    return values if all(values) else None
