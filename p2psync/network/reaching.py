"""How this node comes to be reached without a relay: joins what is known of outside with AutoNAT,
UPnP and hole punching (docs/spec/reaching.md).

Relays of ours and members are asked where they see us and whether they can call us. Each relayed
link to a member is led to a direct one, with waits that grow while that does not work.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from p2psync import limits
from p2psync.engine.ports import LinkBroken
from p2psync.network import autonat, dcutr, identify
from p2psync.network.address import TcpAddress, parse_address
from p2psync.network.bytestream import ByteStream, tune
from p2psync.network.config import TransportConfig
from p2psync.network.connection import Connection
from p2psync.network.negotiation import NotSpoken
from p2psync.network.outside import Outside, Reach
from p2psync.network.portreuse import connect_from, source_for
from p2psync.network.stream import Stream
from p2psync.network.upnp import PortMapper

logger = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 60.0
"""While nobody could say whether this node can be called."""
_NOT_YET_SECONDS = 3.0
"""A device that is no member yet may be one soon: it comes by a ticket."""
_CALL_AGAIN_SECONDS = (0.05, 0.25)
"""Who is refused calls again at once: the peer's own call may be on its way."""


class Host(Protocol):
    """What the transport does for this."""

    @property
    def device(self) -> bytes:
        """Our own device key."""
        ...

    @property
    def listening(self) -> tuple[TcpAddress, ...]:
        """Where this node listens; may hold wildcards."""
        ...

    def direct_addresses(self) -> tuple[str, ...]:
        """The same, with each interface's address."""
        ...

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task of the transport."""
        ...

    async def link_over(self, raw: ByteStream, device: bytes) -> None:
        """Be the client on a punched connection and bring up a link; raises ``LinkBroken``."""
        ...

    async def serve_raw(self, raw: ByteStream, *, punched: bool) -> None:
        """Be the server on a connection until it ends."""
        ...

    async def call_back(self, address: TcpAddress, device: bytes) -> None:
        """Call once, to see whether the device is there; raises ``OSError``, ``LinkBroken``."""
        ...


@dataclass(slots=True)
class _Witness:
    """A connection whose other end sees where we come from."""

    connection: Connection
    exact: bool
    trusted: bool
    asked: tuple[TcpAddress, ...] = ()
    asked_at: float = float("-inf")


@dataclass(slots=True)
class _Punch:
    """A device that is being called from outside."""

    addresses: frozenset[TcpAddress]
    client: bool
    arrived: trio.Event = field(default_factory=trio.Event)
    turn: trio.Lock = field(default_factory=trio.Lock)


class Reaching:
    """One transport's ways to be reached."""

    def __init__(self, host: Host, config: TransportConfig) -> None:
        self._host = host
        self._config = config
        self.outside = Outside(trio.current_time, config.public)
        self.answerer = autonat.Answerer(
            host.call_back, config.known, config.public, trio.current_time
        )
        self._mapper = PortMapper(self._port, self._on_mapped)
        self._witnesses: dict[bytes, _Witness] = {}
        self._punches: dict[bytes, _Punch] = {}
        self._room = trio.CapacityLimiter(limits.PUNCHES_MAX)
        self._followed: set[bytes] = set()
        """Devices that lead us to a direct link now."""
        self._changed = trio.Event()
        self._ask = trio.Event()
        self._own: tuple[TcpAddress, ...] = ()
        self._told: tuple[str, ...] = ()
        self.told_changed: Callable[[], None] = lambda: None
        """Called when members are to be told of other addresses."""

    # -- what follows ---------------------------------------------------------------------------

    def reach(self) -> Reach:
        """Whether this node can be called from outside, as far as it is known."""
        return self.outside.reach()

    def told(self) -> tuple[str, ...]:
        """What members are told besides this machine's own addresses."""
        return tuple(str(each) for each in self.outside.told(self._listening()))

    def candidates(self) -> tuple[TcpAddress, ...]:
        """Where this node may be seen from outside."""
        return self.outside.candidates(self._listening())

    def _listening(self) -> tuple[TcpAddress, ...]:
        """Where plain TCP is listened to, by interface: nothing else is punched or mapped."""
        parsed = (parse_address(each) for each in self._host.direct_addresses())
        return tuple(each for each in parsed if not each.web)

    def _port(self) -> int | None:
        for each in self._host.listening:
            if each.is_wildcard and each.family == "ip4" and not each.web:
                return each.port
        return None

    # -- tasks ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look around and ask others until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ask_others)
            if self._config.upnp:
                nursery.start_soon(self._mapper.run)

    def moved(self) -> None:
        """This machine has other addresses now: what was said of it before means nothing."""
        self.outside.forget()
        self._mapper.look_again()
        for witness in list(self._witnesses.values()):
            if not witness.connection.ended.is_set():
                witness.asked = ()
                self._host.spawn(partial(self._hear, witness))
        self._look()

    def _on_mapped(self, mapped: tuple[TcpAddress, ...]) -> None:
        self.outside.mapped = mapped
        self._look()

    def _look(self) -> None:
        """Wake whoever waits when this node is seen elsewhere."""
        now = self.candidates()
        if now != self._own:
            self._own = now
            changed, self._changed = self._changed, trio.Event()
            changed.set()
            self._ask.set()
        told = self.told()
        if told != self._told:
            self._told = told
            self.told_changed()

    # -- what others see ------------------------------------------------------------------------

    def met(self, connection: Connection, *, exact: bool, trusted: bool) -> None:
        """Take a direct connection that we opened to a relay of ours (``trusted``) or a member.

        ``exact``: it left from the port on which we listen.
        """
        remote = connection.remote
        if remote is None or not self._config.public(remote.host):
            return
        known = self._witnesses
        for device in [each for each in known if known[each].connection.ended.is_set()]:
            del known[device]
        if trusted or len(known) < limits.OBSERVERS_MAX:
            witness = known[connection.device] = _Witness(connection, exact, trusted)
            self._host.spawn(partial(self._hear, witness))

    async def _hear(self, witness: _Witness) -> None:
        try:
            stream = await witness.connection.open_stream(identify.PROTOCOL)
            try:
                seen = await identify.ask_observed(stream)
            finally:
                stream.reset()
        except LinkBroken as error:
            logger.debug("a peer does not say where it sees us: %s", error)
            return
        if seen is not None:
            device, trusted = witness.connection.device, witness.trusted
            self.outside.observe(device, seen, exact=witness.exact, trusted=trusted)
        self._look()
        self._ask.set()

    async def _ask_others(self) -> None:
        """Ask those who see us to call back, anew when our addresses change and now and then."""
        while True:
            self._ask = trio.Event()
            candidates = self.candidates()
            for witness in list(self._witnesses.values()):
                if candidates and self._is_due(witness, candidates):
                    await self._ask_one(witness, candidates)
            known = self.reach() != "unknown"
            wait = self._config.reach_again_seconds if known else _ASK_AGAIN_SECONDS
            with trio.move_on_after(wait):
                await self._ask.wait()

    def _is_due(self, witness: _Witness, candidates: tuple[TcpAddress, ...]) -> bool:
        if witness.connection.ended.is_set():
            return False
        since = trio.current_time() - witness.asked_at
        return witness.asked != candidates or since >= self._config.reach_again_seconds

    async def _ask_one(self, witness: _Witness, candidates: tuple[TcpAddress, ...]) -> None:
        witness.asked, witness.asked_at = candidates, trio.current_time()
        try:
            stream = await witness.connection.open_stream(autonat.PROTOCOL)
            try:
                answer = await autonat.ask(stream, self._host.device, candidates)
            finally:
                stream.reset()
        except LinkBroken as error:
            logger.debug("a peer does not call back: %s", error)
            return
        device, trusted = witness.connection.device, witness.trusted
        if answer.status == autonat.Status.OK and answer.address in candidates:
            self.outside.tried(device, answer.address, trusted=trusted)
        elif answer.status == autonat.Status.DIAL_ERROR:
            self.outside.tried(device, None, trusted=trusted)
        self._look()

    # -- hole punching --------------------------------------------------------------------------

    async def upgrade(self, connection: Connection) -> None:
        """Lead a relayed connection that a member opened to a direct one, as long as it stands."""
        wait = self._config.punch_again_seconds
        pause = self._config.punch_after_seconds
        while True:
            changed = self._changed
            if not await self._stands(connection, pause):
                return
            if changed.is_set():
                wait = self._config.punch_again_seconds
            if not self._config.known(connection.device):
                pause = _NOT_YET_SECONDS
                continue
            changed = self._changed
            if self.candidates():
                try:
                    async with self._room:
                        await self._lead(connection)
                except NotSpoken:
                    return
                except LinkBroken as error:
                    logger.debug("no hole was punched: %s", error)
            pause = _NOT_YET_SECONDS if changed.is_set() else wait
            wait = min(2 * wait, self._config.punch_again_seconds_max)

    async def _stands(self, connection: Connection, seconds: float) -> bool:
        """Wait so long, less when our addresses change; whether the connection still stands."""
        changed = self._changed
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:

                async def until(event: trio.Event) -> None:
                    await event.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until, connection.ended)
                nursery.start_soon(until, changed)
        return not connection.ended.is_set()

    async def _lead(self, connection: Connection) -> None:
        stream = await connection.open_stream(dcutr.PROTOCOL)
        try:
            punch = partial(self._punch, connection.device, client=False)
            await dcutr.initiate(stream, self.candidates, punch)
            stream.end()
        finally:
            stream.reset()

    async def serve(self, connection: Connection, stream: Stream) -> None:
        """Follow a member that we called through a relay; raises ``LinkBroken``."""
        relayed = connection.relay is not None and connection.direction == "outbound"
        device = connection.device
        # One at a time of each: who opens many must not take the room of all others.
        if not relayed or not self._config.known(device) or device in self._followed:
            stream.reset()
            return
        try:
            self._room.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            stream.reset()
            return
        self._followed.add(device)
        try:
            punch = partial(self._punch, device, client=True)
            await dcutr.respond(stream, self.candidates, punch)
        finally:
            self._followed.discard(device)
            self._room.release_on_behalf_of(stream)

    async def _punch(self, device: bytes, addresses: Sequence[TcpAddress], *, client: bool) -> bool:
        targets = [each for each in addresses if self._config.public(each.host)]
        if device in self._punches or not targets:
            return False
        with self._punching(device, _Punch(frozenset(targets), client)) as punch:
            with trio.move_on_after(self._config.punch_seconds):
                async with trio.open_nursery() as nursery:
                    for target in targets:
                        nursery.start_soon(self._call, device, target, punch)
                    await punch.arrived.wait()
                    nursery.cancel_scope.cancel()
            return punch.arrived.is_set()

    @contextmanager
    def _punching(self, device: bytes, punch: _Punch) -> Iterator[_Punch]:
        self._punches[device] = punch
        try:
            yield punch
        finally:
            del self._punches[device]

    async def _call(self, device: bytes, target: TcpAddress, punch: _Punch) -> None:
        source = source_for(target, self._host.listening)
        while source is not None:
            try:
                stream = await connect_from(source, target)
            except OSError:
                await trio.sleep(random.uniform(*_CALL_AGAIN_SECONDS))  # noqa: S311
                continue
            tune(stream, self._config.silence_seconds)
            await self._take(ByteStream(stream), device, punch)
            return

    async def _take(self, raw: ByteStream, device: bytes, punch: _Punch) -> None:
        """Go on with a connection that came of a punch."""
        if not punch.client:
            self._host.spawn(partial(self._host.serve_raw, raw, punched=True))
            return
        try:
            async with punch.turn:
                if punch.arrived.is_set():
                    raw.close()
                    return
                with trio.fail_after(self._config.upgrade_seconds):
                    await self._host.link_over(raw, device)
                punch.arrived.set()
        except (LinkBroken, trio.TooSlowError) as error:
            logger.debug("a punched connection came to nothing: %s", error)
            raw.close()
        except BaseException:
            raw.close()
            raise

    async def accepted(self, raw: ByteStream) -> bool:
        """Take a connection that our listener accepted while we were calling right there.

        The peer's call came first, and both of us would be its server. False when it is none.
        """
        for device, punch in self._punches.items():
            if punch.client and raw.remote in punch.addresses:
                await self._take(raw, device, punch)
                return True
        return False

    def is_punched(self, remote: TcpAddress | None) -> bool:
        """Whether we are calling just there now."""
        return any(remote in punch.addresses for punch in self._punches.values())

    def arrived(self, device: bytes) -> None:
        """A direct link of the device is there."""
        punch = self._punches.get(device)
        if punch is not None:
            punch.arrived.set()
