"""A bundle as a link: what stands in the file comes as if its writer sent it (B-NET-4)."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Literal

import trio

from p2psync.engine import wire
from p2psync.engine.courier import HANDLE
from p2psync.engine.ports import LinkEnded
from p2psync.errors import P2PSyncError
from p2psync.storage.bundles import BundleFile, Spot


class BundleLink:
    """The ``Link`` of a bundle that was checked: first what the engine takes as it comes, then the
    chunks that it asks for, until ``finish``.

    ``chunks``: where the chunk with each address (32 bytes) is. ``ahead``: frames that come before
    those of the file.
    """

    direction: Literal["inbound", "outbound"] = "inbound"
    remote_address = ""

    def __init__(
        self,
        file: BundleFile,
        device: bytes,
        chunks: dict[bytes, Spot],
        ahead: tuple[bytes, ...],
        tell: Callable[[int], None],
        idle: Callable[[], None],
    ) -> None:
        """``tell`` hears how many bytes of the file were taken; ``idle`` is called when all that
        was asked for was given."""
        self.device = device
        self.error: P2PSyncError | None = None
        """Why it ended early: the file changed since it was checked, or its disk is gone."""
        self._file = file
        self._chunks = chunks
        self._ahead = deque(ahead)
        self._frames: Iterator[bytes] | None = file.frames()
        self._asked: deque[bytes] = deque()
        self._missing: list[bytes] = []
        self._work = trio.Event()
        self._finished = False
        self._tell = tell
        self._idle = idle

    async def receive(self) -> bytes:
        """Return the next frame; raises ``LinkEnded`` after ``finish``."""
        if self._ahead:
            return self._ahead.popleft()
        try:
            if self._frames is not None and not self._finished:
                frame = await trio.to_thread.run_sync(self._next, self._frames)
                if frame is not None:
                    return frame
                self._frames = None
            while not self._finished:
                if self._asked:
                    return await self._chunk(self._asked.popleft())
                if self._missing:
                    missing, self._missing = self._missing, []
                    return wire.chunks_missing_frame(HANDLE, missing)
                self._work = trio.Event()
                self._idle()
                await self._work.wait()
        except P2PSyncError as error:
            self.error = error
        raise LinkEnded

    def _next(self, frames: Iterator[bytes]) -> bytes | None:
        """The next frame that is no chunk; chunks come last."""
        frame = next(frames, None)
        if frame is None or isinstance(wire.decode(frame), wire.Chunk):
            return None
        return frame

    async def _chunk(self, address: bytes) -> bytes:
        spot = self._chunks[address]
        self._tell(spot.offset)
        return await trio.to_thread.run_sync(self._file.frame, spot)

    async def send(self, frame: bytes) -> None:
        """Take what the engine asks for."""
        message = wire.decode(frame)
        if isinstance(message, wire.ChunkWant):
            for address in message.addresses:
                (self._asked if address in self._chunks else self._missing).append(address)
            self._work.set()

    def send_now(self, frames: object) -> bool:
        """Take nothing without waiting."""
        return False

    def finish(self) -> None:
        """Nothing more is wanted."""
        self._finished = True
        self._work.set()

    async def close(self) -> None:
        """Nobody is there to be told."""

    async def abort(self) -> None:
        """Nobody is there to be told."""
