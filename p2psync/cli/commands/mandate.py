"""``p2psync mandate`` and ``p2psync member``: the mandates and who shares them."""

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.inputs import absolute, duration_words, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column, counts, local_time, short, word
from p2psync.cli.problems import problem_lines
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group(help="Create, list, show, share and rename mandates.")
suggestion_group = new_group(help="List or dismiss files that may belong to a mandate.")
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
def list_all(
    removed: Annotated[
        bool, typer.Option("--removed", help="those that were removed and can come back")
    ] = False,
) -> None:
    """List all mandates with what waits in each."""
    if removed:
        output.emit(node().get("removed-mandates"), _show_removed)
    else:
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


@command(group, "rename", example='p2psync mandate rename Acme "Acme Ltd"')
def rename(
    mandate: Mandate,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the new name")],
) -> None:
    """Give a mandate another name, for all its members. Folders keep the name they have."""
    said = node().put("mandates", mandate, "name", body={"name": name})
    output.emit(
        said, lambda done: output.say(_("the mandate is called {name} now", name=done["name"]))
    )


@command(suggestion_group, "list", example="p2psync suggestion list Acme")
def suggestion_list(mandate: Mandate) -> None:
    """List files that may belong to a mandate. Nothing is attached until you say so."""
    said = node().get("mandates", mandate, "suggestions")

    def show_them(shown: Mapping[str, Any]) -> None:
        if not shown["suggestions"]:
            output.say(_("nothing is suggested"))
        show_suggestions(shown["suggestions"])

    output.emit(said, show_them)


@command(suggestion_group, "dismiss", example="p2psync suggestion dismiss Acme sales_2026.ecf")
def suggestion_dismiss(
    mandate: Mandate,
    file: Annotated[str, typer.Argument(metavar="FILE", help="the file that was suggested")],
) -> None:
    """Suggest a file no more."""
    said = node().post(
        *("mandates", mandate, "suggestions", "dismiss"), body={"file": file_name(file)}
    )
    output.emit(said, lambda done: output.say(_("{file} is suggested no more", file=done["file"])))


@command(member_group, "list", example="p2psync member list Acme")
def member_list(mandate: Mandate) -> None:
    """List the devices that share a mandate."""
    said = node().get("mandates", mandate, "members")
    output.emit(said, _show_all_members)


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
            Column(_("changed")),
            Column(_("last sync")),
            Column(_("device")),
            Column(_("folder")),
        ),
        (
            (
                file.get("name"),
                word(file.get("kind")),
                file.get("period"),
                None if file.get("merge") == "whole" else file.get("records"),
                counts(file.get("pending")),
                output.state(file.get("state")),
                local_time(file.get("changed")),
                local_time(file.get("synced")),
                file.get("device"),
                file.get("folder"),
            )
            for file in files
        ),
    )
    for file in files:
        if file.get("follows"):
            output.say(
                _("{file} follows {follows}", file=file["name"], follows=str(file["follows"]))
            )
        if file.get("contested"):
            output.say(_("{file} is contested: another device has the seat", file=file["name"]))
        if file.get("expect_seconds"):
            output.say(
                _(
                    "{file} promises to be saved every {time}",
                    file=file["name"],
                    time=duration_words(int(file["expect_seconds"])),
                )
            )
        for line in problem_lines(str(file.get("name")), file.get("problems") or ()):
            output.say(line)


def show_offered(mandate: str, said: Mapping[str, Any]) -> None:
    """Print the exchange files that an accounting file points at (B-MAN-3)."""
    if said.get("offered"):
        output.say(_("the accounting file also points at these files:"))
        for path in said["offered"]:
            output.say(f"  {path}")
        command = shlex.join(("p2psync", "attach", mandate, "--offered"))
        output.say(_("to attach them: {command}", command=command))


def show_suggestions(suggestions: list[Mapping[str, Any]]) -> None:
    """Print what may belong to a mandate, each with the command that takes it."""
    for each in suggestions:
        if each.get("reason") == "new-year":
            text = _("{file} looks like the next year of {follows}; to attach it:", **_plain(each))
        else:
            text = _("the list beside the accounting names {file}; to attach it:", **_plain(each))
        output.say(text)
        output.say(f"  {each.get('command')}")


def _plain(suggestion: Mapping[str, Any]) -> dict[str, str]:
    return {"file": str(suggestion.get("file")), "follows": str(suggestion.get("follows"))}


