"""``p2psync history``, ``restore``, ``held``, ``confirm``, ``refuse``: what was (B-HIS)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.commands.files import File
from p2psync.cli.inputs import absolute, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group()


@command(group, "confirm", example="p2psync confirm Acme sales.ecf")
def confirm(mandate: Mandate, file: File) -> None:
    """Take a save that was held back. It emptied or shrank a file, so a person must confirm.

    The accounting may do so for another device, which takes it when it hears of it.
    """
    said = node().post("mandates", mandate, "confirmations", body={"file": file_name(file)})
    output.emit(said, _show_confirmed)


@command(group, "refuse", example="p2psync refuse Acme sales.ecf")
def refuse(mandate: Mandate, file: File) -> None:
    """Put aside a save that was held back. The file is as it was; history keeps what was refused.

    The accounting may do so for another device, which does it when it hears of it.
    """
    said = node().post("mandates", mandate, "refusals", body={"file": file_name(file)})
    output.emit(said, _show_refused)


@command(group, "held", example="p2psync held Acme")
def held(mandate: Mandate) -> None:
    """List saves that are held back. They wait until somebody confirms or refuses them."""
    output.emit(node().get("mandates", mandate, "held"), _show_held)


@command(group, "history", example="p2psync history Acme sales.ecf --at 2024-12-31")
def history(
    mandate: Mandate,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="the name shown, or a path; none: all files"),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="what was current then, such as 2024-12-31"),
    ] = None,
) -> None:
    """List the versions of files. Shows who changed what, when and on which machine."""
    chosen = file_name(file) if file else None
    output.emit(node().get("mandates", mandate, "history", file=chosen, at=at), _show_history)


@command(group, "restore", example="p2psync restore Acme sales.ecf 3f9a -o old-sales.ecf")
def restore(
    mandate: Mandate,
    file: File,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="the beginning of a version's id")
    ],
    out: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT", help="write it here, change nothing else"),
    ] = None,
) -> None:
    """Bring back a version of a file. It takes the place of the current one, or goes elsewhere."""
    body = {
        "file": file_name(file),
        "version": version,
        "output": absolute(out) if out else None,
    }
    said = node().post("mandates", mandate, "restore", body=body)
    output.emit(
        said,
        lambda done: output.say(
            _(
                "version {version} of {file} is at {path}",
                version=done.get("version"),
                file=done.get("file"),
                path=done.get("path"),
            )
        ),
    )


def _show_history(said: Mapping[str, Any]) -> None:
    if not said["versions"]:
        output.say(_("there is no version yet"))
        return
    output.table(
        (
            Column(_("version")),
            Column(_("file")),
            Column(_("when")),
            Column(_("by")),
            Column(_("machine")),
            Column(_("bytes"), right=True),
            Column(_("records"), right=True),
            Column(_("change"), right=True),
            Column(_("current")),
        ),
        (
            (
                output.short(version.get("version")),
                version.get("file"),
                output.local_time(version.get("at")),
                version.get("by"),
                version.get("machine"),
                version.get("bytes"),
                version.get("records"),
                output.counts(version),
                output.yes(True) if version.get("current") else "",
            )
            for version in said["versions"]
        ),
    )


def _show_confirmed(said: Mapping[str, Any]) -> None:
    if said.get("done", True):
        output.say(_("{file} is taken as it is now", file=said["file"]))
        return
    for each in said["held"]:
        output.say(
            _(
                "confirmed: {machine} ({who}) takes the save of {file} as soon as it hears of it",
                file=each["file"],
                machine=each["machine"],
                who=each["by"],
            )
        )


def _show_refused(said: Mapping[str, Any]) -> None:
    if said.get("done", True):
        output.say(_("{file} is as it was before", file=said["file"]))
        for version in said.get("kept") or ():
            output.say(
                _("what was refused is kept as version {version}", version=output.short(version))
            )
        return
    for each in said["held"]:
        output.say(
            _(
                "refused: {machine} ({who}) puts the save of {file} aside when it hears of it",
                file=each["file"],
                machine=each["machine"],
                who=each["by"],
            )
        )


def _show_held(said: Mapping[str, Any]) -> None:
    if not said["held"]:
        output.say(_("no save is held back"))
        return
    output.table(
        (
            Column(_("file")),
            Column(_("when")),
            Column(_("by")),
            Column(_("machine")),
            Column(_("gone"), right=True),
            Column(_("amount"), right=True),
            Column(_("dates")),
            Column(_("records"), right=True),
            Column(_("bytes"), right=True),
            Column(_("answer")),
        ),
        (
            (
                each["file"],
                output.local_time(each["at"]),
                each["by"],
                each["machine"],
                each["deleted"],
                each["amount"],
                f"{each['from']}..{each['to']}" if each["from"] else "",
                f"{each['records_before']} -> {each['records_after']}",
                f"{each['bytes_before']} -> {each['bytes_after']}",
                _answer(each),
            )
            for each in said["held"]
        ),
    )


def _answer(held: Mapping[str, Any]) -> str:
    answer = held["answer"]
    if answer is None:
        return ""
    return f"{output.word(answer['verdict'])} ({answer['by']})"
