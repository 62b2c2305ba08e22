"""``p2psync member``: removing a device from a mandate, and letting it in again."""

import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.commands.mandate import member_group
from p2psync.cli.commands.removal import DryRun, Yes
from p2psync.cli.inputs import ask_yes
from p2psync.cli.options import Mandate, node
from p2psync.cli.settings import current
from p2psync.cli.tree import command
from p2psync.i18n import _, ngettext

group = member_group

Device = Annotated[
    str,
    typer.Argument(
        metavar="DEVICE", help="a person's or machine's name, or the beginning of a device's id"
    ),
]


@command(group, "remove", example="p2psync member remove Acme Bruno")
def remove(mandate: Mandate, device: Device, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Remove a lost machine, or who is to have no part any more. What it did before counts.

    At a terminal it says what will happen and asks.
    """
    client = node()
    asks = not (yes or dry_run or current().json) and sys.stdin.isatty() and sys.stdout.isatty()
    if dry_run or asks:
        plan = client.get("mandates", mandate, "members", device, "removal")
        output.emit(plan, _show_plan)
        if dry_run or not ask_yes(_("go on?")):
            return
    output.emit(
        client.delete("mandates", mandate, "members", device),
        lambda said: _show_removed(said, briefly=asks),
    )


@command(group, "readmit", example="p2psync member readmit Acme Bruno")
def readmit(mandate: Mandate, device: Device) -> None:
    """Let a removed device in again: it is what it was, and all that it wrote counts."""
    output.emit(node().post("mandates", mandate, "members", device, "readmit"), _show_readmitted)


def _named(said: Mapping[str, Any]) -> str:
    return f"{said['name']} ({said['machine']}, {output.short(said['device'])})"


def _show_plan(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{who} will be removed from {mandate}: what it wrote until now stays, what it writes "
            "later does not count",
            who=_named(said),
            mandate=said["mandate"],
        )
    )
    _show_consequences(said)


def _show_removed(said: Mapping[str, Any], *, briefly: bool) -> None:
    output.say(_("{who} is removed from {mandate}", who=_named(said), mandate=said["mandate"]))
    if not briefly:
        _show_consequences(said)
    undo = shlex.join(("p2psync", "member", "readmit", said["mandate"], said["device"][:16]))
    output.say(_("to undo: {command}", command=undo))


def _show_consequences(said: Mapping[str, Any]) -> None:
    output.say(
        ngettext(
            "new changes are sealed with a new key, which {count} device gets",
            "new changes are sealed with a new key, which {count} devices get",
            int(said["remaining"]),
        )
    )
    output.say(_("cannot be undone: it keeps all that it has read until now"))
    if said["files"]:
        output.say(
            _(
                "these files are attached on it and stay attached; no change of them comes any "
                "more: {files}. To go on with a file here: p2psync migrate",
                files=", ".join(said["files"]),
            )
        )
    if said["seat"]:
        output.say(_("it has the accounting seat: that goes back, or is free: p2psync seat hand"))
    if said["tickets"]:
        output.say(
            ngettext(
                "{count} ticket that it knows lets nobody in any more",
                "{count} tickets that it knows let nobody in any more",
                int(said["tickets"]),
            )
        )


def _show_readmitted(said: Mapping[str, Any]) -> None:
    output.say(_("{who} is a member of {mandate} again", who=_named(said), mandate=said["mandate"]))
    if said["quarantined"]:
        output.say(
            ngettext(
                "{count} entry of it that did not count does now",
                "{count} entries of it that did not count do now",
                int(said["quarantined"]),
            )
        )
