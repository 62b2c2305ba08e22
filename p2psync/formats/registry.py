"""Which format reads a file. A new format joins by a module here that defines ``FORMATS``."""

import importlib
import pkgutil

from p2psync import formats
from p2psync.core.records import Segment
from p2psync.formats.base import Format
from p2psync.formats.opaque import OPAQUE


def _discover() -> dict[str, Format]:
    """Collects ``FORMATS`` of every module of this package, in the order of their names."""
    found: dict[str, Format] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(formats.__path__)):
        if name == "registry":
            continue
        module = importlib.import_module(f"{formats.__name__}.{name}")
        members: tuple[Format, ...] = getattr(module, "FORMATS", ())
        for member in members:
            assert member.name not in found, f"two formats are called {member.name}"
            found[member.name] = member
    assert OPAQUE.name not in found
    return found


_FORMATS = _discover()


def all_formats() -> tuple[Format, ...]:
    """Gives every format in the order in which they are asked; the opaque one comes last."""
    return (*_FORMATS.values(), OPAQUE)


def find(name: str, head: bytes) -> Format:
    """Gives the first format that recognises the file, else the opaque one.

    ``name`` is the file's name without its folder, ``head`` its first 64 KiB at most.
    """
    return next((each for each in _FORMATS.values() if each.recognise(name, head)), OPAQUE)


def by_name(format_name: str) -> Format:
    """Gives the format of that name; the opaque one for a name that is not known here."""
    return _FORMATS.get(format_name, OPAQUE)


class _Reader:
    """Reads one segment of a file of a format; a ``SegmentReader`` for the core."""

    def __call__(self, format_name: str, raw: bytes) -> Segment:
        return by_name(format_name).read_segment(raw)

    def identifies(self, format_name: str) -> bool:
        """Says whether segments of that format can have an ``identity``."""
        return format_name in _IDENTIFYING


read_segment = _Reader()
_IDENTIFYING = frozenset(
    name for name, each in _FORMATS.items() if getattr(each, "identifies", False)
)
"""Formats with an attribute ``identifies`` that is true; the segments of others have no
identity."""
