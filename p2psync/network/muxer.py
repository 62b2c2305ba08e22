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
from p2psync.network.pieces import Piece
from p2psync.network.stream import Stream

PROTOCOL = "/yamux/1.0.0"
HEADER: Final = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
PAYLOAD_BYTES_MAX = 2 * (65_535 - 16)
"""Of one frame that we send: fills two Noise messages, and is one stream's turn."""
_SEND_WINDOW_MAX = 1 << 32
_ROUND_TRIPS = 8


class PeerBrokeMuxing(LinkBroken):
    """The peer passed a window or limit or sent what yamux does not allow: the connection ends."""


class Muxer:
    """All streams of one connection.

    ``opened`` is called for each stream that the peer opens; ``window_max`` tells how far a
    receive window may grow just now, in bytes; ``streams_max``: streams that the peer may have.
    """

    def __init__(
        self,
        *,
        dialled: bool,
        opened: Callable[[Stream], None],
        window_max: Callable[[], int],
        streams_max: int = limits.STREAMS_INBOUND_MAX,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.clock = clock
        self.window_max = window_max
        self.streams: dict[int, Stream] = {}
        self.serving = 0
        """Streams of the peer that count against its cap; their server lowers it when done."""
        self.rtt = 0.0
        """Seconds of the quickest of the last round trips; 0 while none is known."""
        self.answered_at = clock()
        """When the peer last answered: what is sent reaches it."""
        self._round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS)
        self._pinged_at: float | None = None
        self._pings = 0
        self.data_sent = False
        """Set when data was collected; who looks at it sets it back."""
        self.small_frames = 0
        """Frames that brought little or nothing; they cost more than their bytes."""
        self._opened = opened
        self._streams_max = streams_max
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
        self._say(WINDOW_UPDATE, SYN, stream.number, 0)
        return stream

    def finish(self, reason: str) -> None:
        """The connection is over: every stream breaks, but what the peer ended stays readable."""
        if self._over is None:
            self._over = reason
        for stream in list(self.streams.values()):
            stream.breaks(self._over)
        self._output.unpark_all()

    # -- out

    def _say(self, kind: int, flags: int, number: int, value: int) -> None:
        """Queue a frame without a body, ahead of all data."""
        self._control += HEADER.pack(0, kind, flags, number, value)
        self._output.unpark_all()

    def ping(self) -> None:
        """Ask the peer for a sign of life; the answer tells the round trip."""
        self._pings = (self._pings + 1) & 0xFFFFFFFF
        self._pinged_at = self.clock()
        self._say(PING, SYN, 0, self._pings)

    @property
    def pinging(self) -> bool:
        """Whether a sign of life was asked for that has not come."""
        return self._pinged_at is not None

    def go_away(self) -> None:
        """Say that the peer broke the protocol."""
        self._say(GO_AWAY, 0, 0, 1)

    def window_update(self, number: int, grant: int) -> None:
        """Let the peer send ``grant`` more bytes on a stream."""
        self._say(WINDOW_UPDATE, 0, number, grant)

    def cut(self, number: int) -> None:
        """Tell the peer that a stream is reset."""
        self._say(WINDOW_UPDATE, RST, number, 0)

    def forget(self, stream: Stream) -> None:
        """Nothing more is sent or read for this stream."""
        self.streams.pop(stream.number, None)
        self._output.unpark_all()

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

    def collect(self, count: int) -> list[Piece]:
        """What is to go out next, about ``count`` bytes of it, in pieces.

        Small frames that queued up on a stream leave as one yamux frame. Streams take turns.
        """
        pieces: list[Piece] = []
        size = 0
        if self._control:
            pieces.append(self._control)
            size = len(self._control)
            self._control = bytearray()
        while self._sendable and size < count:
            stream = self._sendable.popleft()
            self._queued.discard(stream.number)
            if stream.broken is None:
                size += self._data_frame(stream, pieces)
                self.want_to_send(stream)
        return pieces

    def _data_frame(self, stream: Stream, pieces: list[Piece]) -> int:
        n = min(len(stream.outbox), stream.send_window, PAYLOAD_BYTES_MAX)
        if n:
            self.data_sent = True
            pieces.append(HEADER.pack(0, DATA, 0, stream.number, n))
            stream.outbox.move(n, pieces)
            stream.send_window -= n
        if stream.ending and not stream.outbox:
            # In a frame of its own: js-libp2p looks at FIN first and drops what comes with it.
            pieces.append(HEADER.pack(0, WINDOW_UPDATE, FIN, stream.number, 0))
            stream.end_sent = True
            self._forget_if_over(stream)
        stream.made_room()
        return HEADER.size + n

    # -- in

    def feed(self, data: bytes) -> None:
        """Take what came in, at most 64 KiB at a time; raises ``PeerBrokeMuxing``."""
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
        if kind != DATA or value < limits.SMALL_FRAME_BYTES:
            self.small_frames += 1
        if version != 0:
            raise PeerBrokeMuxing("the peer speaks another version of yamux")
        if kind in (DATA, WINDOW_UPDATE):
            self._stream_frame(kind, flags, number, value)
        elif kind == PING:
            if flags & SYN:
                self._say(PING, ACK, 0, value)
            elif self._pinged_at is not None and value == self._pings:
                self.answered_at = self.clock()
                self._round_trips.append(self.answered_at - self._pinged_at)
                self._pinged_at = None
                self.rtt = min(self._round_trips)
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
        if stream is not None:
            stream.arrived(piece)
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
        if self.serving >= self._streams_max:
            self._refused += 1
            if self._refused > limits.STREAMS_REFUSED_MAX:
                raise PeerBrokeMuxing("the peer opens too many streams")
            self.cut(number)
            return None
        stream = Stream(self, number)
        self.streams[number] = stream
        self.serving += 1
        self._say(WINDOW_UPDATE, ACK, number, 0)
        self._opened(stream)
        return stream

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.ended and stream.end_sent:
            self.streams.pop(stream.number, None)
