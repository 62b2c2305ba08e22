"""``p2psync seat``: which device posts, and handing that over."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.options import Mandate, node
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Show which device posts, or hand that over.")


@command(group, "show", example="p2psync seat show Acme")
def show(mandate: Mandate) -> None:
    """Show which device has the accounting seat. Only that one posts."""
    output.emit(node().get("mandates", mandate, "seat"), _show)


@command(group, "hand", example="p2psync seat hand Acme Bruno")
def hand(
    mandate: Mandate,
    device: Annotated[
        str,
        typer.Argument(
            metavar="DEVICE", help="a person's or machine's name, or the beginning of a device's id"
        ),
    ],
) -> None:
    """Hand the accounting seat over. To who has it already: settles a contested seat."""
    output.emit(node().put("mandates", mandate, "seat", body={"device": device}), _show)


def _named(device: Mapping[str, Any]) -> str:
    return f"{device['name']} ({device['machine']}, {output.short(device['device'])})"


def _show(said: Mapping[str, Any]) -> None:
    if said["seat"] is None:
        output.say(_("no device has the accounting seat: no accounting is attached"))
        return
    output.facts(
        (
            (_("seat"), _named(said["seat"])),
            (_("contested"), ", ".join(map(_named, said["contested"]))),
            (_("may get it"), ", ".join(map(_named, said["heirs"]))),
        )
    )
    if said["contested"]:
        output.say(
            _(
                "two devices attached an accounting: settle it with p2psync seat hand {mandate} "
                "DEVICE",
                mandate=said["mandate"],
            )
        )
