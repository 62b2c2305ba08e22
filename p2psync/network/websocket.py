"""WebSocket as the ground of a connection (RFC 6455, docs/spec/websocket.md)."""

from p2psync.engine.ports import LinkBroken
from p2psync.network.address import TcpAddress
from p2psync.network.bytestream import Channel
from p2psync.network.layer import Layer
from p2psync.network.websocket_frames import (
    Close,
    Frames,
    PeerBrokeFraming,
    close_frame,
    frame,
    new_mask,
    pong_frame,
)


class WebSocket(Layer):
    """Bytes in binary messages, after the opening handshake.

    ``client``: whether this end opened it. ``sealed``: whether TLS is below. ``remote``: who the
    peer is when a reverse proxy stands between; else the channel below knows.
    """

    def __init__(
        self,
        below: Channel,
        *,
        client: bool,
        sealed: bool = False,
        remote: TcpAddress | None = None,
    ) -> None:
        super().__init__(below)
        self._client = client
        self._sealed = sealed
        self._remote = remote
        self._frames = Frames(masked=not client)
        self._raw = b""
        """What came and could not be taken apart yet."""
        self._more = False
        """Whether whole frames may be among it."""
        self._closing = False

    @property
    def remote(self) -> TcpAddress | None:
        """Where the other end is."""
        return self._remote or self._below.remote

    def _mask(self) -> bytes | None:
        return new_mask(sealed=self._sealed) if self._client else None

    def _wrap(self, data: memoryview) -> bytearray:
        if self._closing:
            raise LinkBroken("the connection was closed")
        return frame(data, mask=self._mask())

    def _fill(self, buffer: memoryview) -> int | None:
        while True:
            held, rest = self._raw[: len(buffer)], self._raw[len(buffer) :]
            size = len(held)
            buffer[:size] = held
            if not self._more:
                came = self._below.receive_now(buffer[size:])
                if not came:
                    self._ended = came == 0
                    return came
                size += came
            count, at = self._take_apart(buffer[:size])
            self._raw = bytes(buffer[at:size]) + rest
            self._more = self._frames.turned or bool(rest)
            if count:
                return count
            if self._ended:
                return 0

    def _take_apart(self, view: memoryview) -> tuple[int, int]:
        frames = self._frames
        try:
            found = frames.open(view)
        except PeerBrokeFraming as error:
            self._say_close(error.code)
            raise
        if frames.ping is not None:
            # Of several the last is answered, and none while much waits to go out.
            if not self._outbox and not self._closing:
                self._put(pong_frame(frames.ping, mask=self._mask()))
            frames.ping = None
        if frames.closed is not None:
            self._say_close(Close.NORMAL)
            self._ended = True
        return found

    def _say_close(self, code: Close) -> None:
        if not self._closing:
            self._closing = True
            self._put(close_frame(code, mask=self._mask()))

    def end(self) -> None:
        """Tell the peer that nothing more comes; reading goes on until it has answered."""
        self._say_close(Close.NORMAL)
