"""Two links joined in memory: the Link port without a network."""

from collections import deque
from collections.abc import Sequence
from typing import Literal

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken, LinkEnded

ROOM_BYTES = 6 * limits.MIB
"""What may wait unread in one direction, as between real links."""


class _Pipe:
    """One direction: frames, how it ended, and who waits."""

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        self.broken = False
        self.changed = trio.lowlevel.ParkingLot()

    def end(self) -> None:
        self.ended = True
        self.changed.unpark_all()

    def breaks(self) -> None:
        if not self.ended:
            self.broken = True
            self.frames.clear()
        self.changed.unpark_all()


class FakeLink:
    """One end of ``link_pair``."""

    def __init__(
        self, device: bytes, direction: Literal["inbound", "outbound"], out: _Pipe, into: _Pipe
    ) -> None:
        self._device = device
        self._direction: Literal["inbound", "outbound"] = direction
        self._out = out
        self._into = into
        self._closed = False

    @property
    def device(self) -> bytes:
        return self._device

    @property
    def direction(self) -> Literal["inbound", "outbound"]:
        return self._direction

    @property
    def remote_address(self) -> str:
        return ""

    async def send(self, frame: bytes) -> None:
        if len(frame) > limits.FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {len(frame)} bytes")
        await trio.lowlevel.checkpoint()
        while True:
            # The peer's end is the end of both directions.
            if self._closed or self._out.broken or self._into.ended or self._into.broken:
                raise LinkBroken("the link is gone")
            if not self._out.frames or self._out.size + len(frame) <= ROOM_BYTES:
                break
            await self._out.changed.park()
        self._out.frames.append(frame)
        self._out.size += len(frame)
        self._out.changed.unpark_all()

    def send_now(self, frames: Sequence[bytes]) -> bool:
        return False  # what waits is seen to wait

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise LinkBroken("the link was closed here")
            if self._into.frames:
                frame = self._into.frames.popleft()
                self._into.size -= len(frame)
                self._into.changed.unpark_all()
                return frame
            if self._into.ended:
                raise LinkEnded("the peer ended the link")
            if self._into.broken:
                raise LinkBroken("the link was cut")
            await self._into.changed.park()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._out.broken:
                self._out.end()
            self._into.changed.unpark_all()
        await trio.lowlevel.checkpoint()

    async def abort(self) -> None:
        self._closed = True
        self._out.breaks()
        self._into.breaks()
        await trio.lowlevel.checkpoint()


def link_pair(caller: bytes, called: bytes) -> tuple[FakeLink, FakeLink]:
    """The caller's end and the called one's, for two 32-byte device keys."""
    there, back = _Pipe(), _Pipe()
    return (
        FakeLink(called, "outbound", there, back),
        FakeLink(caller, "inbound", back, there),
    )
