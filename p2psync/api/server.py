"""Serves the local API on a loopback port of its own; the only importer of hypercorn.

``hypercorn.trio.serve`` is taken apart here for three bounds that it lacks: the number of
connections, how long a reader may take nothing, and HTTP/1.1 alone (a connection that has
switched to HTTP/2 would stay open without ever showing a token).
"""

import logging
from typing import Any, Protocol, TypeVar, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app

from p2psync.api.app import create_app
from p2psync.api.guard import Bounds, Guard
from p2psync.api.service import Service

_log = logging.getLogger("p2psync.api")

_DEFAULT_BOUNDS = Bounds()
_Value = TypeVar("_Value", contravariant=True)


class _TaskStatus(Protocol[_Value]):
    """What ``trio.Nursery.start`` hands to a task."""

    def started(self, value: _Value) -> None: ...


async def serve(
    service: Service,
    token: str,
    *,
    bounds: Bounds = _DEFAULT_BOUNDS,
    task_status: _TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; reports the URL, ``http://127.0.0.1:PORT``, when it listens.

    ``token`` is at least 256 random bits as text. When cancelled, requests under way get
    ``bounds.stop_seconds_max`` to end; event streams end at once.
    """
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=100)
    port = listener.socket.getsockname()[1]
    closing = trio.Event()
    app = Guard(create_app(service, bounds, closing), token, port, bounds)
    server = _Connections(app, bounds)
    async with trio.open_nursery() as nursery:
        connections: trio.Nursery = await nursery.start(server.hold_open, closing)
        task_status.started(f"http://127.0.0.1:{port}")
        try:
            await trio.serve_listeners(server.handle, [listener], handler_nursery=connections)
        finally:
            closing.set()


class _Connections:
    """All connections of one server."""

    def __init__(self, app: Guard, bounds: Bounds) -> None:
        self._bounds = bounds
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("p2psync.api")
        self._config.include_server_header = False
        # Also the time that a connection may take for its headers.
        self._config.keep_alive_timeout = cast(int, bounds.headers_seconds_max)
        self._app = wrap_app(cast(Any, app), 0, "asgi")
        self._context = WorkerContext(None)
        self._open = 0

    async def hold_open(self, closing: trio.Event, task_status: _TaskStatus[trio.Nursery]) -> None:
        """Run the nursery of the connections, which outlives a cancelled server a little."""
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await closing.wait()
                await self._context.terminated.set()
                scope.deadline = trio.current_time() + self._bounds.stop_seconds_max

    async def handle(self, stream: trio.SocketStream) -> None:
        """Serve one connection; whatever goes wrong in it ends it alone."""
        if self._open >= self._bounds.connections_max:
            await stream.aclose()
            return
        self._open += 1
        try:
            bounded = cast(Any, _BoundedStream(stream, self._bounds))
            state = ConnectionState(LifespanState())
            await _Http1Server(self._app, self._config, self._context, state, bounded)
        except* Exception:
            _log.exception("a connection of the local API failed")
        finally:
            self._open -= 1
            stream.socket.close()


class _Http1Protocol(H11Protocol):
    async def _check_protocol(self, event: Any) -> None:
        """Look for no upgrade: the guard refuses what is not HTTP/1.1."""


class _Http1Server(TCPServer):
    async def run(self) -> None:
        """Serve the connection, as the base class does, without its switch of protocols."""
        try:
            socket = cast(Any, self.stream).socket
            client, server = socket.getpeername(), socket.getsockname()
            async with TaskGroup() as task_group:
                self._task_group = task_group
                self.protocol = cast(
                    Any,
                    _Http1Protocol(
                        self.app,
                        self.config,
                        self.context,
                        cast(Any, task_group),
                        ConnectionState(self.state),
                        False,
                        client,
                        server,
                        self.protocol_send,
                    ),
                )
                await self.protocol.initiate()
                await self.idle_task.restart(cast(Any, task_group), self._idle_timeout)
                await self._read_data()
                # The caller has gone; idling on would hold one of few connections.
                await self.idle_task.stop()
        except OSError:
            # The connection is gone, which is all there is to know about it.
            return
        finally:
            await self._close()


class _BoundedStream(trio.abc.HalfCloseableStream):
    """A stream that breaks when the other side takes nothing for too long.

    Hypercorn shields its sends from cancellation, so nobody further up can end one.
    """

    def __init__(self, stream: trio.SocketStream, bounds: Bounds) -> None:
        self._stream = stream
        self._bounds = bounds
        self.socket = stream.socket

    async def send_all(self, data: bytes | memoryview) -> None:
        with trio.move_on_after(self._bounds.send_seconds_max) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError("the reader takes nothing")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
