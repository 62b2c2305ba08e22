"""Commands on posting: pending, post, unpost, receipts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto, ops
from p2psync.core.crdt import weighed
from p2psync.core.files import FileState, Pair, PendingItems, Receipt
from p2psync.core.membership import MAY_WRITE
from p2psync.core.records import Segment
from p2psync.errors import (
    CurrencyInvalid,
    NotAllowed,
    OutputExists,
    OutputFormatUnknown,
    OutputNeeded,
    P2PSyncError,
    SeatElsewhere,
    SeatEmpty,
)
from p2psync.formats import exports
from p2psync.formats.checks import settings_for
from p2psync.formats.cresus_settings import Settings
from p2psync.limits import ENTRY_BYTES_MAX, RECEIPT_SEGMENTS_MAX
from p2psync.node import find, views
from p2psync.node.closed import check_open
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.paths import local_path
from p2psync.node.pending import Pending
from p2psync.node.tallies import state_mark
from p2psync.storage.folder import Folder

Json = dict[str, Any]
Named = tuple[bool, FileState, Pair]
"""A line or group that is posted: whether it is to be added, its file, its element and key."""

_NAMES_BYTES_MAX = ENTRY_BYTES_MAX * 7 // 8
"""What the names in a receipt may take; the rest of the entry has room besides."""
_IN_RUN_BYTES, _ALONE_BYTES = 22, 60
"""What naming an element takes at most: beside one of the same entry, and by itself."""


class Posting:
    """What the accountant does with pending records."""

    def __init__(self, node: Node, mandates: Mandates) -> None:
        self._node = node
        self._mandates = mandates
        self.waiting = Pending(node, mandates.content)

    async def pending(self, mandate: str, names: list[str], records: int) -> Json:
        """What waits to be posted."""
        return await self.waiting.view(mandate, names, records)

    async def post(
        self,
        mandate: str,
        names: list[str],
        output: str | None,
        format_name: str,
        currency: str,
    ) -> Json:
        """Integrate pending records of some sources and sign a receipt (B-POS-3).

        ``output`` gets what is added, ``output.deleted`` what is to be taken back, when there is
        any and the format has no way to say it in one file; both are durable before the receipt is
        made. A receipt names at most ``RECEIPT_SEGMENTS_MAX`` lines or groups; more make several.
        """
        node = self._node
        _check_format(format_name, currency, output)
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        check_open(opened)
        place = None if output is None else await trio.to_thread.run_sync(local_path, output)
        if place is not None:
            self._mandates.attaching.check_apart([place, _beside(place)])
        self._check_seat(opened)
        years = [] if output is None else await self._mandates.content.years(opened)
        unexpressed = 0
        written: Path | None = None
        async with opened.lock:
            opened.check_listed()
            check_open(opened)
            self._check_seat(opened)
            files = [file for file in find.files(opened, names) if views.counts(file)]
            with _reading(files):
                waiting = await _waiting(opened, files)
                # What is handed over and what the receipt names are one state: no waiting between.
                adds = [(file, pair) for file, items in waiting for pair in items.adds]
                drops = [(file, pair) for file, items in waiting for pair in items.drops]
                added = sum(file.pending()[0] for file, _ in waiting)
                deleted = sum(file.pending()[1] for file, _ in waiting)
                if not added and not deleted:
                    return {"receipt": None, "added": 0, "deleted": 0}
                operations = _receipts(adds, drops, added, deleted)
                if place is not None:
                    came, gone = _handed(opened, adds, drops, years)
                    made_of = await trio.to_thread.run_sync(
                        exports.write, format_name, came, gone, currency
                    )
                    unexpressed = made_of.unexpressed
                    written = await trio.to_thread.run_sync(_hand_over, place, made_of)
                try:
                    # The seat may have been handed over while somebody waited: nothing waits from
                    # here until the receipt is made.
                    self._check_seat(opened)
                except P2PSyncError:
                    if place is not None:
                        await trio.to_thread.run_sync(_take_back, place, made_of)
                    raise
                known = set(opened.state.receipts)
                # One transaction: a post that is broken off has posted all of it or nothing.
                ticket = node.author(opened, *([operation] for operation in operations))
            await ticket.wait()
            made = sorted(
                (opened.state.receipts[each] for each in opened.state.receipts.keys() - known),
                key=lambda receipt: (receipt.stamp, receipt.id),
            )
        answer: Json = {"receipt": made[0].name, "added": added, "deleted": deleted}
        if len(made) > 1:
            answer["receipts"] = [receipt.name for receipt in made]
        if output is not None:
            answer |= {"output": output, "format": format_name}
            if written is not None:
                answer["output_deleted"] = str(written)
            if unexpressed:
                answer["unexpressed"] = unexpressed
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
        check_open(opened)
        receipt = find.receipt(opened, text)
        self._check_seat(opened)
        if receipt.id not in opened.state.retracted:
            await node.author(opened, [ops.Unpost((receipt.id,))]).wait()
        return {"receipt": receipt.name, "state": "retracted"}

    async def receipts(self, mandate: str) -> Json:
        """The receipts, newest first, and what waits for one: generated or delivered (B-POS-4)."""
        opened = find.mandate(self._node.opened.values(), mandate)
        await self._node.delivery.load(opened)
        every: list[Receipt] = sorted(
            opened.state.receipts.values(),
            key=lambda receipt: (receipt.stamp, receipt.id),
            reverse=True,
        )
        names, own = opened.names(), self._node.identity.device
        waiting = [
            views.waiting_view(opened, file, names[file.id], own)
            for file in opened.listed()
            if views.counts(file) and file.current() is not None and file.pending() != (0, 0)
        ]
        return {
            "waiting": waiting,
            "receipts": [views.receipt_view(opened, receipt) for receipt in every],
        }

    def check_may_write(self, opened: Opened, action: str) -> None:
        """Raise ``NotAllowed`` unless this device's role lets it write."""
        role = opened.state.membership.role(self._node.identity.device)
        if role is not None and role not in MAY_WRITE:
            raise NotAllowed(action=action, roles=", ".join(sorted(MAY_WRITE)))


