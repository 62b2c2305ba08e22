"""The standing links: each has a task that reads and one that writes.

Reading stops while the effects of what was read wait for the disk, so a peer that sends faster
than the disk writes is slowed down by the network's own flow control. What is to be sent waits as
a description (which entries, which chunks), not as bytes, and is read when its turn comes.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from p2psync.engine.effects import (
    Courier,
    FrameReceived,
    LinkDown,
    LinkUp,
    SendChunks,
    SendEntries,
    SendFrame,
    SendOpening,
)
from p2psync.engine.ports import Link, LinkBroken, LinkEnded, Timed
from p2psync.errors import P2PSyncError
from p2psync.limits import (
    LINK_FRAMES_UNSETTLED_MAX,
    LINK_SENDS_WAITING_BYTES_MAX,
    LINK_SENDS_WAITING_MAX,
)
from p2psync.node.meter import Meter, Pace
from p2psync.node.runner import Runner, Ticket

Send = SendFrame | SendEntries | SendOpening | SendChunks
Frames = Callable[[SendEntries | SendOpening | SendChunks], AsyncGenerator[bytes, None]]
"""Reads what a send stands for and yields it in frames of bounded size."""
SENT_AT_ONCE_MAX = 16
"""Frames that are sent where everything else waits."""
CLOSING_SECONDS = 30.0
"""How long a peer may take to read what was under way when its link is ended."""


def _ignore(_: int) -> None:
    pass


@dataclass(slots=True)
class _Standing:
    link: Link
    sends: deque[Send] = field(default_factory=deque)
    chunks: deque[SendChunks] = field(default_factory=deque)
    """Content that was asked for, which all else passes: a save must not wait for a large file."""
    waiting_bytes: int = 0
    """What ``sends`` take up."""
    work: trio.Event = field(default_factory=trio.Event)
    idle: bool = False
    """Whether the task that writes has nothing to do."""
    closing: str | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    sent: Meter = field(default_factory=Meter)
    received: Meter = field(default_factory=Meter)

    async def put(self, frame: bytes) -> None:
        """Send one frame, and count it."""
        await self.link.send(frame)
        self.sent.add(len(frame), trio.current_time())


class Links:
    """All links of this node, by number."""

    def __init__(
        self,
        runner: Runner,
        frames: Frames,
        at_once: Callable[[Send], Sequence[bytes] | None] = lambda _: None,
    ) -> None:
        """``at_once`` gives the frames that a send stands for if that takes no waiting."""
        self._runner = runner
        self._frames = frames
        self._at_once = at_once
        runner.performed = self.flush
        self._queued: dict[int, _Standing] = {}
        """Links that were idle and have something to send since the last ``flush``."""
        self._links: dict[int, _Standing] = {}
        self._next = 1

    async def serve(
        self, link: Link, courier: Courier | None = None, numbered: Callable[[int], None] = _ignore
    ) -> None:
        """Join a link to the engine until it ends, whoever ends it.

        With a ``courier`` it stands for a bundle; ``numbered`` is told the link's number.
        """
        if self._runner.broken is not None:
            await link.abort()
            return
        number, self._next = self._next, self._next + 1
        standing = self._links[number] = _Standing(link)
        outbound = link.direction == "outbound"
        self._runner.feed(LinkUp(number, link.device, outbound, link.remote_address, courier))
        numbered(number)
        clean = False
        try:
            with standing.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, standing, nursery.cancel_scope)
                    clean = await self._read(number, link)
                    nursery.cancel_scope.cancel()
        finally:
            self._links.pop(number, None)
            self._runner.feed(LinkDown(number, clean))
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await (link.abort() if standing.closing else link.close())

    async def _read(self, number: int, link: Link) -> bool:
        unsettled: deque[Ticket] = deque()
        received = self._links[number].received
        while True:
            try:
                frame = await link.receive()
            except LinkEnded:
                return True
            except LinkBroken:
                return False
            received.add(len(frame), trio.current_time())
            unsettled.append(self._runner.feed(FrameReceived(number, frame)))
            while unsettled and (unsettled[0].done or len(unsettled) >= LINK_FRAMES_UNSETTLED_MAX):
                try:
                    await unsettled.popleft().wait()
                except P2PSyncError:
                    return False

    async def _write(self, standing: _Standing, scope: trio.CancelScope) -> None:
        try:
            while True:
                await self._write_waiting(standing)
                if standing.chunks:
                    async with aclosing(self._frames(standing.chunks.popleft())) as frames:
                        async for frame in frames:
                            await standing.put(frame)
                            await self._write_waiting(standing)
                            if standing.closing is not None:
                                break
                elif standing.closing is not None:
                    break
                elif not standing.sends:
                    standing.work = trio.Event()
                    standing.idle = True
                    await standing.work.wait()
                    standing.idle = False
        except LinkBroken:
            pass
        except P2PSyncError:
            standing.closing = "cannot read what is to be sent"
        scope.cancel()

    async def _write_waiting(self, standing: _Standing) -> None:
        while standing.sends:
            send = standing.sends.popleft()
            standing.waiting_bytes -= _size(send)
            if isinstance(send, SendFrame):
                await standing.put(send.frame)
            else:
                async with aclosing(self._frames(send)) as frames:
                    async for frame in frames:
                        await standing.put(frame)

    def send(self, send: Send) -> None:
        """Queue a send; a peer that asks for ever more without reading loses its link."""
        standing = self._links.get(send.link)
        if standing is None or standing.closing is not None:
            return
        size = standing.waiting_bytes + _size(send)
        too_many = len(standing.sends) + len(standing.chunks) >= LINK_SENDS_WAITING_MAX
        if too_many or (standing.sends and size > LINK_SENDS_WAITING_BYTES_MAX):
            standing.closing = "asks for more than it reads"
            standing.scope.cancel()
            return
        if isinstance(send, SendChunks) and not send.ahead:
            standing.chunks.append(send)
        else:
            standing.sends.append(send)
            standing.waiting_bytes = size
        if standing.idle:
            self._queued[send.link] = standing
        standing.work.set()

    def flush(self) -> None:
        """Send what was queued: at once where little waits, before other tasks have their turn."""
        queued, self._queued = self._queued, {}
        for standing in queued.values():
            if standing.idle and not standing.chunks and standing.closing is None:
                self._send_now(standing)

    def _send_now(self, standing: _Standing) -> None:
        frames: list[bytes] = []
        for send in standing.sends:
            found = self._at_once(send)
            if found is None or len(frames) > SENT_AT_ONCE_MAX:
                return
            frames += found
        if standing.link.send_now(frames):
            standing.sent.add(sum(map(len, frames)), trio.current_time())
            standing.sends.clear()
            standing.waiting_bytes = 0

    def close(self, number: int, error: str) -> None:
        """End a link: at once after a mistake of the peer's, else when all is sent."""
        standing = self._links.get(number)
        if standing is None:
            return
        standing.closing = error
        # Content comes over the link that takes this one's place: there it is asked for again.
        standing.chunks.clear()
        standing.work.set()
        # What waits is sent (after a mistake, a last frame that says why), but not for ever.
        standing.scope.deadline = trio.current_time() + (1 if error else CLOSING_SECONDS)

    def paces(self) -> dict[bytes, Pace]:
        """How fast the links to each device are, the newest link's round trip."""
        now = trio.current_time()
        found: dict[bytes, Pace] = {}
        for standing in self._links.values():
            device = standing.link.device
            before = found.get(device, Pace(None, 0, 0))
            rtt = standing.link.rtt_seconds if isinstance(standing.link, Timed) else None
            found[device] = Pace(
                before.rtt_seconds if rtt is None else rtt,
                before.up + standing.sent.rate(now),
                before.down + standing.received.rate(now),
            )
        return found

    def close_all(self) -> None:
        """End every link at once."""
        for standing in list(self._links.values()):
            standing.closing = "this node stops"
            standing.scope.cancel()


def _size(send: Send) -> int:
    match send:
        case SendFrame(frame=frame):
            return len(frame)
        case SendEntries(ids=ids):
            return 8 * len(ids)  # the ids themselves are held anyway
        case _:
            return 0
