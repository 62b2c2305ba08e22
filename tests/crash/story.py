"""What two people do with two nodes, step by step, while every call to the disk is recorded.

A step makes sure that something is so: done once more after a crash it brings what was broken off
to its end, and changes nothing else. Marks tell in the recording how far it came, what a frame told
the peer, and what was seen when a step was done.

Run under strace: ``python -m tests.crash.story FOLDER``.
"""

import argparse
import hashlib
import json
import os
import random
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from p2psync.core import entry
from p2psync.engine import wire
from p2psync.errors import P2PSyncError, SubscribedAlready
from p2psync.storage.database import Database
from p2psync.storage.highwater import HighWater
from tests.crash.trace import MARKS
from tests.fakes.links import FakeLink, link_pair
from tests.node import rig
from tests.node.rig import CRP, V1, V2, Machine, in_step, running

NAMES = ("anna", "ben")
PASSPHRASE = "correct horse battery staple"
LARGE = random.Random(1).randbytes(300_000)
LARGER = LARGE[:280_000] + random.Random(2).randbytes(60_000)
SMALL = random.Random(3).randbytes(20_000)
LINES = V2.splitlines(keepends=True)
OURS = b"".join([*LINES, LINES[2].replace(b"2340.00", b"1.00")])
THEIRS = b"".join([LINES[0], LINES[1], LINES[3].replace(b"615.75", b"2.00"), *LINES[2:]])
B1 = V1.replace(b"2340.00", b"77.70")
WAL_PAGES = 64
"""Carry the log over into the database early, so that a short story sees it happen."""
CARELESS = threading.Event()
"""Set when the people's programs sync nothing, as most do."""
Json = dict[str, Any]
Tell = Callable[[Json], None]


class MarkedDatabase(Database):
    """A database with high-water marks beside it, as a node's is."""

    @classmethod
    def open(cls, path: Path, marks: HighWater | None = None) -> "MarkedDatabase":
        return cls(path, marks or HighWater(path.with_name("highwater")))


def with_pragmas(changed: dict[str, str]) -> None:
    """Let this process's SQLite connections be set up with other values than they ask for."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            for name, value in changed.items():
                if sql.startswith(f"PRAGMA {name} ="):
                    sql = f"PRAGMA {name} = {value}"
            return super().execute(sql, *parameters)

    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **{"factory": Connection, **options})
        return connection

    setattr(sqlite3, "connect", connected)  # noqa: B010 # a module's function has one type


class TellingLink(FakeLink):
    """A link that tells what each frame promises, before it goes."""

    def __init__(self, link: FakeLink, sender: str, tell: Tell) -> None:
        super().__init__(link._device, link._direction, link._out, link._into)
        self._sender = sender
        self._tell = tell

    async def send(self, frame: bytes) -> None:
        match wire.decode(frame):
            case wire.Entries(raws=raws) | wire.Opening(raws=raws):
                ids = [entry.decode(raw).id.hex() for raw in raws]
                self._tell({"sent": self._sender, "ids": ids, "tips": []})
            case wire.Frontier(tips=tips) | wire.Have(tips=tips):
                told = [[tip.log.hex(), tip.seq, tip.head.hex()] for tip in tips]
                self._tell({"sent": self._sender, "ids": [], "tips": told})
        await super().send(frame)


class World:
    """Both machines, running; ``joined`` makes one."""

    def __init__(
        self, anna: Machine, ben: Machine, nursery: trio.Nursery, tell: Tell, ticket: str
    ) -> None:
        self.anna = anna
        self.ben = ben
        self.tell = tell
        self.ticket = ticket
        self._nursery = nursery
        self._ends: tuple[FakeLink, ...] = ()

    @property
    def machines(self) -> dict[str, Machine]:
        return dict(zip(NAMES, (self.anna, self.ben), strict=True))

    def link(self) -> None:
        ends = link_pair(self.anna.device, self.ben.device)
        self._ends = tuple(
            TellingLink(end, name, self.tell) for end, name in zip(ends, NAMES, strict=True)
        )
        for end, machine in zip(self._ends, self.machines.values(), strict=True):
            self._nursery.start_soon(machine.node.accept, end)

    async def unlink(self) -> None:
        for end in self._ends:
            await end.close()
        self._ends = ()

    async def look(self) -> None:
        for machine in self.machines.values():
            await machine.look()

    async def settle(self) -> None:
        """Return when nothing is left to be done."""
        if all(machine.node.opened for machine in self.machines.values()) and self._ends:
            await in_step(self.anna, self.ben)
        for machine in self.machines.values():
            await machine.rest()

    async def summary(self) -> Json:
        """What people see on both sides."""
        return {name: await seen(machine) for name, machine in self.machines.items()}


async def nothing(world: World) -> None:
    """Not looked at."""


@asynccontextmanager
async def joined(
    root: Path,
    tell: Tell,
    ticket: str = "",
    opened: Callable[[World], Awaitable[None]] = nothing,
) -> AsyncIterator[World]:
    """Run both machines, linked, until the block ends; ``opened`` looks before they meet."""
    async with (
        running(root / NAMES[0]) as anna,
        running(root / NAMES[1]) as ben,
        trio.open_nursery() as nursery,
    ):
        world = World(anna, ben, nursery, tell, ticket)
        for name, machine in world.machines.items():
            if machine.node.identity.locked:
                await machine.service.identity_unlock(PASSPHRASE)
            tell({"device": name, "key": machine.device.hex()})
        await opened(world)
        await world.look()
        world.link()
        await world.settle()
        yield world
        await world.unlink()
        nursery.cancel_scope.cancel()


def save(path: Path, data: bytes) -> None:
    """Save a file as a person's program does; nothing happens when it is so.

    In one step, and durably unless ``CARELESS`` is set.
    """
    if path.exists() and path.read_bytes() == data:
        return
    temporary = path.with_name(f".{path.name}.new")
    sync = (lambda descriptor: None) if CARELESS.is_set() else os.fsync
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    sync(folder)
    os.close(folder)


async def seen(machine: Machine) -> Json:
    """What one person sees; nothing in it depends on chance."""
    if not machine.node.opened:
        return {}
    found = await machine.service.mandate_show("Books")
    files = {}
    for file in found["files"]:
        name = file["name"]
        versions = (await machine.service.history("Books", name, None))["versions"]
        files[name] = {
            "versions": sorted([await restored(machine, name, each) for each in versions]),
            "pending": [file["pending"]["added"], file["pending"]["deleted"]],
            "state": file["state"],
            "records": file["records"],
            "copy": content(machine.copy(name)),
        }
    receipts = (await machine.service.receipts("Books"))["receipts"]
    return {
        "state": found["state"],
        "members": len(found["members"]),
        "files": files,
        "receipts": [[each["added"], each["deleted"], each["state"]] for each in receipts],
        "alerts": sorted(await machine.alerts()),
        "desk": {path.name: content(path) for path in sorted(machine.desk.glob("[!.]*"))},
    }


async def restored(machine: Machine, name: str, version: Json) -> str:
    """What a version contains, or why that cannot be had on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "output")
        try:
            await machine.service.restore("Books", name, version["version"], output)
        except P2PSyncError as error:
            return error.code
        return content(Path(output))


