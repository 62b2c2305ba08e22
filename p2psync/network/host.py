"""The transport: listens, calls and authenticates (docs/decisions/0010-network-host.md)."""

import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import trio

from p2psync import limits
from p2psync.engine.ports import AcceptLink, LinkBroken, LinkEnded
from p2psync.errors import BadAddress, PortTaken
from p2psync.network import circuit, identify
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
from p2psync.network.dial import Address, Race, connect
from p2psync.network.guard import Guard
from p2psync.network.identity import DEVICE_BYTES, key_pair, peer_id_text
from p2psync.network.link import PROTOCOL, StreamLink
from p2psync.network.noise import NoiseSession
from p2psync.network.relayed import StreamChannel
from p2psync.network.stream import Stream

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
    ) -> None:
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
        self.circuits = Circuits(self._connect_relay, relays_changed)

    @property
    def peer_id(self) -> str:
        """Our peer ID, as people see it."""
        return peer_id_text(self.device)

    def handle(self, protocol: str, handler: StreamHandler) -> None:
        """Serve one more protocol on the streams that peers open."""
        self._handlers[protocol] = handler

    def addresses(self) -> tuple[str, ...]:
        """Where this node can be called now, as multiaddrs without peer ID: direct ones, loopback
        last among them, then through relays."""
        return (*self.direct_addresses(), *self.circuits.addresses())

    def direct_addresses(self) -> tuple[str, ...]:
        """Those of them that need no relay."""
        wild = any(address.is_wildcard for address in self._listening)
        return dialable(self._listening, interface_hosts() if wild else ())

    # -- running

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; reports ``started`` once it really listens.

        Raises ``PortTaken`` or ``BadAddress`` before that. Cancelling it cuts every link.
        """
        listeners = await self._open_listeners()
        self._listening = tuple(
            address_of(*listener.socket.getsockname()[:2]) for listener in listeners
        )
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in listeners:
                    nursery.start_soon(self._accept_loop, listener)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._listening = ()
            for listener in listeners:
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

    async def _open_listeners(self) -> list[trio.SocketListener]:
        listeners: list[trio.SocketListener] = []
        try:
            for address in self._listen:
                try:
                    # trio sets no SO_REUSEPORT, so a port that anybody listens on is refused.
                    listeners += await trio.open_tcp_listeners(
                        address.port, host=address.host, backlog=_BACKLOG
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
            for listener in listeners:
                listener.socket.close()
            raise
        return listeners

    # -- inbound

    async def _accept_loop(self, listener: trio.SocketListener) -> None:
        assert self._nursery is not None
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                # Out of descriptors: those that are in use must end first.
                logger.warning("cannot accept a connection: %s", error)
                await trio.sleep(_ACCEPT_PAUSE_SECONDS)
                continue
            self._nursery.start_soon(self._serve_connection, stream)

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        tune(stream, self._config.silence_seconds)
        raw = ByteStream(stream)
        scope = trio.CancelScope()
        slot = self.guard.arrive(raw.remote, scope.cancel)
        try:
            with scope:
                with trio.fail_after(self._config.upgrade_seconds):
                    session = await upgrade_inbound(raw, self._keys)
                if self.guard.prove(slot, session.device):
                    await self._connection(session, "inbound").run()
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
        return Connection(session, direction, self._handlers, self._spawn, self._config, relay)

    def _spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(task)

    # -- outbound

    async def dial(self, device: bytes, addresses: Sequence[str]) -> StreamLink:
        """Race all addresses and return the first link whose peer proves to be ``device``.

        Raises ``PeerUnreachable`` naming each address and cause, ``PeerNotExpected`` when only
        other devices answer there, and ``RuntimeError`` when the transport is not running.
        """
        nursery = self._nursery
        if nursery is None:
            raise RuntimeError("the transport is not running")
        if len(device) != DEVICE_BYTES:
            raise ValueError("a device key has 32 bytes")
        turn = trio.Lock()

        async def attempt(address: Address) -> StreamLink:
            relay = address.device if isinstance(address, CircuitAddress) else None
            raw = await self._ground(address, device)
            try:
                session = await upgrade_outbound(raw, self._keys, device)
                # Only one address gets as far as a link, so the peer sees one.
                async with turn:
                    connection = self._connection(session, "outbound", relay)
                    if self._nursery is not nursery:
                        raise LinkBroken("this transport was stopped")
                    await nursery.start(connection.run)
                    try:
                        return StreamLink(connection, await connection.open_stream(PROTOCOL))
                    except BaseException:
                        connection.abort()
                        raise
            except BaseException:
                raw.close()
                raise

        return await Race(device, attempt, StreamLink.cut, self._config).run(addresses)

    async def _ground(self, address: Address, device: bytes) -> Channel:
        if isinstance(address, CircuitAddress):
            return StreamChannel(await self.circuits.call(address, device))
        stream = await connect(address)
        tune(stream, self._config.silence_seconds)
        return ByteStream(stream)

    # -- relays

    async def _connect_relay(self, address: TcpAddress, relay: bytes) -> Connection:
        """Open a connection to a relay, on which it may open many streams."""
        nursery = self._nursery
        if nursery is None:
            raise LinkBroken("this transport was stopped")
        config = replace(self._config, streams_inbound_max=limits.CIRCUITS_INBOUND_MAX)
        with trio.move_on_after(self._config.dial_seconds):
            raw = await self._ground(address, relay)
            try:
                session = await upgrade_outbound(raw, self._keys, relay)
                connection = Connection(session, "outbound", self._handlers, self._spawn, config)
                await nursery.start(connection.run)
            except BaseException:
                raw.close()
                raise
            return connection
        raise LinkBroken("no answer in time")

    async def _serve_call(self, connection: Connection, stream: Stream) -> None:
        """Be called through a relay: the same upgrade as for who calls directly."""
        raw = StreamChannel(stream)
        scope = trio.CancelScope()
        slot = self.guard.arrive(None, scope.cancel)
        try:
            with scope:
                with trio.fail_after(self._config.upgrade_seconds):
                    said = await answer_call(stream)
                    session = await upgrade_inbound(raw, self._keys)
                if session.device != said:
                    raise LinkBroken("the relay said that another device calls")
                if self.guard.prove(slot, session.device):
                    await self._connection(session, "inbound", connection.device).run()
        finally:
            raw.close()
            self.guard.leave(slot)

    # -- protocols

    async def _serve_link(self, connection: Connection, stream: Stream) -> None:
        if connection.carries_link:
            stream.reset()
            return
        link = StreamLink(connection, stream)
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
