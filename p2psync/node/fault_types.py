"""What doctor finds, as values: a fault there may be, and one that was found (B-NET-5)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["fault", "note"]
Subject = Literal[
    "node",
    "home",
    "identity",
    "clock",
    "disk",
    "folder",
    "watcher",
    "network",
    "lan",
    "outside",
    "proxy",
    "relay",
    "mandate",
    "member",
    "file",
]
SUBJECTS: tuple[Subject, ...] = Subject.__args__  # type: ignore[attr-defined]  # how Literal has it
"""What is looked at, in the order in which it is told: what may be the cause of what follows."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that may be wrong. A ``note`` does not keep anything from syncing.

    ``template`` is what doctor says; what several causes word differently says when it is said.
    """

    subject: Subject
    severity: Severity
    template: str
    hint_template: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: which, where, since when (ISO 8601), and what to do.

    ``where`` is the thing's name, ``mandate`` the name of the mandate it belongs to.
    """

    code: str
    subject: Subject
    severity: Severity
    where: str
    template: str
    hint_template: str
    params: Mapping[str, str] = field(default_factory=dict)
    mandate: str | None = None
    since: str | None = None

    @property
    def text(self) -> str:
        """What is wrong, in English."""
        return self.template.format_map(self.params)

    @property
    def hint(self) -> str:
        """The next step, in English."""
        return self.hint_template.format_map(self.params)
