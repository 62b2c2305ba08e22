"""A relay that answers and passes on as it likes, and keeps all that it sees."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from p2psync.engine.ports import LinkBroken
from p2psync.network import circuit
from p2psync.network.circuit import Answer, Connect, Reservation, Reserve, Status
from p2psync.network.connection import Connection
from p2psync.network.pieces import Piece
from p2psync.network.stream import Stream

READ_BYTES = 16 * 1024


class Tamper(Protocol):
    """Turns what one end sent into what the other gets; raises ``LinkBroken`` to cut."""

    async def __call__(self, data: bytes, rng: random.Random) -> list[bytes]:
        """The pieces that are passed on in the place of ``data``."""
        ...


async def honestly(data: bytes, rng: random.Random) -> list[bytes]:
    return [data]


async def dropping(data: bytes, rng: random.Random) -> list[bytes]:
    return [] if rng.random() < 0.3 else [data]


async def swallowing(data: bytes, rng: random.Random) -> list[bytes]:
    return []


async def delaying(data: bytes, rng: random.Random) -> list[bytes]:
    await trio.sleep(rng.random() * 3)
    return [data]


async def doubling(data: bytes, rng: random.Random) -> list[bytes]:
    return [data, data] if rng.random() < 0.3 else [data]


async def truncating(data: bytes, rng: random.Random) -> list[bytes]:
    return [data[: rng.randrange(len(data))]] if rng.random() < 0.3 else [data]


async def flipping(data: bytes, rng: random.Random) -> list[bytes]:
    if rng.random() < 0.3:
        at = rng.randrange(len(data))
        return [data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]]
    return [data]


async def adding(data: bytes, rng: random.Random) -> list[bytes]:
    return [data, rng.randbytes(rng.randrange(1, 400))] if rng.random() < 0.3 else [data]


async def cutting(data: bytes, rng: random.Random) -> list[bytes]:
    if rng.random() < 0.1:
        raise LinkBroken("cut by the relay")
    return [data]


@dataclass
class Reordering:
    """Holds pieces back and passes them on behind later ones."""

    held: list[bytes] = field(default_factory=list)

    async def __call__(self, data: bytes, rng: random.Random) -> list[bytes]:
        self.held.append(data)
        if rng.random() < 0.5:
            return []
        rng.shuffle(self.held)
        passed, self.held = self.held, []
        return passed


@dataclass
class Replaying:
    """Passes on again what went through earlier, on this circuit or on another one."""

    seen: list[bytes] = field(default_factory=list)

    async def __call__(self, data: bytes, rng: random.Random) -> list[bytes]:
        self.seen.append(data)
        return [data, rng.choice(self.seen)] if rng.random() < 0.3 else [data]


TAMPERS: dict[str, Callable[[], Tamper]] = {
    "drops": lambda: dropping,
    "delays": lambda: delaying,
    "reorders": Reordering,
    "duplicates": lambda: doubling,
    "truncates": lambda: truncating,
    "replays": Replaying,
    "flips bits": lambda: flipping,
    "adds bytes": lambda: adding,
    "cuts": lambda: cutting,
    "swallows": lambda: swallowing,
}


@dataclass
class HostileRelay:
    """Serves HOP. ``tamper`` is made for each circuit; ``begin_bytes`` pass each way untouched.

    ``reserve`` and ``connect`` answer in the place of what an honest relay does.
    """

    seed: int = 0
    tamper: Callable[[], Tamper] = lambda: honestly
    begin_bytes: int = 0
    reservation: Callable[[], Reservation] | None = None
    reserve: Callable[[Stream], Awaitable[None]] | None = None
    connect: Callable[["HostileRelay", Connection, Stream, bytes], Awaitable[None]] | None = None
    source: bytes | None = None
    """Who it says that calls, whoever does."""
    target: bytes | None = None
    """Whom it calls, whoever is meant."""
    devices: dict[bytes, Connection] = field(default_factory=dict)
    seen: bytearray = field(default_factory=bytearray)
    circuits: int = 0

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Answer one question."""
        message = await circuit.read_message(stream)
        self.seen += message
        match circuit.read_hop(message):
            case Reserve():
                self.devices[connection.device] = connection
                connection.keep(24 * 3600)
                if self.reserve is not None:
                    await self.reserve(stream)
                    return
                await answer(stream, self.reservation() if self.reservation else usual())
            case Connect(device=target):
                if self.connect is not None:
                    await self.connect(self, connection, stream, target)
                    return
                await self.pass_on(connection, stream, self.target or target)
            case Answer():
                pass

    async def pass_on(self, connection: Connection, stream: Stream, target: bytes) -> None:
        """Open a circuit to a device."""
        onward = await self.devices[target].open_stream(circuit.STOP)
        source = self.source or connection.device
        await circuit.write_message(onward, circuit.stop_bytes(Connect(source)))
        said = circuit.read_stop(await circuit.read_message(onward))
        assert isinstance(said, Answer)
        await circuit.write_message(stream, circuit.hop_bytes(Answer(said.status)))
        self.circuits += 1
        rng = random.Random(f"{self.seed} {self.circuits}")
        async with trio.open_nursery() as nursery:
            for start, end in ((stream, onward), (onward, stream)):
                nursery.start_soon(
                    partial(self._way, start, end, self.tamper(), rng, nursery.cancel_scope)
                )
        onward.reset()
        stream.reset()

    async def _way(
        self,
        start: Stream,
        end: Stream,
        tamper: Tamper,
        rng: random.Random,
        scope: trio.CancelScope,
    ) -> None:
        passed = 0
        try:
            while True:
                await start.more(0)
                pieces: list[Piece] = []
                if not start.move(READ_BYTES, pieces):
                    end.end()
                    await end.wait_sent()
                    return
                data = b"".join(pieces)
                self.seen += data
                passed += len(data)
                for piece in [data] if passed <= self.begin_bytes else await tamper(data, rng):
                    if piece:
                        await end.write(piece)
        except LinkBroken:
            scope.cancel()


def usual() -> Reservation:
    return Reservation(int(time.time()) + 3600)


async def answer(stream: Stream, reservation: Reservation) -> None:
    """Grant a reservation."""
    await circuit.write_message(stream, circuit.hop_bytes(Answer(Status.OK, reservation)))
