"""One stream of a connection: bytes in order, both ways, with a window for each direction."""

from typing import TYPE_CHECKING

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.pieces import Piece, Pieces

if TYPE_CHECKING:
    from p2psync.network.muxer import Muxer

_QUICK_SECONDS = 0.1


class Stream:
    """One stream.

    Nothing here waits except for room or data, and a cancelled wait changes nothing.
    """

    def __init__(self, muxer: "Muxer", number: int) -> None:
        self._muxer = muxer
        self.number = number
        self.inbox = Pieces()
        self.outbox = Pieces()
        self.send_window = limits.LINK_WINDOW_START_BYTES
        self.receive_window = limits.LINK_WINDOW_START_BYTES
        """What the peer may still send before we grant more."""
        self._window = limits.LINK_WINDOW_START_BYTES
        self._consumed = 0
        self._granted_at = muxer.clock()
        self._wanted = 1
        self.ended = False
        """The peer sent FIN: nothing more comes."""
        self.ending = False
        """We send FIN once the outbox is empty."""
        self.end_sent = False
        self.broken: str | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    # -- reading

    def take(self, count: int) -> bytes:
        """Up to ``count`` buffered bytes, at once; grants the peer as much again."""
        taken = self.inbox.take(count)
        self._grant(len(taken))
        return taken

    def move(self, count: int, sink: list[Piece]) -> int:
        """Like ``take``, without a copy: the pieces go to ``sink``; returns how many bytes."""
        moved = self.inbox.move(count, sink)
        self._grant(moved)
        return moved

    def _grant(self, taken: int) -> None:
        self._consumed += taken
        if self._consumed < self._window // 2 or self.ended or self.broken is not None:
            return
        now = self._muxer.clock()
        elapsed, self._granted_at = now - self._granted_at, now
        # Half a window in a few round trips: the window, not the reader, holds the peer up.
        far = elapsed < 4 * self._muxer.rtt
        near = elapsed < _QUICK_SECONDS and self._window < limits.LINK_WINDOW_NEAR_BYTES_MAX
        growth = 0
        if far or near:
            growth = max(0, min(self._window, self._muxer.window_max() - self._window))
        self._window += growth
        grant = self._consumed + growth
        self._consumed = 0
        self.receive_window += grant
        self._muxer.window_update(self.number, grant)

    async def more(self, held: int, wanted: int = 1) -> None:
        """Wait until more than ``held`` bytes are buffered, or the peer ended the stream.

        ``wanted``: do not look up for fewer buffered bytes than this, if the window allows to
        wait for them. Raises ``LinkBroken`` when the stream was cut and no more will come.
        """
        # More than half a window may never be buffered: the peer waits for us to read.
        self._wanted = min(wanted, self._window // 2)
        while len(self.inbox) <= held and not self.ended:
            if self.broken is not None:
                raise LinkBroken(self.broken)
            await self._changed.park()

    async def read_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes, at most the window's start; for negotiations."""
        while len(self.inbox) < count:
            await self.more(len(self.inbox))
            if self.ended and len(self.inbox) < count:
                raise LinkBroken("the stream ended early")
        return self.take(count)

    async def wait_sent(self) -> None:
        """Wait until our end is on its way, behind all that was queued, or the stream is cut."""
        while not self.end_sent and self.broken is None:
            await self._room.park()

    async def wait_end(self) -> None:
        """Drop what comes until the peer ends or cuts the stream."""
        self._wanted = 1
        while not self.ended and self.broken is None:
            self.take(len(self.inbox))
            await self._changed.park()

    # -- writing

    def put(self, *pieces: Piece) -> None:
        """Queue bytes behind all earlier ones; raises ``LinkBroken`` when nothing can be sent.

        Nobody may change them afterwards.
        """
        if self.broken is not None:
            raise LinkBroken(self.broken)
        if self.ending:
            raise LinkBroken("the stream was ended here")
        for piece in pieces:
            self.outbox.add(piece)
        self._muxer.want_to_send(self)

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more bytes may be queued now."""
        return (
            self.broken is None
            and not self.ending
            and len(self.outbox) + count <= limits.LINK_OUTBOX_BYTES_MAX
        )

    async def room(self, count: int) -> None:
        """Wait until ``count`` more bytes may be queued; an empty outbox takes any frame."""
        while self.outbox and len(self.outbox) + count > limits.LINK_OUTBOX_BYTES_MAX:
            if self.broken is not None:
                raise LinkBroken(self.broken)
            await self._room.park()
        if self.broken is not None:
            raise LinkBroken(self.broken)

    async def write(self, data: bytes) -> None:
        """Queue ``data`` once there is room."""
        await self.room(len(data))
        self.put(data)

    def end(self) -> None:
        """Send FIN behind what is queued; idempotent."""
        if self.broken is None and not self.ending:
            self.ending = True
            self._muxer.want_to_send(self)

    def reset(self, reason: str = "the stream was cut here") -> None:
        """Cut both directions at once; idempotent."""
        if self.broken is None and not (self.ended and self.end_sent):
            self._muxer.cut(self.number)
        self.breaks(reason)

    # -- for the muxer

    def arrived(self, piece: memoryview) -> None:
        """Bytes of the peer; what comes for a stream that is over is dropped."""
        if self.broken is None and not self.ended:
            self.inbox.add(piece)
            if len(self.inbox) >= self._wanted:
                self._changed.unpark_all()

    def breaks(self, reason: str) -> None:
        """Nothing can be sent any more, and nothing more comes unless the peer had ended."""
        if self.broken is None:
            self.broken = reason
        self.outbox.clear()
        self._muxer.forget(self)
        self.wake()

    def wake(self) -> None:
        """Let every waiter look again."""
        self._changed.unpark_all()
        self._room.unpark_all()

    def made_room(self) -> None:
        """Some of the outbox has gone."""
        self._room.unpark_all()
