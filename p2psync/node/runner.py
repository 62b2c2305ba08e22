"""Runs the engine's effects: what must be durable first, in one transaction, then the rest in
order.

Whatever waits when the disk is free is committed together (group commit), so that many small
entries cost one fsync. A send never goes before the commit that it depends on.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from p2psync.engine.effects import (
    CloseLog,
    Effect,
    Event,
    KeepEpochKey,
    KeepLogKey,
    Persist,
    StoreChunk,
)
from p2psync.errors import NodeEnding, NodeFault, P2PSyncError, StorageError
from p2psync.limits import COMMIT_EFFECTS_MAX
from p2psync.storage.database import Batch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InBatch:
    """Something of the node's own that belongs into the same transaction as the entries around
    it.
    """

    write: Callable[[Batch], None]


AHEAD_MAX = 4
"""Hand-ins that wait while ``ahead`` is told of the next."""
Work = Effect | InBatch
Durable = Persist | KeepLogKey | KeepEpochKey | CloseLog | InBatch
"""What belongs into a transaction."""


class Disk(Protocol):
    """What the runner needs of the disk; it blocks and is called in a thread."""

    def commit(self, work: Sequence[Durable]) -> None:
        """Make all of it durable in one transaction, or nothing of it; raises ``StorageError``."""


class Machine(Protocol):
    """What the runner needs of the engine."""

    def step(self, event: Event, now: float, wall_ms: int) -> Sequence[Effect]:
        """Take one event; return effects in order."""

    def next_wake(self) -> float | None:
        """When the engine wants a ``Tick``."""


class Ticket:
    """Stands for effects that were handed in; done when all of them have run."""

    __slots__ = ("_done", "_durable", "error")

    def __init__(self) -> None:
        self._done = trio.Event()
        self._durable: threading.Event | None = None
        self.error: P2PSyncError | None = None

    def settle(self, error: P2PSyncError | None = None) -> None:
        """Let go of who waits."""
        self.error = error
        self.written()
        self._done.set()

    def written(self) -> None:
        """Let go of who waits in a thread until it is durable; called in any thread."""
        if self._durable is not None:
            self._durable.set()

    def durable(self) -> Callable[[], None]:
        """Return what waits in a thread until the effects are durable, before they have run; it
        raises what kept them from it.
        """
        durable = self._durable = self._durable or threading.Event()
        if self.done:
            durable.set()

        def wait() -> None:
            durable.wait()
            if self.error is not None:
                raise self.error

        return wait

    @property
    def done(self) -> bool:
        """Whether the effects have run, or failed."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Return when the effects have run; raises what kept them from being durable."""
        await self._done.wait()
        if self.error is not None:
            raise self.error


def _refused(error: P2PSyncError) -> Ticket:
    ticket = Ticket()
    ticket.settle(error)
    return ticket


def wall_ms() -> int:
    """Milliseconds since 1970 by this machine's clock."""
    return time.time_ns() // 1_000_000


