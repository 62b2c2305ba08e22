"""``p2psync history``, ``restore``, ``held``, ``confirm``, ``refuse``: what was (B-HIS)."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.commands.files import File
from p2psync.cli.inputs import absolute, file_name
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import Column
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _
from p2psync.limits import VERSIONS_LISTED

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


At = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="what was then: 2024-12-31, 2024-12-31T18:00+01:00"),
]
Known = Annotated[
    bool,
    typer.Option("--known", help="with --at: what this device knew then, not what was written"),
]
Out = Annotated[
    str | None,
    typer.Option("-o", "--output", metavar="OUT", help="write it here, change nothing else"),
]


@command(group, "history", example="p2psync history Acme sales.ecf --at 2024-12-31")
def history(
    mandate: Mandate,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="the name shown, or a path; none: all files"),
    ] = None,
    at: At = None,
    known: Known = False,
    out: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="OUT", help="write the file as it was --at TIME"),
    ] = None,
    records: Annotated[
        bool, typer.Option("--records", help="what came of each record: added, changed, posted")
    ] = False,
    record: Annotated[
        str | None,
        typer.Option("--record", metavar="TEXT", help="only records with this text or amount"),
    ] = None,
    voucher: Annotated[
        str | None, typer.Option("--voucher", metavar="V", help="only records of this voucher")
    ] = None,
    line: Annotated[
        int | None, typer.Option("--line", metavar="N", help="only the record in this line")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="list at most so many")
    ] = None,
    after: Annotated[
        int, typer.Option("--after", metavar="N", help="with --records: leave out the first N")
    ] = 0,
) -> None:
    """List the versions of files. Shows who changed what, when and on which machine.

    With --at it shows the mandate as it was, with --records what came of single records.
    """
    chosen = file_name(file) if file else None
    records = records or any(each is not None for each in (record, voucher, line))
    if chosen is None and (records or out):
        raise errors.UsageError(cause=_("name the file"))
    if out and not at:
        raise errors.UsageError(cause=_("-o goes with --at TIME"))
    if records and at:
        raise errors.UsageError(cause=_("--records and --at exclude each other"))
    if known and not at:
        raise errors.UsageError(cause=_("--known goes with --at TIME"))
    client = node()
    if out:
        body = {"file": chosen, "at": at, "known": known, "output": absolute(out)}
        output.emit(client.post("mandates", mandate, "restore", body=body), _show_restored)
        return
    if records:
        query = {"text": record, "voucher": voucher, "line": line, "after": after, "limit": limit}
        found = client.get("mandates", mandate, "history", "records", file=chosen, **query)
        output.emit(found, _show_records)
        return
    said = client.get(
        "mandates",
        mandate,
        "history",
        file=chosen,
        at=at,
        known=known or None,
        limit=VERSIONS_LISTED if limit is None else limit,
    )
    output.emit(said, _show_state if at else _show_history)


@command(group, "restore", example="p2psync restore Acme sales.ecf 3f9a -o old-sales.ecf")
def restore(
    mandate: Mandate,
    file: File,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="the beginning of a version's id")
    ] = None,
    out: Out = None,
    at: At = None,
    known: Known = False,
) -> None:
    """Bring back a version of a file. It takes the place of the current one, or goes elsewhere.

    With --at instead of a version it is the file as it was then.
    """
    if (version is None) == (at is None):
        raise errors.UsageError(cause=_("give either a version or --at TIME"))
    body = {
        "file": file_name(file),
        "version": version,
        "output": absolute(out) if out else None,
        "at": at,
        "known": known,
    }
    output.emit(node().post("mandates", mandate, "restore", body=body), _show_brought_back)


def _show_restored(said: Mapping[str, Any]) -> None:
    if said.get("at"):
        output.say(_as_of(said))
    output.say(
        _(
            "version {version} of {file} is at {path}",
            version=said.get("version"),
            file=said.get("file"),
            path=said.get("path"),
        )
    )


def _show_brought_back(said: Mapping[str, Any]) -> None:
    _show_restored(said)
    if said.get("fetched_from"):
        output.say(
            _(
                "its content is not on this device: it is fetched from who has it ({who})",
                who=said["fetched_from"],
            )
        )


def _as_of(said: Mapping[str, Any]) -> str:
    if said["by"] == "arrival":
        return _("as this device knew it at {time}, by its own clock", time=said["at"])
    return _(
        "as of {time}, by the clocks of those who wrote; what came here later counts, too",
        time=said["at"],
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
                "" if version.get("added") is None else output.counts(version),
                output.yes(True) if version.get("current") else _content(version.get("content")),
            )
            for version in said["versions"]
        ),
    )
    if said.get("left_out"):
        output.say(_("{count} older ones: --limit N", count=said["left_out"]))


def _content(word: object) -> str:
    return {"dropped": _("no longer kept"), "elsewhere": _("not on this device")}.get(str(word), "")


def _show_state(said: Mapping[str, Any]) -> None:
    state = said["state"]
    output.say(_as_of(said))
    if not state["members"]:
        output.say(_("the mandate was not there yet"))
        return
    seat = state["seat"]
    output.facts(
        (
            (_("mandate"), state["name"]),
            (_("state"), output.word("closed") if state["closed"] else ""),
            (_("seat"), "" if seat is None else f"{seat['name']} ({seat['machine']})"),
            (
                _("members"),
                ", ".join(
                    f"{each['name']} ({each['machine']}, {output.word(each['role'])})"
                    for each in state["members"]
                ),
            ),
            (_("receipts"), len(state["receipts"]) + state["receipts_left_out"]),
        )
    )
    if state["files"]:
        output.table(
            (
                Column(_("file")),
                Column(_("kind")),
                Column(_("version")),
                Column(_("changed")),
                Column(_("by")),
                Column(_("records"), right=True),
                Column(_("posted"), right=True),
                Column(_("waiting"), right=True),
                Column(_("amount"), right=True),
                Column(_("bytes"), right=True),
            ),
            (
                (
                    each["name"],
                    output.word(each["kind"]),
                    output.short(each["version"]),
                    output.local_time(each["changed"]),
                    each["by"],
                    each["records"],
                    each["posted"],
                    output.counts(each["pending"]),
                    output.amounts(each["pending"]) if output.counts(each["pending"]) else "",
                    each["bytes"],
                )
                for each in state["files"]
            ),
        )
    _show_history(said)


def _show_records(said: Mapping[str, Any]) -> None:
    if said["whole"]:
        output.say(
            _(
                "{file} is kept whole: nothing is known of single records, its versions are these",
                file=said["file"],
            )
        )
        _show_history(said)
        return
    if not said["records"]:
        output.say(_("there is no such record"))
        return
    for each in said["records"]:
        for record in each["records"]:
            output.say(_record(record))
        where = (
            _("line {line}", line=each["line"])
            if each["present"]
            else _("not in the file any more")
        )
        output.say(f"    ({where})")
        for step in each["steps"]:
            output.say("    " + _step(step))
    if said["next"] is not None:
        output.say(_("there are more: --after {count}", count=said["next"]))


def _record(record: Mapping[str, Any]) -> str:
    shown = ("date", "debit", "credit", "voucher", "amount", "currency", "text")
    return "  ".join(str(record[name]) for name in shown if record.get(name))


def _step(step: Mapping[str, Any]) -> str:
    words = {
        "added": _("added"),
        "changed": _("changed"),
        "deleted": _("deleted"),
        "posted": _("posted"),
        "retracted": _("posting taken back"),
        "cancelled": _("posting cancelled"),
    }
    name = step.get("version") or step.get("receipt") or ""
    text = (
        f"{output.local_time(step['at'])}  {words[step['what']]}  {step['by']} ({step['machine']})"
        f"  {output.short(name)}"
    )
    before = "; ".join(_record(record) for record in step.get("before") or ())
    return _("{step}, before: {before}", step=text, before=before) if before else text


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
