"""Joins the commands into one tree."""

from pathlib import Path
from typing import Annotated

import typer

from p2psync import __version__
from p2psync.cli.commands import (
    audit,
    bundle,
    doctor,
    files,
    formats,
    history,
    hooks,
    identity,
    inspect,
    mandate,
    member,
    network,
    node,
    placing,
    posting,
    program,
    relay,
    removal,
    retention,
    seat,
    status,
    tickets,
    watching,
)
from p2psync.cli.tree import Group

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    help="Keep accounting exchange files in sync between machines, without a server.",
    epilog="p2psync node start\np2psync mandate create Acme --accounting acme.crp",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"p2psync {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", metavar="DIR", envvar="P2PSYNC_HOME", help="the node's folder: keys, data"
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="print one JSON object, for programs")
    ] = False,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="LANG", help="speak en or fr")
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="show the version and exit"
        ),
    ] = False,
) -> None:
    # ``main`` reads these before the tree is built; they stand here to be parsed and explained.
    del home, json, lang, version


app.add_typer(node.group, name="node")
app.add_typer(identity.group, name="identity")
app.add_typer(mandate.group, name="mandate")
app.add_typer(files.group)
app.add_typer(history.group)
app.add_typer(retention.group, name="retention")
app.add_typer(tickets.invite_group, name="invite")
app.add_typer(tickets.group)
app.add_typer(placing.group)
app.add_typer(removal.group)
app.add_typer(posting.group)
app.add_typer(seat.group, name="seat")
app.add_typer(audit.group, name="audit")
app.add_typer(bundle.group, name="bundle")
app.add_typer(watching.group)
app.add_typer(hooks.group, name="hook")
app.add_typer(hooks.notify_group, name="notify")
app.add_typer(member.group, name="member")
app.add_typer(mandate.suggestion_group, name="suggestion")
app.add_typer(program.group, name="program")
app.add_typer(relay.group, name="relay")
app.add_typer(network.group, name="network")
app.add_typer(status.group)
app.add_typer(doctor.group)
app.add_typer(inspect.group)
app.add_typer(formats.group, name="format")
