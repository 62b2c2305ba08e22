"""Joins the node to the network while its key is unlocked (B-ID-1), and to the LAN if wanted."""

import errno
import logging
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from p2psync.engine.ports import Sighting
from p2psync.errors import P2PSyncError
from p2psync.network import moves
from p2psync.network.config import TransportConfig
from p2psync.network.discovery import LanDiscovery
from p2psync.network.ground_config import GroundConfig
from p2psync.network.host import Libp2pTransport
from p2psync.node.node import Node
from p2psync.node.runner import wall_ms

if TYPE_CHECKING:
    # libp2p installs trio-typing, whose stubs hide trio's own types from mypy.
    from trio_typing import TaskStatus

logger = logging.getLogger(__name__)
AGAIN_SECONDS = 5.0


class Online:
    """The transport and discovery of one node; on or off."""

    def __init__(
        self,
        node: Node,
        nursery: trio.Nursery,
        listen: Sequence[str],
        port: int,
        *,
        lan: bool,
        upnp: bool = False,
        ca: Path | None = None,
    ) -> None:
        """``listen``: multiaddrs; empty for all interfaces at ``port`` (another one if it is
        taken). ``upnp``: the router is asked to pass on calls; only with ``lan``, for the question
        goes to the whole local network. ``ca``: a file with CAs that are trusted besides the
        system's.
        """
        self._node = node
        self._nursery = nursery
        self._listen = tuple(listen)
        self._port = port
        self._lan = lan
        self._upnp = lan and upnp
        self._ca = ca
        self._scope: trio.CancelScope | None = None
        self._transport: Libp2pTransport | None = None
        self._discovery: LanDiscovery | None = None

    async def start(self) -> int | None:
        """Listen, dial and look around; returns the port when it was chosen here.

        Raises ``PortTaken`` or ``BadAddress`` for addresses that were asked for.
        """
        assert self._scope is None, "already on line"
        listen, chosen = self._listen, None
        if not listen:
            chosen = self._port if _is_free(self._port) else _free_port()
            listen = _everywhere(chosen)
        self._scope = trio.CancelScope()
        try:
            await self._nursery.start(self._run, listen, self._scope)
        except BaseException as error:
            self._scope = None
            raise _first(error) from None
        return chosen

    async def stop(self) -> None:
        """End all links and be seen no more."""
        if self._scope is not None:
            if self._transport is not None:
                self._node.goes_offline(self._transport)  # before anybody dials with it
            self._scope.cancel()
            self._scope = None

    async def _run(
        self,
        listen: Sequence[str],
        scope: trio.CancelScope,
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        node = self._node
        transport = Libp2pTransport(
            node.identity.signer.seed,
            listen,
            node.accept,
            config=TransportConfig(
                node.known,
                upnp=self._upnp,
                ground=GroundConfig(
                    proxy=node.proxy.current, proxy_told=node.proxy.on_news, ca=self._ca
                ),
            ),
            relays_changed=self._relays_changed,
            doubted=node.doubts.on_doubt,
        )
        transport.circuits.groups = node.rendezvous.groups
        was_up = False
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(transport.run)
                    self._transport = transport
                    transport.reaching.told_changed = self._tell_members
                    node.goes_online(transport)
                    node.proxy.changed = transport.circuits.try_again
                    nursery.start_soon(node.relays.run, transport.circuits)
                    nursery.start_soon(node.rendezvous.run, transport.circuits)
                    nursery.start_soon(moves.watch, partial(self._moved, transport))
                    if self._lan:
                        discovery = LanDiscovery(
                            node.identity.device, transport.direct_addresses, self._seen
                        )
                        await nursery.start(discovery.run)
                        node.discovery = self._discovery = discovery
                        node.update_discovery()
                    task_status.started()
                    was_up = True
                    await trio.sleep_forever()
        except Exception:
            if not was_up:
                raise  # whoever started it is told
            logger.exception("the network failed")
            self._nursery.start_soon(self._again, scope)
        finally:
            self._discovery = None
            node.goes_offline(transport)

    async def _again(self, failed: trio.CancelScope) -> None:
        """Go on line anew after a failure, unless somebody else did or went off line meanwhile."""
        while self._scope is failed:
            await trio.sleep(AGAIN_SECONDS)
            if self._scope is failed:
                self._scope = None
                try:
                    await self.start()
                except (P2PSyncError, OSError) as error:
                    logger.warning("the network does not come back: %s", error)
                    self._scope = failed

    def _relays_changed(self) -> None:
        self._node.relays.on_states()
        self._node.rendezvous.wake()

    def _moved(self, transport: Libp2pTransport) -> None:
        """This machine has other addresses now."""
        if self._discovery is not None:
            self._discovery.look_again()
        transport.circuits.try_again()
        transport.reaching.moved()
        self._node.moved()

    def _tell_members(self) -> None:
        """This node can be called from outside elsewhere than before."""
        now = trio.current_time()
        self._node.runner.hand_in(self._node.engine.moved(now, wall_ms()))

    def _seen(self, sighting: Sighting) -> None:
        self._node.sighted(sighting)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_free(port: int) -> bool:
    if not port:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            # What is left of connections that have ended does not take it; who listens does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - members reach us on any interface
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 - members reach us on any interface
        port: int = probe.getsockname()[1]
        return port


def _everywhere(port: int) -> tuple[str, ...]:
    listen = [f"/ip4/0.0.0.0/tcp/{port}"]
    if socket.has_ipv6:
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(("::", port))
            listen.append(f"/ip6/::/tcp/{port}")
        except OSError:
            logger.info("IPv6 is not available; listening on IPv4 alone")
    return tuple(listen)
