"""The transport: listens, calls and authenticates (docs/decisions/0010-network-host.md)."""

import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio

from p2psync import limits
from p2psync.engine.ports import AcceptLink, LinkBroken, LinkEnded
from p2psync.errors import BadAddress, PeerUnreachable, PortTaken
from p2psync.network import autonat, circuit, dcutr, identify
from p2psync.network.address import (
    CircuitAddress,
    TcpAddress,
    address_of,
    dialable,
    interface_hosts,
    parse_address,
)
from p2psync.network.bytestream import ByteStream, Channel, tune
from p2psync.network.circuits import Circuits, answer_call
from p2psync.network.config import TransportConfig
from p2psync.network.connection import (
    Connection,
    StreamHandler,
    upgrade_inbound,
    upgrade_outbound,
)
from p2psync.network.dial import Race, Target, Turn
from p2psync.network.ground import Ground
from p2psync.network.ground_config import Way
from p2psync.network.guard import Guard
from p2psync.network.identity import DEVICE_BYTES, key_pair, peer_id_text
from p2psync.network.link import PROTOCOL, StreamLink, circuit_of
from p2psync.network.noise import NoiseSession
from p2psync.network.portreuse import share_port
from p2psync.network.reaching import Reaching
from p2psync.network.relayed import StreamChannel
from p2psync.network.stream import Stream
from p2psync.network.to_relay import RelayCalls

if TYPE_CHECKING:
    # libp2p installs trio-typing, whose stubs hide trio's own types from mypy.
    from trio_typing import TaskStatus

logger = logging.getLogger(__name__)

_BACKLOG = 1024
"""A burst of connections must not make the kernel forget an honest one for a second or more."""
_ACCEPT_PAUSE_SECONDS = 0.1


