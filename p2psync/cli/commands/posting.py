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
from p2psync.limits import PENDING_LISTED, PENDING_LISTED_MAX

group = new_group()


@command(
    group,
    "pending",
    example="p2psync pending Acme\np2psync pending Acme sales.ecf --records 20",
)
def pending(
    mandate: Mandate,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE...]", help="the files to look at; none: all of them"),
    ] = None,
    records: Annotated[
        int,
        typer.Option(
            "--records",
            metavar="N",
            min=0,
            max=PENDING_LISTED_MAX,
            help="list at most N records; the numbers are always complete",
        ),
    ] = PENDING_LISTED,
) -> None:
    """Show what waits to be posted. Files and periods first, then the records."""
    names = [file_name(file) for file in files or []]
    said = node().get("mandates", mandate, "pending", file=names or None, records=records)
    output.emit(said, lambda shown: _show_pending(shown, lists=records > 0))


@command(
    group,
    "post",
    example="p2psync post Acme sales.ecf -o to-import.txt\n"
    "p2psync post Acme -o march.csv --format csv",
)
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
    format_name: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help="raw (the lines as they are), csv or beancount"
        ),
    ] = "raw",
    currency: Annotated[
        str,
        typer.Option("--currency", metavar="CODE", help="the currency that beancount is told"),
    ] = "CHF",
) -> None:
    """Post pending records. Hands them to the accounting and signs a receipt."""
    body = {
        "files": [file_name(file) for file in files or []],
        "output": absolute(out) if out else None,
        "format": format_name,
        "currency": currency,
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
    """List what was posted, and what waits for it. Shows by whom, when, and if it still counts."""
    output.emit(node().get("mandates", mandate, "receipts"), _show_receipts)


def _show_posted(said: Mapping[str, Any]) -> None:
    if said["receipt"] is None:
        output.say(_("nothing waits"))
        return
    output.say(
        _(
            "posted {added} added and {deleted} deleted records; receipt {id}",
            added=said["added"],
            deleted=said["deleted"],
            id=short(said["receipt"]),
        )
    )
    _show_written(said)
    if said.get("unexpressed"):
        output.say(
            _(
                "{count} records lack a date, an amount or an account: they stand in {path} as "
                "comments only",
                count=said["unexpressed"],
                path=said["output"],
            )
        )


def _show_written(said: Mapping[str, Any]) -> None:
    """Name every file that was written."""
    path = said.get("output")
    if path and said.get("output_deleted"):
        output.say(_("the added records are in {path}", path=path))
        output.say(
            _("the deleted ones, to be taken back, are in {path}", path=said["output_deleted"])
        )
    elif path:
        output.say(_("they are in {path}", path=path))


def _show_pending(said: Mapping[str, Any], *, lists: bool) -> None:
    if not said["added"] and not said["deleted"]:
        output.say(_("nothing waits"))
        return
    output.table(
        (
            Column(_("file")),
            Column(_("period")),
            Column(_("added"), right=True),
            Column(_("deleted"), right=True),
            Column(_("entries"), right=True),
            Column(_("changed"), right=True),
            Column(_("amount"), right=True),
            Column(_("saved by")),
            Column(_("when")),
        ),
        (
            (
                file["name"],
                file["period"] or _no_period(file),
                file["added"],
                file["deleted"],
                output.counts(file["groups"]),
                file["changed"] or None,
                output.amounts(file),
                file["saved_by"],
                local_time(file["saved"]),
            )
            for file in said["files"]
        ),
    )
    output.say(
        _(
            "in all {added} added and {deleted} deleted records, {amount}",
            added=said["added"],
            deleted=said["deleted"],
            amount=output.amounts(said),
        )
    )
    if lists:
        _show_records(said)


def _no_period(file: Mapping[str, Any]) -> str:
    return _("no period") if file["problems"] else ""


def _show_records(said: Mapping[str, Any]) -> None:
    records = [(file["name"], record) for file in said["files"] for record in file["records"]]
    if records:
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
                    _change(record),
                    record.get("date"),
                    record.get("amount"),
                    record.get("text"),
                    name,
                )
                for name, record in records
            ),
        )
    if said["left_out"]:
        output.say(
            _(
                "{count} more records are not listed: name a file, or list more with --records",
                count=said["left_out"],
            )
        )


def _change(record: Mapping[str, Any]) -> str:
    """What is to be done with a record; an edited one shows as deleted and added."""
    return word(record["change"]) + (f" ({_('changed')})" if record.get("changed") else "")


def _show_receipts(said: Mapping[str, Any]) -> None:
    if said["waiting"]:
        output.table(
            (
                Column(_("waiting")),
                Column(_("state")),
                Column(_("change"), right=True),
                Column(_("saved by")),
                Column(_("when")),
                Column(_("delivered")),
            ),
            (
                (
                    each["file"],
                    word(each["state"]),
                    output.counts(each),
                    each["by"],
                    local_time(each["at"]),
                    local_time(each["delivered"]),
                )
                for each in said["waiting"]
            ),
        )
        output.say("")
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
