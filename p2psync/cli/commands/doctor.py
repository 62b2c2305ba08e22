"""``p2psync doctor``: what is wrong, where, since when, and what to do (B-NET-5)."""

import json
import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.client import Client
from p2psync.cli.inputs import absolute
from p2psync.cli.options import OptionalMandate
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group()

WRONG_EXIT_CODE = 7
PATIENCE_SECONDS = 120.0
"""So long a node may take to answer; one that hangs never does."""


@command(group, "doctor", example="p2psync doctor\np2psync doctor Acme --report doctor.json")
def doctor(
    mandate: OptionalMandate = None,
    report: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="also write a file without secrets or names, for somebody who helps",
        ),
    ] = None,
) -> None:
    """Say what keeps files from syncing, where, since when, and what to do."""
    place = None if report is None else absolute(report)
    if place is not None and os.path.lexists(place):
        raise errors.NotOverwritten(path=place)
    with shown_progress(_("looking at everything")):
        said = _examined(mandate)
    written = said.pop("report")
    if place is not None:
        _write(place, written)
        said["report"] = place
    is_wrong = any(each["severity"] == "fault" for each in said["findings"])
    output.emit({"healthy": not is_wrong, **said}, show_doctor)
    if is_wrong:
        raise typer.Exit(WRONG_EXIT_CODE)


def _examined(mandate: str | None) -> dict[str, Any]:
    try:
        client = Client(current(), patience_seconds=PATIENCE_SECONDS)
        return client.get("doctor", mandate=mandate)
    except (errors.NodeNotRunning, errors.ApiAnswerInvalid) as error:
        from p2psync.cli.examining import examine_home

        return examine_home(current().home, error, current().language)


def _write(path: str, said: Mapping[str, Any]) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(said, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise errors.OutputUnwritable(path=path, cause=error.strerror or error) from None


def show_doctor(said: Mapping[str, Any]) -> None:
    """Print what is wrong, the faults first."""
    findings = said["findings"]
    for each in findings:
        _show(each)
    faults = sum(1 for each in findings if each["severity"] == "fault")
    notes = len(findings) - faults
    if faults:
        output.say(ngettext("{count} thing is wrong", "{count} things are wrong", faults))
    else:
        output.say(_("all is well"))
    if notes:
        output.say(ngettext("{count} note", "{count} notes", notes))
    looked = ", ".join(subject(each["about"]) for each in said["checks"])
    output.say(_("looked at: {things}", things=looked))
    if "report" in said:
        output.say(_("the report without names is in {path}", path=said["report"]))


def _show(finding: Mapping[str, Any]) -> None:
    parts = [subject(finding["about"]), finding["where"]]
    if finding["mandate"] and finding["mandate"] != finding["where"]:
        parts.append(_("in {mandate}", mandate=finding["mandate"]))
    if finding["since"]:
        parts.append(_("since {when}", when=output.local_time(finding["since"])))
    thing = " ".join(part for part in parts if part)
    if finding["severity"] == "fault":
        output.say(_("wrong: {thing}", thing=thing))
    else:
        output.say(_("note: {thing}", thing=thing))
    output.say(f"  {finding['text']}")
    if finding["hint"]:
        output.say(f"  → {finding['hint']}")


def subject(word: str) -> str:
    """Return what was looked at, in the reader's language."""
    words = {
        "node": _("node"),
        "home": _("home"),
        "identity": _("identity"),
        "clock": _("clock"),
        "disk": _("disk"),
        "folder": _("folders"),
        "watcher": _("watching"),
        "network": _("network"),
        "lan": _("local network"),
        "outside": _("calls from outside"),
        "proxy": _("proxy"),
        "relay": _("relays"),
        "mandate": _("mandates"),
        "member": _("members"),
        "file": _("files"),
    }
    return words.get(word, word)
