"""Which format reads a file. A new format joins by a module here that defines ``FORMATS``."""

import importlib
import pkgutil
from functools import lru_cache

from p2psync import formats
from p2psync.core.records import Segment
from p2psync.formats.base import Format
from p2psync.formats.families import Family, family_of
from p2psync.formats.opaque import OPAQUE
from p2psync.limits import FORMAT_VARIANTS_KEPT_MAX


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
_FAMILIES = frozenset(name for name, each in _FORMATS.items() if isinstance(each, Family))


def all_formats() -> tuple[Format, ...]:
    """Gives every format in the order in which they are asked; the opaque one comes last."""
    return (*_FORMATS.values(), OPAQUE)


def find(name: str, head: bytes) -> Format:
    """Gives the first format that recognises the file by its content alone, else the first that
    does so with its name, else the opaque one.

    ``name`` is the file's name without its folder, ``head`` its first 64 KiB at most.
    """
    for known in ("", name) if name else ("",):
        for each in _FORMATS.values():
            if each.recognise(known, head):
                return fitted(each, head)
    return OPAQUE


def fitted(form: Format, head: bytes) -> Format:
    """Gives the variant of a format for a file that starts so, where it comes in variants."""
    return by_name(form.fitted(head).name) if isinstance(form, Family) else form


def find_again(format_name: str, name: str, head: bytes) -> Format:
    """Gives the format of a file that may be, or may follow, one of that format.

    A format that comes in variants, and may have to be named (``delimited``), is asked before the
    others.
    """
    wanted = by_name(format_name)
    if wanted is OPAQUE or family_of(format_name) not in _FAMILIES:
        return find(name, head)
    if wanted.recognise(name, head):
        return wanted
    return find(name, head)


@lru_cache(maxsize=FORMAT_VARIANTS_KEPT_MAX)
def by_name(format_name: str) -> Format:
    """Gives the format of that name; the opaque one for a name that is not known here."""
    known = _FORMATS.get(format_name)
    if known is not None:
        return known
    family, colon, parameter = format_name.partition(":")
    found = _FORMATS.get(family)
    variant = found.variant(parameter) if colon and isinstance(found, Family) else None
    return variant or OPAQUE


class _Reader:
    """Reads one segment of a file of a format; a ``SegmentReader`` for the core."""

    def __call__(self, format_name: str, raw: bytes) -> Segment:
        return by_name(format_name).read_segment(raw)

    def identifies(self, format_name: str) -> bool:
        """Says whether segments of that format can have an ``identity``: it says so itself."""
        return bool(getattr(by_name(format_name), "identifies", False))


read_segment = _Reader()
