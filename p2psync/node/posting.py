"""Commands on posting: pending, post, unpost, receipts."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from p2psync.core import ops
from p2psync.core.files import FileState, Pair, Receipt
from p2psync.core.membership import MAY_WRITE
from p2psync.errors import NotAllowed, OutputExists, SeatElsewhere, SeatEmpty
from p2psync.limits import RECEIPT_SEGMENTS_MAX
from p2psync.node import find, views
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened
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

        ``output`` gets the raw lines of what is added, ``output.deleted`` those of what is to be taken
        back, when there are any; both are durable before the receipt is made. A receipt names at most
        ``RECEIPT_SEGMENTS_MAX`` lines or groups; more make several receipts.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        self._check_seat(opened)
        files = [file for file in find.files(opened, names) if views.counts(file)]
        async with opened.lock:
            added = deleted = 0
            adds: list[tuple[FileState, Pair]] = []
            drops: list[tuple[FileState, Pair]] = []
            for file in files:
                items = file.pending_items()
                more, less = file.pending()
                added, deleted = added + more, deleted + less
                adds += [(file, pair) for pair in items.adds]
                drops += [(file, pair) for pair in items.drops]
            if output is not None and (added or deleted):
                await self._hand_over(Path(output), adds, drops)
            if not added and not deleted:
                return {"receipt": None, "added": 0, "deleted": 0}
            operations = _receipts(adds, drops, added, deleted)
            known = set(opened.state.receipts)
            for operation in operations:
                await node.author(opened, [operation]).wait()
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
            raise SeatEmpty(mandate=opened.state.name)
        if seat != self._node.identity.device:
            raise SeatElsewhere(
                mandate=opened.state.name,
                who=views.person(opened.state, seat),
                machine=views.machine(opened.state, seat),
            )

    async def _hand_over(
        self,
        output: Path,
        adds: Sequence[tuple[FileState, Pair]],
        drops: Sequence[tuple[FileState, Pair]],
    ) -> None:
        """Write the raw lines for the accountant's program."""
        came = [(file, segment) for file, pair in adds if (segment := _segment(file, pair))]
        gone = [(file, segment) for file, pair in drops if (segment := _segment(file, pair))]
        # The same content under another element is no change: it stands on neither side.
        both = Counter(s.key for _, s in came) & Counter(s.key for _, s in gone)
        raws: list[list[bytes]] = []
        for segments in (came, gone):
            left = both.copy()
            lines: list[bytes] = []
            for _, segment in segments:
                if left[segment.key]:
                    left[segment.key] -= 1
                else:
                    lines.append(segment.raw)
            raws.append(lines)
        await trio.to_thread.run_sync(_write_output, output, raws[0])
        if raws[1]:
            deleted = output.with_name(output.name + ".deleted")
            await trio.to_thread.run_sync(_write_output, deleted, raws[1])

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


def _segment(file: FileState, pair: Pair) -> Any:
    return file.segments.segment_of(*pair)


def _receipts(
    adds: Sequence[tuple[FileState, Pair]],
    drops: Sequence[tuple[FileState, Pair]],
    added: int,
    deleted: int,
) -> list[ops.Post]:
    """Cut what is posted into receipts that each fit into one entry; the first tells the numbers."""
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


def _write_output(path: Path, lines: Sequence[bytes]) -> None:
    with Folder.open(Path(os.path.realpath(path.parent))) as folder:
        if folder.stat(path.name) is not None:
            raise OutputExists(path=str(path))
        folder.replace(path.name, lines, None)
