"""``p2psync attach``: files of a mandate."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.commands.mandate import show_files, show_offered
from p2psync.cli.definitions import format_text
from p2psync.cli.inputs import absolute, duration_seconds, file_name
from p2psync.cli.options import KINDS, Mandate, node
from p2psync.cli.progress import shown_progress
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group()

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="the file: the name shown, or a path such as ./sales.ecf"),
]


@command(group, "attach", example="p2psync attach Acme sales.ecf --kind invoicing")
def attach(
    mandate: Mandate,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE...]", help="the files to attach")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="accounting, invoicing, payroll or other"),
    ] = None,
    period: Annotated[
        str | None,
        typer.Option(
            "--period", metavar="FROM..TO", help="the period, such as 2024-01-01..2024-12-31"
        ),
    ] = None,
    follows: Annotated[
        str | None,
        typer.Option("--follows", metavar="FILE", help="the attached file that this one continues"),
    ] = None,
    expect_every: Annotated[
        str | None,
        typer.Option(
            "--expect-every", metavar="TIME", help="tell when it is not saved for so long: 7d"
        ),
    ] = None,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="read them as this: a name of p2psync format list, or a definition in FILE.toml",
        ),
    ] = None,
    offered: Annotated[
        bool,
        typer.Option("--offered", help="attach what the list beside the accounting file names"),
    ] = False,
) -> None:
    """Attach files to a mandate. From now on each save reaches its members."""
    if kind is not None:
        check_kind(kind)
    elif not offered:
        raise errors.UsageError(
            cause=_("give --kind ({kinds}), or --offered", kinds=", ".join(KINDS))
        )
    client = node()
    body = {
        "files": [absolute(file) for file in files or ()],
        "kind": kind,
        "period": period,
        "follows": file_name(follows) if follows else None,
        "expect_seconds": None if expect_every is None else duration_seconds(expect_every),
        "offered": offered,
    }
    if format_name is not None:
        body["format"] = format_text(format_name)
    with shown_progress(_("attaching"), mandate):
        said = client.post("mandates", mandate, "files", body=body)
    output.emit(said, lambda shown: _show_attached(mandate, shown))


def _show_formats(files: Sequence[Mapping[str, Any]]) -> None:
    """Say how files are read, all in one line where it is the same."""
    titles: dict[str, list[str]] = {}
    for file in files:
        if "format_title" in file:
            titles.setdefault(file["format_title"]["text"], []).append(str(file["name"]))
    for title, names in titles.items():
        output.say(_("{files}: {format}", files=", ".join(names[:5]), format=title))


def check_kind(kind: str) -> None:
    """Raise ``UsageError`` for a kind that no file has."""
    if kind not in KINDS:
        raise errors.UsageError(
            cause=_("{kind} is no kind: write {kinds}", kind=kind, kinds=", ".join(KINDS))
        )


def _show_attached(mandate: str, said: Mapping[str, Any]) -> None:
    if said["files"]:
        show_files(said["files"])
        _show_formats(said["files"])
    show_offered(mandate, said)
    for each in said.get("skipped") or ():
        output.say(_("{file} is not attached: {cause}", file=each["file"], cause=each["text"]))
