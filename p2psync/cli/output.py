"""Prints results: one JSON object for programs; sentences and tables for people."""

import datetime
import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2psync.cli.settings import current
from p2psync.i18n import _, language, translate


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its heading, and whether it holds numbers."""

    heading: str
    right: bool = False


def emit(result: Mapping[str, Any], show: Callable[[Mapping[str, Any]], None]) -> None:
    """Print a result as JSON, or let ``show`` print it for people."""
    if current().json:
        print_json(result)
    else:
        show(result)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of standard output."""
    _write(json.dumps(value, ensure_ascii=False))


def say(text: str) -> None:
    """Print a line for people."""
    _write(safe(text))


def say_error(text: str) -> None:
    """Print a line on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def safe(text: str) -> str:
    """Return the text without control characters: names and texts come from other machines."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf") else c for c in text
    )


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: fitted to a terminal, else as wide as it needs, nothing ever cut."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
        return
    lines = [[column.heading for column in columns], *cells]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (
            _pad(cell, width, column.right)
            for cell, width, column in zip(line, widths, columns, strict=True)
        )
        _write("  ".join(padded).rstrip())


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print labels and values, one pair a line; pairs without a value are left out."""
    shown = [(label, safe(str(value))) for label, value in pairs if value not in (None, "")]
    width = max((_width(label) for label, _value in shown), default=0)
    for label, value in shown:
        _write(f"{_pad(label, width, False)}  {value}")


def local_time(iso: object) -> str:
    """Return an ISO time as local time to the minute; anything else as it is."""
    if not iso:
        return ""
    try:
        at = datetime.datetime.fromisoformat(str(iso))
    except ValueError:
        return str(iso)
    return at.astimezone().strftime("%Y-%m-%d %H:%M")


def size(bytes_: int) -> str:
    """Return a number of bytes as people write it: 512 bytes, 4.2 MB."""
    value, unit = float(bytes_), ""
    for unit in ("", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit else _("{count} bytes", count=bytes_)


def counts(pending: object) -> str:
    """Return ``+3 -1`` for pending counts, nothing when there is nothing."""
    if not isinstance(pending, Mapping):
        return ""
    added, deleted = pending.get("added", 0), pending.get("deleted", 0)
    return f"+{added} -{deleted}" if added or deleted else ""


def amounts(said: Mapping[str, Any]) -> str:
    """Return the sums of each currency: ``12.50 CHF, 3.00 EUR``."""
    told = []
    for currency, each in said["amounts"].items():
        amount = each["amount"] if isinstance(each, Mapping) else each
        told.append(f"{amount} {currency}".rstrip())
    return ", ".join(told) or str(said["amount"])


def short(identifier: object) -> str:
    """Return the beginning of an id, enough to name it on a terminal; whole when piped."""
    text = "" if identifier is None else str(identifier)
    return text[:12] if sys.stdout.isatty() else text


def reached(how: object) -> str:
    """Return by which way a member is reached; empty for one that is not."""
    match how:
        case {"how": "lan"}:
            return _("on the LAN")
        case {"how": "direct"}:
            return _("directly")
        case {"how": "punched"}:
            return _("directly, through both routers")
        case {"how": "relayed", "relay": relay}:
            return _("through {relay}", relay=relay)
        case _:
            return ""


def pace(said: object) -> str:
    """Return how far a member is and what crosses the link to it; empty where nobody knows."""
    if not isinstance(said, Mapping):
        return ""
    parts = []
    if said.get("rtt_ms") is not None:
        parts.append(_("{count} ms", count=said["rtt_ms"]))
    for mark, name in (("↑", "up_bytes_per_second"), ("↓", "down_bytes_per_second")):
        if said.get(name):
            parts.append(f"{mark} {_size(said[name])}/s")
    return " ".join(parts)


def _size(count: int) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 10_000:
            return f"{count} {unit}"
        count //= 1000
    return f"{count} GB"


def word(value: object) -> str:
    """Return one of the words that the API uses, in the reader's language."""
    words = {
        "local": _("local"),
        "shared": _("shared"),
        "ok": _("ok"),
        "offline": _("offline"),
        "closed": _("closed for everyone"),
        "removed": _("removed"),
        "left": _("left"),
        "removed-by-others": _("removed by others"),
        "generated": _("generated"),
        "delivered": _("delivered"),
        "posted": _("posted"),
        "retracted": _("retracted"),
        "contested": _("contested"),
        "confirmed": _("confirmed"),
        "owner": _("owner"),
        "accounting": _("accounting"),
        "writer": _("writer"),
        "reader": _("reader"),
        "relay": _("relay"),
        "connecting": _("connecting"),
        "reserved": _("in use"),
        "unreachable": _("not reachable"),
        "running": _("running"),
        "stopping": _("stopping"),
        "invoicing": _("invoicing"),
        "payroll": _("payroll"),
        "other": _("other"),
        "added": _("added"),
        "deleted": _("deleted"),
        "revoked": _("revoked"),
        "expired": _("expired"),
        "open": _("open"),
        "used-up": _("used up"),
        "waiting": _("waiting"),
        "locked": _("locked"),
        "missing": _("missing"),
        "syncing": _("syncing"),
        "cannot-write": _("cannot be written"),
        "cannot-read": _("cannot be read"),
        "conflict": _("changed on two sides"),
        "incoming": _("on its way"),
        "refused": _("refused"),
        "read-only": _("read-only"),
        "held": _("held back"),
        "refused-program": _("program refused"),
        "newer-version": _("newer p2psync"),
        "other-protocol": _("another p2psync"),
        "valid": _("valid"),
        "trial": _("trial version"),
        "no-updates": _("no right to updates"),
        "unknown": _("unknown"),
        "new": _("new"),
        "failing": _("failing"),
        "off": _("off"),
        "unused": _("not needed until now"),
        "works": _("works"),
        "password-refused": _("password refused"),
        "option": _("the command line"),
        "setting": _("this node's setting"),
        "environment": _("the environment"),
        "on": _("on"),
    }
    text = "" if value is None else str(value)
    return words.get(text, text)


