"""Commands on posting: pending, post, unpost, receipts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto, ops
from p2psync.core.files import FileState, Pair, Receipt
from p2psync.core.membership import MAY_WRITE
from p2psync.core.records import Segment
from p2psync.errors import NotAllowed, OutputExists, SeatElsewhere, SeatEmpty
from p2psync.limits import RECEIPT_SEGMENTS_MAX
from p2psync.node import find, views
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.storage.folder import Folder

Json = dict[str, Any]


class Posting:
    """What the accountant does with pending records."""

    def __init__(self, node: Node, mandates: Mandates) -> None:
        self._node = node
        self._mandates = mandates

    async def pending(self, mandate: str) -> Json:
        """What waits to be posted."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return views.pending_view(opened, await self._mandates.years(opened))

    async def post(self, mandate: str, names: list[str], output: str | None) -> Json:
        """Integrate pending records of some sources and sign a receipt (B-POS-3).

        ``output`` gets the raw lines of what is added, ``output.deleted`` those of what is to be
        taken back, when there are any; both are durable before the receipt is made. A receipt
        names at most ``RECEIPT_SEGMENTS_MAX`` lines or groups; more make several receipts.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        place = None if output is None else await trio.to_thread.run_sync(local_path, output)
        self._check_seat(opened)
        async with opened.lock:
            files = [file for file in find.files(opened, names) if views.counts(file)]
            added = deleted = 0
            adds: list[tuple[FileState, Pair]] = []
            drops: list[tuple[FileState, Pair]] = []
            # What is handed over and what the receipt names are one state: no waiting in between.
            for file in files:
                items = file.pending_items()
                more, less = file.pending()
                added, deleted = added + more, deleted + less
                adds += [(file, pair) for pair in items.adds]
                drops += [(file, pair) for pair in items.drops]
            if not added and not deleted:
                return {"receipt": None, "added": 0, "deleted": 0}
            operations = _receipts(adds, drops, added, deleted)
            if place is not None:
                came, gone = _lines(adds, drops)
                await trio.to_thread.run_sync(_hand_over, place, came, gone)
            known = set(opened.state.receipts)
            # One transaction: a post that is broken off has posted all of it or nothing.
            await node.author(opened, *([operation] for operation in operations)).wait()
            made = sorted(
                (opened.state.receipts[each] for each in opened.state.receipts.keys() - known),
                key=lambda receipt: (receipt.stamp, receipt.id),
            )
        answer: Json = {"receipt": made[0].name, "added": added, "deleted": deleted}
        if len(made) > 1:
            answer["receipts"] = [receipt.name for receipt in made]
        if output is not None:
            answer["output"] = output
        return answer

    def _check_seat(self, opened: Opened) -> None:
        """Only the device that holds the accounting seat posts (B-POS-7)."""
        seat = opened.state.seat()
        if seat is None:
            raise SeatEmpty(mandate=opened.name)
        if seat != self._node.identity.device:
            raise SeatElsewhere(
                mandate=opened.name,
                who=views.person(opened.state, seat),
                machine=views.machine(opened.state, seat),
            )

    async def unpost(self, mandate: str, text: str) -> Json:
        """Retract a receipt (B-POS-5)."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        receipt = find.receipt(opened, text)
        self._check_seat(opened)
        if receipt.id not in opened.state.retracted:
            await node.author(opened, [ops.Unpost((receipt.id,))]).wait()
        return {"receipt": receipt.name, "state": "retracted"}

    def receipts(self, mandate: str) -> Json:
        """The receipts, newest first."""
        opened = find.mandate(self._node.opened.values(), mandate)
        every: list[Receipt] = sorted(
            opened.state.receipts.values(),
            key=lambda receipt: (receipt.stamp, receipt.id),
            reverse=True,
        )
        return {"receipts": [views.receipt_view(opened, receipt) for receipt in every]}

    def check_may_write(self, opened: Opened, action: str) -> None:
        """Raise ``NotAllowed`` unless this device's role lets it write."""
        role = opened.state.membership.role(self._node.identity.device)
        if role is not None and role not in MAY_WRITE:
            raise NotAllowed(action=action, roles=", ".join(sorted(MAY_WRITE)))


def _receipts(
    adds: Sequence[tuple[FileState, Pair]],
    drops: Sequence[tuple[FileState, Pair]],
    added: int,
    deleted: int,
) -> list[ops.Post]:
    """Cut what is posted into receipts that fit into one entry; the first tells the numbers."""
    every = [(True, file, pair) for file, pair in adds]
    every += [(False, file, pair) for file, pair in drops]
    out: list[ops.Post] = []
    for start in range(0, len(every), RECEIPT_SEGMENTS_MAX):
        part = every[start : start + RECEIPT_SEGMENTS_MAX]
        out.append(
            ops.Post(
                1,
                _taken([(file, pair) for is_add, file, pair in part if is_add]),
                _taken([(file, pair) for is_add, file, pair in part if not is_add]),
                0 if out else added,
                0 if out else deleted,
            )
        )
    return out


def _taken(items: Sequence[tuple[FileState, Pair]]) -> tuple[ops.Taken, ...]:
    """Group by file; an element that stands for two contents needs two groups."""
    groups: dict[tuple[bytes, int], list[Pair]] = {}
    seen: Counter[tuple[bytes, ops.OpId]] = Counter()
    for file, pair in items:
        turn = seen[(file.id, pair[0])]
        seen[(file.id, pair[0])] += 1
        groups.setdefault((file.id, turn), []).append(pair)
    return tuple(ops.take(file, pairs) for (file, _), pairs in sorted(groups.items()))


def _lines(
    adds: Sequence[tuple[FileState, Pair]], drops: Sequence[tuple[FileState, Pair]]
) -> tuple[list[bytes], list[bytes]]:
    """The raw lines for the accountant's program: to add, and to take back."""
    came = [segment for file, pair in adds if (segment := file.segments.segment_of(*pair))]
    gone = [segment for file, pair in drops if (segment := file.segments.segment_of(*pair))]
    # The same content under another element is no change: it stands on neither side.
    both = Counter(segment.key for segment in came) & Counter(segment.key for segment in gone)
    return _without(came, both), _without(gone, both)


def _without(segments: Sequence[Segment], left: Counter[bytes]) -> list[bytes]:
    left = left.copy()
    lines: list[bytes] = []
    for segment in segments:
        if left[segment.key]:
            left[segment.key] -= 1
        else:
            lines.append(segment.raw)
    return lines


def _hand_over(output: Path, came: Sequence[bytes], gone: Sequence[bytes]) -> None:
    """Write both outputs, durably.

    A file that is there already counts when it holds just that: a post that was broken off before
    its receipt can be made again. Raises ``OutputExists`` for any other, before anything is
    written.
    """
    deleted = output.with_name(output.name + ".deleted")
    wanted = {output.name: came}
    if gone:
        wanted[deleted.name] = gone
    with Folder.open(output.parent) as folder:
        missing = []
        for path in (output, deleted):
            if folder.stat(path.name) is None:
                missing.append(path.name)
                continue
            lines = wanted.get(path.name)
            held = crypto.content_digest(b"".join(lines)) if lines is not None else None
            if folder.digest(path.name) != held:
                raise OutputExists(path=str(path))
        for name, lines in wanted.items():
            if name in missing:
                folder.replace(name, lines, None)
