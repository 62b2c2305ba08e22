"""Who means harm: peers that speak the protocol by hand, or honestly but with forged content.

A ``Stranger`` has a key of its own and a link; a ``Puppet`` is a whole device in this process whose
entries the test writes; both meet a real node over loopback.
"""

import http.client
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import trio

from p2psync.api.address import read_address
from p2psync.core import crypto, ticket
from p2psync.core.ops import Operation
from p2psync.core.ticket import Ticket
from p2psync.engine import wire
from p2psync.engine.effects import Effect, FrameReceived, LinkDown, LinkUp, Tick
from p2psync.engine.handshake import Handshake, Key
from p2psync.engine.ports import Link, LinkBroken, LinkEnded
from p2psync.engine.replica import Replica
from p2psync.network.host import Libp2pTransport
from tests.e2e.homes import Home, Json
from tests.engine.machine import Disk, Machine, entropy_of
from tests.engine.machine import Ticket as MachineTicket

SILENCE_SECONDS = 1.0
"""How long a node that has nothing to say is listened to."""
M = TypeVar("M", bound=wire.Message)


def call(
    home: Home, method: str, path: str, body: Json | bytes | None = None, **headers: str
) -> tuple[int, Json]:
    """Ask the local API for anything at all; return status and answer."""
    address = read_address(home.home)
    assert address is not None, "the node does not run"
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    sent = {"Authorization": f"Bearer {address.token}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(address.host, address.port, timeout=60)) as link:
        link.request(method, path, body=data, headers=sent)
        answer = link.getresponse()
        read = answer.read()
    return answer.status, json.loads(read) if read else {}


def expect(home: Home, method: str, path: str, body: Json | None = None) -> Json:
    """Ask the local API for something that it grants."""
    status, answer = call(home, method, path, body)
    assert status in (200, 201), answer
    return answer


def part(text: str) -> str:
    """One part of a path of the API."""
    return quote(text, safe="")


def found(home: Home, name: str, accounting: Path | None = None) -> str:
    """Create and share a mandate; return its id."""
    body: Json = {"name": name}
    if accounting is not None:
        body["accounting"] = str(accounting)
    made: str = expect(home, "POST", "/v1/mandates", body)["id"]
    expect(home, "POST", f"/v1/mandates/{made}/share")
    return made


def invite(home: Home, mandate: str, **wishes: Any) -> tuple[Ticket, str]:
    """Make an unsealed ticket; return what it says and its invitation's name."""
    body = {"unsealed": True, **wishes}
    said = expect(home, "POST", f"/v1/mandates/{part(mandate)}/invitations", body)
    return ticket.read(said["ticket"].encode()), said["invitation"]


def tips(home: Home) -> list[tuple[int, int, bytes]]:
    """All that a node's database holds of entries."""
    return home.entries()


def rss_bytes(home: Home) -> int:
    """The node's resident memory."""
    assert home.process is not None
    for line in Path(f"/proc/{home.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the node does not run")


async def ask(call_: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do something that blocks without stopping the peers of this process."""
    return await trio.to_thread.run_sync(lambda: call_(*arguments, **options))


async def until(condition: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Poll something that blocks; return its first true value."""
    with trio.move_on_after(seconds):
        while True:
            value = await ask(condition)
            if value:
                return value
            await trio.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what or condition}")


@dataclass
class Wire:
    """A link to a node, and every byte that came over it."""

    link: Link
    heard: bytearray = field(default_factory=bytearray)
    messages: list[wire.Message] = field(default_factory=list)
    over: bool = False

    async def send(self, message: wire.Message | bytes) -> None:
        frame = message if isinstance(message, bytes) else wire.encode(message)
        with suppress(LinkBroken):
            await self.link.send(frame)

    async def receive(self) -> wire.Message | None:
        """The next message; ``None`` when the link is over."""
        try:
            frame = await self.link.receive()
        except (LinkBroken, LinkEnded):
            self.over = True
            return None
        self.heard += frame
        message = wire.decode(frame)
        assert message is not None
        self.messages.append(message)
        return message

    async def expect(self, kind: type[M], seconds: float = 20.0) -> M:
        """The next message of a kind; what comes before is kept in ``messages``."""
        with trio.fail_after(seconds):
            while True:
                message = await self.receive()
                assert message is not None, f"the link ended before {kind.__name__}"
                if isinstance(message, kind):
                    return message

    async def listen(self, seconds: float = SILENCE_SECONDS) -> list[wire.Message]:
        """All that comes within that time, or until the link ends."""
        before = len(self.messages)
        with trio.move_on_after(seconds):
            while await self.receive() is not None:
                pass
        return self.messages[before:]

    async def ended(self, seconds: float = 20.0) -> bool:
        """Whether the node ends the link in time."""
        with trio.move_on_after(seconds):
            while await self.receive() is not None:
                pass
        return self.over


class Stranger:
    """A device with a key of its own that does what the test says."""

    def __init__(self, name: str) -> None:
        self.seed = crypto.digest(b"test", name.encode())
        self.signing = crypto.SigningKey.from_seed(self.seed)
        self.entropy = entropy_of(f"attacker/{name}")
        self.transport = Libp2pTransport(self.seed, [], _refuse)

    @property
    def device(self) -> bytes:
        return self.signing.public

    @asynccontextmanager
    async def meet(self, home: Home) -> AsyncIterator[Wire]:
        """A link to a node, not greeted yet."""
        async with self.transport.open():
            link = await self.transport.dial(victim(home), home.ready["listen"])
            try:
                yield Wire(link)
            finally:
                await link.abort()

    async def greet(self, met: Wire) -> Handshake:
        """Exchange greetings."""
        handshake = Handshake(self.device, met.link.device, True, self.entropy(32))
        await met.send(handshake.greet("stranger"))
        handshake.greeted(await met.expect(wire.Hello))
        return handshake

    async def open(self, met: Wire, keys: Sequence[Key]) -> list[tuple[int, bytes]]:
        """Greet and offer mandates; return the handles of those that the node holds."""
        handshake = await self.greet(met)
        for offer in handshake.offer(keys):
            await met.send(offer)
        return handshake.accepted(await met.expect(wire.Accept))

    def replica(self, from_ticket: Ticket) -> Replica:
        """What a device that has a ticket starts with."""
        machine = Machine("", Disk(self.signing), _Nowhere(), self.entropy, wall_ms=wall_ms())
        machine.subscribe(of_machine(from_ticket))
        return machine.engine.replica(from_ticket.mandate)


async def _refuse(link: Link) -> None:
    await link.abort()


def victim(home: Home) -> bytes:
    """The node's device key."""
    return bytes.fromhex(home.ready["device"])


def of_machine(said: Ticket) -> MachineTicket:
    """The ticket as the engine's test machine takes it, without anybody to dial."""
    return MachineTicket(said.mandate, said.epoch_key, said.admission_seed, {})


def discovery_key(said: Ticket) -> bytes:
    """What the holder of a ticket can prove."""
    return crypto.derive(said.epoch_key, b"p2psync.discover", said.mandate)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    import time

    return time.time_ns() // 1_000_000


class _Nowhere:
    """A network without anybody."""

    def send(self, link: int, frame: bytes) -> None:
        return

    def close(self, link: int, error: str) -> None:
        return

    def dial(self, device: bytes, addresses: Sequence[str]) -> None:
        return


class Puppet:
    """A device that keeps to the protocol and writes whatever the test wants."""

    LINK = 1

    def __init__(self, name: str) -> None:
        seed = crypto.digest(b"test", name.encode())
        self.name = name
        self.signing = crypto.SigningKey.from_seed(seed)
        self.transport = Libp2pTransport(seed, [], _refuse)
        self.machine = Machine(
            name,
            Disk(self.signing),
            self,
            entropy_of(f"puppet/{name}"),
            trio.current_time(),
            wall_ms(),
        )
        self.link: Link | None = None
        self.raw: Callable[[bytes], bytes | None] | None = None
        """Sees each frame before it goes; what it returns goes instead."""
        self._give, self._take = trio.open_memory_channel[bytes](100_000)

    @property
    def device(self) -> bytes:
        return self.signing.public

    # -- the port of the machine

    def send(self, link: int, frame: bytes) -> None:
        changed = frame if self.raw is None else self.raw(frame)
        if changed is not None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                self._give.send_nowait(changed)

    def close(self, link: int, error: str) -> None:
        return

    def dial(self, device: bytes, addresses: Sequence[str]) -> None:
        return

    # -- life

    @asynccontextmanager
    async def join(self, home: Home, said: Ticket) -> AsyncIterator["Puppet"]:
        """Subscribe by a ticket, and stay connected to that node."""
        self.machine.subscribe(of_machine(said))
        async with self.online(home):
            replica = self.machine.engine.replica(said.mandate)
            with trio.fail_after(20):
                while not (replica.is_member(self.device) and replica.is_member(victim(home))):
                    await trio.sleep(0.01)
            yield self

    @asynccontextmanager
    async def online(self, home: Home) -> AsyncIterator["Puppet"]:
        """Be connected to a node for a while."""
        async with self.transport.open(), trio.open_nursery() as nursery:
            link = await self.transport.dial(victim(home), home.ready["listen"])
            self.link = link
            self._clock()
            contacts = {victim(home): ()}
            for mandate in self.machine.engine.mandates():
                held = self.machine.engine._held[mandate]
                held.contacts.update(dict.fromkeys(contacts))
            self.machine.handle(LinkUp(self.LINK, link.device, True, ""))
            nursery.start_soon(self._read, link)
            nursery.start_soon(self._write, link)
            nursery.start_soon(self._tick)
            try:
                yield self
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await link.abort()
                self.machine.handle(LinkDown(self.LINK, False))
                self._give, self._take = trio.open_memory_channel[bytes](100_000)

    def _clock(self) -> None:
        self.machine.now, self.machine.wall_ms = trio.current_time(), wall_ms()

    async def _read(self, link: Link) -> None:
        with suppress(LinkBroken, LinkEnded):
            while True:
                frame = await link.receive()
                self._clock()
                self.machine.handle(FrameReceived(self.LINK, frame))

    async def _write(self, link: Link) -> None:
        with suppress(LinkBroken):
            async for frame in self._take:
                await link.send(frame)

    async def _tick(self) -> None:
        while True:
            await trio.sleep(0.25)
            self._clock()
            self.machine.handle(Tick())

    # -- mischief

    def author(self, mandate: bytes, *operations: Operation) -> None:
        """Write one entry."""
        self._clock()
        self.machine.author(mandate, *operations)

    def publish(self, mandate: bytes, effects: list[Effect]) -> None:
        """Push what the replica wrote."""
        self._clock()
        self.machine.publish(mandate, effects)

    def replica(self, mandate: bytes) -> Replica:
        """What it holds of a mandate."""
        return self.machine.engine.replica(mandate)