class Red(str):
    """A cell that stands out on a terminal."""


GOOD_STATES = ("ok", "syncing", "incoming")


def red(text: str) -> str:
    """Return a text that a table on a terminal shows in red."""
    return Red(text)


def state(value: object) -> str:
    """Return the word for a state, red on a terminal when a person has to do something."""
    text = word(value)
    return text if not value or value in GOOD_STATES else Red(text)


def action(value: object) -> str:
    """Return what a person should do, for one of the actions that the API names."""
    actions = {
        "post": _("post"),
        "unpost": _("unpost one receipt"),
        "retry": _("retry"),
        "remove": _("remove it from your list"),
        "ask-senior": _("ask who removed it to let it in again"),
        "reopen": _("reopen it with p2psync mandate close --undo"),
        "undo": _("undo it within 30 days"),
        "detach": _("detach it again"),
        "restore": _("restore a version"),
        "restore-link": _("restore the link"),
        "confirm": _("confirm the save"),
        "sign-in": _("sign in"),
        "new-ticket": _("ask for a new ticket"),
        "mend-disk": _("free space or mend the disk"),
        "wait": _("wait until a member is on line"),
        "connect": _("see that another device is on line"),
        "update-program": _("see p2psync program list"),
        "attach-suggested": _("see p2psync suggestion list"),
        "ask-source": _("ask why it is late"),
        "attach": _("attach it again"),
        "check-devices": _("see which machine it is"),
        "check-relay": _("see p2psync relay list"),
        "check-file": _("see where the file is now"),
        "check-proxy": _("see p2psync network proxy show"),
        "check-hook": _("see p2psync hook list"),
        "discard": _("delete the changed copy"),
        "restore-backup": _("restore a backup of the home"),
        "set-clock": _("set the clock right"),
        "settle-seat": _("settle who has the seat"),
        "update": _("bring p2psync up to date"),
    }
    text = "" if value is None else str(value)
    return actions.get(text) or translate(text, language())


def yes(value: object) -> str:
    """Return yes or no."""
    return _("yes") if value else _("no")


def end_with_reader() -> None:
    """Have the process end once nobody reads its standard output, when that is a pipe.

    A write would tell, but who waits for events may not write for days.
    """
    import os
    import select
    import stat
    import threading

    try:
        pipe = sys.stdout.fileno()
    except (AttributeError, OSError):
        return
    if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(pipe).st_mode):
        return
    waiting = select.poll()
    waiting.register(pipe, 0)

    def wait() -> None:
        waiting.poll()
        # Every line was written out when it was printed, and nobody is left to read another.
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def _print_rich(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(
            column.heading, justify="right" if column.right else "left", overflow="fold"
        )
    for row in cells:
        shown.add_row(*(Text(cell, "red" if isinstance(cell, Red) else "") for cell in row))
    Console(highlight=False).print(shown)


def _cell(value: object) -> str:
    text = safe("" if value is None else str(value))
    return Red(text) if isinstance(value, Red) else text


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _write(line: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()
