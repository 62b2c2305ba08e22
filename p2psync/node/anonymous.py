"""What doctor found, for somebody who helps: without secrets, names, paths or addresses (B-NET-5).

Whatever fills a place in a text becomes a word such as ``file-2``, the same for the same thing
throughout the report, so that it can be told which findings are about one thing. Only numbers,
versions, times and what the operating system says are told as they are.
"""

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from p2psync import __version__
from p2psync.node.fault_types import Finding

PLAIN_PARAMS = frozenset(
    (
        *("count", "days", "done", "known", "line", "needed", "ours", "port", "records"),
        *("counted", "seconds", "size_bytes", "limit_bytes", "theirs", "total", "version"),
        *("expired", "when", "change", "pid"),
    )
)
"""Parameters that never hold a name."""
_KINDS = {"path": "path", "home": "home", "file": "file", "who": "person", "relay": "relay"}
_PLAIN = re.compile(r"[0-9][0-9 .:TZ+-]*|\?")


class Pseudonyms:
    """Words for things; the same for the same thing."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}

    def of(self, kind: str, name: str) -> str:
        """The word for a thing, such as ``file-2``."""
        if (kind, name) not in self._words:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._words[(kind, name)] = f"{kind}-{self._counts[kind]}"
        return self._words[(kind, name)]


def report(
    findings: Iterable[Finding],
    checks: Sequence[Mapping[str, str]],
    facts: Mapping[str, object],
    system_causes: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the report as JSON, in English: what was found and what was looked at.

    ``facts`` are numbers and words of the node's own. ``system_causes`` are texts of the operating
    system, which hold no names.
    """
    words = Pseudonyms()
    causes = frozenset(each.lower() for each in system_causes)
    return {
        "report": "p2psync doctor",
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel": platform.release(),
        **facts,
        "checks": [dict(each) for each in checks],
        "findings": [_told(each, words, causes) for each in findings],
    }


def _told(finding: Finding, words: Pseudonyms, causes: frozenset[str]) -> dict[str, Any]:
    params = {name: _hidden(name, value, words, causes) for name, value in finding.params.items()}
    mandate = finding.mandate
    return {
        "code": finding.code,
        "severity": finding.severity,
        "about": finding.subject,
        "where": words.of(finding.subject, finding.where) if finding.where else "",
        "mandate": None if mandate is None else words.of("mandate", mandate),
        "since": finding.since,
        "text": _filled(finding.template, params),
        "hint": _filled(finding.hint_template, params),
    }


def _hidden(name: str, value: str, words: Pseudonyms, causes: frozenset[str]) -> str:
    if name in PLAIN_PARAMS and _PLAIN.fullmatch(value):
        return value
    if value.lower() in causes:
        return value
    return words.of(_KINDS.get(name, name), value)


def _filled(template: str, params: Mapping[str, str]) -> str:
    """Fill a template; a place of which nothing is known stays."""
    out = []
    for text, name, _, _ in Formatter().parse(template):
        out.append(text)
        if name is not None:
            out.append(params.get(name, f"{{{name}}}"))
    return "".join(out)
