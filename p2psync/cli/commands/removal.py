"""``p2psync detach``, ``mandate remove``, ``mandate close``: what ends, and how it comes back."""

import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.commands import mandate
from p2psync.cli.commands.files import File
from p2psync.cli.inputs import ask_yes, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import local_time
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group()

Undo = Annotated[bool, typer.Option("--undo", help="undo it")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="say what would happen and change nothing")]


@command(group, "detach", example="p2psync detach Acme sales.ecf")
def detach(mandate: Mandate, file: File, undo: Undo = False) -> None:
    """Detach a file from a mandate. The file stays where it is; its copies leave the folders."""
    if undo:
        said = node().post("mandates", mandate, "files", file_name(file), "reattach")
        output.emit(
            said,
            lambda done: output.say(
                _("{file} is attached to {mandate} again", file=done["file"], mandate=mandate)
            ),
        )
        return
    output.emit(node().delete("mandates", mandate, "files", file_name(file)), _show_detached)


@command(mandate.group, "remove", example="p2psync mandate remove Acme")
def remove(mandate: Mandate, undo: Undo = False, yes: Yes = False, dry_run: DryRun = False) -> None:
    """Take a mandate off this device's list. No file is touched; undo it for 30 days.

    At a terminal it says what will happen and asks.
    """
    client = node()
    if undo:
        said = client.post("mandates", mandate, "restore-removed")
        output.emit(said, lambda done: output.say(_("{name} is back", name=done["name"])))
        return
    asks = not (yes or dry_run or current().json) and sys.stdin.isatty() and sys.stdout.isatty()
    if dry_run or asks:
        plan = client.get("mandates", mandate, "removal")
        output.emit(plan, _show_plan)
        if dry_run or not ask_yes(_("go on?")):
            return
    output.emit(
        client.delete("mandates", mandate),
        # Who was asked has read what follows from it.
        lambda said: _show_removed(said, briefly=asks),
    )


@command(mandate.group, "close", example="p2psync mandate close Acme")
def close(mandate: Mandate, undo: Undo = False) -> None:
    """Close a mandate for everyone. No file is touched; undo it for 30 days."""
    if undo:
        said = node().post("mandates", mandate, "reopen")
        output.emit(said, lambda done: output.say(_("{name} is open again", name=done["name"])))
        return
    output.emit(node().post("mandates", mandate, "close"), _show_closed)


def _show_detached(said: Mapping[str, Any]) -> None:
    name, shown = str(said["mandate"]), str(said["file"])
    output.say(
        _(
            "{file} is detached from {mandate}: its copies leave the mandate folders, history "
            "keeps them",
            file=shown,
            mandate=name,
        )
    )
    if said.get("path"):
        output.say(_("the file itself stays where it is: {path}", path=said["path"]))
    undo = shlex.join(("p2psync", "detach", name, shown, "--undo"))
    output.say(_("to undo: {command}", command=undo))


def _show_plan(said: Mapping[str, Any]) -> None:
    name, told = str(said["name"]), int(said["told"])
    match said["how"] if told else "hidden":
        case "closed":
            output.say(
                _(
                    "{name} will be closed for everyone: saves are not taken up any more, and it "
                    "leaves this device's list",
                    name=name,
                )
            )
        case "left":
            output.say(
                _(
                    "{name} will leave this device's list; for the others it goes on as it is",
                    name=name,
                )
            )
        case _how:
            output.say(_("{name} will leave this device's list; nobody else has it", name=name))
    _show_consequences(said, told)
    if said["blocking"]:
        names = ", ".join(said["blocking"])
        output.say(
            _("it is refused until the postings of these files are cancelled: {files}", files=names)
        )


def _show_removed(said: Mapping[str, Any], *, briefly: bool) -> None:
    name = str(said["name"])
    if said["how"] == "closed" and said["told"]:
        text = _("{name} is closed for everyone and left this device's list", name=name)
    else:
        text = _("{name} left this device's list", name=name)
    output.say(text)
    if not briefly:
        _show_consequences(said, int(said["told"]))
    _show_undo("remove", said)


def _show_consequences(said: Mapping[str, Any], told: int) -> None:
    if told:
        output.say(
            ngettext(
                "{count} other device is told, as soon as it is on line",
                "{count} other devices are told, as soon as they are on line",
                told,
            )
        )
    if said["detaches"]:
        names = ", ".join(said["detaches"])
        output.say(_("these files of this device are detached: {files}", files=names))
    output.say(_("no file is touched"))


def _show_undo(verb: str, said: Mapping[str, Any]) -> None:
    undo = shlex.join(("p2psync", "mandate", verb, str(said["id"])[:12], "--undo"))
    until = local_time(said["undo_until"])
    output.say(_("to undo, until {until}: {command}", until=until, command=undo))


def _show_closed(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{name} is closed for everyone: saves are not taken up any more, and no file is "
            "touched",
            name=said["name"],
        )
    )
    _show_undo("close", said)
