"""``p2psync relay``: run a relay, and say which relays this node uses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.options import complete_mandate, node
from p2psync.cli.settings import current
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Run a relay, or say which relays this node uses.")

ForAll = Annotated[
    str | None,
    typer.Option(
        "--mandate",
        metavar="MANDATE",
        help="for all members of this mandate, not for this node alone",
        autocompletion=complete_mandate,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="a TOML file; without it all is as it comes"),
]


@command(group, "run", example="p2psync relay run --config /etc/p2psync/relay.toml")
def run(config: Config = None) -> None:
    """Run a relay for devices in other networks; print its addresses when it is ready."""
    from p2psync.relay import process

    raise typer.Exit(process.run(current().home, config, _show_ready))


@command(group, "status", example="p2psync relay status")
def status() -> None:
    """Show how the relay on this machine is: devices, circuits, what it carried and refused."""
    import httpx

    from p2psync.relay.process import ADDRESS_FILE

    try:
        said = json.loads((current().home / ADDRESS_FILE).read_text("utf-8"))
        answer = httpx.get(f"{said['monitor']}/status", timeout=10, trust_env=False)
        answer.raise_for_status()
    except (OSError, ValueError, KeyError, httpx.HTTPError):
        raise errors.RelayNotRunning(home=current().home) from None
    output.emit(answer.json(), _show_status)


@command(group, "group", example='p2psync relay group "Atelier Exemple" relay.example.ch')
def group_of(
    mandate: Annotated[str, typer.Argument(metavar="MANDATE")],
    relay: Annotated[
        str, typer.Argument(metavar="RELAY", help="its host, its address, or part of its peer ID")
    ],
) -> None:
    """Print what a mandate is called at a relay, for its operator to let its members in by.

    It tells nobody which mandate that is, and is another one at each relay.
    """
    output.emit(node().get("relays", "group", mandate=mandate, relay=relay), _show_group)


@command(
    group,
    "add",
    example="p2psync relay add /dns4/relay.example.ch/tcp/4001/p2p/12D3KooW… --mandate Acme",
)
def add(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="what the operator of the relay gave you")
    ],
    mandate: ForAll = None,
) -> None:
    """Use a relay: others reach this node through it, and tickets that it writes name it.

    With --mandate all members of the mandate use it. A relay that is known gets another address,
    or a new token.
    """
    body = {"address": address} if mandate is None else {"address": address, "mandate": mandate}
    output.emit(node().post("relays", body=body), _show_relay)


@command(group, "list", example="p2psync relay list")
def list_relays() -> None:
    """Show the relays that this node uses, who named each, and how it is."""
    output.emit(node().get("relays"), _show_relays)


@command(group, "remove", example="p2psync relay remove relay.example.ch --mandate Acme")
def remove(
    relay: Annotated[
        str, typer.Argument(metavar="RELAY", help="its host, or either end of its peer ID")
    ],
    mandate: ForAll = None,
) -> None:
    """Use a relay no more, whoever's ticket named it.

    With --mandate no member of the mandate uses it any more but those who added it themselves.
    """
    output.emit(node().delete("relays", relay, mandate=mandate), _show_removed)


def _show_group(said: Mapping[str, Any]) -> None:
    output.say(_("give this to the operator of {peer}, for its TOML file:", peer=said["relay"]))
    output.say("[[group]]")
    output.say('name = "…"')
    output.say(f'group = "{said["group"]}"')


def _show_removed(said: Mapping[str, Any]) -> None:
    peer = said["peer"]
    if said["own"]:
        output.say(_("this node goes on using {peer}: it was added here", peer=peer))
    for name in said["mandates"]:
        output.say(
            _(
                "{mandate} names {peer} for all its members: p2psync relay remove --mandate "
                "{mandate} ends that",
                mandate=name,
                peer=peer,
            )
        )
    if not said["own"] and not said["mandates"]:
        output.say(_("{peer} is used no more", peer=peer))


def _show_ready(said: Mapping[str, Any]) -> None:
    if current().json:
        output.emit(said, lambda _said: None)
        return
    output.say(_("the relay {peer} is ready; give its users this address:", peer=said["peer"]))
    for each in said["addresses"]:
        output.say(f"{each['token']}: {each['address']}" if each["token"] else each["address"])


def _show_status(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("relay"), said["peer"]),
            (_("state"), said["state"]),
            (_("version"), said["version"]),
            (_("running for"), _("{seconds} s", seconds=said["uptime_seconds"])),
            (_("connections"), said["connections"]),
            (_("devices"), said["devices"]),
            (_("expected back"), said["awaited"] or ""),
            (_("mandates"), said["mandates"]),
            (_("circuits"), said["circuits"]),
            (_("certificate until"), output.local_time(said.get("certificate_until"))),
            (_("carried"), _size(said["carried_bytes"])),
            (
                _("refused"),
                ", ".join(f"{what}: {count}" for what, count in sorted(said["refused"].items())),
            ),
        )
    )
    for title, uses in ((_("token"), said["tokens"]), (_("mandate"), said["groups"])):
        if uses:
            output.table(
                (
                    output.Column(title),
                    output.Column(_("devices")),
                    output.Column(_("circuits")),
                    output.Column(_("carried today")),
                ),
                (
                    (each["name"], each["devices"], each["circuits"], _size(each["bytes_today"]))
                    for each in uses
                ),
            )


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 10_000:
            return f"{count} {unit}"
        count //= 1000
    return f"{count} TB"


def _show_relay(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("relay"), said["peer"]),
            (_("address"), said["address"]),
            (_("state"), output.word(said["state"])),
            (_("because"), said.get("cause") or ""),
        )
    )


def _named_by(relay: Mapping[str, Any]) -> str:
    """Who says that a relay is to be used."""
    sources = [_("this node")] if relay["own"] else []
    sources += [_("mandate {mandate}", mandate=name) for name in relay["mandates"]]
    sources += [_("ticket of {mandate}", mandate=name) for name in relay["tickets"]]
    return ", ".join(sources)


def _show_relays(said: Mapping[str, Any]) -> None:
    if not said["relays"]:
        output.say(_("this node uses no relay; p2psync relay add ADDRESS takes one"))
        return
    output.table(
        (
            output.Column(_("relay")),
            output.Column(_("state")),
            output.Column(_("since")),
            output.Column(_("because")),
            output.Column(_("named by")),
        ),
        (
            (
                each["address"],
                output.word(each["state"]),
                output.local_time(each["since"]),
                each.get("cause") or "",
                _named_by(each),
            )
            for each in said["relays"]
        ),
    )