def show_programs(programs: list[Mapping[str, Any]]) -> None:
    """Print the programs that write files, and what is wrong with each (B-VAL-1)."""
    output.table(
        (
            Column(_("file")),
            Column(_("device")),
            Column(_("program")),
            Column(_("version")),
            Column(_("licence")),
            Column(_("refused")),
        ),
        (
            (
                each.get("file"),
                each.get("device"),
                each.get("program"),
                each.get("version"),
                word(each.get("licence")),
                output.red(_("yes")) if each.get("refused") else _("no"),
            )
            for each in programs
        ),
    )
    for each in programs:
        for problem in each.get("problems") or ():
            hint = (problem.get("hint") or {}).get("text")
            output.say(f"{problem.get('text')}" + (f" ({hint})" if hint else ""))


def _show_created(said: Mapping[str, Any]) -> None:
    output.say(_("created {name} ({id})", name=said["name"], id=short(said["id"])))
    output.say(_("its folder is {folder}", folder=said["folder"]))
    show_offered(str(said["name"]), said)


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
            Column(_("seat")),
            Column(_("id")),
        ),
        (
            (
                mandate["name"],
                word(mandate["kind"]),
                output.state(mandate["state"]),
                counts(mandate.get("pending")),
                mandate.get("seat"),
                short(mandate["id"]),
            )
            for mandate in said["mandates"]
        ),
    )
    for mandate in said["mandates"]:
        _show_cause(mandate)
        if mandate.get("suggestions"):
            output.say(
                ngettext(
                    "{name}: {count} file is suggested; see p2psync suggestion list",
                    "{name}: {count} files are suggested; see p2psync suggestion list",
                    mandate["suggestions"],
                    name=mandate["name"],
                )
            )


def _show_removed(said: Mapping[str, Any]) -> None:
    if not said["mandates"]:
        output.say(_("no mandate was removed within the last 30 days"))
        return
    output.table(
        (
            Column(_("mandate")),
            Column(_("kind")),
            Column(_("removed")),
            Column(_("undo until")),
            Column(_("id")),
        ),
        (
            (
                mandate["name"],
                word(mandate["kind"]),
                local_time(mandate["removed"]),
                local_time(mandate["undo_until"]),
                short(mandate["id"]),
            )
            for mandate in said["mandates"]
        ),
    )


def _show_cause(mandate: Mapping[str, Any]) -> None:
    if mandate.get("cause"):
        action = output.action(mandate.get("action"))
        text = _("{name}: {text}", name=mandate["name"], text=mandate["cause"])
        output.say(text + (f" ({action})" if action else ""))


def _show(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("mandate"), said["name"]),
            (_("id"), said["id"]),
            (_("kind"), word(said["kind"])),
            (_("state"), word(said["state"])),
            (_("seat"), said.get("seat")),
            (_("contested"), ", ".join(said.get("contested") or ())),
            (_("last sync"), local_time(said.get("synced"))),
            (_("folder"), said["folder"]),
        )
    )
    _show_cause(said)
    if said["files"]:
        output.say("")
        show_files(said["files"])
    if said.get("programs"):
        output.say("")
        show_programs(said["programs"])
    if said["members"]:
        output.say("")
        _show_members(said["members"])
    show_removed_members(said.get("removed", []))
    if said.get("suggestions"):
        output.say("")
        show_suggestions(said["suggestions"])


def _show_all_members(said: Mapping[str, Any]) -> None:
    _show_members(said["members"])
    show_removed_members(said.get("removed", []))


def show_removed_members(removed: list[Mapping[str, Any]]) -> None:
    """Print who was removed, by whom, and what of theirs does not count (B-ID-3)."""
    if not removed:
        return
    output.say("")
    output.say(_("removed:"))
    output.table(
        (
            Column(_("member")),
            Column(_("machine")),
            Column(_("by")),
            Column(_("on")),
            Column(_("entries that do not count"), right=True),
            Column(_("device")),
        ),
        (
            (
                member.get("name"),
                member.get("machine"),
                member.get("by"),
                local_time(member.get("removed")),
                member.get("quarantined"),
                short(member.get("device")),
            )
            for member in removed
        ),
    )


def _show_members(members: list[Mapping[str, Any]]) -> None:
    output.table(
        (
            Column(_("member")),
            Column(_("machine")),
            Column(_("role")),
            Column(_("reached")),
            Column(_("since")),
            Column(_("speed")),
            Column(_("last seen")),
            Column(_("device")),
        ),
        (
            (
                member.get("name"),
                member.get("machine"),
                word(member.get("role")),
                _reached(member),
                local_time((member.get("reached") or {}).get("since")),
                output.pace(member.get("pace")),
                local_time(member.get("last_seen")),
                short(member.get("device")),
            )
            for member in members
        ),
    )


def _reached(member: Mapping[str, Any]) -> str:
    if member.get("left"):
        return word("left")
    return output.reached(member.get("reached")) or output.yes(member.get("online"))
