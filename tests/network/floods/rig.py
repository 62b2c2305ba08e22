"""What the flood tests share: a flooded process, an honest peer beside the flood, the measure."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network.address import parse_address
from p2psync.network.bytestream import ByteStream, Channel
from p2psync.network.config import TransportConfig
from p2psync.network.connection import upgrade_outbound
from p2psync.network.host import Libp2pTransport
from p2psync.network.identity import device_of_seed, key_pair
from p2psync.network.noise import NoiseSession
from tests.network.rig import CALLER_SEED, hold, until

ROOT = Path(__file__).resolve().parents[3]
HONEST_SECONDS = TransportConfig().dial_seconds
"""In which an honest peer must be served, however loud the flood is: what a call may take."""
SAVE = bytes(20_000)


@dataclass
class Flooded:
    """The process under test."""

    process: subprocess.Popen[str]
    address: str
    device: bytes
    before: dict[str, float] = field(default_factory=dict)
    honest: "Honest" = field(default_factory=lambda: Honest())

    async def ask(self, what: str) -> dict[str, float]:
        def now() -> dict[str, float]:
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            said: dict[str, float] = json.loads(self.process.stdout.readline())
            return said

        with trio.fail_after(HONEST_SECONDS):
            return await trio.to_thread.run_sync(now)

    async def serves(self, calls: int) -> None:
        """Wait until the honest peer was served so often, while the flood stands."""
        await until(lambda: self.honest.calls >= calls, calls * HONEST_SECONDS)

    async def raw(self, source: str = "127.0.0.1") -> ByteStream:
        """A bare TCP connection from any of loopback's addresses."""
        place = parse_address(self.address)
        socket = trio.socket.socket()
        await socket.bind((source, 0))
        await socket.connect((place.host, place.port))
        return ByteStream(trio.SocketStream(socket))

    async def session(self, seed: bytes, source: str = "127.0.0.1") -> NoiseSession:
        """A secured channel on which anything can be sent."""
        raw = await self.raw(source)
        try:
            with trio.fail_after(HONEST_SECONDS):
                return await upgrade_outbound(raw, key_pair(seed), self.device)
        except BaseException:
            raw.close()
            raise


@dataclass
class Honest:
    """A member that keeps a link and makes new ones while the flood goes on."""

    saves: int = 0
    calls: int = 0
    slowest_save: float = 0.0
    slowest_call: float = 0.0

    async def run(self, transport: Libp2pTransport, flooded: Flooded, over: trio.Event) -> None:
        with trio.fail_after(HONEST_SECONDS):
            standing = await transport.dial(flooded.device, [flooded.address])
        while not over.is_set() or not self.calls:
            self.slowest_save = max(self.slowest_save, await self._echo(standing))
            self.saves += 1
            began = trio.current_time()
            with trio.fail_after(HONEST_SECONDS):
                fresh = await transport.dial(flooded.device, [flooded.address])
            await self._echo(fresh)
            self.slowest_call = max(self.slowest_call, trio.current_time() - began)
            self.calls += 1
            await fresh.abort()
            with trio.move_on_after(0.05):
                await over.wait()
        await standing.abort()

    async def _echo(self, link: Any) -> float:
        began = trio.current_time()
        with trio.fail_after(HONEST_SECONDS):
            await link.send(SAVE)
            assert await link.receive() == SAVE
        return trio.current_time() - began


Measure = Callable[[str], None]


@asynccontextmanager
async def flood(
    name: str, measure: Measure, *, grows_bytes: int, descriptors: int, also_known: bytes = b""
) -> AsyncIterator[Flooded]:
    """Flood a fresh process for the length of the block, with an honest peer beside.

    ``grows_bytes``: what the process's memory may grow by at its peak; ``descriptors``: what it may
    have open more than before when the block ends. ``also_known``: seed of one more device that
    is a member.
    """
    members = [device_of_seed(seed).hex() for seed in (CALLER_SEED, also_known) if seed]
    process = start(*members)
    try:
        assert process.stdout is not None
        address, device = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
        flooded = Flooded(process, address, bytes.fromhex(device))
        honest, over = flooded.honest, trio.Event()
        async with Libp2pTransport(CALLER_SEED, [], hold).open() as transport:
            with trio.fail_after(HONEST_SECONDS):  # what is imported and made at the first call
                await (await transport.dial(flooded.device, [flooded.address])).close()
            flooded.before = await flooded.ask("mark")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(honest.run, transport, flooded, over)
                yield flooded
                after = await flooded.ask("how")
                over.set()
        before = flooded.before
        grown = after["peak"] - before["rss"]
        measure(
            f"{name}: memory +{grown / limits.MIB:.1f} MiB of {grows_bytes / limits.MIB:.0f}, "
            f"descriptors +{after['descriptors'] - before['descriptors']:.0f}, "
            f"CPU {after['cpu'] - before['cpu']:.2f} s; beside it {honest.saves} saves of 20 KB "
            f"(slowest {honest.slowest_save * 1000:.0f} ms) and {honest.calls} calls "
            f"(slowest {honest.slowest_call * 1000:.0f} ms)"
        )
        assert grown < grows_bytes
        assert after["descriptors"] - before["descriptors"] <= descriptors
    finally:
        process.kill()
        process.communicate()


def start(*members: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.network.floods.server", *members],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def gone(stream: Channel) -> None:
    """Wait until the process has ended a connection; drops what it says."""
    try:
        with trio.fail_after(3 * HONEST_SECONDS):
            with memoryview(bytearray(65_536)) as buffer:
                while (count := stream.receive_now(buffer)) != 0:
                    if count is None:
                        await stream.readable()
    except LinkBroken:
        pass
    finally:
        stream.close()
