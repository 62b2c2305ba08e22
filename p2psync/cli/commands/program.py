"""``p2psync program``: the programs that write files, and which a mandate refuses (B-VAL-1)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.commands.mandate import show_programs
from p2psync.cli.inputs import file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import word
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Show and register the programs that write files, and refuse some.")

REGISTER_EXAMPLE = (
    "p2psync program register Acme sales.ecf --name Billing --version 16.2.1 --licence valid"
)
POLICY_EXAMPLE = "p2psync program policy Acme --refuse trial --minimum Billing=16.2"


@command(group, "register", example=REGISTER_EXAMPLE)
def register(
    mandate: Mandate,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="the name shown, or a path such as ./sales.ecf")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="the program's name")],
    version: Annotated[
        str, typer.Option("--version", metavar="VERSION", help="the program's version")
    ],
    licence: Annotated[
        str,
        typer.Option("--licence", metavar="STATE", help="valid, trial, no-updates or unknown"),
    ],
) -> None:
    """Note which program writes a file. Programs do so themselves; the same again costs nothing."""
    body = {"name": name, "version": version, "licence": licence}
    said = node().put("mandates", mandate, "files", file_name(file), "program", body=body)

    def show(done: Mapping[str, Any]) -> None:
        output.say(
            _(
                "{program} {version} writes {file} (licence: {licence})",
                program=done["name"],
                version=done["version"],
                file=done["file"],
                licence=word(done["licence"]),
            )
        )
        if done["refused"]:
            output.say(_("the mandate's policy refuses it: see p2psync program list"))

    output.emit(said, show)


@command(group, "list", example="p2psync program list Acme")
def list_all(mandate: Mandate) -> None:
    """List the programs that write a mandate's files, and what is wrong with each."""
    said = node().get("mandates", mandate, "programs")

    def show(shown: Mapping[str, Any]) -> None:
        if shown["programs"]:
            show_programs(shown["programs"])
        else:
            output.say(_("no program registered yet"))
        _show_policy(shown["policy"])

    output.emit(said, show)


@command(group, "policy", example=POLICY_EXAMPLE)
def policy(
    mandate: Mandate,
    refuse: Annotated[
        list[str] | None,
        typer.Option(
            "--refuse", metavar="STATE", help="refuse trial, no-updates or unknown; may be repeated"
        ),
    ] = None,
    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--minimum",
            metavar="NAME=VERSION",
            help="refuse older versions of a program; may be repeated",
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="take the files of all programs")] = False,
) -> None:
    """Show which programs' files a mandate refuses, or set it. What is not named is taken."""
    if none and (refuse or minimum):
        raise errors.UsageError(cause=_("--none and --refuse or --minimum exclude each other"))
    client = node()
    if not (none or refuse or minimum):
        output.emit(client.get("mandates", mandate, "policy"), _show_policy)
        return
    minimums: dict[str, str] = {}
    for each in minimum or ():
        name, equals, version = each.rpartition("=")
        if not (equals and name and version):
            raise errors.UsageError(cause=_("{text} is no minimum: write NAME=VERSION", text=each))
        minimums[name] = version
    body = {"refuse": list(refuse or ()), "minimums": minimums}
    output.emit(client.put("mandates", mandate, "policy", body=body), _show_policy)


def _show_policy(shown: Mapping[str, Any]) -> None:
    refused, minimums = shown["refuse"], shown["minimums"]
    if not refused and not minimums:
        output.say(_("the policy takes the files of all programs"))
        return
    for each in refused:
        texts = {
            "trial": _("the policy refuses the files of trial versions"),
            "no-updates": _("the policy refuses the files of programs without a right to updates"),
            "unknown": _("the policy refuses files when it is not known which program writes them"),
        }
        output.say(texts.get(each, each))
    for name, version in minimums.items():
        output.say(
            _(
                "the policy refuses the files of {program} before {version}",
                program=name,
                version=version,
            )
        )
