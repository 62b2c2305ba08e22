"""Finds what a person named: a mandate, a file, a version, a receipt."""

import os
from collections.abc import Iterable, Sequence

from p2psync.core.files import FileState, Receipt, Version
from p2psync.errors import (
    FileNotAttached,
    MandateAmbiguous,
    MandateUnknown,
    ReceiptUnknown,
    VersionUnknown,
)
from p2psync.node.opened import Opened


def mandate(opened: Iterable[Opened], text: str) -> Opened:
    """Return the mandate with that id, id prefix (at least 4 hex digits) or name.

    Raises ``MandateUnknown``, or ``MandateAmbiguous`` when several answer to it (B-MAN-5).
    """
    every = list(opened)
    prefix = text.lower()
    if len(prefix) >= 4 and all(character in "0123456789abcdef" for character in prefix):
        found = [each for each in every if each.id.hex().startswith(prefix)]
        if len(found) == 1:
            return found[0]
    found = [each for each in every if each.name == text]
    if not found:
        found = [each for each in every if each.name.casefold() == text.casefold()]
    if len(found) == 1:
        return found[0]
    if not found:
        raise MandateUnknown(mandate=text)
    ids = ", ".join(each.id.hex()[:16] for each in found)
    raise MandateAmbiguous(mandate=text, ids=ids)


def file(opened: Opened, text: str) -> FileState:
    """Return the file shown under that name, or attached from that path; raises
    ``FileNotAttached``.
    """
    for (file_id, _), copy in sorted(opened.copies.items()):
        if text in (str(copy.path), os.path.realpath(copy.path)) and file_id in opened.state.files:
            found = opened.state.files[file_id]
            if found.present:
                return found
    name = os.path.basename(text)
    for candidate in (text, name):
        by_name = opened.file_named(candidate)
        if by_name is not None:
            return by_name
    raise FileNotAttached(file=text, mandate=opened.name)


def version(file_state: FileState, text: str, shown_name: str) -> Version:
    """Return the version whose name starts so; raises ``VersionUnknown``."""
    found = [each for each in file_state.versions.values() if each.name.startswith(text.lower())]
    if len(found) != 1 or not text:
        raise VersionUnknown(version=text, file=shown_name)
    return found[0]


def receipt(opened: Opened, text: str) -> Receipt:
    """Return the receipt whose name starts so; raises ``ReceiptUnknown``."""
    found = [each for each in opened.state.receipts.values() if each.name.startswith(text.lower())]
    if len(found) != 1 or not text:
        raise ReceiptUnknown(receipt=text, mandate=opened.name)
    return found[0]


def files(opened: Opened, texts: Sequence[str]) -> list[FileState]:
    """Return the named files; all of them when none is named."""
    if not texts:
        return opened.state.present_files()
    return [file(opened, text) for text in texts]