@contextmanager
def _reading(files: Sequence[FileState]) -> Iterator[None]:
    """Let each segment of some files be read once only within the block."""
    try:
        yield
    finally:
        for file in files:
            if file.loaded:
                file.body.forget()


async def _waiting(
    opened: Opened, files: Sequence[FileState]
) -> list[tuple[FileState, PendingItems]]:
    """What waits of each file, all of it now; others have had their turn meanwhile."""
    found: dict[bytes, tuple[bytes, PendingItems]] = {}
    while True:
        stale = [
            file
            for file in files
            if file.pending() != (0, 0)
            and found.get(file.id, (b"",))[0] != state_mark(opened, file)
        ]
        if not stale:
            return [(file, found[file.id][1]) for file in files if file.pending() != (0, 0)]
        for file in stale:
            body = file.body
            body.remember()
            segments = body.segments
            if not segments.balanced:
                revision, contents = segments.revision, segments.contents()
                balance = await trio.to_thread.run_sync(weighed, contents, segments.read)
                segments.take_balance(revision, balance)
            found[file.id] = state_mark(opened, file), file.pending_items()
            await trio.lowlevel.checkpoint()


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
    for part in _parts(every):
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


def _parts(every: Sequence[Named]) -> Iterator[Sequence[Named]]:
    """Cut what is posted by the room that its names take.

    Lines of one save are named in runs, but elements that stand for identifiers one by one.
    """
    start = size = 0
    before = b""
    for index, (_, _, ((entry, _), _)) in enumerate(every):
        cost = _IN_RUN_BYTES if entry == before else _ALONE_BYTES
        if size + cost > _NAMES_BYTES_MAX or index - start >= RECEIPT_SEGMENTS_MAX:
            yield every[start:index]
            start, size = index, 0
        size += cost
        before = entry
    if start < len(every):
        yield every[start:]


