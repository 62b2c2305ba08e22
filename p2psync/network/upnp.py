"""UPnP: asking the router at the door to pass on calls from outside, where it offers that.

Source: UPnP Forum, InternetGatewayDevice:1, WANIPConnection:1. miniupnpc does the talking, in a
thread and with a deadline: it waits for the network without an end. A mapping has a lease that is
renewed at half of its time, and is taken away when this node stops.
"""

import importlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio

from p2psync import limits
from p2psync.network.address import TcpAddress, address_of

logger = logging.getLogger(__name__)
T = TypeVar("T")

DISCOVER_MILLISECONDS = 2_000
AGAIN_SECONDS_MIN = 60.0
AGAIN_SECONDS_MAX = 3_600.0
REMOVE_SECONDS = 3.0
_FOR_EVER = 0
_PORT_MIN, _PORT_MAX = 20_000, 60_000


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a router passes on: from ``outside`` to ``inside`` (a port of this machine)."""

    outside: TcpAddress
    inside: int
    igd: Any
    """The library's handle of the router."""


class NoRouter(Exception):
    """No router here maps ports, or it refuses; the text says which."""


class PortMapper:
    """Keeps one port mapped.

    ``port`` gives the TCP port on which this node listens on all IPv4 interfaces, or ``None``;
    ``changed`` hears what is mapped now.
    """

    def __init__(
        self,
        port: Callable[[], int | None],
        changed: Callable[[tuple[TcpAddress, ...]], None],
        lease_seconds: int = limits.UPNP_LEASE_SECONDS,
    ) -> None:
        self._port = port
        self._changed = changed
        self._lease_seconds = lease_seconds
        self._again = trio.Event()
        self._mapping: Mapping | None = None

    def look_again(self) -> None:
        """This machine is in another network now, perhaps with another router."""
        self._again.set()

    async def run(self) -> None:
        """Keep the mapping until cancelled, then take it away."""
        wait = AGAIN_SECONDS_MIN
        try:
            while True:
                self._again = trio.Event()
                await self._renew()
                if self._mapping is not None:
                    pause, wait = self._lease_seconds / 2, AGAIN_SECONDS_MIN
                else:
                    pause, wait = wait, min(2 * wait, AGAIN_SECONDS_MAX)
                with trio.move_on_after(pause):
                    await self._again.wait()
                    wait = AGAIN_SECONDS_MIN
        finally:
            mapping, self._mapping = self._mapping, None
            if mapping is not None:
                with trio.CancelScope(shield=True), trio.move_on_after(REMOVE_SECONDS):
                    await _in_thread(partial(_remove, mapping))

    async def _renew(self) -> None:
        port = self._port()
        found: Mapping | None = None
        if port is not None:
            before = self._mapping
            wanted = before.outside.port if before is not None and before.inside == port else port
            work = partial(_map, port, wanted, self._lease_seconds)
            with trio.move_on_after(limits.UPNP_SECONDS_MAX):
                try:
                    found = await _in_thread(work)
                except NoRouter as error:
                    logger.info("no port is mapped: %s", error)
        self._mapping = found
        self._changed(() if found is None else (found.outside,))


async def _in_thread(work: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(
        work,
        abandon_on_cancel=True,  # type: ignore[call-arg]  # newer than the stubs
    )


def _map(inside: int, wanted: int, lease_seconds: int) -> Mapping:
    """Find the router and map a port on it; raises ``NoRouter``. Runs in a thread."""
    try:
        library = importlib.import_module("miniupnpc")
    except ImportError:
        raise NoRouter("miniupnpc is not installed") from None
    igd = library.UPnP()
    igd.discoverdelay = DISCOVER_MILLISECONDS
    try:
        igd.discover()
        igd.selectigd()
        host = igd.externalipaddress()
    except Exception as error:  # the library raises nothing more narrow
        raise NoRouter(str(error)) from None
    for attempt in range(limits.UPNP_PORTS_TRIED_MAX):
        outside = wanted if attempt == 0 else random.randint(_PORT_MIN, _PORT_MAX)  # noqa: S311
        for lease in (lease_seconds, _FOR_EVER):  # some routers know no leases (error 725)
            try:
                igd.addportmapping(outside, "TCP", igd.lanaddr, inside, "p2psync", "", lease)
                return Mapping(address_of(host, outside), inside, igd)
            except ValueError:
                raise NoRouter("it told no address") from None
            except Exception as error:
                logger.debug("port %d is not mapped: %s", outside, error)
    raise NoRouter("it refuses")


def _remove(mapping: Mapping) -> None:
    try:
        mapping.igd.deleteportmapping(mapping.outside.port, "TCP")
    except Exception as error:
        logger.info("the mapping of port %d stays until its end: %s", mapping.outside.port, error)
