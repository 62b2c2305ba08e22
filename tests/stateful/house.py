"""Several nodes in one process, each with a home and a desk, that a test in another thread tells
what to do.

A node lives in a task of its own, so that it can be ended and started again while others go on.
"""

import logging
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from p2psync.node.opened import Opened
from tests.fakes.links import FakeLink, link_pair
from tests.node.rig import PATIENCE_SECONDS, Machine, running

MEMORY = Path("/dev/shm")  # homes of a test in memory, where that is: much faster

SETTLE_SECONDS = 60.0
"""Before a test gives up; a machine may be busy with other things."""


class Faults(logging.Handler):
    """Notes what nodes log as their own mistake: they go on, but a test must not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter().format(record))


@dataclass
class Running:
    """A node and what ends it."""

    machine: Machine
    ends: trio.Event
    ended: trio.Event


class House:
    """The nodes by name, and who is linked with whom."""

    def __init__(self, names: Iterable[str]) -> None:
        self.root = Path(
            tempfile.mkdtemp(prefix="p2psync-house-", dir=MEMORY if MEMORY.is_dir() else None)
        )
        self.running: dict[str, Running] = {}
        self.links: dict[frozenset[str], trio.Event] = {}
        self._ended: set[frozenset[str]] = set()
        """The linked whose nodes ended their link."""
        self.faults = Faults()
        logging.getLogger("p2psync").addHandler(self.faults)
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(tuple(names),), daemon=True)
        self._thread.start()
        self._ready.wait(PATIENCE_SECONDS)
        self._raise()

    # -- the thread of the nodes ------------------------------------------------------------------

    def _run(self, names: tuple[str, ...]) -> None:
        try:
            trio.run(self._main, names)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _main(self, names: tuple[str, ...]) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.over = trio.Event()
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            for name in names:
                await self.start(name)
            self._ready.set()
            await self.over.wait()
            nursery.cancel_scope.cancel()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Have the nodes' thread do something, and wait for it; raises what it raises."""
        self._raise()

        async def bounded() -> Any:
            with trio.fail_after(2 * SETTLE_SECONDS):
                return await work()

        try:
            done = trio.from_thread.run(bounded, trio_token=self.token)
        except trio.RunFinishedError:
            self._thread.join()
            self._raise()
            raise
        assert not self.faults.found, "\n".join(self.faults.found)
        return done

    def close(self) -> None:
        """End all nodes and remove their homes."""
        logging.getLogger("p2psync").removeHandler(self.faults)
        if self._thread.is_alive():
            trio.from_thread.run_sync(self.over.set, trio_token=self.token)
            self._thread.join()
        shutil.rmtree(self.root)

    # -- for work in that thread ------------------------------------------------------------------

    def machine(self, name: str) -> Machine:
        return self.running[name].machine

    async def start(self, name: str) -> None:
        """Start a node over its home."""
        started = trio.Event()

        async def live() -> None:
            async with running(self.root / name) as machine:
                here = self.running[name] = Running(machine, trio.Event(), trio.Event())
                started.set()
                await here.ends.wait()
            here.ended.set()

        self.nursery.start_soon(live)
        await started.wait()

    async def restart(self, name: str) -> None:
        """End a node, as ``kill -9`` does, and start it again; its links are gone."""
        for pair in [pair for pair in self.links if name in pair]:
            await self.part(*pair)
        here = self.running.pop(name)
        here.ends.set()
        await here.ended.wait()
        await self.start(name)

    async def link(self, one: str, two: str) -> None:
        """Link two nodes, if they are not."""
        pair = frozenset((one, two))
        if pair in self.links:
            return
        over = self.links[pair] = trio.Event()
        self._ended.discard(pair)
        machines = self.machine(one), self.machine(two)
        ends = link_pair(machines[0].device, machines[1].device)

        async def accept(machine: Machine, end: FakeLink) -> None:
            await machine.node.accept(end)
            if self.links.get(pair) is over:
                self._ended.add(pair)

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                for machine, end in zip(machines, ends, strict=True):
                    nursery.start_soon(accept, machine, end)
                await over.wait()
                for end in ends:
                    await end.close()

        self.nursery.start_soon(serve)

    async def part(self, one: str, two: str) -> None:
        """Cut two nodes' link, if they have one, and wait until both know."""
        over = self.links.pop(frozenset((one, two)), None)
        if over is None:
            return
        over.set()
        for here, there in ((one, two), (two, one)):
            machine, peer = self.machine(here), self.machine(there).device
            await machine.until(lambda m=machine, p=peer: not _linked(m, p))  # type: ignore[misc]

    async def _dial_again(self) -> None:
        """Link those again that ended their link for want of a mandate in common, and have one now:
        here nobody answers what their nodes dial.
        """
        for pair in list(self._ended):
            one, two = pair
            if _in_engine(self.machine(one)).keys() & _in_engine(self.machine(two)).keys():
                await self.part(one, two)
                await self.link(one, two)

    def circle(self, name: str) -> set[str]:
        """A node and all that it reaches over links."""
        found, stack = {name}, [name]
        while stack:
            here = stack.pop()
            for pair in self.links:
                if here in pair:
                    more = pair - found
                    found |= more
                    stack += more
        return found

    async def settle(self, names: Iterable[str]) -> None:
        """Return when nodes that reach each other have the same and have written it out."""
        machines = {name: self.machine(name) for name in names}
        before: object = None
        with trio.move_on_after(SETTLE_SECONDS):
            while True:
                await self._dial_again()
                for machine in machines.values():
                    await machine.rest()
                # Twice the same: what came in last is on the disk, too, and what followed is done.
                now = None if self._unsettled(machines) else _tips(machines.values())
                if now is not None and now == before:
                    return
                if now is None:
                    await trio.sleep(0.002)
                before = now
        raise AssertionError(f"not settled: {self._unsettled(machines) or 'it goes on and on'}")

    def _unsettled(self, machines: dict[str, Machine]) -> str:
        """What is still to be waited for; nothing when all is done."""
        for name, machine in machines.items():
            for mandate, opened in machine.node.opened.items():
                if not machine.node.shelf.at_rest(opened):
                    return f"{name} is at work on {opened.name}"
                if not machine.node.engine.in_step(mandate):
                    return f"{name} is not in step with {opened.name}"
        for pair in self.links:
            one, two = pair
            if one not in machines:
                continue
            there = _in_engine(self.machine(two))
            for mandate, opened in _in_engine(machines[one]).items():
                other = there.get(mandate)
                if other is not None and opened.replica.tips() != other.replica.tips():
                    return f"{one} and {two} differ in {opened.name}"
        return ""


def replicas(machine: Machine) -> dict[bytes, Opened]:
    """The mandates of a node, removed ones, too."""
    return {**machine.node.opened, **machine.node.removal.hidden}


def _in_engine(machine: Machine) -> dict[bytes, Opened]:
    """The mandates that it tells others of."""
    hidden = {opened.id: opened for opened in machine.node.removal.in_engine()}
    return {**machine.node.opened, **hidden}


def _tips(machines: Iterable[Machine]) -> object:
    return [
        [(mandate, opened.replica.tips()) for mandate, opened in _in_engine(machine).items()]
        for machine in machines
    ]


def _linked(machine: Machine, peer: bytes) -> bool:
    return any(
        other.device == peer and other.online
        for mandate in _in_engine(machine)
        for other in machine.node.engine.peers(mandate)
    )
