"""yamux: several streams in one secure channel, with a window each (docs/spec/link.md).

Source: https://github.com/hashicorp/yamux/blob/master/spec.md. This file does no I/O and awaits
only room or data: ``feed`` takes what came in, ``collect`` gives what is to go out. So a cancelled
caller can leave nothing half done, a slow reader stops only its own stream and for as long as it
likes, and all that a peer can make large is counted here.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken

PROTOCOL = "/yamux/1.0.0"
HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
PAYLOAD_BYTES_MAX = 65_535 - 16 - HEADER.size
"""Of one frame that we send: with its header it fills one Noise message."""
_WINDOW_START = limits.LINK_WINDOW_START_BYTES
_GROW_SECONDS = 0.5
_SEND_WINDOW_MAX = 1 << 32


class PeerBrokeMuxing(LinkBroken):
    """The peer passed a window or limit or sent what yamux does not allow: the connection ends."""


class Stream:
    """One stream: bytes in order, both ways."""

    def __init__(self, muxer: "Muxer", number: int) -> None:
        self._muxer = muxer
        self.number = number
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.send_window = _WINDOW_START
        self.receive_window = _WINDOW_START
        """What the peer may still send before we grant more."""
        self._window = _WINDOW_START
        self._consumed = 0
        self._granted_at = muxer.clock()
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
        taken = bytes(self.inbox[:count]) if count < len(self.inbox) else bytes(self.inbox)
        del self.inbox[: len(taken)]
        self._consumed += len(taken)
        if self._consumed >= self._window // 2 and not self.ended and self.broken is None:
            self._grant()
        return taken

    def _grant(self) -> None:
        now = self._muxer.clock()
        growth = 0
        if now - self._granted_at < _GROW_SECONDS:
            growth = max(0, min(self._window, self._muxer.window_max() - self._window))
        self._granted_at = now
        self._window += growth
        grant = self._consumed + growth
        self._consumed = 0
        self.receive_window += grant
        self._muxer.control(WINDOW_UPDATE, 0, self.number, grant)

    async def more(self, held: int) -> None:
        """Wait until more than ``held`` bytes are buffered, or the peer ended the stream.

        Raises ``LinkBroken`` when the stream was cut and no more will come.
        """
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

    async def wait_end(self) -> None:
        """Drop what comes until the peer ends or cuts the stream."""
        while not self.ended and self.broken is None:
            self.take(len(self.inbox))
            await self._changed.park()

    # -- writing

    def put(self, *pieces: bytes) -> None:
        """Queue bytes behind all earlier ones; raises ``LinkBroken`` when nothing can be sent."""
        if self.broken is not None:
            raise LinkBroken(self.broken)
        if self.ending:
            raise LinkBroken("the stream was ended here")
        for piece in pieces:
            self.outbox += piece
        self._muxer.want_to_send(self)

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
            self._muxer.control(WINDOW_UPDATE, RST, self.number, 0)
        self.breaks(reason)

    # -- for the muxer

    def breaks(self, reason: str) -> None:
        """Nothing can be sent any more, and nothing more comes unless the peer had ended."""
        if self.broken is None:
            self.broken = reason
        self.outbox.clear()
        self._muxer.streams.pop(self.number, None)
        self._muxer.wake_output()
        self.wake()

    def wake(self) -> None:
        """Let every waiter look again."""
        self._changed.unpark_all()
        self._room.unpark_all()

    def made_room(self) -> None:
        """Some of the outbox has gone."""
        self._room.unpark_all()


class Muxer:
    """All streams of one connection.

    ``opened`` is called for each stream that the peer opens; ``window_max`` tells how far a
    receive window may grow just now, in bytes.
    """

    def __init__(
        self,
        *,
        dialled: bool,
        opened: Callable[[Stream], None],
        window_max: Callable[[], int],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.clock = clock
        self.window_max = window_max
        self.streams: dict[int, Stream] = {}
        self.serving = 0
        """Streams of the peer that count against its cap; their server lowers it when done."""
        self._opened = opened
        self._next = 1 if dialled else 2
        self._peer_parity = 0 if dialled else 1
        self._refused = 0
        self._control = bytearray()
        self._sendable: deque[Stream] = deque()
        self._queued: set[int] = set()
        self._output = trio.lowlevel.ParkingLot()
        self._head = bytearray()
        self._body_left = 0
        self._body_flags = 0
        self._body_stream: Stream | None = None
        self._over: str | None = None

    def open(self) -> Stream:
        """Open a stream; raises ``LinkBroken`` when the connection is over."""
        if self._over is not None:
            raise LinkBroken(self._over)
        stream = Stream(self, self._next)
        self._next += 2
        self.streams[stream.number] = stream
        self.control(WINDOW_UPDATE, SYN, stream.number, 0)
        return stream

    def finish(self, reason: str) -> None:
        """The connection is over: every stream breaks, but what the peer ended stays readable."""
        if self._over is None:
            self._over = reason
        for stream in list(self.streams.values()):
            stream.breaks(self._over)
        self._output.unpark_all()

    # -- out

    def control(self, kind: int, flags: int, number: int, value: int) -> None:
        """Queue a frame without a body, ahead of all data."""
        self._control += HEADER.pack(0, kind, flags, number, value)
        self._output.unpark_all()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self.control(PING, SYN, 0, 0)

    def go_away(self) -> None:
        """Say that the peer broke the protocol."""
        self.control(GO_AWAY, 0, 0, 1)

    def want_to_send(self, stream: Stream) -> None:
        """Put a stream in the queue of those with something to send."""
        ready = stream.outbox and stream.send_window > 0
        over = stream.ending and not stream.outbox and not stream.end_sent
        if (ready or over) and stream.number not in self._queued:
            self._queued.add(stream.number)
            self._sendable.append(stream)
            self._output.unpark_all()

    @property
    def drained(self) -> bool:
        """Whether everything that was queued has been collected."""
        return not self._control and not any(
            stream.outbox or (stream.ending and not stream.end_sent)
            for stream in self.streams.values()
        )

    async def output(self) -> None:
        """Wait until ``collect`` may have something; raises ``LinkBroken`` at the end."""
        if not self._control and not self._sendable and self._over is None:
            await self._output.park()
        if self._over is not None:
            raise LinkBroken(self._over)

    def wake_output(self) -> None:
        """Let the waiter of ``output`` look again."""
        self._output.unpark_all()

    def collect(self, count: int) -> list[bytes]:
        """Plaintexts of about ``count`` bytes in all, each fit for one Noise message.

        Small frames that queued up on a stream leave as one yamux frame. Streams take turns.
        """
        parts: list[bytes] = []
        size = 0
        if self._control:
            parts.append(bytes(self._control[: PAYLOAD_BYTES_MAX // 12 * 12]))
            del self._control[: len(parts[0])]
            size = len(parts[0])
        while self._sendable and size < count:
            stream = self._sendable.popleft()
            self._queued.discard(stream.number)
            if stream.broken is not None:
                continue
            part = self._data_frame(stream)
            if part:
                parts.append(part)
                size += len(part)
            self.want_to_send(stream)
        return parts

    def _data_frame(self, stream: Stream) -> bytes:
        n = min(len(stream.outbox), stream.send_window, PAYLOAD_BYTES_MAX)
        last = stream.ending and n == len(stream.outbox)
        if n == 0 and not last:
            return b""
        header = HEADER.pack(0, DATA, FIN if last else 0, stream.number, n)
        with memoryview(stream.outbox) as view:
            frame = b"".join((header, view[:n]))
        del stream.outbox[:n]
        stream.send_window -= n
        stream.made_room()
        if last:
            stream.end_sent = True
            self._forget_if_over(stream)
        return frame

    # -- in

    def feed(self, data: bytes) -> None:
        """Take what came in; raises ``PeerBrokeMuxing``."""
        view = memoryview(data)
        position = 0
        end = len(data)
        while position < end:
            if self._body_left:
                n = min(self._body_left, end - position)
                self._body(view[position : position + n])
                position += n
            elif not self._head and end - position >= HEADER.size:
                self._header(HEADER.unpack_from(data, position))
                position += HEADER.size
            else:
                n = min(HEADER.size - len(self._head), end - position)
                self._head += view[position : position + n]
                position += n
                if len(self._head) == HEADER.size:
                    fields = HEADER.unpack(self._head)
                    self._head.clear()
                    self._header(fields)
        if len(self._control) > limits.CONTROL_BYTES_MAX:
            raise PeerBrokeMuxing("the peer asks for answers and does not read them")

    def _header(self, fields: tuple[int, ...]) -> None:
        version, kind, flags, number, value = fields
        if version != 0:
            raise PeerBrokeMuxing("the peer speaks another version of yamux")
        if kind in (DATA, WINDOW_UPDATE):
            self._stream_frame(kind, flags, number, value)
        elif kind == PING:
            if flags & SYN:
                self.control(PING, ACK, 0, value)
        elif kind != GO_AWAY:
            raise PeerBrokeMuxing("the peer sent a frame of no known kind")
        # After GO_AWAY what is on its way still counts; the peer closes when it is done.

    def _stream_frame(self, kind: int, flags: int, number: int, value: int) -> None:
        stream = self._opened_by_peer(number) if flags & SYN else self.streams.get(number)
        if kind == DATA and value:
            if stream is not None:
                if value > stream.receive_window:
                    raise PeerBrokeMuxing("the peer ignored the window")
                stream.receive_window -= value
            self._body_left, self._body_stream, self._body_flags = value, stream, flags
            return
        if stream is None:
            return
        if kind == WINDOW_UPDATE and value:
            stream.send_window = min(stream.send_window + value, _SEND_WINDOW_MAX)
            self.want_to_send(stream)
        self._flags(stream, flags)

    def _body(self, piece: memoryview) -> None:
        stream = self._body_stream
        self._body_left -= len(piece)
        if stream is not None and stream.broken is None and not stream.ended:
            stream.inbox += piece
            stream.wake()
        if not self._body_left:
            self._body_stream = None
            if stream is not None:
                self._flags(stream, self._body_flags)

    def _flags(self, stream: Stream, flags: int) -> None:
        if flags & RST:
            stream.breaks("the peer cut the stream")
        elif flags & FIN:
            stream.ended = True
            stream.wake()
            self._forget_if_over(stream)

    def _opened_by_peer(self, number: int) -> Stream | None:
        if number == 0 or number % 2 != self._peer_parity or number in self.streams:
            raise PeerBrokeMuxing("the peer opened a stream under a wrong number")
        if self.serving >= limits.STREAMS_INBOUND_MAX:
            self._refused += 1
            if self._refused > limits.STREAMS_REFUSED_MAX:
                raise PeerBrokeMuxing("the peer opens too many streams")
            self.control(WINDOW_UPDATE, RST, number, 0)
            return None
        stream = Stream(self, number)
        self.streams[number] = stream
        self.serving += 1
        self.control(WINDOW_UPDATE, ACK, number, 0)
        self._opened(stream)
        return stream

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.ended and stream.end_sent:
            self.streams.pop(stream.number, None)
