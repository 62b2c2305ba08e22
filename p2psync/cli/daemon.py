"""The node's process: opens a home, joins node, disk, network and local API, and ends in order."""

import ctypes
import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from p2psync import __version__
from p2psync.api.address import remove_address, write_address
from p2psync.errors import P2PSyncError
from p2psync.i18n import language, localise
from p2psync.network.tls import check_ca
from p2psync.node.key_file import KeyFile
from p2psync.node.node import Node
from p2psync.node.online import Online
from p2psync.node.proxies import FILE as PROXY_FILE
from p2psync.node.store import Store
from p2psync.storage.contents import ContentStore
from p2psync.storage.database import Database
from p2psync.storage.highwater import HighWater
from p2psync.storage.home import Home
from p2psync.storage.watcher import Watcher

if TYPE_CHECKING:
    from p2psync.node.service import NodeService

logger = logging.getLogger(__name__)
FLUSH_SECONDS = 5.0
STARTING_SWITCH_SECONDS = 0.0002
"""How long the thread that speaks to members waits for another one that imports the API."""
RETARGET_SECONDS_MAX = 1.0
"""How long new files are not watched while many others come; a look at them follows."""
RETARGET_PART = 50
"""The one part of so many of the time that goes into it at most."""
ARENAS_MAX = 2
_M_ARENA_MAX = -8
GC_ALLOCATIONS = 50_000
"""New objects after which the collector looks for cycles among them."""


def _keep_few_arenas() -> None:
    """Keep threads that come and go from opening heaps of their own, of which little is given back.

    Source: mallopt(3), M_ARENA_MAX. Other C libraries than glibc need no such word.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS_MAX)


def run(
    home: Path,
    listen: list[str],
    lan: bool,
    on_ready: Callable[[Mapping[str, Any]], None],
    *,
    upnp: bool = False,
    proxy: str | None = None,
    ca: Path | None = None,
) -> int:
    """Run the node until it is stopped; returns the exit code.

    Raises what keeps it from starting: ``AlreadyRunning``, ``PortTaken``, ``ProxyInvalid``,
    ``CaUnreadable``, storage errors.
    """
    if ca is not None:
        check_ca(ca)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    _keep_few_arenas()
    try:
        main = partial(_main, home, listen, on_ready, lan=lan, upnp=upnp, proxy=proxy, ca=ca)
        trio.run(main, strict_exception_groups=True)
    except* P2PSyncError as group:
        raise _first(group) from None
    except* Exception:
        # Whoever asked for JSON gets one line of it at the end; the log tells where the bug is.
        logger.exception("the node ended because of a bug")
        raise
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _main(
    root: Path,
    listen: list[str],
    on_ready: Callable[[Mapping[str, Any]], None],
    *,
    lan: bool,
    upnp: bool,
    proxy: str | None,
    ca: Path | None,
) -> None:
    home = Home.open(root)
    with home:
        home.lock()
        remove_address(home.root)  # a process that was killed left it
        contents = ContentStore(home.chunks, home.incoming, home.versions)
        marks = HighWater(home.root / "highwater")
        database = Database.open(home.database, marks)
        try:
            store = Store(database)
            key_file = KeyFile(home, store)
            identity = await key_file.open()
            async with trio.open_nursery() as nursery:
                node = Node(
                    identity=identity,
                    key_file=key_file,
                    store=store,
                    contents=contents,
                    mandates_folder=home.mandates,
                    entropy=secrets.token_bytes,
                    nursery=nursery,
                )
                node.proxy.load(home.root / PROXY_FILE, proxy, os.environ)
                port = int(await node.store.setting("port") or 0)
                online = Online(node, nursery, listen, port, lan=lan, upnp=upnp, ca=ca)
                await _serve(node, home, online, port, on_ready, nursery)
                nursery.cancel_scope.cancel()
        finally:
            remove_address(home.root)
            database.close()
            marks.close()
            contents.close()


async def _serve(
    node: Node,
    home: Home,
    online: Online,
    port: int,
    on_ready: Callable[[Mapping[str, Any]], None],
    nursery: trio.Nursery,
) -> None:
    stopping = trio.Event()
    usual_switch_seconds = sys.getswitchinterval()
    sys.setswitchinterval(STARTING_SWITCH_SECONDS)
    nursery.start_soon(_wait_for_signals, stopping)
    node.online = online
    await node.start()
    # What was opened stays: the collector need not walk through it again and again (a sixth of the
    # time of folding 100,000 records).
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    if not node.identity.locked:
        chosen = await online.start()
        if chosen is not None and chosen != port:
            await node.store.put_setting("port", str(chosen))
    nursery.start_soon(_watch, node, nursery)
    node.look_at_all()
    # Members are dialled by now: what people see comes after what the node is there for.
    service_of, serve = await trio.to_thread.run_sync(_load_api)
    token = secrets.token_hex(32)
    service = service_of(node, stopping.set)
    node.hooks.render = localise
    node.desktop.render = partial(localise, language=language())
    nursery.start_soon(node.desktop.run)
    nursery.start_soon(service.resume)
    url = await nursery.start(serve, service, token)
    sys.setswitchinterval(usual_switch_seconds)
    write_address(home.root, url, os.getpid(), __version__, token)
    on_ready(
        {
            "running": True,
            "address": url,
            "pid": os.getpid(),
            "version": __version__,
            "device": node.identity.device.hex(),
            "listen": list(node.addresses()),
            "home": str(home.root),
        }
    )
    await stopping.wait()
    remove_address(home.root)
    with trio.move_on_after(FLUSH_SECONDS):
        await node.runner.flushed()
        await online.stop()


def _load_api() -> "tuple[type[NodeService], Callable[..., Awaitable[None]]]":
    """Import the API in a thread: the web framework takes longer than all the rest of the node."""
    from p2psync.api.server import serve
    from p2psync.node.service import NodeService

    return NodeService, serve


async def _wait_for_signals(stopping: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            stopping.set()


async def _watch(node: Node, nursery: trio.Nursery) -> None:
    watcher = Watcher()
    node.unwatched = watcher.unwatched
    nursery.start_soon(watcher.run)

    async def retarget() -> None:
        while True:
            node.watch_changed = trio.Event()
            began = trio.current_time()
            targets = {each: frozenset(names) for each, names in node.targets().items()}
            watcher.set_targets(targets)
            took = trio.current_time() - began
            await node.watch_changed.wait()
            # Each time all names are gone through, so many that come are taken together.
            await trio.sleep(min(RETARGET_SECONDS_MAX, RETARGET_PART * took))

    nursery.start_soon(retarget)
    async for hint in watcher:
        node.hint(hint.directory, hint.name)
