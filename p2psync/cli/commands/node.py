"""``p2psync node``: the process that does the work."""

from pathlib import Path
from typing import Annotated

import typer

from p2psync.cli import output, process
from p2psync.cli.client import Client
from p2psync.cli.commands.network import check_no_password
from p2psync.cli.commands.status import show_status
from p2psync.cli.foreground import NodeRun, run_node
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Run, start and stop the node. It is the process that does the work.")

Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="MULTIADDR",
        help="listen here, such as /ip4/0.0.0.0/tcp/4001; may be given several times",
    ),
]
NoLan = Annotated[
    bool, typer.Option("--no-lan", help="do not look for members on the local network")
]

NoUpnp = Annotated[
    bool,
    typer.Option("--no-upnp", help="do not ask the router to pass on calls from outside (UPnP)"),
]

Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        help="call relays through this HTTP proxy, http://HOST:PORT; none: through no proxy",
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="trust the CAs in this PEM file, too"),
]

NOT_RUNNING_EXIT_CODE = 4


@command(group, "run", example="p2psync node run --listen /ip4/0.0.0.0/tcp/4001")
def run(
    listen: Listen = None,
    no_lan: NoLan = False,
    no_upnp: NoUpnp = False,
    proxy: Proxy = None,
    ca: Ca = None,
) -> None:
    """Run the node in the foreground; print one line when it is ready."""
    raise typer.Exit(
        run_node(NodeRun(tuple(listen or ()), not no_lan, not no_upnp, _checked(proxy), ca))
    )


@command(group, "start", example="p2psync node start")
def start(
    listen: Listen = None,
    no_lan: NoLan = False,
    no_upnp: NoUpnp = False,
    proxy: Proxy = None,
    ca: Ca = None,
) -> None:
    """Start the node in the background; nothing happens when it runs already."""
    arguments = [part for address in listen or [] for part in ("--listen", address)]
    arguments += ["--no-lan"] * no_lan + ["--no-upnp"] * no_upnp
    arguments += ["--proxy", proxy] if _checked(proxy) and proxy else []
    arguments += [] if ca is None else ["--ca", str(ca.absolute())]
    with shown_progress(_("starting the node")):
        address, started = process.start(current(), arguments)
    result = {
        "running": True,
        "started": started,
        "address": address.url,
        "pid": address.pid,
        "version": address.version,
    }
    text = _("the node is started") if started else _("the node is already running")
    output.emit(result, lambda _result: output.say(f"{text} ({address.url})"))


def _checked(proxy: str | None) -> str | None:
    """Raise ``ProxyPasswordShown`` for a URL that every user of the machine could read."""
    if proxy is not None:
        check_no_password(proxy)
    return proxy


@command(group, "stop", example="p2psync node stop")
def stop() -> None:
    """Stop the node and wait until its process has ended."""
    stopped = process.stop(current())
    text = _("the node is stopped") if stopped else _("the node was not running")
    output.emit({"running": False, "stopped": stopped}, lambda _result: output.say(text))


@command(group, "status", example="p2psync node status")
def status() -> None:
    """Tell whether the node runs; exit code 4 if it does not."""
    address = process.running(current())
    if address is None:
        output.emit({"running": False}, lambda _result: output.say(_("the node is not running")))
        raise typer.Exit(NOT_RUNNING_EXIT_CODE)
    said = Client(current(), address).get("status")
    result = {"running": True, "address": address.url, "pid": address.pid, **said}
    output.emit(result, show_status)
