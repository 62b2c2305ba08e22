"""Formats that come in variants, each with a name of its own: ``family:parameter``.

What a file is read by is fixed when it is attached and travels as the format's name, so that it
means the same on every device.
"""

from typing import Protocol, runtime_checkable

from p2psync.formats.base import Format


@runtime_checkable
class Family(Protocol):
    """What a format has that comes in variants, besides the members of ``Format``."""

    def variant(self, parameter: str) -> Format | None:
        """Gives the variant called so; ``None`` when there can be none of that name."""
        ...

    def fitted(self, head: bytes) -> Format:
        """Gives the variant for a file that starts so and is recognised by the family."""
        ...


def family_of(format_name: str) -> str:
    """Gives the family's name, which is the format's own where it has no variants."""
    return format_name.partition(":")[0]
