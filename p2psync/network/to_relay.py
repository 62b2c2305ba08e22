"""Calling a relay: at all its addresses at once, by every way that there is."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from p2psync import limits
from p2psync.core.crypto import SigningKey
from p2psync.network.address import TcpAddress
from p2psync.network.bytestream import ByteStream, Channel, tune
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection, upgrade_outbound
from p2psync.network.dial import Race, Target, Turn
from p2psync.network.ground import Ground
from p2psync.network.ground_config import Way
from p2psync.network.noise import NoiseSession
from p2psync.network.portreuse import connect_shared

if TYPE_CHECKING:
    # libp2p installs trio-typing, whose stubs hide trio's own types from mypy.
    from trio_typing import TaskStatus

_STEADY_SECONDS = 10.0
_UNSTEADY_SECONDS = 300.0


class Host(Protocol):
    """What the transport does for this."""

    @property
    def listening(self) -> tuple[TcpAddress, ...]:
        """Where this node listens."""
        ...

    def running(self) -> trio.Nursery:
        """Where connections run; raises ``LinkBroken`` when the transport does not."""
        ...

    def connection_to_relay(self, session: NoiseSession) -> Connection:
        """The connection over a secured channel to a relay."""
        ...


class RelayCalls:
    """Opens connections to relays; remembers which ways are soon cut."""

    def __init__(self, host: Host, keys: SigningKey, ground: Ground, config: TransportConfig):
        self._host = host
        self._keys = keys
        self._ground = ground
        self._config = config
        self._unsteady: dict[tuple[bytes, TcpAddress], float] = {}
        """Addresses where a connection was soon cut, and until when others go first."""

    async def connect(
        self,
        relay: bytes,
        addresses: Sequence[TcpAddress],
        met: Callable[[Connection, bool], None],
    ) -> Connection:
        """Open a connection to a relay, on which it may open many streams.

        All addresses are tried, the first one first. ``met`` is called with the connection, and
        whether it left from the port on which we listen. Raises ``LinkBroken``.
        """
        nursery = self._host.running()
        turn = Turn(self._config.late_seconds)

        async def attempt(target: Target) -> tuple[Connection, bool]:
            assert isinstance(target, Way)
            raw, exact = await self._open(target)
            try:
                session = await upgrade_outbound(raw, self._keys, relay)
                async with turn.taken():
                    connection = self._host.connection_to_relay(session)
                    await nursery.start(self._run, connection, target)
            except BaseException:
                raw.close()
                raise
            return connection, exact

        def late(target: Target) -> bool:
            assert isinstance(target, Way)
            until = self._unsteady.get((relay, target.address), 0.0)
            return target.proxy is not None or trio.current_time() < until

        ways = partial(self._ground.ways, relay=True)
        race = Race(relay, attempt, lambda won: won[0].abort(), self._config, late, ways)
        connection, exact = await race.run_to(addresses)
        met(connection, exact)
        return connection

    async def _run(
        self,
        connection: Connection,
        way: Way,
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run a connection; a way on which it is soon cut gives others precedence.

        There are networks that let a connection begin, and cut it once they know it.
        """
        began = trio.current_time()
        await connection.run(task_status)
        place = (connection.device, way.address)
        self._unsteady.pop(place, None)
        if connection.was_cut and trio.current_time() - began < _STEADY_SECONDS:
            self._unsteady[place] = trio.current_time() + _UNSTEADY_SECONDS
            if len(self._unsteady) > limits.RELAYS_MAX * limits.RELAY_ADDRESSES_MAX:
                del self._unsteady[next(iter(self._unsteady))]

    async def _open(self, way: Way) -> tuple[Channel, bool]:
        """A channel, if possible from the port on which we listen (then true): what the relay sees
        of it is where calls from outside come in."""
        if way.proxy is None and not way.address.web:
            with contextlib.suppress(OSError):
                stream = await connect_shared(way.address, self._host.listening)
                tune(stream, self._config.silence_seconds)
                return ByteStream(stream), True
        return await self._ground.open(way), False
