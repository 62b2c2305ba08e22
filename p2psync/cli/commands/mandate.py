"""``p2psync mandate`` and ``p2psync member``: the mandates and who shares them."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.inputs import absolute
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column, counts, local_time, short, word
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Create, list, show and share mandates.")
member_group = new_group(help="Show who shares a mandate.")


@command(group, "create", example='p2psync mandate create "Acme" --accounting acme.crp')
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the new mandate's name")],
    accounting: Annotated[
        str | None,
        typer.Option("--accounting", metavar="FILE", help="attach this accounting file at once"),
    ] = None,
) -> None:
    """Create a local mandate."""
    said = node().post(
        "mandates", body={"name": name, "accounting": absolute(accounting) if accounting else None}
    )
    output.emit(said, _show_created)


@command(group, "list", example="p2psync mandate list")
def list_all() -> None:
    """List all mandates with what waits in each."""
    output.emit(node().get("mandates"), _show_list)


@command(group, "show", example="p2psync mandate show Acme")
def show(mandate: Mandate) -> None:
    """Show one mandate with its files and members."""
    output.emit(node().get("mandates", mandate), _show)


@command(group, "share", example="p2psync mandate share Acme")
def share(mandate: Mandate) -> None:
    """Turn a local mandate into a shared one, so that you can invite others."""
    said = node().post("mandates", mandate, "share")
    output.emit(
        said,
        lambda shared: output.say(
            _("{name} is shared now; invite others with: p2psync invite", name=shared.get("name"))
        ),
    )


@command(member_group, "list", example="p2psync member list Acme")
def member_list(mandate: Mandate) -> None:
    """List the devices that share a mandate."""
    said = node().get("mandates", mandate, "members")
    output.emit(said, lambda shown: _show_members(shown["members"]))


def show_files(files: list[Mapping[str, Any]]) -> None:
    """Print the files of a mandate and their problems."""
    output.table(
        (
            Column(_("file")),
            Column(_("kind")),
            Column(_("period")),
            Column(_("records"), right=True),
            Column(_("pending"), right=True),
            Column(_("state")),
            Column(_("folder")),
        ),
        (
            (
                file.get("name"),
                word(file.get("kind")),
                file.get("period"),
                file.get("records"),
                counts(file.get("pending")),
                word(file.get("state")),
                file.get("folder"),
            )
            for file in files
        ),
    )
    for file in files:
        for problem in file.get("problems") or ():
            output.say(_problem(str(file.get("name")), problem))


def _problem(name: str, problem: object) -> str:
    if not isinstance(problem, Mapping):
        return f"{name}: {problem}"
    text = problem.get("text")
    if problem.get("line"):
        return _("{name}, line {line}: {text}", name=name, line=problem["line"], text=text)
    return f"{name}: {text}"


def show_offered(said: Mapping[str, Any]) -> None:
    """Print the exchange files that an accounting file points at (B-MAN-3)."""
    if said.get("offered"):
        output.say(_("the accounting file also points at these files; attach them if you like:"))
        for path in said["offered"]:
            output.say(f"  {path}")


def _show_created(said: Mapping[str, Any]) -> None:
    output.say(_("created {name} ({id})", name=said["name"], id=short(said["id"])))
    output.say(_("its folder is {folder}", folder=said["folder"]))
    show_offered(said)


def _show_list(said: Mapping[str, Any]) -> None:
    if not said["mandates"]:
        output.say(_("there is no mandate yet; make one with: p2psync mandate create NAME"))
        return
    output.table(
        (
            Column(_("mandate")),
            Column(_("kind")),
            Column(_("state")),
            Column(_("pending"), right=True),
            Column(_("id")),
        ),
        (
            (
                mandate["name"],
                word(mandate["kind"]),
                word(mandate["state"]),
                counts(mandate.get("pending")),
                short(mandate["id"]),
            )
            for mandate in said["mandates"]
        ),
    )
    for mandate in said["mandates"]:
        _show_cause(mandate)


def _show_cause(mandate: Mapping[str, Any]) -> None:
    if mandate.get("cause"):
        action = output.action(mandate.get("action"))
        output.say(f"{mandate['name']}: {mandate['cause']}" + (f" ({action})" if action else ""))


def _show(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("mandate"), said["name"]),
            (_("id"), said["id"]),
            (_("kind"), word(said["kind"])),
            (_("state"), word(said["state"])),
            (_("folder"), said["folder"]),
        )
    )
    _show_cause(said)
    if said["files"]:
        output.say("")
        show_files(said["files"])
    if said["members"]:
        output.say("")
        _show_members(said["members"])


def _show_members(members: list[Mapping[str, Any]]) -> None:
    output.table(
        (
            Column(_("member")),
            Column(_("machine")),
            Column(_("role")),
            Column(_("online")),
            Column(_("last seen")),
            Column(_("device")),
        ),
        (
            (
                member.get("name"),
                member.get("machine"),
                word(member.get("role")),
                output.yes(member.get("online")),
                local_time(member.get("last_seen")),
                short(member.get("device")),
            )
            for member in members
        ),
    )
