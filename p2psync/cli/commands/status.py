"""``p2psync status`` and ``p2psync alerts``: what a person should know now."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.options import OptionalMandate, node
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


@command(group, "alerts", example="p2psync alerts\np2psync alerts --close 17")
def alerts(
    mandate: OptionalMandate = None,
    close: Annotated[
        int | None, typer.Option("--close", metavar="ID", help="close the alert with this number")
    ] = None,
) -> None:
    """List the alerts that are open, or close one."""
    if close is not None:
        if mandate is not None or close < 0:
            raise errors.UsageError(cause=_("--close takes the number of one alert, nothing else"))
        closed = node().delete("alerts", str(close))
        output.emit(closed, lambda said: output.say(_("alert {id} is closed", id=said["id"])))
        return
    output.emit(node().get("alerts", mandate=mandate), _show_alerts)


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
            (_("connected to"), ", ".join(_peer(peer) for peer in said.get("peers") or ())),
            (_("mandates"), _mandates(mandates) if isinstance(mandates, Mapping) else mandates),
            (_("pending"), output.counts(said.get("pending"))),
            (_("open alerts"), said.get("alerts")),
        )
    )


def _mandates(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {output.word(kind)}" for kind, count in counts.items())


def _peer(peer: object) -> str:
    if not isinstance(peer, Mapping):
        return str(peer)
    return str(peer.get("name") or output.short(peer.get("device")))


def _show_alerts(said: Mapping[str, Any]) -> None:
    if not said["alerts"]:
        output.say(_("no alert is open"))
        return
    output.table(
        (
            output.Column(_("no."), right=True),
            output.Column(_("when")),
            output.Column(_("file")),
            output.Column(_("what")),
            output.Column(_("what to do")),
        ),
        (
            (
                alert["id"],
                output.local_time(alert.get("at")),
                alert.get("file"),
                alert.get("text"),
                output.action(alert.get("action")),
            )
            for alert in said["alerts"]
        ),
    )
