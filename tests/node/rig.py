"""Whole nodes in one process: real homes, databases, chunk stores and files; links in memory."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from p2psync.core import crypto
from p2psync.errors import DiskFull
from p2psync.node.key_file import KeyFile
from p2psync.node.node import Node
from p2psync.node.opened import Opened
from p2psync.node.runner import Durable
from p2psync.node.service import NodeService
from p2psync.node.store import Store
from p2psync.node.timing import Clock
from p2psync.storage.contents import ContentStore
from p2psync.storage.database import Database
from p2psync.storage.home import Home
from tests.fakes.links import FakeLink, link_pair

PATIENCE_SECONDS = 20
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
CRP = (EXAMPLES / "atelier_2025.crp").read_bytes()
V1 = (EXAMPLES / "atelier_2025_v1.ecf").read_bytes()
V2 = (EXAMPLES / "atelier_2025_v2.ecf").read_bytes()
V2_RENUMBERED = (EXAMPLES / "atelier_2025_v2_renumbered.ecf").read_bytes()


class PowerCut(Exception):
    """The machine lost its power; nothing after this moment happened."""


class TestStore(Store):
    """A store whose disk can be full, and whose machine can lose its power before any commit."""

    __test__ = False

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.full = False
        self.commits = 0
        self.cut_before: int | None = None

    def commit(self, work: Sequence[Durable]) -> None:
        if self.commits == self.cut_before:
            raise PowerCut
        if self.full:
            raise DiskFull(path="home.db")
        self.commits += 1
        super().commit(work)

    async def try_writing(self) -> None:
        if self.full:
            raise DiskFull(path="home.db")
        await super().try_writing()


class Machine:
    """One running node and a folder for its person's own files."""

    def __init__(self, root: Path, node: Node, store: TestStore) -> None:
        self.root = root
        self.node = node
        self.store = store
        self.service = NodeService(node, lambda: None)
        node.missing.grace_seconds = 0.02
        self.desk = root / "desk"
        self.desk.mkdir(parents=True, exist_ok=True)

    @property
    def device(self) -> bytes:
        return self.node.identity.device

    def file(self, name: str, data: bytes) -> str:
        """Save a file as another program does; returns its path."""
        path = self.desk / name
        temporary = self.desk / f".{name}.new"
        temporary.write_bytes(data)
        temporary.replace(path)
        return str(path)

    def opened(self) -> Opened:
        (opened,) = self.node.opened.values()
        return opened

    def copy(self, name: str) -> Path:
        """A file in the mandate folder."""
        return self.opened().folder / name

    async def look(self) -> None:
        """Look at all files, as the watcher makes the node do, and finish what follows."""
        self.node.look_at_all()
        await self.rest()

    async def rest(self) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.node.runner.flushed()
            await self.node.wait_for(
                lambda: all(self.node.shelf.at_rest(each) for each in self.node.opened.values())
            )

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.node.wait_for(condition)

    async def pending(self, mandate: str = "Books") -> tuple[int, int]:
        found = await self.service.pending(mandate)
        return found["added"], found["deleted"]

    async def shown(self, name: str, mandate: str = "Books") -> dict[str, Any]:
        found = await self.service.mandate_show(mandate)
        (file,) = [file for file in found["files"] if file["name"] == name]
        return dict(file)

    async def alerts(self) -> list[str]:
        """The types of the open alerts, once all that was raised is kept."""
        return [event["type"] for event in await self.open_alerts()]

    async def open_alerts(self) -> list[dict[str, Any]]:
        """The open alerts, once all that was raised or settled is kept."""
        with trio.fail_after(PATIENCE_SECONDS):
            await self.node.notices.kept()
        alerts: list[dict[str, Any]] = (await self.service.alerts(None))["alerts"]
        return alerts


@asynccontextmanager
async def running(
    root: Path, cut_before: int | None = None, clock: Clock | None = None
) -> AsyncIterator[Machine]:
    """Run a node in a home until the block ends; nothing is finished at the end, as after kill
    -9.
    """
    with Home.open(root / "home") as home:
        contents = ContentStore(home.chunks, home.incoming, home.versions)
        database = Database.open(home.database)
        store = TestStore(database)
        store.cut_before = cut_before
        try:
            keys = KeyFile(home, store)
            identity = await keys.open()
            async with trio.open_nursery() as nursery:
                node = Node(
                    identity=identity,
                    key_file=keys,
                    store=store,
                    contents=contents,
                    mandates_folder=home.mandates,
                    entropy=secrets.token_bytes,
                    nursery=nursery,
                    clock=clock,
                )
                await node.start()
                yield Machine(root, node, store)
                nursery.cancel_scope.cancel()
        finally:
            database.close()
            contents.close()


async def founded(machine: Machine, name: str = "Books") -> None:
    """Make a mandate with an accounting file."""
    await machine.service.mandate_create(name, machine.file("atelier_2025.crp", CRP))


@asynccontextmanager
async def linked(one: Machine, two: Machine) -> AsyncIterator[tuple[FakeLink, FakeLink]]:
    """Keep two machines linked while the block runs."""
    ends = link_pair(one.device, two.device)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.node.accept, ends[0])
        nursery.start_soon(two.node.accept, ends[1])
        yield ends
        await ends[0].close()
        await ends[1].close()


async def invited(machine: Machine, role: str = "writer", name: str = "Books") -> str:
    """Share the mandate and return an unsealed ticket."""
    await machine.service.mandate_share(name)
    made = await machine.service.invite(name, role, 3600, 1, None, True)
    return str(made["ticket"])


async def in_step(*machines: Machine) -> None:
    """Return when all linked machines have the same and have written it out."""

    def tips() -> set[object]:
        return {machine.opened().replica.tips() for machine in machines}

    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            for machine in machines:
                await machine.rest()
            at_rest = all(m.node.shelf.at_rest(m.opened()) for m in machines)
            in_step = all(m.node.engine.in_step(m.opened().id) for m in machines)
            if len(tips()) == 1 and at_rest and in_step:
                for machine in machines:
                    await machine.node.runner.flushed()  # and people are told
                return
            await trio.sleep(0.005)


def digest(path: Path) -> bytes:
    return crypto.content_digest(path.read_bytes())
