"""Finds what a person named: a mandate, a file, a version, a receipt."""

import os
from collections.abc import Iterable, Sequence

from p2psync.core.files import FileState, Receipt, Version
from p2psync.errors import (
    DetachedSeveral,
    DeviceAmbiguous,
    DeviceUnknown,
    FileNotAttached,
    MandateAmbiguous,
    MandateUnknown,
    NoDetachedFile,
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


def detached(opened: Opened, text: str) -> FileState:
    """Return the detached file with that name, path, or id prefix (at least 4 hex digits).

    Raises ``NoDetachedFile``, or ``DetachedSeveral`` when several answer to it.
    """
    every = [each for each in opened.state.files.values() if each.added and not each.present]
    prefix = text.lower()
    found = [each for each in every if len(prefix) >= 4 and each.id.hex().startswith(prefix)]
    if len(found) != 1:
        attached = opened.copies
        found = [
            each
            for each in every
            if (copy := attached.get((each.id, "attached"))) and str(copy.path) == text
        ] or [each for each in every if each.info.name in (text, os.path.basename(text))]
    if not found:
        raise NoDetachedFile(mandate=opened.name, file=text)
    if len(found) > 1:
        ids = ", ".join(sorted(each.id.hex()[:16] for each in found))
        raise DetachedSeveral(mandate=opened.name, file=text, ids=ids)
    return found[0]


def any_file(opened: Opened, text: str) -> FileState:
    """Return the attached file with that name or path, else the detached one.

    Raises ``FileNotAttached``, or ``DetachedSeveral``.
    """
    try:
        return file(opened, text)
    except FileNotAttached:
        try:
            return detached(opened, text)
        except NoDetachedFile:
            pass
        raise


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


def member(opened: Opened, text: str) -> bytes:
    """Return the member with that id, id prefix (at least 4 hex digits), or person's or machine's
    name.

    Raises ``DeviceUnknown``, or ``DeviceAmbiguous`` when several answer to it.
    """
    return device(opened, text, opened.state.membership.members)


def device(opened: Opened, text: str, devices: Iterable[bytes]) -> bytes:
    """The same among some devices of a mandate."""
    state = opened.state
    every = sorted(devices)
    prefix = text.lower()
    found: list[bytes] = []
    if len(prefix) >= 4 and all(character in "0123456789abcdef" for character in prefix):
        found = [device for device in every if device.hex().startswith(prefix)]
    if len(found) != 1:
        by_name = [
            device
            for device in every
            if (known := state.devices.get(device)) is not None
            and text
            and text.casefold() in (known.name.casefold(), known.machine.casefold())
        ]
        found = by_name or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise DeviceUnknown(mandate=opened.name, device=text[:80])
    ids = ", ".join(device.hex()[:16] for device in found)
    raise DeviceAmbiguous(mandate=opened.name, device=text[:80], devices=ids)


def files(opened: Opened, texts: Sequence[str]) -> list[FileState]:
    """Return the named files, each once; all of them when none is named."""
    if not texts:
        return opened.listed()
    return list(dict.fromkeys(file(opened, text) for text in texts))