class Runner:
    """One queue of effects, run in order by one task."""

    def __init__(
        self,
        engine: Machine,
        disk: Disk,
        store_chunks: Callable[[Sequence[StoreChunk]], None],
        perform: Callable[[Effect], None],
        failed: Callable[[StorageError], None],
    ) -> None:
        """``store_chunks`` puts what came where it belongs, in a thread; ``perform`` runs one
        effect that is not for the disk, without waiting; ``failed`` is told when a commit did not
        succeed. What waited in the queue is dropped then, and nothing is taken any more until
        ``resume``: the engine's memory is ahead of the disk.
        """
        self._engine = engine
        self._disk = disk
        self._store_chunks = store_chunks
        self._perform = perform
        self._failed = failed
        self._queue: deque[tuple[Sequence[Work], Ticket]] = deque()
        self._running = False
        self._batch: Sequence[tuple[Sequence[Work], Ticket]] = ()
        self._last = Ticket()
        self._last.settle()
        # Its own: others that hold all threads may wait for what is made durable.
        self._thread = trio.CapacityLimiter(1)
        self._work = trio.Event()
        self._rearm = trio.Event()
        self.ahead: Callable[[Sequence[Work]], Sequence[Work]] = lambda work: work
        """Told of work as it is handed in while little waits; does what need not wait until it is
        durable, and returns the rest."""
        self.performed: Callable[[], None] = lambda: None
        """Called when effects were performed, before others have their turn."""
        self.broken: P2PSyncError | None = None
        """Why nothing is taken now; ``None`` while all is well."""

    def feed(self, event: Event) -> Ticket:
        """Let the engine take an event; its effects run soon."""
        if self.broken is not None:
            return _refused(self.broken)
        try:
            effects = self._engine.step(event, trio.current_time(), wall_ms())
        except Exception as error:
            # Half a step may be in memory. Only what is on the disk is sure.
            logger.exception("the engine failed on %s", type(event).__name__)
            fault = NodeFault(cause=f"{type(error).__name__}: {error}")
            self._break(fault)
            return _refused(fault)
        return self.hand_in(effects)

    def hand_in(self, work: Iterable[Work]) -> Ticket:
        """Queue effects, in order, behind all that was handed in before."""
        if self.broken is not None:
            return _refused(self.broken)
        ticket = self._last = Ticket()
        whole = tuple(work)
        # Of much that comes at a time all is written with few syncs, once it is durable.
        few = len(self._queue) < AHEAD_MAX
        self._queue.append((whole, ticket))
        if few and whole:
            self._queue[-1] = (self.ahead(whole), ticket)
        self._work.set()
        self._rearm.set()
        return ticket

    @property
    def settled(self) -> bool:
        """Whether all that was handed in has run."""
        return not self._queue and not self._running

    def durable(self) -> Callable[[], None]:
        """Return what waits in a thread until all that was handed in before is durable.

        It raises what kept it from being so.
        """
        return self._last.durable()

    async def flushed(self) -> None:
        """Return when all that was handed in before has run."""
        await self.hand_in(()).wait()

    async def run(self) -> None:
        """Run effects until cancelled; then nobody waits for what will not happen."""
        try:
            await self._run_all()
        finally:
            self.broken = NodeEnding()
            self._drop(self.broken, self._batch)

    async def _run_all(self) -> None:
        while True:
            if not self._queue:
                self._work = trio.Event()
                await self._work.wait()
            batch = self._batch = self._drain()
            self._running = True
            try:
                await self._commit(batch)
            except StorageError as error:
                self._break(error, batch)
                continue
            finally:
                self._running = False
            for work, ticket in batch:
                for effect in work:
                    if not isinstance(effect, Durable | StoreChunk):
                        self._run(effect)
                ticket.settle()
            self._batch = ()
            self.performed()
            await trio.lowlevel.checkpoint()

    def _run(self, effect: Effect) -> None:
        try:
            self._perform(effect)
        except Exception:
            # What is durable is durable; telling of it must not take the node down.
            logger.exception("%s could not be performed", type(effect).__name__)

    def _break(
        self, error: StorageError, batch: Sequence[tuple[Sequence[Work], Ticket]] = ()
    ) -> None:
        first, self.broken = self.broken is None, error
        if first:
            self._failed(error)
        self._drop(error, batch)

    def _drop(self, error: P2PSyncError, batch: Sequence[tuple[Sequence[Work], Ticket]]) -> None:
        dropped = [*batch, *self._queue]
        self._queue.clear()
        for _, ticket in dropped:
            ticket.settle(error)

    def resume(self, engine: Machine) -> None:
        """Take work again, with an engine that was made from what is on the disk."""
        self._engine = engine
        self._last = Ticket()
        self._last.settle()
        self.broken = None
        self._rearm.set()

    def _drain(self) -> list[tuple[Sequence[Work], Ticket]]:
        batch: list[tuple[Sequence[Work], Ticket]] = []
        count = 0
        while self._queue and count <= COMMIT_EFFECTS_MAX:
            work, ticket = self._queue.popleft()
            batch.append((work, ticket))
            count += len(work)
        return batch

    async def _commit(self, batch: Sequence[tuple[Sequence[Work], Ticket]]) -> None:
        durable = [effect for work, _ in batch for effect in work if isinstance(effect, Durable)]
        chunks = [effect for work, _ in batch for effect in work if isinstance(effect, StoreChunk)]
        if chunks or durable:
            # Never abandoned half-way: what a peer or a command is told depends on how it ended.
            with trio.CancelScope(shield=True):
                tickets = [ticket for _, ticket in batch]
                await trio.to_thread.run_sync(
                    self._write, chunks, durable, tickets, limiter=self._thread
                )

    def _write(
        self, chunks: Sequence[StoreChunk], durable: Sequence[Durable], tickets: Sequence[Ticket]
    ) -> None:
        if chunks:
            self._store_chunks(chunks)
        if durable:
            self._disk.commit(durable)
        for ticket in tickets:
            ticket.written()

    async def keep_time(self, tick: Callable[[], None]) -> None:
        """Call ``tick`` whenever the engine wants to be woken, until cancelled."""
        while True:
            self._rearm = trio.Event()
            wake = None if self.broken is not None else self._engine.next_wake()
            with trio.move_on_at(float("inf") if wake is None else wake) as scope:
                await self._rearm.wait()
            if scope.cancelled_caught:
                tick()
                await trio.lowlevel.checkpoint()
