"""``p2psync network``: how this node gets out of its network."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from p2psync import errors
from p2psync.cli import inputs, output
from p2psync.cli.options import node
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _

group = new_group(help="Say how this node gets out of its network.")
proxy_group = new_group(help="The HTTP proxy that calls to relays go through.")
group.add_typer(proxy_group, name="proxy")

PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="take the password from the first line of FILE (-: standard input)",
    ),
]


@command(
    proxy_group, "set", example="p2psync network proxy set http://office@proxy.example.ch:8080"
)
def set_proxy(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="http://USER@HOST:PORT, or none to use no proxy")
    ],
    password_file: PasswordFile = None,
) -> None:
    """Call relays through an HTTP proxy; its password is asked for, and kept in the home."""
    user, password = check_no_password(url), inputs.read_passphrase(password_file)
    if user and password is None:
        password = inputs.ask_passphrase(_("the password of {user} at the proxy", user=user))
    body = {"url": url} if password is None else {"url": url, "password": password}
    output.emit(node().put("network", "proxy", body=body), _show)


@command(proxy_group, "show", example="p2psync network proxy show")
def show() -> None:
    """Show which proxy is used, and how it does; never the password."""
    output.emit(node().get("network", "proxy"), _show)


@command(proxy_group, "clear", example="p2psync network proxy clear")
def clear() -> None:
    """Forget the proxy and its password; one that the environment names counts again."""
    output.emit(node().delete("network", "proxy"), _show)


def check_no_password(url: str) -> str:
    """Return the user in a URL; raises ``ProxyPasswordShown`` if a password stands beside it."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
    except ValueError:
        return ""  # The node says what is wrong with it.
    if parts.password is not None:
        raise errors.ProxyPasswordShown
    return parts.username or ""


def _show(said: Mapping[str, Any]) -> None:
    if not said["proxy"]:
        output.say(_("no proxy is used"))
        return
    output.facts(
        (
            (_("proxy"), said["proxy"]),
            (_("named by"), output.word(said["source"])),
            (_("password"), _("kept") if said["password"] else ""),
            (_("not for"), ", ".join(said["exempt"])),
            (_("state"), output.word(said["state"])),
            (_("since"), output.local_time(said["since"])),
            (_("because"), said.get("cause") or ""),
        )
    )
