"""``p2psync relink``, ``migrate``, ``replace``: where files are (B-MIG-1 to B-MIG-3)."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.commands.files import File
from p2psync.cli.inputs import absolute, ask_yes, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group()


@command(
    group,
    "relink",
    example="p2psync relink Acme sales.ecf\np2psync relink Acme sales.ecf 2025/sales.ecf",
)
def relink(
    mandate: Mandate,
    file: File,
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="[CANDIDATE]",
            help="what the file is now: a path, or a name that is listed; none: what is offered",
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="only list what the file may be now")
    ] = False,
) -> None:
    """Restore the link to a file that was renamed or moved. What was posted of it stays posted."""
    client = node()
    place = ("mandates", mandate, "files", file_name(file))
    if listed:
        output.emit(client.get(*place, "link"), _show_link)
        return
    chosen = None if candidate is None else file_name(candidate)
    said = client.post(*place, "relink", body={"candidate": chosen})
    output.emit(
        said,
        lambda done: output.say(
            _("{before} is {path} now", before=done["before"], path=done["path"])
        ),
    )


@command(
    group,
    "migrate",
    example="p2psync migrate Acme sales.ecf 2025/sales.ecf\n"
    "p2psync migrate Acme sales.ecf ./invoices.ecf --cancel-pending",
)
def migrate(
    mandate: Mandate,
    file: File,
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="the file's new place or name on this machine")
    ],
    cancel_pending: Annotated[
        bool,
        typer.Option(
            "--cancel-pending", help="drop records that wait to be posted and are not in NEW"
        ),
    ] = False,
) -> None:
    """Point a mandate at a file's new place or name. It may be on another machine than before."""
    body = {"path": absolute(new), "cancel_pending": cancel_pending}
    with shown_progress(_("reading"), mandate):
        said = node().post("mandates", mandate, "files", file_name(file), "migrate", body=body)
    output.emit(said, _show_migrated)


@command(
    group,
    "replace",
    example="p2psync replace Acme sales.ecf ./corrected.ecf --dry-run\n"
    "p2psync replace Acme sales.ecf ./corrected.ecf --yes",
)
def replace(
    mandate: Mandate,
    file: File,
    new: Annotated[str, typer.Argument(metavar="NEW", help="the file that is to be in its place")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would change")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put another file in the place of an attached one. Shows what changes against what is posted.

    At a terminal it asks before anything changes. The old file stays where it is.
    """
    client = node()
    place = ("mandates", mandate, "files", file_name(file), "replace")
    body = {"path": absolute(new), "dry_run": True}
    asks = not (yes or dry_run or current().json) and sys.stdin.isatty() and sys.stdout.isatty()
    if dry_run or asks:
        with shown_progress(_("reading"), mandate):
            said = client.post(*place, body=body)
        output.emit(said, _show_replaced)
        if dry_run or not ask_yes(_("replace it?")):
            return
    with shown_progress(_("reading"), mandate):
        said = client.post(*place, body={**body, "dry_run": False})
    output.emit(said, _show_done if asks else _show_replaced)


def _show_link(said: Mapping[str, Any]) -> None:
    if not said["broken"]:
        output.say(_("{file} is where it is to be: {path}", file=said["file"], path=said["path"]))
        return
    output.say(_("{path} is not there", path=said["path"]))
    if not said["candidates"]:
        output.say(_("nothing near it looks like it"))
        return
    signals = {
        "identity": _("the same file"),
        "content": _("the same content"),
        "records": _("most of its records"),
        "name": _("the same name"),
    }
    output.table(
        (Column(_("path")), Column(_("agrees in")), Column(_("offered"))),
        (
            (
                each["path"],
                ", ".join(signals.get(signal, signal) for signal in each["signals"]),
                output.yes(True) if each["path"] == said["offered"] else "",
            )
            for each in said["candidates"]
        ),
    )


def _show_migrated(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{file} is {path} now; before it was {before} ({device})",
            file=said["file"],
            path=said["path"],
            before=said["before"]["path"],
            device=said["before"]["device"],
        )
    )
    if said["cancelled"]:
        output.say(_("records that waited and are dropped: {count}", count=said["cancelled"]))
    output.say(_("waiting to be posted: {counts}", counts=output.counts(said["pending"])))
    _show_advice(said)


def _show_done(said: Mapping[str, Any]) -> None:
    before, path = said["before"]["path"], said["path"]
    output.say(_("{path} is in the place of {before} now", path=path, before=before))


def _show_replaced(said: Mapping[str, Any]) -> None:
    before, path = said["before"]["path"], said["path"]
    if said["done"]:
        _show_done(said)
    else:
        output.say(_("{path} would be in the place of {before}", path=path, before=before))
    if said["records"] is not None:
        output.say(
            _(
                "records: {before} before, {after} now; against the {posted} that are posted: "
                "{added} new, {deleted} gone",
                before=said["records"]["before"],
                after=said["records"]["after"],
                posted=said["posted"],
                added=said["added"],
                deleted=said["deleted"],
            )
        )
    if "accounts" in said:
        output.say(
            _(
                "accounts: {added} new, {deleted} gone",
                added=len(said["accounts"]["added"]),
                deleted=len(said["accounts"]["deleted"]),
            )
        )
    _show_advice(said)


def _show_advice(said: Mapping[str, Any]) -> None:
    if said["advice"] is not None:
        output.say(said["advice"]["text"])
