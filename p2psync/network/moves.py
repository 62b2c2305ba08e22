"""Notices when this machine has other addresses than before: another network, a cable, a VPN.

On Linux the kernel tells (rtnetlink, RFC 3549: RTM_NEWADDR and RTM_DELADDR, of which only that they
came matters); everywhere the addresses are looked at now and then.
"""

import errno
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from p2psync.network.address import interface_hosts
from p2psync.network.bytestream import cut_gone

logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""How often addresses are looked at where nobody tells; and where somebody does, to be sure."""
SETTLE_SECONDS = 0.3
"""A change of network comes in several steps."""
_GROUPS = 0x10 | 0x100
"""RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""
_MESSAGE_BYTES = 64 * 1024

Told = Callable[[], Awaitable[None]]
"""Returns when addresses may have changed."""


async def watch(
    changed: Callable[[], None],
    *,
    told: Told | None = None,
    hosts: Callable[[], Sequence[str]] = interface_hosts,
    look_seconds: float = LOOK_SECONDS,
    settle_seconds: float = SETTLE_SECONDS,
) -> None:
    """Call ``changed`` whenever this machine has other addresses, until cancelled.

    Connections from addresses that are gone are cut before: nothing comes over them any more, and
    their ends would notice only after a while. ``told`` is the kernel's word, unless given.
    """
    kernel = None if told is not None else _kernel()
    try:
        wait = told or (trio.sleep_forever if kernel is None else _listener(kernel))
        known = set(hosts())
        while True:
            with trio.move_on_after(look_seconds):
                await wait()
                await trio.sleep(settle_seconds)
            current = set(hosts())
            if current != known:
                known = current
                logger.info("this machine has other addresses now")
                cut_gone(current)
                changed()
    finally:
        if kernel is not None:
            kernel.close()


def _kernel() -> trio.socket.SocketType | None:
    """What the kernel tells of addresses over; ``None`` where it does not."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    try:
        plain = socket.socket(family, socket.SOCK_RAW, 0)  # NETLINK_ROUTE
        plain.bind((0, _GROUPS))
    except OSError as error:
        logger.info("the kernel does not tell of addresses: %s", error)
        return None
    return trio.socket.from_stdlib_socket(plain)


def _listener(kernel: trio.socket.SocketType) -> Told:
    async def wait() -> None:
        try:
            await kernel.recv(_MESSAGE_BYTES)
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # more than fitted: something changed, then
                logger.info("the kernel tells no more of addresses: %s", error)
                await trio.sleep_forever()

    return wait
