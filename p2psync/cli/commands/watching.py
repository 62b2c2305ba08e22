"""``p2psync wait`` and ``p2psync watch``: what happens over time."""

import time
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.options import Mandate, OptionalMandate, node
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group()

RECONNECT_SECONDS = 0.5


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


@command(group, "watch", example="p2psync watch Acme\np2psync --json watch --since 0")
def watch(
    mandate: OptionalMandate = None,
    since: Annotated[
        int | None,
        typer.Option("--since", metavar="ID", min=0, help="first, all events after this number"),
    ] = None,
) -> None:
    """Print events as they come. One a line, until Ctrl-C."""
    last = since
    while True:
        # Each turn is a new connection; it ends here with an error when the node is gone.
        for event in node().events(mandate, last):
            if event.get("type") == "progress" or "id" not in event:
                continue
            last = int(event["id"])
            if current().json:
                output.print_json(event)
            else:
                output.say(_line(event))
        time.sleep(RECONNECT_SECONDS)


def _line(event: dict[str, Any]) -> str:
    mark = "!" if event.get("severity") == "alert" else " "
    parts = [output.local_time(event.get("at")), mark, str(event.get("text"))]
    if event.get("action"):
        parts.append(f"[{output.action(event['action'])}]")
    return " ".join(parts)
