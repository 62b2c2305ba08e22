"""``p2psync identity``: who I am."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.client import NodeError
from p2psync.cli.inputs import ask_passphrase, read_passphrase
from p2psync.cli.options import PassphraseFile, node
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Show, name, lock and unlock this device's identity.")


@command(group, "show", example="p2psync identity show")
def show() -> None:
    """Show this device's name, key and key phrase."""
    output.emit(node().get("identity"), _show)


@command(group, "set", example='p2psync identity set --name "Ada Keller"')
def set_name(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="the name others see")],
) -> None:
    """Set the name that the other members see."""
    output.emit(node().put("identity", body={"name": name}), _show)


@command(group, "lock", example="p2psync identity lock --passphrase-file FILE")
def lock(passphrase_file: PassphraseFile = None) -> None:
    """Lock the key; the first time, choose the passphrase that protects it."""
    client = node()
    passphrase = read_passphrase(passphrase_file)
    try:
        said = client.post("identity", "lock", body={"passphrase": passphrase})
    except NodeError as error:
        if error.node_code != errors.IdentityUnprotected.code:
            raise
        passphrase = ask_passphrase(_("new passphrase"), twice=True)
        if passphrase is None:
            raise
        said = client.post("identity", "lock", body={"passphrase": passphrase})
    output.emit(said, _show)


@command(group, "unlock", example="p2psync identity unlock")
def unlock(passphrase_file: PassphraseFile = None) -> None:
    """Unlock the key, so that shared mandates sync."""
    client = node()
    passphrase = read_passphrase(passphrase_file) or ask_passphrase(_("passphrase"))
    if passphrase is None:
        raise errors.UsageError(cause=_("no passphrase: give it with --passphrase-file FILE"))
    output.emit(client.post("identity", "unlock", body={"passphrase": passphrase}), _show)


def _show(said: Mapping[str, Any]) -> None:
    output.facts(
        (
            (_("name"), said.get("name")),
            (_("machine"), said.get("machine")),
            (_("device"), said.get("device")),
            (_("key phrase"), said.get("phrase")),
            (_("protected by a passphrase"), output.yes(said.get("protected"))),
            (_("locked"), output.yes(said.get("locked"))),
        )
    )
