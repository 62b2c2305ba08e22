"""What this device was told of its own removal by others, as its mandate's row keeps it (B-ID-3).

The fold here does not know of it: who is removed is served no entries. What is saved goes on to be
kept, and counts again if somebody lets this device in again.
"""

import json
from dataclasses import dataclass

from p2psync.storage.rows import MandateRow

_WORD = "dismissed"


@dataclass(frozen=True, slots=True)
class Dismissal:
    """Who removed this device (32 bytes), what that one is called, and when, in ms since 1970."""

    by: bytes
    who: str
    at_ms: int

    @classmethod
    def of(cls, row: MandateRow) -> "Dismissal | None":
        """The one that a row keeps; ``None`` while this device was not removed."""
        word, _, text = row.state.partition(":")
        if word != _WORD:
            return None
        kept = json.loads(text)
        return cls(bytes.fromhex(kept["by"]), kept["who"], kept["at_ms"])

    def state(self) -> str:
        """How a row keeps it."""
        kept = {"by": self.by.hex(), "who": self.who, "at_ms": self.at_ms}
        return f"{_WORD}:{json.dumps(kept, ensure_ascii=False)}"
