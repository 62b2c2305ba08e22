"""``p2psync retention``: how long this device keeps the content of old versions."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.inputs import ask_yes, duration_seconds, size_bytes
from p2psync.cli.options import node
from p2psync.cli.output import Column
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="How long this device keeps the content of old versions.")

One = Annotated[
    str | None,
    typer.Argument(metavar="[MANDATE]", help="none: all mandates without a policy of their own"),
]
DAY_SECONDS = 24 * 3600


@command(group, "show", example="p2psync retention show Acme")
def show(mandate: One = None) -> None:
    """Show what is kept. Of a mandate also what would go now, and how much space that is."""
    output.emit(node().get(*_path(mandate)), _show)


@command(group, "set", example="p2psync retention set Acme --keep 365d --then month --dry-run")
def set_policy(
    mandate: One = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="TIME", help="all for so long after they were replaced"),
    ] = None,
    then: Annotated[
        str | None,
        typer.Option(
            "--then", metavar="WORD", help="after that the last of each day, week, month; nothing"
        ),
    ] = None,
    free: Annotated[
        str | None,
        typer.Option("--free", metavar="SIZE", help="let the oldest go while less is free: 5GB"),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="take the policy away: all is kept, or what holds")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would go and change nothing")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Set what is kept on this device. Records and receipts are kept for ever, whatever is set.

    What was posted from, and each file's last version, never go. At a terminal it says what will
    go and asks.
    """
    policy = _policy(keep, then, free, default=default)
    client = node()
    asks = not (yes or dry_run or current().json) and sys.stdin.isatty() and sys.stdout.isatty()
    if dry_run or asks:
        planned = client.put(*_path(mandate), body={"policy": policy, "dry_run": True})
        output.emit(planned, _show_plan)
        if dry_run or (planned["would_drop"]["versions"] and not ask_yes(_("go on?"))):
            return
    output.emit(client.put(*_path(mandate), body={"policy": policy}), _show_done)


def _path(mandate: str | None) -> tuple[str, ...]:
    return ("retention",) if mandate is None else ("mandates", mandate, "retention")


def _policy(
    keep: str | None, then: str | None, free: str | None, *, default: bool
) -> dict[str, Any] | None:
    given = [each for each in (keep, then, free) if each is not None]
    if default == bool(given):
        raise errors.UsageError(cause=_("give --keep or --free, or --default alone"))
    if default:
        return None
    if keep is None and free is None:
        raise errors.UsageError(cause=_("--then goes with --keep"))
    policy: dict[str, Any] = {}
    if keep is not None and keep != "all":
        policy["keep_days"] = -(-duration_seconds(keep) // DAY_SECONDS)
    if then is not None:
        policy["then"] = then
    if free is not None:
        policy["min_free_bytes"] = size_bytes(free)
    return policy


def _show(said: Mapping[str, Any]) -> None:
    output.say(_words(said["policy"]))
    if said["mandate"] is None:
        for each in said["mandates"]:
            output.say(f"{each['mandate']}: {_words(each['policy'])}")
        return
    held = said["held"]
    output.say(
        _(
            "{count} contents of old versions are kept here: {size}",
            count=held["versions"],
            size=output.size(held["bytes"]),
        )
    )
    _show_dropping(said["would_drop"])


def _show_plan(said: Mapping[str, Any]) -> None:
    output.say(_words(said["policy"]))
    _show_dropping(said["would_drop"])


def _show_dropping(plan: Mapping[str, Any]) -> None:
    if not plan["versions"]:
        output.say(_("nothing would go now"))
        return
    output.say(
        _(
            "{count} of them would go now: {size}",
            count=plan["versions"],
            size=output.size(plan["bytes"]),
        )
    )
    output.table(
        (Column(_("file")), Column(_("versions"), right=True), Column(_("bytes"), right=True)),
        ((each["file"], each["versions"], each["bytes"]) for each in plan["files"]),
    )


def _show_done(said: Mapping[str, Any]) -> None:
    output.say(_words(said["policy"]))
    dropped = said["dropped"]
    if dropped["versions"]:
        output.say(
            _(
                "the contents of {count} old versions went: {size}",
                count=dropped["versions"],
                size=output.size(dropped["bytes"]),
            )
        )


def _words(policy: Mapping[str, Any]) -> str:
    days, free = policy["keep_days"], policy["min_free_bytes"]
    if days is None:
        text = _("the content of every version is kept")
    else:
        text = {
            "nothing": _("old versions are kept for {days} days", days=days),
            "day": _("old versions are kept for {days} days, then the last of each day", days=days),
            "week": _(
                "old versions are kept for {days} days, then the last of each week", days=days
            ),
            "month": _(
                "old versions are kept for {days} days, then the last of each month", days=days
            ),
        }[policy["then"]]
    if free:
        return _(
            "{policy}; the oldest go while less than {size} is free",
            policy=text,
            size=output.size(free),
        )
    return text
