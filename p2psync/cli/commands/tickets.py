"""``p2psync invite`` and ``p2psync subscribe``: how another device comes in."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync import errors, limits
from p2psync.cli import output
from p2psync.cli.client import NodeError
from p2psync.cli.commands.files import check_kind
from p2psync.cli.inputs import (
    absolute,
    ask_passphrase,
    check_writable,
    duration_seconds,
    read_passphrase,
    read_ticket,
    write_secret,
)
from p2psync.cli.options import Mandate, PassphraseFile, node
from p2psync.cli.output import Column, local_time, short, word
from p2psync.cli.progress import shown_progress
from p2psync.cli.settings import current
from p2psync.cli.tree import GroupWithDefault, command, new_group
from p2psync.i18n import _

invite_group = new_group(
    cls=GroupWithDefault,
    help="Make, list and revoke tickets. A ticket lets another device subscribe to a mandate.",
    epilog=(
        "p2psync invite Acme -o acme.crsync\n"
        "p2psync invite list Acme\n"
        "p2psync invite revoke Acme 3f9a"
    ),
    subcommand_metavar="MANDATE -o TICKET.crsync | list MANDATE | revoke MANDATE INVITATION",
)
group = new_group()

ROLES = ("owner", "accounting", "writer", "reader", "relay")


@command(
    invite_group,
    "create",
    example="p2psync invite Acme -o acme.crsync --role reader --expires 7d",
)
def create(
    mandate: Mandate,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="TICKET.crsync", help="write the ticket here")
    ],
    role: Annotated[
        str,
        typer.Option("--role", metavar="ROLE", help="owner, accounting, writer, reader or relay"),
    ] = "writer",
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="DURATION", help="valid so long: 30m, 12h, 14d, 2w"),
    ] = "14d",
    uses: Annotated[
        int,
        typer.Option(
            "--uses",
            metavar="N",
            min=1,
            max=limits.INVITATION_USES_MAX,
            help="how many devices may use it",
        ),
    ] = 1,
    passphrase_file: PassphraseFile = None,
    unsealed: Annotated[
        bool,
        typer.Option(
            "--unsealed", help="no passphrase: hand it over on a physical medium, never by mail"
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite an existing file")] = False,
) -> None:
    """Make a ticket (the same as p2psync invite MANDATE)."""
    if unsealed and passphrase_file is not None:
        raise errors.UsageError(cause=_("--unsealed and --passphrase-file exclude each other"))
    if role not in ROLES:
        raise errors.UsageError(
            cause=_("{role} is no role: write {roles}", role=role, roles=", ".join(ROLES))
        )
    path = absolute(out)
    body = {
        "role": role,
        "expires_seconds": duration_seconds(expires),
        "uses": uses,
        "passphrase": read_passphrase(passphrase_file),
        "unsealed": unsealed,
    }
    check_writable(path, force=force)
    made = node().post("mandates", mandate, "invitations", body=body)
    write_secret(path, made["ticket"], force=force)
    output.emit({**made, "ticket": path}, lambda said: _show_made(said, unsealed))


@command(invite_group, "list", example="p2psync invite list Acme")
def list_all(mandate: Mandate) -> None:
    """List the tickets of a mandate."""
    output.emit(node().get("mandates", mandate, "invitations"), _show_list)


@command(invite_group, "revoke", example="p2psync invite revoke Acme 3f9a")
def revoke(
    mandate: Mandate,
    invitation: Annotated[
        str, typer.Argument(metavar="INVITATION", help="the beginning of the invitation's id")
    ],
) -> None:
    """Take a ticket back: nobody else can use it."""
    said = node().delete("mandates", mandate, "invitations", invitation)
    output.emit(
        said, lambda done: output.say(_("invitation {id} is revoked", id=short(done["id"])))
    )


@command(
    group, "subscribe", example="p2psync subscribe acme.crsync --attach sales.ecf --kind invoicing"
)
def subscribe(
    ticket: Annotated[
        str,
        typer.Argument(metavar="TICKET.crsync", help="the ticket file (-: standard input)"),
    ],
    passphrase_file: PassphraseFile = None,
    attach: Annotated[
        str | None, typer.Option("--attach", metavar="FILE", help="attach this file at once")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help="accounting, invoicing, payroll or other"),
    ] = None,
) -> None:
    """Subscribe to the mandate of a ticket."""
    if (attach is None) != (kind is None):
        raise errors.UsageError(cause=_("--attach and --kind go together"))
    if kind is not None:
        check_kind(kind)
    if ticket == "-" == passphrase_file:
        raise errors.UsageError(
            cause=_("the ticket and the passphrase cannot both be standard input")
        )
    body = {
        "ticket": read_ticket(ticket, limits.TICKET_BYTES_MAX),
        "passphrase": read_passphrase(passphrase_file),
        "attach": absolute(attach) if attach else None,
        "kind": kind,
    }
    output.emit(_redeem(body), _show_subscribed)


def _redeem(body: dict[str, Any]) -> dict[str, Any]:
    client = node()
    try:
        with shown_progress(_("subscribing")):
            return client.post("subscriptions", body=body)
    except NodeError as error:
        if error.node_code != errors.TicketPassphraseNeeded.code or current().json:
            raise
        passphrase = ask_passphrase(_("the ticket's passphrase"))
        if passphrase is None:
            raise
    with shown_progress(_("subscribing")):
        return client.post("subscriptions", body={**body, "passphrase": passphrase})


def _show_made(said: Mapping[str, Any], unsealed: bool) -> None:
    output.say(
        _(
            "the ticket is {path}, valid until {expires}",
            path=said["ticket"],
            expires=local_time(said["expires"]),
        )
    )
    if said.get("passphrase"):
        output.say(_("its passphrase, shown only now: {words}", words=said["passphrase"]))
        output.say(_("tell it by another way than the one the ticket takes"))
    if unsealed:
        output.say(_("it is not sealed: hand it over on a physical medium, never by mail"))


def _show_list(said: Mapping[str, Any]) -> None:
    if not said["invitations"]:
        output.say(_("there is no invitation"))
        return
    output.table(
        (
            Column(_("invitation")),
            Column(_("role")),
            Column(_("valid until")),
            Column(_("used"), right=True),
            Column(_("state")),
        ),
        (
            (
                short(invitation["id"]),
                word(invitation["role"]),
                local_time(invitation["expires"]),
                f"{invitation['used']}/{invitation['uses']}",
                word(invitation["state"]),
            )
            for invitation in said["invitations"]
        ),
    )


def _show_subscribed(said: Mapping[str, Any]) -> None:
    output.say(_("subscribed to {name} ({id})", name=said["name"], id=short(said["id"])))
    output.say(_("its folder is {folder}", folder=said["folder"]))
    if said.get("state") not in (None, "ok"):
        output.say(_("its state: {state}", state=word(said["state"])))
    if said.get("attach") == "later":
        output.say(_("the file is attached as soon as a member lets this device in"))
