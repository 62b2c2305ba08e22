"""How two files differ that are kept whole: line by line, as far as they are text."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from p2psync.formats.cresus_settings import without_private
from p2psync.formats.inspection.text import shown_lines
from p2psync.limits import INSPECTED_LINES_MAX

_CONTEXT_LINES = 3


@dataclass(frozen=True, slots=True)
class LineDifferences:
    """The lines that came and went, and the unified diff that shows them (without its head)."""

    added: int
    deleted: int
    diff: tuple[str, ...]


def compare_lines(format_name: str, old: bytes, new: bytes) -> LineDifferences | None:
    """Compares two texts; ``None`` when one of them is none, or has too many lines.

    Private sections of settings are left out on both sides.
    """
    if b"\0" in old or b"\0" in new:
        return None
    sides = [shown_lines(format_name, without_private(data)) for data in (old, new)]
    if max(map(len, sides)) > INSPECTED_LINES_MAX:
        return None
    diff = tuple(_without_head(*sides))
    return LineDifferences(
        sum(line.startswith("+") for line in diff),
        sum(line.startswith("-") for line in diff),
        diff,
    )


def _without_head(old: list[str], new: list[str]) -> Iterator[str]:
    lines = difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm="")
    for number, line in enumerate(lines):
        if number >= 2:  # the names of the files are the caller's to say
            yield line