def content(path: Path) -> str:
    """What tells one content from another."""
    return summed(path.read_bytes()) if path.exists() else "none"


def summed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


# -- the steps ----------------------------------------------------------------------------------


async def create(world: World) -> None:
    crp = world.anna.desk / "atelier_2025.crp"
    save(crp, CRP)
    if not world.anna.node.opened:
        await world.anna.service.mandate_create("Books", str(crp))
    await attached(world.anna, crp.name, CRP, "accounting")


async def attached(machine: Machine, name: str, data: bytes, kind: str) -> None:
    path = machine.desk / name
    found = (await machine.service.mandate_show("Books"))["files"]
    if name not in {file["name"] for file in found}:
        save(path, data)
        await machine.service.attach("Books", [str(path)], kind, None, None)


async def attach_records(world: World) -> None:
    await attached(world.anna, "a.ecf", V1, "invoicing")


async def attach_large(world: World) -> None:
    await attached(world.anna, "plan.pdf", LARGE, "other")


async def subscribe(world: World) -> None:
    await world.unlink()  # who has no mandate in common is not kept on the line for long
    world.link()
    if not world.ticket:
        world.ticket = await rig.invited(world.anna)
        world.tell({"ticket": world.ticket})
    with suppress(SubscribedAlready):
        await world.ben.service.subscribe(world.ticket, None, None, None)
    await attached(world.ben, "b.ecf", B1, "invoicing")


async def attach_many(world: World) -> None:
    """Enough files at once to be written with one sync of the whole disk."""
    names = [f"scan {number}.png" for number in range(5)]
    for number, name in enumerate(names):
        save(world.anna.desk / name, SMALL[number : number + 3000])
    found = (await world.anna.service.mandate_show("Books"))["files"]
    missing = sorted({*names} - {file["name"] for file in found})
    paths = [str(world.anna.desk / name) for name in missing]
    if paths:
        await world.anna.service.attach("Books", paths, "other", None, None)


async def save_records(world: World) -> None:
    save(world.anna.desk / "a.ecf", V2)


