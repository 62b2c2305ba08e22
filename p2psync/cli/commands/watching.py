"""``p2psync wait``, ``watch``, ``alerts``, ``messages`` and ``expect``: what happens over time."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.inputs import duration_seconds, duration_words, file_name
from p2psync.cli.options import Mandate, OptionalMandate, node
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext
from p2psync.limits import MESSAGES_LISTED_MAX

group = new_group()

RECONNECT_SECONDS = 0.5
NEVER = "never"

Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="this type of event alone; may be repeated"),
]
Severity = Annotated[
    str | None, typer.Option("--severity", metavar="WORD", help="message or alert alone")
]


@command(group, "wait", example="p2psync wait Acme --synced --timeout 60")
def wait(
    mandate: Mandate,
    synced: Annotated[
        bool, typer.Option("--synced", help="until every connected member has all (the default)")
    ] = True,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="S", min=0, help="give up after so many seconds"),
    ] = None,
) -> None:
    """Wait until every connected member has what this node has."""
    client = node()
    body = {"synced": synced, "timeout_seconds": timeout}
    with shown_progress(_("waiting for the members"), mandate):
        said = client.post("mandates", mandate, "wait", body=body)
    output.emit(
        said,
        lambda done: output.say(
            ngettext(
                "synced with {count} member", "synced with {count} members", int(done["members"])
            )
        ),
    )


@command(
    group,
    "watch",
    example="p2psync watch Acme\np2psync watch --severity alert\n"
    "p2psync --json watch --since 0 --type posted",
)
def watch(
    mandate: OptionalMandate = None,
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="ID", min=0, help="first, all events after this number"),
    ] = None,
    types: Types = None,
    severity: Severity = None,
) -> None:
    """Print events as they come. One a line, until Ctrl-C."""
    last = since
    output.end_with_reader()
    while True:
        # Each turn is a new connection; it ends here with an error when the node is gone.
        for event in node().events(mandate, last, types or (), _severity(severity)):
            if event.get("type") == "gap":
                _tell_gap(event)
            if not isinstance(event.get("id"), int):
                continue
            last = int(event["id"])
            if current().json:
                output.print_json(event)
            else:
                output.say(_line(event))
        time.sleep(RECONNECT_SECONDS)


def _severity(word: str | None) -> str | None:
    if word not in (None, "message", "alert"):
        raise errors.UsageError(cause=_("--severity takes message or alert"))
    return word


def _tell_gap(event: Mapping[str, Any]) -> None:
    if current().json:
        output.print_json(event)
    else:
        text = _("events after {since} and before {first} were forgotten", **event)
        output.say_error(output.safe(text))


def _line(event: Mapping[str, Any]) -> str:
    mark = "!" if event.get("severity") == "alert" else " "
    of = event.get("mandate_name")
    text = str(event.get("text"))
    if of:
        text = _("{name}: {text}", name=of, text=text)
    parts = [output.local_time(event.get("at")), mark, text]
    if event.get("action"):
        parts.append(f"[{output.action(event['action'])}]")
    return " ".join(parts)


@command(
    group,
    "alerts",
    example="p2psync alerts\np2psync alerts --close 17\np2psync alerts Acme --close all\n"
    "p2psync alerts --history --before 400",
)
def alerts(
    mandate: OptionalMandate = None,
    close: Annotated[
        str | None,
        typer.Option("--close", metavar="ID|all", help="close the alert with this number, or all"),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="the last alerts, also those that are closed")
    ] = False,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=0, help="with --history: further back"),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=1, max=MESSAGES_LISTED_MAX, help="with --history: so many"
        ),
    ] = 100,
) -> None:
    """List the alerts that are open, or close them."""
    if close is not None and history:
        raise errors.UsageError(cause=_("--close and --history exclude each other"))
    if history:
        query = {"mandate": mandate, "before": before, "limit": limit, "severity": "alert"}
        output.emit(node().get("messages", **query), _show_messages)
        return
    if close is None:
        output.emit(node().get("alerts", mandate=mandate), _show_alerts)
        return
    if close == "all":
        closed = node().delete("alerts", mandate=mandate)
        output.emit(
            closed,
            lambda said: output.say(
                ngettext("{count} alert is closed", "{count} alerts are closed", said["closed"])
            ),
        )
        return
    if mandate is not None or not close.isascii() or not close.isdigit():
        raise errors.UsageError(cause=_("--close takes the number of one alert, or all"))
    closed = node().delete("alerts", close)
    output.emit(closed, lambda said: output.say(_("alert {id} is closed", id=said["id"])))


@command(
    group,
    "messages",
    example="p2psync messages Acme --limit 20\np2psync messages --type posted --before 400",
)
def messages(
    mandate: OptionalMandate = None,
    types: Types = None,
    severity: Severity = None,
    before: Annotated[
        int | None,
        typer.Option("--before", metavar="ID", min=0, help="further back than this number"),
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, max=MESSAGES_LISTED_MAX, help="so many"),
    ] = 100,
) -> None:
    """Show what was told: messages and alerts, the last ones first."""
    said = node().get(
        "messages",
        mandate=mandate,
        type=types or (),
        severity=_severity(severity),
        before=before,
        limit=limit,
    )
    output.emit(said, _show_messages)


@command(
    group, "expect", example="p2psync expect Acme sales.ecf 7d\np2psync expect Acme sales.ecf never"
)
def expect(
    mandate: Mandate,
    file: Annotated[str, typer.Argument(metavar="FILE", help="the name shown, or a path")],
    every: Annotated[
        str,
        typer.Argument(
            metavar="EVERY", help="how often it promises to be saved: 12h, 7d; or never"
        ),
    ],
) -> None:
    """Be told when a file is not saved for longer than it promised."""
    seconds = 0 if every == NEVER else duration_seconds(every)
    said = node().put(
        "mandates", mandate, "files", file_name(file), "expectation", body={"seconds": seconds}
    )
    output.emit(
        said,
        lambda done: output.say(
            _(
                "{file} is expected every {every}",
                file=done["file"],
                every=duration_words(seconds),
            )
            if done["expect_seconds"]
            else _("{file} promises nothing", file=done["file"])
        ),
    )


def _show_alerts(said: Mapping[str, Any]) -> None:
    if not said["alerts"]:
        output.say(_("no alert is open"))
        return
    output.table(
        (
            output.Column(_("no."), right=True),
            output.Column(_("when")),
            output.Column(_("mandate")),
            output.Column(_("file")),
            output.Column(_("what")),
            output.Column(_("what to do")),
        ),
        (
            (
                alert["id"],
                output.local_time(alert.get("at")),
                alert.get("mandate_name"),
                alert.get("file"),
                alert.get("text"),
                output.action(alert.get("action")),
            )
            for alert in said["alerts"]
        ),
    )


def _show_messages(said: Mapping[str, Any]) -> None:
    if not said["messages"]:
        output.say(_("nothing was told"))
        return
    output.table(
        (
            output.Column(_("no."), right=True),
            output.Column(_("when")),
            output.Column(_("mandate")),
            output.Column(_("what")),
            output.Column(_("state")),
        ),
        (
            (
                event["id"],
                output.local_time(event.get("at")),
                event.get("mandate_name"),
                event.get("text"),
                _alert_state(event),
            )
            for event in said["messages"]
        ),
    )
    if said["more"]:
        output.say(_("more: --before {id}", id=said["messages"][-1]["id"]))


def _alert_state(event: Mapping[str, Any]) -> str:
    if event.get("severity") != "alert":
        return ""
    if event.get("open"):
        return _("open")
    return _("settled") if event.get("closed_by") == "cause" else _("closed")
