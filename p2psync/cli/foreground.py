"""Runs the node in this process, by the shortest way: it is to meet its members soon.

``p2psync node run`` with nothing but its own options needs no tree of commands, which takes longer
to build than the node takes to open its mandates.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2psync.cli import output
from p2psync.cli.settings import current
from p2psync.i18n import _


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What ``p2psync node run`` was told: multiaddrs to listen on, whether to look around, and
    whether to ask the router for a way in (only who looks around does)."""

    listen: tuple[str, ...]
    lan: bool
    upnp: bool = True
    proxy: str | None = None
    """The URL of an HTTP proxy, or ``none``; without one, what was set counts."""
    ca: Path | None = None
    """A file with CAs that are trusted besides the system's."""


def plain_node_run(words: Sequence[str]) -> NodeRun | None:
    """Read a ``node run`` that is plain enough to need no parser; ``None`` for anything else."""
    if tuple(words[:2]) != ("node", "run"):
        return None
    listen: list[str] = []
    lan = upnp = True
    rest = iter(words[2:])
    for word in rest:
        name, equals, value = word.partition("=")
        if word == "--no-lan":
            lan = False
        elif word == "--no-upnp":
            upnp = False
        elif name == "--listen":
            address = value if equals else next(rest, "")
            if not address.startswith("/"):
                return None
            listen.append(address)
        else:
            return None
    return NodeRun(tuple(listen), lan, upnp)


def run_node(wanted: NodeRun) -> int:
    """Run the node until it is stopped; prints one line when it is ready, returns the exit code."""
    from p2psync.cli import daemon

    gc.enable()
    listen = list(wanted.listen)
    return daemon.run(
        current().home,
        listen,
        wanted.lan,
        on_ready=_show_ready,
        upnp=wanted.upnp,
        proxy=wanted.proxy,
        ca=wanted.ca,
    )


def _show_ready(info: Mapping[str, Any]) -> None:
    output.emit(info, lambda said: output.say(_("ready at {address}", address=said.get("address"))))