def _taken(items: Sequence[tuple[FileState, Pair]]) -> tuple[ops.Taken, ...]:
    """Group by file; an element that stands for two contents needs two groups."""
    groups: dict[tuple[bytes, int], list[Pair]] = {}
    seen: Counter[tuple[bytes, ops.OpId]] = Counter()
    for file, pair in items:
        turn = seen[(file.id, pair[0])]
        seen[(file.id, pair[0])] += 1
        groups.setdefault((file.id, turn), []).append(pair)
    return tuple(ops.take(file, pairs) for (file, _), pairs in sorted(groups.items()))


def _check_format(format_name: str, currency: str, output: str | None) -> None:
    if format_name not in exports.KINDS:
        raise OutputFormatUnknown(format=format_name[:80], formats=", ".join(exports.KINDS))
    if output is None and format_name != exports.KINDS[0]:
        raise OutputNeeded
    if exports.CURRENCY.fullmatch(currency) is None:
        raise CurrencyInvalid(currency=currency[:80])


def _handed(
    opened: Opened,
    adds: Sequence[tuple[FileState, Pair]],
    drops: Sequence[tuple[FileState, Pair]],
    years: Sequence[Settings],
) -> tuple[list[exports.Item], list[exports.Item]]:
    """What the accountant's program gets: to add, and to take back."""
    names = opened.names()

    def items(pairs: Sequence[tuple[FileState, Pair]]) -> list[exports.Item]:
        out = []
        for file, pair in pairs:
            segment = file.segments.segment_of(*pair)
            if segment is not None:
                name = names.get(file.id, file.info.name)
                out.append(exports.Item(segment, name, _period(segment, file, years)))
        return out

    came, gone = items(adds), items(drops)
    # The same content under another element is no change: it stands on neither side.
    both = Counter(map(_content, came)) & Counter(map(_content, gone))
    return _without(came, both), _without(gone, both)


def _content(item: exports.Item) -> tuple[str, bytes]:
    return item.file, item.segment.key


def _period(segment: Segment, file: FileState, years: Sequence[Settings]) -> str:
    if not years:
        return views.file_period(file) or ""
    year = settings_for(segment.dates[0] if segment.dates else None, years)
    return (views.period_text(year.period) if year is not None else None) or ""


def _without(items: Sequence[exports.Item], left: Counter[tuple[str, bytes]]) -> list[exports.Item]:
    left = left.copy()
    kept: list[exports.Item] = []
    for item in items:
        if left[_content(item)]:
            left[_content(item)] -= 1
        else:
            kept.append(item)
    return kept


def _hand_over(output: Path, made: exports.Outputs) -> Path | None:
    """Write the outputs, durably; returns the second file, when there is one.

    A file that is there already counts when it holds just that: a post that was broken off before
    its receipt can be made again. Raises ``OutputExists`` for any other, before anything is
    written.
    """
    deleted = _beside(output)
    wanted = {output.name: made.added}
    if made.deleted is not None:
        wanted[deleted.name] = made.deleted
    with Folder.open(output.parent) as folder:
        missing = []
        for path in (output, deleted):
            if folder.stat(path.name) is None:
                missing.append(path.name)
                continue
            content = wanted.get(path.name)
            held = crypto.content_digest(content) if content is not None else None
            if folder.digest(path.name) != held:
                raise OutputExists(path=str(path))
        for name, content in wanted.items():
            if name in missing:
                folder.replace(name, [content], None)
    return None if made.deleted is None else deleted


def _take_back(output: Path, made: exports.Outputs) -> None:
    """Take away what was handed over and is not posted, as far as it is still that."""
    wanted = {output.name: made.added}
    if made.deleted is not None:
        wanted[_beside(output).name] = made.deleted
    with suppress(P2PSyncError), Folder.open(output.parent) as folder:
        for name, content in wanted.items():
            with suppress(P2PSyncError):
                folder.remove(name, crypto.content_digest(content))


def _beside(output: Path) -> Path:
    """Where what is to be taken back goes."""
    return output.with_name(output.name + ".deleted")
