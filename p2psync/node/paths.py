"""Paths that people and programs give: checked before the system is asked about them."""

import os
from pathlib import Path

from p2psync.errors import PathInvalid
from p2psync.limits import NAME_ON_DISK_BYTES_MAX, PATH_BYTES_MAX


def local_path(text: str) -> Path:
    """Return the place of a file, without links in its folder.

    Raises ``PathInvalid`` unless it is absolute, names something in a folder, and is what a system
    takes: no zero character, no part that is too long, all of it UTF-8 (other systems are to write
    it, too). Looks at the disk.
    """
    path = Path(os.path.abspath(_checked(text)))
    return Path(os.path.realpath(path.parent)) / path.name


def _checked(text: str) -> str:
    cause = None
    if "\0" in text:
        cause = "it holds a zero character"
    elif not os.path.isabs(text):
        cause = "it is not absolute"
    elif not os.path.basename(os.path.abspath(text)):
        cause = "it names no file"
    elif len(os.fsencode(text)) > PATH_BYTES_MAX or any(
        len(os.fsencode(part)) > NAME_ON_DISK_BYTES_MAX for part in Path(text).parts
    ):
        cause = "it is too long"
    elif not is_utf8(os.path.realpath(os.path.dirname(os.path.abspath(text))) + text):
        cause = "it is not UTF-8"
    if cause is not None:
        shown = text[:80].encode("utf-8", "replace").decode()
        raise PathInvalid(path=shown, cause=cause)
    return text


def is_utf8(text: str) -> bool:
    """Whether a name or a path can be told to others as text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
