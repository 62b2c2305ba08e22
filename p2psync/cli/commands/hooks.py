"""``p2psync hook`` and ``p2psync notify``: who else is told of events."""

import os
import shlex
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.inputs import file_name, read_passphrase
from p2psync.cli.options import OptionalMandate, node
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Tell programs of events: run a command, or call a URL.")
notify_group = new_group(help="Show events on the desktop.")

HookId = Annotated[int, typer.Argument(metavar="ID", min=0, help="the hook's number")]


@command(
    group,
    "add",
    example="p2psync hook add Acme --event records-waiting --command '/usr/local/bin/ring --loud'\n"
    "p2psync hook add --event alerts --url https://example.org/p2psync --secret-file secret.txt",
)
def add(
    mandate: OptionalMandate = None,
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="TYPE",
            help="a type of event, or alerts, messages, all; may be repeated",
        ),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            "--command",
            metavar="LINE",
            help="a program and its arguments; no shell reads them, the event comes as JSON on "
            "standard input",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="an address that takes the event")
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option(
            "--secret-file",
            metavar="FILE",
            help="the secret that signs what is sent (-: standard input); else one is made",
        ),
    ] = None,
    allow_http: Annotated[
        bool,
        typer.Option("--allow-http", help="call another machine without encryption"),
    ] = False,
) -> None:
    """Add a hook: a command to run or a URL to call for some events."""
    if not events:
        raise errors.UsageError(cause=_("say which events with --event; all stands for all"))
    if (line is None) == (url is None):
        raise errors.UsageError(cause=_("give --command or --url"))
    if url is None and (secret_file is not None or allow_http):
        raise errors.UsageError(cause=_("--secret-file and --allow-http belong to --url"))
    body: dict[str, Any] = {
        "mandate": mandate,
        "events": list(events),
        "command": None if line is None else _words(line),
        "url": url,
        "secret": read_passphrase(secret_file),
        "allow_http": allow_http,
    }
    output.emit(node().post("hooks", body=body), _show_added)


def _words(line: str) -> list[str]:
    """Split a line as a POSIX shell would, but run nothing; paths of Windows keep their strokes."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=False)
    reader.whitespace_split = True
    reader.commenters = ""
    if os.name == "nt":
        reader.escape = ""
    try:
        words = list(reader)
    except ValueError as error:
        raise errors.UsageError(cause=_("--command: {cause}", cause=error)) from None
    if not words:
        raise errors.UsageError(cause=_("--command: {cause}", cause=_("it names no program")))
    # A path is of the folder of who types it, which is not the node's; a bare name is looked up.
    return [file_name(os.path.expanduser(words[0])), *words[1:]]


def _show_added(said: Mapping[str, Any]) -> None:
    output.say(_("hook {id} is added; try it: p2psync hook test {id}", id=said["id"]))
    if said.get("secret"):
        output.say(_("its secret, shown this once: {secret}", secret=said["secret"]))


@command(group, "list", example="p2psync hook list")
def list_hooks() -> None:
    """List the hooks, and how each fares."""
    output.emit(node().get("hooks"), _show_hooks)


def _show_hooks(said: Mapping[str, Any]) -> None:
    if not said["hooks"]:
        output.say(_("there is no hook"))
        return
    output.table(
        (
            output.Column(_("no."), right=True),
            output.Column(_("mandate")),
            output.Column(_("events")),
            output.Column(_("calls")),
            output.Column(_("state")),
            output.Column(_("waiting"), right=True),
            output.Column(_("last call")),
        ),
        (
            (
                hook["id"],
                hook.get("mandate_name") or output.short(hook.get("mandate")) or _("all"),
                ", ".join(hook["events"]),
                hook.get("url") or shlex.join(hook.get("command") or ()),
                output.word(hook["state"]),
                hook["waiting"] or "",
                _last(hook.get("last")),
            )
            for hook in said["hooks"]
        ),
    )


def _last(last: Mapping[str, Any] | None) -> str:
    return "" if last is None else f"{output.local_time(last['at'])} {last['text']}"


@command(group, "remove", example="p2psync hook remove 3")
def remove(hook: HookId) -> None:
    """Remove a hook. What waits for it is not told any more."""
    output.emit(
        node().delete("hooks", str(hook)),
        lambda said: output.say(_("hook {id} is removed", id=said["id"])),
    )


@command(group, "test", example="p2psync hook test 3")
def test(hook: HookId) -> None:
    """Call a hook now with an event of the type hook-test, and show how it ends."""
    output.emit(
        node().post("hooks", str(hook), "test"),
        lambda said: output.say(_("hook {id}: {text}", id=said["id"], text=said["text"])),
    )


@command(notify_group, "on", example="p2psync notify on")
def notify_on() -> None:
    """Show alerts and what waits on the desktop, and show one now."""
    output.emit(node().put("desktop", body={"desktop": True}), _show_desktop)


@command(notify_group, "off", example="p2psync notify off")
def notify_off() -> None:
    """Show nothing on the desktop."""
    output.emit(node().put("desktop", body={"desktop": False}), _show_desktop)


@command(notify_group, "status", example="p2psync notify status")
def notify_status() -> None:
    """Tell whether events are shown on the desktop, and if not, why."""
    output.emit(node().get("desktop"), _show_desktop)


def _show_desktop(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("desktop notifications"), output.word(said["desktop"])),
            (_("cause"), said.get("cause")),
        )
    )
