"""One connection to a device: TCP, Noise, yamux; what it takes to get there and to stay there.

Three tasks run a connection: one owns reading, one owns writing, one watches for silence. Nobody
else touches the channel, so no caller's cancellation can cut a message in half.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio

from p2psync import limits
from p2psync.core.crypto import SigningKey
from p2psync.engine.ports import LinkBroken
from p2psync.network import muxer as yamux
from p2psync.network import negotiation, noise
from p2psync.network.bytestream import Channel
from p2psync.network.config import TransportConfig
from p2psync.network.muxer import Muxer, PeerBrokeMuxing
from p2psync.network.noise import NoiseSession
from p2psync.network.stream import Stream

if TYPE_CHECKING:
    # libp2p installs trio-typing, whose stubs hide trio's own types from mypy.
    from trio_typing import TaskStatus

logger = logging.getLogger(__name__)

_BATCH_BYTES = 256 * 1024
_SMALL_FRAMES_A_TURN = 500
_BURST_SECONDS = 2
_CLOSED_HERE = "the connection was closed here"

StreamHandler = Callable[["Connection", Stream], Awaitable[None]]
"""Serves one stream that the peer opened; the stream is ended when it returns."""

Spawn = Callable[[Callable[[], Awaitable[None]]], None]
"""Starts a task that may outlive the connection."""


async def upgrade_outbound(stream: Channel, keys: SigningKey, device: bytes) -> NoiseSession:
    """Secure a connection that we opened to ``device``; nothing but Noise is proposed."""
    await negotiation.propose(stream, noise.PROTOCOL)
    session = await noise.secure(stream, keys, device)
    await negotiation.propose(session, yamux.PROTOCOL)
    return session


async def upgrade_inbound(stream: Channel, keys: SigningKey) -> NoiseSession:
    """Secure a connection that somebody opened to us; nothing but Noise is accepted."""
    await negotiation.answer(stream, (noise.PROTOCOL,))
    session = await noise.secure(stream, keys, None)
    await negotiation.answer(session, (yamux.PROTOCOL,))
    return session


class Connection:
    """Streams to one device over one secured channel."""

    def __init__(
        self,
        session: NoiseSession,
        direction: Literal["inbound", "outbound"],
        handlers: Mapping[str, StreamHandler],
        spawn: Spawn,
        config: TransportConfig,
        relay: bytes | None = None,
        doubted: Callable[[], None] | None = None,
    ) -> None:
        """``doubted`` is called when the peer says nothing for ``doubt_seconds`` after data was
        sent, long before it is taken for dead.
        """
        self.device = session.device
        self.direction: Literal["inbound", "outbound"] = direction
        self.remote = session.stream.remote
        self.relay = relay
        """The relay (device key of 32 bytes) that passes it on; None when it is direct."""
        self.punched = False
        """Whether both ends called one another through their NATs at once."""
        self.carries_link = False
        self.link_ended = False
        """Whether the peer ended the link properly."""
        self._holds = 0
        self._kept_until = 0.0
        self.ended = trio.Event()
        """Set once nothing of the connection is left but unread data."""
        self._session = session
        self._handlers = handlers
        self._spawn = spawn
        self._config = config
        self._muxer = Muxer(
            dialled=direction == "outbound",
            opened=self._opened,
            window_max=self._window_max,
            streams_max=config.streams_inbound_max,
        )
        self._scope = trio.CancelScope()
        self._reason = _CLOSED_HERE
        self._sent_at = trio.current_time()
        self.read_at = self._sent_at
        """When the last message came in that was really the peer's."""
        self._doubted = doubted
        self._asked = trio.Event()
        """Set when data was sent since it was last made; an answer to a ping is none."""
        self._stirred = trio.Event()
        """Set when a stream was opened since it was last made."""
        self._ending = False
        self._writing = True
        """Whether the task that writes has something in hand."""
        self._unsent = b""
        """The end of what ``flush`` sealed, for which the system had no room."""
        self._small_left = 0.0
        self._paused = 0.0
        self._paced_at = self._sent_at - _BURST_SECONDS

    async def run(self, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the connection until it is over; raises nothing but cancellation."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._part, self._write)
                    nursery.start_soon(self._part, self._watch)
                    if self._doubted is not None:
                        nursery.start_soon(self._part, partial(self._doubt, self._doubted))
                    task_status.started()
                    await self._part(self._read)
        finally:
            self._muxer.finish(self._reason)
            self._session.stream.close()
            self.ended.set()

    def abort(self, reason: str = _CLOSED_HERE) -> None:
        """Cut the connection at once; idempotent."""
        if not self._scope.cancel_called:
            self._reason = reason
            self._muxer.finish(reason)
            self._session.stream.close()
            self._scope.cancel()

    @property
    def was_cut(self) -> bool:
        """Whether it ended although neither end had asked for that."""
        return self.ended.is_set() and not (
            self._ending or self.link_ended or self._reason == _CLOSED_HERE
        )

    async def close(self) -> None:
        """End it once all that was queued is out and the peer has taken it; idempotent.

        Waits at most ``close_seconds``; then, or when cancelled, the connection is cut.
        """
        self._ending = True
        self._muxer.wake_output()
        try:
            with trio.move_on_after(self._config.close_seconds):
                await self.ended.wait()
        finally:
            self.abort()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it open while nothing is asked for, as for a relay that may pass on a call."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def keep(self, seconds: float) -> None:
        """Keep it open so long, while nothing is asked for: a call to the peer may come."""
        self._kept_until = max(self._kept_until, trio.current_time() + seconds)

    @property
    def worked_until(self) -> float:
        """Until when both directions are known to have worked."""
        return min(self.read_at, self._muxer.answered_at)

    @property
    def rtt_seconds(self) -> float | None:
        """The quickest of the last round trips, in seconds; ``None`` while none is known."""
        return self._muxer.rtt or None

    async def open_stream(self, protocol: str) -> Stream:
        """Open a stream for ``protocol``; raises ``NotSpoken`` or ``LinkBroken``."""
        stream = self._muxer.open()
        self._stirred.set()
        try:
            with trio.fail_after(self._config.negotiate_seconds):
                await negotiation.propose(stream, protocol)
        except trio.TooSlowError:
            stream.reset()
            raise LinkBroken("the peer did not answer in time") from None
        except BaseException:
            stream.reset()
            raise
        return stream

    def _window_max(self) -> int:
        if self.direction == "outbound" or self._config.known(self.device):
            return limits.LINK_WINDOW_BYTES_MAX
        return limits.LINK_WINDOW_START_BYTES

    # -- the three tasks

    async def _part(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except PeerBrokeMuxing as error:
            logger.info("cutting the connection to %s: %s", self.remote, error)
            await self._say_why(str(error))
        except LinkBroken as error:
            self.abort(str(error))
        except Exception:
            logger.exception("a connection's task failed; cutting the connection")
            self.abort("an error inside p2psync")

    async def _read(self) -> None:
        while True:
            messages = await self._session.receive()
            if not messages:
                self.abort("the peer closed the connection")
                return
            self.read_at = trio.current_time()
            small = 0
            for message in messages:
                before = self._muxer.small_frames
                self._muxer.feed(message)
                small += self._muxer.small_frames - before
                small += len(message) < limits.SMALL_FRAME_BYTES
                if small > _SMALL_FRAMES_A_TURN:
                    await self._pace(small)
                    small = 0
            await self._pace(small)

    async def _pace(self, small: int) -> None:
        """Read no further for a while when a peer sends more small frames than anybody needs.

        A frame of one byte costs as much time as one of thousands. Raises ``PeerBrokeMuxing`` when
        the peer goes on so for ``silence_seconds``.
        """
        now = trio.current_time()
        rate = (
            limits.SMALL_FRAMES_PER_SECOND_MAX
            if self._config.known(self.device)
            else limits.SMALL_FRAMES_STRANGER_PER_SECOND_MAX
        )
        regained = self._small_left + (now - self._paced_at) * rate
        self._small_left = min(regained, _BURST_SECONDS * rate) - small
        self._paced_at = now
        pause = max(0.0, -self._small_left / rate)
        self._paused = self._paused + pause if self._small_left < rate else 0.0
        if self._paused > self._config.silence_seconds:
            raise PeerBrokeMuxing("the peer sends too many small frames")
        # At least a checkpoint: who reads a stream has its turn while the bytes are in the cache.
        await trio.sleep(pause)

    def flush(self) -> None:
        """Hand what is queued to the system now, unless something is being sent already.

        The task that writes would do so a little later.
        """
        if self._writing or self._unsent or self._scope.cancel_called:
            return
        parts = self._muxer.collect(_BATCH_BYTES)
        if parts:
            self._note_sent()
            try:
                self._unsent = self._session.send_now(parts)
            except LinkBroken as error:
                self.abort(str(error))
            if self._unsent:
                self._muxer.wake_output()

    def _note_sent(self) -> None:
        self._sent_at = trio.current_time()
        if self._muxer.data_sent:
            self._muxer.data_sent = False
            self._asked.set()

    async def _write(self) -> None:
        while True:
            self._writing = True
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                await self._session.stream.send(unsent)
            parts = self._muxer.collect(_BATCH_BYTES)
            if parts:
                self._note_sent()
                await self._session.send(parts)
            elif self._ending and self._muxer.drained:
                self._session.stream.end()
                return
            else:
                self._writing = False
                await self._muxer.output()

    @property
    def _rests(self) -> bool:
        """Whether it is only kept open: there may be a thousand such, for a call that may come."""
        kept = self._holds or trio.current_time() < self._kept_until
        return bool(kept) and not self._muxer.streams

    async def _watch(self) -> None:
        config = self._config
        used_at = excused_at = stirred_at = trio.current_time()
        self._muxer.ping()
        while True:
            # Whoever was needed and gave no sign since is not left alone.
            resting = self._rests and self._session.stream.heard_at >= stirred_at
            keepalive = config.rest_keepalive_seconds if resting else config.keepalive_seconds
            silence = config.rest_silence_seconds if resting else config.silence_seconds
            self._stirred = trio.Event()
            planned = trio.current_time() + keepalive / 2
            with trio.move_on_at(planned):
                await self._stirred.wait()
            now = trio.current_time()
            if resting and not self._rests:
                excused_at = stirred_at = now  # From now on it is to answer soon.
                self._muxer.ping()
                continue
            if now < planned:
                continue
            if now - planned > keepalive / 2:
                excused_at = now  # We were held up, and what the peer said may wait unread.
            heard_at = max(self._session.stream.heard_at, excused_at)
            if now - heard_at > silence:
                raise LinkBroken("the peer fell silent")
            if now - max(self.read_at, excused_at) > max(config.unread_seconds, silence):
                # Who is in between can make bytes come for ever, of which none is the peer's.
                raise LinkBroken("nothing that came could be read")
            if now - min(heard_at, self._sent_at) >= keepalive:
                self._muxer.ping()
            if self._muxer.streams or self._rests:
                used_at = now
            elif now - used_at > config.idle_seconds:
                raise LinkBroken("nothing was asked for on this connection")

    async def _doubt(self, doubted: Callable[[], None]) -> None:
        """Ask for a sign of life when something is sent, and tell when none comes soon."""
        while True:
            self._asked = trio.Event()
            await self._asked.wait()
            if not self._muxer.pinging:
                self._muxer.ping()
            since = trio.current_time()
            while self._muxer.pinging:
                # A peer that is far is given more time.
                planned = since + max(self._config.doubt_seconds, 3 * self._muxer.rtt)
                await trio.sleep_until(planned)
                held_up = trio.current_time() - planned > self._config.doubt_seconds / 2
                if self._session.stream.heard_at > since or held_up:
                    since = trio.current_time()
                elif self._muxer.pinging:
                    doubted()
                    break

    async def _say_why(self, reason: str) -> None:
        self._reason = reason
        self._muxer.go_away()
        await trio.lowlevel.checkpoint()
        self.abort(reason)

    # -- streams of the peer

    def _opened(self, stream: Stream) -> None:
        self._stirred.set()
        self._spawn(partial(self._serve, stream))

    async def _serve(self, stream: Stream) -> None:
        try:
            with trio.fail_after(self._config.negotiate_seconds):
                protocol = await negotiation.answer(stream, self._handlers)
            await self._handlers[protocol](self, stream)
            stream.end()
            # The peer may read as slowly as it likes: the stream counts against its cap.
            await stream.wait_sent()
            with trio.move_on_after(self._config.negotiate_seconds):
                await stream.wait_end()
        except (LinkBroken, trio.TooSlowError):
            pass
        except Exception:
            logger.exception("the handler of a stream failed")
        finally:
            stream.reset()
            self._muxer.serving -= 1
