"""``p2psync status``: what a person should know now."""

from collections.abc import Mapping
from typing import Any

from p2psync.cli import output
from p2psync.cli.options import node
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group()


@command(group, "status", example="p2psync status")
def status() -> None:
    """Show the node, its connections and what waits."""
    client = node()
    said = client.get("status")
    address = {"running": True, "address": client.address.url, "pid": client.address.pid}
    output.emit({**address, **said}, show_status)


def show_status(said: Mapping[str, Any]) -> None:
    """Print what ``GET /v1/status`` answers."""
    mandates = said.get("mandates")
    output.facts(
        (
            (_("node"), _("running, process {pid}", pid=said.get("pid"))),
            (_("version"), said.get("version")),
            (_("local API"), said.get("address")),
            (_("device"), said.get("device")),
            (_("name"), said.get("name")),
            (
                _("identity"),
                _("locked: sign in with p2psync identity unlock") if said.get("locked") else "",
            ),
            (_("listens at"), ", ".join(map(str, said.get("listen") or ()))),
            (_("can be called from outside"), _outside(said.get("outside"))),
            (_("connected to"), ", ".join(_peer(peer) for peer in said.get("peers") or ())),
            (_("proxy"), _proxy(said.get("proxy"))),
            (_("mandates"), _mandates(mandates) if isinstance(mandates, Mapping) else mandates),
            (_("pending"), output.counts(said.get("pending"))),
            (_("open alerts"), said.get("alerts")),
        )
    )


def _mandates(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {output.word(kind)}" for kind, count in counts.items())


def _proxy(proxy: object) -> str:
    if not isinstance(proxy, Mapping):
        return ""
    return f"{proxy.get('proxy')} ({output.word(proxy.get('state'))})"


def _outside(outside: object) -> str:
    if not isinstance(outside, Mapping):
        return ""
    seen = ", ".join(map(str, outside.get("addresses") or ()))
    told = {"public": _("yes"), "private": _("no")}.get(
        str(outside.get("reach")), _("nobody could be asked yet")
    )
    return f"{told} ({seen})" if seen else told


def _peer(peer: object) -> str:
    if not isinstance(peer, Mapping):
        return str(peer)
    name = str(peer.get("name") or output.short(peer.get("device")))
    parts = (output.reached(peer.get("reached")), output.pace(peer.get("pace")))
    how = ", ".join(part for part in parts if part)
    return f"{name} ({how})" if how else name
