"""What the suite does over the wire: protocols to serve, and plays for who calls.

``js/peer.mjs`` has the same protocols and plays in JavaScript.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.interop.wire import (
    BULK_BYTES,
    MIB,
    Cut,
    Handler,
    Open,
    Wire,
    pattern,
    read_exactly,
    read_to_end,
    write_pattern,
)

ECHO = "/p2psync-test/echo/1"
SWALLOW = "/p2psync-test/swallow/1"
GIVE = "/p2psync-test/give/1"
BYE = "/p2psync-test/bye/1"
RESET = "/p2psync-test/reset/1"
STALL = "/p2psync-test/stall/1"
GO = "/p2psync-test/go/1"
TOLD = "/p2psync-test/told/1"
"""Tells what became of the streams of ``BYE``."""

SLOW_BYTES = 8 * MIB
STREAMS = 100
COUNT_BYTES = 8

Result = dict[str, Any]


@dataclass
class Stage:
    """What the protocols of one served peer share."""

    go: trio.Event = field(default_factory=trio.Event)
    told: list[list[Any]] = field(default_factory=list)
    heard: trio.Event = field(default_factory=trio.Event)

    def handlers(self) -> Mapping[str, Handler]:
        return {
            ECHO: self.echo,
            SWALLOW: self.swallow,
            GIVE: self.give,
            BYE: self.bye,
            RESET: self.reset,
            STALL: self.stall,
            GO: self.let_go,
            TOLD: self.tell,
        }

    async def echo(self, wire: Wire) -> None:
        while data := await wire.read():
            await wire.write(data)
        await wire.end()

    async def swallow(self, wire: Wire) -> None:
        """Read to the end, and only then say how much it was."""
        count, digest, _ = await read_to_end(wire)
        await wire.write(json.dumps([count, digest]).encode())
        await wire.end()

    async def give(self, wire: Wire) -> None:
        await write_pattern(wire, int.from_bytes(await read_exactly(wire, COUNT_BYTES), "big"))
        await wire.end()

    async def bye(self, wire: Wire) -> None:
        """End our side at once and go on reading; ``TOLD`` says how it went on."""
        await wire.end()
        count, _, how = await read_to_end(wire)
        self.told.append([count, how])
        self.heard.set()

    async def reset(self, wire: Wire) -> None:
        await read_exactly(wire, 1)
        await wire.reset()

    async def stall(self, wire: Wire) -> None:
        """Read nothing before ``GO``."""
        await self.go.wait()
        await self.swallow(wire)

    async def let_go(self, wire: Wire) -> None:
        self.go.set()
        await wire.end()

    async def tell(self, wire: Wire) -> None:
        await self.heard.wait()
        await wire.write(json.dumps(self.told).encode())
        await wire.end()


async def ask(open_: Open, protocol: str) -> Any:
    """What the peer says on a stream of ``protocol``."""
    wire = await open_(protocol)
    await wire.end()
    return await answer(wire)


async def answer(wire: Wire) -> Any:
    said = b""
    while data := await wire.read():
        said += data
    return json.loads(said)


# -- plays: what who calls does, and what it saw


async def echo(open_: Open) -> Result:
    wire = await open_(ECHO)
    same = []
    for size in (1, 255, 65_519, 65_536, 300_000):
        data = pattern(size, size)
        await wire.write(data)
        same.append(await read_exactly(wire, size) == data)
    await wire.end()
    return {"same": same, "rest": list(await read_to_end(wire))}


async def bulk(open_: Open) -> Result:
    """``BULK_BYTES`` each way at the same time."""
    result: Result = {}

    async def up() -> None:
        wire = await open_(SWALLOW)
        await write_pattern(wire, BULK_BYTES)
        await wire.end()
        result["up"] = await answer(wire)

    async def down() -> None:
        wire = await open_(GIVE)
        await wire.write(BULK_BYTES.to_bytes(COUNT_BYTES, "big"))
        result["down"] = list(await read_to_end(wire))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(up)
        nursery.start_soon(down)
    return result


async def half_close(open_: Open) -> Result:
    """We end first and read on; then the peer ends first and we write on."""
    wire = await open_(SWALLOW)
    await wire.write(b"hello")
    await wire.end()
    after_ours = await answer(wire)
    wire = await open_(BYE)
    theirs = list(await read_to_end(wire))
    await write_pattern(wire, MIB)
    await wire.end()
    return {"after ours": after_ours, "theirs": theirs, "after theirs": await ask(open_, TOLD)}


async def reset_by_called(open_: Open) -> Result:
    wire = await open_(RESET)
    await wire.write(b"!")
    _, _, how = await read_to_end(wire)
    return {"how": how, "then": await still_works(open_)}


async def reset_by_caller(open_: Open) -> Result:
    wire = await open_(BYE)
    await wire.write(b"!")
    await wire.reset()
    return {"told": await ask(open_, TOLD), "then": await still_works(open_)}


async def hundred(open_: Open) -> Result:
    """All streams are open before anything is sent on the first."""
    wires = [await open_(ECHO) for _ in range(STREAMS)]
    same = 0

    async def one(number: int, wire: Wire) -> None:
        nonlocal same
        data = pattern(number, 20_000)
        await wire.write(data)
        good = await read_exactly(wire, len(data)) == data
        await wire.end()
        good = good and (await read_to_end(wire))[0] == 0
        same += good

    async with trio.open_nursery() as nursery:
        for number, wire in enumerate(wires):
            nursery.start_soon(one, number, wire)
    return {"same": same}


async def slow_reader(open_: Open) -> Result:
    """A stream that nobody reads stops its writer and nothing else, and loses nothing."""
    stalled = await open_(STALL)
    written = trio.Event()

    async def write() -> None:
        await write_pattern(stalled, SLOW_BYTES)
        written.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        others = [await still_works(open_) for _ in range(3)]
        blocked = not written.is_set()
        wire = await open_(GO)
        await wire.end()
    await stalled.end()
    return {"others": others, "blocked": blocked, "all": await answer(stalled)}


async def still_works(open_: Open) -> bool:
    """Whether a fresh stream of the same connection echoes."""
    try:
        wire = await open_(ECHO)
        await wire.write(b"still here")
        good = await read_exactly(wire, 10) == b"still here"
        await wire.end()
    except Cut:
        return False
    return good


PLAYS: Mapping[str, Callable[[Open], Awaitable[Result]]] = {
    "echo": echo,
    "bulk": bulk,
    "half-close": half_close,
    "reset by called": reset_by_called,
    "reset by caller": reset_by_caller,
    "hundred": hundred,
    "slow reader": slow_reader,
}
