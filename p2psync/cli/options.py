"""Arguments and options that several commands share."""

from typing import Annotated, Any

import typer

from p2psync.cli.client import Client
from p2psync.cli.settings import current


def complete_mandate(incomplete: str) -> list[str]:
    """Return the mandates' names that begin so; nothing when the node cannot say."""
    from p2psync.cli.settings import Settings, default_home

    try:
        settings = Settings(default_home(), json=True, language="en")
        names: list[Any] = [
            mandate["name"] for mandate in Client(settings).get("mandates")["mandates"]
        ]
    except Exception:
        # Completion runs inside the user's shell: silence is the only fitting answer.
        return []
    return [str(name) for name in names if str(name).startswith(incomplete)]


Mandate = Annotated[
    str,
    typer.Argument(
        metavar="MANDATE",
        help="the mandate's name, or the beginning of its id",
        autocompletion=complete_mandate,
    ),
]
OptionalMandate = Annotated[
    str | None,
    typer.Argument(
        metavar="[MANDATE]",
        help="the mandate's name, or the beginning of its id; none: all mandates",
        autocompletion=complete_mandate,
    ),
]
PassphraseFile = Annotated[
    str | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="take the passphrase from the first line of FILE (-: standard input)",
    ),
]
KINDS = ("accounting", "invoicing", "payroll", "other")


def node() -> Client:
    """Return the running node's API; raises ``NodeNotRunning``."""
    return Client(current())
