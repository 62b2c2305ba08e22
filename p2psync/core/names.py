"""Names of files and folders that mean the same on every system (docs/spec/storage.md, "Names").

A name from the wire never becomes a path by itself: ``unique_names`` gives what is shown on disk.
Everything here is pure and the same on every device.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import count

from p2psync.errors import NameRefused
from p2psync.limits import NAME_BYTES_MAX

TEMPORARY_PREFIX = ".p2psync-"
"""Begins the names of files that are being written; no shared file may have it."""

_FORBIDDEN = frozenset('/\\:<>"|?*')
_RESERVED_STEMS = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789"]
)
_PLAIN = re.compile(r"[0-9A-Za-z ._~()+,=@&'-]+")
"""No character of these is refused; most names have no others."""
_SHORT_SHAPE = re.compile(r"[^.]{0,6}~[0-9]{1,6}(\.[^.]{0,3})?")
"""What Windows gives as the 8.3 alias of another file; opening it may open that file."""

# Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt), bidi controls included.
_IGNORABLE = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)
_CATEGORIES_REFUSED = {
    "Cc": "a control character",
    "Cf": "an invisible formatting character",
    "Cs": "half a character",
    "Co": "a private character",
    "Cn": "an unknown character",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_EXTENSION_CHARACTERS_MAX = 16
_SHORT_ID_DIGITS = 8
_SHOWN_CHARACTERS_MAX = 80


def check_name(name: str) -> None:
    """Pass a name that every system keeps as it is; raises ``NameRefused`` otherwise.

    Characters whose compatibility form is forbidden (a full-width slash) are refused like it:
    programs that use the ANSI functions of Windows get the plain one.
    """
    cause = _cause_to_refuse(name)
    if cause is not None:
        raise NameRefused(name=_shown(name), cause=cause)


def name_key(name: str) -> str:
    """Return what two names have in common when some system takes them for one.

    Case-folded NFKC: Unicode 16, section 3.13, D146, composed at the end. ``name_key`` of a key is
    the key itself.
    """
    if name.isascii():
        return name.lower()  # what the rest comes to, far sooner
    text = unicodedata.normalize("NFD", name).casefold()
    text = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFKC", text)


def unique_names(files: Sequence[tuple[bytes, str]]) -> dict[bytes, str]:
    """Return the flat name that each file id is shown under; every name passes ``check_name``.

    No two results have the same ``name_key``. Of files that collide the lowest id keeps the name
    and the others get the first digits of their id before the extension, so one more file changes
    the name of another only where it takes that very name with a lower id. The order of ``files``
    does not matter; the ids are distinct.
    """
    wanted = {file_id: _allowed(file_id, name) for file_id, name in files}
    assert len(wanted) == len(files), "file ids are distinct"
    shown: dict[bytes, str] = {}
    taken: set[str] = set()
    collided = []
    for file_id in sorted(wanted):
        key = name_key(wanted[file_id])
        if key in taken:
            collided.append(file_id)
        else:
            taken.add(key)
            shown[file_id] = wanted[file_id]
    for file_id in collided:
        for mark in _marks(file_id):
            name = _with_mark(wanted[file_id], mark)
            key = name_key(name)
            if key not in taken:
                taken.add(key)
                shown[file_id] = name
                break
    return shown


def safe_folder_name(mandate_name: str) -> str:
    """Return a folder name near to a mandate's name; it passes ``check_name``.

    Two mandates may get the same one (B-MAN-5): see ``unique_names``.
    """
    text = "".join(
        "_" if _character_refused(character) else character
        for character in unicodedata.normalize("NFC", mandate_name)
    )
    text = unicodedata.normalize("NFC", text)
    text = _cut(text, NAME_BYTES_MAX - 1).strip().rstrip(". ").lstrip()
    if _cause_to_refuse(text) is None:
        return text
    text = _cut(text.lstrip("."), NAME_BYTES_MAX - 1) + "_"
    return text if _cause_to_refuse(text) is None else "mandate"


def _cause_to_refuse(name: str) -> str | None:
    if not name:
        return "it is empty"
    if not _PLAIN.fullmatch(name):
        for character in name:
            cause = _character_refused(character)
            if cause is not None:
                return f"it holds {cause}"
    # Only now is it sure that the name has no surrogates and can be encoded.
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"it is longer than {NAME_BYTES_MAX} bytes"
    if not unicodedata.is_normalized("NFC", name):
        return "its accents are not composed (NFC)"
    if name in (".", ".."):
        return "it names a folder"
    if name[-1] == "." or name[-1].isspace():
        return "it ends with a dot or a space"
    if name[0].isspace():
        return "it begins with a space"
    return _cause_by_key(name_key(name))


def _cause_by_key(key: str) -> str | None:
    if key in (".", ".."):
        return "it names a folder"
    if not _FORBIDDEN.isdisjoint(key):
        return 'it holds a character that stands for one of / \\ : < > " | ? *'
    if key.startswith(TEMPORARY_PREFIX):
        return "p2psync keeps such names for itself"
    if key.split(".", 1)[0].rstrip() in _RESERVED_STEMS:
        return "Windows keeps it for a device"
    if _SHORT_SHAPE.fullmatch(key):
        return "Windows uses such names as a short form of others"
    return None


def _character_refused(character: str) -> str | None:
    if character in _FORBIDDEN:
        return f"the character {character}"
    cause = _CATEGORIES_REFUSED.get(unicodedata.category(character))
    if cause is None and any(low <= ord(character) <= high for low, high in _IGNORABLE):
        cause = "an invisible character"
    return cause


def _allowed(file_id: bytes, name: str) -> str:
    if _cause_to_refuse(name) is None:
        return name
    extension = _split(name)[1]
    if not extension.isascii():
        extension = ""
    return f"unnamed-{file_id.hex()[:_SHORT_ID_DIGITS]}{extension}"


def _marks(file_id: bytes) -> Iterator[str]:
    """Yield the id's first digits, then what only a file named to collide on purpose needs."""
    digits = file_id.hex()
    yield digits[:_SHORT_ID_DIGITS]
    yield digits
    yield from (f"{digits} {number}" for number in count(2))


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if stem and extension.isalnum() and len(extension) <= _EXTENSION_CHARACTERS_MAX:
        return stem, dot + extension
    return name, ""


def _with_mark(name: str, mark: str) -> str:
    stem, extension = _split(name)
    suffix = f" ({mark}){extension}"
    return _cut(stem, NAME_BYTES_MAX - len(suffix.encode())) + suffix


def _cut(text: str, bytes_max: int) -> str:
    """Cut between characters; an NFC text stays NFC."""
    return text.encode()[:bytes_max].decode(errors="ignore")


def _shown(name: str) -> str:
    text = "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in name[:_SHOWN_CHARACTERS_MAX]
    )
    return text if len(name) <= _SHOWN_CHARACTERS_MAX else text + "…"
