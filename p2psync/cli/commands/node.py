"""``p2psync node``: the process that does the work."""

from typing import Annotated

import typer

from p2psync.cli import output, process
from p2psync.cli.client import Client
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

NOT_RUNNING_EXIT_CODE = 4


@command(group, "run", example="p2psync node run --listen /ip4/0.0.0.0/tcp/4001")
def run(listen: Listen = None, no_lan: NoLan = False) -> None:
    """Run the node in the foreground; print one line when it is ready."""
    raise typer.Exit(run_node(NodeRun(tuple(listen or ()), not no_lan)))


@command(group, "start", example="p2psync node start")
def start(listen: Listen = None, no_lan: NoLan = False) -> None:
    """Start the node in the background; nothing happens when it runs already."""
    arguments = [part for address in listen or [] for part in ("--listen", address)]
    with shown_progress(_("starting the node")):
        address, started = process.start(current(), arguments + (["--no-lan"] if no_lan else []))
    result = {
        "running": True,
        "started": started,
        "address": address.url,
        "pid": address.pid,
        "version": address.version,
    }
    text = _("the node is started") if started else _("the node is already running")
    output.emit(result, lambda _result: output.say(f"{text} ({address.url})"))


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
