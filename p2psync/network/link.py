"""A link: whole frames on one stream; a clean end differs from a cut (docs/spec/link.md)."""

from collections.abc import Sequence
from typing import Final, Literal

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken, LinkEnded
from p2psync.network.connection import Connection
from p2psync.network.identity import peer_id_text
from p2psync.network.pieces import Piece
from p2psync.network.stream import Stream

PROTOCOL = "/p2psync/sync/1"
PUNCHED = "/punched"
LENGTH_BYTES = 4
END_MARKER: Final = b"\xff\xff\xff\xff"
_FRAMES_A_TURN = 16
_CLOSED_HERE = "the link was closed here"


def circuit_of(relay: bytes) -> str:
    """How a link that a relay (a key of 32 bytes) passes on is named."""
    return f"/p2p/{peer_id_text(relay)}/p2p-circuit"


class StreamLink:
    """The ``Link`` port over one stream; the connection below it belongs to it alone."""

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._sending = trio.Lock()
        self._receiving = trio.Lock()
        self._length: int | None = None
        self._missing = 0
        self._partial: list[Piece] = []
        self._turns = 0
        self._over: LinkEnded | LinkBroken | None = None
        self._closed = False
        connection.carries_link = True

    @property
    def device(self) -> bytes:
        """The peer's device key, 32 bytes, proven by the handshake."""
        return self._connection.device

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        """Who dialled."""
        return self._connection.direction

    @property
    def remote_address(self) -> str:
        """The peer's multiaddr as seen here, or the relay in between; may be empty.

        Behind one that came of hole punching stands ``/punched``: nobody can call it just so.
        """
        relay = self._connection.relay
        if relay is not None:
            return circuit_of(relay)
        remote = str(self._connection.remote or "")
        return remote + PUNCHED if remote and self._connection.punched else remote

    @property
    def rtt_seconds(self) -> float | None:
        """The quickest of the last round trips, in seconds; ``None`` while none is known."""
        return self._connection.rtt_seconds

    async def send(self, frame: bytes) -> None:
        """Queue one frame; waits while more than ``limits.LINK_OUTBOX_BYTES_MAX`` bytes wait.

        A frame is queued whole or, when cancelled, not at all. Raises ``LinkBroken``, and
        ``ValueError`` for more than ``limits.FRAME_BYTES_MAX`` bytes.
        """
        if len(frame) > limits.FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {len(frame)} bytes")
        await self._turn(self._sending)
        try:
            await self._stream.room(LENGTH_BYTES + len(frame))
            self._stream.put(len(frame).to_bytes(LENGTH_BYTES, "big"), frame)
        finally:
            self._sending.release()

    def send_now(self, frames: Sequence[bytes]) -> bool:
        """Queue frames and hand them to the system; false when there is no room for all of them.

        What the system does not take at once follows by itself.
        """
        size = sum([LENGTH_BYTES + len(frame) for frame in frames])
        if self._sending.locked() or not self._stream.has_room(size):
            return False
        for frame in frames:
            self._stream.put(len(frame).to_bytes(LENGTH_BYTES, "big"), frame)
        self._connection.flush()
        return True

    async def receive(self) -> bytes:
        """The next frame; a cancelled call loses nothing. Raises ``LinkEnded``, ``LinkBroken``."""
        await self._turn(self._receiving)
        try:
            while True:
                if self._closed:
                    raise LinkBroken(_CLOSED_HERE)
                if self._over is not None:
                    raise self._over.with_traceback(None)
                frame = self._next_frame()
                if frame is not None:
                    return frame
                if self._over is None:
                    await self._wait()
        finally:
            self._receiving.release()

    async def _turn(self, lock: trio.Lock) -> None:
        """Take the lock; a checkpoint at every frame would cost more than a small frame."""
        self._turns += 1
        if self._turns % _FRAMES_A_TURN == 0:
            await trio.lowlevel.checkpoint()
        try:
            lock.acquire_nowait()
        except trio.WouldBlock:
            await lock.acquire()

    def _next_frame(self) -> bytes | None:
        stream = self._stream
        if self._length is None:
            if len(stream.inbox) < LENGTH_BYTES:
                self._missing = LENGTH_BYTES - len(stream.inbox)
                return None
            prefix = stream.take(LENGTH_BYTES)
            if prefix == END_MARKER:
                self._over = LinkEnded("the peer ended the link")
                self._connection.link_ended = True
                return None
            self._length = self._missing = int.from_bytes(prefix, "big")
            if self._length > limits.FRAME_BYTES_MAX:
                self._over = LinkBroken(f"the peer announced a frame of {self._length} bytes")
                self._connection.abort("the peer announced too large a frame")
                return None
        # A frame may be larger than the window: take what is here, so that more is granted.
        self._missing -= stream.move(self._missing, self._partial)
        if self._missing:
            return None
        frame = b"".join(self._partial)
        self._partial.clear()
        self._length = None
        return frame

    async def _wait(self) -> None:
        held = len(self._stream.inbox)
        try:
            await self._stream.more(held, self._missing)
        except LinkBroken as error:
            self._over = error
            return
        if self._stream.ended and len(self._stream.inbox) == held:
            self._over = LinkBroken("the link was cut without an end")
            self._connection.abort("the link was cut without an end")

    async def close(self) -> None:
        """End cleanly: the peer gets every frame sent before, then ``LinkEnded``.

        Waits at most the transport's ``close_seconds`` for the peer to take them. Idempotent.
        """
        if not self._closed:
            self._closed = True
            try:
                self._stream.put(END_MARKER)
                self._stream.end()
            except LinkBroken:
                self._connection.abort(_CLOSED_HERE)
            self._stream.wake()
        await self._connection.close()

    async def abort(self) -> None:
        """Cut at once: the peer gets ``LinkBroken``. Idempotent."""
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """What ``abort`` does, without a checkpoint."""
        self._closed = True
        self._connection.abort(_CLOSED_HERE)
