"""What should have happened and did not: a source that is late (B-NOT-1), a mandate that meets
nobody.

One timer for all files of all mandates: a heap of the times when something may be late. Each file
and each mandate is in it once, and is looked at when its time comes, not before.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import trio

from p2psync.core import clock as hlc
from p2psync.core.changes import (
    Change,
    FileDetached,
    FileExpected,
    FileReturned,
    FileSaved,
    MandateClosed,
    MandateShared,
    MemberJoined,
    MemberLeft,
)
from p2psync.core.files import FileState
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened
from p2psync.node.timing import Clock
from p2psync.node.views import iso

MEETS_NOBODY_SECONDS = 24 * 3600
"""A shared mandate that met no other device for so long gets an alert; its state shows it at
once."""
AWAKE_SECONDS = 15 * 60
"""After its start, or after the machine slept, the node first gets so long to meet somebody."""
LOOK_SECONDS_MAX = 3600.0
"""Machines sleep and clocks are set: the timer looks at the clock again after so long."""
_SLEPT_MS = 60_000
_MANDATE = b""
"""Stands for the mandate itself among its files."""

Due = tuple[int, bytes, bytes]


class Silence:
    """Raises and settles ``source-silent`` and ``cannot-sync``."""

    def __init__(
        self,
        notices: Notices,
        clock: Clock,
        opened: Callable[[], Mapping[bytes, Opened]],
        trouble: Callable[[Opened], Literal["", "waiting", "offline"]],
    ) -> None:
        """``trouble`` tells why a mandate does not sync now, if others would have to be met."""
        self._notices = notices
        self._clock = clock
        self._opened = opened
        self._trouble = trouble
        self._heap: list[Due] = []
        self._due: dict[tuple[bytes, bytes], int] = {}
        """What is in the heap and still holds."""
        self._met_ms: dict[bytes, int] = {}
        self._wake = trio.Event()
        self._awake_ms = 0
        """Since when this machine is awake."""

    def start(self, last_met: Mapping[bytes, int]) -> None:
        """Take down when mandates last met anybody, in ms since 1970, before they are opened."""
        self._met_ms = dict(last_met)
        self._awake_ms = self._clock.now_ms()

    async def run(self) -> None:
        """Look at what may be late, when it may be, until cancelled."""
        while True:
            self._wake = trio.Event()
            before = (self._clock.now_ms(), self._clock.awake_seconds())
            seconds = self._seconds()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait, seconds, nursery.cancel_scope)
                await self._wake.wait()
                nursery.cancel_scope.cancel()
            passed_ms = (self._clock.awake_seconds() - before[1]) * 1000
            if self._clock.now_ms() - before[0] - passed_ms > _SLEPT_MS:
                self._awake_ms = self._clock.now_ms()
            self.look()

    async def _wait(self, seconds: float, scope: trio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        scope.cancel()

    def _seconds(self) -> float:
        while self._heap and self._due.get(self._heap[0][1:]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # overtaken
        if not self._heap:
            return float("inf")
        return min(max(self._heap[0][0] - self._clock.now_ms(), 0) / 1000, LOOK_SECONDS_MAX)

    def look(self) -> None:
        """Look at everything whose time has come."""
        now = self._clock.now_ms()
        while self._heap and self._heap[0][0] <= now:
            due, mandate, file = heapq.heappop(self._heap)
            if self._due.get((mandate, file)) != due:
                continue
            del self._due[(mandate, file)]
            opened = self._opened().get(mandate)
            if opened is None:
                continue
            if file == _MANDATE:
                self.meeting(opened)
            else:
                self.file(opened, file)

    def _put(self, due_ms: int, mandate: bytes, file: bytes) -> None:
        if self._due.get((mandate, file)) == due_ms:
            return
        self._due[(mandate, file)] = due_ms
        heapq.heappush(self._heap, (due_ms, mandate, file))
        if self._heap[0] == (due_ms, mandate, file):
            self._wake.set()

    # -- what the node tells --------------------------------------------------------------------

    def admit(self, opened: Opened) -> None:
        """A mandate was opened, closed or reopened: look at all of it."""
        for file in opened.state.files.values():
            if file.expected is not None:
                self.file(opened, file.id)
        self.meeting(opened)

    def forget(self, mandate: bytes) -> None:
        """A mandate is no concern of this device any more."""
        for key in [each for each in self._due if each[0] == mandate]:
            del self._due[key]
        self._met_ms.pop(mandate, None)

    def changed(self, opened: Opened, changes: Iterable[Change]) -> None:
        """Entries came: look at what they may make late, or no more."""
        for change in changes:
            match change:
                case (
                    FileSaved(file=file_id)
                    | FileExpected(file=file_id)
                    | FileDetached(file=file_id)
                    | FileReturned(file=file_id)
                ):
                    self.file(opened, file_id)
                case MandateClosed():
                    self.admit(opened)
                case MandateShared() | MemberJoined() | MemberLeft():
                    self.meeting(opened)
                case _:
                    pass

    def file(self, opened: Opened, file_id: bytes) -> None:
        """A file was saved, promised something, was detached, or its time has come."""
        file = opened.state.files.get(file_id)
        key = f"source-silent:{file_id.hex()}"
        promised = 0 if file is None or not file.present else file.expected_seconds
        last = None if file is None else last_save_ms(file)
        if file is None or last is None or not promised or opened.state.standing.closed:
            self._due.pop((opened.id, file_id), None)
            self._notices.settle("source-silent", mandate=opened.id, key=key)
            return
        now = self._clock.now_ms()
        due = min(last, now) + promised * 1000 + 1
        if now < due:
            self._put(due, opened.id, file_id)
            self._notices.settle("source-silent", mandate=opened.id, key=key)
            return
        current = file.current()
        self._notices.alert_text(
            "source-silent",
            "{file} was not saved since {since}, although it promised to be every {promised}",
            mandate=opened.id,
            file=opened.names().get(file_id, file.info.name),
            device=file.device if current is None else current.device,
            key=key,
            since=_day(last),
            promised=span(promised),
            data={"promised_seconds": promised},
        )

    def met(self, opened: Opened) -> None:
        """A device of a mandate came or went."""
        self._met_ms[opened.id] = self._clock.now_ms()
        self.meeting(opened)

    def meeting(self, opened: Opened) -> None:
        """Look at whether a mandate meets others, and for how long it did not."""
        trouble = self._trouble(opened)
        now = self._clock.now_ms()
        if not trouble:
            self._notices.settle("cannot-sync", mandate=opened.id, key="cannot-sync")
            self._met_ms[opened.id] = now
            if opened.shared:
                self._put(now + MEETS_NOBODY_SECONDS * 1000, opened.id, _MANDATE)
            else:
                self._due.pop((opened.id, _MANDATE), None)
            return
        since = min(self._met_ms.setdefault(opened.id, max(opened.row.created_ms, 0)), now)
        due = max(since + MEETS_NOBODY_SECONDS * 1000, self._awake_ms + AWAKE_SECONDS * 1000)
        if now < due:
            self._put(due, opened.id, _MANDATE)
            return
        if trouble == "waiting":
            self._notices.alert_text(
                "cannot-sync",
                "{name} does not sync: no member has let this device in for a day",
                mandate=opened.id,
                key="cannot-sync",
                name=opened.name,
            )
        else:
            self._notices.alert_text(
                "cannot-sync",
                "{name} does not sync: no other device was reached since {since}",
                mandate=opened.id,
                key="cannot-sync",
                name=opened.name,
                since=_day(since),
            )


def last_save_ms(file: FileState) -> int | None:
    """When the newest version of a file was saved, in ms since 1970; ``None`` before the first."""
    times = [file.versions[head].hlc for head in file.heads if head in file.versions]
    return hlc.milliseconds(max(times)) if times else None


def span(seconds: int) -> str:
    """Return a length of time as it is typed: ``7d``, ``12h``, ``30m``."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _day(milliseconds: int) -> str:
    return iso(milliseconds)[:16].replace("T", " ") + " UTC"