class Libp2pTransport:
    """The ``Transport`` port over TCP, Noise and yamux as libp2p speaks them.

    ``device_seed``: the device's 32-byte Ed25519 seed. ``listen``: multiaddrs to listen on, may be
    empty. ``accept``: called in its own task for each link that a peer opens; the link is closed
    when it returns and cut when it raises.
    """

    def __init__(
        self,
        device_seed: bytes,
        listen: Sequence[str],
        accept: AcceptLink,
        *,
        config: TransportConfig | None = None,
        relays_changed: Callable[[], None] = lambda: None,
        doubted: Callable[[bytes, str], None] = lambda device, address: None,
    ) -> None:
        """``doubted`` is called with the device and the address of a link through a relay on which
        nothing was heard for ``doubt_seconds`` after something was sent."""
        self._keys = key_pair(device_seed)
        self._listen = tuple(parse_address(text) for text in listen)
        self._accept = accept
        self._config = config or TransportConfig()
        self._nursery: trio.Nursery | None = None
        self._listening: tuple[TcpAddress, ...] = ()
        self.device = self._keys.public
        """Our own device key, 32 bytes."""
        self.guard = Guard(self._config.known, self._config.inbound_max, self._config.strangers_max)
        self._handlers: dict[str, StreamHandler] = {
            PROTOCOL: self._serve_link,
            identify.PROTOCOL: self._serve_identify,
            identify.PING_PROTOCOL: self._serve_ping,
            circuit.STOP: self._serve_call,
        }
        self.ground = Ground(self._config.ground, self._config.silence_seconds)
        self._relay_calls = RelayCalls(self, self._keys, self.ground, self._config)
        self.reaching = Reaching(self, self._config)
        self.handle(dcutr.PROTOCOL, self.reaching.serve)
        self.handle(autonat.PROTOCOL, self.reaching.answerer.serve)
        self.circuits = Circuits(self._connect_relay, relays_changed)
        self._doubted = doubted

    @property
    def peer_id(self) -> str:
        """Our peer ID, as people see it."""
        return peer_id_text(self.device)

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Serve one more protocol on the streams that peers open."""
        self._handlers[protocol] = handler

    def addresses(self) -> tuple[str, ...]:
        """Where this node can be called now, as multiaddrs without peer ID: from outside, then of
        this machine, loopback last among them, then through relays."""
        direct = dict.fromkeys([*self.reaching.told(), *self.direct_addresses()])
        return (*direct, *self.circuits.addresses())

    def direct_addresses(self) -> tuple[str, ...]:
        """Those of them that need no relay."""
        wild = any(address.is_wildcard for address in self._listening)
        return dialable(self._listening, interface_hosts() if wild else ())

    @property
    def listening(self) -> tuple[TcpAddress, ...]:
        """Where this node listens; may hold wildcards."""
        return self._listening

    # -- running

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; reports ``started`` once it really listens.

        Raises ``PortTaken`` or ``BadAddress`` before that. Cancelling it cuts every link.
        """
        listeners = await self._open_listeners()
        self._listening = tuple(address for _, address in listeners)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener, address in listeners:
                    share_port(listener)
                    nursery.start_soon(self._accept_loop, listener, address)
                task_status.started()
                await self.reaching.run()
        finally:
            self._nursery = None
            self._listening = ()
            for listener, _ in listeners:
                listener.socket.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Libp2pTransport"]:
        """Run for the length of an ``async with`` block; its exceptions come out unwrapped."""
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self.run)
                yield self
            except trio.Cancelled:
                raise
            except BaseException as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _open_listeners(self) -> list[tuple[trio.SocketListener, TcpAddress]]:
        listeners: list[tuple[trio.SocketListener, TcpAddress]] = []
        try:
            for address in self._listen:
                try:
                    # trio sets no SO_REUSEPORT, so a port that anybody listens on is refused.
                    for listener in await trio.open_tcp_listeners(
                        address.port, host=address.host, backlog=_BACKLOG
                    ):
                        at = address_of(*listener.socket.getsockname()[:2])
                        listeners.append(
                            (listener, replace(at, web=address.web, name=address.name))
                        )
                except OSError as error:
                    if error.errno == errno.EAFNOSUPPORT and address.is_wildcard:
                        logger.info("no %s on this machine", address.family)
                        continue
                    if error.errno == errno.EADDRINUSE:
                        raise PortTaken(address=str(address)) from error
                    raise BadAddress(
                        address=str(address), cause=error.strerror or str(error)
                    ) from error
        except BaseException:
            for listener, _ in listeners:
                listener.socket.close()
            raise
        return listeners

    # -- inbound

    async def _accept_loop(self, listener: trio.SocketListener, address: TcpAddress) -> None:
        assert self._nursery is not None
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                # Out of descriptors: those that are in use must end first.
                logger.warning("cannot accept a connection: %s", error)
                await trio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            self._nursery.start_soon(self._serve_connection, stream, address)

    async def _serve_connection(self, stream: trio.SocketStream, address: TcpAddress) -> None:
        tune(stream, self._config.silence_seconds)
        raw = ByteStream(stream)
        if address.web:
            await self.serve_raw(raw, address)
        elif not await self.reaching.accepted(raw):
            await self.serve_raw(raw, punched=self.reaching.is_punched(raw.remote))

    async def serve_raw(
        self, raw: ByteStream, listening: TcpAddress | None = None, *, punched: bool = False
    ) -> None:
        """Be the server on a connection, ``punched`` through a NAT or not, until it ends.

        ``listening``: the address that was called, where it is one of WebSocket.
        """
        scope = trio.CancelScope()
        slot = self.guard.arrive(raw.remote, scope.cancel)
        try:
            with scope:
                with trio.fail_after(self._config.upgrade_seconds):
                    channel: Channel = raw
                    if listening is not None:
                        channel = await self.ground.accept(raw, listening)
                    if channel.remote != raw.remote:
                        # A reverse proxy told who calls, and all its callers count by themselves.
                        self.guard.leave(slot)
                        slot = self.guard.arrive(channel.remote, scope.cancel)
                    session = await upgrade_inbound(channel, self._keys)
                if self.guard.prove(slot, session.device):
                    connection = self._connection(session, "inbound")
                    connection.punched = punched
                    await connection.run()
        except (LinkBroken, trio.TooSlowError) as error:
            logger.debug("an inbound connection came to nothing: %s", error)
        except Exception:
            logger.exception("an inbound connection failed")
        finally:
            raw.close()
            self.guard.leave(slot)

    def _connection(
        self,
        session: NoiseSession,
        direction: Literal["inbound", "outbound"],
        relay: bytes | None = None,
    ) -> Connection:
        doubted = None if relay is None else partial(self._doubt, session, relay)
        return Connection(
            session, direction, self._handlers, self.spawn, self._config, relay, doubted
        )

    def _doubt(self, session: NoiseSession, relay: bytes) -> None:
        # While much waits to be passed on, an answer is late and nothing is wrong.
        if isinstance(session.stream, StreamChannel) and session.stream.drained:
            self._doubted(session.device, circuit_of(relay))

    async def _run_passed_on(
        self,
        connection: Connection,
        relay: bytes,
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run a connection that a relay passes on, and remember whether it was cut early."""
        began = trio.current_time()
        await connection.run(task_status)
        if connection.was_cut:
            # Silence before it was cut, on either way, does not speak for the relay.
            self.circuits.on_cut(relay, connection.worked_until - began)

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Start a task that ends with the transport."""
        assert self._nursery is not None
        self._nursery.start_soon(task)

    # -- outbound

    async def dial(self, device: bytes, addresses: Sequence[str]) -> StreamLink:
        """Race all addresses and return the first link whose peer proves to be ``device``.

        Raises ``PeerUnreachable`` naming each address and cause, or that the transport does not
        run, and ``PeerNotExpected`` when only other devices answer there.
        """
        if len(device) != DEVICE_BYTES:
            raise ValueError("a device key has 32 bytes")
        nursery = self._nursery
        if nursery is None:
            # It may have failed a moment ago, and who calls has not heard of that.
            raise PeerUnreachable(device=peer_id_text(device), causes="this transport was stopped")
        turn = Turn(self._config.late_seconds)

        async def attempt(target: Target) -> StreamLink:
            relay = target.device if isinstance(target, CircuitAddress) else None
            raw = await self._ground(target, device)
            try:
                session = await upgrade_outbound(raw, self._keys, device)
                # Only one address gets as far as a link, so the peer sees one.
                async with turn.taken():
                    return await self._open_link(session, nursery, relay)
            except BaseException:
                raw.close()
                raise

        def late(target: Target) -> bool:
            if isinstance(target, CircuitAddress):
                return self.circuits.distrusts(target.device)
            return target.proxy is not None

        ways = partial(self.ground.ways, relay=False)
        return await Race(device, attempt, StreamLink.cut, self._config, late, ways).run(addresses)

    async def _open_link(
        self,
        session: NoiseSession,
        nursery: trio.Nursery,
        relay: bytes | None = None,
        *,
        punched: bool = False,
    ) -> StreamLink:
        connection = self._connection(session, "outbound", relay)
        connection.punched = punched
        if self._nursery is not nursery:
            raise LinkBroken("this transport was stopped")
        if relay is None:
            await nursery.start(connection.run)
        else:
            await nursery.start(self._run_passed_on, connection, relay)
        try:
            link = StreamLink(connection, await connection.open_stream(PROTOCOL))
        except BaseException:
            connection.abort()
            raise
        if relay is None and not punched:
            self.reaching.met(connection, exact=False, trusted=False)
        return link

    async def link_over(self, raw: ByteStream, device: bytes) -> None:
        """Be the client on a connection that came of hole punching, and serve a link over it.

        Raises ``LinkBroken`` and leaves the connection to be closed.
        """
        nursery = self._nursery
        if nursery is None:
            raise LinkBroken("this transport was stopped")
        session = await upgrade_outbound(raw, self._keys, device)
        link = await self._open_link(session, nursery, punched=True)
        nursery.start_soon(self._serve_punched, link)

    async def _serve_punched(self, link: StreamLink) -> None:
        try:
            await self._take_link(link)
        except Exception:
            logger.exception("a punched link failed")

    async def call_back(self, address: TcpAddress, device: bytes) -> None:
        """Call an IP address, from any port, to see whether the device is there.

        Raises ``OSError``, or ``LinkBroken`` when another one is.
        """
        raw = await self.ground.open(Way(address))
        try:
            await upgrade_outbound(raw, self._keys, device)
        finally:
            raw.close()

    async def _ground(self, target: Target, device: bytes) -> Channel:
        if isinstance(target, CircuitAddress):
            return StreamChannel(await self.circuits.call(target, device))
        return await self.ground.open(target)

    # -- relays

    async def _connect_relay(self, address: TcpAddress, relay: bytes) -> Connection:
        """Open a connection to a relay; ``address`` goes before its others."""
        addresses = (address, *self.circuits.places_of(relay))

        def met(connection: Connection, exact: bool) -> None:
            self.reaching.met(connection, exact=exact, trusted=True)

        return await self._relay_calls.connect(relay, addresses, met)

    def running(self) -> trio.Nursery:
        """Where connections run; raises ``LinkBroken`` when the transport does not."""
        if self._nursery is None:
            raise LinkBroken("this transport was stopped")
        return self._nursery

    def connection_to_relay(self, session: NoiseSession) -> Connection:
        """The connection over a secured channel to a relay, on which it may open many streams."""
        config = replace(
            self._config,
            streams_inbound_max=limits.CIRCUITS_INBOUND_MAX,
            known=lambda _: True,  # it was chosen, and carries what many send
        )
        return Connection(session, "outbound", self._handlers, self.spawn, config)

    async def _serve_call(self, connection: Connection, stream: Stream) -> None:
        """Be called through a relay: the same upgrade as for who calls directly."""
        raw = StreamChannel(stream)
        scope = trio.CancelScope()
        deadline = trio.current_time() + self._config.upgrade_seconds
        with trio.fail_at(deadline):
            said = await answer_call(stream)
        slot = self.guard.arrive(None, scope.cancel, relay=connection.device, caller=said)
        try:
            with scope:
                with trio.fail_at(deadline):
                    session = await upgrade_inbound(raw, self._keys)
                if session.device != said:
                    raise LinkBroken("the relay said that another device calls")
                if self.guard.prove(slot, session.device):
                    passed_on = self._connection(session, "inbound", connection.device)
                    await self._run_passed_on(passed_on, connection.device)
        finally:
            raw.close()
            self.guard.leave(slot)

    # -- protocols

    async def _serve_link(self, connection: Connection, stream: Stream) -> None:
        if connection.carries_link:
            stream.reset()
            return
        link = StreamLink(connection, stream)
        if connection.relay is None:
            self.reaching.arrived(connection.device)
        else:
            self.spawn(partial(self.reaching.upgrade, connection))
        await self._take_link(link)

    async def _take_link(self, link: StreamLink) -> None:
        try:
            await self._accept(link)
        except LinkEnded:
            pass
        except BaseException:
            link.cut()
            raise
        await link.close()

    async def _serve_identify(self, connection: Connection, stream: Stream) -> None:
        await stream.write(
            identify.identify_message(self.device, connection.remote, self._handlers)
        )

    async def _serve_ping(self, connection: Connection, stream: Stream) -> None:
        await identify.echo_pings(stream)
