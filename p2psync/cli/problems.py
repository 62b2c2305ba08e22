"""Prints what is wrong with a file: equal problems in one line, and not all of a thousand."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from p2psync.i18n import _, ngettext

_LISTED_MAX = 10
_LINES_LISTED_MAX = 3


def problem_lines(name: str, problems: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the lines that tell of a file's problems, in their order."""
    places: dict[str, list[int]] = {}
    for problem in problems:
        places.setdefault(str(problem.get("text")), []).append(problem.get("line") or 0)
    for text in list(places)[:_LISTED_MAX]:
        lines = [line for line in places[text] if line]
        yield _line(name, text, list(dict.fromkeys(lines)))
    count = sum(len(places[text]) for text in list(places)[_LISTED_MAX:])
    if count:
        more = ngettext("{count} more is not listed", "{count} more are not listed", count)
        yield _("{name}: {more}; --json lists all", name=name, more=more)


def _line(name: str, text: str, lines: list[int]) -> str:
    if not lines:
        return _("{name}: {text}", name=name, text=text)
    if len(lines) == 1:
        return _("{name}, line {line}: {text}", name=name, line=lines[0], text=text)
    most = _LINES_LISTED_MAX if len(lines) > _LINES_LISTED_MAX + 1 else len(lines)
    listed = ", ".join(map(str, lines[:most]))
    count = len(lines) - most
    if not count:
        return _("{name}, lines {lines}: {text}", name=name, lines=listed, text=text)
    return _(
        "{name}, lines {lines} and {count} more: {text}",
        name=name,
        lines=listed,
        count=count,
        text=text,
    )
