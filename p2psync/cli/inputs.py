"""Reads what people type: durations, paths, passphrases, tickets."""

import os
import re
import sys
from pathlib import Path

from p2psync import errors
from p2psync.i18n import _, ngettext
from p2psync.limits import KIB

PASSPHRASE_FILE_BYTES_MAX = 64 * KIB

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def duration_seconds(text: str) -> int:
    """Return the seconds of ``90s``, ``30m``, ``12h``, ``14d`` or ``2w``; raises ``UsageError``."""
    parts = re.fullmatch(r"([0-9]{1,9})([smhdw])", text.strip().lower())
    if parts is None or int(parts[1]) == 0:
        raise errors.UsageError(
            cause=_("{text} is no duration: write 30m, 12h, 14d or 2w", text=text)
        )
    return int(parts[1]) * _SECONDS[parts[2]]


def size_bytes(text: str) -> int:
    """Return the bytes of ``500MB``, ``5GB`` or ``2TB``; raises ``UsageError``."""
    parts = re.fullmatch(r"([0-9]{1,9})\s*([kmgt]?)b?", text.strip().lower())
    if parts is None:
        raise errors.UsageError(cause=_("{text} is no size: write 500MB or 5GB", text=text))
    factor: int = 1000 ** "_kmgt".index(parts[2] or "_")
    return int(parts[1]) * factor


def duration_words(seconds: int) -> str:
    """Return a duration in words, in the largest unit that is whole."""
    if seconds % _SECONDS["d"] == 0:
        return ngettext("{count} day", "{count} days", seconds // _SECONDS["d"])
    if seconds % _SECONDS["h"] == 0:
        return ngettext("{count} hour", "{count} hours", seconds // _SECONDS["h"])
    if seconds % _SECONDS["m"] == 0:
        return ngettext("{count} minute", "{count} minutes", seconds // _SECONDS["m"])
    return ngettext("{count} second", "{count} seconds", seconds)


def absolute(path: str) -> str:
    """Return a path of the user's folder as an absolute one; links in it stay."""
    return os.path.abspath(os.path.expanduser(path))


def file_name(text: str) -> str:
    """Return a FILE for the node: a path (it has a separator) absolute, a shown name as it is."""
    separators = {os.sep, os.altsep or os.sep}
    return absolute(text) if any(separator in text for separator in separators) else text


def read_passphrase(path: str | None) -> str | None:
    """Return the first line with text of a file (``-``: standard input); None without a file."""
    if path is None:
        return None
    content = _read(path, PASSPHRASE_FILE_BYTES_MAX).decode("utf-8-sig", "replace")
    for line in content.splitlines():
        if line.strip():
            return line.strip()
    raise errors.InputUnreadable(path=path, cause=_("it is empty"))


def ask_passphrase(text: str, *, twice: bool = False) -> str | None:
    """Ask at the terminal without echo; None when nobody sits there."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    import getpass

    while True:
        passphrase = getpass.getpass(_question(text)).strip()
        if not twice or passphrase == getpass.getpass(_question(_("once more"))).strip():
            return passphrase or None
        sys.stderr.write(_("the two differ; try again") + "\n")


def _question(text: str) -> str:
    return _("{text}: ", text=text)


def ask_yes(text: str) -> bool:
    """Ask at the terminal; what is not yes, in the reader's language or English, is no."""
    yes, no = _("yes"), _("no")
    sys.stderr.write(_question(f"{text} [{yes[0]}/{no[0].upper()}]"))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {yes, yes[0], "yes", "y"}


def read_ticket(path: str, limit_bytes: int) -> str:
    """Return the text of a ticket file (``-``: standard input); raises ``TicketError``."""
    content = _read(path, limit_bytes + 1)
    if len(content) > limit_bytes:
        size: object = "-" if path == "-" else Path(path).stat().st_size
        raise errors.TicketTooLarge(size_bytes=size, limit_bytes=limit_bytes)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise errors.TicketError(cause=_("it is not text")) from None


def write_secret(path: str, text: str, *, force: bool) -> None:
    """Write a file that only its owner may read; an existing one only with ``force``.

    Raises ``TicketFileExists`` or ``OutputUnwritable``.
    """
    mode = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(path, mode, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            os.chmod(path, 0o600)
            file.write(text)
    except FileExistsError:
        raise errors.TicketFileExists(path=path) from None
    except OSError as error:
        raise errors.OutputUnwritable(path=path, cause=error.strerror or error) from None


def check_writable(path: str, *, force: bool) -> None:
    """Raise what ``write_secret`` would, before anything has changed."""
    if not force and os.path.lexists(path):
        raise errors.TicketFileExists(path=path)
    if not os.path.isdir(os.path.dirname(path)):
        raise errors.OutputUnwritable(path=path, cause=_("there is no such folder"))


def _read(path: str, limit_bytes: int) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read(limit_bytes)
        with open(path, "rb") as file:
            return file.read(limit_bytes)
    except OSError as error:
        raise errors.InputUnreadable(path=path, cause=error.strerror or error) from None
