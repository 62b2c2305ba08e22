"""What is noted of a mandate that was removed from this device's list (B-REM-1)."""

import json
from dataclasses import dataclass, replace
from typing import Literal, Self

from p2psync.core.standing import Standing
from p2psync.limits import UNDO_SECONDS
from p2psync.storage.rows import REMOVED, MandateRow

How = Literal["hidden", "left", "closed"]
"""``closed`` for everyone, ``left`` to the others, or only ``hidden``: nobody else has it."""


@dataclass(frozen=True, slots=True)
class Removed:
    """When it was removed (ms since 1970) and how; what was written then, by entry ids (32 bytes).

    ``told`` are the devices that have all of it.
    """

    at_ms: int
    how: How
    entries: tuple[bytes, ...] = ()
    told: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, row: MandateRow) -> Self | None:
        """Read it from a mandate's row; ``None`` when the mandate was not removed."""
        word, _, text = row.state.partition(":")
        if word != REMOVED:
            return None
        found = json.loads(text)
        return cls(
            found["at_ms"],
            found["how"],
            tuple(map(bytes.fromhex, found["entries"])),
            frozenset(map(bytes.fromhex, found["told"])),
        )

    def on(self, row: MandateRow) -> MandateRow:
        """Return a mandate's row with it."""
        found = {
            "at_ms": self.at_ms,
            "how": self.how,
            "entries": [each.hex() for each in self.entries],
            "told": sorted(each.hex() for each in self.told),
        }
        return replace(row, state=f"{REMOVED}:{json.dumps(found)}")

    def telling(self, device: bytes) -> "Removed":
        """The same, with one more device that has all of it."""
        return replace(self, told=self.told | {device})

    @property
    def undo_until_ms(self) -> int:
        """Until when it can be undone."""
        return self.at_ms + UNDO_SECONDS * 1000

    def untold(self, members: frozenset[bytes], standing: Standing, own: bytes) -> frozenset[bytes]:
        """The members that go on with the mandate and do not have what was written yet."""
        if self.how == "hidden":
            return frozenset()
        return standing.going_on(members) - self.told - {own}

    def may_go(self, now_ms: int, untold: frozenset[bytes]) -> bool:
        """Whether nothing of it is needed any more.

        A closing has to be told to everyone by this device, a leaving spreads by itself.
        """
        if now_ms < self.undo_until_ms:
            return False
        return not untold or (self.how == "left" and bool(self.told))
