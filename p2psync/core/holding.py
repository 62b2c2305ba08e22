"""Saves that wait for a person's word (B-HIS-3), as all members know them.

Each device holds at most one save of a file back; its last ``Hold`` counts. An accounting on
another device may answer; what the holding device says itself ends it, for only there is the
content. Last means the greatest (stamp, operation).
"""

from dataclasses import dataclass, field

from p2psync.core.changes import Change, HoldAnswered, SaveHeld
from p2psync.core.ops import Answer, Hold, OpId


@dataclass(frozen=True, slots=True)
class Answered:
    """What a device said of a held save, and when."""

    id: OpId
    device: bytes
    hlc: int
    stamp: int
    verdict: str


@dataclass(slots=True)
class Held:
    """A save that a device holds back, or held back last; ``answers`` by device."""

    id: OpId
    device: bytes
    hlc: int
    stamp: int
    said: Hold
    answers: dict[bytes, Answered] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How people and programs name it: 16 hex digits."""
        return self.id[0].hex()[:16]

    @property
    def outcome(self) -> Answered | None:
        """What the holding device did; ``None`` while the save waits there."""
        return self.answers.get(self.device)

    @property
    def answer(self) -> Answered | None:
        """The last answer of another device."""
        others = [each for device, each in self.answers.items() if device != self.device]
        return max(others, key=lambda each: (each.stamp, each.id), default=None)


Holds = dict[bytes, Held]
"""The last hold of each device on one file."""


def hold(
    holds: Holds, operation: Hold, op: OpId, device: bytes, hlc: int, stamp: int
) -> list[Change]:
    """Take a ``Hold`` of a member that may write; return what changed."""
    known = holds.get(device)
    if known is not None and (known.stamp, known.id) > (stamp, op):
        return []
    holds[device] = Held(op, device, hlc, stamp, operation)
    return [SaveHeld(operation.file, op, device)]


def answer(
    holds: Holds,
    operation: Answer,
    op: OpId,
    device: bytes,
    hlc: int,
    stamp: int,
    *,
    may_post: bool,
) -> list[Change]:
    """Take an ``Answer``; those of other devices count when they ``may_post``, and never say
    ``withdrawn``.
    """
    (named,) = operation.holds
    known = next((each for each in holds.values() if each.id == named), None)
    if known is None or (
        device != known.device and (not may_post or operation.verdict == "withdrawn")
    ):
        return []
    before = known.answers.get(device)
    if before is not None and (before.stamp, before.id) > (stamp, op):
        return []
    known.answers[device] = Answered(op, device, hlc, stamp, operation.verdict)
    return [HoldAnswered(operation.file, named, device)]
