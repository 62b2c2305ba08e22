"""A relay's process: what it remembers when it was killed, and its settings read again."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis.strategies import binary, builds, integers, lists, sampled_from, text, tuples

from p2psync import limits
from p2psync.errors import CodecError
from p2psync.network.address import RelayAddress, parse_relay
from p2psync.network.circuit import Status
from p2psync.relay import state
from p2psync.relay.config import Group, RelayConfig, Token
from p2psync.relay.serving import RelayProcess
from p2psync.relay.state import Kept, KeptUse, State, StateFile
from tests.network.rig import LOOPBACK
from tests.relay.rig import RELAY_SEED, client, linked

ONE, TWO = "2one", "2two"
GROUP, OTHER = bytes(16), bytes([1]) * 16


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass
class Running:
    """The process of a relay, with one home and one address over its restarts."""

    folder: Path
    port: int = field(default_factory=free_port)
    monitor: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    ready: dict[str, Any] = field(default_factory=dict)

    def configure(self, tokens: tuple[str, ...] = (ONE,), more: str = "") -> None:
        lines = [
            f'listen = ["/ip4/127.0.0.1/tcp/{self.port}"]',
            f'monitor = "127.0.0.1:{self.monitor}"',
            more,
            *(f'[[token]]\nname = "{token}"\ntoken = "{token}"' for token in tokens),
        ]
        self.file.write_text("\n".join(lines), "utf-8")

    @property
    def file(self) -> Path:
        return self.folder / "relay.toml"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    async def start(self) -> Self:
        self.ready = json.loads(await trio.to_thread.run_sync(self._launch))
        return self

    def _launch(self) -> bytes:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "p2psync", "--home", str(self.folder / "home")),
                    *("--json", "relay", "run", "--config", str(self.file)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def tell(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.tell(number)
            await trio.to_thread.run_sync(self.process.wait)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def address(self, token: str = ONE) -> RelayAddress:
        (found,) = [each for each in self.ready["addresses"] if each["token"] == token]
        return parse_relay(found["address"])

    async def status(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.monitor}/status"
        async with httpx.AsyncClient(trust_env=False) as asking:
            return dict((await asking.get(url, timeout=20)).json())

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with trio.fail_after(20):
            while True:
                said = await self.status()
                if condition(said):
                    return said
                await trio.sleep(0.05)

    async def remembers(self, places: int) -> None:
        """Wait until so many places are on the disk."""
        with trio.fail_after(20):
            while len(state.load(self.folder / "home").places) != places:
                await trio.sleep(0.02)


@asynccontextmanager
async def a_relay(folder: Path, tokens: tuple[str, ...], more: str = "") -> AsyncIterator[Running]:
    running = Running(folder)
    running.configure(tokens, more)
    try:
        yield await running.start()
    finally:
        await running.end()


async def test_a_place_outlives_a_kill_even_at_a_full_relay(tmp_path: Path) -> None:
    async with (
        a_relay(tmp_path, (ONE,), "[limits]\ndevices = 1") as relay,
        client(1) as called,
        client(2) as late,
        client(3) as caller,
    ):
        async with called.kept(relay.address()):
            await called.status("reserved")
            await relay.remembers(1)
            await relay.end(signal.SIGKILL)
        await relay.start()
        said = await relay.status()
        assert (said["devices"], said["awaited"]) == (0, 1)
        async with late.kept(relay.address()):
            await late.status("refused")
            (refused,) = late.transport.circuits.states()
            assert refused.cause == "the relay: it has no room left"
            async with called.kept(relay.address()):
                await called.status("reserved")
                caller.transport.circuits.tokens[relay.address().device] = ONE
                ours, theirs = await linked(caller, called)
                await ours.send(b"again")
                assert await theirs.receive() == b"again"
        said = await relay.status()
        assert (said["devices"], said["awaited"]) == (1, 0)
        await relay.end(signal.SIGTERM)
        assert len(state.load(tmp_path / "home").places) == 1
        text = relay.log
        assert ONE not in text and "127.0.0.1" not in text
        handed_out = tmp_path / "home" / "addresses"
        assert f"{ONE}: {relay.ready['addresses'][0]['address']}\n" in handed_out.read_text("utf-8")
        assert handed_out.stat().st_mode & 0o077 == 0


async def test_settings_are_read_again_and_who_may_stay_stays(tmp_path: Path) -> None:
    async with (
        a_relay(tmp_path, (ONE, TWO)) as relay,
        client(1) as called,
        client(2) as caller,
        client(3) as other,
        called.kept(relay.address()),
        other.kept(relay.address(TWO)),
    ):
        await called.status("reserved")
        await other.status("reserved")
        caller.transport.circuits.tokens[relay.address().device] = ONE
        ours, theirs = await linked(caller, called)

        relay.file.write_text("[limits]\ndevices = 0", "utf-8")
        relay.tell(signal.SIGHUP)
        said = await relay.until(lambda said: bool(said["reloads"]["refused"]))
        assert said["devices"] == 2
        assert "limits.devices" in relay.log

        relay.configure((ONE,), "[limits]\ndevices = 7")
        relay.tell(signal.SIGHUP)
        said = await relay.until(lambda said: bool(said["reloads"]["taken"]))
        assert [each["name"] for each in said["tokens"]] == [ONE]
        assert (said["devices"], said["circuits"]) == (1, 1)
        await ours.send(b"still")
        assert await theirs.receive() == b"still"
        async with client(4) as late, late.kept(relay.address(TWO)):
            await late.status("refused")
            (refused,) = late.transport.circuits.states()
            assert refused.cause == "it does not know the token"


# -- what is remembered ------------------------------------------------------------------------

groups = lists(binary(min_size=16, max_size=16), max_size=5).map(tuple)
kept = builds(
    Kept,
    device=binary(min_size=32, max_size=32),
    expires=integers(0, 2**40),
    token=binary(max_size=16),
    shown=groups,
    counted=groups,
    origin=text(max_size=40),
)
use = builds(
    KeptUse,
    kind=sampled_from(("token", "group", "address")),
    key=binary(max_size=40),
    day=integers(0, 2**20),
    count=integers(0, 2**50),
)
states = tuples(lists(kept, max_size=5).map(tuple), lists(use, max_size=5).map(tuple)).map(
    lambda said: State(*said)
)


@given(said=states)
def test_what_is_remembered_is_read_as_it_was_written(said: State) -> None:
    assert state.decode(state.encode(said)) == said


@given(said=states, at=integers(0, 10_000), bit=integers(0, 7))
def test_a_file_with_one_bit_turned_is_none(said: State, at: int, bit: int) -> None:
    data = bytearray(state.encode(said))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(CodecError):
        state.decode(bytes(data))


@given(data=binary(max_size=200))
def test_nothing_else_is_a_state(data: bytes) -> None:
    with pytest.raises(CodecError):
        state.decode(data)


async def test_a_damaged_file_keeps_no_relay_from_starting(tmp_path: Path) -> None:
    for data in (b"", b"rubbish", b"\0" * 100):
        (tmp_path / state.FILE).write_bytes(data)
        assert state.load(tmp_path) == State()
    (tmp_path / state.FILE).unlink()
    file = StateFile(tmp_path, lambda: State((Kept(bytes(32), 1, b"", (), (), "here"),)))
    await file.write()
    assert len(state.load(tmp_path).places) == 1
    assert (tmp_path / state.FILE).stat().st_mode & 0o077 == 0


async def test_a_disk_that_fails_stops_nobody_and_is_told_of(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "gone", State)
    await file.write()
    assert file.failed
    (tmp_path / "gone").mkdir()
    await file.write()
    assert not file.failed


def remembered(expires: float, token: bytes = b"", *shown: bytes) -> State:
    return State((Kept(b"d" * 32, int(expires), token, shown, shown, "192.0.2.1"),))


def test_a_place_is_kept_for_a_while_and_for_who_may_still_come_in() -> None:
    now = [1_800_000_000.0]

    def relay(config: RelayConfig) -> RelayProcess:
        process = RelayProcess(RELAY_SEED, config)
        process.policy.now = process.relay._now = lambda: now[0]
        return process

    def held(config: RelayConfig, state: State) -> bool:
        process = relay(config)
        process.restore(state, now[0])
        return process.relay.has_place(b"d" * 32)

    named = RelayConfig(listen=(LOOPBACK,), groups=(Group("Atelier", GROUP),))
    office = RelayConfig(listen=(LOOPBACK,), tokens=(Token("Office", ONE),))
    later = now[0] + 3_600
    mark = relay(office)._mark(ONE)
    assert held(named, remembered(later, b"", GROUP))
    assert not held(named, remembered(later, b"", OTHER))
    assert not held(named, remembered(now[0], b"", GROUP))
    assert held(office, remembered(later, mark))
    assert not held(office, remembered(later, relay(office)._mark(TWO)))
    process = relay(office)
    process.restore(remembered(later, mark), now[0])
    assert process.policy.may_reserve(b"e" * 32, "192.0.2.2") is Status.PERMISSION_DENIED
    now[0] += limits.RELAY_RETURN_SECONDS_MAX
    process.forget_ended()
    assert not process.relay.reserved
    assert process.policy.place(b"d" * 32) is None
