"""``p2psync bundle``: a mandate carried from device to device as one file (B-NET-4)."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.inputs import absolute
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import local_time
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group(help="Sync by a file on a stick: write a mandate's bundle, take one in.")

SUFFIX = ".p2psync-bundle"


@command(
    group,
    "export",
    example="p2psync bundle export Acme -o /media/stick/acme.p2psync-bundle\n"
    "p2psync bundle export Acme -o /media/stick/acme-2.p2psync-bundle --for Ben",
)
def export(
    mandate: Mandate,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="write the bundle here")
    ],
    member: Annotated[
        str | None,
        typer.Option(
            "--for",
            metavar="MEMBER",
            help="leave out what this member is known to have: what it wrote, and what was in its "
            "last bundle",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="FILE", help="leave out what an earlier bundle of the mandate holds"
        ),
    ] = None,
) -> None:
    """Write all that members need into one sealed file. Only the mandate's devices can read it."""
    place = absolute(out)
    body: dict[str, Any] = {"output": place}
    if member is not None:
        body["member"] = member
    if since is not None:
        body["since"] = absolute(since)
    from p2psync.cli.progress import shown_progress

    with shown_progress(_("exporting {name}", name=os.path.basename(place)), mandate):
        said = node().post("mandates", mandate, "bundle", body=body)
    output.emit(said, _show_exported)


@command(
    group,
    "import",
    example="p2psync bundle import /media/stick/acme.p2psync-bundle",
)
def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the .p2psync-bundle file")],
) -> None:
    """Take in a bundle, any number of times and in any order. A damaged one is refused whole."""
    place = absolute(file)
    from p2psync.cli.progress import shown_progress

    with shown_progress(_("importing {name}", name=os.path.basename(place)), None):
        said = node().post("bundles", body={"path": place})
    output.emit(said, _show_imported)


def _show_exported(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{path} ({size}) holds {name}: log entries: {entries}, contents: {contents}",
            path=said["path"],
            entries=said["entries"],
            contents=said["contents"],
            name=said["name"],
            size=output.size(said["bytes"]),
        )
    )
    if said["for"]:
        output.say(_("it leaves out what {who} is known to have", who=said["for"]))
    elif said["partial"]:
        output.say(_("it leaves out what the earlier bundle holds"))
    for name in said["lacking"]:
        output.say(_("the content of {name} is not on this device and not in the file", name=name))
    output.say(_("on the other machine: p2psync bundle import FILE"))


def _show_imported(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{name}: written by {who} ({machine}), {when}",
            name=said["name"],
            who=said["from"],
            machine=said["machine"],
            when=local_time(said["at"]),
        )
    )
    if said["admitted"]:
        output.say(_("{who} is a member now", who=said["from"]))
    if said["new"]:
        output.say(ngettext("{count} log entry is new", "{count} log entries are new", said["new"]))
    else:
        output.say(_("all its log entries were here already"))
    for name in said["files"]:
        output.say(_("changed: {name}", name=name))
    if said["gaps"] and said["partial"]:
        output.say(_("some of it builds on what is not here: ask for a bundle without --for"))
    elif said["gaps"]:
        output.say(_("not all of it had room: import it once more"))
    for name in said["lacking"]:
        output.say(_("the content of {name} has not come yet", name=name))