async def save_large(world: World) -> None:
    save(world.anna.desk / "plan.pdf", LARGER)


async def attach_small(world: World) -> None:
    await attached(world.ben, "note.txt", SMALL, "other")


async def change_copies(world: World) -> None:
    """B-ATT-6: both change the other's file, in the mandate folder."""
    save(world.ben.copy("plan.pdf"), LARGE)
    save(world.anna.copy("note.txt"), SMALL[::-1])


async def protect_key(world: World) -> None:
    if not world.anna.node.identity.protected:
        await world.anna.service.identity_lock(PASSPHRASE)
        await world.anna.service.identity_unlock(PASSPHRASE)


async def post(world: World) -> None:
    if not (await world.anna.service.receipts("Books"))["receipts"]:
        made = await world.anna.service.post("Books", [], str(world.anna.desk / "out"))
        assert made["receipt"]


async def unpost(world: World) -> None:
    (receipt,) = (await world.anna.service.receipts("Books"))["receipts"]
    await world.anna.service.unpost("Books", receipt["receipt"])


async def change_apart(world: World) -> None:
    """Both change one file while they are apart."""
    mine, theirs = world.anna.desk / "a.ecf", world.ben.copy("a.ecf")
    ours_there = OURS.splitlines()[-1] in mine.read_bytes()
    theirs_there = THEIRS.splitlines()[2] in theirs.read_bytes()
    if ours_there and theirs_there:
        return
    await world.unlink()
    if not ours_there:
        save(mine, OURS if not theirs_there else mine.read_bytes() + OURS.splitlines(True)[-1])
    if not theirs_there:
        lines = theirs.read_bytes().splitlines(True)
        save(theirs, b"".join([*lines[:2], THEIRS.splitlines(True)[2], *lines[2:]]))
    await world.look()
    world.link()


async def bring_back(world: World) -> None:
    """B-HIS-1: old versions of a record file and of another."""
    machine = world.anna
    for name, data in (("a.ecf", V1), ("plan.pdf", LARGER)):
        if machine.copy(name).read_bytes() == data:
            continue
        for version in (await machine.service.history("Books", name, None))["versions"]:
            if await restored(machine, name, version) == summed(data):
                await machine.service.restore("Books", name, version["version"], None)
                break


async def restart(world: World) -> None:
    """Both machines were ended and begin anew: ``play`` does it."""


Step = Callable[[World], Awaitable[None]]
STEPS: tuple[Step, ...] = (
    create,
    attach_records,
    attach_large,
    subscribe,
    attach_many,
    save_records,
    post,
    attach_small,
    restart,
    save_large,
    change_apart,
    unpost,
    protect_key,
    change_copies,
    bring_back,
)


async def take(world: World, number: int) -> Json:
    """Do one step, and return what is seen when all of it has come to rest."""
    with trio.fail_after(60):
        await STEPS[number](world)
        await world.look()
        await world.settle()
        summary = await world.summary()
    copies = [
        {name: file["copy"] for name, file in each["files"].items()}
        for each in summary.values()
        if each
    ]
    assert all(each == copies[0] for each in copies), f"the copies differ: {copies}"
    return summary


async def play(root: Path, tell: Tell) -> None:
    """The whole story."""
    number = 0
    ticket = ""
    while number < len(STEPS):
        tell({"begun": number})
        async with joined(root, tell, ticket) as world:
            while True:
                summary = await take(world, number)
                held = {name: entries(machine) for name, machine in world.machines.items()}
                tell({"done": number, "summary": summary, "held": held})
                number += 1
                if number == len(STEPS) or STEPS[number] is restart:
                    break
                tell({"begun": number})
            ticket = world.ticket


def entries(machine: Machine) -> list[str]:
    """All entries that a machine has made durable."""
    database = machine.store._database
    return [
        entry.decode(raw).id.hex() for row in database.mandates() for raw in database.raws(row.id)
    ]


def prepare() -> None:
    """Set up this process's nodes for the story."""
    setattr(rig, "Database", MarkedDatabase)  # noqa: B010 # the rig's own has none


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--synchronous", help="another value than the product's")
    parser.add_argument("--careless", action="store_true")
    arguments = parser.parse_args()
    root: Path = arguments.folder
    pragmas = {"wal_autocheckpoint": str(WAL_PAGES)}
    if arguments.synchronous:
        pragmas["synchronous"] = arguments.synchronous
    if arguments.careless:
        CARELESS.set()
    with_pragmas(pragmas)
    prepare()
    marks = os.open(root / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(value: Json) -> None:
        os.write(marks, json.dumps(value).encode() + b"\n")

    trio.run(play, root, tell)


if __name__ == "__main__":
    main()
