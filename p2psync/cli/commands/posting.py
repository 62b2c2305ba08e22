"""``p2psync pending``, ``post``, ``unpost``, ``receipts``: from source to accounting."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.inputs import absolute, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column, local_time, short, word
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group()


@command(group, "pending", example="p2psync pending Acme")
def pending(mandate: Mandate) -> None:
    """Show what waits to be posted. Files first, then each record."""
    output.emit(node().get("mandates", mandate, "pending"), _show_pending)


@command(group, "post", example="p2psync post Acme sales.ecf -o to-import.txt")
def post(
    mandate: Mandate,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="the files to post; none: all of them"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT", help="write the records here"),
    ] = None,
) -> None:
    """Post pending records. Hands them to the accounting and signs a receipt."""
    body = {
        "files": [file_name(file) for file in files or []],
        "output": absolute(out) if out else None,
    }
    said = node().post("mandates", mandate, "receipts", body=body)
    output.emit(said, _show_posted)


@command(group, "unpost", example="p2psync unpost Acme 3f9a")
def unpost(
    mandate: Mandate,
    receipt: Annotated[
        str, typer.Argument(metavar="RECEIPT", help="the beginning of the receipt's id")
    ],
) -> None:
    """Retract a receipt. Its records wait again."""
    said = node().delete("mandates", mandate, "receipts", receipt)
    output.emit(
        said, lambda done: output.say(_("receipt {id} is retracted", id=short(done["receipt"])))
    )


@command(group, "receipts", example="p2psync receipts Acme")
def receipts(mandate: Mandate) -> None:
    """List what was posted. Shows by whom, when, and whether it still counts."""
    output.emit(node().get("mandates", mandate, "receipts"), _show_receipts)


def _show_posted(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "posted {added} added and {deleted} deleted records; receipt {id}",
            added=said["added"],
            deleted=said["deleted"],
            id=short(said["receipt"]),
        )
    )


def _show_pending(said: Mapping[str, Any]) -> None:
    if not said["added"] and not said["deleted"]:
        output.say(_("nothing waits"))
        return
    output.table(
        (
            Column(_("file")),
            Column(_("period")),
            Column(_("added"), right=True),
            Column(_("deleted"), right=True),
            Column(_("amount"), right=True),
        ),
        (
            (
                file["name"],
                file.get("period"),
                file["added"],
                file["deleted"],
                file.get("amount"),
            )
            for file in said["files"]
        ),
    )
    records = [(file["name"], record) for file in said["files"] for record in file["records"]]
    if not records:
        return
    output.say("")
    output.table(
        (
            Column(_("change")),
            Column(_("date")),
            Column(_("amount"), right=True),
            Column(_("text")),
            Column(_("file")),
        ),
        (
            (
                word(record["change"]),
                record.get("date"),
                record.get("amount"),
                record.get("text"),
                name,
            )
            for name, record in records
        ),
    )


def _show_receipts(said: Mapping[str, Any]) -> None:
    if not said["receipts"]:
        output.say(_("nothing was posted yet"))
        return
    output.table(
        (
            Column(_("receipt")),
            Column(_("when")),
            Column(_("by")),
            Column(_("machine")),
            Column(_("change"), right=True),
            Column(_("state")),
            Column(_("files")),
        ),
        (
            (
                short(receipt["receipt"]),
                local_time(receipt["at"]),
                receipt["by"],
                receipt["machine"],
                output.counts(receipt),
                word(receipt["state"]),
                ", ".join(map(str, receipt["files"])),
            )
            for receipt in said["receipts"]
        ),
    )
